"""History goes by weeks: rows of what was removed wait for their week, which is dropped when nothing is left that needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from perdure.errors import StoreBusy
from perdure.ids import ExecutionId, ExecutionIds
from perdure.store.contract import Batch
from perdure.store.postgres import PostgresStore, records, retention
from perdure.store.postgres.address import read_address
from perdure.store.postgres.connection import SQL, Database
from perdure.store.postgres.partitions import DAYS, TABLES, Week, drop_week, empty_weeks, make_weeks, weeks
from perdure.testing.stores.place import raised
from perdure.testing.stores.postgres import PostgresPlace
from perdure.testing.stores.samples import (
    LEVEL,
    SECOND,
    SUCCEEDED,
    WORKER,
    a_blob,
    a_definition,
    a_message,
    a_snapshot,
    a_start,
    a_turn,
)

BEGIN = 1_600_000_000 * SECOND  # in a week that is long over
WEEK = Week.of(BEGIN)
SQL_OF_A_START = (
    "INSERT INTO perdure.executions (execution, tenant, workflow, digest, created, updated, priority, status, home, epoch, "
    "seq, level, key) VALUES ($1, 'default', 'w', '', 0, 0, 3, 0, '', 0, 0, 0, '')"
)
_ids = ExecutionIds(entropy=bytes)


class Old:
    """A store with an old week, its database, and the place where both lie."""

    def __init__(self, place: PostgresPlace, store: PostgresStore, database: Database) -> None:
        self.place = place
        self.store = store
        self.database = database

    async def begun(self, count: int) -> list[ExecutionId]:
        """Executions that began in the old week, each with a row in every table of history."""
        executions = [_ids.new(BEGIN) for _ in range(count)]
        await self.store.register(WORKER, now=BEGIN, level=LEVEL)
        starts = [a_start(each) for each in executions]
        snapshots = [a_snapshot(each) for each in executions]
        await self.store.commit(Batch(starts=starts, turns=[a_turn(each) for each in executions], snapshots=snapshots))
        await self.store.send([a_message(each) for each in executions])
        return executions

    async def end(self, *executions: ExecutionId) -> None:
        turns = [a_turn(each, first_seq=3, status=SUCCEEDED, release=True) for each in executions]
        await self.store.commit(Batch(turns=turns))

    async def removed(self, *executions: ExecutionId) -> None:
        await self.end(*executions)
        assert await self.store.remove(executions) == list(executions)

    async def reclaimed(self, limit: int = 1_000) -> list[int]:
        """All that can be done, call by call."""
        counts = []
        while count := await self.store.reclaim(limit):
            counts.append(count)
        return counts

    def rows(self, suffix: str = WEEK.name) -> list[int]:
        return [self.place.sql(f"SELECT count(*) FROM perdure.{table}_{suffix}")[0][0] for table in TABLES]

    def left_behind(self) -> int:
        return int(self.place.sql("SELECT count(*) FROM perdure.leftovers")[0][0])


def in_an_old_week(place: PostgresPlace, work: Callable[[Old], Awaitable[None]]) -> None:
    """Do something with a store that has the old week's partitions."""

    async def main() -> None:
        store = await place.open()
        database = Database(read_address(place.url), busy_ms=1_000)
        await make_weeks(database, BEGIN)
        for week in await weeks(database):  # those after it are not needed
            if WEEK < week < Week.of(database.clock.now()):
                assert await drop_week(database, week)
        await work(Old(place, store, database))
        await database.close()
        await store.close()

    try:
        asyncio.run(main())
    finally:
        for table in TABLES:
            place.sql(f"DROP TABLE IF EXISTS perdure.{table}_{WEEK.name}")


# -- weeks --------------------------------------------------------------------------------------------------------------


def test_a_week_is_dropped_when_its_last_execution_is_removed(postgres_place: PostgresPlace) -> None:
    """Until then the rows of those before it wait, found by no call; no row is deleted by itself, and other weeks stay."""

    async def work(old: Old) -> None:
        first, last = await old.begun(2)
        await old.removed(first)
        assert await old.reclaimed() == []
        assert old.rows() == [3, 2, 2, 2]
        assert [await old.store.journal(first), await old.store.inbox(first), await old.store.snapshot(first)] == [[], [], None]
        assert {execution for execution, _ in (await old.store.bodies())[0]} == {last}
        await old.removed(last)
        assert old.left_behind() == 2
        assert await old.reclaimed() == [2, 1]
        assert old.left_behind() == 0
        assert WEEK not in await weeks(old.database)
        assert Week.of(old.database.clock.now()) in await weeks(old.database)

    in_an_old_week(postgres_place, work)


