"""Commits in the loop and in a thread: who waits for whom, what is seen meanwhile, and when the disk counts as slow."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import apsw
import pytest

from perdure.errors import StoreError
from perdure.ids import ExecutionId
from perdure.store.contract import TENANT, Batch
from perdure.store.sqlite import SqliteStore, open_store
from perdure.store.sqlite.access import FLUSH_SLOW, FLUSHES_JUDGED, PROBE_EVERY
from perdure.testing.stores.samples import LEVEL, NOW, WORKER, a_blob, a_message, a_start, a_turn, an_event, an_id


class Disk:
    """A disk whose flushes of the log can be held up, and take as long as they are told."""

    def __init__(self) -> None:
        self.may_flush = threading.Event()
        self.may_flush.set()
        self.reached = threading.Event()  # a flush was asked for
        self.threads: list[str] = []  # that asked for one
        self.seconds = 0.0
        self.time = 0.0

    def flush(self) -> None:
        self.threads.append(threading.current_thread().name)
        self.reached.set()
        assert self.may_flush.wait(20), "nobody let the flush go on"
        self.time += self.seconds

    def now(self) -> int:
        return 0

    def monotonic(self) -> float:
        return self.time


@pytest.fixture
def disk() -> Iterator[Disk]:
    """Every database that is opened meanwhile lies on this disk."""
    found = Disk()

    class File(apsw.VFSFile):  # type: ignore[misc]
        def __init__(self, name: Any, flags: list[int]) -> None:
            self._is_log = str(name.filename() if isinstance(name, apsw.URIFilename) else name).endswith("-wal")
            super().__init__("unix", name, flags)

        def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
            if self._is_log:
                found.flush()  # and no more than that: nobody pulls a plug here

    class Layer(apsw.VFS):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__("held-up", "unix", makedefault=True)

        def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802 - SQLite's name
            return File(name, flags)

    layer = Layer()
    yield found
    layer.unregister()


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A coroutine as a test."""

    @wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    return run


def a_batch(execution: ExecutionId | None = None) -> Batch:
    execution = an_id() if execution is None else execution
    return Batch(starts=[a_start(execution)], turns=[a_turn(execution)])


async def opened(folder: Path, disk: Disk, threaded: Any = "always") -> SqliteStore:
    store = await open_store(folder / "a.db", threaded=threaded, clock=disk)
    disk.threads.clear()
    return store


async def held_up(store: SqliteStore, disk: Disk, execution: ExecutionId) -> asyncio.Task[Any]:
    """A commit that waits for the disk."""
    disk.may_flush.clear()
    disk.reached.clear()
    task = asyncio.create_task(store.commit(a_batch(execution)))
    await asyncio.to_thread(disk.reached.wait, 20)
    return task


@in_a_loop
async def test_who_reads_waits_for_the_commit_and_the_loop_does_not(tmp_path: Path, disk: Disk) -> None:
    """While the disk is waited for, other work goes on; a reader sees the commit whole, never before it is durable."""
    store, execution = await opened(tmp_path, disk), an_id()
    committing = await held_up(store, disk, execution)
    reading = asyncio.create_task(store.row(execution))
    for _ in range(10):  # the loop turns
        await asyncio.sleep(0)
    assert not committing.done()
    assert not reading.done()
    disk.may_flush.set()
    row = await reading
    assert row is not None
    assert row.seq == 2
    assert committing.done()
    assert (await committing).fenced == frozenset()
    assert [name.startswith("perdure-commit") for name in disk.threads] == [True]
    await store.close()


@in_a_loop
async def test_nobody_touches_the_database_meanwhile(tmp_path: Path, disk: Disk) -> None:
    """Whatever is asked while the disk is waited for is answered after it; only the counters may be read at any time."""
    store, execution = await opened(tmp_path, disk), an_id()
    await store.register(WORKER, now=NOW, level=LEVEL)
    committing = await held_up(store, disk, execution)
    asked = [
        asyncio.ensure_future(question)
        for question in (
            store.changed(), store.check(), store.workers(), store.rows(), store.journal(execution), store.snapshot(execution),
            store.inbox(execution), store.arrived(WORKER), store.keyed(TENANT, "orders", "k"), store.definitions("orders"),
            store.definition(b"d" * 32), store.blobs(TENANT, [b"d" * 32]), store.events(), store.holder(TENANT, "k"),
            store.claim(WORKER, NOW, limit=1, level=LEVEL), store.send([a_message(execution)]), store.publish([an_event(None)]),
            store.save_blobs([a_blob(b"x")]), store.acquire([]), store.leave(WORKER),
        )
    ]  # fmt: skip
    for _ in range(10):
        await asyncio.sleep(0)
    assert store.usage().transactions > 0
    assert not any(each.done() for each in asked)
    disk.may_flush.set()
    await asyncio.gather(committing, *asked)
    await store.close()


