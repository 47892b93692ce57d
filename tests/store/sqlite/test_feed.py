"""The feed in a file: by position, which is never given again; a copy that was put back is another history."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from perdure.store.contract import Batch
from perdure.store.feed import CursorRefused
from perdure.store.sqlite import SqliteStore, open_store
from perdure.store.sqlite.connection import SQL
from perdure.testing.stores.place import raised
from perdure.testing.stores.samples import SUCCEEDED, a_turn, began


def in_store(path: Path, work: Callable[[SqliteStore], Coroutine[Any, Any, None]]) -> None:
    """Do something with a store in this file."""

    async def main() -> None:
        store = await open_store(path)
        await work(store)
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("name", ["feed", "feed_of_execution"])
def test_a_page_is_found_without_looking_at_what_is_before(tmp_path: Path, name: str) -> None:
    """By the key of its rows, whatever the planner knows of them; nothing is scanned and nothing sorted but the page."""

    async def work(store: SqliteStore) -> None:
        asked = {"number": 1, "execution": b"", "removals": 0, "tenant": None, "after": 1, "limit": 10}
        plan = [row[3] for row in store.connection.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", asked)]
        assert any(step.startswith("SEARCH j USING ") for step in plan), plan
        assert not [step for step in plan if step.startswith(("SCAN journal", "SCAN j", "SCAN executions", "SCAN e"))], plan

    in_store(tmp_path / "a.db", work)


def test_the_last_position_is_kept_when_its_row_goes(tmp_path: Path) -> None:
    """By a row of no execution, of which there is one at most: it goes when another row comes after it; the store is sound."""

    async def work(store: SqliteStore) -> None:
        for _ in range(3):
            (one,) = await began(store)
            await store.commit(Batch(turns=[a_turn(one, first_seq=3, status=SUCCEEDED, release=True)]))
            (last,) = [row[0] for row in store.connection.execute("SELECT max(position) FROM journal")]
            cursor = (await store.feed()).cursor
            await store.remove([one])
            while await store.reclaim(1):
                assert store.connection.execute("SELECT max(position) FROM journal").fetchall() == [(last,)]
            assert store.connection.execute("SELECT position, execution FROM journal").fetchall() == [(last, b"")]
            assert (await store.feed(after=cursor)).rows == []
            assert (await store.feed()).rows == []
            assert await store.check() == []

    in_store(tmp_path / "a.db", work)


def test_removals_are_kept_only_as_far_as_they_tell_something(tmp_path: Path) -> None:
    """What went in the order of its time leaves one row, however much it was."""

    async def work(store: SqliteStore) -> None:
        for _ in range(5):
            (one,) = await began(store)
            await store.commit(Batch(turns=[a_turn(one, first_seq=3, status=SUCCEEDED, release=True)]))
            await store.remove([one])
            assert len(store.connection.execute("SELECT * FROM removals").fetchall()) == 1

    in_store(tmp_path / "a.db", work)


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_cursor_beyond_an_older_copy_is_refused(tmp_path: Path, goes_on: bool) -> None:
    """Whether the copy is still behind it, or has other rows by now where the reader had passed; one within the copy holds."""
    file, copy = tmp_path / "a.db", tmp_path / "copy.db"
    cursors: list[str] = []

    async def before(store: SqliteStore) -> None:
        await began(store, 2)
        cursors.append((await store.feed(limit=1)).cursor)

    async def after(store: SqliteStore) -> None:
        await began(store, 2)
        cursors.append((await store.feed()).cursor)

    async def restored(store: SqliteStore) -> None:
        if goes_on:
            await began(store, 4)
        error = await raised(CursorRefused, store.feed(after=cursors[1]))
        assert "restored from an older copy" in error.message
        assert len((await store.feed(after=cursors[0])).rows) == (5 if goes_on else 1)

    in_store(file, before)
    shutil.copyfile(file, copy)
    in_store(file, after)
    in_store(copy, restored)


def test_a_cursor_of_another_store_is_refused(tmp_path: Path) -> None:
    """Each store has a history of its own."""
    cursors: list[str] = []

    async def first(store: SqliteStore) -> None:
        await began(store)
        cursors.append((await store.feed()).cursor)

    async def second(store: SqliteStore) -> None:
        await began(store)
        error = await raised(CursorRefused, store.feed(after=cursors[0]))
        assert "another store" in error.message

    in_store(tmp_path / "a.db", first)
    in_store(tmp_path / "b.db", second)
