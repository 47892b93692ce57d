"""What an event costs the embedded store: one look when nobody waits, and the same few statements for one who waits or many."""

from __future__ import annotations

import asyncio

from perdure.store.contract import Batch
from perdure.store.sqlite import SqliteStore, open_store
from perdure.testing.stores.samples import NOW, SUCCEEDED, a_lock, a_subscription, a_turn, an_event, asleep, began


async def statements(store: SqliteStore, batch: Batch) -> int:
    before = store.usage().statements
    await store.commit(batch)
    return store.usage().statements - before


def test_an_event_that_nobody_waits_for_costs_one_look() -> None:
    """Beside the event itself a commit has one statement more, however many events of how many types it holds."""

    async def count() -> None:
        store = await open_store(":memory:")
        one, other = await began(store, 2)
        await store.commit(Batch(subscriptions=[a_subscription(other, "never")]))
        plain = await statements(store, Batch(turns=[a_turn(one, first_seq=3)]))
        events = [an_event(one, f"e{number}", type=f"type-{number % 7}") for number in range(100)]
        assert await statements(store, Batch(turns=[a_turn(one, first_seq=5)], events=events)) == plain + 2
        assert await store.inbox(other) == []

    asyncio.run(count())


def test_an_event_costs_the_same_statements_for_any_number_of_subscribers() -> None:
    """One or a thousand who wait, at home or asleep: subscribers are never read one by one."""

    async def count(subscribers: int) -> int:
        store = await open_store(":memory:")
        executions = await began(store, subscribers)
        await store.commit(Batch(subscriptions=[a_subscription(each) for each in executions]))
        spent = await statements(store, Batch(turns=[a_turn(executions[0], first_seq=3)], events=[an_event(executions[0])]))
        assert len(await store.inbox(executions[-1])) == 1
        return spent

    assert asyncio.run(count(1)) == asyncio.run(count(1_000))


def test_only_the_homeless_become_due() -> None:
    """An event for an execution at home leaves no wake time: its home looks into the inbox by itself."""

    async def tell() -> None:
        store = await open_store(":memory:")
        (at_home,) = await began(store)
        sleeper, ended = await asleep(store, None), await asleep(store, None, status=SUCCEEDED)
        await store.commit(Batch(subscriptions=[a_subscription(each) for each in (at_home, sleeper, ended)]))
        await store.publish([an_event(None, at=NOW + 3)])
        rows = store.connection.execute("SELECT execution, due, wake, arrived FROM wakes").fetchall()
        assert rows == [(sleeper, NOW + 3, None, 1)]

    asyncio.run(tell())


def test_an_execution_that_ends_leaves_no_rows() -> None:
    """What it waited for and held is gone from the tables, others' rows stay; only such a commit has the three statements."""

    async def end() -> None:
        store = await open_store(":memory:")
        one, other = await began(store, 2)
        await store.commit(Batch(subscriptions=[a_subscription(each, kind) for each in (one, other) for kind in ("a", "b")]))
        await store.acquire([a_lock(one), a_lock(other, "dock")])
        plain = await statements(store, Batch(turns=[a_turn(one, first_seq=3), a_turn(other, first_seq=3)]))
        turns = [a_turn(one, first_seq=5, status=SUCCEEDED), a_turn(other, first_seq=5)]
        assert await statements(store, Batch(turns=turns)) == plain + 3
        assert store.connection.execute("SELECT DISTINCT execution FROM subscriptions").fetchall() == [(other,)]
        assert store.connection.execute("SELECT execution FROM locks").fetchall() == [(other,)]

    asyncio.run(end())
