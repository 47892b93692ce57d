"""The reference interpreter follows a journal: the same inputs at the same times must come to the same end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from interpreter import Model
from lockstep import without_words
from reference import timers
from reference.settling import settle
from reference.shape import is_effect

from perdure.engine import events
from perdure.engine.codec import decode_value, handle_digest, inputs_as_given
from perdure.engine.events import RowBody, Token
from perdure.engine.evolution import evolve
from perdure.engine.execution import FINAL, STATE_NAMES, Execution
from perdure.expressions import format_time
from perdure.ids import instance_path
from perdure.store.contract import JournalRow
from perdure.testing.witness import Observed

TIMER_ORDERS: Mapping[str, frozenset[int]] = {
    "wait": frozenset({0}), "backoff": frozenset({0}), "attempt": frozenset({1}), "wait_timeout": frozenset({1}),
    "deadline": frozenset({2}), "cleanup": frozenset({9}), "scope": frozenset({0}), "departure": frozenset({9}),
    "timeout": frozenset({0}), "soft_timeout": frozenset({1}),
}  # fmt: skip
"""Which of the model's timers of one moment and path each of the engine's is."""

Blobs = Mapping[bytes, bytes]


class Follower:
    """A model that takes in what a journal says came in."""

    def __init__(self, document: Mapping[str, Any], blobs: Blobs) -> None:
        self._document = document
        self._blobs = blobs
        self.model: Model | None = None

    def take(self, row: JournalRow, body: RowBody) -> None:
        """The inputs of one step, at its time."""
        for given in inputs_as_given(body):
            if isinstance(given, events.Start):
                self.model = Model(self._document, input=self._value(given.input), at=row.at)
                if given.deadline_at:
                    self._hand_down(given.deadline_at)
                continue
            assert self.model is not None, "an execution begins with its start"
            self.model.world.at = max(self.model.world.at, row.at)
            TAKE[type(given)](self, self.model, given)

    def _value(self, raw: Any) -> Any:
        digest = handle_digest(raw)
        return decode_value(raw if digest is None else self._blobs[digest])

    def _hand_down(self, deadline: int) -> None:
        assert self.model is not None
        world = self.model.world
        world.timeout_at = deadline if world.timeout_at is None else min(world.timeout_at, deadline)

    # -- attempts -----------------------------------------------------------------------------------------------------

    def attempt(self, model: Model, token: Token) -> str | None:
        """The path of the attempt that a token names, where that is under way."""
        path = instance_path(token.frame, token.node, token.visit)
        try:
            instance = model.instance(path)
        except KeyError:
            return None
        return path if instance.attempt == token.attempt and not instance.final else None

    def result(self, model: Model, given: events.Result) -> None:
        path = self.attempt(model, given.token)
        if path is None or not is_effect(model.instance(path).node):
            return
        if given.outcome == "succeeded":
            model.succeed(path, self._value(given.output))
        elif given.outcome == "failed":
            assert given.error is not None, "what failed has an error"
            model.fail(path, given.error)
        elif path in model.running() and not model.stopping(path):
            model.lose([path], crashed=given.crashed)  # nobody asked it to stop: its worker gave it back
        else:
            model.stopped(path)

    def recovered(self, model: Model, given: events.Recovered) -> None:
        if not model.status:
            kept = {self.attempt(model, token) for token in given.kept}  # those go on elsewhere (rule 65)
            model.lose([path for path in model.running() if path not in kept], crashed=given.crashed)

    def child(self, model: Model, given: events.ChildEnded) -> None:
        path = self.attempt(model, given.token)
        if path is not None:
            model.child_ended(path, given.status, self._value(given.output), given.error)

    # -- messages -----------------------------------------------------------------------------------------------------

    def signal(self, model: Model, given: events.Signal) -> None:
        model.signal(
            given.name, self._value(given.payload), key=given.key or None, path=given.path, to_all=given.to_all
        )  # fmt: skip

    def event(self, model: Model, given: events.Arrived) -> None:
        model.event(
            {
                "id": given.id, "type": given.type, "source": given.source, "subject": given.subject,
                "time": format_time(given.at), "data": self._value(given.data),
            }
        )  # fmt: skip

    def operate(self, model: Model, given: events.Operate) -> None:
        value = self._value(given.value)
        if given.node:
            model.operate(given.action, instance_path(given.frame, given.node, given.visit), value)
        elif given.action == "resume":
            if model.world.paused_at is not None:
                model._end_pause(value != "running")
                settle(model.world)
        else:
            model.operate(given.action)

    # -- time ---------------------------------------------------------------------------------------------------------

    def due(self, model: Model, given: events.Due) -> None:
        """The timer that the journal names fires, if the model has it too."""
        frame, node = given.frame, given.node
        path = instance_path(frame, node, given.visit) if node else frame
        paths = {f"{frame} {path}", path} if node else {path}
        for timer in timers.pending(model.world):
            if timer.due == given.due and timer.path in paths and timer.order in TIMER_ORDERS[given.kind]:
                timer.fire()
                settle(model.world)
                return

    def nothing(self, model: Model, given: events.Continue) -> None:
        """A step that was cut goes on; the model's never are."""


