"""Plays: a scenario as data, moves and what is expected after them, for the tables of the rules and for any interpreter.

A play is a list of moves, each a map with one verb:

    start: input                             the execution begins
    succeed: node, output: value             the node's attempt succeeded
    fail: node, code: text, category: text   it failed; further keys are fields of the failure
    stopped: node                            it stopped as it was asked to
    defer: node                              it will answer later
    pass: duration                           time passes
    signal: name, payload: value, key: text, path: text, to: all
    event: {id, type, data}                  an event of the event log is seen
    child: node, status: text, output: value, code: text    the child that the node waits for has ended
    operate: action, node: id, value: value  an operator acts
    expect: {states, outputs, running, status, output, error, cause, also, causes, ended}

A node may be a path: `orders[3].charge`, `poll#2`, `charge~2.body.pay`. `states` names the nodes that matter, `outputs` what
nodes gave; `running` lists all effects with an attempt under way; `error` is a code, `cause` that of its cause, `also` a list
of codes; `causes` parts of why nodes did not run; `ended` lists nodes in the order in which they became final.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from recording import Recording

from perdure.clock import MICROSECONDS
from perdure.definition.fields import one_or_list
from perdure.engine import events
from perdure.engine.events import Token
from perdure.engine.execution import STATE_NAMES, Instance
from perdure.errors import Failure
from perdure.expressions import parse_duration
from perdure.ids import instance_path

RULES = Path(__file__).parents[1] / "rules"

Move = Mapping[str, Any]


def table(name: str) -> list[dict[str, Any]]:
    """The rows of a table of the rules."""
    rows: list[dict[str, Any]] = yaml.safe_load((RULES / f"{name}.yaml").read_text())["rows"]
    return rows


def definition(row: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a row: its nodes, with effects as the default type, at any depth."""
    rest = {key: row[key] for key in ("settings", "vars", "output") if key in row}
    return {"perdure": 1, "name": "play", "nodes": _nodes(row["nodes"]), **rest}


def _nodes(nodes: Mapping[str, Any]) -> dict[str, Any]:
    return {id_: _node({"type": "test.effect", **node}) for id_, node in nodes.items()}


def _node(node: dict[str, Any]) -> dict[str, Any]:
    for key in ("body", "finally", "compensate"):
        if key in node:
            node[key] = _scope(node[key])
    if "branches" in node:
        node["branches"] = {name: _scope(branch) for name, branch in node["branches"].items()}
    if node["type"] == "try" and "catch" in node:
        node["catch"] = [{**entry, "body": _scope(entry["body"])} for entry in one_or_list(node["catch"])]
    return node


def _scope(scope: Mapping[str, Any]) -> dict[str, Any]:
    return {**scope, "nodes": _nodes(scope["nodes"])}


def perform(play: Recording, moves: Sequence[Move]) -> None:
    """Make the moves, one after another."""
    for number, move in enumerate(moves):
        verb = next(iter(move))
        try:
            VERBS[verb](play, move[verb], {key: value for key, value in move.items() if key != verb})
        except AssertionError as error:
            raise AssertionError(f"move {number}, {dict(move)}: {error}") from error


# -- moves ----------------------------------------------------------------------------------------------------------------
def at(play: Recording, path: str) -> str:
    """A path as a rehearsal takes it: the latest visit of a node goes without its number."""
    frame, _, name = path.rpartition(".")
    node, _, visit = name.partition("#")
    bare = f"{frame}.{node}" if frame else node
    assert play.instance(bare).visit == int(visit or 1), f"`{path}` is not the present visit"
    return bare


def _fail(play: Recording, node: Any, rest: dict[str, Any]) -> None:
    play.fail(at(play, node), **rest)


def _operate(play: Recording, action: Any, rest: dict[str, Any]) -> None:
    if "value" in rest:
        rest["value"] = play.encoded(rest["value"])
    play.operate(action, **rest)


def _signal(play: Recording, name: Any, rest: dict[str, Any]) -> None:
    to = rest.pop("to", None)
    play.signal(name, **rest, **({"to_all": True} if to == "all" else {}))


def _event(play: Recording, event: Mapping[str, Any], rest: dict[str, Any]) -> None:
    fields = {key: event[key] for key in ("source", "subject") if key in event}
    data = play.encoded(event.get("data"))
    play.take(events.Arrived(id=event["id"], type=event["type"], at=play.now, data=data, **fields))


def _child(play: Recording, node: Any, rest: dict[str, Any]) -> None:
    frame, _, _ = node.rpartition(".")
    instance = play.instance(at(play, node))
    assert instance.progress is not None, f"`{node}` waits for no child"
    token = Token(frame=frame, node=instance.node, visit=instance.visit, attempt=instance.attempt)
    error = Failure(code=rest["code"], title=rest["code"], category="business") if "code" in rest else None
    output = play.encoded(rest.get("output"))
    play.take(events.ChildEnded(token=token, child=instance.progress.child, status=rest["status"], output=output, error=error))


