"""Weeks of history: their bounds, making them ahead, and moving what came before they were made."""

from __future__ import annotations

import asyncio

from perdure.ids import ExecutionIds
from perdure.store.contract import Batch, Committed
from perdure.store.postgres import PostgresStore
from perdure.store.postgres.address import read_address
from perdure.store.postgres.connection import Database
from perdure.store.postgres.partitions import AHEAD, DAYS, TABLES, Week, make_weeks, weeks
from perdure.testing.stores.postgres import PostgresPlace
from perdure.testing.stores.samples import NOW, SECOND, a_message, a_snapshot, a_turn, began

DAY = 86_400 * SECOND


def drop(place: PostgresPlace, week: Week) -> None:
    """Leave nothing of a week to other tests, which have the same database."""
    for table in TABLES:
        place.sql(f"DROP TABLE IF EXISTS perdure.{table}_{week.name}")


def in_the(place: PostgresPlace, table: str) -> int:
    return int(place.sql(f"SELECT count(*) FROM perdure.{table}")[0][0])


def test_a_week_holds_the_ids_of_its_days() -> None:
    """From Monday 00:00 UTC on, to the last millisecond of Sunday; its name is the date of its Monday."""
    ids = ExecutionIds(entropy=bytes)
    monday = 1_789_948_800 * SECOND  # 2026-09-21
    week = Week.of(monday)
    assert week.name == "20260921"
    assert Week.named("20260921") == week
    low, high = week.bounds
    assert low <= ids.new(monday) < ids.new(monday + DAYS * DAY - 1_000) < high
    assert not low <= ids.new(monday + DAYS * DAY) < high
    assert Week.of(monday - 1).number == week.number - 1
    assert Week(week.number + 1).bounds[0] == high


def test_weeks_are_made_ahead_when_a_store_is_opened(postgres_place: PostgresPlace) -> None:
    """This week and the next ones are there, and making them again makes nothing."""

    async def main() -> None:
        store = await postgres_place.open()
        database = Database(read_address(postgres_place.url), busy_ms=1_000)
        now = database.clock.now()
        made = await weeks(database)
        assert {Week(Week.of(now).number + ahead) for ahead in range(AHEAD + 1)} <= set(made)
        assert await make_weeks(database, now) == []
        await database.close()
        await store.close()

    asyncio.run(main())


def test_what_came_before_its_week_was_made_moves_into_it(postgres_place: PostgresPlace) -> None:
    """It lands beside all weeks, is read and written there, and is read and written the same once it has moved."""

    async def main() -> None:
        store = await postgres_place.open()
        (one,) = await began(store)
        await store.send([a_message(one)])
        await store.commit(Batch(snapshots=[a_snapshot(one)]))
        assert [in_the(postgres_place, f"{table}_other") for table in TABLES] == [1, 1, 1, 1]
        database = Database(read_address(postgres_place.url), busy_ms=1_000)
        week = Week.of(NOW)
        assert week in await make_weeks(database, NOW)
        try:
            assert [in_the(postgres_place, f"{table}_other") for table in TABLES] == [0, 0, 0, 0]
            assert [in_the(postgres_place, f"{table}_{week.name}") for table in TABLES] == [1, 1, 1, 1]
            await read_and_write(store, one)
        finally:
            for each in await weeks(database):
                if each < Week.of(database.clock.now()):
                    drop(postgres_place, each)
            await database.close()
        await store.close()

    async def read_and_write(store: PostgresStore, one: object) -> None:
        (arrived,) = await store.inbox(one)  # type: ignore[arg-type]  # an id
        turn = a_turn(one, first_seq=3, consumed=(arrived.position,))  # type: ignore[arg-type]  # an id
        assert await store.commit(Batch(turns=[turn])) == Committed()
        assert len(await store.journal(one)) == 2  # type: ignore[arg-type]  # an id
        assert await store.send([arrived.message]) == [False]
        assert await store.snapshot(one) == a_snapshot(one)  # type: ignore[arg-type]  # an id

    asyncio.run(main())


def test_every_journal_row_tells_in_which_transaction_it_was_written(postgres_place: PostgresPlace) -> None:
    """Rows of one commit bear one number and those of a later one a larger: so a feed can stop before what is not complete."""

    async def main() -> None:
        store = await postgres_place.open()
        executions = await began(store, 2)
        await store.commit(Batch(turns=[a_turn(each, first_seq=3) for each in executions]))
        found = postgres_place.sql("SELECT xid::text::bigint AS xid, count(*) FROM perdure.journal GROUP BY xid ORDER BY xid")
        assert [count for _, count in found] == [2, 2]
        assert found[0][0] < found[1][0]

    asyncio.run(main())
