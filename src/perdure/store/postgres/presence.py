"""Who is alive: workers hold leases by the database's time, renewed from a thread of its own that no busy loop can hold up."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable

from perdure.clock import MICROSECONDS, Clock
from perdure.errors import StoreError
from perdure.ids import new_key
from perdure.store.postgres.connection import Database

log = logging.getLogger("perdure.store")

BEATS_PER_LEASE = 3  # one may be lost, and the lease still holds
MARGIN = 1 / 6
"""Of the lease: so long before it runs out nothing is started any more. So a worker's monotonic clock may go slower than the
database's by as much, and others still cannot take it for dead before it knows.
"""
AGAIN_SECONDS = 0.1  # after a heartbeat that failed
CARE_SECONDS = 3_600.0
FOREVER = (1 << 63) - 1
NAME_BYTES_MAX = 200

Care = Callable[[Database], Awaitable[object]]
"""What must be done for a database now and then."""


class Presence:
    """The workers of one store. `process` is this process to the database: only it may renew what it has registered.

    `lease`: its length, microseconds. `heartbeat`: makes what renews it, for a process and what it knows of its leases.
    """

    def __init__(self, *, lease: int, clock: Clock, heartbeat: Callable[[bytes, Lease], Heartbeat]) -> None:
        self.process = bytes.fromhex(new_key())
        self.lease = lease
        self._held: frozenset[str] = frozenset()
        self._clock = clock
        self._lease = Lease(clock, lease)
        self._heartbeat = heartbeat(self.process, self._lease)

    @property
    def held(self) -> frozenset[str]:
        """The workers that were registered here."""
        return self._held

    def check_name(self, worker: str) -> None:
        """Raises StoreError where nobody may be so called."""
        if not worker or len(worker.encode(errors="replace")) > NAME_BYTES_MAX:
            raise StoreError(
                f"Expected a worker id of 1 to {NAME_BYTES_MAX} bytes, but got {worker!r}.", remedy="Choose another."
            )

    def now(self) -> float:
        """Seconds by the monotonic clock that the leases go by here."""
        return self._clock.monotonic()

    def hold(self, worker: str, beat: int, *, sent: float) -> None:
        """`worker` has a lease that began at `beat`, by the database's time, and was asked for at `sent`, by `now`.

        It is renewed from now on, those that were lost are not.
        """
        self._held = (self._held - self._heartbeat.lost) | {worker}
        self._heartbeat.begin(self._held)
        self._lease.begin(sent, beat)

    def let_go(self, worker: str) -> None:
        """The lease of `worker` is renewed no more."""
        self._held -= {worker}
        self._heartbeat.loads.pop(worker, None)
        self._heartbeat.workers = self._held

    def say(self, worker: str, load: str) -> None:
        """What a worker is doing; the next heartbeat tells it."""
        self._heartbeat.loads[worker] = load

    @property
    def lost(self) -> bool:
        """Whether others have taken one of the workers for dead, for good."""
        return bool(self._heartbeat.lost)

    def leased(self) -> bool:
        """Whether the leases still hold, by this process's own time."""
        return bool(self._held) and self._lease.holds()

    def offset(self) -> int:
        """Microseconds by which the database's clock is ahead, as measured with the last heartbeat."""
        return self._lease.offset

    def judged_until(self) -> int:
        """Until when, by the database, the silence of others counts: after an interruption all were cut off, not only they."""
        return self._lease.judged_until()

    def stop(self) -> None:
        """Renew nothing any more, from now on; waits for a heartbeat that is under way."""
        self._held = frozenset()
        self._heartbeat.stop()


