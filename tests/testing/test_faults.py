"""The store that fails on demand: it counts, dies and refuses as told, and otherwise is the store underneath."""

from __future__ import annotations

import asyncio

import pytest

from perdure.errors import StoreBusy
from perdure.store.contract import Batch, Store
from perdure.store.sqlite import open_store
from perdure.testing.faults import Crash, CrashPoint, FaultyStore, Moment
from perdure.testing.stores import StoreSuite
from perdure.testing.stores.samples import LEVEL, NOW, WORKER, a_start, a_turn, an_id
from perdure.testing.stores.sqlite import MemoryPlace


class TestThroughTheWrapper(StoreSuite):
    """A store that is told nothing passes every call on: the suite holds through it."""

    @pytest.fixture
    def place(self) -> WrappedPlace:
        return WrappedPlace()


class WrappedPlace:
    """The embedded store in memory, wrapped."""

    def __init__(self) -> None:
        self._place = MemoryPlace()

    async def open(self) -> Store:
        return FaultyStore(await self._place.open())

    def die(self, store: Store) -> None:
        assert isinstance(store, FaultyStore)
        self._place.die(store.store)


async def run(store: Store) -> None:
    """A run of four calls."""
    await store.register(WORKER, now=NOW, level=LEVEL)
    one = an_id()
    await store.commit(Batch(starts=[a_start(one)], turns=[a_turn(one)]))
    await store.commit(Batch(turns=[a_turn(one, first_seq=3)]))
    await store.rows()


def test_calls_are_counted_by_name() -> None:
    """Every call in order, how often each, and two crash points for each."""

    async def count() -> None:
        faulty = FaultyStore(await open_store(":memory:"))
        await run(faulty)
        faulty.usage()
        assert faulty.calls == ["register", "commit", "commit", "rows"]
        assert faulty.counts == {"register": 1, "commit": 2, "rows": 1}
        assert len(faulty.crash_points) == 8
        assert faulty.crash_points[2] == CrashPoint(call=2, name="commit", moment="before")
        assert faulty.crash_points[3] == CrashPoint(call=2, name="commit", moment="after")

    asyncio.run(count())


@pytest.mark.parametrize("call", [1, 2, 3, 4])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_it_dies_where_it_is_told(call: int, moment: Moment) -> None:
    """Before call k nothing of it has happened, after it all of it; from then on every call dies, and nothing is written."""

    async def die() -> None:
        store = await open_store(":memory:")
        faulty = FaultyStore(store, die=(call, moment))
        with pytest.raises(Crash):
            await run(faulty)
        assert faulty.dead
        assert len(faulty.calls) == call
        done = call - (moment == "before")
        rows = await store.rows()
        assert [len(await store.workers()), sum(row.seq for row in rows)] == [[0, 0], [1, 0], [1, 2], [1, 4], [1, 4]][done]
        with pytest.raises(Crash):
            await run(faulty)
        assert await store.rows() == rows

    asyncio.run(die())


def test_a_crash_is_no_exception() -> None:
    """A death passes through every `except Exception`."""

    async def die() -> None:
        faulty = FaultyStore(await open_store(":memory:"), die=(1, "before"))
        try:
            await faulty.rows()
        except Exception as error:
            raise AssertionError(f"Expected the death to pass, but it was caught: {error!r}") from error

    with pytest.raises(Crash):
        asyncio.run(die())


def test_a_refused_call_does_nothing() -> None:
    """The error given for call k is raised instead of doing it; the next call works."""

    async def refuse() -> None:
        store = await open_store(":memory:")
        faulty = FaultyStore(store, refuse={2: StoreBusy("Expected the lock, but it was kept.")})
        with pytest.raises(StoreBusy):
            await run(faulty)
        assert await faulty.rows() == []
        assert not faulty.dead

    asyncio.run(refuse())


def test_only_the_named_calls_are_numbered() -> None:
    """With `only`, call 2 is the second of those names; the others pass without being counted."""

    async def die() -> None:
        store = await open_store(":memory:")
        faulty = FaultyStore(store, die=(2, "before"), only=["commit"])
        with pytest.raises(Crash):
            await run(faulty)
        assert faulty.calls == ["commit", "commit"]
        assert [row.seq for row in await store.rows()] == [2]

    asyncio.run(die())