def test_what_waited_for_too_long_is_cleared_away_by_itself(postgres_place: PostgresPlace) -> None:
    """One that goes on, or is kept, does not hold the rows of all others for ever: some at a time, and what stays is whole."""

    async def work(old: Old) -> None:
        first, last = await old.begun(2)
        await old.removed(first)
        wait = DAYS * 86_400 * SECOND
        old.place.sql("UPDATE perdure.leftovers SET due = due - $1", wait)
        assert await old.reclaimed() == []  # those of a week may begin a week apart
        old.place.sql("UPDATE perdure.leftovers SET due = due - $1", retention.WAIT - wait)
        counts = await old.reclaimed(2)
        assert (sum(counts), max(counts)) == (
            6,
            2,
        )  # two steps, snapshot, message, what it is known by, and the note of all that
        assert old.rows() == [1, 1, 1, 1]
        assert len(await old.store.journal(last)) == 1
        await old.removed(last)
        assert await old.reclaimed() == [1, 1]

    in_an_old_week(postgres_place, work)


def test_a_week_that_goes_on_is_not_dropped(postgres_place: PostgresPlace) -> None:
    """Neither this week, though nothing may be in it yet, nor those to come."""

    async def work(old: Old) -> None:
        assert await empty_weeks(old.database, BEGIN) == []
        assert await empty_weeks(old.database, BEGIN + DAYS * 86_400 * SECOND) == [WEEK]
        before = await weeks(old.database)
        assert await old.reclaimed() == [1]
        assert await weeks(old.database) == [week for week in before if week != WEEK]

    in_an_old_week(postgres_place, work)


def test_a_long_list_is_forgotten_in_small_pieces_before_its_week_goes(postgres_place: PostgresPlace) -> None:
    """So no call does more than it is asked to; a death in between leaves a week that is still seen to be empty."""

    async def work(old: Old) -> None:
        executions = await old.begun(5)
        await old.removed(*executions)
        assert [await old.store.reclaim(2), await old.store.reclaim(2)] == [2, 2]
        old.place.die(old.store)
        old.store = await old.place.open()
        assert await old.reclaimed(2) == [1, 1]
        assert WEEK not in await weeks(old.database)

    in_an_old_week(postgres_place, work)


def test_a_week_in_use_is_dropped_another_time(postgres_place: PostgresPlace, caplog: pytest.LogCaptureFixture) -> None:
    """A backup that reads the journal for an hour holds nobody up: the drop gives in soon, and is not tried again at once."""

    async def work(old: Old) -> None:
        await old.removed(*await old.begun(1))
        with caplog.at_level("INFO", "perdure.store"), old.place.reading():
            assert await old.reclaimed() == [1]  # the list only
            assert await old.reclaimed() == []
        assert [WEEK.name in record.message for record in caplog.records if "in use" in record.message] == [True]
        assert old.place.sql(f"SELECT count(*) FROM perdure.journal_{WEEK.name}")[0][0] == 2
        assert await old.reclaimed() == []
        await old.store.close()
        old.store = await old.place.open()
        assert await old.reclaimed() == [1]

    in_an_old_week(postgres_place, work)


def test_who_begins_while_a_week_is_dropped_loses_nothing(postgres_place: PostgresPlace) -> None:
    """By a clock that is far behind: whoever has written into the week is seen, and whoever comes later writes beside it."""

    async def work(old: Old) -> None:
        with in_a_transaction(old.place):
            old.place.sql(SQL_OF_A_START, _ids.new(BEGIN))
            old.place.sql("INSERT INTO perdure.accepted VALUES ($1, '', '', 0, '')", _ids.new(BEGIN))
            assert await drop_week(old.database, WEEK) is False
        assert await drop_week(old.database, WEEK) is False
        assert WEEK in await weeks(old.database)
        old.place.sql("DELETE FROM perdure.executions")
        assert await drop_week(old.database, WEEK)
        (late,) = await old.begun(1)
        assert len(await old.store.journal(late)) == 1
        assert old.rows("other") == [1, 1, 1, 1]

    in_an_old_week(postgres_place, work)


def test_half_a_week_is_dropped_to_its_end(postgres_place: PostgresPlace) -> None:
    """Each table goes by itself, the journal last: after a death in between the week is still there, and goes the next time."""

    async def work(old: Old) -> None:
        old.place.sql(f"DROP TABLE perdure.accepted_{WEEK.name}")
        assert await old.reclaimed() == [1]
        assert WEEK not in await weeks(old.database)

    in_an_old_week(postgres_place, work)