TAKE: Mapping[type[Any], Callable[[Follower, Model, Any], None]] = {
    events.Result: Follower.result, events.Recovered: Follower.recovered, events.ChildEnded: Follower.child,
    events.Signal: Follower.signal, events.Arrived: Follower.event, events.Operate: Follower.operate,
    events.Due: Follower.due, events.Continue: Follower.nothing,
}  # fmt: skip


def is_followed(rows: Iterable[tuple[JournalRow, RowBody]]) -> bool:
    """Whether the model can follow: where a step was cut, it went on at once and with nothing in between (rule 3)."""
    cut_at: int | None = None
    for row, body in rows:
        if cut_at is not None and (row.at != cut_at or any(not isinstance(each, events.Continue) for each in body.inputs)):
            return False
        cut_at = row.at if body.cut else None
    return True


def differences(document: Mapping[str, Any], seen: Observed, blobs: Blobs) -> list[str]:
    """What the reference interpreter makes otherwise of what came in; empty where the two agree."""
    follower = Follower(document, blobs)
    for row, body in zip(seen.rows, seen.bodies, strict=True):
        follower.take(row, body)
    model = follower.model
    assert model is not None, "an execution begins with its start"
    state = seen.state
    found = []
    if model.status != state.status:
        found.append(f"status: the model says {model.status!r}, the engine {state.status!r}")
    ours, theirs = model.outcomes(), seen.outcomes()
    if ours != theirs:
        found.append(f"outcomes: only the model has {dict(ours - theirs)}, only the engine {dict(theirs - ours)}")
    codes = (model.error and model.error.code, state.error and state.error.code)
    if codes[0] != codes[1]:
        found.append(f"error: the model says {codes[0]!r}, the engine {codes[1]!r}")
    if state.status == "succeeded" and not found:
        output = follower._value(state.output)
        if without_words(model.output) != without_words(output):
            found.append(f"output: the model says {model.output!r}, the engine {output!r}")
    return found


def first_difference(document: Mapping[str, Any], seen: Observed, blobs: Blobs) -> str:
    """The first step after which the two run, or wait for, different things."""

    follower, state = Follower(document, blobs), Execution()
    for row, body in zip(seen.rows, seen.bodies, strict=True):
        follower.take(row, body)
        for fact in body.facts:
            evolve(state, fact)
        assert follower.model is not None
        active = {
            instance_path(frame.path, each.node, each.visit): STATE_NAMES[each.state]
            for frame, each in state.instances()
            if each.state < FINAL and not frame.closed
        }
        ours = follower.model.active()
        if not body.cut and not state.ended and not state.paused_at and active != ours:
            only = {path: state for path, state in ours.items() if active.get(path) != state}
            engine = {path: state for path, state in active.items() if ours.get(path) != state}
            return (
                f"after fact {row.first_seq} ({[type(each).__name__ for each in body.inputs]}): model {only}, engine {engine}"
            )
    return ""
