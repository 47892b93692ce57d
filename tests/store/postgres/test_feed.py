"""The feed on PostgreSQL: transactions commit in another order than they began, and nothing is passed over for that."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from perdure.ids import ExecutionId
from perdure.store.contract import Batch, Store, Turn
from perdure.store.feed import CursorRefused, FeedRow
from perdure.store.postgres import PostgresStore, commit, open_store
from perdure.store.postgres.address import read_address
from perdure.store.postgres.connection import PLANS, SQL, Database, Session
from perdure.store.postgres.partitions import Week, make_weeks
from perdure.testing.stores.place import raised
from perdure.testing.stores.postgres import PostgresPlace
from perdure.testing.stores.samples import NOW, SECOND, a_start, a_turn, began

if TYPE_CHECKING:
    from postgres_server import PostgresServer

WRITERS = 4
SEEDS = range(6)


@pytest.fixture
def own_place(postgres_server: PostgresServer, postgres_place: PostgresPlace) -> PostgresPlace:
    """A place whose database nobody uses after the test: its schema, or what the planner knows of it, is not as it was."""
    ((database,),) = postgres_place.sql("SELECT current_database()")
    postgres_server.spoiled.add(database)
    return postgres_place


@pytest.fixture(scope="module")
def other_server() -> Iterator[PostgresServer]:
    """A second server, in which transactions can also be prepared."""
    from postgres_server import PostgresServer

    server = PostgresServer(options={"max_prepared_transactions": "2"})
    try:
        server.start()
        yield server
    finally:
        server.remove()


def steps(rows: list[FeedRow]) -> list[tuple[ExecutionId, int]]:
    return [(row.execution, row.first_seq) for row in rows]


async def rest(store: Store, after: str = "", limit: int = 1_000) -> list[FeedRow]:
    """All rows from a cursor on."""
    found: list[FeedRow] = []
    while True:
        page = await store.feed(after=after, limit=limit)
        found += page.rows
        after = page.cursor
        if not page.more:
            return found


class Open:
    """A transaction that writes and is not committed yet, as a store's own would be."""

    def __init__(self, database: Database, connection: asyncpg.Connection) -> None:
        self._session = Session(database, connection)
        self.connection = connection

    @classmethod
    async def begun(cls, place: PostgresPlace) -> Open:
        address = read_address(place.url)
        self = cls(Database(address, busy_ms=1_000), await asyncpg.connect(address.dsn))
        await self.connection.execute("BEGIN")
        return self

    async def write(self, *turns: Turn) -> None:
        assert await commit._move_on(self._session, list(turns)) == set()

    async def end(self, how: str = "COMMIT") -> None:
        await self.connection.execute(how)
        await self.connection.close()


# -- who commits late ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["COMMIT", "ROLLBACK"])
def test_rule_62_a_late_commit_is_not_skipped(postgres_place: PostgresPlace, how: str) -> None:
    """What began earlier may still write: what was committed meanwhile waits for it, then all come, each once and in order."""

    async def main() -> None:
        store = await postgres_place.open()
        late, other, third = await began(store, 3)
        before = await rest(store)
        cursor = (await store.feed()).cursor
        opened = await Open.begun(postgres_place)
        await opened.write(a_turn(late, first_seq=3))
        for first_seq in (3, 5):
            await store.commit(Batch(turns=[a_turn(other, first_seq=first_seq)]))
        page = await store.feed(after=cursor)
        assert (page.rows, page.more) == ([], False)
        await store.commit(Batch(turns=[a_turn(third, first_seq=3)]))
        assert (await store.feed(after=page.cursor)).rows == []
        await opened.end(how)
        found = await rest(store, page.cursor, limit=1)
        assert len(steps(found)) == len(set(steps(found)))
        expected = {(other, 3), (other, 5), (third, 3)} | ({(late, 3)} if how == "COMMIT" else set())
        assert set(steps(found)) == expected
        assert steps(found).index((other, 3)) < steps(found).index((other, 5))
        assert steps(await rest(store)) == steps(before) + steps(found)

    asyncio.run(main())


