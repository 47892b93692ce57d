"""How the embedded store opens a file: its settings, whose file it is, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from apsw.ext import QueryPlan, query_info

from perdure.errors import NotFound, StoreDamaged, StoreError, StoreReadOnly
from perdure.store.contract import FIRST_FINAL, Batch
from perdure.store.sqlite import SqliteStore, open_store
from perdure.store.sqlite.connection import APPLICATION_ID, CHECKPOINT_PAGES, MIGRATIONS, SQL
from perdure.testing.stores.samples import NOW, WORKER, a_start, a_turn, an_id, began
from perdure.testing.stores.sqlite import FilePlace

# Queries that may look at every row of a table: what they look at is small, or they are asked for by a person.
WHOLE_TABLES = {"workers", "blob_files", "version", "integrity"}


def opened(path: Path | str, **given: object) -> SqliteStore:
    return asyncio.run(open_store(path, **given))  # type: ignore[arg-type]


def test_the_file_is_set_up_to_be_safe(tmp_path: Path) -> None:
    """A write-ahead log, a flush per commit, pages of 4 K, bounded checkpoints, no foreign keys."""
    connection = opened(tmp_path / "a.db").connection
    found = {name: connection.pragma(name) for name in ("journal_mode", "synchronous", "page_size", "foreign_keys")}
    assert found == {"journal_mode": "wal", "synchronous": 2, "page_size": 4_096, "foreign_keys": 0}
    assert connection.pragma("wal_autocheckpoint") == CHECKPOINT_PAGES == 2_000
    assert connection.pragma("application_id") == APPLICATION_ID
    assert connection.pragma("user_version") == len(MIGRATIONS)


@pytest.mark.parametrize("synchronous, number", [("FULL", 2), ("NORMAL", 1), ("EXTRA", 3), ("OFF", 0)])
def test_synchronous_is_the_callers_choice(tmp_path: Path, synchronous: str, number: int) -> None:
    """What is asked for is set."""
    assert opened(tmp_path / "a.db", synchronous=synchronous).connection.pragma("synchronous") == number


def test_an_unknown_synchronous_is_refused() -> None:
    """A misspelled word is named with the right ones, and never becomes the database's silent default."""
    with pytest.raises(ValueError, match="FULL, EXTRA, NORMAL, OFF"):
        opened(":memory:", synchronous="ful")


def test_every_table_is_strict() -> None:
    """No column takes a value of another type than its own."""
    connection = opened(":memory:").connection
    tables = connection.execute("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'").fetchall()
    assert {name for name, strict in tables if not strict} == {"sqlite_schema", "sqlite_sequence"}


