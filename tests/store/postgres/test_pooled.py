"""Behind a pool in transaction mode nothing may be kept in a connection: the same promises, on ever another one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from perdure.errors import StoreError
from perdure.store.contract import Batch, Committed
from perdure.store.postgres import open_store
from perdure.testing.stores.claims import Claims
from perdure.testing.stores.commits import Commits
from perdure.testing.stores.events import Events
from perdure.testing.stores.place import raised
from perdure.testing.stores.postgres import PostgresPlace
from perdure.testing.stores.samples import a_turn, began

if TYPE_CHECKING:
    from pooler import Pooler


class TestBehindAPool(Commits, Claims, Events):
    """Commits, claims and events by way of a pool."""

    @pytest.fixture
    def place(self, pooled_place: PostgresPlace) -> PostgresPlace:
        return pooled_place

    def test_changed_tells_of_an_event(self, place: PostgresPlace) -> None:
        """Nobody can listen behind a pool, so `changed` says yes whenever it is asked."""

        async def main() -> None:
            store = await place.open()
            await began(store)
            assert [await store.changed(), await store.changed(), await store.wait_changed(0)] == [True, True, True]

        asyncio.run(main())

    def test_usage_counts_what_was_written(self, place: PostgresPlace) -> None:
        """One transaction for a commit, as everywhere; its begin and its end are statements of their own."""

        async def main() -> None:
            store = await place.open()
            executions = await began(store, 50)
            before = store.usage()
            await store.commit(Batch(turns=[a_turn(each, first_seq=3) for each in executions]))
            after = store.usage()
            assert (after.transactions - before.transactions, after.statements - before.statements) == (1, 3)

        asyncio.run(main())


def test_every_transaction_runs_on_another_connection(pooler: Pooler) -> None:
    """Fifty commits on a pool of six: each was lent a connection of its own, and all are written."""

    async def main() -> None:
        store = await open_store(pooler.url)
        (one,) = await began(store)
        before = pooler.lent
        for number in range(50):
            assert await store.commit(Batch(turns=[a_turn(one, first_seq=3 + 2 * number)])) == Committed()
        assert pooler.lent - before >= 50
        assert len(await store.journal(one)) == 51
        await store.close()

    asyncio.run(main())


def test_a_store_that_does_not_know_of_the_pool_hears_of_it(pooler: Pooler) -> None:
    """Without `pooled=true` the pool refuses it at once, and not in the midst of its work."""
    error = asyncio.run(raised(StoreError, open_store(pooler.plain_url)))
    assert "startup parameter" in error.message
    assert "pooled=true" in error.remedy
