"""Rule 1 of this house: every decision about where an execution goes next is taken here or in `elements/`.

`step` takes the inputs that arrived, one at a time and each to rest, and gives facts and commands. It is pure: no clock, no
chance, no I/O. Facts go through `evolve` at once, so that whoever decides next sees the present.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from perdure.definition.plan import NodePlan
from perdure.engine import events
from perdure.engine.codec import decode_value, handle_digest, handle_size
from perdure.engine.commands import Command, Stop
from perdure.engine.conclusions import conclude, inconclusive
from perdure.engine.elements import ELEMENTS, effect
from perdure.engine.events import AnyFact, AnyInput
from perdure.engine.execution import FINAL, Execution, Instance, evolve
from perdure.engine.failing import fail
from perdure.engine.index import MISSING, FrameIndex, Index, ValuesNeeded
from perdure.engine.inputs import TAKE, after_end
from perdure.engine.outstanding import command_for, token_of
from perdure.engine.place import NodeRefused, Place, encode_bounded

STEP_FACTS_MAX = 1_000
"""A step that has stated this many facts is cut, committed, and continued (rule 3)."""

Facts = Iterable[AnyFact]


class Stepped(msgspec.Struct, kw_only=True):
    """What a step came to. `taken`: the inputs as they are journaled; those after `taken` were not looked at yet."""

    facts: list[AnyFact]
    commands: list[Command]
    taken: list[AnyInput]
    blobs: dict[bytes, bytes]
    at_rest: bool
    needs: frozenset[bytes] = frozenset()


def step(
    execution: Execution, index: Index, inputs: Sequence[AnyInput], at: int, *, facts_max: int = STEP_FACTS_MAX
) -> Stepped:
    """Take the inputs in order, each to rest. Changes `execution` and `index`; see `Stepped` for what comes out.

    The caller sorts inputs by rule 2 and brings `at`, microseconds UTC, never smaller than the execution's last.
    """
    taking = Step(execution, index, at, facts_max)
    needs: frozenset[bytes] = frozenset()
    at_rest = True
    for given in inputs:
        taking.taken.append(given)
        try:
            if execution.ended:
                after_end(taking, given)
            else:
                TAKE[type(given)](taking, given)
        except ValuesNeeded as lacking:  # before it stated anything: the input is still to be taken
            taking.taken.pop()
            needs = lacking.digests
            break
        try:
            at_rest = taking.settle()
        except ValuesNeeded as lacking:
            at_rest, needs = False, lacking.digests
        if not at_rest:
            break
    return Stepped(
        facts=taking.facts, commands=taking.commands, taken=taking.taken, blobs=taking.blobs, at_rest=at_rest, needs=needs
    )


class Step:
    """One step while it is being taken."""

    __slots__ = ("at", "blobs", "commands", "execution", "facts", "facts_max", "index", "taken")

    def __init__(self, execution: Execution, index: Index, at: int, facts_max: int) -> None:
        self.execution = execution
        self.index = index
        self.at = at
        self.facts_max = facts_max
        self.facts: list[AnyFact] = []
        self.commands: list[Command] = []
        self.taken: list[AnyInput] = []
        self.blobs: dict[bytes, bytes] = {}
        execution.at = at

    # -- stating facts ------------------------------------------------------------------------------------------------

    def emit(self, fact: AnyFact) -> None:
        """State a fact: it is remembered at once, and what follows from it is counted."""
        self.facts.append(fact)
        execution = self.execution
        if not isinstance(fact, events.InstanceFact):
            evolve(execution, fact)
            follow = FOLLOW.get(type(fact))
            if follow is not None:
                follow(self, fact)
            return
        index = self.index
        opened = index.frames[fact.frame]
        instances = opened.frame.instances
        before = instances.get(fact.node)
        if before is not None:
            index.count(before, -1)
        evolve(execution, fact)
        after = instances[fact.node]
        node = opened.scope.nodes[opened.scope.number[fact.node]]
        if after.state >= FINAL:
            index.finished(opened, node)
            return
        index.count(after, +1)
        if after.due or after.deadline_at or after.wait_timeout_at:
            index.arm_instance(fact.frame, after)
        if type(fact) is events.Scheduled:
            self.commands.append(command_for(execution, index, opened, node, after, self.at))

    def emit_all(self, facts: Facts) -> None:
        for fact in facts:
            self.emit(fact)

    def encoded(self, value: Any) -> Raw:
        return encode_bounded(value, self.keep_blob)

    def value(self, raw: Raw) -> Any:
        """The value that `raw` holds or stands for. Raises ValuesNeeded where it is not in memory."""
        digest = handle_digest(raw)
        if digest is None:
            return decode_value(raw)
        body = self.blobs.get(digest)
        if body is not None:
            return decode_value(body)
        found = self.index.resident.get(digest, MISSING)
        if found is MISSING:
            raise ValuesNeeded(digest, handle_size(raw))
        return found

    def keep_blob(self, digest: bytes, body: bytes) -> None:
        self.blobs[digest] = body

    # -- coming to rest -----------------------------------------------------------------------------------------------

    def settle(self) -> bool:
        """Start what is ready and conclude what is at rest, until nothing is left; False when the step was cut."""
        index = self.index
        ready = index.ready
        while True:
            while ready:
                opened, number = ready[0]
                node = opened.scope.nodes[number]
                if node.id in opened.frame.instances or opened.frame.departure is not None:
                    ready.popleft()  # the frame is being left: the sweep skips what has not started
                    continue
                if len(self.facts) >= self.facts_max:
                    return False
                self.judge(opened, node)  # may raise ValuesNeeded: then it is still the first
                ready.popleft()
            if not conclude(self):
                return not inconclusive(self)

    def judge(self, opened: FrameIndex, node: NodePlan) -> None:
        """All incoming edges of a pending node are resolved: run it, or skip it (rules 5, 6, 7)."""
        place = Place(self, opened, node)
        if node.incoming:
            broken = place.first_broken()
            if broken is not None:
                return self.emit(self.skipped(place, self.cause_of(opened, broken.source), broken=True))
            if not place.live_edges():
                return self.emit(self.skipped(place, "no incoming edge was taken"))
        if node.disabled:
            return self.emit(self.skipped(place, "disabled"))
        self.enter(place)

    def enter(self, place: Place) -> None:
        """Run the node: `when`, then its element."""
        node = place.node
        try:
            if node.when is not None and not place.boolean(node.when, "when"):
                return self.emit(self.skipped(place, f"`when` is false: {node.when.source}"))
            self.emit_all(ELEMENTS.get(node.type, effect).enter(place))
        except NodeRefused as refused:
            fail(self, place.opened, node, refused.failure)

    def cause_of(self, opened: FrameIndex, source: int) -> str:
        """Why an edge from this node is broken, in a sentence that names the failure at its root."""
        instance = opened.frame.instances[opened.scope.nodes[source].id]
        if instance.error is not None:
            return f"`{instance.node}` failed: {instance.error.title}"
        return instance.cause

    def skipped(self, place: Place, cause: str, *, broken: bool = False) -> events.Skipped:
        return events.Skipped(frame=place.opened.frame.path, node=place.node.id, visit=place.visit, cause=cause, broken=broken)

    def stop(self, opened: FrameIndex, instance: Instance, cause: str, *, deadline: bool = False) -> None:
        """Ask a running attempt to stop; it is over only when it says so (rule 12)."""
        frame = opened.frame.path
        self.emit(events.Stopping(frame=frame, node=instance.node, visit=instance.visit, cause=cause, deadline=deadline))
        self.commands.append(Stop(token=token_of(opened.frame, instance), reason=cause))

    def ask(self, opened: FrameIndex, node: NodePlan, instance: Instance) -> None:
        """Ask the world once more for what the state says is running."""
        self.commands.append(command_for(self.execution, self.index, opened, node, instance, self.at))


# -- what follows from a fact that is not about an instance ---------------------------------------------------------------


def _after_started(step: Step, fact: events.Started) -> None:
    step.index.open_frame(step.execution.frames[""], step.index.plan.root)
    step.index.arm_workflow(step.execution)


def _after_variable(step: Step, fact: events.VariableSet) -> None:
    step.index.values.pop((fact.frame, f"(vars.{fact.name})"), None)


def _after_departing(step: Step, fact: events.Departing) -> None:
    step.index.frames[fact.frame].swept = 0


FOLLOW: dict[type[Any], Callable[[Step, Any], None]] = {
    events.Started: _after_started,
    events.VariableSet: _after_variable,
    events.Departing: _after_departing,
}
