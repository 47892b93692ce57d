"""What is around the workers of a simulation: clocks that are wrong, standstill, a way to the store that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context, ContextVar, copy_context
from random import Random  # noqa: TID251 - the chance of a simulation comes from its seed
from typing import Any, TypeVar

from perdure.clock import MICROSECONDS, ShiftedClock
from perdure.errors import StoreBusy
from perdure.ids import ExecutionId
from perdure.store.contract import Batch, Committed, Row
from perdure.store.sqlite import SqliteStore
from perdure.testing.faults import Crash, FaultyStore
from perdure.testing.leases import QUICK_SECONDS, LeasedPresence, Leases
from perdure.testing.standstill import Standing, standing
from perdure.testing.stores.sqlite import MemoryPlace
from perdure.testing.witness import Witness
from perdure.testing.world import JumpingClock, Process

Answer = TypeVar("Answer")
Strike = Callable[[str, Batch | None], str]
"""What goes wrong with a call of this name, which may be the commit of a batch; "" for nothing."""

DRIFT_MOST = 0.1
"""A clock of a simulation goes faster or slower than the store's by a tenth at most; a lease bears a sixth."""

SERVER_SECONDS = 0.5
"""So long a commit is under way at most, where the store is one that leaves the worker's loop to others meanwhile."""

PATIENCE_SECONDS = 2.0
"""So long a call waits for a store that cannot be reached, before it is given up."""


class WrongClock:
    """A machine's idea of the time: off by some, off by more when it jumps, and going faster or slower."""

    def __init__(self, clock: JumpingClock, off: int, rate: float) -> None:
        self._clock = clock
        self._off = off
        self._rate = rate
        self._since, self._shown, self._measured = clock.now(), clock.now(), clock.monotonic()

    def now(self) -> int:
        return self._shown + round((self._clock.now() - self._since) * self._rate) + self._off

    def monotonic(self) -> float:
        return self._measured + (self._clock.now() - self._since) * self._rate / MICROSECONDS

    def jump(self, by: int) -> None:
        """It is put forward by so many microseconds, or back."""
        self._off += by

    def drift(self, rate: float) -> None:
        """From now on it goes by `rate` seconds in a second."""
        measured = self.monotonic()
        self._shown, self._since, self._rate = self.now() - self._off, self._clock.now(), rate
        self._measured = measured


class ShownClock:
    """What a worker takes the time to be, by its machine and by what it knows of the store's clock. `latest`: that it showed.

    Where it knows the store's clock it is never ahead of that by more than its own has drifted, or was put forward, since the
    two were compared last. `wrong`: is told when it is.
    """

    def __init__(self, clock: JumpingClock, machine: WrongClock, wrong: Callable[[str], None]) -> None:
        self.latest = 0
        self.offset: Callable[[], int] = lambda: 0
        self._clock = clock
        self._machine = machine
        self._shifted = ShiftedClock(machine, self._ahead)
        self._wrong = wrong
        self._compared: int | None = None
        self._jumps: list[tuple[int, int]] = []  # when, and by how much

    def now(self) -> int:
        shown = self._shifted.now()
        self.latest = max(self.latest, shown)
        if self._compared is not None:
            true = self._clock.now()
            jumped = sum(by for _, by in self._jumps)
            ahead = shown - true - jumped - (true - self._compared) * DRIFT_MOST - 3 * QUICK_SECONDS * MICROSECONDS
            if ahead > 0:
                self._wrong(f"a worker takes the time to be {(shown - true) / MICROSECONDS:.3f} s later than the store does")
        return shown

    def monotonic(self) -> float:
        return self._shifted.monotonic()

    def _ahead(self) -> int:
        return self.offset()

    def compared(self, at: int) -> None:
        """Its worker knows the store's clock, as that was at some moment since `at`."""
        self._compared = at
        self._jumps = [jump for jump in self._jumps if jump[0] >= at]

    def jump(self, by: int) -> None:
        """The machine's clock is put forward, or back."""
        self._machine.jump(by)
        self._jumps.append((self._clock.now(), max(0, by)))


