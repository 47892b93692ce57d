"""How a worker stops among others, and how many executions it takes over."""

from __future__ import annotations

import pytest

from perdure.engine import events
from perdure.ids import ExecutionId
from perdure.operations.definitions import Read
from perdure.runtime.claiming import FIRST, MOST, Pace
from perdure.testing.faults import Crash
from perdure.testing.world import Process, World, act, pass_time, workflow_of


def test_a_drain_lets_what_runs_end_and_others_go_on_with_the_rest_at_once() -> None:
    """The effect that is under way ends by itself; what only waits is let go at the beginning, and not at the end."""
    world = World(grace=30_000_000)
    workflow = world.read(workflow_of({"a": act(seconds=10, gives=1), "b": act("a", gives=2)}))
    waits = world.read(workflow_of({"ok": {"type": "wait_for_signal", "signal": "ok"}}))

    async def stops(process: Process) -> tuple[ExecutionId, ExecutionId]:
        runs, waiting = await process.start(workflow), await process.start(waits)
        await pass_time(1)
        begun = world.clock.now()
        await process.home.drain()
        assert 9_000_000 <= world.clock.now() - begun < 11_000_000
        await pass_time(1)
        assert not process.home.has(runs)
        assert not process.home.has(waiting)
        return runs, waiting

    runs, _ = world.live(stops)
    assert not world.ledger.stopped
    assert world.ledger.paths() == ["a"]
    outcome = world.live(lambda process: process.result(runs))
    assert outcome.output == 2
    assert world.ledger.paths() == ["a", "b"]


def test_what_does_not_end_within_its_grace_is_stopped_and_repeated_elsewhere() -> None:
    """The drain waits for so long and no longer; to the journal it is no crash."""
    world = World(grace=5_000_000)
    workflow = world.read(workflow_of({"a": act(seconds=600, gives="done", node={"crashes_max": 1})}))

    async def stops(process: Process) -> ExecutionId:
        execution = await process.start(workflow)
        await pass_time(1)
        begun = world.clock.now()
        await process.home.drain()
        assert world.clock.now() - begun == 5_000_000
        return execution

    execution = world.live(stops)
    assert [sent.path for sent in world.ledger.stopped] == ["a"]
    assert world.live(lambda process: process.result(execution)).output == "done"


PAY = {"delivery": "at_most_once"}


def test_rule_53_an_at_most_once_effect_that_a_draining_worker_never_began_is_begun_by_the_next_one() -> None:
    """What it follows from ends while the worker drains, so it is asked for and not begun: that is definite, and no crash."""
    world = World(grace=30_000_000)
    workflow = world.read(workflow_of({"a": act(seconds=10), "pay": act("a", node=PAY, gives="paid")}))
    execution = world.live(lambda process: drained(process, workflow))
    assert world.ledger.paths() == ["a"]
    assert world.live(lambda process: process.result(execution)).output == "paid"
    assert world.ledger.paths() == ["a", "pay"]


def test_rule_53_an_at_most_once_effect_that_waited_for_a_slot_is_begun_by_the_next_worker() -> None:
    """The worker that stops takes it out of its queue; the next one has a slot for it."""
    world = World(grace=30_000_000, slots=1)
    workflow = world.read(workflow_of({"a": act(seconds=10), "pay": act(node=PAY)}, output="${ nodes.pay }"))
    execution = world.live(lambda process: drained(process, workflow))
    assert world.live(lambda process: process.result(execution)).status == "succeeded"
    assert world.ledger.paths() == ["a", "pay"]


def test_rule_53_once_the_next_worker_may_have_begun_it_its_outcome_is_unknown() -> None:
    """That it was given back unbegun before says nothing of the worker that took it over and died."""
    world = World(grace=30_000_000)
    workflow = world.read(workflow_of({"a": act(seconds=10), "pay": act("a", seconds=10, node=PAY)}))
    execution = world.live(lambda process: drained(process, workflow))

    async def dies(process: Process) -> None:
        await pass_time(5)
        await process.kill()
        raise Crash

    with pytest.raises(Crash):
        world.live(dies)
    outcome = world.live(lambda process: process.result(execution))
    assert outcome.error is not None
    assert outcome.error["code"] == "effect.unknown"
    assert world.ledger.paths() == ["a", "pay"]


def test_rule_53_one_that_is_cancelled_before_anybody_began_it_is_certainly_not_sent() -> None:
    """The cancel is the first that the next worker hears of it: it did not happen, and nobody need look after it."""
    world = World(grace=30_000_000)
    workflow = world.read(workflow_of({"a": act(seconds=10), "pay": act("a", node=PAY)}))

    async def stops(process: Process) -> ExecutionId:
        execution = await drained(process, workflow)
        await process.executions.operate(execution, "cancel", by="somebody")
        return execution

    execution = world.live(stops)
    assert world.live(lambda process: process.result(execution)).status == "cancelled"
    facts = [fact for moment in world.show(execution).timeline for fact in moment.facts]
    assert [(fact.node, fact.unknown) for fact in facts if isinstance(fact, events.NodeCancelled)] == [("pay", False)]
    assert world.ledger.paths() == ["a"]


async def drained(process: Process, workflow: Read) -> ExecutionId:
    """Start it, and stop the worker a second later; what runs has the time to end."""
    execution = await process.start(workflow)
    await pass_time(1)
    await process.home.drain()
    await pass_time(1)  # what has ended just now is written
    assert not process.home.has(execution)
    return execution


def test_a_draining_worker_takes_nothing_over() -> None:
    """Not what was free before, and not what it lets go itself."""
    world = World(grace=60_000_000)
    workflow = world.read(workflow_of({"a": act(seconds=30)}))

    async def main() -> None:
        async with world.process(adopts=False, name="single") as single:
            await single.start(workflow)
            await pass_time(1)
        async with world.process(name="drains", inbox_poll=3_600_000_000) as drains:
            await drains.start(workflow)
            await pass_time(1)
            await drains.home.drain()
            await pass_time(1)  # what has ended just now is written
            await drains.home.poll()
            assert len(world.ledger.sent) == 2
            assert drains.home.load().executions == 0

    world.run(main)


def test_a_worker_takes_over_as_much_as_it_has_slots_for() -> None:
    """With three slots three of ten executions are taken; the others are left to whoever is free."""
    world = World(slots=3)
    workflow = world.read(workflow_of({"a": act(seconds=100)}))

    async def leaves(process: Process) -> None:
        for _ in range(10):
            await process.start(workflow)

    world.live(leaves)
    world.ledger.sent.clear()

    async def takes(process: Process) -> tuple[int, int]:
        await pass_time(50)
        first = process.home.load()
        await pass_time(1_000)
        return first.executions, len(world.ledger.finished)

    assert world.live(takes) == (3, 10)
    assert world.ledger.running_most == 3


def test_the_first_claim_is_small_and_those_after_it_grow_while_there_is_more() -> None:
    """Fifty, and twice as many each time up to five hundred; fewer where there is no room; fifty again when all is taken."""
    pace = Pace()
    sizes = []
    for _ in range(6):
        sizes.append(pace.next(10_000))
        pace.took(sizes[-1])
        assert pace.more
    assert sizes == [50, 100, 200, 400, 500, 500]
    assert (pace.next(0), pace.next(-3), pace.more) == (0, 0, True)
    assert pace.next(7) == 7
    pace.took(7)
    assert pace.more
    assert pace.next(10_000) == MOST
    pace.took(3)
    assert not pace.more
    assert pace.next(10_000) == FIRST
