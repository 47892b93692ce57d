"""Who has an execution: fencing, letting go of what only waits, taking it back, and what one worker cannot do."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from perdure.engine import events
from perdure.errors import PerdureError
from perdure.expressions.times import format_time
from perdure.ids import ExecutionId
from perdure.runtime.claiming import MOST
from perdure.runtime.home import Home
from perdure.runtime.hot import Hot, Outcome
from perdure.store.contract import Store
from perdure.testing.world import ACT, Process, World, act, pass_time, workflow_of


def hot_ones() -> list[Hot]:
    """All executions in the memory of this process, whoever holds them."""
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, Hot)]


def facts(world: World, execution: ExecutionId, kind: type[Any]) -> list[Any]:
    """All facts of one kind, in order."""
    return [fact for moment in world.show(execution).timeline for fact in moment.facts if isinstance(fact, kind)]


# -- fencing ------------------------------------------------------------------------------------------------------------------


def test_a_home_that_lost_an_execution_writes_nothing_more_of_it() -> None:
    """A second home takes over while the first still runs: what the first reports is not written, and its work is stopped."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=10, gives=1), "b": act(seconds=100, gives=2), "c": act("a", gives=3)}))

    async def main() -> Outcome:
        async with world.process(adopts=False) as first:
            execution = await first.start(workflow)
            await pass_time(5)
            async with world.process(adopts=False) as second:
                assert await second.home.take([execution]) == [execution]
                await pass_time(6)
                assert first.home.state(execution) is None
                assert [(stopped.path, stopped.life) for stopped in world.ledger.stopped] == [("b", 1)]
                mine = await second.result(execution)
                assert await first.result(execution) == mine
            return mine

    outcome = world.run(main)
    assert outcome.output == {"b": 2, "c": 3}
    assert [(sent.path, sent.life) for sent in world.ledger.sent] == [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("c", 2)]
    recorded = [(fact.node, fact.attempt) for fact in facts(world, outcome.execution, events.Done)]
    assert sorted(recorded) == [("a", 1), ("b", 1), ("c", 1)]
    assert len(set(world.ledger.counts())) == 3


def test_rule_53_the_old_home_does_not_answer_for_an_effect_that_is_unknown_to_the_new_one() -> None:
    """An at-most-once effect in flight at the takeover is unknown; it is not sent again, and nobody records it twice."""
    world = World()
    node = {"delivery": "at_most_once", "on_unknown": "fail"}
    workflow = world.read(workflow_of({"pay": act(seconds=10, node=node)}))

    async def main() -> Outcome:
        async with world.process(adopts=False) as first:
            execution = await first.start(workflow)
            await pass_time(5)
            async with world.process(adopts=False) as second:
                await second.home.take([execution])
                outcome = await second.result(execution)
                await pass_time(60)
                return outcome

    outcome = world.run(main)
    assert outcome.error is not None
    assert outcome.error["code"] == "effect.unknown"
    assert len(world.ledger.sent) == 1


def test_rule_52_after_three_crashes_of_its_worker_a_node_fails() -> None:
    """A node that takes its worker with it each time is not tried a fourth time."""
    world = World()
    workflow = world.read(workflow_of({"poison": act(seconds=1_000)}))

    async def begins(process: Process) -> ExecutionId:
        await process.home.take()
        execution = await process.start(workflow, key="k")
        await pass_time(5)
        process.store.dead = True  # and so the process ends without a word
        return execution

    for _ in range(3):
        world.run(lambda: dying(world, begins))
    outcome = world.live(lambda process: process.run(workflow, key="k"))
    assert outcome.error is not None
    assert outcome.error["code"] == "worker.crashed"
    assert len(world.ledger.sent) == 3
    assert {sent.attempt for sent in world.ledger.sent} == {1}


async def dying(world: World, main: Any) -> Any:
    """A process that does this and is killed."""
    living = world.process()
    return await main(await living.__aenter__())


# -- letting go ---------------------------------------------------------------------------------------------------------------


