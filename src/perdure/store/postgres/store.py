"""The distributed store: one PostgreSQL database that many workers share, and the contract over it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from perdure.errors import StoreBusy, StoreDamaged, StoreError
from perdure.ids import ExecutionId
from perdure.store.contract import (
    TENANT,
    Arrived,
    Batch,
    Blob,
    BlobName,
    Committed,
    Definition,
    Event,
    JournalRow,
    KeyedStart,
    Load,
    LockClaim,
    Message,
    Row,
    Snapshot,
    Space,
    Usage,
    Worker,
)
from perdure.store.feed import FeedLag, FeedPage, Selection
from perdure.store.postgres import events, inbox, locks, records, retention, tasks
from perdure.store.postgres.address import read_address
from perdure.store.postgres.bell import Bell
from perdure.store.postgres.check import findings
from perdure.store.postgres.claims import Claims
from perdure.store.postgres.commit import commit, save_blobs
from perdure.store.postgres.complaints import REFUSALS
from perdure.store.postgres.connection import Database
from perdure.store.postgres.feed import find_lag, read_feed
from perdure.store.postgres.history import know_history
from perdure.store.postgres.partitions import make_weeks
from perdure.store.postgres.presence import Heartbeat, Presence
from perdure.store.postgres.schema import prepare
from perdure.store.tasks import Held, Pool, Task, TaskName, TaskReport

log = logging.getLogger("perdure.store")

BUSY_TIMEOUT_MS = 5_000
LEASE = 6_000_000


async def open_store(
    url: str, *, create: bool = True, busy_timeout_ms: int = BUSY_TIMEOUT_MS, lease: int = LEASE
) -> PostgresStore:
    """Open the store in the database at `url` (`postgresql://…`) and bring its schema up to date.

    `busy_timeout_ms`: how long a lock is waited for. `lease`: microseconds after which a worker that is not heard of counts as
    dead. Raises Refused (the URL), NotFound (no database, or no store in it and `create` is False), StoreTooNew, StoreReadOnly,
    StoreBusy (cannot be reached), StoreError (a server that may forget what it has confirmed).
    """
    address = read_address(url)
    # Who is paused or cut off in the midst of a transaction keeps its rows no longer than its executions.
    database = Database(address, busy_ms=busy_timeout_ms, idle_ms=lease // 1_000)
    # A heartbeat that fails tries again by itself.
    beats = Database(address, busy_ms=busy_timeout_ms, patient=False, idle_ms=lease // 1_000)
    presence = Presence(
        lease=lease, clock=beats.clock, heartbeat=lambda process, known: Heartbeat(beats, process, known, care=_make_weeks)
    )
    try:
        await database.try_to_connect()
        await prepare(database, create=create)
        await know_history(database)
        await _make_weeks(database)
    except BaseException:
        database.abandon()
        raise
    return PostgresStore(database, presence)


async def _make_weeks(database: Database) -> None:
    """By this process's clock: ids are made by it. What cannot be made now is made in an hour, and needed in weeks."""
    try:
        await make_weeks(database, database.clock.now())
    except StoreBusy as busy:
        log.warning("the next weeks of history are not made yet: %s", busy.message)