@in_a_loop
async def test_the_counters_are_read_while_a_commit_is_under_way(tmp_path: Path, disk: Disk) -> None:
    """They are of the commits that are durable, and asking for them does not touch the connection."""
    store = await opened(tmp_path, disk)
    before = store.usage()
    committing = await held_up(store, disk, an_id())
    assert store.usage().rows == before.rows
    disk.may_flush.set()
    await committing
    assert store.usage().rows > before.rows
    await store.close()


@in_a_loop
async def test_who_gives_up_waiting_interrupts_nothing(tmp_path: Path, disk: Disk) -> None:
    """A commit whose caller was cancelled is finished all the same, and closing waits for it."""
    store, execution = await opened(tmp_path, disk), an_id()
    committing = await held_up(store, disk, execution)
    committing.cancel()
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    assert not closing.done()
    disk.may_flush.set()
    await closing
    with pytest.raises(asyncio.CancelledError):
        await committing
    again = await open_store(tmp_path / "a.db")
    assert await again.row(execution) is not None
    await again.close()


@in_a_loop
async def test_commits_keep_their_order(tmp_path: Path, disk: Disk) -> None:
    """Several that wait are written one after another, each whole."""
    store = await opened(tmp_path, disk)
    first = await held_up(store, disk, an_id())
    others = [asyncio.create_task(store.commit(a_batch())) for _ in range(3)]
    await asyncio.sleep(0)
    disk.may_flush.set()
    await asyncio.gather(first, *others)
    assert len(await store.rows()) == 4
    await store.close()


@in_a_loop
async def test_a_failure_in_the_thread_is_told_and_leaves_nothing(tmp_path: Path, disk: Disk) -> None:
    """What cannot be written raises where it was asked for, and the next commit begins with a clean slate."""
    store, execution = await opened(tmp_path, disk), an_id()
    await store.commit(a_batch())
    store.connection.pragma("query_only", 1)
    with pytest.raises(StoreError):
        await store.commit(a_batch(execution))
    store.connection.pragma("query_only", 0)
    assert await store.row(execution) is None
    await store.commit(a_batch(execution))
    assert await store.row(execution) is not None
    await store.close()


@in_a_loop
async def test_a_disk_counts_as_slow_after_some_slow_flushes(tmp_path: Path, disk: Disk) -> None:
    """`auto` leaves the loop when several flushes in a row were slow, and comes back when one in the loop was fast again."""
    store = await opened(tmp_path, disk, "auto")

    async def flush(seconds: float, times: int = 1) -> list[bool]:
        """Commits with such flushes; for each whether it was in a thread."""
        disk.seconds = seconds
        before = len(disk.threads)
        for _ in range(times):
            await store.commit(a_batch())
        return [name.startswith("perdure-commit") for name in disk.threads[before:]]

    assert not any(await flush(FLUSH_SLOW / 10, 10))
    assert await flush(2 * FLUSH_SLOW, FLUSHES_JUDGED + 1) == [False] * FLUSHES_JUDGED + [True]
    probed = await flush(2 * FLUSH_SLOW, 2 * PROBE_EVERY)
    assert probed.count(False) == 2
    recovering = await flush(FLUSH_SLOW / 10, PROBE_EVERY + 10)
    assert recovering.index(False) < PROBE_EVERY
    assert not any(recovering[recovering.index(False) :])
    await store.close()


@in_a_loop
async def test_a_store_in_memory_has_no_thread(disk: Disk) -> None:
    """There is no disk to wait for."""
    store = await open_store(":memory:", threaded="always", clock=disk)
    await store.commit(a_batch())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("perdure-commit")]
    await store.close()
