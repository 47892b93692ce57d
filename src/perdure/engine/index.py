"""What a step needs to be quick and could always work out anew from (plan, execution): counters, what is ready, what is due.

Nothing here is state: it is never stored, and `Index.rebuilt` after a crash gives the same order of readiness as the facts
gave live, since what is ready is ordered by the moment its last edge resolved, then by declaration (rules 2, 3).
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import Any, Protocol, TypeVar

from msgspec import Raw

from perdure.definition.plan import Edge, NodePlan, Plan, ScopePlan
from perdure.engine.codec import decode_value, handle_digest, handle_size
from perdure.engine.edges import Arrivals, arrival, is_looked_at, ready_since
from perdure.engine.events import Due
from perdure.engine.execution import BACKOFF, OPEN, PARKED, RUNNING, WAITING, Execution, Frame, Instance
from perdure.engine.timers import FRAME_TIMERS, TIMER_FIELDS, counts

MISSING: Any = object()

TIMERS_MIN = 256
"""Timers of an execution are swept of stale ones when there are more than this and twice what the last sweep left."""


Waits = dict[tuple[str, str], None]
"""Instances that wait, or back off from a wait, by frame and node."""

_Key = TypeVar("_Key")


class ValuesNeeded(BaseException):
    """The step lacks large values, named by digest; the home fetches them and goes on (day-one 29).

    Not an Exception, so that no evaluation can mistake it for a failure of the workflow's.
    """

    def __init__(self, digest: bytes, size: int) -> None:
        super().__init__(f"a value of {size} bytes is not in memory")
        self.digests = frozenset((digest,))
        self.size = size  # bytes, encoded


class LargeValues(Protocol):
    """Large values in memory, by digest: a dict will do."""

    def get(self, digest: bytes, default: Any, /) -> Any: ...


class FrameIndex:
    """Counters of one frame: edges still unresolved per node, nodes not yet final, frames of its containers."""

    __slots__ = (
        "arrivals",
        "container",
        "frame",
        "held",
        "inside",
        "open",
        "outer",
        "overtaken",
        "passed_over",
        "queued",
        "resetting",
        "released",
        "scope",
        "staying",
        "swept",
        "unresolved",
    )

    def __init__(self, frame: Frame, scope: ScopePlan, outer: FrameIndex | None) -> None:
        self.frame = frame
        self.scope = scope
        self.outer = outer  # the frame around it
        self.container = outer.scope.nodes[outer.scope.number[frame.node]] if outer is not None else None
        self.unresolved = list(scope.unresolved)
        self.open = len(scope.nodes)
        self.swept = 0  # nodes before this one need no more attention of a closing frame
        self.held = 0  # frames of its containers that have not ended
        self.inside: dict[str, dict[str, FrameIndex]] = {}  # those by container
        self.staying: dict[
            str, dict[str, FrameIndex]
        ] = {}  # those of them that a departure from further out has still to close
        self.released: dict[int, int] = {}  # joins that have ended, by how many nodes of their regions were told
        self.arrivals: dict[int, Arrivals] = {}  # of joins
        self.queued: dict[int, int] = {}  # of joins with an expression: how often each is among what is ready
        self.overtaken: dict[int, int] = {}  # of those: how many of their first entries there count no more
        self.passed_over: dict[int, tuple[int, int]] = {}  # by rollback: the registrations above the first and up to the second
        self.resetting: frozenset[int] = frozenset()  # nodes that wait for a fresh visit

    def instance(self, node: NodePlan) -> Instance | None:
        return self.frame.instances.get(node.id)

    @property
    def is_shielded(self) -> bool:
        """Does it clean up, so that no departure from further out reaches into it (rule 37)?"""
        is_finally = self.frame.name == "finally" and self.container is not None and self.container.type == "try"
        return is_finally or self.frame.compensates > 0

    def has_ended(self) -> bool:
        """Is everything in it final, so that the frame can end?"""
        return self.open == 0 and self.held == 0 and not self.frame.returns and not self.frame.closed

    def is_unswept(self) -> bool:
        """Is it being left, with nodes that were not looked at yet?"""
        return self.frame.departure is not None and self.swept < len(self.scope.nodes)


class Index:
    """The index of one hot execution."""

    __slots__ = (
        "attention", "changed", "closing", "conditions", "events", "frames", "order", "parked", "plan", "ready", "resident",
        "running", "signals", "timers", "timers_max", "values", "waiting",
    )  # fmt: skip

    def __init__(self, plan: Plan, resident: LargeValues) -> None:
        self.plan = plan
        self.resident = resident  # large values in memory, by digest; shared by all executions of a home
        self.frames: dict[str, FrameIndex] = {}
        self.ready: deque[tuple[FrameIndex, int]] = deque()
        self.values: dict[str, dict[str, Any]] = {}  # decoded small values by frame and name
        self.timers: list[tuple[int, str, str, str, int]] = []  # due, frame, node, kind, visit; stale ones are passed over
        self.timers_max = TIMERS_MIN
        self.running = self.waiting = self.parked = 0
        self.closing: list[tuple[int, str]] = []  # frames to sweep or to end, by the fact that opened them
        self.attention: dict[tuple[str, str], int] = {}  # containers that may go on, by the last fact that concerned them
        self.order: list[tuple[int, str, str]] = []  # the same as a heap
        self.conditions: Waits = {}  # waits for a condition
        self.changed: dict[tuple[str, str], int] = {}  # names by frame that changed since all were judged, by the last fact
        self.events: dict[str, Waits] = {}  # waits for an event, by its type
        self.signals: dict[tuple[str, str], Waits] = {}  # waits for a signal, by its name and key

    # -- values -------------------------------------------------------------------------------------------------------

    def value(self, key: tuple[str, str], raw: Raw) -> Any:
        """The decoded value that `raw` holds or stands for. Raises ValuesNeeded where it is not in memory."""
        frame, name = key
        known = self.values.get(frame)
        if known is None:
            known = self.values[frame] = {}
        found = known.get(name, MISSING)
        if found is MISSING:
            digest = handle_digest(raw)
            if digest is not None:
                found = self.resident.get(digest, MISSING)
                if found is MISSING:
                    raise ValuesNeeded(digest, handle_size(raw))
                return found
            found = known[name] = decode_value(raw)
        return found

    def forget(self, frame: str, name: str) -> None:
        """A value has changed, or is another node's now."""
        known = self.values.get(frame)
        if known is not None:
            known.pop(name, None)

    # -- frames -------------------------------------------------------------------------------------------------------

    def open_frame(self, frame: Frame) -> FrameIndex:
        """Index a frame that was opened just now: its starts are ready."""
        opened = self._indexed(frame)
        self.ready.extend((opened, start) for start in opened.scope.starts)
        if frame.timeout_at:
            self.arm(frame.timeout_at, "scope", frame.path)
        self.look_at(opened)
        return opened

    def _indexed(self, frame: Frame) -> FrameIndex:
        outer = self.frames[frame.parent] if frame.node else None
        opened = self.frames[frame.path] = FrameIndex(frame, self.plan.scopes[frame.scope], outer)
        if outer is not None and not frame.closed:
            outer.inside.setdefault(frame.node, {})[frame.path] = opened
            outer.held += 1
            if not opened.is_shielded and (frame.departure is None or frame.departure.kind == "drain"):
                outer.staying.setdefault(frame.node, {})[frame.path] = opened
        return opened

    def close_frame(self, opened: FrameIndex) -> None:
        """A frame has ended. One that is kept for its readers stays known."""
        frame, outer = opened.frame, opened.outer
        assert outer is not None, "the workflow's own frame ends with the execution"
        inside = outer.inside[frame.node]
        del inside[frame.path]
        if not inside:
            del outer.inside[frame.node]
        self.leave_frame(opened)
        outer.held -= 1
        if not frame.closed:
            self.drop_frame(frame.path)
        self.look_at(outer)

    def leave_frame(self, opened: FrameIndex) -> None:
        """A frame is being left for good, or has ended: its container need not close it any more."""
        outer, node = opened.outer, opened.frame.node
        if outer is not None and node in outer.staying:
            outer.staying[node].pop(opened.frame.path, None)
            if not outer.staying[node]:
                del outer.staying[node]

    def drop_frame(self, path: str) -> None:
        """Nobody reads this frame any more."""
        del self.frames[path]
        self.values.pop(path, None)

    def node(self, frame: str, node: str) -> NodePlan:
        """The plan of a node of an open frame."""
        scope = self.frames[frame].scope
        return scope.nodes[scope.number[node]]

    def look_at(self, opened: FrameIndex) -> None:
        """The frame may have come to its end, or is to be swept."""
        if opened.frame.returns:
            self.attend(opened.frame.path, "", opened.frame.opened)
        if opened.has_ended() or opened.is_unswept():
            heappush(self.closing, (opened.frame.opened, opened.frame.path))

    def owes(self, opened: FrameIndex) -> bool:
        """Are there losers in this frame that may still begin, so that it has not come to its end (rule 19)?"""
        detaching = opened.scope.detaching
        return bool(detaching) and any((opened.frame.path, node) in self.attention for node in detaching)

    def next_closing(self) -> FrameIndex | None:
        """The frame opened first of those that are to be swept or to be ended."""
        while self.closing:
            opened = self.frames.get(self.closing[0][1])
            if opened is not None and opened.frame.opened == self.closing[0][0] and (opened.has_ended() or opened.is_unswept()):
                return opened
            heappop(self.closing)
        return None

    def attend(self, frame: str, node: str, touched: int) -> None:
        """A container may go on: it is looked at when nothing is ready. Without a node: what goes back in this frame."""
        self.attention[frame, node] = touched
        heappush(self.order, (touched, frame, node))

    def attend_container(self, frame: str, instance: Instance) -> None:
        """A container may go on: something has happened to it, or inside it."""
        touched = instance.progress.touched if instance.progress is not None else 0
        self.attend(frame, instance.node, max(touched, instance.seq if instance.final else 0))

    def attend_again(self, frame: str, node: str) -> None:
        """It was looked at, and could not go on in this step."""
        opened = self.frames[frame]
        if node:
            self.attend_container(frame, opened.frame.instances[node])
        else:
            self.attend(frame, "", opened.frame.opened)

    def next_attention(self) -> tuple[str, str] | None:
        """The container that was touched first; it is forgotten here."""
        while self.order:
            touched, frame, node = heappop(self.order)
            if self.attention.get((frame, node)) == touched:
                del self.attention[frame, node]
                if frame in self.frames:
                    return frame, node
        return None

    def finished(self, opened: FrameIndex, node: NodePlan, instance: Instance) -> list[Edge]:
        """A node instance became final: its edges are resolved now. Those that came too late for their join (rule 20)."""
        opened.open -= 1
        self.look_at(opened)
        if node.index in opened.resetting:
            return []
        unresolved, joins = opened.unresolved, opened.scope.joins
        late: list[Edge] = []
        for edge in node.outgoing:
            left = unresolved[edge.target] = unresolved[edge.target] - 1
            if edge.target in joins:
                kind = arrival(edge, node, instance, opened.scope.on_failure)
                if self._arrived(opened, edge.target, kind) and kind != "dead":
                    late.append(edge)
            elif left == 0:
                self.ready.append((opened, edge.target))
        return late

    def _arrived(self, opened: FrameIndex, number: int, kind: str) -> bool:
        """One more edge of a join has resolved; was the join final before?"""
        join = opened.scope.nodes[number]
        arrivals = opened.arrivals.get(number)
        if arrivals is None:
            arrivals = opened.arrivals[number] = Arrivals()
        arrivals.count(kind)
        instance = opened.instance(join)
        if instance is not None and instance.final:
            return True
        if is_looked_at(opened, join, arrivals):
            if opened.queued.get(number):  # one with an expression is asked once, after the last that arrived
                opened.queued[number] -= 1
                opened.overtaken[number] = opened.overtaken.get(number, 0) + 1
            self._make_ready(opened, number)
        return False

    def _make_ready(self, opened: FrameIndex, number: int) -> None:
        if number in opened.scope.asked:
            opened.queued[number] = opened.queued.get(number, 0) + 1
        self.ready.append((opened, number))

    def first_ready(self) -> tuple[FrameIndex, int] | None:
        """What is to be begun, or asked, first; `begun` takes it away."""
        while self.ready:
            opened, number = self.ready[0]
            if not opened.overtaken.get(number):
                return opened, number
            opened.overtaken[number] -= 1
            self.ready.popleft()
        return None

    def begun(self) -> None:
        """What was ready first was begun, or has been already."""
        opened, number = self.ready.popleft()
        if number in opened.scope.asked:
            opened.queued[number] -= 1

    # -- time ---------------------------------------------------------------------------------------------------------

    def arm(self, due: int, kind: str, frame: str = "", node: str = "", visit: int = 1) -> None:
        """Remember that something is due."""
        heappush(self.timers, (due, frame, node, kind, visit))

    def next_due(self, execution: Execution) -> int | None:
        """When the earliest timer that still counts is due; None: nothing but a message can move this execution."""
        if execution.paused_at:
            return None
        timers = self.timers
        while timers and not counts(execution, timers[0]):
            heappop(timers)
        if len(timers) > self.timers_max:  # a long chain of nodes with deadlines must not drag them all along
            self.timers = timers = sorted({timer for timer in timers if counts(execution, timer)})
            self.timers_max = TIMERS_MIN + 2 * len(timers)
        return timers[0][0] if timers else None

    def take_due(self, execution: Execution, now: int) -> list[Due]:
        """All timers due by `now`, in the order of (due, path); they are forgotten here."""
        taken: list[Due] = []
        last: tuple[int, str, str, str, int] | None = None
        while (due := self.next_due(execution)) is not None and due <= now:
            timer = heappop(self.timers)
            if timer == last:  # armed again by a later fact, for the same moment
                continue
            last = timer
            due, frame, node, kind, visit = timer
            taken.append(Due(kind=kind, due=due, frame=frame, node=node, visit=visit))
        return taken

    # -- after a crash ------------------------------------------------------------------------------------------------

    @classmethod
    def rebuilt(cls, plan: Plan, execution: Execution, resident: LargeValues) -> Index:
        """The index of an execution that was folded from its journal."""
        index = cls(plan, resident)
        if execution.ended or not execution.frames:
            return index
        ready: list[tuple[int, int, FrameIndex]] = []
        for frame in execution.frames.values():
            ready.extend(index._rebuild_frame(frame))
        for opened in index.frames.values():
            index.look_at(opened)
            index._attend_containers(opened)
        ready.sort(key=lambda entry: entry[:2])
        for _, number, opened in ready:
            index._make_ready(opened, number)
        index.arm_workflow(execution)
        index.changed["", ""] = execution.seq  # nobody knows what changed last: every condition is judged once
        return index

    def _rebuild_frame(self, frame: Frame) -> list[tuple[int, int, FrameIndex]]:
        opened = self._indexed(frame)
        if frame.closed:
            opened.open = 0
            return []
        scope = opened.scope
        opened.resetting = resetting_of(opened)
        goes_back = {scope.number[each.source] for each in frame.returns}
        for node in scope.nodes:
            instance = frame.instances.get(node.id)
            if instance is None:
                continue
            if not instance.final:
                self.count(frame.path, instance, +1)
                self.arm_instance(frame.path, instance)
                continue
            opened.open -= 1
            if node.index in opened.resetting or node.index in goes_back:
                continue
            for edge in node.outgoing:
                opened.unresolved[edge.target] -= 1
        if frame.timeout_at:
            self.arm(frame.timeout_at, "scope", frame.path)
        if frame.departure is not None and frame.departure.cleanup_at:
            self.arm(frame.departure.cleanup_at, "departure", frame.path)
        self._count_arrivals(opened)
        return [(moment, number, opened) for moment, number in self._ready_in(opened)]

    def _ready_in(self, opened: FrameIndex) -> list[tuple[int, int]]:
        """The nodes of a frame that are ready, by the moment at which they became so, then by declaration."""
        nodes = opened.scope.nodes
        ready = [node for node in nodes if node.index not in opened.resetting and self._is_ready(opened, node)]
        return sorted((ready_since(opened, node), node.index) for node in ready)

    def _attend_containers(self, opened: FrameIndex) -> None:
        if opened.frame.closed:
            return
        for node in opened.scope.nodes:
            instance = opened.instance(node)
            if instance is not None and goes_on(node, instance):
                self.attend_container(opened.frame.path, instance)

    def _count_arrivals(self, opened: FrameIndex) -> None:
        for number in opened.scope.joins:
            if number not in opened.resetting:
                arrivals = Arrivals.counted(opened, opened.scope.nodes[number])
                if arrivals.resolved:
                    opened.arrivals[number] = arrivals

    def _is_ready(self, opened: FrameIndex, node: NodePlan) -> bool:
        instance = opened.instance(node)
        if node.index in opened.scope.joins:
            arrivals = opened.arrivals.get(node.index)
            waits = instance is None or (instance.state == WAITING and instance.wait == "join")
            return waits and arrivals is not None and is_looked_at(opened, node, arrivals)
        return instance is None and opened.unresolved[node.index] == 0

    # -- again --------------------------------------------------------------------------------------------------------

    def leave_region(self, opened: FrameIndex) -> None:
        """An `again` edge was taken: its region waits for a fresh visit."""
        opened.resetting = resetting_of(opened)
        self.look_at(opened)

    def visit_again(self, opened: FrameIndex) -> None:
        """A region has been reset: count its edges anew; its target is ready."""
        self.count_anew(opened)
        # Nothing else was ready when the region came to rest: whatever can start now is what was reset.
        for _, number in self._ready_in(opened):
            self._make_ready(opened, number)
        self.values.pop(opened.frame.path, None)
        self.look_at(opened)

    def count_anew(self, opened: FrameIndex) -> None:
        """The edges of a frame whose nodes were reset, or are no longer to be."""
        scope, frame = opened.scope, opened.frame
        opened.resetting = resetting_of(opened)
        opened.open = sum(1 for node in scope.nodes if not self._is_final(opened, node))
        goes_back = {scope.number[each.source] for each in frame.returns}
        opened.unresolved = list(scope.unresolved)
        for node in scope.nodes:
            if self._is_final(opened, node) and node.index not in opened.resetting and node.index not in goes_back:
                for edge in node.outgoing:
                    opened.unresolved[edge.target] -= 1
        opened.arrivals = {}
        opened.released = {join: told for join, told in opened.released.items() if self._is_final(opened, scope.nodes[join])}
        self._count_arrivals(opened)

    def _is_final(self, opened: FrameIndex, node: NodePlan) -> bool:
        instance = opened.instance(node)
        return instance is not None and instance.final

    # -- counts -------------------------------------------------------------------------------------------------------

    def arm_workflow(self, execution: Execution) -> None:
        """Arm the workflow's own two timers."""
        if execution.timeout_at:
            self.arm(execution.timeout_at, "timeout")
        if execution.soft_timeout_at:
            self.arm(execution.soft_timeout_at, "soft_timeout")

    def arm_all(self, execution: Execution) -> None:
        """Arm everything anew: a pause has shifted it."""
        self.timers = []
        self.arm_workflow(execution)
        for frame in execution.frames.values():
            for kind, due_of in FRAME_TIMERS.items():
                if due := due_of(frame):
                    self.arm(due, kind, frame.path)
            for instance in frame.instances.values():
                if not instance.final:
                    self.arm_instance(frame.path, instance)

    def arm_instance(self, frame: str, instance: Instance) -> None:
        """Arm whatever this instance waits for."""
        for kind, due_of in TIMER_FIELDS.items():
            due = due_of(instance)
            if due:
                self.arm(due, kind, frame, instance.node, instance.visit)

    def count(self, frame: str, instance: Instance, change: int) -> None:
        """Keep count of what is active, by state."""
        state = instance.state
        if state == RUNNING:
            self.running += change
        elif state in (WAITING, BACKOFF):
            self.waiting += change
            if instance.wait in ("condition", "event", "signal"):
                self._count_wait(frame, instance, change)
        elif state == PARKED:
            self.parked += change

    def _count_wait(self, frame: str, instance: Instance, change: int) -> None:
        if instance.wait == "condition":
            _keep(self.conditions, (frame, instance.node), change)
        elif instance.wait == "event":
            _keep_by(self.events, instance.wait_name, (frame, instance.node), change)
        else:
            _keep_by(self.signals, (instance.wait_name, instance.wait_key), (frame, instance.node), change)


def _keep(waits: Waits, where: tuple[str, str], change: int) -> None:
    if change > 0:
        waits[where] = None
    else:
        waits.pop(where, None)


def _keep_by(waits_by: dict[_Key, Waits], key: _Key, where: tuple[str, str], change: int) -> None:
    waits = waits_by.setdefault(key, {})
    _keep(waits, where, change)
    if not waits:
        del waits_by[key]


def goes_on(node: NodePlan, instance: Instance) -> bool:
    """May this container do something by itself? Joins and containers that have ended have losers to see to (rule 19)."""
    if node.type == "join":
        return instance.final
    return instance.state == OPEN or (instance.final and instance.progress is not None and "losers" in node.options)


def resetting_of(opened: FrameIndex) -> frozenset[int]:
    """The nodes of a frame that wait for a fresh visit."""
    scope = opened.scope
    regions = (scope.regions[scope.number[each.target]] for each in opened.frame.returns)
    return frozenset[int]().union(*regions)
