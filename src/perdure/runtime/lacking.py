"""Executions that this worker lacks something for: given back to others, later each time they come again."""

from __future__ import annotations

from collections import Counter

from perdure.clock import MICROSECONDS, Clock
from perdure.ids import ExecutionId
from perdure.runtime.patience import patiently
from perdure.store.contract import Batch, Row, Store, Turn

FIRST_SECONDS = 2.0
MOST_SECONDS = 60.0
"""How long an execution that this worker lacks something for is left to others, or held: 2 s, and twice as long each time."""


class Lacking:
    """What one home could not go on with."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._times: Counter[ExecutionId] = Counter()  # how often each came here
        self._held: dict[ExecutionId, tuple[float, Row]] = {}  # until when, by the monotonic clock

    async def give_back(self, row: Row) -> None:
        """Give it back, with a wake time at which whoever looks first takes it: others may have what is lacking here.

        One that comes back before that, since a message waits for it, is held for a while: or it would be all we look at.
        """
        self._times[row.execution] += 1
        times = self._times[row.execution]
        seconds = min(MOST_SECONDS, FIRST_SECONDS * 2 ** min(times - 1, 10))
        if times > 1 and await self._store.inbox(row.execution, limit=1):
            self._held[row.execution] = (self._clock.monotonic() + seconds, row)
        else:
            await self._release(row, seconds)

    async def release_held(self) -> None:
        """Give back what was held long enough."""
        now = self._clock.monotonic()
        for execution, (until, row) in list(self._held.items()):
            if until <= now:
                del self._held[execution]
                await self._release(row, MOST_SECONDS)

    async def _release(self, row: Row, seconds: float) -> None:
        at = self._clock.now()
        turn = Turn(
            execution=row.execution, epoch=row.epoch, first_seq=row.seq + 1, count=0, at=at, level=row.level, body=b"",
            status=row.status, release=True, wake=at + round(seconds * MICROSECONDS),
        )  # fmt: skip
        await patiently(lambda: self._store.commit(Batch(turns=[turn])))
