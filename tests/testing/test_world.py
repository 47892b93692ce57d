"""The deterministic world: time that jumps, a loop that knows when nothing more can come, effects with a script."""

from __future__ import annotations

import asyncio

import pytest

from perdure.clock import MICROSECONDS
from perdure.testing.faults import Crash
from perdure.testing.world import BEGIN, JumpingClock, Process, Stuck, World, act, pass_time, workflow_of


def test_waiting_moves_the_clock_to_the_very_moment() -> None:
    """Sleepers wake in the order of their times, each at its own, and none of it takes any time."""
    world = World()
    woken: list[tuple[str, int]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await pass_time(seconds)
        woken.append((name, world.clock.now() - BEGIN))

    async def main() -> None:
        await asyncio.gather(sleeper("a", 86_400 / 2), sleeper("b", 0.000_001), sleeper("c", 1 / 3))

    world.run(main)
    assert woken == [("b", 1), ("c", 333_334), ("a", 43_200 * MICROSECONDS)]


def test_a_clock_is_never_before_the_moment_it_jumps_to() -> None:
    """Parts of a microsecond are rounded up, whole ones are not, whatever floats make of them."""
    clock = JumpingClock(0)
    for _ in range(10):
        clock.jump(0.1)
    assert clock.now() == MICROSECONDS
    clock.jump(0.000_000_2)
    assert clock.now() == MICROSECONDS + 1


def test_a_world_in_which_nothing_can_happen_is_stuck() -> None:
    """Waiting for what nobody will ever do is an error, not a hanging test; so is waiting beyond all limits."""

    async def never() -> None:
        await asyncio.Event().wait()

    async def ever() -> None:
        while True:
            await pass_time(60)

    with pytest.raises(Stuck, match="no timer is set"):
        World().run(never)
    with pytest.raises(Stuck, match="limit"):
        World().run(ever)


def test_what_was_meant_for_a_thread_is_done_here_and_its_errors_come_back() -> None:
    """The answer comes one turn later; an exception comes out where it was asked for."""

    async def main() -> list[object]:
        before = asyncio.get_running_loop().time()
        answers: list[object] = [await asyncio.to_thread(lambda: 42)]
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return [*answers, asyncio.get_running_loop().time() - before]

    assert World().run(main) == [42, 0.0]


def test_two_worlds_are_alike_in_every_id_and_moment() -> None:
    """The same story told twice: the same ids, the same effects at the same times, the same journal."""

    def story() -> tuple[object, ...]:
        world = World()
        document = workflow_of({"a": act(seconds=2, fails=["x.y"], node={"retry": {"attempts": 2}}), "b": act("a", gives=1)})
        outcome = world.live(lambda process: process.run(world.read(document), key="k"))
        shown = world.show(outcome.execution)
        return outcome, world.ledger.sent, [(moment.at, moment.facts) for moment in shown.timeline]

    assert story() == story()


def test_a_life_ends_where_it_is_told_to_and_the_next_finds_what_is_durable() -> None:
    """The first process dies after its first commit; nothing of what it still had in mind happens any more."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=2, gives=1)}))

    async def main(process: Process) -> object:
        return (await process.run(workflow, key="k")).output

    with pytest.raises(Crash):
        world.live(main, die=(1, "after"), only=("commit",))
    assert world.ledger.sent == []
    assert world.ledger.running == []
    assert len(world.rows()) == 1
    assert world.survive(main) == 1
    assert [sent.life for sent in world.ledger.sent] == [2]
