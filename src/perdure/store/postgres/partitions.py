"""The weeks of history: partitions by execution id, which is by the time of the start; made ahead, and dropped whole.

Journal, snapshots, inbox and accepted messages of one execution lie in one week each, however long it lives. What no week was
made for lands in the partitions `…_other` and is moved when its week is made.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec

from perdure.errors import StoreBusy
from perdure.store.postgres.connection import Database, Session

TABLES = ("journal", "snapshots", "inbox", "accepted")
AHEAD = 3  # weeks that are made before they begin
DAYS = 7
MILLISECONDS_A_DAY = 86_400_000
IN_USE_MS = 100  # so long a drop waits for those who use its table; whoever comes after it waits with it
_MONDAY = 4  # 1970-01-01 was a Thursday: so many days later was the first Monday
_LINE = 0x50455257  # who makes weeks goes one after another

# How each table lives: journals only grow, messages come and go, a snapshot is rewritten in its place.
_STORAGE = {
    "journal": "autovacuum_vacuum_insert_scale_factor = 0.2, autovacuum_freeze_min_age = 0",
    "snapshots": "fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05",
    "inbox": "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0",
    "accepted": "autovacuum_vacuum_insert_scale_factor = 0.2",
}


class Week(msgspec.Struct, frozen=True, order=True):
    """The executions that started in one week, by its number since the first Monday of 1970."""

    number: int

    @classmethod
    def of(cls, now: int) -> Week:
        """The week that a time lies in, microseconds UTC."""
        return cls((now // 1_000 // MILLISECONDS_A_DAY - _MONDAY) // DAYS)

    @classmethod
    def named(cls, suffix: str) -> Week:
        """The week whose partitions end in this."""
        return cls.of(int(datetime.strptime(suffix, "%Y%m%d").replace(tzinfo=UTC).timestamp()) * 1_000_000)

    @classmethod
    def of_execution(cls, execution: bytes) -> Week:
        """The week that an execution belongs to, by its id."""
        return cls.of(int.from_bytes(execution[:6], "big") * 1_000)

    @property
    def name(self) -> str:
        """What its partitions end in: the date of its Monday."""
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=self.number * DAYS + _MONDAY)).strftime("%Y%m%d")

    @property
    def bounds(self) -> tuple[bytes, bytes]:
        """The ids of its executions: from the first on, before the second. The time is their first six bytes."""
        begin = (self.number * DAYS + _MONDAY) * MILLISECONDS_A_DAY
        return begin.to_bytes(6, "big"), (begin + DAYS * MILLISECONDS_A_DAY).to_bytes(6, "big")


async def weeks(database: Database) -> list[Week]:
    """The weeks that have partitions, in order."""
    names = [row["name"].removeprefix("journal_") for row in await database.all("weeks")]
    return sorted(Week.named(name) for name in names if name != "other")


async def make_weeks(database: Database, now: int) -> list[Week]:
    """Make the week of `now` and those after it that are missing; those that were made. Stragglers move into them."""
    wanted = [Week(Week.of(now).number + ahead) for ahead in range(AHEAD + 1)]
    there = await weeks(database)
    missing = [week for week in wanted if week not in there]
    for week in missing:
        async with database.transaction() as session:
            await _make(session, week)
    return missing


async def empty_weeks(database: Database, now: int) -> list[Week]:
    """The weeks that are over and have no execution any more, in order."""
    over = [week for week in await weeks(database) if week.number < Week.of(now).number]
    bounds = [week.bounds for week in over]
    rows = await database.all("empty", [low for low, _ in bounds], [high for _, high in bounds])
    return [over[row["number"] - 1] for row in rows]


async def drop_week(database: Database, week: Week) -> bool:
    """Drop the history of a week that has no execution any more.

    False where it has one, or where somebody uses a table for too long: then what is left of the week is as it was.
    """
    # Each table for itself: to hold one while waiting for the next would be to wait for those who wait for the first. The
    # journal is last, since a week is there as long as its journal is.
    try:
        return all([await _drop(database, week, table) for table in reversed(TABLES)])
    except StoreBusy as busy:
        if isinstance(busy.__cause__, asyncpg.LockNotAvailableError):
            return False
        raise


async def _drop(database: Database, week: Week, table: str) -> bool:
    low, high = week.bounds
    async with database.transaction() as session:
        run = session.connection.execute
        await run(f"SET LOCAL lock_timeout = {IN_USE_MS}")
        await run(f"LOCK TABLE ONLY perdure.{table} IN ACCESS EXCLUSIVE MODE")
        # Whoever wrote into the week has committed now, and is seen; whoever comes later writes beside it.
        if not await session.rows("empty", [low], [high]):
            return False
        await run(f"DROP TABLE IF EXISTS perdure.{table}_{week.name}")
    return True


async def _make(session: Session, week: Week) -> None:
    run = session.connection.execute
    await run("SELECT pg_advisory_xact_lock($1)", _LINE)
    low, high = (f"'\\x{bound.hex()}'" for bound in week.bounds)
    for table in TABLES:
        part, other = f"perdure.{table}_{week.name}", f"perdure.{table}_other"
        if await session.connection.fetchval("SELECT to_regclass($1)", part) is not None:
            continue
        # Made apart and attached afterwards: so readers and writers of other weeks go on meanwhile.
        await run(f"CREATE TABLE {part} (LIKE perdure.{table} INCLUDING DEFAULTS INCLUDING STORAGE) WITH ({_STORAGE[table]})")
        await run(f"LOCK TABLE {other} IN ACCESS EXCLUSIVE MODE")
        await run(
            f"WITH moved AS (DELETE FROM {other} WHERE execution >= {low} AND execution < {high} RETURNING *) "
            f"INSERT INTO {part} SELECT * FROM moved"
        )
        await run(f"ALTER TABLE perdure.{table} ATTACH PARTITION {part} FOR VALUES FROM ({low}) TO ({high})")
