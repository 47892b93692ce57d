"""A recording: a rehearsal that keeps the time of every row, may forget large values or its memory, and compares its index.

Built for the rules that speak of all steps: 2 (one by one), 3 (cut), recovery (refold), replay (the same inputs again).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from perdure.clock import MICROSECONDS
from perdure.definition.plan import Plan
from perdure.definition.spec import NodeSpec
from perdure.engine import events
from perdure.engine.codec import decode_row, decode_value
from perdure.engine.commands import Command, Evaluate
from perdure.engine.containers import is_left
from perdure.engine.events import AnyFact, AnyInput
from perdure.engine.execution import OPEN, PARKED, RUNNING, WAITING, Execution, Frame, Instance, path_of
from perdure.engine.index import FrameIndex, Index
from perdure.engine.machine import STEP_FACTS_MAX, Stepped
from perdure.engine.place import encode_bounded
from perdure.engine.replay import Recorded, restep
from perdure.engine.timers import counts
from perdure.testing.rehearsal import EXECUTION, Rehearsal

SECOND = MICROSECONDS
TIMES_NEEDED_MAX = 1_000


class Recording(Rehearsal):
    """A rehearsal that can be repeated.

    `forgetful`: large values leave memory after every step, so that steps must ask for them (day-one 29).
    `refolds`: after every step the state is folded from the journal and the index rebuilt, as after a crash.
    `compares`: after every step a rebuilt index is compared with the live one; not where timers are taken out of it by hand.
    """

    def __init__(
        self, document: Mapping[str, Any] | Plan, *, facts_max: int = STEP_FACTS_MAX,
        specs: Mapping[str, NodeSpec] | None = None, forgetful: bool = False, refolds: bool = False, compares: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(document, facts_max=facts_max, specs=specs)
        self.forgetful = forgetful
        self.refolds = refolds
        self.compares = compares
        self.ats: list[int] = []  # of each row
        self.cuts = 0
        self.fetches = 0

    # -- playing ------------------------------------------------------------------------------------------------------

    def encoded(self, value: Any) -> msgspec.Raw:
        """A value as the home hands it in: a large one by handle."""
        return encode_bounded(value, self.keep)

    def keep(self, digest: bytes, body: bytes) -> None:
        """A large value is durable, and in memory unless this recording forgets."""
        self.bodies[digest] = body
        if not self.forgetful:
            self.resident[digest] = decode_value(body)

    def start(self, input: Any = None, **fields: Any) -> list[AnyFact]:
        return self.take(events.Start(execution=EXECUTION, input=self.encoded(input), **fields))

    def succeed(self, node: str, output: Any = None, **fields: Any) -> list[AnyFact]:
        return self.take(self.result(node, output=self.encoded(output), **fields))

    def take(self, *inputs: AnyInput) -> list[AnyFact]:
        before = len(self.facts)
        waiting = list(inputs)
        needed = 0
        while waiting:
            done = self._step(waiting)
            waiting = waiting[len(done.taken) :]
            if done.needs:
                needed += 1
                assert needed < TIMES_NEEDED_MAX, "the step asks for the same values for ever"
                self._fetch(done.needs)
            elif self.forgetful:
                self.resident.clear()
            if not done.at_rest:
                waiting.insert(0, events.Continue())
            waiting += self._evaluations(done.commands)
        return self.facts[before:]

    def _evaluations(self, commands: Iterable[Command]) -> list[AnyInput]:
        return [self._evaluated(command) for command in commands if isinstance(command, Evaluate)]

    def _evaluated(self, command: Evaluate) -> events.Result:
        result = super()._evaluated(command)
        if result.outcome != "succeeded":
            return result
        return msgspec.structs.replace(result, output=self.encoded(decode_value(result.output)))

    def _fetch(self, digests: Iterable[bytes]) -> None:
        for digest in digests:
            self.resident[digest] = decode_value(self.bodies[digest])
            self.fetches += 1

    def _step(self, inputs: list[AnyInput]) -> Stepped:
        rows = len(self.rows)
        done = super()._step(inputs)
        if self.forgetful:
            for digest in done.blobs:
                self.resident.pop(digest, None)
        self.cuts += not done.at_rest
        self.ats += [self.now] * (len(self.rows) - rows)
        pending = inputs[len(done.taken) :]
        taken_out = any(isinstance(given, events.Due) for given in pending)  # timers still to be stepped stand in no index
        if self.compares and not taken_out and not self.execution.ended:
            self.compare_index()
        if self.refolds:
            self.refold()
        return done

    # -- comparing ----------------------------------------------------------------------------------------------------

    def compare_index(self) -> None:
        """What an index rebuilt from the state holds is what the live one holds."""
        rebuilt = Index.rebuilt(self.plan, self.execution, self.resident)
        live, again = picture(self.index, self.execution), picture(rebuilt, self.execution)
        assert live == again, f"the live index has {live}, a rebuilt one {again}"

    def bytes_of_facts(self) -> list[bytes]:
        """Every fact as it is stored."""
        return [msgspec.msgpack.encode(fact) for fact in self.facts]

    def restepped(self) -> list[str]:
        """What comes out otherwise when the recorded inputs are stepped again from nothing, at the recorded times."""
        first, recorded = 1, []
        for row, at in zip(self.rows, self.ats, strict=True):
            body = decode_row(row)
            recorded.append(Recorded(first_seq=first, at=at, body=body))
            first += len(body.facts)
        return restep(self.plan, recorded, {digest: decode_value(body) for digest, body in self.bodies.items()})

    # -- going on by itself -------------------------------------------------------------------------------------------

    def active(self, *states: int) -> list[tuple[Frame, Instance]]:
        """The instances that are in one of these states, in the order of frames and of declaration."""
        return [
            (opened.frame, instance)
            for opened in self.index.frames.values()
            for node in opened.scope.nodes
            if (instance := opened.instance(node)) is not None and instance.state in states
        ]

    def running(self) -> list[str]:
        """The paths of the nodes that an attempt is under way for."""
        return [path_of(frame, instance) for frame, instance in self.active(RUNNING)]

    def next_time(self) -> bool:
        """Let time pass to the next timer; False when there is none."""
        due = self.index.next_due(self.execution)
        if due is None:
            return False
        self.pass_time(max(0, due - self.now) / SECOND)
        return True

    def finish(self, outputs: Mapping[str, Any] | None = None) -> None:
        """Answer all that is outstanding, kindly: what runs succeeds, or stops as asked; what waits gets what it waits for."""
        for _ in range(10_000):
            if self.execution.ended:
                return
            if not any(answer(outputs or {}) for answer in (
                self._resume, self._answer_attempt, self._answer_parked, self._answer_waiting, self._close_loop, self._wait,
            )):  # fmt: skip
                raise AssertionError(f"nothing can move this execution any more: {self.states()}")
        raise AssertionError("the execution never ends")

    def _resume(self, outputs: Mapping[str, Any]) -> bool:
        return bool(self.execution.paused_at and self.operate("resume"))

    def _answer_attempt(self, outputs: Mapping[str, Any]) -> bool:
        for path in self.running():
            if self.instance(path).stopping:
                return bool(self.stopped(path))
            return bool(self.succeed(path, outputs.get(path, f"{path} done")))
        return False

    def _answer_parked(self, outputs: Mapping[str, Any]) -> bool:
        for frame, instance in self.active(PARKED):
            return bool(self.operate("complete", path_of(frame, instance), value=self.encoded("by hand")))
        return False

    def _answer_waiting(self, outputs: Mapping[str, Any]) -> bool:
        for frame, instance in self.active(WAITING):
            if instance.wait in ANSWERS:
                return bool(ANSWERS[instance.wait](self, frame, instance))
        return False

    def _close_loop(self, outputs: Mapping[str, Any]) -> bool:
        for frame, instance in self.active(OPEN):
            if instance.progress is not None and instance.progress.accepts and not instance.stopping:
                return bool(self.signal("close", path=path_of(frame, instance)))
        return False

    def _wait(self, outputs: Mapping[str, Any]) -> bool:
        return self.next_time()

    def token(self, frame: Frame, instance: Instance) -> events.Token:
        """The token of an instance's present attempt."""
        return events.Token(frame=frame.path, node=instance.node, visit=instance.visit, attempt=instance.attempt)


