"""What tasks promise: posted with their turn, taken by one worker that has the labels, reported once, and never by two."""

from __future__ import annotations

import asyncio
from typing import Any

from perdure.errors import StoreBusy, StoreError
from perdure.store.contract import Batch, Committed, ExecutionsRefused, Store
from perdure.store.tasks import Held, Pool, Task, TaskStop
from perdure.testing.faults import Crash, FaultyStore
from perdure.testing.stores.place import Place, awaited, raised
from perdure.testing.stores.samples import (
    LEVEL,
    NOW,
    OTHER,
    SECOND,
    SUCCEEDED,
    WAITING,
    WORKER,
    a_name,
    a_report,
    a_task,
    a_turn,
    an_id,
    began,
)

GPU = {"gpu": "true", "region": "eu"}


class Tasks:
    """Promises of `tasks`, `task_stops` and `task_ends` in a batch, and of the methods for tasks."""

    @awaited
    async def test_rule_65_a_task_goes_to_a_worker_that_has_all_it_needs(self, place: Place) -> None:
        """A label may be lacking, or have another value: then the task waits; the worker may have more than is needed."""
        store = await place.open()
        (one,) = await posted(store, 1, needs="gpu=true,region=eu")
        await store.register(OTHER, now=NOW, level=LEVEL, labels=GPU)
        for lacking in ({}, {"gpu": "true"}, {"gpu": "true", "region": "us"}, {"pool": "gpu"}):
            assert await store.claim_tasks(OTHER, lacking, NOW, limit=9) == []
        (taken,) = await store.claim_tasks(OTHER, {**GPU, "disk": "fast"}, NOW, limit=9)
        assert (taken.execution, taken.path, taken.number, taken.body) == (one, "work", 4, b"run")
        assert await store.claim_tasks(OTHER, GPU, NOW, limit=9) == []
        assert await store.held_tasks(OTHER) == [Held(execution=one, path="work", number=4, stop="")]

    @awaited
    async def test_tasks_go_by_priority_then_by_age(self, place: Place) -> None:
        """No more than are asked for; of several pools as if they were one."""
        store = await place.open()
        (one,) = await began(store)
        tasks = [
            a_task(one, "late", at=NOW + 5), a_task(one, "early", at=NOW, needs="region=eu"),
            a_task(one, "first", priority=1, at=NOW + 9), a_task(one, "last", priority=5, at=NOW),
        ]  # fmt: skip
        await store.commit(Batch(turns=[a_turn(one, first_seq=3)], tasks=tasks))
        await store.register(OTHER, now=NOW, level=LEVEL, labels=GPU)
        assert [task.path for task in await store.claim_tasks(OTHER, GPU, NOW, limit=3)] == ["first", "early", "late"]
        assert [task.path for task in await store.claim_tasks(OTHER, GPU, NOW, limit=3)] == ["last"]
        assert await store.claim_tasks(OTHER, GPU, NOW, limit=0) == []

    @awaited
    async def test_one_task_is_taken_by_one_worker(self, place: Place) -> None:
        """Several workers ask at once, each from a store of its own: together they get all tasks, each once."""
        store = await place.open()
        (one,) = await began(store)
        tasks = [a_task(one, f"work[{number}]") for number in range(40)]
        await store.commit(Batch(turns=[a_turn(one, first_seq=3)], tasks=tasks))
        stores = [await place.open() for _ in range(4)]
        for number, each in enumerate(stores):
            await each.register(f"claimer-{number}", now=NOW, level=LEVEL, labels=GPU)

        async def claims(number: int) -> list[Task]:
            found: list[Task] = []
            while True:
                try:
                    more = await stores[number].claim_tasks(f"claimer-{number}", GPU, NOW, limit=3)
                except StoreBusy:
                    continue  # another has the lock
                if not more and not await stores[number].pools():
                    return found
                found += more

        taken = [task.path for found in await asyncio.gather(*map(claims, range(4))) for task in found]
        assert sorted(taken) == sorted(task.path for task in tasks)

    @awaited
    async def test_a_task_is_there_only_if_its_turn_is(self, place: Place) -> None:
        """A fenced execution posts, stops and ends nothing; the others of the batch do."""
        store = await place.open()
        lost, kept = await posted(store, 2)
        batch = Batch(
            turns=[a_turn(lost, epoch=7, first_seq=5), a_turn(kept, first_seq=5)],
            tasks=[a_task(lost, "more"), a_task(kept, "more")],
            task_ends=[a_name(lost), a_name(kept)],
        )
        assert await store.commit(batch) == Committed(fenced=frozenset({lost}))
        found = [(task.execution, task.path) for task in await store.tasks([lost, kept])]
        assert sorted(found) == sorted([(lost, "work"), (kept, "more")])
        stop = Batch(
            turns=[a_turn(lost, epoch=7, first_seq=5)], task_stops=[TaskStop(execution=lost, path="work", number=4, reason="x")]
        )
        await store.commit(stop)
        assert [task.stop for task in await store.tasks([lost])] == [""]

    @awaited
    async def test_a_death_takes_the_turn_and_its_tasks_or_neither(self, place: Place) -> None:
        """Dead before the commit: no turn, no task; dead after it: both."""
        store = await place.open()
        (one,) = await began(store)
        batch = Batch(turns=[a_turn(one, first_seq=3)], tasks=[a_task(one)])
        for moment, turns, tasks in (("before", 1, 0), ("after", 2, 1)):
            faulty = FaultyStore(store, die=(1, moment))  # type: ignore[arg-type]  # the loop's moments are literals
            try:
                await faulty.commit(batch)
            except Crash:
                place.die(store)
            store = await place.open()
            assert (len(await store.journal(one)), len(await store.tasks([one]))) == (turns, tasks)

    @awaited
    async def test_a_poisoned_task_refuses_its_execution_alone(self, place: Place) -> None:
        """A text that is no Unicode names the execution; the others' tasks are posted."""
        store = await place.open()
        poisoned, kept = await began(store, 2)
        batch = Batch(
            turns=[a_turn(poisoned, first_seq=3), a_turn(kept, first_seq=3)],
            tasks=[a_task(poisoned, "\ud800"), a_task(kept)],
        )
        refused = await raised(ExecutionsRefused, store.commit(batch))
        assert set(refused.refused) == {poisoned}
        assert [task.path for task in await store.tasks([poisoned, kept])] == ["work"]

    @awaited
    async def test_rule_65_a_report_takes_the_task_and_leaves_a_message(self, place: Place) -> None:
        """In one transaction, once; the message is for the execution's home, wherever that is, and rouses one that has none."""
        store = await place.open()
        one, asleep = await posted(store, 2)
        await store.commit(Batch(turns=[a_turn(asleep, first_seq=5, count=0, status=WAITING, release=True)]))
        await taken_by(store, OTHER)
        reports = [a_report(one), a_report(asleep)]
        assert await store.report_tasks(OTHER, reports) == [True, True]
        assert await store.tasks([one, asleep]) == []
        (arrived,) = await store.arrived(WORKER)
        message = arrived.message
        assert (message.execution, message.source, message.key, message.body) == (one, "task", "work@4", b"result")
        assert [row.execution for row in await store.claim(OTHER, NOW, limit=9, level=LEVEL)] == [asleep]
        assert await store.report_tasks(OTHER, reports) == [False, False]
        assert len(await store.inbox(one)) == 1
        assert await store.report_tasks(OTHER, []) == []

    @awaited
    async def test_rule_65_who_lost_a_task_reports_nothing(self, place: Place) -> None:
        """Another worker, or the same with an older number, or one whose task was ended: nothing is written."""
        store = await place.open()
        one, two, three = await posted(store, 3)
        await taken_by(store, OTHER)
        assert await store.report_tasks(WORKER, [a_report(one)]) == [False]
        await store.commit(
            Batch(
                turns=[a_turn(two, first_seq=5), a_turn(three, first_seq=5)], tasks=[a_task(two, number=6)],
                task_ends=[a_name(three)],
            )
        )  # fmt: skip
        assert await store.report_tasks(OTHER, [a_report(two), a_report(three), a_report(an_id())]) == [False] * 3
        assert await store.arrived(WORKER) == []
        assert [(task.number, task.worker) for task in await store.tasks([two])] == [(6, "")]

    @awaited
    async def test_a_lost_answer_to_a_report_is_asked_for_again(self, place: Place) -> None:
        """It was written though its answer was lost: the second report says that there is nothing more to do."""
        store = await place.open()
        (one,) = await posted(store)
        await taken_by(store, OTHER)
        faulty = FaultyStore(store, lose=[1])
        await raised(StoreBusy, faulty.report_tasks(OTHER, [a_report(one)]))
        assert await faulty.report_tasks(OTHER, [a_report(one)]) == [False]
        assert len(await store.inbox(one)) == 1

    @awaited
    async def test_a_task_of_what_is_gone_is_reported_to_nobody(self, place: Place) -> None:
        """Its execution was removed, and its tasks with it."""
        store = await place.open()
        (one,) = await posted(store)
        await taken_by(store, OTHER)
        await store.commit(Batch(turns=[a_turn(one, first_seq=5, status=SUCCEEDED)]))
        assert await store.remove([one]) == [one]
        assert await store.tasks([one]) == []
        assert await store.report_tasks(OTHER, [a_report(one)]) == [False]

    @awaited
    async def test_a_task_that_is_to_stop_before_it_began_is_begun_by_nobody(self, place: Place) -> None:
        """It is left for its home; one that is under way is its worker's, who sees that it shall stop."""
        store = await place.open()
        begun, not_begun = await began(store, 2)
        await store.commit(Batch(turns=[a_turn(begun, first_seq=3)], tasks=[a_task(begun)]))
        await taken_by(store, OTHER)
        await store.commit(Batch(turns=[a_turn(not_begun, first_seq=3)], tasks=[a_task(not_begun)]))
        stops = [
            TaskStop(execution=each, path="work", number=number, reason="cancelled")
            for each, number in ((begun, 4), (not_begun, 4), (begun, 3))
        ]
        await store.commit(Batch(turns=[a_turn(begun, first_seq=5), a_turn(not_begun, first_seq=5)], task_stops=stops))
        assert await store.claim_tasks(OTHER, GPU, NOW, limit=9) == []
        assert [(held.execution, held.stop) for held in await store.held_tasks(OTHER)] == [(begun, "cancelled")]
        for _ in range(2):
            left = await store.left_tasks([begun, not_begun], NOW)
            assert [(task.execution, task.left) for task in left] == [(not_begun, "stopped")]
        assert await store.report_tasks(OTHER, [a_report(begun)]) == [True]

    @awaited
    async def test_a_task_that_nobody_began_in_time_is_begun_by_nobody(self, place: Place) -> None:
        """From `until` on it is expired, whether a worker or its home looks first."""
        store = await place.open()
        (one,) = await posted(store, until=NOW + SECOND)
        await store.register(OTHER, now=NOW, level=LEVEL, labels=GPU)
        assert await store.left_tasks([one], NOW + SECOND - 1) == []
        assert await store.claim_tasks(OTHER, GPU, NOW + SECOND, limit=9) == []
        assert [task.left for task in await store.left_tasks([one], NOW + SECOND)] == ["expired"]
        assert await store.claim_tasks(OTHER, GPU, NOW, limit=9) == []

    @awaited
    async def test_rule_65_the_task_of_a_dead_worker_is_lost(self, place: Place) -> None:
        """Whoever asks is told so each time, nobody can report of it any more, and its repetition takes its place."""
        store = await place.open()
        one, two = await posted(store, 2)
        claimer = await place.open()
        await taken_by(claimer, OTHER, limit=1)
        assert await claimer.left_tasks([one, two], NOW) == []
        place.die(claimer)
        for _ in range(2):
            assert [(task.execution, task.number, task.left) for task in await store.left_tasks([one, two], NOW)] == [
                (one, 4, "lost")
            ]
        await store.register("worker-3", now=NOW, level=LEVEL, labels=GPU)
        assert [task.execution for task in await store.claim_tasks("worker-3", GPU, NOW, limit=9)] == [two]
        await store.commit(Batch(turns=[a_turn(one, first_seq=5)], tasks=[a_task(one, number=6)]))
        assert await store.left_tasks([one, two], NOW) == []
        assert [task.number for task in await store.claim_tasks("worker-3", GPU, NOW, limit=9)] == [6]
        assert await store.left_tasks([], NOW) == []

    @awaited
    async def test_the_tasks_of_a_worker_that_left_are_lost(self, place: Place) -> None:
        """Who leaves has given back or reported all; what it forgot is told to the home as if it had died."""
        store = await place.open()
        (one,) = await posted(store)
        await taken_by(store, OTHER)
        await store.leave(OTHER)
        assert [task.left for task in await store.left_tasks([one], NOW)] == ["lost"]

    @awaited
    async def test_a_task_that_is_given_back_is_for_anybody_when_it_is_due(self, place: Place) -> None:
        """By the worker that has it; what another has, or had before, it does not move."""
        store = await place.open()
        one, two = await posted(store, 2)
        await taken_by(store, OTHER)
        await store.return_tasks(WORKER, [a_name(one)], due=NOW)
        await store.return_tasks(OTHER, [a_name(two, number=3)], due=NOW)
        assert len(await store.held_tasks(OTHER)) == 2
        await store.return_tasks(OTHER, [a_name(one)], due=NOW + SECOND)
        assert [held.execution for held in await store.held_tasks(OTHER)] == [two]
        assert await store.claim_tasks(OTHER, GPU, NOW, limit=9) == []
        assert [task.execution for task in await store.claim_tasks(OTHER, GPU, NOW + SECOND, limit=9)] == [one]
        await store.return_tasks(OTHER, [], due=NOW)

    @awaited
    async def test_who_is_not_registered_takes_nothing(self, place: Place) -> None:
        """As with executions."""
        store = await place.open()
        await posted(store)
        await raised(StoreError, store.claim_tasks("stranger", GPU, NOW, limit=9))

    @awaited
    async def test_it_is_told_what_waits_for_whom(self, place: Place) -> None:
        """By what it needs, and since when; what is under way waits no more."""
        store = await place.open()
        (one,) = await began(store)
        tasks = [a_task(one, "a", at=NOW + 2), a_task(one, "b", at=NOW + 1), a_task(one, "c", needs="pool=far", at=NOW)]
        await store.commit(Batch(turns=[a_turn(one, first_seq=3)], tasks=tasks))
        assert await store.pools() == [
            Pool(needs="gpu=true", waiting=2, since=NOW + 1), Pool(needs="pool=far", waiting=1, since=NOW),
        ]  # fmt: skip
        await taken_by(store, OTHER)
        assert await store.pools() == [Pool(needs="pool=far", waiting=1, since=NOW)]

    @awaited
    async def test_what_workers_have_is_told(self, place: Place) -> None:
        """As they were registered; who is registered anew has what it says then."""
        store = await place.open()
        await store.register(OTHER, now=NOW, level=LEVEL, labels=GPU)
        await store.register(WORKER, now=NOW, level=LEVEL)
        assert {each.worker: dict(each.labels) for each in await store.workers()} == {OTHER: GPU, WORKER: {}}
        await store.register(OTHER, now=NOW, level=LEVEL, labels={"pool": "far"})
        assert {each.worker: dict(each.labels) for each in await store.workers()}[OTHER] == {"pool": "far"}

    @awaited
    async def test_looking_for_what_is_not_there_writes_nothing(self, place: Place) -> None:
        """Every worker looks all the time: no transaction, neither with no task at all nor with those of others."""
        store = await place.open()
        await store.register(OTHER, now=NOW, level=LEVEL, labels={"pool": "far"})
        (one,) = await posted(store)
        before = store.usage()
        assert await store.claim_tasks(OTHER, {"pool": "far"}, NOW, limit=9) == []
        assert await store.left_tasks([one], NOW) == []
        assert await store.held_tasks(OTHER) == []
        assert (store.usage().transactions, store.usage().rows) == (before.transactions, before.rows)

    @awaited
    async def test_an_unknown_execution_has_no_tasks(self, place: Place) -> None:
        """Nothing is found, and nothing complains."""
        store = await place.open()
        assert await store.tasks([an_id()]) == []
        assert await store.tasks([]) == []
        assert await store.pools() == []


async def posted(store: Store, count: int = 1, **changes: Any) -> list[Any]:
    """Executions (facts 1 to 4, epoch 1) at home with the first worker, each with one task at `work`."""
    executions = await began(store, count)
    turns = [a_turn(each, first_seq=3) for each in executions]
    await store.commit(Batch(turns=turns, tasks=[a_task(each, **changes) for each in executions]))
    return executions


async def taken_by(store: Store, worker: str, *, limit: int = 100) -> None:
    """A worker with a GPU takes what there is."""
    await store.register(worker, now=NOW, level=LEVEL, labels=GPU)
    await store.claim_tasks(worker, GPU, NOW, limit=limit)