class PostgresStore:
    """A store in one PostgreSQL database; see `perdure.store.contract.Store` for what each method promises.

    Used from one event loop; its heartbeats run on a thread of their own, from `register` to `leave` or `close`.
    """

    commits_apart = True

    def __init__(self, database: Database, presence: Presence) -> None:
        self._database = database
        self._presence = presence
        self._claims = Claims(database, presence)
        self._bell = Bell(database, presence.process.hex())
        self._reclaiming = retention.Reclaiming(database)

    @property
    def place(self) -> str:
        """The database, without a password."""
        return self._database.place

    @property
    def process(self) -> bytes:
        """What this process is called in the database's table of workers."""
        return self._presence.process

    # -- the writer -------------------------------------------------------------------------------------------------------
    async def commit(self, batch: Batch) -> Committed:
        written = await commit(self._database, batch, self._presence.held)
        if batch.messages or batch.events or batch.tasks or batch.task_stops:
            self._bell.note()
        if written.rings:
            await self._ring()
        return written.committed

    # -- executions -------------------------------------------------------------------------------------------------------
    async def row(self, execution: ExecutionId) -> Row | None:
        return await records.find_row(self._database, execution)

    async def rows(
        self,
        *,
        tenant: str = TENANT,
        workflow: str | None = None,
        statuses: Sequence[int] | None = None,
        before: ExecutionId | None = None,
        limit: int = 100,
    ) -> list[Row]:
        return await records.find_rows(
            self._database, tenant=tenant, workflow=workflow, statuses=statuses, before=before, limit=limit
        )

    async def claim(
        self, worker: str, now: int, *, limit: int, level: int, only: Sequence[ExecutionId] | None = None
    ) -> list[Row]:
        return await self._claims.claim(worker, now, limit=limit, level=level, only=only)

    async def keyed(self, tenant: str, workflow: str, key: str) -> KeyedStart | None:
        return await records.find_keyed(self._database, tenant, workflow, key)

    # -- journal ----------------------------------------------------------------------------------------------------------
    async def journal(self, execution: ExecutionId, *, after: int = 0, limit: int = 10_000) -> list[JournalRow]:
        return await records.read_journal(self._database, execution, after=after, limit=limit)

    async def snapshot(self, execution: ExecutionId) -> Snapshot | None:
        return await records.find_snapshot(self._database, execution)

    # -- feed -------------------------------------------------------------------------------------------------------------
    async def feed(
        self,
        *,
        after: str = "",
        tenant: str | None = None,
        execution: ExecutionId | None = None,
        limit: int = 1_000,
        latest: bool = False,
    ) -> FeedPage:
        selection = Selection(tenant=tenant, execution=execution)
        return await read_feed(self._database, after=after, selection=selection, limit=limit, latest=latest)

    async def feed_lag(self) -> FeedLag | None:
        return await find_lag(self._database)

    # -- inbox ------------------------------------------------------------------------------------------------------------
    async def send(self, messages: Sequence[Message]) -> list[bool]:
        if not messages:
            return []
        with self._storable():
            answers, homes = await inbox.send(self._database, messages)
        if any(answers):
            await self._tell(homes[message.execution] for message, new in zip(messages, answers, strict=True) if new)
        return answers

    async def arrived(self, worker: str, *, limit: int = 1_000, after: int = 0) -> list[Arrived]:
        return await inbox.arrived(self._database, worker, limit=limit, after=after)

    async def inbox(self, execution: ExecutionId, *, limit: int = 1_000) -> list[Arrived]:
        return await inbox.inbox(self._database, execution, limit=limit)

    # -- definitions ------------------------------------------------------------------------------------------------------
    async def save_definition(self, definition: Definition) -> None:
        with self._storable():
            await records.save_definition(self._database, definition)

    async def definition(self, digest: bytes, *, tenant: str = TENANT) -> Definition | None:
        return await records.find_definition(self._database, digest, tenant=tenant)

    async def definitions(self, name: str, *, tenant: str = TENANT) -> list[Definition]:
        return await records.find_definitions(self._database, name, tenant=tenant)

    async def definitions_since(self, position: int, *, limit: int = 100) -> list[tuple[int, Definition]]:
        return await records.find_definitions_since(self._database, position, limit)

    # -- blobs ------------------------------------------------------------------------------------------------------------
    async def save_blobs(self, blobs: Sequence[Blob]) -> None:
        if blobs:
            with self._storable():
                size = await self._database.alone(lambda session: save_blobs(session, blobs))
            self._database.bytes += size

    async def blobs(self, tenant: str, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        if not digests:
            return {}
        return await records.read_blobs(self._database, tenant, digests)

    # -- events -----------------------------------------------------------------------------------------------------------
    async def publish(self, events_: Sequence[Event]) -> list[bool]:
        if not events_:
            return []
        with self._storable():
            answers, homes = await events.publish(self._database, events_)
        if any(answers):
            await self._tell(homes)
        return answers

    async def events(
        self,
        *,
        tenant: str = TENANT,
        type: str | None = None,
        after: int = 0,
        since: int = 0,
        limit: int = 100,
        latest: bool = False,
    ) -> list[tuple[int, Event]]:
        return await events.read_events(
            self._database, tenant=tenant, type=type, after=after, since=since, limit=limit, latest=latest
        )

    # -- locks ------------------------------------------------------------------------------------------------------------
    async def acquire(self, claims: Sequence[LockClaim]) -> list[bool]:
        if not claims:
            return []
        with self._storable():
            return await locks.acquire(self._database, claims)

    async def holder(self, tenant: str, key: str) -> tuple[ExecutionId, str] | None:
        return await locks.find_holder(self._database, tenant, key)

    # -- tasks ------------------------------------------------------------------------------------------------------------
    async def claim_tasks(self, worker: str, labels: Mapping[str, str], now: int, *, limit: int) -> list[Task]:
        return await tasks.claim(self._database, self._presence, worker, labels, now, limit=limit)

    async def report_tasks(self, worker: str, reports: Sequence[TaskReport]) -> list[bool]:
        if not reports:
            return []
        with self._storable():
            answers, homes = await tasks.report(self._database, worker, reports)
        if any(answers):
            await self._tell(homes)
        return answers

    async def return_tasks(self, worker: str, names: Sequence[TaskName], *, due: int) -> None:
        if names:
            await tasks.give_back(self._database, worker, names, due)

    async def held_tasks(self, worker: str) -> list[Held]:
        return await tasks.held(self._database, worker)

    async def tasks(self, executions: Collection[ExecutionId]) -> list[Task]:
        return await tasks.find(self._database, executions)

    async def left_tasks(self, executions: Collection[ExecutionId], now: int) -> list[Task]:
        return await tasks.left(self._database, self._presence, executions, now)

    async def pools(self) -> list[Pool]:
        return await tasks.pools(self._database)

    # -- workers ----------------------------------------------------------------------------------------------------------
    async def register(self, worker: str, *, now: int, level: int, labels: Mapping[str, str] | None = None) -> None:
        with self._storable():
            await self._claims.register(worker, now=now, level=level, labels=labels or {})

    async def leave(self, worker: str) -> None:
        if await self._claims.leave(worker):
            await self._ring()

    async def workers(self) -> list[Worker]:
        return await self._claims.workers()

    async def report(self, worker: str, load: Load, *, now: int) -> None:
        self._presence.say(worker, msgspec.json.encode(load).decode())

    def leased(self) -> bool:
        return self._presence.leased()

    def lost(self) -> bool:
        return self._presence.lost

    def offset(self) -> int:
        return self._presence.offset()

    async def changed(self) -> bool:
        return await self._bell.changed()

    async def wait_changed(self, seconds: float) -> bool:
        return await self._bell.wait(seconds)

    # -- retention --------------------------------------------------------------------------------------------------------
    async def finished(
        self, before: int, *, after: ExecutionId | None = None, limit: int = 1_000
    ) -> tuple[list[Row], ExecutionId | None]:
        return await retention.look_for_finished(self._database, before, after=after, limit=limit)

    async def remove(self, executions: Sequence[ExecutionId]) -> list[ExecutionId]:
        return await retention.remove(self._database, executions)

    async def reclaim(self, limit: int) -> int:
        return await self._reclaiming.reclaim(limit)

    async def forget_events(self, before: int, *, limit: int) -> int:
        return await retention.forget_events(self._database, before, limit)

    async def bodies(self, *, after: str = "", limit: int = 1_000) -> tuple[list[tuple[ExecutionId | None, bytes]], str]:
        return await retention.bodies(self._database, after, limit)

    async def old_blobs(self, *, unsaved: int, after: str = "", limit: int = 1_000) -> tuple[list[BlobName], str]:
        return await retention.old_blobs(self._database, unsaved, after, limit)

    async def drop_blobs(self, blobs: Sequence[BlobName], *, unsaved: int) -> list[BlobName]:
        return await retention.drop_blobs(self._database, blobs, unsaved)

    async def lease(self, name: str, holder: str, *, now: int, until: int) -> bool:
        return await retention.lease(self._database, name, holder, now, until)

    async def space(self) -> Space:
        return await retention.space(self._database)

    # -- care -------------------------------------------------------------------------------------------------------------
    def usage(self) -> Usage:
        database = self._database
        return Usage(
            transactions=database.transactions, statements=database.statements, rows=database.rows_written, bytes=database.bytes
        )

    async def check(self) -> list[str]:
        try:
            return await findings(self._database)
        except StoreDamaged as damage:
            return [damage.message]

    async def close(self) -> None:
        """Close; workers still registered here count as dead from now on. Closing twice does no harm."""
        if self._database.is_closed:
            return
        held = self._presence.held
        await asyncio.to_thread(self._presence.stop)
        if held:
            await self._end_leases()
        self.abandon()

    def abandon(self) -> None:
        """What the death of the process does: heartbeats and connections end, nothing is written. Tests restart with it."""
        self._presence.stop()
        self._bell.abandon()
        self._database.abandon()

    async def _end_leases(self) -> None:
        """Others need not wait until the leases run out. Where that cannot be said they do."""
        try:
            await self._database.alone(lambda session: session.run("end_leases", self._presence.process))
        except StoreError:
            return
        await self._ring()

    async def _tell(self, homes: Iterable[str]) -> None:
        """Messages have arrived for executions at these homes."""
        self._bell.note()
        if any(home not in self._presence.held for home in homes):
            await self._ring()

    async def _ring(self) -> None:
        """What was written is durable already: should this fail, the others find it when they look the next time."""
        try:
            await self._bell.ring()
        except StoreError:
            return

    @contextmanager
    def _storable(self) -> Iterator[None]:
        """A value that cannot be stored is the caller's to change."""
        try:
            yield
        except REFUSALS as refusal:
            raise StoreError(
                f"Expected texts in Unicode and numbers of 64 bits, but the database cannot store a value: {refusal}",
                remedy="Change the value; nothing was written.",
            ) from refusal