def test_every_table_of_tenants_bears_the_tenant() -> None:
    """Day-one 4: a column `tenant` in every table but those about the database, its workers and its files."""
    connection = opened(":memory:").connection
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    without = {
        table for table in tables if "tenant" not in [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    }
    assert without == {"meta", "migrations", "workers", "leases", "loose_files", "sqlite_sequence"}


def test_no_index_holds_what_a_step_changes() -> None:
    """A step rewrites the narrow row in place: seq, status, level and updated stand in no index."""
    connection = opened(":memory:").connection
    texts = connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'executions'").fetchall()
    words = {
        word for (text,) in texts if text for word in str(text).replace("(", " ").replace(")", " ").replace(",", " ").split()
    }
    assert words & {"tenant", "workflow", "home", "priority"}
    assert not words & {"seq", "status", "level", "updated", "epoch"}


def test_queries_say_the_first_final_status_as_the_contract_does() -> None:
    """The number 6 in the queries is the contract's: numbers of statuses never change."""
    assert FIRST_FINAL == 6


@pytest.mark.parametrize("name", sorted(set(SQL) - WHOLE_TABLES))
def test_no_query_reads_a_whole_table_or_sorts_it(name: str) -> None:
    """Every query finds its rows by a key or walks an index in order, so its cost does not grow with the store."""
    connection = opened(":memory:").connection
    plan = query_info(connection, SQL[name], explain_query_plan=True).query_plan
    assert plan is not None
    steps = list(_steps(plan))
    small = ("SCAN carray", "SCAN each", "SCAN (", "SCAN CONSTANT ROW")
    assert [step for step in steps if step.startswith("SCAN") and not step.startswith(small)] == []
    assert [step for step in steps if "TEMP B-TREE" in step] == []


def _steps(plan: QueryPlan) -> Iterator[str]:
    yield plan.detail
    for part in plan.sub or ():
        yield from _steps(part)


# -- whose file it is ---------------------------------------------------------------------------------------------------


def test_another_applications_database_is_left_alone(tmp_path: Path) -> None:
    """A SQLite file with other tables, or another application's number, is refused and not touched."""
    foreign, numbered = tmp_path / "foreign.db", tmp_path / "numbered.db"
    with closing(apsw.Connection(str(foreign))) as connection:
        connection.execute("CREATE TABLE invoices (number INTEGER)")
    with closing(apsw.Connection(str(numbered))) as connection:
        connection.pragma("application_id", 7)
    for path in (foreign, numbered):
        before = path.read_bytes()
        with pytest.raises(StoreError, match="another application"):
            opened(path)
        assert path.read_bytes() == before


def test_a_missing_store_is_only_made_when_asked(tmp_path: Path) -> None:
    """`create=False` on a path where nothing is raises NotFound with the path, and makes nothing."""
    with pytest.raises(NotFound, match=r"no\.db"):
        opened(tmp_path / "no.db", create=False)
    assert list(tmp_path.iterdir()) == []
    opened(tmp_path / "yes.db")
    opened(tmp_path / "yes.db", create=False)


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    """A store in a folder that does not exist cannot be opened, and the remedy speaks of the folder."""
    with pytest.raises(StoreReadOnly) as raised:
        opened(tmp_path / "no" / "a.db")
    assert "folder" in raised.value.remedy


def test_a_file_of_something_else_is_damaged(tmp_path: Path) -> None:
    """A text file is no database."""
    path = tmp_path / "a.db"
    path.write_text("This is no database, but a text that goes on for a while.\n" * 100)
    with pytest.raises(StoreDamaged):
        opened(path)


def test_a_half_file_is_damaged(tmp_path: Path) -> None:
    """A file that was cut off is told when it is opened or checked."""
    path = tmp_path / "a.db"
    asyncio.run(_filled(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    try:
        store = opened(path)
    except StoreDamaged:
        return
    assert asyncio.run(store.check())


async def _filled(path: Path) -> None:
    store = await open_store(path)
    executions = await began(store, 300)
    await store.commit(Batch(turns=[a_turn(each, first_seq=3, body=b"x" * 500) for each in executions]))
    await store.close()


def test_damaged_pages_raise_where_they_are_read(file_place: FilePlace) -> None:
    """Reading rows from a page that went bad raises StoreDamaged with a remedy; the check lists what it found."""

    async def spoil() -> None:
        store = await file_place.open()
        executions = await began(store, 400)
        await store.commit(Batch(turns=[a_turn(each, first_seq=3, body=b"x" * 800) for each in executions]))
        await store.close()
        page = _root_page(file_place.path, "journal")
        with file_place.path.open("r+b") as file:
            file.seek((page - 1) * 4_096)
            file.write(b"\xa5" * 4_096)
        store = await file_place.open()
        with pytest.raises(StoreDamaged) as raised:
            await store.journal(executions[7])
        assert raised.value.remedy
        assert await store.check()

    asyncio.run(spoil())


def _root_page(path: Path, table: str) -> int:
    with closing(apsw.Connection(str(path))) as connection:
        ((page,),) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchall()
    assert isinstance(page, int)
    return page


def test_a_read_only_file_in_a_writable_folder_can_be_read(file_place: FilePlace) -> None:
    """Looking at a store that may not be written works; the first write says why not, and opening wrote nothing."""

    async def look() -> None:
        store = await file_place.open()
        (one,) = await began(store)
        await store.close()
        before = file_place.path.read_bytes()
        connection = apsw.Connection(str(file_place.path), flags=apsw.SQLITE_OPEN_READONLY)
        store = SqliteStore.on(connection)
        assert len(await store.journal(one)) == 1
        with pytest.raises(StoreReadOnly):
            await store.commit(Batch(turns=[a_turn(one, first_seq=3)]))
        with pytest.raises(StoreReadOnly):
            await store.register(WORKER, now=NOW, level=1)
        assert len(await store.journal(one)) == 1
        connection.close()
        assert file_place.path.read_bytes() == before

    asyncio.run(look())


def test_opening_again_writes_nothing(tmp_path: Path) -> None:
    """A store that is up to date is opened without a write, so that looking at it disturbs nobody."""
    path = tmp_path / "a.db"
    first = opened(path)
    version = first.connection.pragma("data_version")
    second = opened(path)
    assert second.usage().rows == 0
    assert first.connection.pragma("data_version") == version


_OPENS = """
import asyncio, sys
from perdure.store.sqlite import open_store

async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    store = await open_store(sys.argv[1])
    print(len(await store.rows()), flush=True)

asyncio.run(main())
"""


def test_several_processes_may_make_the_store_at_once(tmp_path: Path) -> None:
    """Four processes that open a missing store at the same moment all get it, with its schema made once."""
    path = tmp_path / "a.db"
    command = [sys.executable, "-c", _OPENS, str(path)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate()[0] for process in processes] == ["0\n"] * 4
    with closing(apsw.Connection(str(path))) as connection:
        assert connection.execute("SELECT count(*) FROM migrations").fetchall() == [(len(MIGRATIONS),)]
        assert connection.execute("SELECT count(*), length(max(value)) FROM meta").fetchall() == [(1, 16)]


# -- on a connection ----------------------------------------------------------------------------------------------------


def test_a_store_in_memory_survives_its_death() -> None:
    """`SqliteStore.on` over the surviving connection is the restarted store: all data there, all workers dead."""

    async def restart() -> None:
        first = await open_store(":memory:")
        connection = first.connection
        (one,) = await began(first)
        second = SqliteStore.on(connection)
        assert await second.row(one) == await first.row(one)
        assert [worker.alive for worker in await second.workers()] == [False]
        await second.close()
        assert connection.pragma("user_version") == len(MIGRATIONS)
        assert len(await first.rows()) == 1
        await first.close()
        with pytest.raises(apsw.ConnectionClosedError):
            connection.pragma("user_version")

    asyncio.run(restart())


def test_a_start_outside_the_priorities_is_refused_by_name() -> None:
    """Priorities are 1 to 5: a start of another is refused, and the one beside it is written."""

    async def start() -> None:
        store = await open_store(":memory:")
        good, bad = an_id(), an_id()
        starts = [a_start(good), a_start(bad, priority=0)]
        with pytest.raises(StoreError, match="priority"):
            await store.commit(Batch(starts=starts, turns=[a_turn(good), a_turn(bad)]))
        assert await store.row(good) is not None
        assert await store.row(bad) is None

    asyncio.run(start())
