"""The embedded store: one SQLite file, the folders of blobs and of worker locks beside it, and the contract over them."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Self

import apsw

from perdure.clock import Clock
from perdure.errors import StoreDamaged
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
from perdure.store.sqlite import claims, inbox, locks, records, retention, tasks
from perdure.store.sqlite.access import Access, Threaded
from perdure.store.sqlite.blobs import BlobFiles
from perdure.store.sqlite.commit import commit, is_file, save_blobs_alone
from perdure.store.sqlite.connection import BUSY_TIMEOUT_MS, SQL, Database, connect
from perdure.store.sqlite.events import publish, read_events
from perdure.store.sqlite.feed import read_feed
from perdure.store.sqlite.presence import Presence
from perdure.store.tasks import Held, Pool, Task, TaskName, TaskReport

REPORTS_APART = 10_000_000  # microseconds after which a load is written that has not changed
LOOK_SECONDS = 0.01  # between two looks whether another process has written


async def open_store(
    path: str | Path,
    *,
    synchronous: str = "FULL",
    create: bool = True,
    busy_timeout_ms: int = BUSY_TIMEOUT_MS,
    threaded: Threaded = "never",
    clock: Clock | None = None,
) -> SqliteStore:
    """Open the store at `path`, a file or `:memory:`, and bring its schema up to date.

    `synchronous` FULL: a commit that returned survives the loss of power; NORMAL: only the loss of the process.
    `threaded`: whether what writes waits for the disk in a thread; `auto`: while the disk is slow by `clock`.
    Raises NotFound (missing, and `create` is False), StoreTooNew, StoreDamaged, StoreReadOnly, StoreBusy.
    """
    place = str(path)
    connection = connect(place, create=create, busy_timeout_ms=busy_timeout_ms)
    try:
        store = SqliteStore(Database(connection, synchronous=synchronous, clock=clock), owned=True, threaded=threaded)
        await store.sweep()
    except BaseException:
        connection.close()
        raise
    return store


class SqliteStore:
    """A store in one SQLite file; see `perdure.store.contract.Store` for what each method promises.

    Transactions never interleave: each runs to its end in the loop, or in a thread while all others wait. The files of large
    blobs are read and written in threads. One process may open a store several times, and several processes on one machine may.
    """

    commits_apart = False  # nor in a thread: there the disk is slow, and two commits of half take twice as long

    def __init__(self, database: Database, *, owned: bool, threaded: Threaded = "never") -> None:
        place = database.place
        self._database = database
        self._access = Access(database, threaded)
        self._owned = owned
        self._presence = Presence(None if database.in_memory else Path(f"{place}.workers"))
        self._files = None if database.in_memory else BlobFiles(Path(f"{place}.blobs"))
        self._sent = False
        self._reported: dict[str, tuple[Load, int]] = {}  # by worker: what was written, and when
        self._version = self._data_version()

    @classmethod
    def on(cls, connection: apsw.Connection, *, synchronous: str = "FULL") -> Self:
        """A store over a connection that somebody else opened and will close; in memory, it is what survives a restart.

        All workers that were registered through earlier stores on a connection to memory are dead for this one.
        """
        return cls(Database(connection, synchronous=synchronous), owned=False)

    @property
    def connection(self) -> apsw.Connection:
        """The connection underneath, for those who reopen or examine it."""
        return self._database.connection

    @property
    def place(self) -> str:
        """The file, or `:memory:`."""
        return self._database.place

    # -- the writer -------------------------------------------------------------------------------------------------------
    async def commit(self, batch: Batch) -> Committed:
        if batch.blobs:
            await self._write_files(batch.blobs)
        committed = await self._access.run(commit, batch)
        self._sent = self._sent or bool(batch.messages or batch.events or batch.tasks or batch.task_stops)
        return committed

    # -- executions -------------------------------------------------------------------------------------------------------
    async def row(self, execution: ExecutionId) -> Row | None:
        async with self._access:
            return records.find_row(self._database, execution)

    async def rows(
        self,
        *,
        tenant: str = TENANT,
        workflow: str | None = None,
        statuses: Sequence[int] | None = None,
        before: ExecutionId | None = None,
        limit: int = 100,
    ) -> list[Row]:
        async with self._access:
            return records.find_rows(
                self._database, tenant=tenant, workflow=workflow, statuses=statuses, before=before, limit=limit
            )

    async def claim(
        self, worker: str, now: int, *, limit: int, level: int, only: Sequence[ExecutionId] | None = None
    ) -> list[Row]:
        return await self._access.run(claims.claim, self._presence, worker, now, limit=limit, level=level, only=only)

    async def keyed(self, tenant: str, workflow: str, key: str) -> KeyedStart | None:
        async with self._access:
            return records.find_keyed(self._database, tenant, workflow, key)

    # -- journal ----------------------------------------------------------------------------------------------------------
    async def journal(self, execution: ExecutionId, *, after: int = 0, limit: int = 10_000) -> list[JournalRow]:
        async with self._access:
            return records.read_journal(self._database, execution, after=after, limit=limit)

    async def snapshot(self, execution: ExecutionId) -> Snapshot | None:
        async with self._access:
            return records.find_snapshot(self._database, execution)

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
        async with self._access:
            return read_feed(self._database, after=after, selection=selection, limit=limit, latest=latest)

    async def feed_lag(self) -> FeedLag | None:
        return None  # one transaction writes at a time

    # -- inbox ------------------------------------------------------------------------------------------------------------
    async def send(self, messages: Sequence[Message]) -> list[bool]:
        answers = await self._access.run(inbox.send, messages)
        self._sent = self._sent or any(answers)
        return answers

    async def arrived(self, worker: str, *, limit: int = 1_000, after: int = 0) -> list[Arrived]:
        async with self._access:
            return inbox.arrived(self._database, worker, limit=limit, after=after)

    async def inbox(self, execution: ExecutionId, *, limit: int = 1_000) -> list[Arrived]:
        async with self._access:
            return inbox.inbox(self._database, execution, limit=limit)

    # -- definitions ------------------------------------------------------------------------------------------------------
    async def save_definition(self, definition: Definition) -> None:
        await self._access.run(records.save_definition, definition)

    async def definition(self, digest: bytes, *, tenant: str = TENANT) -> Definition | None:
        async with self._access:
            return records.find_definition(self._database, digest, tenant=tenant)

    async def definitions(self, name: str, *, tenant: str = TENANT) -> list[Definition]:
        async with self._access:
            return records.find_definitions(self._database, name, tenant=tenant)

    async def definitions_since(self, position: int, *, limit: int = 100) -> list[tuple[int, Definition]]:
        async with self._access:
            return records.find_definitions_since(self._database, position, limit)

    # -- blobs ------------------------------------------------------------------------------------------------------------
    async def save_blobs(self, blobs: Sequence[Blob]) -> None:
        await self._write_files(blobs)
        await self._access.run(save_blobs_alone, blobs)

    async def blobs(self, tenant: str, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        if not digests:
            return {}
        async with self._access:
            rows = self._database.all(SQL["blobs"], (tenant, apsw.carray(tuple(digests))))
            bodies = {digest: body for digest, _, body in rows if body is not None}
            for digest, body in bodies.items():
                if hashlib.sha256(body).digest() != digest:
                    raise StoreDamaged(
                        f"Expected the blob {digest.hex()} as it was written, but its content has changed.",
                        remedy="Restore the store from a backup; `perdure verify` names every damaged row.",
                    )
            files = [(digest, size) for digest, size, body in rows if body is None]
            if files and self._files is not None:
                bodies |= await asyncio.to_thread(self._files.read, files)
        return bodies

    # -- events -----------------------------------------------------------------------------------------------------------
    async def publish(self, events: Sequence[Event]) -> list[bool]:
        answers = await self._access.run(publish, events)
        self._sent = self._sent or any(answers)
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
        async with self._access:
            return read_events(self._database, tenant=tenant, type=type, after=after, since=since, limit=limit, latest=latest)

    # -- locks ------------------------------------------------------------------------------------------------------------
    async def acquire(self, claims: Sequence[LockClaim]) -> list[bool]:
        return await self._access.run(locks.acquire, claims)

    async def holder(self, tenant: str, key: str) -> tuple[ExecutionId, str] | None:
        async with self._access:
            return locks.find_holder(self._database, tenant, key)

    # -- tasks ------------------------------------------------------------------------------------------------------------
    async def claim_tasks(self, worker: str, labels: Mapping[str, str], now: int, *, limit: int) -> list[Task]:
        return await self._access.run(tasks.claim, self._presence, worker, labels, now, limit=limit)

    async def report_tasks(self, worker: str, reports: Sequence[TaskReport]) -> list[bool]:
        answers = await self._access.run(tasks.report, worker, reports)
        self._sent = self._sent or any(answers)
        return answers

    async def return_tasks(self, worker: str, names: Sequence[TaskName], *, due: int) -> None:
        await self._access.run(tasks.give_back, worker, names, due)

    async def held_tasks(self, worker: str) -> list[Held]:
        async with self._access:
            return tasks.held(self._database, worker)

    async def tasks(self, executions: Collection[ExecutionId]) -> list[Task]:
        async with self._access:
            return tasks.find(self._database, executions)

    async def left_tasks(self, executions: Collection[ExecutionId], now: int) -> list[Task]:
        return await self._access.run(tasks.left, self._presence, executions, now)

    async def pools(self) -> list[Pool]:
        async with self._access:
            return tasks.pools(self._database)

    # -- workers ----------------------------------------------------------------------------------------------------------
    async def register(self, worker: str, *, now: int, level: int, labels: Mapping[str, str] | None = None) -> None:
        async with self._access:
            claims.register(self._database, self._presence, worker, now=now, level=level, labels=labels or {})
            self._database.lengthen_log()

    async def leave(self, worker: str) -> None:
        async with self._access:
            claims.leave(self._database, self._presence, worker)

    async def workers(self) -> list[Worker]:
        async with self._access:
            return claims.workers(self._database, self._presence)

    async def report(self, worker: str, load: Load, *, now: int) -> None:
        before = self._reported.get(worker)
        if before is not None and load == before[0] and now - before[1] < REPORTS_APART:
            return  # a worker with nothing to do need not wake the disk to say so
        async with self._access:
            claims.report(self._database, self._presence, worker, load, now=now)
        self._reported[worker] = (load, now)

    def leased(self) -> bool:
        return True  # by the locks on their files others know at once who lives

    def lost(self) -> bool:
        return False

    def offset(self) -> int:
        return 0

    async def changed(self) -> bool:
        async with self._access:
            before, sent = self._version, self._sent
            self._version, self._sent = self._data_version(), False
        return sent or self._version != before

    async def wait_changed(self, seconds: float) -> bool:
        # Another process's commit rings no bell: the number it changes is looked at, which costs microseconds.
        for _ in range(math.ceil(seconds / LOOK_SECONDS)):
            if await self._has_changed():
                return True
            await asyncio.sleep(LOOK_SECONDS)
        return await self._has_changed()

    async def _has_changed(self) -> bool:
        async with self._access:
            return self._sent or self._data_version() != self._version

    # -- retention --------------------------------------------------------------------------------------------------------
    async def finished(
        self, before: int, *, after: ExecutionId | None = None, limit: int = 1_000
    ) -> tuple[list[Row], ExecutionId | None]:
        async with self._access:
            return retention.look_for_finished(self._database, before, after=after, limit=limit)

    async def remove(self, executions: Sequence[ExecutionId]) -> list[ExecutionId]:
        return await self._access.run(retention.remove, executions)

    async def reclaim(self, limit: int) -> int:
        return (
            await self._access.run(retention.clear, limit)
            or await self._unlink_loose_files()
            or await self._access.run(retention.give_back, limit)
        )

    async def forget_events(self, before: int, *, limit: int) -> int:
        return await self._access.run(retention.forget_events, before, limit)

    async def bodies(self, *, after: str = "", limit: int = 1_000) -> tuple[list[tuple[ExecutionId | None, bytes]], str]:
        async with self._access:
            return retention.bodies(self._database, after, limit)

    async def old_blobs(self, *, unsaved: int, after: str = "", limit: int = 1_000) -> tuple[list[BlobName], str]:
        async with self._access:
            return retention.old_blobs(self._database, unsaved, after, limit)

    async def drop_blobs(self, blobs: Sequence[BlobName], *, unsaved: int) -> list[BlobName]:
        return await self._access.run(retention.drop_blobs, blobs, unsaved)

    async def lease(self, name: str, holder: str, *, now: int, until: int) -> bool:
        return await self._access.run(retention.lease, name, holder, now, until)

    async def space(self) -> Space:
        async with self._access:
            return retention.space(self._database)

    # -- care -------------------------------------------------------------------------------------------------------------
    def usage(self) -> Usage:
        counted = self._database
        return Usage(transactions=counted.transactions, statements=counted.statements, rows=counted.rows, bytes=counted.bytes)

    async def check(self) -> list[str]:
        try:
            async with self._access:
                findings = [str(sentence) for (sentence,) in self._database.all(SQL["integrity"]) if sentence != "ok"]
                files = self._database.all(SQL["blob_files"])
        except StoreDamaged as damage:
            return [damage.message]
        if files and self._files is not None:
            findings += await asyncio.to_thread(self._files.findings, files)
        return findings

    async def sweep(self) -> None:
        """Remove what dead writers of blobs left half-written."""
        if self._files is not None:
            with self._database.errors:
                self._files.sweep()

    async def close(self) -> None:
        """Close; workers still registered here count as dead. Closing twice does no harm."""
        async with self._access:  # until nothing is being written
            self.abandon()

    def abandon(self) -> None:
        """What the death of the process does: locks and connection go, nothing more is written. Tests restart with it."""
        self._presence.abandon()
        self._access.stop()
        self._database.close()
        if self._owned:
            self._database.connection.close(True)

    async def _write_files(self, blobs: Sequence[Blob]) -> None:
        large = [blob for blob in blobs if is_file(self._database, len(blob.body))]
        if large and self._files is not None:
            with self._database.errors:
                await asyncio.to_thread(self._files.write, large)

    async def _unlink_loose_files(self) -> int:
        """Unlink some of the files that have lost their rows; how many went."""
        if self._files is None:
            return 0
        async with self._access:
            loose = retention.loose_files(self._database)
        if not loose:
            return 0
        with self._database.errors:
            gone = await asyncio.to_thread(self._files.unlink, loose)
        await self._access.run(retention.forget_files, gone)
        return len(gone)

    def _data_version(self) -> int:
        with self._database.errors:
            return self._database.number(SQL["version"])
