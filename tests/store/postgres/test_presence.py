"""Leases: renewed from a thread, judged by the database's time, lost for good, and judged gently after an interruption."""

from __future__ import annotations

import asyncio

from perdure.store.contract import Batch, Load
from perdure.store.postgres import open_store
from perdure.store.postgres.presence import BEATS_PER_LEASE, FOREVER, Lease
from perdure.testing.stores.postgres import PostgresPlace
from perdure.testing.stores.samples import LEVEL, NOW, OTHER, SECOND, WORKER, a_turn, began
from perdure.testing.world import JumpingClock

LENGTH = 6 * SECOND
PERIOD = 6 / BEATS_PER_LEASE
SHORT = 90_000  # microseconds: a lease that is renewed while a test looks on


def test_a_lease_holds_until_shortly_before_it_runs_out() -> None:
    """By the monotonic clock, from when the last heartbeat was sent; one second of six is kept as a margin."""
    clock = JumpingClock()
    lease = Lease(clock, LENGTH)
    assert not lease.holds()
    lease.begin(clock.monotonic(), NOW)
    clock.jump(4.9)
    assert lease.holds()
    clock.jump(0.2)
    assert not lease.holds()
    lease.renew(sent=clock.monotonic() - 1, beat=NOW + 4 * SECOND)
    assert lease.holds()
    clock.jump(4.1)
    assert not lease.holds()


def test_a_lease_begins_when_it_was_asked_for_and_not_when_the_answer_comes() -> None:
    """To others it has run for as long as the answer took."""
    clock = JumpingClock()
    lease = Lease(clock, LENGTH)
    sent = clock.monotonic()
    clock.jump(4)
    lease.begin(sent, NOW)
    assert lease.holds()
    clock.jump(1.1)
    assert not lease.holds()


def test_the_clocks_are_never_compared_in_favour_of_what_is_early() -> None:
    """A slow answer says little: what is known is kept where it fits, and else the database's clock is taken to be behind."""
    clock = JumpingClock()
    lease = Lease(clock, LENGTH)
    ahead = 10 * SECOND  # of this machine's clock the database's is
    lease.begin(clock.monotonic(), clock.now() + ahead)
    before = clock.now()
    clock.jump(4)  # the heartbeat took so long to come there; the answer came at once
    lease.compare(before, clock.now() + ahead)
    assert lease.offset == ahead
    before = clock.now()
    beat = before + ahead
    clock.jump(4)  # the answer took so long
    lease.compare(before, beat)
    assert lease.offset == ahead
    lease.offset = ahead + SECOND  # this machine's clock has been put forward
    before = clock.now()
    clock.jump(0.5)
    lease.compare(before, before + ahead)
    assert lease.offset == ahead - SECOND // 2


def test_a_lease_that_others_ended_stays_lost() -> None:
    """Until it begins anew: a late heartbeat brings nothing back."""
    clock = JumpingClock()
    lease = Lease(clock, LENGTH)
    lease.begin(clock.monotonic(), NOW)
    lease.lose()
    lease.renew(clock.monotonic(), NOW)
    assert not lease.holds()
    lease.begin(clock.monotonic(), NOW)
    assert lease.holds()


def test_after_an_interruption_the_silence_of_others_counts_only_up_to_it() -> None:
    """Who was cut off itself does not take all others for dead; a lease later it judges again."""
    clock = JumpingClock()
    lease = Lease(clock, LENGTH)
    lease.begin(clock.monotonic(), NOW)
    assert lease.judged_until() == FOREVER
    clock.jump(PERIOD)
    lease.renew(clock.monotonic(), NOW + 2 * SECOND)
    clock.jump(2 * PERIOD + 0.1)
    assert lease.judged_until() == NOW + 2 * SECOND
    clock.jump(30)
    lease.renew(clock.monotonic(), NOW + 40 * SECOND)
    assert lease.judged_until() == NOW + 2 * SECOND
    for _ in range(BEATS_PER_LEASE):
        clock.jump(PERIOD)
        lease.renew(clock.monotonic(), NOW + 40 * SECOND)
    assert lease.judged_until() == FOREVER


