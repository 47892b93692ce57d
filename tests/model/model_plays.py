"""Plays on the reference interpreter: the same moves and expectations as tests/engine/plays.py, for the tables of the rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from interpreter import Model
from plays import Move

from perdure.errors import Failure
from perdure.expressions import format_time, parse_duration


class Play:
    """A definition and, from its `start` on, the model of its execution."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self._model: Model | None = None

    def start(self, input: Any) -> None:
        self._model = Model(self.document, input=input)

    @property
    def model(self) -> Model:
        assert self._model is not None, "a play begins with `start`"
        return self._model


def perform(play: Play, moves: Sequence[Move]) -> None:
    """Make the moves, one after another."""
    for number, move in enumerate(moves):
        verb = next(iter(move))
        try:
            VERBS[verb](play, move[verb], {key: value for key, value in move.items() if key != verb})
        except AssertionError as error:
            raise AssertionError(f"move {number}, {dict(move)}: {error}") from error


# -- moves ----------------------------------------------------------------------------------------------------------------
def _is_running(play: Play, path: str) -> str:
    assert path in play.model.running(), f"`{path}` has no attempt under way: {play.model.running()}"
    return path


def _fail(play: Play, path: str, rest: dict[str, Any]) -> None:
    fields = {"code": "test.failed", "category": "technical", **rest}
    play.model.fail(_is_running(play, path), Failure(title=fields.pop("title", fields["code"]), **fields))


def _child(play: Play, path: str, rest: dict[str, Any]) -> None:
    failure = Failure(code=rest["code"], title=rest["code"], category="business") if "code" in rest else None
    play.model.child_ended(path, rest["status"], rest.get("output"), failure)


def _operate(play: Play, action: str, rest: dict[str, Any]) -> None:
    if action == "resume":
        play.model.resume(frozen=rest["value"] == "frozen")
    else:
        play.model.operate(action, rest.get("node", ""), rest.get("value"))


def _signal(play: Play, name: str, rest: dict[str, Any]) -> None:
    play.model.signal(
        name, rest.get("payload"), key=rest.get("key"), path=rest.get("path", ""), to_all=rest.get("to") == "all"
    )  # fmt: skip


def _event(play: Play, event: Mapping[str, Any], rest: dict[str, Any]) -> None:
    whole = {"source": "", "subject": "", "data": None, "time": format_time(play.model.now), **event}
    play.model.event(whole)


# -- expectations ---------------------------------------------------------------------------------------------------------
def _expect(play: Play, wanted: Mapping[str, Any], rest: dict[str, Any]) -> None:
    for what, value in wanted.items():
        found = EXPECTATIONS[what](play.model, value)
        assert found == value, f"expected {value}, but found {found}"


def _causes(model: Model, wanted: Mapping[str, str]) -> dict[str, str]:
    found = {path: model.instance(path).cause for path in wanted}
    return {path: wanted[path] if wanted[path] in cause else cause for path, cause in found.items()}


def _ended(model: Model, wanted: Sequence[str]) -> list[str]:
    order = {path: end for path, (_, end) in model.order().items() if path in wanted}
    return sorted(order, key=lambda path: order[path])


def _code(failure: Failure | None) -> str | None:
    return None if failure is None else failure.code


def _also(model: Model, wanted: Sequence[str]) -> list[str] | None:
    return None if model.error is None else [other.code for other in model.error.also]


VERBS: dict[str, Callable[[Play, Any, dict[str, Any]], None]] = {
    "start": lambda play, value, rest: play.start(value),
    "succeed": lambda play, path, rest: play.model.succeed(_is_running(play, path), rest.get("output")),
    "fail": _fail,
    "stopped": lambda play, path, rest: play.model.stopped(_is_running(play, path)),
    "pass": lambda play, duration, rest: play.model.pass_to(play.model.now + parse_duration(duration)),
    "signal": _signal,
    "event": _event,
    "child": _child,
    "operate": _operate,
    "expect": _expect,
}

EXPECTATIONS: dict[str, Callable[[Model, Any], Any]] = {
    "states": lambda model, wanted: {path: model.state(path) for path in wanted},
    "outputs": lambda model, wanted: {path: model.instance(path).output for path in wanted},
    "running": lambda model, wanted: sorted(model.running()) if sorted(model.running()) != sorted(wanted) else wanted,
    "causes": _causes,
    "ended": _ended,
    "status": lambda model, wanted: model.status,
    "output": lambda model, wanted: model.output,
    "error": lambda model, wanted: _code(model.error),
    "cause": lambda model, wanted: _code(None if model.error is None else model.error.cause),
    "also": _also,
}