class Lease:
    """What a process knows of its leases, by its own monotonic clock and by the database's time.

    Written by the thread of the heartbeat and read by others; each field is one value, so no lock is needed.
    """

    def __init__(self, clock: Clock, length: int) -> None:
        self.offset = 0
        self.period = length / MICROSECONDS / BEATS_PER_LEASE
        self._clock = clock
        self._length = length / MICROSECONDS
        self._begun = False
        self._lost = False
        self._renewed = 0.0  # when the last heartbeat that succeeded was sent
        self._beat = 0  # the same by the database's time
        self._before = 0  # the last heartbeat before an interruption
        self._judges_again = 0.0  # after an interruption: when the silence of others counts again

    def begin(self, sent: float, beat: int) -> None:
        """It was asked for at `sent` and began at `beat`; that is known only now, which may be much later."""
        self._begun, self._lost = True, False
        self.offset = beat - self._clock.now()
        self._renewed, self._beat = sent, beat

    def renew(self, sent: float, beat: int) -> None:
        """A heartbeat that was sent at `sent` was taken note of at `beat`."""
        if sent - self._renewed > 2 * self.period:
            self._before, self._judges_again = self._beat, sent + self._length
        self._renewed, self._beat = sent, beat

    def compare(self, before: int, beat: int) -> None:
        """The database's clock showed `beat` at some moment since this one showed `before`.

        What is known already is kept as long as it fits: an answer that took long tells little. Else the earlier end is
        taken, since a wait may end late but never early.
        """
        behind, ahead = beat - self._clock.now(), beat - before
        if not behind <= self.offset <= ahead:
            self.offset = behind

    def lose(self) -> None:
        """Others have taken this process for dead."""
        self._lost = True

    def holds(self) -> bool:
        """Whether others cannot take this process for dead yet."""
        return self._begun and not self._lost and self._clock.monotonic() - self._renewed < self._length * (1 - MARGIN)

    def judged_until(self) -> int:
        """As `Presence.judged_until`."""
        now = self._clock.monotonic()
        if self._begun and now - self._renewed > 2 * self.period:
            return self._beat
        return self._before if now < self._judges_again else FOREVER


class Heartbeat:
    """Renews a lease on a thread with a loop and a connection of its own, until it is stopped; once an hour it takes `care`."""

    def __init__(self, database: Database, process: bytes, lease: Lease, *, care: Care) -> None:
        self.workers: frozenset[str] = frozenset()
        self.lost: frozenset[str] = frozenset()  # those of them that others have taken for dead
        self.loads: dict[str, str] = {}  # what they are doing
        self._lease = lease
        self._process = process
        self._database = database
        self._clock = database.clock
        self._care = care
        self._cared = self._clock.monotonic()
        self._begun = False
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None

    def begin(self, workers: frozenset[str]) -> None:
        """Renew the leases of these from now on, and forget those that were lost."""
        self.workers, self.lost = workers, frozenset()
        if not self._begun:
            self._begun = True
            self._begin()

    def stop(self) -> None:
        """Renew nothing any more; waits for a heartbeat that is under way."""
        self._stopping.set()
        loop, wake = self._loop, self._wake
        if loop is not None and wake is not None:
            try:
                loop.call_soon_threadsafe(wake.set)
            except RuntimeError:
                pass  # its loop has ended already
        if self._thread is not None:
            self._thread.join()

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._run, name="perdure-heartbeat", daemon=True)
        self._thread.start()

    # -- on the thread --------------------------------------------------------------------------------------------------
    def _run(self) -> None:
        asyncio.run(self._beats())

    async def _beats(self) -> None:
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        pause = self._lease.period
        try:
            while not await self._stopped_within(pause):
                pause = self._lease.period if await self._succeeds() else AGAIN_SECONDS
        finally:
            await self._database.close()

    async def _stopped_within(self, seconds: float) -> bool:
        assert self._wake is not None, "the loop has begun"
        if not self._stopping.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
            except TimeoutError:
                pass
        return self._stopping.is_set()

    async def _succeeds(self) -> bool:
        workers = self.workers
        if not workers:
            return True
        names, said = sorted(workers), self.loads
        loads = [said.get(name, "") for name in names]
        sent, before = self._clock.monotonic(), self._clock.now()
        try:
            rows = await self._database.alone(lambda session: session.rows("beat", names, self._process, loads))
        except StoreError as error:
            log.warning("a heartbeat failed: %s", error.message)
            return False
        if not self._stopping.is_set():
            self._note(sent, before, workers, {row["worker"]: row["beat"] for row in rows})
            await self._take_care()
        return True

    def _note(self, sent: float, before: int, asked: frozenset[str], renewed: dict[str, int]) -> None:
        lost = (asked & self.workers) - renewed.keys()
        if lost:
            self._lease.lose()
        if lost - self.lost:
            self.lost |= lost
            log.error("%s lost its lease: others may have taken over what it had", ", ".join(sorted(lost)))
        if renewed:
            beat = max(renewed.values())
            self._lease.compare(before, beat)
            self._lease.renew(sent, beat)

    async def _take_care(self) -> None:
        now = self._clock.monotonic()
        if now - self._cared < CARE_SECONDS:
            return
        self._cared = now
        try:
            await self._care(self._database)
        except StoreError as error:
            log.warning("%s; it is tried again in an hour", error.message)
