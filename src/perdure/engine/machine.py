"""Rule 1 of this house: every decision about where an execution goes next is taken within a `step`.

`step` takes the inputs that arrived, one at a time and each to rest, and gives facts and commands. It is pure: no clock, no
chance, no I/O. What an input means stands in `inputs.py` and `operators.py`, what a node does in `elements/`, what follows at
rest in `conclusions.py`; whatever they decide becomes a fact here, and goes through `evolve` at once, so that whoever decides
next sees the present.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from perdure.definition.plan import Edge, NodePlan
from perdure.engine import events, joins, regions
from perdure.engine.codec import decode_value, handle_digest, handle_size
from perdure.engine.commands import Command, Stop
from perdure.engine.compensations import kept_names, may_have_happened, names_kept, register
from perdure.engine.conclusions import conclude
from perdure.engine.containers import is_left
from perdure.engine.elements import ELEMENTS, effect
from perdure.engine.events import NOTHING, AnyFact, AnyInput
from perdure.engine.evolution import evolve
from perdure.engine.execution import FINAL, PARKED, RUNNING, WAITING, Execution, Instance
from perdure.engine.failing import fail, parks, unhandled
from perdure.engine.index import MISSING, FrameIndex, Index, ValuesNeeded, goes_on
from perdure.engine.inputs import TAKE, after_end
from perdure.engine.outstanding import ASKED_FOR, command_for, command_of_wait, token_of
from perdure.engine.place import NodeRefused, Place, encode_bounded
from perdure.engine.returning import edge_back, exhausted, go_back, is_exhausted
from perdure.errors import Failure
from perdure.expressions import value_text
from perdure.ids import instance_path

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


class StepFull(BaseException):
    """The step has stated as many facts as it may, and more would follow (rule 3). Not an Exception: no evaluation takes it."""


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

    __slots__ = ("at", "blobs", "commands", "execution", "facts", "facts_max", "index", "sealed", "taken", "untrue")

    def __init__(self, execution: Execution, index: Index, at: int, facts_max: int) -> None:
        self.execution = execution
        self.index = index
        self.at = at
        self.facts_max = facts_max
        self.facts: list[AnyFact] = []
        self.commands: list[Command] = []
        self.taken: list[AnyInput] = []
        self.blobs: dict[bytes, bytes] = {}
        self.sealed = False  # what follows may still be looked at, and not be stated any more
        self.untrue: dict[tuple[str, str], int] = {}  # conditions that were judged in vain, by the last fact they knew
        execution.at = at

    # -- stating facts ------------------------------------------------------------------------------------------------

    def emit(self, fact: AnyFact) -> None:
        """State a fact: it is remembered at once, and what follows from it is counted."""
        if self.sealed:
            raise StepFull
        if not isinstance(fact, events.InstanceFact):
            self.facts.append(fact)
            evolve(self.execution, fact)
            follow = FOLLOW.get(type(fact))
            if follow is not None:
                follow(self, fact)
            return
        index = self.index
        opened = index.frames[fact.frame]
        node = opened.scope.nodes[opened.scope.number[fact.node]]
        back = edge_back(opened, node, fact.ports) if node.again and isinstance(fact, events.Done | events.NodeFailed) else None
        if back is not None and is_exhausted(opened, back):
            return self._visited_too_often(opened, node, back, fact)
        names = kept_names(self, opened, node, fact) if "compensate" in node.scopes else NOTHING
        self._remember(opened, node, fact, back, names)

    def _remember(self, opened: FrameIndex, node: NodePlan, fact: Any, back: Edge | None, names: Raw) -> None:
        """An instance fact: its counters, its edges, and what it asks of the world."""
        execution, index, instances = self.execution, self.index, opened.frame.instances
        self.facts.append(fact)
        before = instances.get(fact.node)
        state, params = 0, NOTHING
        kept: tuple[str, ...] = ()
        if before is not None:
            index.count(fact.frame, before, -1)
            state, params = before.state, before.params
            if before.progress is not None:
                kept = tuple(before.progress.kept)
        evolve(execution, fact)
        after = instances[fact.node]
        if index.conditions:
            index.changed[fact.frame, fact.node] = execution.seq
        for path in kept:
            if path not in execution.frames:
                index.drop_frame(path)
        if after.state >= FINAL:
            return self._ended(opened, node, after, back, state, params, names)
        index.count(fact.frame, after, +1)
        if after.due or after.deadline_at or after.wait_timeout_at or after.progress is not None:
            index.arm_instance(fact.frame, after)
        ask = ASK.get(type(fact))
        if ask is not None:
            ask(self, opened, node, after)

    def _ended(
        self, opened: FrameIndex, node: NodePlan, instance: Instance, back: Edge | None, was: int, params: Raw, names: Raw
    ) -> None:  # fmt: skip
        """An instance is final: its edges are resolved, its lock is free, what undoes it is registered."""
        index, frame = self.index, opened.frame
        if back is not None:
            opened.open -= 1  # its edges stay unresolved until the next visit (rule 34)
        else:
            for edge in index.finished(opened, node, instance):
                join = opened.scope.nodes[edge.target]
                visit = frame.visit_of(join.id)
                self.emit(events.Late(frame=frame.path, node=join.id, visit=visit, attempt=0, what=f"arrival of {edge.entry}"))
        if "compensate" in node.scopes:
            attempted = may_have_happened(instance, was)
            register(self, opened, node, instance, params, names, attempted=attempted)
        if instance.lock:
            self.emit(events.Unlocked(frame=frame.path, node=node.id, visit=instance.visit, key=instance.lock))
        if goes_on(node, instance):
            index.attend_container(frame.path, instance)
        if back is not None:
            go_back(self, opened, node, back)

    def _visited_too_often(self, opened: FrameIndex, node: NodePlan, edge: Edge, fact: Any) -> None:
        """The source fails in place of going back; an edge for failures that goes back itself cannot take that (rule 36)."""
        cause: Failure | None = getattr(fact, "error", None)
        failure = exhausted(opened, edge, cause)
        instance = opened.instance(node)
        attempt = instance.attempt if instance is not None else 0
        may_park = cause is None or cause.code != "timeout.deadline"  # with its time over nobody need be asked (rule 14)
        if edge.port == "error":
            frame = opened.frame
            failure = msgspec.structs.replace(failure, node=instance_path(frame.path, node.id, frame.visit_of(node.id)))
            was_asked = instance is not None and instance.state == PARKED
            if may_park and not was_asked and parks(self, opened, node, failure, by_edges=False):
                return self.emit(
                    events.Parked(
                        frame=frame.path, node=node.id, visit=frame.visit_of(node.id), attempt=attempt, error=failure
                    )
                )  # fmt: skip
            if was_asked and cause is not None:
                failure = cause
            self._remember(opened, node, msgspec.structs.replace(fact, error=failure, ports=()), None, NOTHING)
            return unhandled(self, opened, node, failure)
        fail(self, opened, node, failure, attempt=attempt, finished=self.at, may_retry=False, may_park=may_park)

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
        """Start what is ready and conclude what is at rest, until nothing is left; False when the step was cut.

        A step that is full looks on whether anything follows: one that comes to rest with its last fact was not cut.
        """
        blobs: set[bytes] | None = None
        try:
            while not self.execution.paused_at and not self.execution.ended:
                if blobs is None and self.is_full():
                    self.sealed, blobs = True, set(self.blobs)
                if not self._go_on():
                    return True
            return True
        except StepFull:
            self.blobs = {digest: body for digest, body in self.blobs.items() if blobs is None or digest in blobs}
            return False
        finally:
            self.sealed = False

    def _go_on(self) -> bool:
        """Begin one node that is ready, else draw one conclusion; False where nothing is left."""
        index = self.index
        while (first := index.first_ready()) is not None:
            opened, number = first
            node = opened.scope.nodes[number]
            if self._may_start(opened, node):
                self.judge(opened, node)  # may raise ValuesNeeded: then it is still the first
                index.begun()
                return True
            index.begun()  # already; or the frame is being left, and the sweep skips what has not started
        return conclude(self)

    def is_full(self) -> bool:
        """Has the step stated as many facts as it may (rule 3)?"""
        return len(self.facts) >= self.facts_max

    def _may_start(self, opened: FrameIndex, node: NodePlan) -> bool:
        instance = opened.frame.instances.get(node.id)
        if instance is not None and (node.type != "join" or instance.state != WAITING):
            return False  # a join whose deadline runs is asked again; one that is parked is not
        if node.index in opened.resetting:
            return False
        departure = opened.frame.departure
        if departure is not None and (instance is None or departure.kind != "drain"):
            return False  # but a join that counts already is among what a drain lets end (rule 13)
        return opened.outer is None or not is_left(opened)

    def judge(self, opened: FrameIndex, node: NodePlan) -> None:
        """All incoming edges of a pending node are resolved: run it, or skip it (rules 5, 6, 7). A join is asked each time."""
        place = Place(self, opened, node)
        if node.type == "join":
            return self._judge_join(place)
        lost = regions.lost_to(opened, node)
        if lost is not None:
            return self.emit(self.skipped(place, joins.why_lost(opened, lost)))
        if node.incoming:
            broken = place.first_broken()
            if broken is not None:
                return self.emit(self.skipped(place, self.cause_of(opened, broken.source), broken=True))
            if not place.live_edges():
                return self.emit(self.skipped(place, "no incoming edge was taken"))
        if node.disabled:
            return self.emit(self.skipped(place, "disabled"))
        self.enter(place)

    def _judge_join(self, place: Place) -> None:
        try:
            self.emit_all(joins.judge(self, place))
        except NodeRefused as refused:
            fail(self, place.opened, place.node, refused.failure, finished=self.at)

    def enter(self, place: Place) -> None:
        """Run the node: `when`, then its lock, then its element."""
        node = place.node
        try:
            if node.when is not None and not place.boolean(node.when, "when"):
                return self.emit(self.skipped(place, f"`when` is false: {node.when.source}"))
            instance = place.instance()
            if node.lock is not None and (instance is None or not instance.lock):
                key = value_text(place.evaluate(node.lock, "lock"))
                return self.emit(place.waiting("lock", timed=False, key=key, name="lock", ready=place.at))
            names_kept(self, place.opened, node)  # its last fact may need them, and a value may be lacking
            self.emit_all(ELEMENTS.get(node.type, effect).enter(place))
        except NodeRefused as refused:
            fail(self, place.opened, node, refused.failure)

    def begin(self, place: Place, *before: AnyFact) -> None:
        """Begin an attempt of a node whose `when` and lock are behind it; `before` is stated once nothing can be lacking."""
        node = place.node
        instance = place.instance()
        names_kept(self, place.opened, node)  # its last fact may need them, and a value may be lacking
        try:
            facts = iter(ELEMENTS.get(node.type, effect).enter(place))
            first = next(facts, None)
        except NodeRefused as refused:
            self.emit_all(before)
            attempt = instance.attempt if instance is not None else 0
            return fail(self, place.opened, node, refused.failure, attempt=attempt, may_retry=False)
        self.emit_all(before)
        if first is not None:
            self.emit(first)
        self.emit_all(facts)

    def advance(self, opened: FrameIndex, node: NodePlan) -> None:
        """Let a container do one thing more, if its state allows."""
        instance = opened.instance(node)
        if instance is None or not goes_on(node, instance):
            return
        try:
            if node.type == "join":
                return joins.release_loser(self, opened, node, instance)
            self.emit_all(ELEMENTS[node.type].advance(Place(self, opened, node)))
        except NodeRefused as refused:
            fail(self, opened, node, refused.failure, attempt=instance.attempt, started=instance.ready, finished=self.at)

    def cause_of(self, opened: FrameIndex, source: int) -> str:
        """Why an edge from this node is broken, in a sentence that names the failure at its root."""
        instance = opened.frame.instances[opened.scope.nodes[source].id]
        if instance.error is not None:
            return f"`{instance.node}` failed: {instance.error.title}"
        return instance.cause

    def skipped(self, place: Place, cause: str, *, broken: bool = False) -> events.Skipped:
        return events.Skipped(frame=place.opened.frame.path, node=place.node.id, visit=place.visit, cause=cause, broken=broken)

    def stop(self, opened: FrameIndex, instance: Instance, cause: str, *, deadline: bool = False, then: str = "") -> None:
        """Ask a running attempt to stop; it is over only when it says so (rule 12)."""
        frame = opened.frame.path
        self.emit(
            events.Stopping(frame=frame, node=instance.node, visit=instance.visit, cause=cause, deadline=deadline, then=then)
        )

    def ask(self, opened: FrameIndex, node: NodePlan, instance: Instance) -> None:
        """Ask the world once more for what the state says is running."""
        self.commands.append(command_for(self.execution, self.index, opened, node, instance, self.at))


# -- what an instance fact asks of the world -------------------------------------------------------------------------------


def _ask_for_attempt(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance) -> None:
    step.ask(opened, node, instance)


def _ask_for_wait(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance) -> None:
    if instance.wait in ASKED_FOR:
        command = command_of_wait(step.execution, opened, node, instance)
        if command is not None:
            step.commands.append(command)


def _ask_to_stop(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance) -> None:
    if instance.state == RUNNING:
        step.commands.append(Stop(token=token_of(opened.frame, instance), reason=instance.stopping))
    elif instance.state == WAITING:
        _ask_for_wait(step, opened, node, instance)
    elif instance.progress is not None:
        _ask_to_advance(step, opened, node, instance)


def _ask_to_advance(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance) -> None:
    step.index.attend_container(opened.frame.path, instance)


ASK: dict[type[Any], Callable[[Step, FrameIndex, NodePlan, Instance], None]] = {
    events.Scheduled: _ask_for_attempt,
    events.Waiting: _ask_for_wait,
    events.Stopping: _ask_to_stop,
    events.Opened: _ask_to_advance,
}


# -- what follows from a fact that is not about an instance ---------------------------------------------------------------


def _after_started(step: Step, fact: events.Started) -> None:
    step.index.open_frame(step.execution.frames[""])
    step.index.arm_workflow(step.execution)


def _after_variable(step: Step, fact: events.VariableSet) -> None:
    index = step.index
    index.forget(fact.frame, f"(vars.{fact.name})")
    if index.conditions:
        index.changed[fact.frame, f"(vars.{fact.name})"] = step.execution.seq


def _after_departing(step: Step, fact: events.Departing) -> None:
    index = step.index
    opened = index.frames[fact.frame]
    opened.swept = 0
    if opened.resetting:
        index.count_anew(opened)
    index.look_at(opened)
    departure = opened.frame.departure
    if departure is not None and departure.cleanup_at:
        index.arm(departure.cleanup_at, "departure", fact.frame)
    if fact.kind != "drain":
        index.leave_frame(opened)
        _touch(step, opened)


def _touch(step: Step, opened: FrameIndex) -> None:
    """Something happened to a frame that its container must know."""
    outer, frame = opened.outer, opened.frame
    instance = outer.frame.instances.get(frame.node) if outer is not None else None
    if instance is not None:
        step.index.attend_container(frame.parent, instance)


def _after_frame_opened(step: Step, fact: events.FrameOpened) -> None:
    frame = next(reversed(step.execution.frames.values()))  # evolve has just put it there
    opened = step.index.open_frame(frame)
    if not _is_full(opened):
        _touch(step, opened)


def _is_full(opened: FrameIndex) -> bool:
    """Does the container of a frame that was just opened have as many open as it may? Then it has nothing to do but wait."""
    if opened.container is None or opened.outer is None:
        return False
    instance = opened.outer.instance(opened.container)
    progress = instance.progress if instance is not None else None
    return progress is not None and 0 < progress.concurrency <= progress.open


def _after_frame_closed(step: Step, fact: events.FrameClosed) -> None:
    index, opened = step.index, step.index.frames[fact.frame]
    if index.conditions:
        index.changed[opened.frame.parent, opened.frame.node] = step.execution.seq  # `last` is another one
    _touch(step, opened)
    step.index.close_frame(opened)


def _after_items(step: Step, fact: events.ItemsAdded | events.Chunked) -> None:
    step.index.attend_container(fact.frame, step.execution.frames[fact.frame].instances[fact.node])


def _after_returning(step: Step, fact: events.Returning) -> None:
    step.index.leave_region(step.index.frames[fact.frame])


def _after_revisited(step: Step, fact: events.Revisited) -> None:
    step.index.visit_again(step.index.frames[fact.frame])
    step.untrue = {}  # what was judged may have read an output that is gone


def _after_resumed(step: Step, fact: events.Resumed) -> None:
    step.index.arm_all(step.execution)


FOLLOW: dict[type[Any], Callable[[Step, Any], None]] = {
    events.Started: _after_started,
    events.VariableSet: _after_variable,
    events.Departing: _after_departing,
    events.FrameOpened: _after_frame_opened,
    events.FrameClosed: _after_frame_closed,
    events.ItemsAdded: _after_items,
    events.Chunked: _after_items,
    events.Returning: _after_returning,
    events.Revisited: _after_revisited,
    events.Resumed: _after_resumed,
}
