"""When the store cannot: locked for a while, full, or refusing what one execution writes."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from scenarios import RETRY

from perdure.errors import PerdureError, StoreBusy, StoreFull
from perdure.ids import ExecutionId
from perdure.operations.verification import Verification
from perdure.runtime.hot import Outcome
from perdure.runtime.patience import BUSY_MAX
from perdure.store.contract import Batch, Committed, ExecutionsRefused, Store
from perdure.testing.world import Process, World, act, pass_time, workflow_of

WORK = workflow_of(
    {
        "a": act(seconds=2, gives=1, fails=["x.y", None], node={"retry": RETRY}),
        "b": act("a", bytes=2_000),
        "wait": {"type": "delay", "after": "b", "for": "30s"},
        "heavy": act("wait", bytes=300_000),
        "c": {"type": "transform", "after": "heavy", "to": "${ len(nodes.heavy) + len(nodes.b) }"},
        "d": act("c", gives="${ nodes.c }"),
    }
)


def busy() -> StoreBusy:
    return StoreBusy("Expected the lock, but another process kept it.")


def commits_of(document: dict[str, Any]) -> int:
    """How many commits a run takes."""
    world = World()

    async def main(process: Process) -> int:
        await process.run(world.read(document), key="k")
        return process.store.counts["commit"]

    return world.live(main)


@pytest.mark.parametrize("name", ["commit", "save_blobs", "claim"])
def test_a_store_that_is_locked_once_costs_time_and_nothing_else(name: str) -> None:
    """At each call in turn: nothing is lost, nothing is sent again, nobody hears of it."""
    calls = {"commit": commits_of(WORK), "save_blobs": 1, "claim": 4}[name]
    for call in range(1, calls + 1):
        world = World()
        workflow = world.read(WORK)

        async def main(process: Process, workflow: Any = workflow, call: int = call) -> Outcome:
            outcome = await process.run(workflow, key="k")
            assert process.store.counts[name] > call, "the refused call was made, and made again"
            return outcome

        outcome = world.live(main, only=(name,), refuse={call: busy()})
        assert outcome.output == 302_000
        assert max(Counter((sent.path, sent.attempt) for sent in world.ledger.sent).values()) == 1


def test_a_store_that_stays_locked_is_reported_and_the_next_process_goes_on() -> None:
    """After some whole busy timeouts whoever waits hears it; what was committed is gone on with later."""
    world = World()
    workflow = world.read(WORK)
    refuse = {call: busy() for call in range(3, 3 + BUSY_MAX + 1)}
    with pytest.raises(StoreBusy):
        world.live(lambda process: process.run(workflow, key="k"), only=("commit",), refuse=refuse)
    assert world.live(lambda process: process.run(workflow, key="k")).status == "succeeded"


def test_a_full_disk_is_heard_by_callers_and_after_room_is_made_all_goes_on() -> None:
    """At each commit in turn: the caller hears StoreFull at once, and the next process finishes what was begun."""
    for call in range(1, commits_of(WORK) + 1):
        world = World()
        workflow = world.read(WORK)
        with pytest.raises(StoreFull):
            world.live(
                lambda process, workflow=workflow: process.run(workflow, key="k"), only=("commit",),
                refuse={call: StoreFull("Expected room, but there is none.")},
            )  # fmt: skip
        assert world.ledger.running == []
        outcome = world.live(lambda process, workflow=workflow: process.run(workflow, key="k"))
        assert outcome.status == "succeeded"


def test_a_home_that_failed_takes_nothing_more_and_stops_what_runs() -> None:
    """Starts and looks are refused with the reason, and no effect outlives its home."""
    world = World()
    slow, quick = world.read(workflow_of({"a": act(seconds=1_000)})), world.read({**workflow_of({"a": act()}), "name": "quick"})

    async def main(process: Process) -> None:
        await process.start(slow)
        with pytest.raises(StoreFull):
            await process.run(quick)
        for asking in (process.run(quick), process.home.take()):
            with pytest.raises(StoreFull):
                await asking
        assert [sent.path for sent in world.ledger.running] == ["a"]

    async def life() -> list[str]:
        refuse = {2: StoreFull("Expected room, but there is none.")}
        async with world.process(only=("commit",), refuse=refuse) as process:
            await main(process)
        return [sent.path for sent in world.ledger.running]

    assert world.run(life) == []
    assert [stopped.path for stopped in world.ledger.stopped] == ["a"]


@pytest.mark.parametrize("call", range(2, 6))
def test_a_home_that_failed_writes_nothing_more_though_there_is_room_again(call: int) -> None:
    """What its executions do between a failed commit and its end leaves no gap in a journal: the next home does it again."""
    world = World()
    workflow = world.read(workflow_of({name: act(seconds=number, gives=number) for number, name in enumerate("abcd", 1)}))

    async def life() -> None:
        async with world.process(only=("commit",), refuse={call: StoreFull("Expected room, but there is none.")}) as process:
            with pytest.raises(StoreFull):
                await process.run(workflow, key="k")
            await pass_time(10)  # in which the other branches succeed
            assert len(process.store.calls) == call

    world.run(life)
    assert world.live(lambda process: process.run(workflow, key="k")).status == "succeeded"
    (row,) = world.rows()
    facts = 0
    for moment in world.show(row.execution).timeline:
        assert moment.first_seq == facts + 1
        facts += len(moment.facts)


def test_a_large_result_that_comes_while_a_turn_is_written_is_written_with_the_next() -> None:
    """Writing takes long where large values become files: what is handed in meanwhile is not in that commit."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=1), "b": act(seconds=2, bytes=2_000)}))

    async def main(process: Process) -> Outcome:
        commit = process.store.commit

        async def slow(batch: Batch) -> Committed:
            await pass_time(1.5)
            return await commit(batch)

        process.store.commit = slow  # type: ignore[method-assign]  # only this store is slow
        return await process.run(workflow)

    assert world.live(main).status == "succeeded"

    async def findings(store: Store) -> list[str]:
        return [finding.sentence async for finding in Verification(store).findings()]

    assert world.look(findings) == []


