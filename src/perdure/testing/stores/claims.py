"""What claims promise: one home at a time, the dead lose theirs at once, and the order of taking."""

from __future__ import annotations

from perdure.errors import StoreError
from perdure.ids import ExecutionId
from perdure.store.contract import Batch, Committed, Load, Row, Store
from perdure.testing.stores.place import Place, awaited, raised
from perdure.testing.stores.samples import (
    LEVEL,
    NOW,
    OTHER,
    SECOND,
    SUCCEEDED,
    WAITING,
    WORKER,
    a_message,
    a_turn,
    an_id,
    asleep,
    began,
)


class Claims:
    """Promises of `register`, `leave`, `workers` and `claim`, and of a turn's `release`."""

    # -- leaving and being due ----------------------------------------------------------------------------------------------
    @awaited
    async def test_a_release_leaves_the_home(self, place: Place) -> None:
        """A released execution is nobody's, keeps its epoch, and shows its wake time."""
        store = await place.open()
        (one,) = await began(store)
        turn = a_turn(one, first_seq=3, status=WAITING, release=True, wake=NOW + SECOND)
        assert await store.commit(Batch(turns=[turn])) == Committed()
        row = await store.row(one)
        assert row is not None
        assert (row.home, row.epoch, row.wake, row.status) == ("", 1, NOW + SECOND, WAITING)

    @awaited
    async def test_a_sleeper_is_claimed_when_its_time_has_come(self, place: Place) -> None:
        """Not a microsecond early; then it moves to its new home with the next epoch and without a wake time."""
        store = await _with_worker(place)
        one = await asleep(store, NOW + SECOND)
        assert await _claimed(store, now=NOW + SECOND - 1) == []
        (row,) = await store.claim(WORKER, NOW + SECOND, limit=9, level=LEVEL)
        assert (row.execution, row.epoch, row.wake, row.home) == (one, 2, None, "")
        stored = await store.row(one)
        assert stored is not None
        assert (stored.home, stored.epoch, stored.wake) == (WORKER, 2, None)
        assert await _claimed(store, now=NOW + SECOND) == []

    @awaited
    async def test_a_later_release_replaces_the_wake_time(self, place: Place) -> None:
        """The last release says when to look again; with None nothing but a message or a name wakes it."""
        store = await _with_worker(place)
        one = await asleep(store, NOW + SECOND)
        for wake in (NOW + 9 * SECOND, NOW + 5 * SECOND, None):
            turn = a_turn(one, first_seq=3, count=0, body=b"", status=WAITING, release=True, wake=wake)
            await store.commit(Batch(turns=[turn]))
            row = await store.row(one)
            assert row is not None
            assert row.wake == wake
        assert await _claimed(store, now=NOW + 100 * SECOND) == []
        assert await _claimed(store, only=[one]) == [one]

    @awaited
    async def test_a_message_wakes_whatever_the_clock_says(self, place: Place) -> None:
        """An execution with a message waiting may be claimed, also when the sender's clock is ahead; its wake time stands."""
        store = await _with_worker(place)
        one, other = await asleep(store, NOW + 90 * SECOND), await asleep(store, None)
        await store.send([a_message(one, at=NOW + SECOND), a_message(other, at=NOW + SECOND)])
        row = await store.row(one)
        assert row is not None
        assert row.wake == NOW + 90 * SECOND
        assert set(await _claimed(store, now=NOW)) == {one, other}

    @awaited
    async def test_a_message_that_came_before_the_release_wakes_too(self, place: Place) -> None:
        """A home that leaves without having taken a message in loses nothing: the execution can be claimed at once."""
        store = await place.open()
        (one,) = await began(store)
        await store.send([a_message(one)])
        await store.commit(Batch(turns=[a_turn(one, first_seq=3, status=WAITING, release=True, wake=None)]))
        assert await _claimed(store, now=NOW) == [one]

    @awaited
    async def test_a_message_that_was_consumed_wakes_nobody(self, place: Place) -> None:
        """A step that takes its last message in and leaves sleeps until its wake time."""
        store = await place.open()
        (one,) = await began(store)
        await store.send([a_message(one)])
        (arrived,) = await store.inbox(one)
        turn = a_turn(one, first_seq=3, status=WAITING, release=True, consumed=(arrived.position,))
        await store.commit(Batch(turns=[turn]))
        assert await _claimed(store, now=NOW + SECOND) == []

    @awaited
    async def test_a_message_in_the_commit_that_releases_wakes(self, place: Place) -> None:
        """A message in the same batch as its receiver's release is not overlooked."""
        store = await place.open()
        one, sender = await began(store, 2)
        batch = Batch(
            turns=[a_turn(one, first_seq=3, status=WAITING, release=True), a_turn(sender, first_seq=3)],
            messages=[a_message(one, sender=sender)],
        )
        await store.commit(batch)
        assert await _claimed(store, now=NOW) == [one]

    # -- who may be claimed -------------------------------------------------------------------------------------------------
    @awaited
    async def test_the_living_keep_what_they_have(self, place: Place) -> None:
        """What a living worker is the home of is not claimed, by nobody, not by name, not with a message waiting."""
        store = await place.open()
        (one,) = await began(store)
        await store.register(OTHER, now=NOW, level=LEVEL)
        await store.send([a_message(one)])
        for worker in (WORKER, OTHER):
            assert await _claimed(store, worker) == []
            assert await _claimed(store, worker, only=[one]) == []
        row = await store.row(one)
        assert row is not None
        assert (row.home, row.epoch) == (WORKER, 1)

    @awaited
    async def test_the_dead_lose_what_they_had(self, place: Place) -> None:
        """After a death all that was at home with the dead worker can be claimed at once, and the former home is named."""
        store = await place.open()
        executions = await began(store, 3)
        place.die(store)
        store = await place.open()
        assert [worker.alive for worker in await store.workers()] == [False]
        await store.register(OTHER, now=NOW, level=LEVEL)
        rows = await store.claim(OTHER, NOW, limit=9, level=LEVEL)
        assert {row.execution for row in rows} == set(executions)
        assert {(row.home, row.epoch) for row in rows} == {(WORKER, 2)}

    @awaited
    async def test_the_dead_are_forgotten_when_all_is_taken_over(self, place: Place) -> None:
        """A dead worker is known while something is still its own; after the last claim only the living are listed."""
        store = await place.open()
        await began(store, 3)
        place.die(store)
        store = await place.open()
        await store.register(OTHER, now=NOW, level=LEVEL)
        listed = []
        for _ in range(4):
            await store.claim(OTHER, NOW, limit=1, level=LEVEL)
            listed.append([worker.worker for worker in await store.workers()])
        assert listed == [[WORKER, OTHER], [WORKER, OTHER], [OTHER], [OTHER]]

    @awaited
    async def test_a_former_home_is_fenced_after_the_claim(self, place: Place) -> None:
        """A worker that comes back to life after its execution was claimed writes nothing; the new home does."""
        store = await place.open()
        (one,) = await began(store)
        place.die(store)
        store = await place.open()
        await store.register(OTHER, now=NOW, level=LEVEL)
        (row,) = await store.claim(OTHER, NOW, limit=9, level=LEVEL)
        late = a_turn(one, first_seq=3, body=b"late")
        assert await store.commit(Batch(turns=[late])) == Committed(fenced=frozenset({one}))
        assert await store.commit(Batch(turns=[a_turn(one, first_seq=3, epoch=row.epoch)])) == Committed()
        assert [each.body for each in await store.journal(one)] == [b"facts", b"facts"]

    @awaited
    async def test_final_executions_are_never_claimed(self, place: Place) -> None:
        """Not for a message, not by name, not from a dead home: terminal states are final."""
        store = await place.open()
        (one,) = await began(store)
        ended = await asleep(store, NOW, status=SUCCEEDED)
        await store.commit(Batch(turns=[a_turn(one, first_seq=3, status=SUCCEEDED)]))
        await store.send([a_message(one), a_message(ended)])
        place.die(store)
        store = await _with_worker(place, OTHER)
        assert await _claimed(store, OTHER, now=NOW + SECOND) == []
        assert await _claimed(store, OTHER, only=[one, ended]) == []

    @awaited
    async def test_newer_levels_are_never_claimed(self, place: Place) -> None:
        """A worker never gets an execution it cannot read: due, called, orphaned or by name. One that can read it does."""
        store = await place.open()
        (orphan,) = await began(store)
        await store.commit(Batch(turns=[a_turn(orphan, first_seq=3, level=LEVEL + 1)]))
        due = await asleep(store, NOW, level=LEVEL + 1)
        called = await asleep(store, None, level=LEVEL + 1)
        await store.send([a_message(called)])
        place.die(store)
        store = await _with_worker(place, OTHER)
        assert await _claimed(store, OTHER, now=NOW + SECOND) == []
        assert await _claimed(store, OTHER, only=[orphan, due, called]) == []
        rows = await store.claim(OTHER, NOW + SECOND, limit=9, level=LEVEL + 1)
        assert {row.execution for row in rows} == {orphan, due, called}

    @awaited
    async def test_only_means_exactly_these(self, place: Place) -> None:
        """By name a sleeper is claimed before its time, and nothing else with it; unknown ones are passed over."""
        store = await _with_worker(place)
        wanted, due = await asleep(store, NOW + 90 * SECOND), await asleep(store, NOW)
        assert await _claimed(store, now=NOW, only=[]) == []
        assert await _claimed(store, now=NOW, only=[wanted, an_id()]) == [wanted]
        assert await _claimed(store, now=NOW) == [due]

    @awaited
    async def test_a_claim_takes_no_more_than_its_limit(self, place: Place) -> None:
        """Claims of two take five sleepers in three rounds, each once; a limit of none takes none."""
        store = await _with_worker(place)
        sleepers = [await asleep(store, NOW + number) for number in range(5)]
        assert await _claimed(store, now=NOW + 9, limit=0) == []
        rounds = [await _claimed(store, now=NOW + 9, limit=2) for _ in range(4)]
        assert rounds == [sleepers[:2], sleepers[2:4], sleepers[4:], []]
        assert await _claimed(store, now=NOW + 9, limit=1, only=sleepers) == []

    @awaited
    async def test_a_claim_goes_by_priority_and_then_by_time(self, place: Place) -> None:
        """Priority 1 first; inside a priority the most overdue first, whatever the order of their starts."""
        store = await _with_worker(place)
        wanted = [(1, 30), (1, 40), (2, 10), (3, 5), (3, 20), (5, 1)]
        names: dict[ExecutionId, tuple[int, int]] = {}
        for priority, seconds in (wanted[4], wanted[1], wanted[5], wanted[0], wanted[3], wanted[2]):
            names[await asleep(store, NOW + seconds, priority=priority)] = (priority, seconds)
        first = await _claimed(store, now=NOW + SECOND, limit=4)
        rest = await _claimed(store, now=NOW + SECOND, limit=4)
        assert [names[each] for each in first + rest] == wanted

    @awaited
    async def test_due_and_called_ones_stand_in_one_line(self, place: Place) -> None:
        """Inside a priority nobody is served first for what it waits for: a message waits since it was sent."""
        store = await _with_worker(place)
        late, called, early = await asleep(store, NOW + 9), await asleep(store, None), await asleep(store, NOW + 1)
        await store.send([a_message(called, at=NOW + 5)])
        assert await _claimed(store, now=NOW + SECOND) == [early, called, late]

    @awaited
    async def test_what_is_both_due_and_called_is_claimed_once(self, place: Place) -> None:
        """One that is due and has a message counts once towards the limit and moves on by one epoch."""
        store = await _with_worker(place)
        both, due = await asleep(store, NOW), await asleep(store, NOW + 1)
        await store.send([a_message(both), a_message(both, "m2")])
        rows = await store.claim(WORKER, NOW + SECOND, limit=2, level=LEVEL)
        assert [(row.execution, row.epoch) for row in rows] == [(both, 2), (due, 2)]

    @awaited
    async def test_who_is_registered_may_start_effects(self, place: Place) -> None:
        """It is under a lease, and its clock is not far from the store's."""
        store = await _with_worker(place)
        assert (store.leased(), store.lost()) == (True, False)
        assert abs(store.offset()) < SECOND

    # -- workers ------------------------------------------------------------------------------------------------------------
    @awaited
    async def test_a_worker_is_known_until_it_leaves(self, place: Place) -> None:
        """Registering makes it known and alive, again with new particulars too; leaving ends it; leaving twice does no harm."""
        store = await place.open()
        await store.register(WORKER, now=NOW, level=1)
        await store.register(WORKER, now=NOW + 1, level=2)
        (worker,) = await store.workers()
        assert (worker.worker, worker.started, worker.level, worker.alive) == (WORKER, NOW + 1, 2, True)
        await store.leave(WORKER)
        await store.leave(WORKER)
        assert await store.workers() == []

    @awaited
    async def test_what_a_worker_is_doing_is_for_people(self, place: Place) -> None:
        """Saying it disturbs nothing, for one that is not known either; who has said nothing has no load."""
        store = await _with_worker(place)
        assert [worker.load for worker in await store.workers()] == [None]
        load = Load(version="1.2.3", slots=8, running=3, queued=1, executions=5, lag=20_000)
        for worker in (WORKER, OTHER):
            await store.report(worker, load, now=NOW)
        assert [worker.worker for worker in await store.workers()] == [WORKER]
        assert {worker.load for worker in await store.workers()} <= {None, load}

    @awaited
    async def test_who_leaves_sets_free(self, place: Place) -> None:
        """What a leaving worker still had can be claimed by others at once, and tells of no former home: it was no crash."""
        store = await place.open()
        executions = await began(store, 2)
        await store.register(OTHER, now=NOW, level=LEVEL)
        await store.leave(WORKER)
        row = await store.row(executions[0])
        assert row is not None
        assert row.home == ""
        rows = await store.claim(OTHER, NOW, limit=9, level=LEVEL)
        assert {(row.execution, row.home) for row in rows} == {(executions[0], ""), (executions[1], "")}

    @awaited
    async def test_a_name_that_comes_again_sets_free_what_it_had(self, place: Place) -> None:
        """A worker that restarts under its old name does not have its executions in memory: it must claim them."""
        store = await place.open()
        (one,) = await began(store)
        place.die(store)
        store = await _with_worker(place, WORKER)
        assert await _claimed(store, WORKER) == [one]

    @awaited
    async def test_who_registers_again_keeps_what_it_has(self, place: Place) -> None:
        """A living worker that registers once more loses nothing."""
        store = await place.open()
        (one,) = await began(store)
        await store.register(WORKER, now=NOW, level=LEVEL)
        row = await store.row(one)
        assert row is not None
        assert row.home == WORKER

    @awaited
    async def test_only_the_registered_may_claim(self, place: Place) -> None:
        """A claim by a name that is not registered here raises and takes nothing: nobody would know when it died."""
        store = await _with_worker(place)
        await asleep(store, NOW)
        for worker in (OTHER, ""):
            error = await raised(StoreError, store.claim(worker, NOW, limit=9, level=LEVEL))
            assert "registered" in error.message
            assert error.remedy
        assert len(await _claimed(store, now=NOW)) == 1


async def _with_worker(place: Place, worker: str = WORKER) -> Store:
    store = await place.open()
    await store.register(worker, now=NOW, level=LEVEL)
    return store


async def _claimed(
    store: Store, worker: str = WORKER, *, now: int = NOW, limit: int = 9, only: list[ExecutionId] | None = None
) -> list[ExecutionId]:
    rows: list[Row] = await store.claim(worker, now, limit=limit, level=LEVEL, only=only)
    return [row.execution for row in rows]