@pytest.mark.parametrize("seed", SEEDS)
def test_however_commits_overlap_nothing_is_skipped_or_twice(postgres_place: PostgresPlace, seed: int) -> None:
    """Transactions that begin, write and commit or roll back by chance; a reader that stops by chance, and one at the end."""
    chance = random.Random(seed)

    async def main() -> None:
        store = await postgres_place.open()
        executions = await began(store, WRITERS * 2)
        written = [(execution, 1) for execution in executions]
        seqs = dict.fromkeys(executions, 1)
        opened: dict[int, tuple[Open, list[tuple[ExecutionId, int]]]] = {}
        cursor, read = "", []
        for _ in range(80):
            writer = chance.randrange(WRITERS)
            if writer not in opened:
                opened[writer] = (await Open.begun(postgres_place), [])
            elif chance.random() < 0.6:
                execution = chance.choice(executions[writer::WRITERS])
                seqs[execution] += 2
                await opened[writer][0].write(a_turn(execution, first_seq=seqs[execution]))
                opened[writer][1].append((execution, seqs[execution]))
            else:
                transaction, of_it = opened.pop(writer)
                keeps = chance.random() < 0.8
                await transaction.end("COMMIT" if keeps else "ROLLBACK")
                for execution, _ in of_it:
                    seqs[execution] -= 0 if keeps else 2
                written += of_it if keeps else []
            if chance.random() < 0.5:
                page = await store.feed(after=cursor, limit=chance.choice((1, 2, 1_000)))
                read += steps(page.rows)
                cursor = page.cursor
        for transaction, _ in opened.values():
            await transaction.end("ROLLBACK")
        read += steps(await rest(store, cursor))
        assert sorted(read) == sorted(written)
        assert read == steps(await rest(store))
        for execution in executions:
            own = [seq for each, seq in read if each == execution]
            assert own == sorted(own)

    asyncio.run(main())


def test_the_steps_of_one_execution_wait_for_nobody(postgres_place: PostgresPlace) -> None:
    """Its own order is enough: each of its steps was committed after the one before."""

    async def main() -> None:
        store = await postgres_place.open()
        one, other = await began(store, 2)
        opened = await Open.begun(postgres_place)
        await opened.write(a_turn(other, first_seq=3))
        await store.commit(Batch(turns=[a_turn(one, first_seq=3)]))
        assert steps((await store.feed(execution=one)).rows) == [(one, 1), (one, 3)]
        await opened.end()

    asyncio.run(main())


# -- lag ----------------------------------------------------------------------------------------------------------------


def test_who_holds_the_feed_up_is_told(postgres_place: PostgresPlace) -> None:
    """Which process, since when, and since when what is on disk waits for it; not one that only reads, nobody afterwards."""

    async def main() -> None:
        store = await postgres_place.open()
        (one,) = await began(store)
        with postgres_place.reading():
            assert await store.feed_lag() is None
        postgres_place.sql("BEGIN")
        postgres_place.sql("CREATE TABLE elsewhere ()")
        ((pid, began_at),) = postgres_place.sql("SELECT pg_backend_pid(), (extract(epoch FROM now()) * 1000000)::bigint")
        lag = await store.feed_lag()
        assert lag is not None
        assert (lag.pid, lag.began, lag.waits) == (pid, began_at, None)
        assert lag.now >= began_at
        for first_seq in (3, 5):
            await store.commit(Batch(turns=[a_turn(one, first_seq=first_seq, at=NOW + first_seq * SECOND)]))
        lag = await store.feed_lag()
        assert lag is not None
        assert lag.waits == NOW + 3 * SECOND
        ((database,),) = postgres_place.sql("SELECT current_database()")
        assert lag.who.startswith(f"process {pid}, idle in transaction, user ")
        assert f"database {database}" in lag.who
        postgres_place.sql("ROLLBACK")
        assert await store.feed_lag() is None

    asyncio.run(main())


def test_a_user_who_may_not_see_others_hears_who_it_is_and_not_since_when(other_server: PostgresServer) -> None:
    """As an application's own user: of another's transaction it sees process, user and database, and how long steps wait."""
    name = other_server.new_database()
    sql = partial(other_server.sql, database=name)
    sql("CREATE ROLE app LOGIN")
    sql(f"ALTER DATABASE {name} OWNER TO app")

    async def main() -> None:
        store = await open_store(other_server.url(name).replace("postgres@", "app@"))
        (one,) = await began(store)
        sql("BEGIN")
        sql("CREATE TABLE elsewhere ()")
        ((pid,),) = sql("SELECT pg_backend_pid()")
        await store.commit(Batch(turns=[a_turn(one, first_seq=3)]))
        lag = await store.feed_lag()
        assert lag is not None
        assert (lag.pid, lag.began, lag.waits) == (pid, None, NOW)
        assert lag.who == f"process {pid}, user postgres, database {name}"
        sql("ROLLBACK")
        await store.close()

    asyncio.run(main())