def test_rows_that_the_database_refuses_set_their_execution_aside_alone() -> None:
    """Of ten executions in one commit the poisoned one is set aside, its caller hears why; nine end as if nothing were."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=5), "b": act("a", gives="${ input }")}))

    async def main(process: Process) -> list[Outcome]:
        executions = [await process.start(workflow, number) for number in range(10)]
        await pass_time(1)
        poison(world, executions[4])
        heard = process.home.outcome(executions[4])
        others = [execution for execution in executions if execution != executions[4]]
        outcomes = await asyncio.gather(*(process.result(execution) for execution in others))
        with pytest.raises(PerdureError):
            await heard
        assert process.home.state(executions[4]) is None
        return list(outcomes)

    outcomes = world.live(main)
    assert [outcome.output for outcome in outcomes] == [0, 1, 2, 3, 5, 6, 7, 8, 9]


def poison(world: World, execution: ExecutionId) -> None:
    """A row of the journal that the execution's next step will collide with."""
    world.place.connection.execute(  # type: ignore[attr-defined]
        "INSERT INTO journal (execution, first_seq, count, at, level, tenant, body) "
        "SELECT execution, seq + 1, 1, 0, 1, tenant, x'80' FROM executions WHERE execution = ?",
        (execution,),
    )


def test_what_is_refused_of_an_execution_that_is_here_no_more_stops_no_other() -> None:
    """It was dropped while its turn was written; the home goes on with all that it has."""
    world = World()

    async def main(process: Process) -> Outcome:
        commit = process.store.commit

        async def refused(batch: Batch) -> Committed:
            process.store.commit = commit  # type: ignore[method-assign]  # only once
            raise ExecutionsRefused({ExecutionId(bytes(16)): "it is not here"}, await commit(batch))

        process.store.commit = refused  # type: ignore[method-assign]  # only this commit
        return await process.result(await process.start(world.read(workflow_of({"a": act(gives=1)}, output="${ nodes.a }"))))

    assert world.live(main).output == 1
