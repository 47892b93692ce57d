"""How a worker stops among others, and how many executions it takes over."""

from __future__ import annotations

from perdure.ids import ExecutionId
from perdure.runtime.claiming import FIRST, MOST, Pace
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