def test_a_prepared_transaction_holds_the_feed_up_too(other_server: PostgresServer) -> None:
    """It has no process; it is known by its name, and since when."""
    name = other_server.new_database()
    sql = partial(other_server.sql, database=name)

    async def main() -> None:
        store = await open_store(other_server.url(name))
        (one,) = await began(store)
        sql("BEGIN")
        sql("CREATE TABLE elsewhere ()")
        sql("PREPARE TRANSACTION 'left over'")
        await store.commit(Batch(turns=[a_turn(one, first_seq=3)]))
        assert steps((await store.feed()).rows) == [(one, 1)]
        lag = await store.feed_lag()
        assert lag is not None
        assert (lag.pid, lag.waits) == (0, NOW)
        assert lag.began is not None
        assert lag.who == f"prepared as left over, user postgres, database {name}"
        sql("ROLLBACK PREPARED 'left over'")
        assert await store.feed_lag() is None
        await store.close()

    asyncio.run(main())


# -- what it costs ------------------------------------------------------------------------------------------------------


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's nodes."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


@pytest.mark.parametrize("when", ["the tables were empty", "they were full"])
def test_a_page_is_read_by_the_index_and_no_further(own_place: PostgresPlace, when: str) -> None:
    """Wherever it begins, and whenever its plan was made: no more rows are looked at, but for those of a transaction."""

    async def plans(store: PostgresStore, connection: asyncpg.Connection) -> None:
        if when == "they were full":
            await fill(store)
            await connection.execute("ANALYZE")
        await connection.execute(f"PREPARE feed (text, bytea, bigint, integer, bigint, text, bigint) AS {SQL['feed']}")
        if when == "the tables were empty":
            await connection.fetch("EXECUTE feed ('0', '', 0, 20, 0, NULL, 0)")
            await fill(store)
        middle = ((await store.feed(limit=500)).rows)[-1]
        ((xid,),) = own_place.sql(
            "SELECT xid::text FROM perdure.journal WHERE execution = $1 AND first_seq = $2", middle.execution, middle.first_seq
        )
        asked = f"'{xid}', '\\x{middle.execution.hex()}', {middle.first_seq}, 20, 0, NULL, {middle.first_seq}"
        text = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE feed ({asked})")
        found = list(nodes(json.loads(text)[0]["Plan"]))
        assert not [node for node in found if node["Node Type"] == "Seq Scan" and node["Relation Name"].startswith("journal")]
        scans = [node for node in found if "xid" in node.get("Index Name", "") and node["Actual Loops"]]
        assert scans
        assert {node["Node Type"] for node in scans} == {"Index Scan"}
        looked_at = sum(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in scans)
        assert 20 <= looked_at <= 20 + 3 * 10

    async def fill(store: Store) -> None:
        executions = await began(store, 10)
        for step in range(1, 100):
            await store.commit(Batch(turns=[a_turn(execution, first_seq=1 + 2 * step) for execution in executions]))

    async def main() -> None:
        store = await own_place.open()
        connection = await asyncpg.connect(own_place.url, server_settings=PLANS, statement_cache_size=0)
        try:
            await plans(store, connection)
        finally:
            await connection.close()

    asyncio.run(main())


def test_a_page_is_one_statement(postgres_place: PostgresPlace) -> None:
    """So what is told beside the rows, the gap above all, is as of the same moment; and it costs one way to the server."""

    async def main() -> None:
        store = await postgres_place.open()
        (one,) = await began(store)
        for given in ({}, {"execution": one}, {"latest": True}):
            before = store.usage().statements
            await store.feed(**given)
            assert store.usage().statements - before == 1

    asyncio.run(main())


def test_it_is_read_behind_a_pool(pooled_place: PostgresPlace) -> None:
    """Where nothing is kept in a connection."""

    async def main() -> None:
        store = await pooled_place.open()
        (one,) = await began(store)
        page = await store.feed()
        await store.commit(Batch(turns=[a_turn(one, first_seq=3)]))
        assert steps((await store.feed(after=page.cursor)).rows) == [(one, 3)]
        assert await store.feed_lag() is None

    asyncio.run(main())


# -- restored copies ----------------------------------------------------------------------------------------------------


def copied(place: PostgresPlace, by: int) -> None:
    """What a restore leaves in another server: rows whose transactions, as of there, are to come, or are long over."""
    place.sql("UPDATE perdure.journal SET xid = (xid::text::bigint + $1)::text::xid8", by)
    place.sql("UPDATE perdure.meta SET value = convert_to('7000000000000000000/1', 'UTF8') WHERE name = 'database'")