def test_what_only_waits_leaves_memory_and_is_a_row_with_a_wake_time() -> None:
    """A hundred executions that wait for an hour hold no object of the home; each goes on when its time has come."""
    world = World(inbox_poll=60_000_000)
    workflow = world.read(workflow_of({"wait": {"type": "delay", "for": "1h"}, "then": act("wait", gives="${ input }")}))
    left_by_others = hot_ones()  # other tests run in this process too

    async def main(process: Process) -> list[Any]:
        executions = [await process.start(workflow, number) for number in range(100)]
        await pass_time(1)
        assert not [each for each in hot_ones() if not any(each is other for other in left_by_others)]
        for execution in executions:
            row = await process.store.row(execution)
            assert row is not None
            assert (row.home, row.wake) == ("", row.created + 3_600_000_000)
        return [(await process.result(execution)).output for execution in executions]

    assert world.live(main) == list(range(100))
    assert 0 <= world.ledger.sent[-1].at - world.ledger.sent[0].at < 1_000_000


def test_all_that_is_due_at_once_is_taken_at_once() -> None:
    """More than one look takes: whoever is through makes room for the next ones, without waiting for the next look."""
    world = World(inbox_poll="5s")
    count = 2 * MOST + 10
    moment = world.clock.now() + 600 * 1_000_000

    async def sleep(process: Process) -> None:
        workflow = process.world.read(workflow_of({"nap": {"type": "wait_until", "time": format_time(moment)}}))
        for _ in range(count):
            await process.start(workflow)
        await pass_time(1)

    world.live(sleep)
    assert all(row.wake == moment for row in world.rows())

    async def wake(process: Process) -> None:
        ends: list[int] = []
        process.home.observe(lambda execution, at, facts: ends.append(at))
        await pass_time(700)
        assert len(ends) == count
        assert max(ends) - moment < 5 * 1_000_000

    world.live(wake)


def test_a_short_wait_stays_in_memory() -> None:
    """What is due within `evict_after` is not worth the way to the disk and back."""
    world = World(evict_after=30_000_000)
    workflow = world.read(workflow_of({"wait": {"type": "delay", "for": "20s"}}))

    async def main(process: Process) -> list[str]:
        await process.result(await process.start(workflow))
        return process.store.calls

    assert "journal" not in world.live(main)[:-2]


def test_a_home_that_does_not_adopt_keeps_what_it_started() -> None:
    """A single run has nobody to wake its execution again, so it stays at home however long it waits."""
    world = World()
    workflow = world.read(workflow_of({"wait": {"type": "delay", "for": "1h"}}))

    async def main(process: Process) -> Outcome:
        execution = await process.start(workflow)
        await pass_time(60)
        assert process.home.state(execution) is not None
        return await process.result(execution)

    assert world.live(main, adopts=False).status == "succeeded"


def test_a_waiting_execution_is_woken_by_a_message() -> None:
    """It was let go with no wake time at all; a signal brings it back, and it is no crash."""
    world = World()
    workflow = world.read(workflow_of({"ok": {"type": "wait_for_signal", "signal": "ok"}, "then": act("ok", gives="woken")}))

    async def main(process: Process) -> Outcome:
        execution = await process.start(workflow)
        await pass_time(100)
        assert process.home.state(execution) is None
        await process.executions.signal(execution, "ok")
        return await process.result(execution)

    outcome = world.live(main)
    assert outcome.output == "woken"
    recovered = [
        given
        for moment in world.show(outcome.execution).timeline
        for given in moment.inputs
        if isinstance(given, events.Recovered)
    ]
    assert [given.crashed for given in recovered] == [False]


def test_the_home_of_a_killed_worker_is_known_as_a_crash_and_of_a_stopped_one_as_none() -> None:
    """A claim tells the new home whether the old one died or let go in good order."""
    for dies, crashed in ((True, True), (False, False)):
        world = World()
        workflow = world.read(workflow_of({"a": act(seconds=50)}))

        async def begins(process: Process, workflow: Any = workflow) -> ExecutionId:
            execution = await process.start(workflow, key="k")
            await pass_time(5)
            return execution

        execution = world.run(lambda world=world: dying(world, begins)) if dies else world.live(begins)
        world.live(lambda process, workflow=workflow: process.run(workflow, key="k"))
        assert {fact.crashed for fact in facts(world, execution, events.Lost)} == {crashed}


# -- what one worker cannot do ------------------------------------------------------------------------------------------------