# -- what has become of nodes, from the journal ---------------------------------------------------------------------------
FINALS = {"Done": "succeeded", "NodeFailed": "failed", "NodeCancelled": "cancelled", "Skipped": "skipped"}


def finals(play: Recording) -> Iterator[tuple[str, str, Any]]:
    """Each instance that has become final: its path, its state and the fact that says so, in the order of the journal."""
    fact: Any
    for fact in play.facts:
        state = FINALS.get(type(fact).__name__)
        if state is not None:
            yield instance_path(fact.frame, fact.node, fact.visit), state, fact


def live(play: Recording) -> Iterator[tuple[str, Instance]]:
    """Each instance of a frame that is in memory, by path."""
    for frame, instance in play.execution.instances():
        yield instance_path(frame.path, instance.node, instance.visit), instance


def running(play: Recording) -> list[str]:
    """The paths of all effects with an attempt under way."""
    effects = {run.token.node for run in play.runs()}
    return sorted(
        path
        for path, instance in live(play)
        if not play.execution.ended and STATE_NAMES[instance.state] == "running" and instance.node in effects
    )  # fmt: skip


def _final(play: Recording, path: str) -> Any:
    found = [fact for each, _, fact in finals(play) if each == path]
    assert found, f"`{path}` is not final"
    return found[-1]


def state(play: Recording, path: str) -> str:
    """pending, running, waiting, parked, succeeded, failed, cancelled or skipped."""
    final = {each: state for each, state, _ in finals(play)}.get(path)
    present = {each: STATE_NAMES[instance.state] for each, instance in live(play)}.get(path, "pending")
    return final or present


# -- expectations ---------------------------------------------------------------------------------------------------------
def _expect(play: Recording, wanted: Any, rest: dict[str, Any]) -> None:
    assert not rest, f"an expectation stands alone, but beside it is {rest}"
    for what, value in wanted.items():
        EXPECTATIONS[what](play, value)


def _states(play: Recording, wanted: Mapping[str, str]) -> None:
    found = {node: state(play, node) for node in wanted}
    assert found == wanted, f"expected {wanted}, but found {found}"


def _causes(play: Recording, wanted: Mapping[str, str]) -> None:
    for node, part in wanted.items():
        instance = dict(live(play)).get(node)
        cause = instance.cause if instance is not None else _final(play, node).cause
        assert part in cause, f"`{node}` did not run because: {cause}"


def _outputs(play: Recording, wanted: Mapping[str, Any]) -> None:
    found = {node: play.value(_final(play, node).output) for node in wanted}
    assert found == wanted, f"expected {wanted}, but found {found}"


def _status(play: Recording, wanted: str) -> None:
    assert play.status == wanted, f"expected {wanted!r}, but the status is {play.status!r}"


def _output(play: Recording, wanted: Any) -> None:
    assert play.output == wanted, f"expected {wanted}, but the output is {play.output}"


def error_of(play: Recording) -> Failure:
    """The execution's failure."""
    assert play.error is not None, "the execution has no error"
    return play.error


def _error(play: Recording, wanted: str) -> None:
    assert error_of(play).code == wanted, f"expected {wanted}, but the error is {error_of(play).code}"


def _cause(play: Recording, wanted: str) -> None:
    cause = error_of(play).cause
    assert cause is not None, "the error has no cause"
    assert cause.code == wanted, f"expected {wanted}, but the cause is {cause.code}"


def _also(play: Recording, wanted: Sequence[str]) -> None:
    found = [other.code for other in error_of(play).also]
    assert found == list(wanted), f"expected {wanted}, but also failed {found}"


def _running(play: Recording, wanted: Sequence[str]) -> None:
    assert running(play) == sorted(wanted), f"expected {wanted}, but {running(play)} are running"


def _ended(play: Recording, wanted: Sequence[str]) -> None:
    found = [path for path, _, _ in finals(play) if path in wanted]
    assert found == list(wanted), f"expected {wanted}, but they ended as {found}"


VERBS: dict[str, Callable[[Recording, Any, dict[str, Any]], Any]] = {
    "start": lambda play, value, rest: play.start(value),
    "succeed": lambda play, node, rest: play.succeed(at(play, node), rest.get("output")),
    "fail": _fail,
    "stopped": lambda play, node, rest: play.stopped(at(play, node)),
    "defer": lambda play, node, rest: play.take(play.result(node, outcome="deferred")),
    "pass": lambda play, duration, rest: play.pass_time(parse_duration(duration) / MICROSECONDS),
    "signal": _signal,
    "event": _event,
    "child": _child,
    "operate": _operate,
    "expect": _expect,
}

EXPECTATIONS: dict[str, Callable[[Recording, Any], None]] = {
    "states": _states,
    "causes": _causes,
    "outputs": _outputs,
    "running": _running,
    "status": _status,
    "output": _output,
    "error": _error,
    "cause": _cause,
    "also": _also,
    "ended": _ended,
}
