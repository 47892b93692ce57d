"""Opening a database: is it ours, is it safe to write to, and is its schema up to date."""

from __future__ import annotations

from perdure.errors import NotFound, StoreError, StoreTooNew
from perdure.store import migrations
from perdure.store.postgres.connection import Database, Session

MIGRATIONS = migrations.load("perdure.store.postgres")
VERSION_MIN = 14
_LINE = 0x50455244  # who migrates goes one after another

# By the rows of the catalogue, and not by `to_regclass`: a connection remembers that a name meant nothing, also after it has
# waited for somebody who has just given it a meaning.
_IS_THERE = """
SELECT EXISTS (
    SELECT 1 FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'perdure' AND c.relname = 'migrations'
)
"""


async def prepare(database: Database, *, create: bool) -> None:
    """Bring the schema up to date. Raises NotFound (no store there, and `create` is False), StoreTooNew, StoreError."""
    await _check_server(database)
    applied = await database.read(_applied)
    if applied is None and not create:
        raise NotFound(
            f"Expected a store in {database.place}, but there is none.",
            remedy="Check the URL, or let the store be created: any command that runs a workflow does.",
        )
    newest = max(applied or {}, default=0)
    if newest > len(MIGRATIONS):
        # Before anything of it is read: even the table of migrations may look different there.
        raise StoreTooNew(
            f"Expected {database.place} to have at most schema {len(MIGRATIONS)}, but it has schema {newest}, "
            "written by a newer Perdure.",
            remedy="Upgrade this installation, or open the store with the one that wrote it.",
        )
    if applied is not None and not migrations.missing(MIGRATIONS, applied, database.place):
        return
    async with database.transaction() as session:
        await session.connection.execute("SELECT pg_advisory_xact_lock($1)", _LINE)
        # Another process may have been first: look again, under the lock.
        for migration in migrations.missing(MIGRATIONS, await _applied(session) or {}, database.place):
            await _apply(session, migration)


async def _check_server(database: Database) -> None:
    """A server that forgets what it has confirmed is no place for a journal."""

    async def ask(session: Session) -> dict[str, str]:
        names = ("server_version_num", "server_version", "synchronous_commit", "fsync", "server_encoding")
        sql = "SELECT name, current_setting(name) AS value FROM unnest($1::text[]) AS s (name)"
        return {row["name"]: row["value"] for row in await session.connection.fetch(sql, list(names))}

    found = await database.read(ask)
    if int(found["server_version_num"]) < VERSION_MIN * 10_000:
        raise StoreError(
            f"Expected {database.place} to run PostgreSQL {VERSION_MIN} or newer, but it is {found['server_version']}.",
            remedy="Upgrade the server, or name another.",
        )
    for name, remedy in (
        ("synchronous_commit", "ALTER ROLE … RESET synchronous_commit, or set it to on in postgresql.conf."),
        ("fsync", "Set fsync = on in postgresql.conf: without it the loss of power damages the database."),
    ):
        if found[name] == "off":
            raise StoreError(
                f"Expected {database.place} to keep what it has confirmed, but {name} is off there.", remedy=remedy
            )
    if found["server_encoding"] != "UTF8":
        raise StoreError(
            f"Expected the texts of {database.place} in UTF8, but its encoding is {found['server_encoding']}.",
            remedy="Create the database with ENCODING 'UTF8' TEMPLATE template0.",
        )


async def _applied(session: Session) -> dict[int, str] | None:
    """The migrations of a store by number, with their checksums; None where there is no store."""
    if not await session.connection.fetchval(_IS_THERE):
        return None
    rows = await session.connection.fetch("SELECT number, checksum FROM perdure.migrations")
    return {row["number"]: row["checksum"] for row in rows}


async def _apply(session: Session, migration: migrations.Migration) -> None:
    run = session.connection.execute
    if migration.number == 1:
        await run("CREATE SCHEMA IF NOT EXISTS perdure")
        await run("CREATE TABLE perdure.migrations (number integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL)")
    await run(migration.sql)
    await run("INSERT INTO perdure.migrations VALUES ($1, $2, $3)", migration.number, migration.name, migration.checksum)