def _answer_signal(play: Recording, frame: Frame, instance: Instance) -> list[AnyFact]:
    return play.signal(instance.wait_name, key=instance.wait_key, path=path_of(frame, instance))


def _answer_deferred(play: Recording, frame: Frame, instance: Instance) -> list[AnyFact]:
    return play.take(events.Complete(token=play.token(frame, instance), output=play.encoded("later")))


def _answer_event(play: Recording, frame: Frame, instance: Instance) -> list[AnyFact]:
    """An event that fits has no name to go by: an operator ends the wait."""
    return play.operate("skip", path_of(frame, instance))


def _answer_lock(play: Recording, frame: Frame, instance: Instance) -> list[AnyFact]:
    given = events.Granted(frame=frame.path, node=instance.node, visit=instance.visit, key=instance.wait_key)
    return play.take(given)


def _answer_child(play: Recording, frame: Frame, instance: Instance) -> list[AnyFact]:
    token, progress = play.token(frame, instance), instance.progress
    assert progress is not None, "who waits for a child knows which"
    if play.index.node(frame.path, instance.node).options["wait"]:
        status = "cancelled" if instance.stopping else "succeeded"
        return play.take(
            events.ChildEnded(token=token, child=progress.child, status=status, output=play.encoded("the child's"))
        )
    return play.take(events.Result(token=token, output=play.encoded({"execution": "the child"})))