def test_the_room_of_a_week_goes_back_to_the_disk(postgres_place: PostgresPlace) -> None:
    """The store is smaller by what the week had."""

    async def work(old: Old) -> None:
        executions = await old.begun(1)
        for step in range(10):
            turn = a_turn(executions[0], first_seq=3 + 2 * step, body=b"x" * 100_000)
            await old.store.commit(Batch(turns=[turn]))
        await old.store.commit(Batch(turns=[a_turn(executions[0], first_seq=23, status=SUCCEEDED, release=True)]))
        before = (await old.store.space()).total
        await old.store.remove(executions)
        assert sum(await old.reclaimed()) > 0
        assert before - (await old.store.space()).total > 1_000_000

    in_an_old_week(postgres_place, work)


@contextmanager
def in_a_transaction(place: PostgresPlace) -> Iterator[None]:
    """What somebody else has written and not committed yet; it is, afterwards."""
    place.sql("BEGIN")
    try:
        yield
    finally:
        place.sql("COMMIT")


# -- large values and definitions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("minutes, is_younger", [(5, False), (15, True)])
def test_a_value_is_made_young_only_now_and_then(postgres_place: PostgresPlace, minutes: int, is_younger: bool) -> None:
    """Saved again within ten minutes its row is neither written nor locked, so commits that share a value do not wait."""

    async def main() -> None:
        store = await postgres_place.open()
        await store.save_blobs([a_blob(b"small")])
        postgres_place.sql("UPDATE perdure.blobs SET saved = saved - $1", minutes * 60 * SECOND)
        before = postgres_place.sql("SELECT saved, xmin::text, xmax::text FROM perdure.blobs")
        await store.save_blobs([a_blob(b"small")])
        after = postgres_place.sql("SELECT saved, xmin::text, xmax::text FROM perdure.blobs")
        assert (after[0]["saved"] > before[0]["saved"]) is is_younger
        assert (after != before) is is_younger

    asyncio.run(main())


def test_a_value_that_is_dropped_while_somebody_saves_it_is_there_afterwards(postgres_place: PostgresPlace) -> None:
    """Whoever saves it waits for the drop, and then writes it anew."""

    async def main() -> None:
        store = await postgres_place.open()
        blob = a_blob(b"small")
        await store.save_blobs([blob])
        postgres_place.sql("UPDATE perdure.blobs SET saved = 0")
        with in_a_transaction(postgres_place):
            postgres_place.sql("DELETE FROM perdure.blobs")
            await raised(StoreBusy, store.save_blobs([blob]))  # it would wait for longer than this place lets it
        await store.save_blobs([blob])
        assert await store.blobs("default", [blob.digest]) == {blob.digest: blob.body}

    asyncio.run(main())


def test_definitions_are_saved_one_after_another(postgres_place: PostgresPlace) -> None:
    """Else a reader could go beyond one that is numbered and not committed. One that is there already waits for nobody."""

    async def main() -> None:
        store = await postgres_place.open()
        first, second, third = (a_definition("w", document) for document in (b"1", b"2", b"3"))
        await store.save_definition(first)
        with in_a_transaction(postgres_place):
            given = (second.tenant, second.digest, second.name, 0, second.document, second.lock, "", records._LINE)
            postgres_place.sql(SQL["save_definition"], *given)
            await raised(StoreBusy, store.save_definition(third))
            await store.save_definition(first)
        await store.save_definition(third)
        found = await store.definitions_since(0)
        assert [definition.document for _, definition in found] == [b"1", b"2", b"3"]

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["unfinished", "unsuccessful"])
def test_the_few_are_found_without_looking_at_all(kind: str, postgres_place: PostgresPlace) -> None:
    """By an index of their own, which names no column that a step changes, also in a store that is empty so far."""

    async def main() -> None:
        await postgres_place.open()
        postgres_place.sql("SET enable_seqscan = off")
        plan = postgres_place.sql(f"EXPLAIN {SQL[f'{kind}_rows']}", "default", -1, b"\xff", 10, None)
        assert any(f"on executions_{kind} " in row[0] or f"using executions_{kind} " in row[0] for row in plan)
        ((index,),) = postgres_place.sql(f"SELECT indexdef FROM pg_indexes WHERE indexname = 'executions_{kind}'")
        assert index.endswith(f"(tenant, execution) WHERE {kind}")

    asyncio.run(main())
