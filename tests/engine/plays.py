"""Plays: a scenario as data, moves and what is expected after them, for the tables of the rules and for any interpreter.

A play is a list of moves, each a map with one verb:

    start: input                             the execution begins
    succeed: node, output: value             the node's attempt succeeded
    fail: node, code: text, category: text   it failed; further keys are fields of the failure
    stopped: node                            it stopped as it was asked to
    defer: node                              it will answer later
    pass: duration                           time passes
    signal: name, payload: value, key: text  a signal arrives
    operate: action, node: id                an operator acts
    expect: {states, status, output, error, also, errors, causes}

`states` names the nodes that matter; `error` is a code, `also` a list of codes, `causes` parts of why nodes did not run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from recording import Recording

from perdure.clock import MICROSECONDS
from perdure.expressions import parse_duration

RULES = Path(__file__).parents[1] / "rules"

Move = Mapping[str, Any]


def table(name: str) -> list[dict[str, Any]]:
    """The rows of a table of the rules."""
    rows: list[dict[str, Any]] = yaml.safe_load((RULES / f"{name}.yaml").read_text())["rows"]
    return rows


def definition(row: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a row: its nodes, with effects as the default type."""
    nodes = {id_: {"type": "test.effect", **node} for id_, node in row["nodes"].items()}
    rest = {key: row[key] for key in ("settings", "vars", "output") if key in row}
    return {"perdure": 1, "name": "play", "nodes": nodes, **rest}


def perform(play: Recording, moves: Sequence[Move]) -> None:
    """Make the moves, one after another."""
    for move in moves:
        verb = next(iter(move))
        VERBS[verb](play, move[verb], {key: value for key, value in move.items() if key != verb})


def _fail(play: Recording, node: Any, rest: dict[str, Any]) -> None:
    play.fail(node, **rest)


def _operate(play: Recording, action: Any, rest: dict[str, Any]) -> None:
    if "value" in rest:
        rest["value"] = play.encoded(rest["value"])
    play.operate(action, **rest)


def _expect(play: Recording, wanted: Any, rest: dict[str, Any]) -> None:
    assert not rest, f"an expectation stands alone, but beside it is {rest}"
    for what, value in wanted.items():
        EXPECTATIONS[what](play, value)


def _states(play: Recording, wanted: Mapping[str, str]) -> None:
    assert {node: play.state(node) for node in wanted} == wanted


def _causes(play: Recording, wanted: Mapping[str, str]) -> None:
    for node, part in wanted.items():
        assert part in play.instance(node).cause, f"`{node}` did not run because: {play.instance(node).cause}"


def _status(play: Recording, wanted: str) -> None:
    assert play.status == wanted


def _output(play: Recording, wanted: Any) -> None:
    assert play.output == wanted


def _error(play: Recording, wanted: str) -> None:
    assert play.error is not None
    assert play.error.code == wanted


def _also(play: Recording, wanted: Sequence[str]) -> None:
    assert play.error is not None
    assert [other.code for other in play.error.also] == list(wanted)


VERBS: dict[str, Callable[[Recording, Any, dict[str, Any]], Any]] = {
    "start": lambda play, value, rest: play.start(value),
    "succeed": lambda play, node, rest: play.succeed(node, rest.get("output")),
    "fail": _fail,
    "stopped": lambda play, node, rest: play.stopped(node),
    "defer": lambda play, node, rest: play.take(play.result(node, outcome="deferred")),
    "pass": lambda play, duration, rest: play.pass_time(parse_duration(duration) / MICROSECONDS),
    "signal": lambda play, name, rest: play.signal(name, **rest),
    "operate": _operate,
    "expect": _expect,
}

EXPECTATIONS: dict[str, Callable[[Recording, Any], None]] = {
    "states": _states,
    "causes": _causes,
    "status": _status,
    "output": _output,
    "error": _error,
    "also": _also,
}
