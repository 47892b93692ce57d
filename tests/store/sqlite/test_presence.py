"""Who is alive: locks on files, across stores, forks and odd names."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

import pytest

from perdure.errors import StoreError
from perdure.store.contract import Load
from perdure.store.sqlite import open_store
from perdure.store.sqlite.presence import Presence
from perdure.testing.stores.samples import LEVEL, NOW, OTHER, SECOND, WORKER, began


def locks(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_worker_has_a_file_while_it_is_registered(tmp_path: Path) -> None:
    """Registering makes the file, leaving removes it; a death leaves it until the claim that takes everything over."""

    async def live() -> None:
        folder = tmp_path / "a.db.workers"
        store = await open_store(tmp_path / "a.db")
        await store.register(OTHER, now=NOW, level=LEVEL)
        assert locks(folder) == [f"{OTHER}.lock"]
        await store.leave(OTHER)
        assert locks(folder) == []
        await began(store)
        store.abandon()
        store = await open_store(tmp_path / "a.db")
        await store.register(OTHER, now=NOW, level=LEVEL)
        assert locks(folder) == [f"{WORKER}.lock", f"{OTHER}.lock"]
        assert len(await store.claim(OTHER, NOW, limit=9, level=LEVEL)) == 1
        assert locks(folder) == [f"{OTHER}.lock"]

    asyncio.run(live())


def test_asking_never_takes_or_releases_a_lock(tmp_path: Path) -> None:
    """However often and by whomever it is asked, the living stay alive and the dead stay dead."""
    holder, asker = Presence(tmp_path), Presence(tmp_path)
    holder.hold("a")
    for _ in range(5):
        assert holder.alive("a")
        assert asker.alive("a")
        assert not asker.alive("b")
    holder.abandon()
    assert not asker.alive("a")
    assert not holder.alive("a")


def test_two_who_ask_at_once_do_not_see_each_other(tmp_path: Path) -> None:
    """The lock of the question is a shared one: while one asks about a dead worker, it is not alive for another."""
    holder = Presence(tmp_path)
    holder.hold("a")
    holder.abandon()
    with (tmp_path / "a.lock").open() as asking:
        fcntl.flock(asking, fcntl.LOCK_SH | fcntl.LOCK_NB)
        assert not Presence(tmp_path).alive("a")
        newcomer = Presence(tmp_path)
        newcomer.hold("a")
        assert newcomer.alive("a")
    assert Presence(tmp_path).alive("a")


@pytest.mark.parametrize("worker", ["host-1/42", "..", "ä é 日本", "a%2Fb", "x" * 200])
def test_odd_names_are_names(tmp_path: Path, worker: str) -> None:
    """A worker's id may hold what a file's name may not; it stays in the folder, and each has its own file."""
    presence = Presence(tmp_path / "locks")
    presence.hold(worker)
    assert Presence(tmp_path / "locks").alive(worker)
    assert len(locks(tmp_path / "locks")) == 1
    assert locks(tmp_path) == ["locks"]
    presence.let_go(worker)
    assert locks(tmp_path / "locks") == []


@pytest.mark.parametrize("worker", ["", "x" * 201, "é" * 100])
def test_a_name_that_is_no_name_is_refused(worker: str) -> None:
    """An empty id, and one that makes no file's name, raise and register nothing."""

    async def register() -> None:
        store = await open_store(":memory:")
        with pytest.raises(StoreError, match="1 to 200"):
            await store.register(worker, now=NOW, level=LEVEL)
        assert await store.workers() == []

    asyncio.run(register())


def test_a_forked_child_keeps_nobody_alive(tmp_path: Path) -> None:
    """A child that is forked from a worker and outlives it does not hold its lock."""
    holder = Presence(tmp_path)
    to_child, from_parent = os.pipe()
    from_child, to_parent = os.pipe()
    holder.hold("a")
    child = os.fork()
    if not child:
        os.write(to_parent, b"h" if holder.holds("a") else b"-")
        os.close(from_parent)
        os.read(to_child, 1)  # lives until the parent says so
        os._exit(0)
    assert os.read(from_child, 1) == b"-"
    asker = Presence(tmp_path)
    assert asker.alive("a")
    holder.abandon()
    assert not asker.alive("a")
    os.close(from_parent)
    os.waitpid(child, 0)
    for descriptor in (to_child, from_child, to_parent):
        os.close(descriptor)


def test_a_failed_registration_leaves_no_lock(tmp_path: Path) -> None:
    """When the row cannot be written, the worker is not alive either."""

    async def register() -> None:
        store = await open_store(tmp_path / "a.db")
        with pytest.raises(StoreError):
            await store.register(WORKER, now=1 << 64, level=LEVEL)
        assert locks(tmp_path / "a.db.workers") == []
        await store.register(WORKER, now=NOW, level=LEVEL)
        with pytest.raises(StoreError):
            await store.register(WORKER, now=1 << 64, level=LEVEL)
        assert [worker.alive for worker in await store.workers()] == [True]

    asyncio.run(register())


def test_two_names_of_one_file_are_one_store(tmp_path: Path) -> None:
    """A store that is opened by a symbolic link sees the same workers alive."""

    async def look() -> None:
        store = await open_store(tmp_path / "a.db")
        await began(store)
        (tmp_path / "link.db").symlink_to(tmp_path / "a.db")
        other = await open_store(tmp_path / "link.db")
        assert [(worker.worker, worker.alive) for worker in await other.workers()] == [(WORKER, True)]

    asyncio.run(look())


def test_a_load_is_written_when_it_changes_and_now_and_then(tmp_path: Path) -> None:
    """A worker that has nothing to do wakes the disk every ten seconds and not at each look."""
    idle, busy = Load(slots=8), Load(slots=8, running=1)

    async def main() -> None:
        store = await open_store(tmp_path / "store.db")
        await store.register(WORKER, now=NOW, level=LEVEL)
        written = []
        for at, load in ((0, idle), (2, idle), (4, busy), (6, busy), (15, busy)):
            before = store.usage().transactions
            await store.report(WORKER, load, now=NOW + at * SECOND)
            written.append(store.usage().transactions - before)
        assert written == [1, 0, 1, 0, 1]
        (worker,) = await store.workers()
        assert (worker.load, worker.heard) == (busy, NOW + 15 * SECOND)
        await store.close()

    asyncio.run(main())
