"""What is removed gives its room back: pages of the file, and the files of large values, and never one that is being named."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from perdure.store.contract import Batch, Blob, BlobName, Store
from perdure.store.sqlite import SqliteStore, open_store
from perdure.testing.stores.samples import SUCCEEDED, a_blob, a_turn, began

LARGE = a_blob(os.urandom(300 << 10))
NAME = BlobName(tenant="default", digest=LARGE.digest, size=len(LARGE.body))
HOUR = 3_600_000_000


def in_store(folder: Path, work: Callable[[SqliteStore], Coroutine[Any, Any, None]]) -> None:
    """Do something with a store in this folder."""

    async def main() -> None:
        store = await open_store(folder / "a.db")
        await work(store)
        await store.close()

    asyncio.run(main())


def file_of(folder: Path, blob: Blob = LARGE) -> Path:
    name = blob.digest.hex()
    return folder / "a.db.blobs" / name[:2] / name


def age(path: Path, seconds: int = 7_200) -> None:
    """Make a file look as if nobody had touched it for two hours."""
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


async def filled(store: Store, executions: int = 20, size: int = 50_000) -> None:
    """Executions that have ended, with journals of some size."""
    for execution in await began(store, executions):
        turn = a_turn(execution, first_seq=3, body=os.urandom(size), status=SUCCEEDED, release=True)
        await store.commit(Batch(turns=[turn]))


async def cleared(store: Store) -> None:
    """Remove all that has ended, and do all that is left to do."""
    rows, _ = await store.finished(2**62 // 1_000)
    await store.remove([row.execution for row in rows])
    while await store.reclaim(1_000):
        pass


# -- the file -----------------------------------------------------------------------------------------------------------


def test_the_file_shrinks_when_what_it_held_is_removed(tmp_path: Path) -> None:
    """The room goes back to the disk, but for a fifth of what is left, which the next executions will take."""

    async def work(store: SqliteStore) -> None:
        await filled(store)
        before = await store.space()
        await cleared(store)
        after = await store.space()
        assert before.total > 1_000_000
        assert after.total < before.total // 2
        assert after.free <= after.total // 5 + 4_096

    in_store(tmp_path, work)


def test_room_is_given_back_in_small_pieces(tmp_path: Path) -> None:
    """One call gives back at most so many pages, so nobody waits long for the lock."""

    async def work(store: SqliteStore) -> None:
        await filled(store)
        rows, _ = await store.finished(2**62 // 1_000)
        await store.remove([row.execution for row in rows])
        before = (await store.space()).total
        while await store.reclaim(10):
            after = (await store.space()).total
            assert before - after <= 12 * 4_096  # two more: pages that say where others lie
            before = after

    in_store(tmp_path, work)


def test_a_file_of_an_earlier_release_keeps_its_room_for_what_comes(tmp_path: Path) -> None:
    """It does not know where its pages are named, so it cannot shrink; what is free in it is used again."""
    with closing(apsw.Connection(str(tmp_path / "a.db"))) as connection:
        connection.pragma("auto_vacuum", 0)
        connection.execute("PRAGMA journal_mode = WAL")

    async def work(store: SqliteStore) -> None:
        assert store.connection.pragma("auto_vacuum") == 0
        await filled(store)
        before = await store.space()
        await cleared(store)
        after = await store.space()
        assert after.total == before.total
        assert after.free > before.free
        await filled(store)
        assert (await store.space()).total <= before.total + before.total // 10

    in_store(tmp_path, work)


# -- files of large values ----------------------------------------------------------------------------------------------


def test_the_file_of_a_large_value_goes_with_its_row(tmp_path: Path) -> None:
    """Once nobody has touched it for as long as its row was not saved."""

    async def work(store: SqliteStore) -> None:
        await store.save_blobs([LARGE])
        assert await store.drop_blobs([NAME], unsaved=0) == [NAME]
        assert await store.reclaim(10) == 1
        assert not file_of(tmp_path).exists()
        assert await store.reclaim(10) == 0
        assert await store.check() == []

    in_store(tmp_path, work)


def test_a_file_that_another_tenant_names_stays(tmp_path: Path) -> None:
    """One file serves all tenants with that value; it goes with the last of them."""

    async def work(store: SqliteStore) -> None:
        await store.save_blobs([LARGE, Blob(tenant="acme", digest=LARGE.digest, body=LARGE.body)])
        await store.drop_blobs([NAME], unsaved=0)
        assert await store.reclaim(10) == 0
        assert await store.blobs("acme", [LARGE.digest]) == {LARGE.digest: LARGE.body}
        await store.drop_blobs([BlobName(tenant="acme", digest=LARGE.digest, size=NAME.size)], unsaved=0)
        assert await store.reclaim(10) == 1
        assert not file_of(tmp_path).exists()

    in_store(tmp_path, work)


def test_a_file_that_somebody_is_about_to_name_stays(tmp_path: Path) -> None:
    """Its row went since it was old; but a writer found the file there and counts on it: it has made it young before."""

    async def work(store: SqliteStore) -> None:
        await store.save_blobs([LARGE])
        store.connection.execute("UPDATE blobs SET saved = 0")
        assert await store.drop_blobs([NAME], unsaved=HOUR) == [NAME]
        assert file_of(tmp_path).exists()
        assert await store.reclaim(10) == 0  # its file is young
        await store.save_blobs([LARGE])
        assert await store.reclaim(10) == 0
        assert await store.blobs("default", [LARGE.digest]) == {LARGE.digest: LARGE.body}

    in_store(tmp_path, work)


def test_saving_a_value_again_makes_its_file_young(tmp_path: Path) -> None:
    """The file is not written again, but whoever would unlink it sees that somebody counts on it."""

    async def work(store: SqliteStore) -> None:
        await store.save_blobs([LARGE])
        age(file_of(tmp_path))
        before = file_of(tmp_path).stat().st_mtime
        await store.save_blobs([LARGE])
        assert file_of(tmp_path).stat().st_mtime - before > 7_000

    in_store(tmp_path, work)


def test_a_death_before_the_file_goes_leaves_it_to_the_next_one(tmp_path: Path) -> None:
    """That its row is gone is remembered, so the file goes whoever comes next."""

    async def dies(store: SqliteStore) -> None:
        await store.save_blobs([LARGE])
        await store.drop_blobs([NAME], unsaved=0)
        store.abandon()

    async def goes_on(store: SqliteStore) -> None:
        assert await store.reclaim(10) == 1
        assert not file_of(tmp_path).exists()

    in_store(tmp_path, dies)
    in_store(tmp_path, goes_on)


@pytest.mark.parametrize("minutes, is_younger", [(5, False), (15, True)])
def test_a_value_is_made_young_only_now_and_then(tmp_path: Path, minutes: int, is_younger: bool) -> None:
    """Saved again within ten minutes its row is not written, so that a value that all steps share costs one write."""

    async def work(store: SqliteStore) -> None:
        await store.save_blobs([a_blob(b"small")])
        store.connection.execute("UPDATE blobs SET saved = saved - ?", (minutes * 60_000_000,))
        before = store.connection.execute("SELECT saved FROM blobs").fetchall()
        await store.save_blobs([a_blob(b"small")])
        assert (store.connection.execute("SELECT saved FROM blobs").fetchall() > before) is is_younger

    in_store(tmp_path, work)
