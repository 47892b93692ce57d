"""Moves in lockstep: what arrives next, chosen by number from what the model shows, and made on model and engine alike."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from interpreter import Model
from recording import Recording

from perdure.engine import events
from perdure.engine.execution import Instance
from perdure.errors import Category, Failure
from perdure.expressions import format_time
from perdure.ids import instance_path

TIMERS_MAX = 500
FAILURES: Sequence[tuple[str, Category]] = (("x.first", "technical"), ("y.second", "business"), ("timeout", "timeout"))


@dataclass(frozen=True)
class Move:
    """One thing that arrives. `kind` is a method of `ON_MODEL` and `ON_ENGINE`."""

    kind: str
    path: str = ""
    value: Any = None
    name: str = ""
    key: str = ""
    to_all: bool = False
    due: int = 0


@dataclass(frozen=True)
class Answers:
    """What the world says; all chance comes from a list of numbers, by name."""

    numbers: tuple[int, ...]

    def number(self, what: str) -> int:
        """The number that belongs to a name."""
        mixed = zlib.crc32(what.encode())
        return self.numbers[mixed % len(self.numbers)] + mixed // 97 % 89

    def next(self, model: Model, turn: int) -> Move | None:
        """What arrives next; None where nothing can move this execution any more."""
        number = self.number(f"turn {turn}")
        running = model.running()
        due = model.next_due()
        if number % 41 == 40 and turn > 2:
            return Move("control", value="cancel")
        if model.world.paused_at is not None and (number % 3 == 0 or not running):
            return Move("control", value="resume frozen" if number % 2 else "resume running")
        if number % 37 == 36 and turn > 1 and model.world.paused_at is None:
            return Move("control", value="pause")
        if number % 11 == 10:
            return self._message(model, turn)
        if due is not None and (not running or number % 6 == 5):
            return Move("pass", due=due)
        if running:
            return self._result(model, running[number // 7 % len(running)])
        return self._asked(model, turn)

    def _result(self, model: Model, path: str) -> Move:
        number = self.number(f"{path} {model.instance(path).attempt}")
        if model.stopping(path) and number % 3:
            return Move("stopped", path)
        if number % 10 < 6:
            return Move("succeed", path, number % 9)
        return Move("fail", path, FAILURES[number % 3])

    def _message(self, model: Model, turn: int) -> Move:
        number = self.number(f"message {turn}")
        if number % 3 == 2:
            return Move("event", f"e{turn}", name="ef"[number // 3 % 2], value=number % 9)
        key = "k" if number // 3 % 4 == 3 else ""
        return Move("signal", name=("ok", "go")[number % 2], value=number % 9, key=key, to_all=number // 2 % 5 == 4)

    def _asked(self, model: Model, turn: int) -> Move | None:
        """What a person says of a parked node, or what a wait is waiting for."""
        number = self.number(f"asked {turn}")
        for path, state in model.active().items():
            instance = model.instance(path)
            if state == "parked":
                return Move("operate", path, number % 9, name=("complete", "fail", "retry")[number % 3])
            if instance.waits_for == "child":
                return Move("child", path, number % 9, name=("succeeded", "failed", "cancelled", "timed_out")[number % 4])
        for path in model.active():
            instance = model.instance(path)
            if instance.waits_for == "signal":
                return Move("signal", name=instance.wait_name, key=instance.wait_key or "", value=number % 9)
            if instance.waits_for == "event":
                return Move("event", f"e{turn}", name=instance.wait_name, value=5 + number % 4)
        return None


# -- on the model ---------------------------------------------------------------------------------------------------------
def on_model(model: Model, move: Move) -> None:
    """Make a move."""
    ON_MODEL[move.kind](model, move)


def _control_model(model: Model, move: Move) -> None:
    action, _, clocks = move.value.partition(" ")
    if action == "resume":
        model.resume(frozen=clocks == "frozen")
    else:
        model.operate(action)
    model.pass_to(model.now)  # a timer may be due in this very moment (rule 2)


def _failure(move: Move) -> Failure:
    code, category = move.value
    return Failure(code=code, title=code, category=category)


def _child_error(move: Move) -> Failure | None:
    return Failure(code="x.child", title="x.child", category="business") if move.name == "failed" else None


ON_MODEL = {
    "succeed": lambda model, move: model.succeed(move.path, move.value),
    "fail": lambda model, move: model.fail(move.path, _failure(move)),
    "stopped": lambda model, move: model.stopped(move.path),
    "pass": lambda model, move: model.pass_to(move.due),
    "signal": lambda model, move: model.signal(move.name, move.value, key=move.key or None, to_all=move.to_all),
    "event": lambda model, move: model.event(
        {"id": move.path, "type": move.name, "source": "", "subject": "", "time": format_time(model.now), "data": move.value}
    ),
    "child": lambda model, move: model.child_ended(move.path, move.name, move.value, _child_error(move)),
    "operate": lambda model, move: model.operate(move.name, move.path, move.value if move.name == "complete" else None),
    "control": _control_model,
}


# -- on the engine --------------------------------------------------------------------------------------------------------
def on_engine(play: Recording, move: Move) -> None:
    """Make the same move."""
    ON_ENGINE[move.kind](play, move)


def placed(play: Recording, path: str) -> tuple[str, Instance]:
    """The frame and the instance at a path."""
    for frame, instance in play.execution.instances():
        if instance_path(frame.path, instance.node, instance.visit) == path:
            return frame.path, instance
    raise AssertionError(f"the engine has no `{path}`")


def child_of(instance: Instance) -> bytes:
    """The execution that an instance waits for."""
    assert instance.progress is not None, "a node that waits for a child knows which"
    return instance.progress.child


def token_of(play: Recording, path: str) -> events.Token:
    """The token of the present attempt."""
    frame, instance = placed(play, path)
    return events.Token(frame=frame, node=instance.node, visit=instance.visit, attempt=instance.attempt)


def _result(play: Recording, move: Move) -> None:
    fields: dict[str, Any] = {"outcome": {"succeed": "succeeded", "fail": "failed", "stopped": "stopped"}[move.kind]}
    if move.kind == "succeed":
        fields["output"] = play.encoded(move.value)
    elif move.kind == "fail":
        fields["error"] = _failure(move)
    play.take(events.Result(token=token_of(play, move.path), started=play.now, finished=play.now, **fields))


def _signal(play: Recording, move: Move) -> None:
    play.signal(move.name, move.value, key=move.key, **({"to_all": True} if move.to_all else {}))


def _event(play: Recording, move: Move) -> None:
    play.take(events.Arrived(id=move.path, type=move.name, at=play.now, data=play.encoded(move.value)))


def _child(play: Recording, move: Move) -> None:
    token = token_of(play, move.path)
    _, instance = placed(play, move.path)
    ended = events.ChildEnded(
        token=token, child=child_of(instance), status=move.name, output=play.encoded(move.value), error=_child_error(move)
    )  # fmt: skip
    play.take(ended)


def _operate(play: Recording, move: Move) -> None:
    frame, instance = placed(play, move.path)
    value = play.encoded(move.value) if move.name == "complete" else events.NOTHING
    play.take(
        events.Operate(
            action=move.name, by="operator", frame=frame, node=instance.node, visit=instance.visit, value=value
        )
    )  # fmt: skip


def _control(play: Recording, move: Move) -> None:
    action, _, clocks = move.value.partition(" ")
    play.take(events.Operate(action=action, by="operator", value=play.encoded(clocks) if clocks else events.NOTHING))
    _pass(play, play.now)


def _pass(play: Recording, until: int) -> None:
    """Let time pass; each timer fires at its own moment, in order."""
    for _ in range(TIMERS_MAX):
        due = play.index.next_due(play.execution)
        if due is None or due > until:
            play.now = max(play.now, until)
            return
        play.now = max(play.now, due)
        play.take(*play.index.take_due(play.execution, play.now))
    raise AssertionError("the engine's timers never end")


ON_ENGINE = {
    "succeed": _result,
    "fail": _result,
    "stopped": _result,
    "pass": lambda play, move: _pass(play, move.due),
    "signal": _signal,
    "event": _event,
    "child": _child,
    "operate": _operate,
    "control": _control,
}