def beat_of(place: PostgresPlace) -> int:
    return int(place.sql("SELECT beat FROM perdure.workers WHERE worker = $1", WORKER)[0][0])


def test_a_busy_loop_holds_no_heartbeat_up(postgres_place: PostgresPlace) -> None:
    """The loop stands still, and the lease is renewed all the same, again and again."""

    async def main() -> None:
        store = await open_store(postgres_place.url, lease=SHORT)
        await store.register(WORKER, now=NOW, level=LEVEL)
        beats = {beat_of(postgres_place)}
        while len(beats) < 5:  # in this thread, without ever going back to the loop
            beats.add(beat_of(postgres_place))
        assert store.leased()
        await store.close()
        assert not store.leased()

    asyncio.run(main())


def test_who_was_taken_for_dead_stays_dead(postgres_place: PostgresPlace) -> None:
    """A paused worker wakes after others have judged it: it is no home any more, starts nothing, and its turns are fenced."""

    async def main() -> None:
        paused = await open_store(postgres_place.url, lease=SHORT)
        (one,) = await began(paused)
        postgres_place.outlast(WORKER)  # as if it had stood still
        other = await postgres_place.open()
        await other.register(OTHER, now=NOW, level=LEVEL)
        rows = await other.claim(OTHER, NOW, limit=9, level=LEVEL)
        while not rows:  # a heartbeat came between
            postgres_place.outlast(WORKER)
            rows = await other.claim(OTHER, NOW, limit=9, level=LEVEL)
        assert [(row.execution, row.home) for row in rows] == [(one, WORKER)]
        while paused.leased():  # noqa: ASYNC110 - it is another thread that is waited for
            await asyncio.sleep(0)  # its thread finds out with the next heartbeat
        assert [worker.worker for worker in await other.workers() if worker.alive] == [OTHER]
        committed = await paused.commit(Batch(turns=[a_turn(one, first_seq=3)]))
        assert committed.fenced == {one}
        await paused.close()

    asyncio.run(main())


def test_the_clocks_are_compared_with_every_heartbeat(postgres_place: PostgresPlace) -> None:
    """On one machine they show the same, to within what a heartbeat takes."""

    async def main() -> None:
        store = await open_store(postgres_place.url, lease=SHORT)
        await store.register(WORKER, now=NOW, level=LEVEL)
        first = beat_of(postgres_place)
        while beat_of(postgres_place) == first:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        assert abs(store.offset()) < SECOND
        await store.close()

    asyncio.run(main())


def test_a_lost_worker_is_forgotten_when_another_name_is_registered(postgres_place: PostgresPlace) -> None:
    """The process lives again under the new name; the dead one keeps what it had, so that it is known as a crash."""

    async def main() -> None:
        store = await open_store(postgres_place.url, lease=SHORT)
        (one,) = await began(store)
        assert not store.lost()
        postgres_place.sql("UPDATE perdure.workers SET ttl = 0, process = ''")  # what a claim of another one does
        while not store.lost():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        assert not store.leased()
        await store.register(OTHER, now=NOW, level=LEVEL)
        assert (store.leased(), store.lost()) == (True, False)
        (row,) = await store.claim(OTHER, NOW, limit=9, level=LEVEL)
        assert (row.execution, row.home) == (one, WORKER)
        await store.close()

    asyncio.run(main())


def test_what_a_worker_is_doing_is_told_by_its_heartbeat(postgres_place: PostgresPlace) -> None:
    """Others see it with the time of that heartbeat, by the database's clock."""

    async def main() -> None:
        store = await open_store(postgres_place.url, lease=SHORT)
        await store.register(WORKER, now=NOW, level=LEVEL)
        load = Load(version="1.2.3", slots=8, running=3, queued=1, executions=5, lag=20_000)
        await store.report(WORKER, load, now=NOW)
        while (found := (await store.workers())[0]).load is None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        assert found.load == load
        assert abs(found.heard - postgres_place.sql("SELECT perdure.now_us()")[0][0]) < 60 * SECOND
        await store.close()

    asyncio.run(main())