class SharedMemory(MemoryPlace):
    """A store in memory that several workers have open at once, for others than those."""

    def __init__(self, clock: JumpingClock, lease: int) -> None:
        super().__init__()
        self.leases = Leases(clock, lease)

    def are_taken(self, workers: frozenset[str]) -> bool:
        """Whether nothing that may go on is at home with these."""
        homes = "SELECT home FROM executions WHERE status < 6"
        return not workers.intersection(home for (home,) in self.connection.execute(homes))


class Worker:
    """One life of a worker."""

    def __init__(self, name: str, machine: WrongClock, clock: ShownClock) -> None:
        self.name = name
        self.machine = machine
        self.clock = clock
        self.process: Process | None = None
        self.way: StoreWay | None = None
        self.standing = Standing()
        self.over = asyncio.Event()  # it is to stop, or has died
        self.dead = asyncio.Event()
        self.cut_until = 0.0  # by the world's monotonic clock: until when it cannot reach the store
        self.late_until = 0.0  # until when its heartbeats are held up, or (`late_back`) the answers to them
        self.late_back = False
        self.condemned = False  # others were told that it is dead, while it was not
        self.context: Context = copy_context()
        self.context.run(current.set, self)
        self.context.run(standing.set, self.standing)

    @property
    def names(self) -> frozenset[str]:
        """What it is called as a home: since it lost a lease otherwise."""
        return frozenset((self.name, *(self.way.presence.mine.held if self.way is not None else ())))

    def end(self, *, dies: bool) -> None:
        """Its life is over."""
        self.over.set()
        if dies:
            self.dead.set()


current: ContextVar[Worker] = ContextVar("the worker that a task belongs to")


