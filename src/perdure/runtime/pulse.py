"""A worker's pulse: how late its loop is, and what it says of itself now and then, for people and for whoever supervises it."""

from __future__ import annotations

import asyncio

import msgspec

from perdure.clock import MICROSECONDS, Clock
from perdure.errors import StoreBusy
from perdure.runtime.home import Home
from perdure.store.contract import Load, Store

BEAT_SECONDS = 0.25
REPORT_SECONDS = 2.0
LAG_STEP = 10_000  # microseconds to which a lag is rounded: less than that is nobody's concern, and no reason to write


class Pulse:
    """Of one home. `version`: of this Perdure, for those who look at many workers."""

    def __init__(self, store: Store, home: Home, clock: Clock, *, version: str) -> None:
        self._store = store
        self._home = home
        self._clock = clock
        self._version = version
        self._lag = 0.0  # seconds, the most since the last report
        self._reported = -REPORT_SECONDS

    async def beat(self) -> None:
        """A quarter of a second. Raises what the home cannot go on for."""
        begun = self._clock.monotonic()
        await asyncio.sleep(BEAT_SECONDS)
        now = self._clock.monotonic()
        self._lag = max(self._lag, now - begun - BEAT_SECONDS)
        self._home.check()
        if now - self._reported >= REPORT_SECONDS:
            self._reported = now
            await self.report()

    async def report(self) -> None:
        """Say what the worker is doing. A store that is busy has better things to do than to hear it."""
        lag, self._lag = self._lag, 0.0
        try:
            await self._store.report(self._home.worker, self.load(lag), now=self._clock.now())
        except StoreBusy:
            return

    def load(self, lag: float = 0.0) -> Load:
        """What the worker is doing; `lag` in seconds."""
        rounded = round(lag * MICROSECONDS) // LAG_STEP * LAG_STEP
        return msgspec.structs.replace(self._home.load(), version=self._version, lag=rounded)

    def is_ready(self) -> bool:
        """Does it take executions over, and may it start effects?"""
        return self._home.load().state == "ready" and self._store.leased()
