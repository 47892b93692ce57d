"""What a store promises that several processes use, and whose disk can fail: nobody is overlooked, nothing is half-written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from perdure.errors import StoreBusy, StoreDamaged, StoreError, StoreFull, StoreReadOnly, StoreTooNew
from perdure.store.contract import Batch, Committed
from perdure.testing.stores.place import SharedPlace, awaited, raised
from perdure.testing.stores.samples import (
    LEVEL,
    NOW,
    OTHER,
    SUCCEEDED,
    WAITING,
    WORKER,
    a_blob,
    a_lock,
    a_message,
    a_start,
    a_turn,
    an_event,
    an_id,
    began,
)

# What another process does: it opens the store, becomes the home of an execution, says so, and lives on until it is told.
_RESIDENT = """
import asyncio, importlib, json, sys
from perdure.store.contract import Batch
from perdure.testing.stores.samples import began

async def main():
    module, function, arguments = json.loads(sys.argv[1])
    store = await getattr(importlib.import_module(module), function)(**arguments)
    (execution,) = await began(store)
    print(execution.hex(), flush=True)
    sys.stdin.readline()

asyncio.run(main())
"""


class Sharing:
    """Promises between stores on the same data, and under a lock, a full disk, a read-only one, damage, a newer release."""

    @awaited
    async def test_two_stores_see_each_other(self, place: SharedPlace) -> None:
        """What one writes the other reads at once, and `changed` tells the other, once."""
        one, two = await place.open(), await place.open()
        (execution,) = await began(one)
        assert (await two.row(execution)) == (await one.row(execution))
        await one.changed()
        assert await one.changed() is False
        assert await two.send([a_message(execution)]) == [True]
        assert await one.wait_changed(60) is True
        assert await one.changed() is True
        assert await one.changed() is False
        assert [arrived.message for arrived in await one.arrived(WORKER)] == [a_message(execution)]
        assert await one.send([a_message(execution)]) == [False]

    @awaited
    async def test_what_others_may_want_is_told(self, place: SharedPlace) -> None:
        """What is due or whose worker leaves, a message, a lock that is free: another store's `changed` says so."""
        one, two = await place.open(), await place.open()
        released, ended, left = await began(one, 3)
        await one.acquire([a_lock(released, "1"), a_lock(ended, "2")])
        for batch in (
            Batch(turns=[a_turn(released, first_seq=3)], unlocks=[a_lock(released, "1")]),
            Batch(turns=[a_turn(ended, first_seq=3, status=SUCCEEDED, release=True)]),
            Batch(turns=[a_turn(released, first_seq=5, status=WAITING, release=True, wake=NOW)]),
            Batch(turns=[a_turn(left, first_seq=3)], messages=[a_message(released, sender=left)]),
        ):
            await two.changed()
            assert await two.changed() is False
            await one.commit(batch)
            assert await two.changed() is True
        await one.leave(WORKER)
        assert await two.changed() is True

    @awaited
    async def test_two_stores_take_turns(self, place: SharedPlace) -> None:
        """Commits of two stores interleave without failing, each with its own executions, a key only once."""
        stores = [await place.open(), await place.open()]
        first, second = an_id(), an_id()
        for store, execution in zip(stores, (first, second), strict=True):
            await store.commit(Batch(starts=[a_start(execution)], turns=[a_turn(execution)]))
        for number in range(10):
            for store, execution in zip(stores, (first, second), strict=True):
                turn = a_turn(execution, first_seq=3 + 2 * number)
                assert await store.commit(Batch(turns=[turn])) == Committed()
        assert [len(await stores[0].journal(each)) for each in (first, second)] == [11, 11]
        keyed, again = an_id(), an_id()
        await stores[0].commit(Batch(starts=[a_start(keyed, key="k")], turns=[a_turn(keyed)]))
        answer = await stores[1].commit(Batch(starts=[a_start(again, key="k")], turns=[a_turn(again)]))
        assert answer == Committed(duplicates=frozenset({again}))

    @awaited
    async def test_a_worker_of_another_store_is_alive(self, place: SharedPlace) -> None:
        """Stores on the same data know each other's workers as living, and as dead when they died."""
        one, two = await place.open(), await place.open()
        (execution,) = await began(one)
        await two.register(OTHER, now=NOW, level=LEVEL)
        for store in (one, two):
            assert [(worker.worker, worker.alive) for worker in await store.workers()] == [(WORKER, True), (OTHER, True)]
        assert await two.claim(OTHER, NOW, limit=9, level=LEVEL) == []
        place.die(one)
        assert [(worker.worker, worker.alive) for worker in await two.workers()] == [(WORKER, False), (OTHER, True)]
        assert [row.execution for row in await two.claim(OTHER, NOW, limit=9, level=LEVEL)] == [execution]

    @awaited
    async def test_a_worker_of_a_closed_store_is_dead(self, place: SharedPlace) -> None:
        """Closing without `leave` is a kind of death: what was at home there can be claimed."""
        one, two = await place.open(), await place.open()
        (execution,) = await began(one)
        await one.close()
        await two.register(OTHER, now=NOW, level=LEVEL)
        assert [row.execution for row in await two.claim(OTHER, NOW, limit=9, level=LEVEL)] == [execution]

    @awaited
    async def test_a_living_workers_name_is_taken(self, place: SharedPlace) -> None:
        """Nobody registers under the name of a worker that lives; its executions stay."""
        one, two = await place.open(), await place.open()
        (execution,) = await began(one)
        error = await raised(StoreError, two.register(WORKER, now=NOW, level=LEVEL))
        assert WORKER in error.message
        row = await two.row(execution)
        assert row is not None
        assert row.home == WORKER
        assert [worker.alive for worker in await one.workers()] == [True]

    @awaited
    async def test_leaving_is_for_ones_own_workers(self, place: SharedPlace) -> None:
        """A store cannot let another store's living worker leave."""
        one, two = await place.open(), await place.open()
        (execution,) = await began(one)
        await two.leave(WORKER)
        assert [worker.worker for worker in await one.workers()] == [WORKER]
        row = await one.row(execution)
        assert row is not None
        assert row.home == WORKER

    @awaited
    async def test_a_killed_process_is_dead(self, place: SharedPlace) -> None:
        """What another process has is its own while it lives, and is claimed once it was killed and that is known."""
        store = await place.open()
        await store.register(OTHER, now=NOW, level=LEVEL)
        with _resident(place) as (process, execution):
            assert await store.claim(OTHER, NOW, limit=9, level=LEVEL) == []
            listed = {worker.worker: (worker.pid, worker.alive) for worker in await store.workers()}
            assert listed[WORKER] == (process.pid, True)
            process.kill()
            process.wait()
            place.outlast(WORKER)
            rows = await store.claim(OTHER, NOW, limit=9, level=LEVEL)
            assert [(row.execution.hex(), row.home, row.epoch) for row in rows] == [(execution, WORKER, 2)]
        assert [worker.worker for worker in await store.workers()] == [OTHER]

    @awaited
    async def test_a_reader_hinders_no_writer(self, place: SharedPlace) -> None:
        """While somebody reads in an open transaction, commits succeed, are seen, and may outgrow what the log holds."""
        store = await place.open()
        (one,) = await began(store)
        with place.reading():
            for number in range(40):
                turn = a_turn(one, first_seq=3 + 2 * number, body=b"x" * 250_000)
                assert await store.commit(Batch(turns=[turn])) == Committed()
            assert len(await store.journal(one)) == 41
        assert await store.check() == []

    @awaited
    async def test_a_locked_store_is_busy(self, place: SharedPlace) -> None:
        """While somebody else holds the writers' lock, writing raises StoreBusy and reading goes on; afterwards all is well."""
        store = await place.open()
        (one,) = await began(store)
        batch = Batch(turns=[a_turn(one, first_seq=3)])
        with place.locked():
            for write in (
                store.commit(batch),
                store.send([a_message(one)]),
                store.register(OTHER, now=NOW, level=LEVEL),
                store.leave(WORKER),
                store.save_blobs([a_blob(b"x")]),
            ):
                assert (await raised(StoreBusy, write)).remedy
            assert len(await store.journal(one)) == 1
        assert await store.commit(batch) == Committed()
        assert await store.inbox(one) == []
        assert [(worker.worker, worker.alive) for worker in await store.workers()] == [(WORKER, True)]

    @awaited
    async def test_a_full_disk_leaves_nothing_half_written(self, place: SharedPlace) -> None:
        """A commit without room raises StoreFull and leaves nothing; with room again the same commit succeeds."""
        store = await place.open()
        (one,) = await began(store)
        batch = Batch(
            turns=[a_turn(one, first_seq=3, body=b"x" * 1_000_000)], events=[an_event(one)], blobs=[a_blob(b"y" * 200_000)]
        )
        with place.full(store):
            assert (await raised(StoreFull, store.commit(batch))).remedy
            assert len(await store.journal(one)) == 1
            assert await store.events() == []
            row = await store.row(one)
            assert row is not None
            assert row.seq == 2
        assert await store.commit(batch) == Committed()
        assert len(await store.journal(one)) == 2
        assert await store.check() == []

    @awaited
    async def test_a_store_that_cannot_be_written_says_so(self, place: SharedPlace) -> None:
        """Opening it, or writing to it, raises StoreReadOnly with a remedy; nothing is lost."""
        store = await place.open()
        (one,) = await began(store)
        await store.close()
        with place.read_only():

            async def write() -> None:
                store = await place.open()
                try:
                    await store.commit(Batch(turns=[a_turn(one, first_seq=3)]))
                finally:
                    await store.close()

            assert (await raised(StoreReadOnly, write())).remedy
        store = await place.open()
        assert len(await store.journal(one)) == 1
        assert await store.commit(Batch(turns=[a_turn(one, first_seq=3)])) == Committed()

    @awaited
    async def test_damage_is_told(self, place: SharedPlace) -> None:
        """A store that was spoiled raises StoreDamaged, or its check names the damage; it never gives wrong data in silence."""
        store = await place.open()
        (one,) = await began(store)
        for number in range(40):
            await store.commit(Batch(turns=[a_turn(one, first_seq=3 + 2 * number, body=b"%03d" % number * 1_000)]))
        await store.close()
        place.damage()
        try:
            store = await place.open()
        except StoreDamaged as error:
            told = [error.remedy]
        else:
            told = await store.check()
            await store.close()
        assert all(told), told
        assert told

    @awaited
    async def test_a_newer_store_is_left_alone(self, place: SharedPlace) -> None:
        """What a newer release wrote is not opened: StoreTooNew says what to do."""
        store = await place.open()
        await began(store)
        await store.close()
        place.make_newer()
        assert "Upgrade" in (await raised(StoreTooNew, place.open())).remedy


@contextmanager
def _resident(place: SharedPlace) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that is the home of an execution: the process, and the execution's id in hex."""
    command = [sys.executable, "-c", _RESIDENT, json.dumps(place.opener())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()
