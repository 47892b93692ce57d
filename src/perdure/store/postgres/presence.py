"""Who is alive: workers hold leases by the database's time, renewed from a thread of its own that no busy loop can hold up."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable

from perdure.clock import MICROSECONDS
from perdure.errors import StoreError
from perdure.ids import new_key
from perdure.store.postgres.address import Address
from perdure.store.postgres.connection import Database, Session

log = logging.getLogger("perdure.store")

BEATS_PER_LEASE = 3  # one may be lost, and the lease still holds
MARGIN = 1 / 6  # of the lease: so long before it runs out nothing is started any more
AGAIN_SECONDS = 0.1  # after a heartbeat that failed
CARE_SECONDS = 3_600.0
FOREVER = (1 << 63) - 1
NAME_BYTES_MAX = 200

Care = Callable[[Database], Awaitable[object]]
"""What must be done for a database now and then."""


class Presence:
    """The workers of one store. `process` is this process to the database: only it may renew what it has registered."""

    def __init__(self, address: Address, *, lease: int, busy_ms: int, care: Care) -> None:
        self.process = bytes.fromhex(new_key())
        self.lease = lease
        self._held: frozenset[str] = frozenset()
        self._heartbeat = Heartbeat(address, self.process, lease=lease, busy_ms=busy_ms, care=care)

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

    def hold(self, worker: str, beat: int) -> None:
        """`worker` has a lease that began at `beat`, by the database's time; it is renewed from now on."""
        self._held |= {worker}
        self._heartbeat.begin(self._held, beat)

    def let_go(self, worker: str) -> None:
        """The lease of `worker` is renewed no more."""
        self._held -= {worker}
        self._heartbeat.workers = self._held

    def leased(self) -> bool:
        """Whether the leases still hold, by this process's own time."""
        return bool(self._held) and self._heartbeat.holds()

    def offset(self) -> int:
        """Microseconds by which the database's clock is ahead, as measured with the last heartbeat."""
        return self._heartbeat.offset

    def judged_until(self) -> int:
        """Until when, by the database, the silence of others counts: after an interruption all were cut off, not only they."""
        return self._heartbeat.judged_until()

    def stop(self) -> None:
        """Renew nothing any more, from now on; waits for a heartbeat that is under way."""
        self._held = frozenset()
        self._heartbeat.stop()


class Heartbeat:
    """Renews leases on a thread, with a loop and a connection of its own, until it is stopped; once an hour it takes `care`.

    Its fields are written by that thread and read by others; each is one value, so no lock is needed.
    """

    def __init__(self, address: Address, process: bytes, *, lease: int, busy_ms: int, care: Care) -> None:
        self.workers: frozenset[str] = frozenset()
        self.offset = 0
        self._process = process
        self._lease = lease / MICROSECONDS
        self._period = self._lease / BEATS_PER_LEASE
        self._database = Database(address, busy_ms=busy_ms)
        self._clock = self._database.clock
        self._renewed = 0.0  # when the last heartbeat that succeeded was sent, by the monotonic clock
        self._beat = 0  # the same by the database's clock
        self._lost = False
        self._care = care
        self._cared = self._clock.monotonic()
        self._judges_again = 0.0  # after an interruption: when the silence of others counts again
        self._before = 0  # the last heartbeat before it, by the database's clock
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None

    def begin(self, workers: frozenset[str], beat: int) -> None:
        """Renew the leases of these from now on; the last of them began just now, at `beat`."""
        self.workers = workers
        self._renewed, self._beat, self._lost = self._clock.monotonic(), beat, False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="perdure-heartbeat", daemon=True)
            self._thread.start()

    def holds(self) -> bool:
        return not self._lost and self._clock.monotonic() - self._renewed < self._lease * (1 - MARGIN)

    def judged_until(self) -> int:
        now = self._clock.monotonic()
        if self._thread is not None and now - self._renewed > 2 * self._period:
            return self._beat
        return self._before if now < self._judges_again else FOREVER

    def stop(self) -> None:
        self._stopping.set()
        loop, wake = self._loop, self._wake
        if loop is not None and wake is not None:
            try:
                loop.call_soon_threadsafe(wake.set)
            except RuntimeError:
                pass  # its loop has ended already
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    # -- on the thread --------------------------------------------------------------------------------------------------
    def _run(self) -> None:
        asyncio.run(self._beats())

    async def _beats(self) -> None:
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        pause = self._period
        try:
            while not await self._stopped_within(pause):
                pause = self._period if await self._succeeds() else AGAIN_SECONDS
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
        workers = sorted(self.workers)
        if not workers:
            return True
        sent, before = self._clock.monotonic(), self._clock.now()

        async def renew(session: Session) -> list[tuple[str, int]]:
            return [(worker, beat) for worker, beat in await session.rows("beat", workers, self._process)]

        try:
            renewed = await self._database.alone(renew)
        except StoreError as error:
            log.warning("a heartbeat failed: %s", error.message)
            return False
        if not self._stopping.is_set():
            self._note(sent, before, dict(renewed))
            await self._take_care()
        return True

    async def _take_care(self) -> None:
        now = self._clock.monotonic()
        if now - self._cared < CARE_SECONDS:
            return
        self._cared = now
        try:
            await self._care(self._database)
        except StoreError as error:
            log.warning("%s; it is tried again in an hour", error.message)

    def _note(self, sent: float, before: int, renewed: dict[str, int]) -> None:
        lost = [worker for worker in self.workers if worker not in renewed]
        if lost:
            self._lost = True
            log.error("%s lost its lease: others may have taken over what it had", ", ".join(sorted(lost)))
        if not renewed:
            return
        beat = max(renewed.values())
        if sent - self._renewed > 2 * self._period:
            self._before, self._judges_again = self._beat, sent + self._lease
        self._renewed, self._beat = sent, beat
        self.offset = beat - (before + self._clock.now()) // 2
