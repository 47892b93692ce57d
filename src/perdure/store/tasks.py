"""Tasks, the part of the seam for attempts that another worker than the home carries out: their records and methods.

A task is there from the commit of the turn that asks for it until the commit that takes its end in hand: a report, or the turn
that wants it no more. Its `number` is its fence: an attempt that is repeated has a higher one, and what bears an old one writes
nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from perdure.ids import ExecutionId

SOURCE = "task"
"""The source of the messages that bring reports; their keys are `PATH@NUMBER`."""


class TaskName(msgspec.Struct, frozen=True, kw_only=True):
    """Names one task: an instance's path, of which one task is there at a time, and its number."""

    execution: ExecutionId
    path: str
    number: int

    @property
    def key(self) -> str:
        """The key of the message that reports of it."""
        return f"{self.path}@{self.number}"


class Task(TaskName, frozen=True, kw_only=True):
    """An attempt for any worker that has the labels it `needs` (the one text of `perdure.labels`).

    `priority`: 1 (first) to 5; `at`: when it was posted; `until`: from when on nobody begins it, 0 = never. What follows is the
    store's: `worker` carries it out since `claimed`; `stop` says why it shall stop; `left`: nobody will report of it,
    since it is `lost` (its worker is dead), `stopped` or `expired` (before anybody began it).
    """

    tenant: str
    needs: str
    priority: int
    at: int
    body: bytes
    until: int = 0
    worker: str = ""
    claimed: int = 0
    stop: str = ""
    left: str = ""


class TaskStop(TaskName, frozen=True, kw_only=True):
    """A task shall stop. One that nobody has begun is begun by nobody any more."""

    reason: str


class TaskReport(TaskName, frozen=True, kw_only=True):
    """How a task ended: `body` becomes a message for its execution, which the store never reads."""

    at: int
    body: bytes


class Held(TaskName, frozen=True, kw_only=True):
    """A task as its worker looks at it: `stop` is empty while it shall go on."""

    stop: str


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """How many tasks wait for a worker with the labels they `needs`, the oldest `since` then."""

    needs: str
    waiting: int
    since: int


class TaskStore(Protocol):
    """What a store does for tasks besides `Batch.tasks`, `Batch.task_stops` and `Batch.task_ends`."""

    async def claim_tasks(self, worker: str, labels: Mapping[str, str], now: int, *, limit: int) -> list[Task]:
        """Make `worker` carry out tasks that nobody does, whose labels it has, and that are not expired or to be stopped.

        By priority, then age, at most `limit`. Tasks that another is about to take are passed over. Raises StoreError when
        `worker` was not registered here.
        """
        ...

    async def report_tasks(self, worker: str, reports: Sequence[TaskReport]) -> list[bool]:
        """Take tasks that `worker` has away, and put what it reports into the inboxes of their executions, in one transaction.

        False where the task is not its own any more: nothing of it is written. To report twice does no harm.
        """
        ...

    async def return_tasks(self, worker: str, names: Sequence[TaskName], *, due: int) -> None:
        """Give tasks back that `worker` has not begun: for any worker, but not before `due`."""
        ...

    async def held_tasks(self, worker: str) -> list[Held]:
        """The tasks that `worker` has, by execution and path."""
        ...

    async def tasks(self, executions: Collection[ExecutionId]) -> list[Task]:
        """All tasks of these executions, by execution and path."""
        ...

    async def left_tasks(self, executions: Collection[ExecutionId], now: int) -> list[Task]:
        """Those of these executions that nobody will report of; from now on nobody can. Asked again, it says so again.

        Their `left` is why. Each stays until a turn of its home takes it away or replaces it.
        """
        ...

    async def pools(self) -> list[Pool]:
        """What waits for a worker, of all tenants, by the labels that it needs."""
        ...
