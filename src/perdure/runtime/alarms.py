"""One alarm for all timers of a home: a heap of (due, execution) over a single timer of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush

from perdure.clock import Clock
from perdure.ids import ExecutionId

STALE_MAX = 1_000
"""Entries of executions that are gone, beyond which the heap is made anew."""


class Alarms:
    """Calls `ring(execution)` when an execution's earliest timer is due."""

    def __init__(self, clock: Clock, ring: Callable[[ExecutionId], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._dues: list[tuple[int, ExecutionId]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0

    def set(
        self, due: int, execution: ExecutionId, living: Callable[[], Iterable[tuple[int, ExecutionId]]], count: int
    ) -> None:
        """Ring at `due` (microseconds UTC). `living` gives what still counts of `count` executions, if the heap is stale."""
        if len(self._dues) > STALE_MAX + 2 * count:
            self._dues = list(living())
            heapify(self._dues)
        else:
            heappush(self._dues, (due, execution))
        if self._timer is None or due < self._timer_due:
            self._arm()

    def stop(self) -> None:
        """Ring no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self.stop()
        if not self._dues:
            return
        self._timer_due = self._dues[0][0]
        delay = max(0, self._timer_due - self._clock.now()) / 1_000_000
        self._timer = asyncio.get_running_loop().call_later(delay, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        now = self._clock.now()
        while self._dues and self._dues[0][0] <= now:
            _, execution = heappop(self._dues)
            self._ring(execution)
        self._arm()