class StoreWay(FaultyStore):
    """A worker's way to the store, on which chance strikes; what becomes durable is told to the witness.

    `befall`: does to the worker itself what a fault of this name does, in the midst of a call.
    """

    def __init__(
        self, store: SqliteStore, worker: Worker, witness: Witness, *, place: SharedMemory, strike: Strike, chance: Random,
        befall: Callable[[Worker, str], None],
    ) -> None:  # fmt: skip
        super().__init__(store, sleep=asyncio.sleep)
        self._worker = worker
        self._witness = witness
        self._strike = strike
        self._committing: Batch | None = None
        self._chance = chance
        self._befall = befall
        self._leases = place.leases
        self._clock = place.leases.clock
        self._apart = chance.random() < 0.5  # as a server does, or as a file
        self._doubtful: dict[ExecutionId, Row] = {}  # what a claim has taken whose answer was lost
        self.presence = store._presence = LeasedPresence(place.leases, worker.machine, self._beat)
        worker.way = self
        worker.clock.offset = self.offset

    # -- leases -------------------------------------------------------------------------------------------------------

    def leased(self) -> bool:
        return not self._leases.length or self.presence.mine.leased()

    def lost(self) -> bool:
        return bool(self._leases.length) and self.presence.mine.lost

    def offset(self) -> int:
        return self.presence.mine.offset() if self._leases.length else 0

    async def _beat(self, renew: Callable[[], Any]) -> Any:
        """A heartbeat comes to the store, and its answer back."""
        sent = self._clock.now()
        await self._delayed(late=not self._worker.late_back)
        answer = renew()
        await self._delayed(late=self._worker.late_back)
        if answer and self._clock.now() - sent <= 2 * QUICK_SECONDS * MICROSECONDS:
            asyncio.get_running_loop().call_soon(self._worker.clock.compared, sent)  # when it has been made something of
        return answer

    async def _delayed(self, *, late: bool) -> None:
        await asyncio.sleep(self._chance.random() * QUICK_SECONDS)
        if late:
            await asyncio.sleep(max(0.0, self._worker.late_until - self._clock.monotonic()))
        if self._is_cut():
            await asyncio.sleep(self._chance.random())
            raise StoreBusy("The store cannot be reached.")

    async def register(self, worker: str, *, now: int, level: int, labels: Mapping[str, str] | None = None) -> None:
        sent = self._worker.machine.monotonic()
        await super().register(worker, now=now, level=level, labels=labels)
        self.presence.registered(worker, sent)
        if self._leases.length:
            self._worker.condemned = False
            self._worker.clock.compared(self._clock.now())

    # -- calls --------------------------------------------------------------------------------------------------------

    @property
    def commits_apart(self) -> bool:
        return self._apart

    async def commit(self, batch: Batch) -> Committed:
        async def write() -> Committed:
            committed = await self.store.commit(batch)
            self._witness.committed(batch, committed, self._worker.name, self._worker.clock.latest)
            return committed

        self._committing = batch
        return await self._call("commit", write)

    async def claim(
        self, worker: str, now: int, *, limit: int, level: int, only: Sequence[ExecutionId] | None = None
    ) -> list[Row]:
        async def take() -> list[Row]:
            self._leases.condemn(self.presence.mine.judged_until())
            rows = await self.store.claim(worker, now, limit=limit, level=level, only=only)
            self._witness.claimed(rows, self._worker.name)
            found = [row for row in self._doubtful.values() if await self._is_still(row, worker)]
            self._doubtful = {row.execution: row for row in (*found, *rows)}
            return list(self._doubtful.values())

        taken = await self._call("claim", take)
        self._doubtful.clear()
        return taken

    async def _is_still(self, row: Row, worker: str) -> bool:
        now = await self.store.row(row.execution)
        return now is not None and (now.home, now.epoch) == (worker, row.epoch)

    async def changed(self) -> bool:
        await super().changed()
        return True  # one connection cannot tell who wrote

    def _is_cut(self) -> bool:
        return self._clock.monotonic() < self._worker.cut_until

    async def _call(self, name: str, call: Callable[[], Awaitable[Answer]]) -> Answer:
        await self._reach(name)
        fault = self._strike(name, self._committing if name == "commit" else None)
        before = self._chance.random() < 0.5 if fault in ("store slow", "paused", "woken late") else True
        if fault == "store busy":
            raise StoreBusy("Another process keeps the store locked.")
        if fault in ("crash before commit", "crash elsewhere"):
            self._perish()
        if name == "commit" and self._apart:
            await asyncio.sleep(self._chance.random() * SERVER_SECONDS)
            self._check_life(name)
        if before:
            await self._take_time(name, fault)
        answer = await call()
        if fault == "crash after commit":
            self._perish()
        if not before:
            await self._take_time(name, fault)
        if fault == "answer lost":
            self._befall(self._worker, fault)
        if fault == "answer lost" or self._is_cut():
            raise StoreBusy("The way to the store was lost before its answer came.")
        return answer

    async def _reach(self, name: str) -> None:
        self._check_life(name)
        if self._is_cut():
            await asyncio.sleep(min(PATIENCE_SECONDS, self._worker.cut_until - self._clock.monotonic()))
            self._check_life(name)
            if self._is_cut():
                raise StoreBusy("The store cannot be reached.")

    async def _take_time(self, name: str, fault: str) -> None:
        """The moment just before a call takes effect, or just after, before its answer is seen."""
        if fault == "store slow":
            await asyncio.sleep(self._chance.random() * 3)
        elif fault in ("paused", "woken late"):
            self._befall(self._worker, fault)
            await asyncio.sleep(0)
        else:
            return
        self._check_life(name)

    def _check_life(self, name: str) -> None:
        if self.dead:
            raise Crash(f"The worker died before this {name}.")
        if self._leases.length and self.presence.mine.leased() and self._leases.seconds_over(self._worker.names) >= 0:
            self._witness.break_off(f"{self._worker.name} trusts its lease, which has run out by the store's clock")

    def _perish(self) -> None:
        self.dead = True
        self._worker.end(dies=True)
        raise Crash("The worker dies here.")
