"""Whether a database is still the one that its history was written in: a restored copy begins another one.

A restore gives transactions other numbers, mostly smaller ones than those that the copy's rows bear. So the rows to come count
on from where the copy's end, and the cursors of readers, who had read something else beyond that, are of another history.
"""

from __future__ import annotations

import logging

import asyncpg

from perdure.store.postgres.connection import Database, Session

log = logging.getLogger("perdure.store")

_LINE = 0x50455248  # who finds a copy goes one after another
_OID = "SELECT oid::bigint FROM pg_database WHERE datname = current_database()"
_SERVER = "SELECT system_identifier FROM pg_control_system()"
_KNOWN = "SELECT convert_from(value, 'UTF8') FROM perdure.meta WHERE name = 'database'"
_NOTE = (
    "INSERT INTO perdure.meta (name, value) VALUES ('database', convert_to($1, 'UTF8')) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_BEGIN_ANEW = "UPDATE perdure.meta SET value = uuid_send(gen_random_uuid()) WHERE name = 'incarnation'"
_AHEAD = (
    "SELECT coalesce((SELECT xid::text::bigint FROM perdure.journal ORDER BY xid DESC LIMIT 1), 0) + 1 "
    "- pg_current_xact_id()::text::bigint"
)


async def know_history(database: Database) -> None:
    """Note which database this is, the first time; where the store was brought here as a copy, begin a history of its own."""
    is_here = await database.read(_identity)
    if await database.read(_known) == is_here:
        return
    async with database.transaction() as session:
        run = session.connection.execute
        await run("SELECT pg_advisory_xact_lock($1)", _LINE)
        known = await _known(session)
        if known == is_here:
            return
        if known is not None:
            await _begin_anew(session)
            log.warning("%s was restored from a copy: its feed begins anew, and cursors of before are refused", database.place)
        await run(_NOTE, is_here)


async def _begin_anew(session: Session) -> None:
    run = session.connection.execute
    # Nobody writes a row by the old count any more, or after it was looked how far that has come.
    await run("LOCK TABLE perdure.journal IN ACCESS EXCLUSIVE MODE")
    ahead = max(0, await session.connection.fetchval(_AHEAD))
    await run(f"ALTER TABLE perdure.journal ALTER COLUMN xid SET DEFAULT {_moved('pg_current_xact_id()', ahead)}")
    horizon = _moved("pg_snapshot_xmin(pg_current_snapshot())", ahead)
    await run(f"CREATE OR REPLACE FUNCTION perdure.horizon() RETURNS xid8 LANGUAGE sql STABLE AS 'SELECT {horizon}'")
    await run(_BEGIN_ANEW)


def _moved(number: str, ahead: int) -> str:
    return f"(({number}::text::bigint + {ahead})::text)::xid8" if ahead else number


async def _known(session: Session) -> str | None:
    found: str | None = await session.connection.fetchval(_KNOWN)
    return found


async def _identity(session: Session) -> str:
    """The server and the database in it, neither of which a copy has in common; of a server that does not say, the database."""
    oid = await session.connection.fetchval(_OID)
    try:
        server = await session.connection.fetchval(_SERVER)
    except asyncpg.InsufficientPrivilegeError:
        server = ""
    return f"{server}/{oid}"