def test_a_dump_that_is_restored_elsewhere_is_read_from_its_beginning(
    postgres_server: PostgresServer, postgres_place: PostgresPlace, other_server: PostgresServer
) -> None:
    """Where transactions have smaller numbers, so that all that was brought there would lie ahead of them for long."""
    ((database,),) = postgres_place.sql("SELECT current_database()")
    for _ in range(1_000):
        postgres_place.sql("SELECT pg_current_xact_id()")

    async def main() -> None:
        store = await postgres_place.open()
        one, two = await began(store, 2)
        await store.commit(Batch(turns=[a_turn(one, first_seq=3)]))
        whole = steps(await rest(store))
        cursor = (await store.feed(limit=1)).cursor

        copied = postgres_server.copy(database, other_server)
        ((ahead,),) = other_server.sql(
            "SELECT min(xid::text::bigint) > pg_current_xact_id()::text::bigint FROM perdure.journal", database=copied
        )
        assert ahead
        again = await open_store(other_server.url(copied))
        await raised(CursorRefused, again.feed(after=cursor))
        assert steps(await rest(again)) == whole
        await again.commit(Batch(turns=[a_turn(two, first_seq=3)]))
        assert steps(await rest(again)) == [*whole, (two, 3)]
        await again.close()

    asyncio.run(main())


@pytest.mark.parametrize("by", [1_000_000, -5])
def test_a_restored_copy_begins_another_history(own_place: PostgresPlace, by: int) -> None:
    """Cursors of before are refused; all that was restored can be read, in its order, and what is written then comes after."""

    async def main() -> None:
        store = await own_place.open()
        one, two = await began(store, 2)
        await store.commit(Batch(turns=[a_turn(one, first_seq=3)]))
        whole = steps(await rest(store))
        cursor = (await store.feed(limit=1)).cursor
        await store.close()
        copied(own_place, by)

        again = await own_place.open()
        error = await raised(CursorRefused, again.feed(after=cursor))
        assert "restored from a copy" in error.message
        assert steps(await rest(again)) == whole
        end = (await again.feed(latest=True)).cursor
        await make_weeks(Database(read_address(own_place.url), busy_ms=1_000), NOW + 400 * 86_400 * SECOND)
        far = ExecutionId((Week.of(NOW + 400 * 86_400 * SECOND).bounds[0] + bytes(9))[:15] + b"\1")
        await again.commit(Batch(turns=[a_turn(two, first_seq=3)]))
        await again.commit(Batch(starts=[a_start(far, home="")], turns=[a_turn(far, epoch=0)]))
        assert steps(await rest(again)) == [*whole, (two, 3), (far, 1)]
        assert steps((await again.feed(after=end)).rows) == [(two, 3), (far, 1)]
        assert await again.feed_lag() is None

        third = await own_place.open()
        assert steps((await third.feed(after=end)).rows) == [(two, 3), (far, 1)]

    asyncio.run(main())


def test_a_server_that_has_lost_its_last_commits_refuses_cursors_beyond_them(postgres_place: PostgresPlace) -> None:
    """As after a failover to one that lagged behind: what a reader had passed may be written anew, in other words."""

    async def main() -> None:
        store = await postgres_place.open()
        (one,) = await began(store)
        kept = (await store.feed()).cursor
        await store.commit(Batch(turns=[a_turn(one, first_seq=3)]))
        lost = (await store.feed()).cursor
        postgres_place.sql("DELETE FROM perdure.journal WHERE first_seq = 3")
        postgres_place.sql("UPDATE perdure.executions SET seq = 2")
        error = await raised(CursorRefused, store.feed(after=lost))
        assert "has not come that far" in error.message
        await store.commit(Batch(turns=[a_turn(one, first_seq=3, body=b"otherwise")]))
        error = await raised(CursorRefused, store.feed(after=lost))
        assert "another history" in error.message
        assert [row.body for row in (await store.feed(after=kept)).rows] == [b"otherwise"]

    asyncio.run(main())


def test_a_cursor_that_is_ahead_of_the_server_is_refused(own_place: PostgresPlace) -> None:
    """Its transaction has not begun here."""

    async def main() -> None:
        store = await own_place.open()
        await began(store)
        cursor = (await store.feed()).cursor
        ahead = "SELECT ((pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 10)::text)::xid8"
        own_place.sql(f"CREATE OR REPLACE FUNCTION perdure.horizon() RETURNS xid8 LANGUAGE sql STABLE AS '{ahead}'")
        error = await raised(CursorRefused, store.feed(after=cursor))
        assert "another history" in error.message

    asyncio.run(main())
