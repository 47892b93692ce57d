"""What a step needs to be quick and could always work out anew from (plan, execution): counters, what is ready, what is due.

Nothing here is state: it is never stored, and `Index.rebuilt` after a crash gives the same order of readiness as the facts
gave live, since what is ready is ordered by the moment its last edge resolved, then by declaration (rules 2, 3).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Protocol

from msgspec import Raw

from perdure.definition.plan import NodePlan, Plan, ScopePlan
from perdure.engine.codec import decode_value, handle_digest, handle_size
from perdure.engine.events import Due
from perdure.engine.execution import BACKOFF, FINAL, PARKED, RUNNING, WAITING, Execution, Frame, Instance

MISSING: Any = object()

TIMERS_MIN = 256
"""Timers of an execution are swept of stale ones when there are more than this and twice what the last sweep left."""


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
    """Counters of one frame: edges still unresolved per node, nodes not yet final."""

    __slots__ = ("frame", "open", "scope", "swept", "unresolved")

    def __init__(self, frame: Frame, scope: ScopePlan) -> None:
        self.frame = frame
        self.scope = scope
        self.unresolved = list(scope.unresolved)
        self.open = len(scope.nodes)
        self.swept = 0  # nodes before this one need no more attention of a closing frame


class Index:
    """The index of one hot execution."""

    __slots__ = ("frames", "parked", "plan", "ready", "resident", "running", "timers", "timers_max", "values", "waiting")

    def __init__(self, plan: Plan, resident: LargeValues) -> None:
        self.plan = plan
        self.resident = resident  # large values in memory, by digest; shared by all executions of a home
        self.frames: dict[str, FrameIndex] = {}
        self.ready: deque[tuple[FrameIndex, int]] = deque()
        self.values: dict[tuple[str, str], Any] = {}  # decoded small values by (frame, node)
        self.timers: list[tuple[int, str, str, str, int]] = []  # due, frame, node, kind, visit; stale ones are passed over
        self.timers_max = TIMERS_MIN
        self.running = self.waiting = self.parked = 0

    # -- values -------------------------------------------------------------------------------------------------------

    def value(self, key: tuple[str, str], raw: Raw) -> Any:
        """The decoded value that `raw` holds or stands for. Raises ValuesNeeded where it is not in memory."""
        found = self.values.get(key, MISSING)
        if found is MISSING:
            digest = handle_digest(raw)
            if digest is not None:
                found = self.resident.get(digest, MISSING)
                if found is MISSING:
                    raise ValuesNeeded(digest, handle_size(raw))
                return found
            found = self.values[key] = decode_value(raw)
        return found

    # -- frames -------------------------------------------------------------------------------------------------------

    def open_frame(self, frame: Frame, scope: ScopePlan) -> FrameIndex:
        """Index a frame that was opened just now: its starts are ready."""
        opened = self.frames[frame.path] = FrameIndex(frame, scope)
        self.ready.extend((opened, start) for start in scope.starts)
        return opened

    def node(self, frame: str, node: str) -> NodePlan:
        """The plan of a node of an open frame."""
        scope = self.frames[frame].scope
        return scope.nodes[scope.number[node]]

    def finished(self, opened: FrameIndex, node: NodePlan) -> None:
        """A node instance became final: its edges are resolved now."""
        opened.open -= 1
        unresolved = opened.unresolved
        for edge in node.outgoing:
            left = unresolved[edge.target] = unresolved[edge.target] - 1
            if left == 0:
                self.ready.append((opened, edge.target))

    # -- time ---------------------------------------------------------------------------------------------------------

    def arm(self, due: int, kind: str, frame: str = "", node: str = "", visit: int = 1) -> None:
        """Remember that something is due."""
        heappush(self.timers, (due, frame, node, kind, visit))

    def next_due(self, execution: Execution) -> int | None:
        """When the earliest timer that still counts is due; None: nothing but a message can move this execution."""
        timers = self.timers
        while timers and not self._counts(execution, timers[0]):
            heappop(timers)
        if len(timers) > self.timers_max:  # a long chain of nodes with deadlines must not drag them all along
            self.timers = timers = sorted({timer for timer in timers if self._counts(execution, timer)})
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

    def _counts(self, execution: Execution, timer: tuple[int, str, str, str, int]) -> bool:
        due, frame, node, kind, visit = timer
        if kind == "timeout":
            return execution.timeout_at == due and not execution.ended and not _leaving(execution)
        if kind == "soft_timeout":
            return execution.soft_timeout_at == due and not execution.ended
        opened = execution.frames.get(frame)
        instance = opened.instances.get(node) if opened is not None and not execution.ended else None
        return instance is not None and instance.visit == visit and due == TIMER_FIELDS[kind](instance)

    # -- after a crash ------------------------------------------------------------------------------------------------

    @classmethod
    def rebuilt(cls, plan: Plan, execution: Execution, resident: LargeValues) -> Index:
        """The index of an execution that was folded from its journal."""
        index = cls(plan, resident)
        if execution.ended or not execution.frames:
            return index
        ready: list[tuple[int, int, FrameIndex]] = []
        for frame in execution.frames.values():
            ready.extend(index._rebuild_frame(frame, plan.root))
        ready.sort(key=lambda entry: entry[:2])
        index.ready.extend((opened, number) for _, number, opened in ready)
        index.arm_workflow(execution)
        return index

    def _rebuild_frame(self, frame: Frame, scope: ScopePlan) -> list[tuple[int, int, FrameIndex]]:
        opened = self.frames[frame.path] = FrameIndex(frame, scope)
        moments = [frame.opened] * len(scope.nodes)
        for node in scope.nodes:
            instance = frame.instances.get(node.id)
            if instance is None:
                continue
            if not instance.final:
                self.count(instance, +1)
                self.arm_instance(frame.path, instance)
                continue
            opened.open -= 1
            for edge in node.outgoing:
                opened.unresolved[edge.target] -= 1
                moments[edge.target] = max(moments[edge.target], instance.seq)
        return [
            (moments[node.index], node.index, opened)
            for node in scope.nodes
            if opened.unresolved[node.index] == 0 and node.id not in frame.instances
        ]

    def arm_workflow(self, execution: Execution) -> None:
        """Arm the workflow's own two timers."""
        if execution.timeout_at:
            self.arm(execution.timeout_at, "timeout")
        if execution.soft_timeout_at:
            self.arm(execution.soft_timeout_at, "soft_timeout")

    def arm_instance(self, frame: str, instance: Instance) -> None:
        """Arm whatever this instance waits for."""
        for kind, due_of in TIMER_FIELDS.items():
            due = due_of(instance)
            if due:
                self.arm(due, kind, frame, instance.node, instance.visit)

    def count(self, instance: Instance, change: int) -> None:
        """Keep count of what is active, by state."""
        state = instance.state
        if state == RUNNING:
            self.running += change
        elif state in (WAITING, BACKOFF):
            self.waiting += change
        elif state == PARKED:
            self.parked += change


def _deadline(instance: Instance) -> int:
    """A failure that is parked keeps its deadline (rule 14); a question is ended by its answer alone (rule 53)."""
    return instance.deadline_at if instance.state < FINAL and not instance.stopping and instance.question != "unknown" else 0


def _leaving(execution: Execution) -> bool:
    """Is the workflow being left in a way that its timeout no longer changes?"""
    departure = execution.frames[""].departure
    return departure is not None and departure.kind != "drain"


TIMER_FIELDS: dict[str, Callable[[Instance], int]] = {
    "wait": lambda instance: instance.due if instance.state == WAITING else 0,
    "backoff": lambda instance: instance.due if instance.state == BACKOFF else 0,
    "deadline": _deadline,
    "wait_timeout": lambda instance: instance.wait_timeout_at if instance.state == WAITING else 0,
}
"""When each of an instance's timers is due, microseconds UTC; 0 = not armed."""
