"""One execution that is followed: its state as far as its journal was read, what is active in it, and its kin."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import msgspec

from perdure.cli.standstill import Standstill, standstill
from perdure.definition.plan import NodePlan, Plan
from perdure.engine import events
from perdure.engine.events import AnyFact
from perdure.engine.evolution import evolve
from perdure.engine.execution import PARKED, WAITING, Execution, Instance
from perdure.ids import ExecutionId, id_text
from perdure.operations.waits import child_of
from perdure.runtime.hot import Outcome
from perdure.store.contract import Row

IN_ITS_PLACE = ("retry", "route")
"""What an execution is that takes the place of the one it follows from."""


class LogLine(msgspec.Struct, frozen=True):
    """What a node logged while it ran."""

    at: int  # microseconds UTC
    path: str
    message: str
    level: str
    data: dict[str, Any]


class Kin(msgspec.Struct, frozen=True):
    """An execution that another one started: `child`, `detached`, `retry`, `route` or `error` is what it is to that one."""

    execution: ExecutionId
    relation: str
    workflow: str


class Followed:
    """One execution that is followed. `relation`: empty for one that was asked for, else what it is to the one at `parent`."""

    __slots__ = (
        "active", "hinted", "id", "kin", "logged", "lost", "outcome", "parent", "parked", "paused_said", "plan", "relation",
        "rested", "row", "ran_here", "state", "still", "text",
    )  # fmt: skip

    def __init__(self, row: Row, plan: Plan | None, *, relation: str = "", parent: ExecutionId | None = None) -> None:
        self.id = row.execution
        self.row = row
        self.text = id_text(row.execution)
        self.plan = plan
        self.relation = relation
        self.parent = parent
        self.state = Execution()
        self.rested = False  # did the last step come to rest?
        self.ran_here = False
        self.still: Standstill | None = None  # why it did not move when it was looked at last
        self.outcome: asyncio.Future[Outcome]  # of our home; what it raises is why our home cannot run it
        self.hinted: dict[tuple[str, str], tuple[int, int]] = {}  # by frame and node: visit and attempt that a hint was about
        self.paused_said = 0  # the pause that a hint was about, by its beginning
        self.logged: deque[LogLine] = deque()  # not told yet
        self.kin: dict[ExecutionId, Kin] = {}  # that were started and not met yet
        self.active: dict[tuple[str, str], Instance] = {}  # by frame and node: what has begun and is not final
        self.parked: dict[tuple[str, str], Instance] = {}  # those of them that are parked
        self.lost: set[tuple[str, str]] = set()  # those whose attempt was cut off in a pause: it is repeated when that is over

    @property
    def shown(self) -> bool:
        """Is it shown line by line? What was asked for is, and what takes its place."""
        return not self.relation or self.relation in IN_ITS_PLACE

    def take(self, fact: AnyFact) -> None:
        """Remember one more fact."""
        evolve(self.state, fact)
        if isinstance(fact, events.InstanceFact):
            self._note(fact)
        elif isinstance(fact, events.Resumed):
            self.lost.clear()
        elif isinstance(fact, events.Spawned):
            execution = ExecutionId(fact.execution)
            self.kin[execution] = Kin(execution, fact.relation, fact.workflow or self.row.workflow)
        elif isinstance(fact, events.Detached):
            child = ExecutionId(fact.execution)
            known = self.kin.get(child)
            self.kin[child] = Kin(child, "detached", known.workflow if known is not None else "")

    def _note(self, fact: events.InstanceFact) -> None:
        place = (fact.frame, fact.node)
        instance = self.state.frames[fact.frame].instances[fact.node]
        self.active[place] = self.parked[place] = instance
        if isinstance(fact, events.Lost) and self.state.paused_at:
            self.lost.add(place)
        if isinstance(fact, events.Waiting) and fact.child:
            child = ExecutionId(fact.child)
            self.kin[child] = Kin(child, "child", fact.name)
        if instance.final:
            del self.active[place]
            self.hinted.pop(place, None)
            self._let_go(instance)
        if instance.state != PARKED:
            del self.parked[place]

    def _let_go(self, instance: Instance) -> None:
        """A node has ended: its child need not be met any more. One that nobody ever waited for stays kin."""
        child = ExecutionId(instance.progress.child) if instance.progress is not None else None
        if child in self.kin and self.kin[child].relation == "child":
            del self.kin[child]

    def waits_for(self, child: ExecutionId) -> bool:
        """Does one of its nodes wait for the end of this execution?"""
        return any(
            instance.state == WAITING and instance.wait == "child" and child_of(instance) == child
            for instance in self.active.values()
        )

    def stands(self, now: int) -> Standstill | None:
        """Why it does not move by itself, as far as its own journal tells; None: it does, or has ended."""
        active = {place: instance for place, instance in self.active.items() if place not in self.lost}
        return standstill(self.state, active, self.node_of, now) if self.rested else None

    def node_of(self, frame: str, node: str) -> NodePlan | None:
        """The plan of a node of a frame that is there."""
        if self.plan is None:
            return None
        scope = self.plan.scopes[self.state.frames[frame].scope]
        return scope.nodes[scope.number[node]]
