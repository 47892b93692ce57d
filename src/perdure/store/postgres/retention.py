"""What goes when its time is over: finished executions, old events, large values that nothing names; and the room they took."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from perdure.ids import ExecutionId
from perdure.store.contract import BlobName, Row, Space
from perdure.store.postgres.connection import Database
from perdure.store.postgres.partitions import DAYS, MILLISECONDS_A_DAY, Week, drop_week, empty_weeks, weeks
from perdure.store.postgres.records import read_row

log = logging.getLogger("perdure.store")

LEFTOVERS_MAX = 100  # executions whose rows are cleared away in one transaction
WAIT = (DAYS + 1) * MILLISECONDS_A_DAY * 1_000  # microseconds; what started in one week goes within a week, if it is kept alike
AGAIN_SECONDS = 600.0  # after a week could not be dropped since somebody used its tables, such as a backup that takes an hour

_LINE = 0x50455252  # who notes removals goes one after another

_LITTLE_BY_LITTLE = ("clear_journal", "clear_snapshots", "clear_inbox", "clear_accepted")
_BODIES = {"inbox": "bodies_of_inbox", "journal": "bodies_of_journal", "events": "bodies_of_events"}
_FIRST = ExecutionId(b"")


async def look_for_finished(
    database: Database, before: int, *, after: ExecutionId | None, limit: int
) -> tuple[list[Row], ExecutionId | None]:
    """Of the next executions those that had ended before a time, and what to go on after."""
    bound = max(0, before // 1_000 + 1).to_bytes(6, "big")  # ids begin with the milliseconds of their start
    rows = [tuple(row) for row in await database.all("look_for_finished", before, after or _FIRST, bound, limit)]
    found = [read_row(row[1:]) for row in rows if row[0]]
    return found, rows[-1][1] if len(rows) == limit else None


async def remove(database: Database, executions: Sequence[ExecutionId]) -> list[ExecutionId]:
    """Remove what is final of these; their history is left behind, to go with its week."""
    if not executions:
        return []
    with_partitions = set(await weeks(database))
    async with database.transaction() as session:
        removed = await session.rows("remove", sorted(set(executions)))
        ids = [row["execution"] for row in removed]
        if not ids:
            return []
        await session.run("end_executions", ids)
        await session.run("remove_tasks", ids)
        keyed = sorted((row["tenant"], row["workflow"], row["key"], row["execution"]) for row in removed if row["key"])
        if keyed:
            await session.run("remove_keys", *(list(column) for column in zip(*keyed, strict=True)))
        waits = [WAIT if Week.of_execution(execution) in with_partitions else 0 for execution in ids]
        tenants = [row["tenant"] for row in removed]
        await session.run("leave_behind", ids, tenants, waits)
        await session.run("note_removals", ids, tenants, _LINE)
        await session.run("forget_removals")
    return ids


class Reclaiming:
    """Gives back the room of what was removed: whole weeks where it can, else rows, some at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._not_before = 0.0  # a drop is tried again then, by the monotonic clock

    async def reclaim(self, limit: int) -> int:
        """Drop a week that has no execution any more, or clear away at most `limit` rows; how many. A week counts as one."""
        return await self._drop(limit) or await clear(self._database, limit)

    async def _drop(self, limit: int) -> int:
        database = self._database
        if database.clock.monotonic() < self._not_before:
            return 0
        empty = await empty_weeks(database, database.clock.now())
        if not empty:
            return 0
        # Their list first: should we die in between, the week is still seen to be empty.
        low, high = empty[0].bounds
        forgotten: int = await database.alone(lambda session: session.run("forget_leftovers", low, high, limit))
        if forgotten:
            return forgotten
        if await drop_week(database, empty[0]):
            return 1
        self._not_before = database.clock.monotonic() + AGAIN_SECONDS
        log.info("the history of the week %s is in use; it is dropped another time", empty[0].name)
        return 0


async def clear(database: Database, limit: int) -> int:
    """Clear away at most `limit` rows that removed executions have left behind and that do not go with a week; how many."""
    executions = [row["execution"] for row in await database.all("leftovers", min(limit, LEFTOVERS_MAX))]
    if not executions:
        return 0
    executions.sort()
    done = 0
    async with database.transaction() as session:
        for name in _LITTLE_BY_LITTLE:
            done += await session.run(name, executions, limit - done)
            if done >= limit:
                return done
        return done + await session.run("cleared", executions[: limit - done])


async def space(database: Database) -> Space:
    """What all tables take up. What is free within them the server does not tell; the vacuum finds it for what comes next."""
    return Space(total=(await database.one("space"))["total"], free=0)


async def forget_events(database: Database, before: int, limit: int) -> int:
    """Drop old events from the beginning of the log."""
    return await database.alone(lambda session: session.run("forget_events", before, limit))


# -- large values -----------------------------------------------------------------------------------------------------


async def bodies(database: Database, after: str, limit: int) -> tuple[list[tuple[ExecutionId | None, bytes]], str]:
    """A page of everything that may name large values: messages, then journals, then events."""
    table, key, number = (after or "inbox::0").split(":")
    rows = await database.all(_BODIES[table], bytes.fromhex(key), int(number), limit)
    found = [(ExecutionId(row["execution"]) if row["execution"] else None, row["body"]) for row in rows if row["stays"]]
    if len(rows) == limit:
        return found, f"{table}:{rows[-1]['execution'].hex()}:{rows[-1]['number']}"
    tables = [*_BODIES, ""]
    following = tables[tables.index(table) + 1]
    return found, following and f"{following}::0"


async def old_blobs(database: Database, unsaved: int, after: str, limit: int) -> tuple[list[BlobName], str]:
    """A page of the large values that nobody has saved for so long."""
    saved, digest, tenant = (after or "-1::").split(":", 2)
    rows = await database.all("old_blobs", int(saved), tenant, bytes.fromhex(digest), unsaved, limit)
    found = [BlobName(tenant=row["tenant"], digest=row["digest"], size=row["size"]) for row in rows]
    last = rows[-1] if len(rows) == limit else None
    return found, f"{last['saved']}:{last['digest'].hex()}:{last['tenant']}" if last is not None else ""


async def drop_blobs(database: Database, blobs: Sequence[BlobName], unsaved: int) -> list[BlobName]:
    """Drop large values that nobody has saved for so long, judged once more."""
    wanted = sorted({(blob.tenant, blob.digest) for blob in blobs})
    tenants, digests = [tenant for tenant, _ in wanted], [digest for _, digest in wanted]
    rows = await database.alone(lambda session: session.rows("drop_blobs", tenants, digests, unsaved))
    return [BlobName(tenant=row["tenant"], digest=row["digest"], size=row["size"]) for row in rows]


# -- who does it ------------------------------------------------------------------------------------------------------


async def lease(database: Database, name: str, holder: str, now: int, until: int) -> bool:
    """Have a chore alone until a moment."""
    return await database.alone(lambda session: session.run("lease", name, holder, now, until)) == 1
