"""Leases in a simulation: what the store knows of its workers, and a worker's own side, with the heartbeat as a task.

The side of a worker is that of the PostgreSQL store itself: what it knows of its lease, when it is heard of, what it makes of
an answer that came late. Only the way to the database, its clock and its table of workers are stood in for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from perdure.clock import Clock
from perdure.store.postgres.presence import Heartbeat, Lease
from perdure.store.postgres.presence import Presence as Held
from perdure.store.sqlite.presence import Presence
from perdure.testing.world import JumpingClock

QUICK_SECONDS = 0.02  # that a heartbeat takes each way, as a rule, at most
Way = Callable[[Callable[[], Any]], Awaitable[Any]]
"""How a heartbeat comes to the store and its answer back: late, or not at all."""


class Entry(msgspec.Struct):
    """A worker in the table of the store. `beat`: when it was last heard of, by the store's clock; `condemned`: for good."""

    process: bytes
    beat: int
    condemned: bool = False


class Leases:
    """The store's side: `length` in microseconds, 0 where the death of a worker is known at once."""

    def __init__(self, clock: JumpingClock, length: int) -> None:
        self.clock = clock
        self.length = length
        self.entries: dict[str, Entry] = {}

    def lives(self, worker: str) -> bool:
        """Nobody has taken it for dead yet."""
        entry = self.entries.get(worker)
        return entry is not None and not entry.condemned

    def renew(self, workers: list[str], process: bytes) -> list[dict[str, Any]]:
        """A heartbeat of a process; those of its workers that are still its own, each with the time."""
        own = [entry for entry in map(self.entries.get, workers) if entry and entry.process == process and not entry.condemned]
        for entry in own:
            entry.beat = self.clock.now()
        return [{"worker": worker, "beat": self.entries[worker].beat} for worker in workers if self.entries.get(worker) in own]

    def condemn(self, judged_until: int) -> None:
        """End the leases that have run out, for good. `judged_until`: as whoever judges was cut off itself."""
        now = min(self.clock.now(), judged_until)
        for entry in self.entries.values() if self.length else ():
            entry.condemned = entry.condemned or entry.beat + self.length <= now

    def seconds_over(self, workers: frozenset[str]) -> float:
        """For how long the leases of all these have run out, by the store's clock; negative while one holds."""
        beats = [self.entries[worker].beat for worker in workers if worker in self.entries]
        return (self.clock.now() - max(beats, default=0) - self.length) / 1_000_000


class LoopHeartbeat(Heartbeat):
    """The heartbeat in the loop of the world, beside its worker."""

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._beats(), name="heartbeat")

    def stop(self) -> None:
        self._stopping.set()
        if self._begun:
            self._task.cancel()


class _Wire:
    """The heartbeat's own way to the store, and all that it asks there."""

    def __init__(self, leases: Leases, clock: Clock, way: Way) -> None:
        self.clock = clock
        self._leases = leases
        self._way = way

    async def alone(self, ask: Callable[[_Wire], Awaitable[Any]]) -> Any:
        return await ask(self)

    async def rows(self, name: str, workers: list[str], process: bytes, loads: list[str]) -> Any:
        return await self._way(lambda: self._leases.renew(workers, process))

    async def close(self) -> None:
        """Nothing to end."""


class LeasedPresence(Presence):
    """The workers of one process of a simulation. `mine`: what it knows of its leases; `clock`: its machine's."""

    def __init__(self, leases: Leases, clock: Clock, way: Way) -> None:
        super().__init__(None)
        self._leases = leases
        wire: Any = _Wire(leases, clock, way)
        self.mine = Held(lease=leases.length, clock=clock, heartbeat=lambda process, known: _heartbeat(wire, process, known))

    def holds(self, worker: str) -> bool:
        return worker in (self.mine.held if self._leases.length else self._held)

    def alive(self, worker: str) -> bool:
        return self._leases.lives(worker)

    def hold(self, worker: str) -> None:
        super().hold(worker)
        self._leases.entries[worker] = Entry(self.mine.process, self._leases.clock.now())

    def let_go(self, worker: str) -> None:
        super().let_go(worker)
        self.mine.let_go(worker)
        self._leases.entries.pop(worker, None)

    def abandon(self) -> None:
        if not self._leases.length:
            for worker in self._held:
                self._leases.entries.pop(worker, None)
        self.mine.stop()
        super().abandon()

    def registered(self, worker: str, sent: float) -> None:
        """The store's answer has come; it was asked at `sent`."""
        if self._leases.length:
            self.mine.hold(worker, self._leases.entries[worker].beat, sent=sent)


async def _no_care(database: Any) -> None:
    """What the heartbeat of a database does besides is of no interest here."""


def _heartbeat(wire: Any, process: bytes, known: Lease) -> Heartbeat:
    return LoopHeartbeat(wire, process, known, care=_no_care)