def test_an_execution_whose_node_types_are_missing_here_is_let_go_and_others_go_on() -> None:
    """The worker without the node type gives it back and says so; a worker that has it finishes it."""
    world = World()
    needs = world.read(workflow_of({"a": act(seconds=5, gives="done")}))
    plain = world.read({"perdure": 1, "name": "plain", "nodes": {"ok": {"type": "wait_for_signal", "signal": "ok"}}})

    async def begins(process: Process) -> tuple[ExecutionId, ExecutionId]:
        return await process.start(needs), await process.start(plain)

    unable, able = world.live(begins)

    async def without(process: Process) -> Outcome:
        heard = process.home.outcome(unable)
        await process.home.take()
        with pytest.raises(PerdureError, match=ACT.name):
            await heard
        await process.executions.signal(able, "ok", "went on")
        outcome = await process.result(able)
        row = await process.store.row(unable)
        assert row is not None
        assert row.home == ""
        return outcome

    assert world.live(without, works={}).output == "went on"
    assert world.ledger.paths() == ["a"]
    assert world.live(with_take(unable)).output == "done"


def with_take(execution: ExecutionId) -> Any:
    """A process that takes this execution and waits for its end."""

    async def main(process: Process) -> Outcome:
        await process.home.take([execution])
        return await process.result(execution)

    return main


def test_what_a_worker_lacks_the_means_for_does_not_keep_it_busy() -> None:
    """A message waits for an execution that this worker cannot run: it is looked at now and then, not at every look."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=5), "ok": {"type": "wait_for_signal", "signal": "ok"}}))

    async def begins(process: Process) -> ExecutionId:
        return await process.start(workflow)

    execution = world.live(begins)

    async def without(process: Process) -> int:
        await process.executions.signal(execution, "ok")
        await pass_time(300)
        return process.store.counts["commit"]

    assert world.live(without, works={}) <= 10
    assert world.live(with_take(execution)).status == "succeeded"


def test_a_bug_in_the_engine_sets_one_execution_aside_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that raises harms only its own execution: its caller hears of it, what was committed stays, others end well."""
    from perdure.runtime import gathering as module

    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=5), "b": act("a", gives="${ input }")}))
    honest = module.step

    def broken(execution: Any, index: Any, inputs: Any, at: int, **given: Any) -> Any:
        if bytes(execution.input) == b"\xa3bad" and any(isinstance(each, events.Result) for each in inputs):
            raise ZeroDivisionError("a bug")
        return honest(execution, index, inputs, at, **given)

    async def main(process: Process) -> Outcome:
        bad, good = await process.start(workflow, "bad", key="bad"), await process.start(workflow, "good")
        with pytest.raises(ZeroDivisionError):
            await process.home.outcome(bad)
        return await process.result(good)

    monkeypatch.setattr(module, "step", broken)
    assert world.live(main).output == "good"
    monkeypatch.setattr(module, "step", honest)
    assert world.live(lambda process: process.run(workflow, "bad", key="bad")).output == "bad"


def test_a_damaged_journal_sets_one_execution_aside_and_no_other() -> None:
    """A row that cannot be read stops its execution, not the worker that finds it."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=50, gives="${ input }")}))

    async def begins(process: Process) -> tuple[ExecutionId, ExecutionId]:
        bad, good = await process.start(workflow, "bad"), await process.start(workflow, "good")
        await pass_time(5)
        return bad, good

    bad, good = world.live(begins)
    world.place.connection.execute("UPDATE journal SET body = x'c1' WHERE execution = ?", (bad,))  # type: ignore[attr-defined]

    async def goes_on(process: Process) -> Outcome:
        heard = process.home.outcome(bad)
        outcome = await process.result(good)
        assert isinstance(heard.exception(), Exception)
        return outcome

    assert world.live(goes_on).output == "good"


def test_closing_while_nothing_happened_leaves_nothing_behind() -> None:
    """A home that opens and closes is no worker any more."""
    world = World()

    async def main(process: Process) -> Home:
        assert [worker.alive for worker in await process.store.workers()] == [True]
        return process.home

    world.live(main)

    async def workers(store: Store) -> list[Any]:
        return await store.workers()

    assert world.look(workers) == []


def test_what_one_worker_lacks_the_means_for_is_found_by_another_that_has_them() -> None:
    """Side by side, and whoever was quicker: it is given back with a time at which it is looked at again."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=5, gives="done")}))

    async def begins(process: Process) -> ExecutionId:
        return await process.start(workflow)

    execution = world.live(begins)

    async def without(process: Process) -> None:
        await pass_time(2)
        row = await process.store.row(execution)
        assert row is not None
        assert row.wake is not None
        assert world.clock.now() < row.wake <= world.clock.now() + 2_000_000

    world.live(without, works={})
    assert world.live(lambda process: process.result(execution)).output == "done"
