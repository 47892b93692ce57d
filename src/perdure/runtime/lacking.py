"""Executions that this worker lacks something for: given back to others, and held for a while where they come again."""

from __future__ import annotations

from perdure.clock import Clock
from perdure.ids import ExecutionId
from perdure.runtime.patience import patiently
from perdure.store.contract import Batch, Row, Store, Turn

HELD_SECONDS = 60.0
"""How long an execution is held that this worker lacks something for, before others may take it again."""


class Lacking:
    """What one home could not go on with."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._executions: dict[ExecutionId, tuple[float, Row] | None] = {}  # held until when, None: let go

    async def give_back(self, row: Row) -> None:
        """Give it back, without a wake time, so that it is not taken at once.

        One that comes back all the same, since a message waits for it, is held for a while: or it would be all we look at.
        """
        if row.execution in self._executions:
            self._executions[row.execution] = (self._clock.monotonic() + HELD_SECONDS, row)
            return
        self._executions[row.execution] = None
        await self._release(row)

    async def release_held(self) -> None:
        """Give back what was held long enough."""
        now = self._clock.monotonic()
        for execution, held in list(self._executions.items()):
            if held is not None and held[0] <= now:
                self._executions[execution] = None
                await self._release(held[1])

    async def _release(self, row: Row) -> None:
        turn = Turn(
            execution=row.execution, epoch=row.epoch, first_seq=row.seq + 1, count=0, at=self._clock.now(), level=row.level,
            body=b"", status=row.status, release=True,
        )  # fmt: skip
        await patiently(lambda: self._store.commit(Batch(turns=[turn])))
