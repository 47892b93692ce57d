"""The one clock: everything that needs the time is handed a `Clock`, so that tests can make it jump."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

MICROSECONDS = 1_000_000


class Clock(Protocol):
    """Where the time comes from: `now` for what is recorded, `monotonic` for what is measured."""

    def now(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never running backwards."""
        ...


class ShiftedClock:
    """A clock that is ahead of another one by what `offset` says now, in microseconds; it measures as that one does."""

    def __init__(self, clock: Clock, offset: Callable[[], int]) -> None:
        self._clock = clock
        self._offset = offset

    def now(self) -> int:
        return self._clock.now() + self._offset()

    def monotonic(self) -> float:
        return self._clock.monotonic()


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        return time.monotonic()
