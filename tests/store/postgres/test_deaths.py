"""Deaths on the way: the server is killed, the wire cut at every message, a standby promoted; nothing is lost or twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from perdure.errors import StoreBusy
from perdure.ids import ExecutionId
from perdure.store.contract import Batch, Committed
from perdure.store.postgres import PostgresStore, open_store
from perdure.testing.stores.place import raised
from perdure.testing.stores.postgres import PostgresPlace
from perdure.testing.stores.samples import (
    LEVEL,
    NOW,
    SUCCEEDED,
    WAITING,
    WORKER,
    a_blob,
    a_lock,
    a_message,
    a_snapshot,
    a_start,
    a_subscription,
    a_turn,
    an_event,
    an_id,
    asleep,
    began,
)
from postgres_server import EMPTY

if TYPE_CHECKING:
    from pooler import Pooler

    from postgres_server import PostgresServer

Deed = Callable[[PostgresStore], Awaitable[object]]
TABLES = (
    "executions", "wakes", "keys", "journal", "snapshots", "inbox", "accepted", "blobs", "events", "subscriptions", "locks",
)  # fmt: skip


class Actors:
    """Executions that all deeds are about, prepared alike in each database: ids, and the position of a message."""

    def __init__(self, executions: list[ExecutionId], sleeper: ExecutionId, position: int) -> None:
        self.one, self.two, self.three = executions
        self.sleeper = sleeper
        self.position = position
        self.new, self.child = an_id(), an_id()

    async def full_commit(self, store: PostgresStore) -> object:
        """A commit with something of every kind."""
        return await store.commit(
            Batch(
                starts=[a_start(self.new, key="k"), a_start(self.child, home="", parent=self.one)],
                turns=[
                    a_turn(self.one, first_seq=3, consumed=(self.position,)),
                    a_turn(self.two, first_seq=3, status=WAITING, release=True, wake=NOW + 9),
                    a_turn(self.three, first_seq=3, status=SUCCEEDED, release=True),
                    a_turn(self.new),
                ],
                blobs=[a_blob(b"small")],
                messages=[a_message(self.child, sender=self.one), a_message(self.three, "m2", sender=self.one)],
                events=[an_event(self.one)],
                snapshots=[a_snapshot(self.one)],
                subscriptions=[a_subscription(self.two), a_subscription(self.new)],
                unsubscriptions=[a_subscription(self.one, "other")],
                unlocks=[a_lock(self.one)],
            )
        )

    async def plain_commit(self, store: PostgresStore) -> object:
        """A commit that is one statement."""
        return await store.commit(Batch(turns=[a_turn(self.one, first_seq=3), a_turn(self.two, first_seq=3)]))

    async def send(self, store: PostgresStore) -> object:
        """Messages for one at home and for a sleeper."""
        return await store.send([a_message(self.two, "s"), a_message(self.sleeper, "s")])

    async def publish(self, store: PostgresStore) -> object:
        """An event that one waits for."""
        return await store.publish([an_event(None, "outside", type="other")])

    async def acquire(self, store: PostgresStore) -> object:
        """A lock that is free."""
        return await store.acquire([a_lock(self.two, "free")])


async def prepared(store: PostgresStore) -> Actors:
    executions = await began(store, 3)
    sleeper = await asleep(store, NOW)
    await store.send([a_message(executions[0])])
    (arrived,) = await store.inbox(executions[0])
    await store.acquire([a_lock(executions[0])])
    await store.commit(Batch(subscriptions=[a_subscription(executions[0], "other")]))
    return Actors(executions, sleeper, arrived.position)


def content(place: PostgresPlace) -> dict[str, int]:
    """How much there is of everything, and how far all executions are."""
    counts = {table: place.sql(f"SELECT count(*) FROM perdure.{table}")[0][0] for table in TABLES}
    return counts | {"facts": int(place.sql("SELECT coalesce(sum(seq), 0) FROM perdure.executions")[0][0])}


class Scissors:
    """Cuts the wire at a message; without a number it only counts them. `side`: whose messages."""

    def __init__(self, side: str, at: int = -1) -> None:
        self.side = side
        self.at = at
        self.seen = 0
        self.kinds: list[tuple[bytes, bytes]] = []

    def __call__(self, side: str, kind: bytes, body: bytes) -> bool:
        if side != self.side:
            return False
        self.seen += 1
        self.kinds.append((kind, body[:8]))
        return self.seen == self.at


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("deed", ["full_commit", "plain_commit", "send", "publish", "acquire"])
def test_a_wire_that_is_cut_at_any_message_leaves_all_or_nothing(
    deed: str, side: str, pooler: Pooler, postgres_place: PostgresPlace
) -> None:
    """Before each message to the server and each answer: StoreBusy, all or nothing is there, and repeated it is there once."""

    async def run(scissors: Scissors) -> tuple[dict[str, int], dict[str, int], object]:
        """What is there before the deed, and after it: whether it succeeded, and what it answered."""
        postgres_place.sql(EMPTY)
        store = await open_store(pooler.url)
        actors = await prepared(store)
        before = content(postgres_place)
        pooler.watch = scissors
        try:
            answer: object = await getattr(actors, deed)(store)
        except StoreBusy as busy:
            answer = busy
        pooler.watch = lambda side, kind, body: False
        after = content(postgres_place)
        await getattr(actors, deed)(store)
        assert content(postgres_place) == expected or not expected
        await store.close()
        return before, after, answer

    async def main() -> None:
        counting = Scissors(side)
        before, after, answer = await run(counting)
        assert not isinstance(answer, StoreBusy)
        assert after != before
        expected.update(after)
        step = max(1, counting.seen // CUTS_MAX)
        for at in range(1, counting.seen + 1, step):
            before, found, answer = await run(Scissors(side, at))
            assert found in (before, after), f"cut at message {at}, {counting.kinds[at - 1]}"
            if not isinstance(answer, StoreBusy):
                assert found == after, f"it answered though nothing was written, cut at message {at}"

    expected: dict[str, int] = {}
    asyncio.run(main())


CUTS_MAX = 12  # of a deed with many messages, cut at so many of them


def test_an_answer_to_a_commit_that_is_lost_is_not_written_twice(pooler: Pooler) -> None:
    """The server has committed and its word is lost: StoreBusy; the row says that it is written, and again it is fenced."""

    def cut(side: str, kind: bytes, body: bytes) -> bool:
        return side == "server" and kind == b"C" and body.startswith(b"COMMIT")

    async def main() -> None:
        store = await open_store(pooler.url)
        (one,) = await began(store)
        batch = Batch(turns=[a_turn(one, first_seq=3, body=b"once")], events=[an_event(one)])
        pooler.watch = cut
        await raised(StoreBusy, store.commit(batch))
        pooler.watch = lambda side, kind, body: False
        row = await store.row(one)
        assert row is not None
        assert row.seq == 4
        assert await store.commit(batch) == Committed(fenced=frozenset({one}))
        assert [each.body for each in await store.journal(one)] == [b"facts", b"once"]
        assert len(await store.events()) == 1
        await store.close()

    asyncio.run(main())


def test_a_claim_whose_answer_is_lost_comes_with_the_next(pooler: Pooler) -> None:
    """Nobody else would look for what a living worker has taken without knowing it."""

    def cut(side: str, kind: bytes, body: bytes) -> bool:
        return side == "server" and kind == b"C" and body.startswith(b"COMMIT") and taking["is"]

    taking = {"is": False}

    async def main() -> None:
        store = await open_store(pooler.url)
        await store.register(WORKER, now=NOW, level=LEVEL)
        sleepers = [await asleep(store, NOW) for _ in range(3)]
        pooler.watch = only_writing_claims
        taking["is"] = True
        await raised(StoreBusy, store.claim(WORKER, NOW, limit=9, level=LEVEL))
        taking["is"] = False
        rows = await store.claim(WORKER, NOW, limit=9, level=LEVEL)
        assert [(row.execution, row.epoch, row.home) for row in rows] == [(each, 2, "") for each in sleepers]
        assert await store.claim(WORKER, NOW, limit=9, level=LEVEL) == []
        await store.close()

    seen = {"update": False}

    def only_writing_claims(side: str, kind: bytes, body: bytes) -> bool:
        seen["update"] = seen["update"] or (side == "server" and kind == b"C" and body.startswith(b"UPDATE 3"))
        return seen["update"] and cut(side, kind, body)

    asyncio.run(main())


def test_a_connection_that_is_ended_by_the_server_is_replaced(postgres_place: PostgresPlace) -> None:
    """An operator ends all connections: reading notices nothing, writing raises StoreBusy at most once, then goes on."""

    async def main() -> None:
        store = await postgres_place.open()
        (one,) = await began(store)
        await store.changed()
        for number in range(5):
            postgres_place.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert len(await store.journal(one)) == 1 + number
            assert await store.changed() is True  # while nobody listened it may have rung
            batch = Batch(turns=[a_turn(one, first_seq=3 + 2 * number)])
            try:
                committed = await store.commit(batch)
            except StoreBusy:
                committed = await store.commit(batch)
            assert committed == Committed()

    asyncio.run(main())


def test_who_falls_silent_in_a_transaction_keeps_its_rows_no_longer_than_its_lease(postgres_place: PostgresPlace) -> None:
    """A worker is paused, or cut off, between two statements: others who want a row that it has locked get it."""

    async def main() -> None:
        store = await open_store(postgres_place.url, busy_timeout_ms=20_000)
        (one,) = await began(store)
        paused = await open_store(postgres_place.url, lease=200_000)

        async def fall_silent() -> None:
            async with paused._database.transaction() as session:
                await session.rows("meet", [one])
                assert await store.send([a_message(one)]) == [True]

        await raised(StoreBusy, fall_silent())
        for each in (store, paused):
            await each.close()

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(2))
def test_the_server_is_killed_in_the_midst_of_commits(
    seed: int, postgres_server: PostgresServer, postgres_place: PostgresPlace
) -> None:
    """SIGKILL to all of it while batches are written: what was confirmed is there, nothing is twice, no journal has a gap."""
    chance = random.Random(seed)
    confirmed: dict[ExecutionId, list[bytes]] = {}

    async def main() -> None:
        store = await open_store(postgres_place.url)
        executions = await began(store, 20)
        for each in executions:
            confirmed[each] = [b"facts"]
        for _ in range(2):
            killed = asyncio.create_task(killing(chance.randrange(20, 60)))
            await writing(store, executions, killed)
        rows = {each: await store.journal(each) for each in executions}
        for each in executions:
            assert [row.body for row in rows[each]] == confirmed[each]
            assert [row.first_seq for row in rows[each]] == list(range(1, 2 * len(rows[each]), 2))
        assert await store.check() == []
        await store.close()

    async def killing(after: int) -> None:
        while sum(len(bodies) for bodies in confirmed.values()) % 1_000 < after:  # noqa: ASYNC110 - others write meanwhile
            await asyncio.sleep(0)
        await asyncio.to_thread(postgres_server.kill)
        await asyncio.to_thread(postgres_server.start)

    async def writing(store: PostgresStore, executions: list[ExecutionId], killed: asyncio.Task[None]) -> None:
        """Write until the server has died and come back, and a little longer."""
        left = 5
        while left:
            left -= killed.done()
            part = chance.sample(executions, 5)
            turns = [a_turn(each, first_seq=1 + 2 * len(confirmed[each]), body=chance.randbytes(8)) for each in part]
            batch = Batch(turns=turns, events=[an_event(turns[0].execution, turns[0].body.hex())] if left % 2 else [])
            try:
                assert await store.commit(batch) == Committed()
                written = turns
            except StoreBusy:
                written = [turn for turn in turns if await is_there(store, turn)]
                assert len(written) in (0, len(turns))  # it is one transaction
            for turn in written:
                confirmed[turn.execution].append(turn.body)
        await killed

    async def is_there(store: PostgresStore, turn: Any) -> bool:
        row = await store.row(turn.execution)
        assert row is not None
        return row.seq == turn.first_seq + turn.count - 1

    asyncio.run(main())


def test_a_primary_that_becomes_a_standby_is_waited_for(postgres_server: PostgresServer, postgres_place: PostgresPlace) -> None:
    """A failover: while the server only follows it is not written to, and once one is promoted the work goes on."""

    async def main() -> None:
        store = await open_store(postgres_place.url)
        (one,) = await began(store)
        signal = postgres_server.data / "standby.signal"

        def follow() -> None:
            postgres_server.stop()
            signal.touch()
            postgres_server.start()

        await asyncio.to_thread(follow)
        assert postgres_server.sql("SELECT pg_is_in_recovery()") == [(True,)]
        writing = asyncio.create_task(patient(store, Batch(turns=[a_turn(one, first_seq=3)])))
        await asyncio.to_thread(postgres_server.sql, "SELECT pg_promote()")
        assert await writing == Committed()
        assert len(await store.journal(one)) == 2
        await store.close()

    async def patient(store: PostgresStore, batch: Batch) -> Committed:
        for _ in range(3):
            try:
                return await store.commit(batch)
            except StoreBusy:
                continue
        return await store.commit(batch)

    asyncio.run(main())
