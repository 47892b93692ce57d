"""Several workers at once: who sends and who lets go, who emits and who begins to wait, and nobody waits in a circle."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from perdure.ids import ExecutionId
from perdure.store.contract import Batch, Committed
from perdure.store.postgres import PostgresStore, open_store
from perdure.testing.stores.postgres import PostgresPlace
from perdure.testing.stores.samples import (
    LEVEL,
    NOW,
    OTHER,
    WAITING,
    WORKER,
    a_lock,
    a_message,
    a_start,
    a_subscription,
    a_turn,
    an_event,
    an_id,
    began,
)

if TYPE_CHECKING:
    from postgres_server import PostgresServer

ROUNDS = 60


async def two(place: PostgresPlace) -> tuple[PostgresStore, PostgresStore]:
    """Two workers' stores; whoever waits for a lock for seconds waits in a circle, and is told so."""
    return await open_store(place.url, busy_timeout_ms=20_000), await open_store(place.url, busy_timeout_ms=20_000)


def test_a_message_to_one_that_is_being_let_go_wakes_it(postgres_place: PostgresPlace) -> None:
    """Sixty times at the same moment one worker lets an execution go and another sends to it: it can be claimed each time."""

    async def main() -> None:
        one, other = await two(postgres_place)
        (execution,) = await began(one)
        for number in range(ROUNDS):
            row = await one.row(execution)
            assert row is not None
            turn = a_turn(execution, epoch=row.epoch, first_seq=row.seq + 1, status=WAITING, release=True)
            await asyncio.gather(one.commit(Batch(turns=[turn])), other.send([a_message(execution, f"{number}")]))
            (row,) = await one.claim(WORKER, NOW, limit=9, level=LEVEL)
            taken = tuple(arrived.position for arrived in await one.inbox(execution))
            assert len(taken) == 1
            turn = a_turn(execution, epoch=row.epoch, first_seq=row.seq + 1, consumed=taken)
            assert await one.commit(Batch(turns=[turn])) == Committed()
        await one.close()
        await other.close()

    asyncio.run(main())


def test_an_event_and_a_wait_that_begins_at_the_same_moment_meet(postgres_place: PostgresPlace) -> None:
    """Either the event finds who waits, or whoever waits finds the event in the log: never neither."""

    async def main() -> None:
        one, other = await two(postgres_place)
        (execution,) = await began(one)
        for number in range(ROUNDS):
            kind = f"type-{number}"

            async def begin_to_wait(kind: str = kind) -> list[str]:
                """As a home does: what is in the log once the wait is durable came before it, or at the same moment."""
                await one.commit(Batch(subscriptions=[a_subscription(execution, kind)]))
                return [event.id for _, event in await one.events(type=kind)]

            logged, _ = await asyncio.gather(begin_to_wait(), other.publish([an_event(None, f"{number}", type=kind)]))
            told = [arrived.message.key for arrived in await one.inbox(execution)]
            assert f"{number}" in told + logged
        await one.close()
        await other.close()

    asyncio.run(main())


def test_crossing_messages_never_wait_in_a_circle(postgres_place: PostgresPlace) -> None:
    """Two workers write their own executions and send to each other's, in all orders, with locks and events: no deadlock."""

    async def main() -> None:
        stores = await two(postgres_place)
        mine = await began(stores[0], 4)
        await stores[1].register(OTHER, now=NOW, level=LEVEL)
        theirs = [an_id() for _ in mine]
        await stores[1].commit(
            Batch(starts=[a_start(each, home=OTHER) for each in theirs], turns=[a_turn(each) for each in theirs])
        )
        orders = list(itertools.permutations(range(4)))
        seqs = dict.fromkeys([*mine, *theirs], 3)

        async def write(store: PostgresStore, own: list[ExecutionId], others: list[ExecutionId], shift: int) -> None:
            for number in range(ROUNDS):
                order = orders[(number * 7 + shift) % len(orders)]
                turns = []
                for each in (own[place] for place in order):
                    turns.append(a_turn(each, first_seq=seqs[each]))
                    seqs[each] += 2
                messages = [
                    a_message(others[place], f"{shift}-{number}", sender=own[place], source="child")
                    for place in reversed(order)
                ]
                events = [an_event(own[order[0]], f"{shift}-{number}", type=f"t{number % 3}")]
                waits = [a_subscription(own[order[1]], f"t{(number + shift) % 3}")]
                batch = Batch(turns=turns, messages=messages, events=events, subscriptions=waits)
                assert await store.commit(batch) == Committed()
                await store.acquire([a_lock(own[order[0]], f"{place}") for place in order])

        await asyncio.gather(write(stores[0], mine, theirs, 0), write(stores[1], theirs, mine, 11))
        for execution in (*mine, *theirs):
            messages = [arrived.message for arrived in await stores[0].inbox(execution)]
            assert sum(message.source == "child" for message in messages) == ROUNDS
        assert postgres_place.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0][0] == 0
        for store in stores:
            await store.close()

    asyncio.run(main())


def test_two_workers_claim_each_execution_once(postgres_place: PostgresPlace) -> None:
    """A hundred that are due, claimed by two at the same time: each goes to one of them, and none is left."""

    async def main() -> None:
        one, other = await two(postgres_place)
        await one.register(WORKER, now=NOW, level=LEVEL)
        await other.register(OTHER, now=NOW, level=LEVEL)
        sleepers = [an_id() for _ in range(100)]
        await one.commit(
            Batch(
                starts=[a_start(each, home="") for each in sleepers],
                turns=[a_turn(each, status=WAITING, release=True, wake=NOW) for each in sleepers],
            )
        )
        claimed: list[ExecutionId] = []
        while len(claimed) < len(sleepers):
            found = await asyncio.gather(
                one.claim(WORKER, NOW, limit=7, level=LEVEL), other.claim(OTHER, NOW, limit=7, level=LEVEL)
            )
            claimed += [row.execution for rows in found for row in rows]
        assert sorted(claimed) == sleepers
        await one.close()
        await other.close()

    asyncio.run(main())


def test_workers_that_come_first_at_the_same_moment_make_one_store(postgres_server: PostgresServer) -> None:
    """One of four makes the tables in an empty database; the others, which have seen none before, find them."""
    url = postgres_server.url(postgres_server.new_database())

    async def main() -> None:
        stores = await asyncio.gather(*(open_store(url) for _ in range(4)))
        assert [await store.check() for store in stores] == [[], [], [], []]
        for store in stores:
            await store.close()

    asyncio.run(main())
