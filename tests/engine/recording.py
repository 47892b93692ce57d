"""A recording: a rehearsal that keeps the time of every row, may forget large values or its memory, and compares its index.

Built for the rules that speak of all steps: 2 (one by one), 3 (cut), recovery (refold), replay (the same inputs again).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from perdure.clock import MICROSECONDS
from perdure.definition.plan import Plan
from perdure.definition.spec import NodeSpec
from perdure.engine import events
from perdure.engine.codec import decode_row, decode_value
from perdure.engine.commands import Command, Evaluate
from perdure.engine.events import AnyFact, AnyInput
from perdure.engine.execution import WAITING, Execution
from perdure.engine.index import Index
from perdure.engine.machine import STEP_FACTS_MAX, Stepped
from perdure.engine.place import encode_bounded
from perdure.engine.replay import Recorded, restep
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

    def running(self) -> list[str]:
        """The nodes of the root frame that an attempt is under way for, in declaration order."""
        return [node for node, state in self.states().items() if state == "running"]

    def next_time(self) -> bool:
        """Let time pass to the next timer; False when there is none."""
        due = self.index.next_due(self.execution)
        if due is None:
            return False
        self.pass_time(max(0, due - self.now) / SECOND)
        return True

    def finish(self, outputs: Mapping[str, Any] | None = None) -> None:
        """Answer all that is outstanding, kindly: attempts succeed, or stop when asked; waits get what they wait for."""
        for _ in range(10_000):
            if self.execution.ended:
                return
            running = self.running()
            if running and self.instance(running[0]).stopping:
                self.stopped(running[0])
            elif running:
                self.succeed(running[0], (outputs or {}).get(running[0], f"{running[0]} done"))
            elif not (self._answer_parked() or self._answer_waiting() or self.next_time()):
                raise AssertionError(f"nothing can move this execution any more: {self.states()}")
        raise AssertionError("the execution never ends")

    def _answer_parked(self) -> bool:
        parked = [node for node, state in self.states().items() if state == "parked"]
        if parked:
            self.operate("complete", parked[0], value=self.encoded("by hand"))
        return bool(parked)

    def _answer_waiting(self) -> bool:
        for frame, instance in list(self.execution.instances()):
            if instance.state != WAITING:
                continue
            if instance.wait == "signal":
                self.take(events.Signal(id=f"answer{len(self.rows)}", name=instance.wait_name, key=instance.wait_key))
                return True
            if instance.wait == "deferred":
                token = events.Token(frame=frame.path, node=instance.node, visit=instance.visit, attempt=instance.attempt)
                self.take(events.Complete(token=token, output=self.encoded("later")))
                return True
        return False


def picture(index: Index, execution: Execution) -> dict[str, Any]:
    """What an index says, without what is stale in it."""
    leaving = any(opened.frame.departure is not None for opened in index.frames.values())
    ready = [
        (opened.frame.path, number)
        for opened, number in index.ready
        if opened.scope.nodes[number].id not in opened.frame.instances
    ]
    return {
        "counts": (index.running, index.waiting, index.parked),
        "frames": {path: (opened.open, list(opened.unresolved)) for path, opened in index.frames.items()},
        # A closing frame starts nothing more: what was ready there is skipped by its sweep.
        "ready": [] if leaving else ready,
        "timers": sorted({timer for timer in index.timers if index._counts(execution, timer)}),
    }
