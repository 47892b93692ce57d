"""Commits whose answer was lost: whether they were written or not, everything happens once, and goes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from scenarios import CONTAINERS, SCENARIOS, Scenario
from test_crash_matrix import check_journal, drive, fingerprint, look, undisturbed

from perdure.errors import StoreBusy, StoreDamaged
from perdure.ids import ExecutionId
from perdure.runtime.hot import Outcome
from perdure.store.contract import Batch, JournalRow
from perdure.testing.world import Process, World, act, pass_time, workflow_of

BUSY = StoreBusy("Expected an answer, but there is none.")


@pytest.mark.parametrize("scenario", [*SCENARIOS, *CONTAINERS], ids=lambda scenario: scenario.name)
def test_an_answer_that_is_lost_changes_nothing(scenario: Scenario) -> None:
    """Each commit in turn is written and raises all the same: no effect is sent again, and the end is the same."""
    expected, points = undisturbed(scenario)
    for call in (point.call for point in points if point.name == "commit" and point.moment == "before"):
        world = World(**scenario.settings)
        outcome = drive(world, scenario, [], lose={call})
        seen = look(world)
        check_journal(world, seen)
        assert fingerprint(outcome, seen) == expected, f"{scenario.name} loses the answer to call {call}"
        sent = Counter((sent.key, sent.attempt) for sent in world.ledger.sent)
        assert all(count == 1 for count in sent.values()), f"sent twice when the answer to call {call} is lost"


@pytest.mark.parametrize("scenario", SCENARIOS[:4], ids=lambda scenario: scenario.name)
def test_a_commit_that_was_not_written_is_made_again(scenario: Scenario) -> None:
    """Each commit in turn raises and was not written: the same end, and no effect is sent again either."""
    expected, points = undisturbed(scenario)
    for call in (point.call for point in points if point.name == "commit" and point.moment == "before"):
        world = World(**scenario.settings)
        outcome = drive(world, scenario, [], refuse={call: BUSY})
        seen = look(world)
        check_journal(world, seen)
        assert fingerprint(outcome, seen) == expected, f"{scenario.name} is refused at call {call}"


def test_a_message_is_taken_in_once_when_the_answer_is_lost_over_it() -> None:
    """A signal that a step takes in without a fact, or with some, is gone with the commit: it is not stepped again."""
    world = World()
    nodes = {
        "one": {"type": "wait_for_signal", "signal": "s"},
        "two": {"type": "wait_for_signal", "signal": "s", "after": "one"},
    }
    workflow = world.read(workflow_of(nodes, output="${ [nodes.one, nodes.two] }"))

    async def main(process: Process) -> Outcome:
        execution = await process.start(workflow)
        await pass_time(2)
        commit = process.store.commit

        async def written_without_an_answer(batch: Batch) -> Any:
            process.store.commit = commit  # type: ignore[method-assign]  # only one answer is lost
            await commit(batch)
            raise BUSY

        process.store.commit = written_without_an_answer  # type: ignore[method-assign]  # as above
        await process.executions.signal(execution, "s", 1, id="first")
        await pass_time(5)
        await process.executions.signal(execution, "s", 2, id="second")
        return await process.result(execution)

    assert world.live(main).output == [1, 2]


def test_an_execution_that_was_claimed_meanwhile_is_left_to_its_new_home() -> None:
    """The answer to a commit is lost, and another home takes over before it is asked about: the first writes nothing more."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=5, gives=1), "b": act("a", seconds=5, gives=2)}))

    async def main() -> Outcome:
        async with world.process(adopts=False) as first, world.process(adopts=False) as second:
            execution = await first.start(workflow)
            commit = first.store.commit

            async def taken_over(batch: Batch) -> Any:
                first.store.commit = commit  # type: ignore[method-assign]  # only once
                assert await second.home.take([execution]) == [execution]
                raise BUSY

            first.store.commit = taken_over  # type: ignore[method-assign]  # as above
            outcome = await second.result(execution)
            assert first.home.state(execution) is None
            return outcome

    assert world.run(main).output == 2
    (row,) = world.rows()
    assert row.epoch == 2


def test_a_start_is_answered_though_others_took_its_execution_over_before_it_was_asked_about() -> None:
    """Its commit is written and the answer lost: who has the execution now cannot have it without that."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=5, gives=1)}))

    async def main() -> Outcome:
        async with world.process(adopts=False) as first, world.process(adopts=False) as second:
            commit = first.store.commit

            async def taken_over(batch: Batch) -> Any:
                first.store.commit = commit  # type: ignore[method-assign]  # only once
                await commit(batch)
                assert await second.home.take([batch.starts[0].execution])
                raise BUSY

            first.store.commit = taken_over  # type: ignore[method-assign]  # as above
            first.store.store._presence.let_go(first.home.worker)  # type: ignore[attr-defined]  # the others see it dead
            async with asyncio.timeout(60):
                execution = await first.start(workflow)
            return await second.result(execution)

    assert world.run(main).output == 1


def test_a_home_that_does_not_know_where_its_execution_stands_folds_it_again() -> None:
    """A turn that is fenced though nobody else has the execution: it is read from the disk, and goes on."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=5, gives=1), "b": act("a", seconds=5, gives=2)}))

    async def main(process: Process) -> Outcome:
        execution = await process.start(workflow)
        await pass_time(1)
        state = process.home.state(execution)
        assert state is not None
        state.seq += 1  # a fault of ours, whichever: memory and disk do not agree
        return await process.result(execution)

    assert world.live(main).output == 2


def test_a_journal_that_does_not_end_where_its_row_says_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever were stepped from there would be fenced: it is read once, set aside with the reason, and written no more."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=5, gives=1), "b": act("a", seconds=5, gives=2)}))

    async def begins(process: Process) -> ExecutionId:
        execution = await process.start(workflow)
        await pass_time(1)
        return execution

    execution = world.live(begins)

    async def takes_over(process: Process) -> int:
        whole = process.store.journal

        async def shortened(wanted: ExecutionId, **given: Any) -> list[JournalRow]:
            return (await whole(wanted, **given))[:-1]

        monkeypatch.setattr(process.store, "journal", shortened)
        waiting = process.home.outcome(execution)
        await process.home.take([execution])
        with pytest.raises(StoreDamaged, match="to end at fact"):
            await waiting
        await pass_time(60)
        return process.store.counts["commit"]

    assert world.live(takes_over) == 0
