"""What is around the workers of a simulation: clocks that are wrong, leases that are lost, a way to the store that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from random import Random  # noqa: TID251 - the chance of a simulation comes from its seed
from typing import TypeVar

from perdure.errors import StoreBusy
from perdure.store.contract import Batch, Committed, Store
from perdure.store.sqlite import SqliteStore
from perdure.store.sqlite.presence import Presence
from perdure.testing.faults import Crash, FaultyStore
from perdure.testing.stores.sqlite import MemoryPlace
from perdure.testing.witness import Witness
from perdure.testing.world import JumpingClock, Process

Answer = TypeVar("Answer")
Strike = Callable[[str, Batch | None], str]
"""What goes wrong with a call of this name, which may be the commit of a batch; "" for nothing."""


class WrongClock:
    """A worker's idea of the time: off by some, and off by more when it jumps."""

    def __init__(self, clock: JumpingClock, off: int) -> None:
        self._clock = clock
        self.off = off
        self.latest = 0  # that it ever showed

    def now(self) -> int:
        now = self._clock.now() + self.off
        self.latest = max(self.latest, now)
        return now

    def monotonic(self) -> float:
        return self._clock.monotonic()


class _Leases(Presence):
    """The workers of one store in memory: all see who lives, and a lease may be lost while its worker goes on."""

    def __init__(self, living: set[str]) -> None:
        super().__init__(None)
        self._living = living

    def alive(self, worker: str) -> bool:
        return worker in self._living

    def hold(self, worker: str) -> None:
        super().hold(worker)
        self._living.add(worker)

    def let_go(self, worker: str) -> None:
        super().let_go(worker)
        self._living.discard(worker)

    def abandon(self) -> None:
        self._living.difference_update(self._held)
        super().abandon()


class SharedMemory(MemoryPlace):
    """A store in memory that several workers have open at once."""

    def __init__(self) -> None:
        super().__init__()
        self.living: set[str] = set()

    async def open(self) -> SqliteStore:
        store = SqliteStore.on(self.connection)
        store._presence = _Leases(self.living)
        return store


class Worker:
    """One life of a worker."""

    def __init__(self, name: str, clock: WrongClock) -> None:
        self.name = name
        self.clock = clock
        self.process: Process | None = None
        self.over = asyncio.Event()
        self.dies = True  # else it stops in good order

    def end(self, *, dies: bool) -> None:
        """Its life is over."""
        if not self.over.is_set():
            self.dies = dies
            self.over.set()


current: ContextVar[Worker] = ContextVar("the worker that a task belongs to")


class StoreWay(FaultyStore):
    """A worker's way to the store, on which chance strikes; what becomes durable is told to the witness."""

    def __init__(self, store: Store, worker: Worker, witness: Witness, strike: Strike, chance: Random) -> None:
        super().__init__(store, sleep=asyncio.sleep)
        self._worker = worker
        self._witness = witness
        self._strike = strike
        self._committing: Batch | None = None
        self._chance = chance

    async def commit(self, batch: Batch) -> Committed:
        async def write() -> Committed:
            committed = await self.store.commit(batch)
            self._witness.committed(batch, committed, self._worker.name, self._worker.clock.latest)
            return committed

        self._committing = batch
        return await self._call("commit", write)

    async def changed(self) -> bool:
        await super().changed()
        return True  # one connection cannot tell who wrote

    async def _call(self, name: str, call: Callable[[], Awaitable[Answer]]) -> Answer:
        if self.dead:
            raise Crash(f"The worker died before this {name}.")
        fault = self._strike(name, self._committing if name == "commit" else None)
        if fault == "store busy":
            raise StoreBusy("Another process keeps the store locked.")
        if fault == "store slow":
            await asyncio.sleep(self._chance.random() * 3)
            if self.dead:
                raise Crash(f"The worker died before this {name}.")
        if fault in ("crash before commit", "crash elsewhere"):
            self._perish()
        answer = await call()
        if fault == "crash after commit":
            self._perish()
        return answer

    def _perish(self) -> None:
        self.dead = True
        self._worker.end(dies=True)
        raise Crash("The worker dies here.")
