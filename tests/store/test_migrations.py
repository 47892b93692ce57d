"""Numbered migrations: their order, their checksums, and stores of other releases."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from pathlib import Path

import pytest

from perdure.errors import StoreError, StoreTooNew
from perdure.ids import ExecutionId
from perdure.store import migrations
from perdure.store.contract import Batch
from perdure.store.migrations import Migration
from perdure.store.sqlite import SqliteStore, connection, open_store
from perdure.testing.stores.samples import LEVEL, NOW, RUNNING, WORKER, a_subscription, an_event, an_id


def package(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, files: dict[str, str]) -> str:
    """An importable package of that name with files in it."""
    for file, text in {"__init__.py": "", **files}.items():
        path = folder / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def a_migration(number: int, sql: str = "SELECT 1;") -> Migration:
    return Migration(number=number, name="x", sql=sql, checksum=hashlib.sha256(sql.encode()).hexdigest())


def test_migrations_are_read_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By number, each with its name and the checksum of its text, whatever its line ends; other files are passed over."""
    files = {"migrations/0002_b.sql": "B;\r\n", "migrations/0001_a.sql": "A;\n", "migrations/README.md": "no"}
    found = migrations.load(package(monkeypatch, tmp_path, "migrations_in_order", files))
    assert [(each.number, each.name, each.sql) for each in found] == [(1, "a", "A;\n"), (2, "b", "B;\n")]
    assert found[1].checksum == hashlib.sha256(b"B;\n").hexdigest()


@pytest.mark.parametrize(
    "files, found",
    [
        (["0001_a.sql", "0003_b.sql"], r"\[1, 3\]"),
        (["0001_a.sql", "0001_b.sql"], r"\[1, 1\]"),
        (["0002_a.sql"], r"\[2\]"),
        (["1_a.sql"], "1_a.sql"),
        (["0001_First.sql"], "0001_First.sql"),
    ],
)
def test_misnamed_migrations_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], found: str) -> None:
    """A gap, a number that stands twice, or a name of another form is told when the files are read."""
    name = f"misnamed_{abs(hash(tuple(files)))}"
    with pytest.raises(ValueError, match=found):
        migrations.load(package(monkeypatch, tmp_path, name, {f"migrations/{file}": "A;" for file in files}))


def test_only_what_is_missing_is_applied() -> None:
    """Those that a database has already, in the same wording, are left out."""
    known = (a_migration(1, "A"), a_migration(2, "B"), a_migration(3, "C"))
    assert migrations.missing(known, {}, "here") == known
    assert migrations.missing(known, {1: known[0].checksum, 2: known[1].checksum}, "here") == known[2:]


def test_another_wording_is_refused() -> None:
    """A migration that was applied in another wording is told with its number; nothing is guessed."""
    with pytest.raises(StoreError, match=r"migration 1 .* of here"):
        migrations.missing((a_migration(1),), {1: "0" * 64}, "here")


def test_a_newer_schema_is_refused() -> None:
    """A database that is ahead of the known migrations says which release it needs."""
    with pytest.raises(StoreTooNew, match="schema 2"):
        migrations.missing((a_migration(1),), {1: a_migration(1).checksum, 2: "0" * 64}, "here")


def test_a_store_remembers_its_migrations(tmp_path: Path) -> None:
    """Number, name and checksum of each are in the file, and a changed checksum keeps it from being opened."""
    path = tmp_path / "a.db"
    store = asyncio.run(open_store(path))
    rows = store.connection.execute("SELECT number, name, checksum FROM migrations").fetchall()
    assert rows == [(each.number, each.name, each.checksum) for each in connection.MIGRATIONS]
    store.connection.execute("UPDATE migrations SET checksum = 'other'")
    with pytest.raises(StoreError, match="checksum"):
        asyncio.run(open_store(path))


def test_an_older_store_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of an earlier release keeps its data and gets what it lacks, in one transaction."""
    path = tmp_path / "a.db"
    asyncio.run(open_store(path))
    number = len(connection.MIGRATIONS) + 1
    newer = a_migration(number, "CREATE TABLE later (a INTEGER) STRICT; INSERT INTO later VALUES (7);")
    monkeypatch.setattr(connection, "MIGRATIONS", (*connection.MIGRATIONS, newer))
    store = asyncio.run(open_store(path))
    assert store.connection.execute("SELECT a FROM later").fetchall() == [(7,)]
    assert store.connection.pragma("user_version") == number
    asyncio.run(open_store(path))
    assert store.connection.execute("SELECT count(*) FROM later").fetchall() == [(1,)]


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a migration that breaks off in its middle nothing stays, and the release before it still opens the store."""
    path = tmp_path / "a.db"
    asyncio.run(open_store(path))
    known = connection.MIGRATIONS
    broken = a_migration(len(known) + 1, "CREATE TABLE later (a); SELECT no_such_thing();")
    monkeypatch.setattr(connection, "MIGRATIONS", (*known, broken))
    with pytest.raises(StoreError, match="no_such_thing"):
        asyncio.run(open_store(path))
    monkeypatch.setattr(connection, "MIGRATIONS", known)
    store: SqliteStore = asyncio.run(open_store(path))
    assert store.connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'later'").fetchall() == [(0,)]


def test_a_store_of_the_first_schema_is_read_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events and executions that were written before there were subscriptions are as they were, and can be waited for."""
    path = tmp_path / "a.db"
    known = connection.MIGRATIONS

    async def write() -> ExecutionId:
        store = await open_store(path)
        # As the release of the first schema wrote it: none of its statements knows what came later.
        execution = an_id()
        columns = "execution, tenant, workflow, digest, created, updated, priority, status, home, epoch, seq, level, key"
        values = (execution, "default", "orders", b"d" * 32, NOW, NOW, 3, RUNNING, WORKER, 1, 2, LEVEL, "")
        store.connection.execute(f"INSERT INTO executions ({columns}) VALUES ({', '.join('?' * len(values))})", values)
        event = ("default", "e1", "order.paid", "/orders", "17", NOW, execution, b"{}")
        columns = "tenant, id, type, source, subject, at, execution, body"
        store.connection.execute(f"INSERT INTO events ({columns}) VALUES ({', '.join('?' * len(event))})", event)
        await store.close()
        return execution

    async def read(execution: ExecutionId) -> None:
        store = await open_store(path)
        assert [event for _, event in await store.events(since=NOW)] == [an_event(execution)]
        await store.commit(Batch(subscriptions=[a_subscription(execution)]))
        assert await store.publish([an_event(None, "e1"), an_event(None, "e2")]) == [False, True]
        assert [arrived.message.key for arrived in await store.inbox(execution)] == ["e2"]
        assert await store.check() == []

    monkeypatch.setattr(connection, "MIGRATIONS", known[:1])
    execution = asyncio.run(write())
    monkeypatch.setattr(connection, "MIGRATIONS", known)
    asyncio.run(read(execution))
