"""A worker that stands still: it takes no step while others go on, and then all that became due, in order."""

from __future__ import annotations

import asyncio
from contextvars import copy_context

from perdure.testing.standstill import Standing, StandstillLoop, standing
from perdure.testing.world import World, pass_time


def test_nothing_of_a_worker_happens_while_it_stands_still() -> None:
    """Its tasks and timers wait, others go on; afterwards what became due meanwhile happens at once, in order."""
    world, of, seen = World(), Standing(), list[tuple[str, float]]()
    world.make_loop = StandstillLoop

    async def steps(name: str, *waits: float) -> None:
        for seconds in waits:
            await asyncio.sleep(seconds)
            seen.append((name, round(world.clock.monotonic(), 3)))

    async def main() -> None:
        context = copy_context()
        context.run(standing.set, of)
        loop = asyncio.get_running_loop()
        worker = loop.create_task(steps("worker", 1, 1, 5), context=context)
        timer = loop.call_later(3, seen.append, ("cancelled", 3.0), context=context)
        loop.call_later(2.5, seen.append, ("timer", 2.5), context=context)
        other = loop.create_task(steps("other", 1.5, 1.5, 4))
        await pass_time(1.2)
        of.still = True
        await pass_time(4)
        timer.cancel()  # by something that goes on: it is not made up for
        of.go_on()
        await asyncio.gather(worker, other)

    world.run(main)
    assert seen == [
        ("worker", 1.0), ("other", 1.5), ("other", 3.0), ("timer", 2.5), ("worker", 5.2), ("other", 7.0), ("worker", 10.2),
    ]  # fmt: skip


def test_what_stands_still_can_be_cancelled_and_hears_of_it_when_it_goes_on() -> None:
    """Like a process that is killed while it is stopped, but for its last words."""
    world, of = World(), Standing()
    world.make_loop = StandstillLoop

    async def main() -> bool:
        context = copy_context()
        context.run(standing.set, of)
        worker = asyncio.get_running_loop().create_task(asyncio.sleep(1), context=context)
        await pass_time(0.5)
        of.still = True
        await pass_time(5)
        worker.cancel()
        await pass_time(5)
        assert not worker.done()
        of.go_on()
        await asyncio.wait({worker})
        return worker.cancelled()

    assert world.run(main)
