"""Two releases side by side: what may be written while workers of a former one live, and what waits until they are gone."""

from __future__ import annotations

from collections.abc import Iterable

from perdure.clock import Clock
from perdure.engine.codec import LEVEL
from perdure.engine.levels import OLDEST
from perdure.ids import ExecutionId
from perdure.store.contract import Store, Worker

LOOK_SECONDS = 5.0
"""How often it is looked who lives, as long as there is something newer than what every release reads."""


def level_to_write(workers: Iterable[Worker], reads: int) -> int:
    """The newest level that all who live read; `reads`: what we read ourselves."""
    return min((worker.level for worker in workers if worker.alive), default=reads)


class Deploys:
    """What one home may write. `reads`: the level of this worker."""

    def __init__(self, store: Store, clock: Clock, *, reads: int = LEVEL) -> None:
        self.reads = reads
        self.writes = min(reads, OLDEST)
        self._store = store
        self._clock = clock
        self._held: dict[ExecutionId, None] = {}
        self._looked = float("-inf")

    def hold(self, execution: ExecutionId) -> None:
        """Its next step would write what not every worker reads: it waits."""
        self._held[execution] = None

    async def look(self) -> list[ExecutionId]:
        """Look who lives, now and then; the executions that may go on since the last look."""
        now = self._clock.monotonic()
        if self.reads <= OLDEST or now - self._looked < LOOK_SECONDS:
            return []
        self._looked = now
        before, self.writes = self.writes, min(self.reads, level_to_write(await self._store.workers(), self.reads))
        if self.writes <= before:
            return []
        freed, self._held = list(self._held), {}
        return freed