ANSWERS: dict[str, Callable[[Recording, Frame, Instance], list[AnyFact]]] = {
    "signal": _answer_signal, "deferred": _answer_deferred, "event": _answer_event, "condition": _answer_event,
    "lock": _answer_lock, "child": _answer_child,
}  # fmt: skip
"""How a wait is answered that does not end by itself."""


def picture(index: Index, execution: Execution) -> dict[str, Any]:
    """What an index says, without what is stale in it, or counts for nothing."""
    return {
        "counts": (index.running, index.waiting, index.parked),
        "frames": {path: _frame_picture(opened) for path, opened in index.frames.items()},
        "ready": list(
            dict.fromkeys((opened.frame.path, number) for opened, number in index.ready if _may_start(opened, number))
        ),
        "timers": sorted({timer for timer in index.timers if counts(execution, timer)}),
        "conditions": sorted(index.conditions),
        "events": index.events,
        "signals": index.signals,
    }


def _frame_picture(opened: FrameIndex) -> tuple[Any, ...]:
    """Nodes that are not final, edges that are not resolved, frames inside, arrivals at joins; of what may still run."""
    if opened.frame.closed:
        return ()
    unresolved = [left for number, left in enumerate(opened.unresolved) if number not in opened.resetting]
    arrivals = {
        number: (found.succeeded, found.failed, found.dead)
        for number, found in sorted(opened.arrivals.items())
        if number not in opened.resetting
    }
    inside = {node: sorted(frames) for node, frames in sorted(opened.inside.items())}
    return opened.open, unresolved, opened.held, inside, arrivals, sorted(opened.resetting)


def _may_start(opened: FrameIndex, number: int) -> bool:
    """Would a step that finds it ready begin it? Not in a frame that is left; a join with an expression may say no again."""
    node = opened.scope.nodes[number]
    if node.id in opened.frame.instances or number in opened.resetting or opened.frame.departure is not None:
        return False
    if is_left(opened):
        return False
    return node.type != "join" or node.options.get("need") is not None
