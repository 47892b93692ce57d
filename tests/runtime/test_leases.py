"""Self-fencing: what a home does whose lease may have run out, and one that others have taken for dead."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from perdure.app import worker_name
from perdure.clock import ShiftedClock
from perdure.engine import events
from perdure.runtime.hot import Outcome
from perdure.store.contract import Store
from perdure.testing.faults import FaultyStore
from perdure.testing.world import JumpingClock, Process, World, act, pass_time, workflow_of


class LeasedStore(FaultyStore):
    """A store whose lease runs out, or is lost to others, when a test says so."""

    def __init__(self, store: Store, world: World) -> None:
        super().__init__(store, around=world.clock.standing, sleep=asyncio.sleep)
        self.holds = True
        self.is_lost = False
        self._worker = ""

    def leased(self) -> bool:
        return self.holds and not self.is_lost

    def lost(self) -> bool:
        return self.is_lost

    async def register(self, worker: str, *, now: int, level: int, labels: Mapping[str, str] | None = None) -> None:
        if self.is_lost:
            self.store._presence.let_go(self._worker)  # type: ignore[attr-defined]  # as its death does: it frees nothing
        await super().register(worker, now=now, level=level, labels=labels)
        self._worker, self.is_lost = worker, False


def leased(world: World) -> dict[str, Any]:
    """What makes a process of this world one with a lease."""
    return {"wraps": lambda opened: LeasedStore(opened, world)}


def lease_of(process: Process) -> LeasedStore:
    assert isinstance(process.store, LeasedStore)
    return process.store


def test_nothing_is_begun_while_the_lease_may_have_run_out() -> None:
    """What runs goes on and its result is recorded; what follows waits for the lease, which is no fault of its own."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=10, gives=1), "b": act("a", gives=2)}))

    async def main(process: Process) -> Outcome:
        execution = await process.start(workflow)
        await pass_time(5)
        lease_of(process).holds = False
        await pass_time(100)
        assert world.ledger.paths() == ["a"]
        state = process.home.state(execution)
        assert state is not None
        assert [each.node for _, each in state.instances() if each.final] == ["a"]
        lease_of(process).holds = True
        return await process.result(execution)

    outcome = world.live(main, **leased(world))
    assert outcome.output == 2
    assert world.ledger.sent[1].at - world.ledger.sent[0].at >= 105_000_000


def test_rule_53_an_at_most_once_effect_is_not_sent_without_a_lease() -> None:
    """It waits for the lease like any other; once it is sent, it is sent once."""
    world = World()
    workflow = world.read(workflow_of({"pay": act(node={"delivery": "at_most_once"}, gives="paid")}))

    async def main(process: Process) -> Outcome:
        lease_of(process).holds = False
        execution = await process.start(workflow)
        await pass_time(60)
        assert not world.ledger.sent
        lease_of(process).holds = True
        return await process.result(execution)

    assert world.live(main, **leased(world)).output == "paid"
    assert len(world.ledger.sent) == 1


def test_a_home_that_was_taken_for_dead_drops_what_it_had_and_takes_back_what_nobody_took() -> None:
    """Its attempts are stopped, and it goes on under another name; to its journal that is the crash of a worker."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=10, gives=1), "b": act("a", gives=2)}))

    async def main(process: Process) -> Outcome:
        execution = await process.start(workflow)
        await pass_time(5)
        before = process.home.worker
        lease_of(process).is_lost = True
        outcome = await process.result(execution)
        assert process.home.worker == f"{before}~2"
        assert [worker.worker for worker in await process.store.workers() if worker.alive] == [f"{before}~2"]
        return outcome

    outcome = world.live(main, adopts=False, **leased(world))
    assert outcome.output == 2
    assert world.ledger.paths() == ["a", "a", "b"]
    assert [sent.path for sent in world.ledger.stopped] == ["a"]
    facts = [fact for moment in world.show(outcome.execution).timeline for fact in moment.facts]
    assert [fact.crashed for fact in facts if isinstance(fact, events.Lost)] == [True]


def test_rule_53_an_at_most_once_effect_under_way_when_the_lease_is_lost_is_unknown() -> None:
    """It was sent by somebody whom the others took for dead: it is not sent again."""
    world = World()
    workflow = world.read(workflow_of({"pay": act(seconds=10, node={"delivery": "at_most_once"})}))

    async def main(process: Process) -> Outcome:
        execution = await process.start(workflow)
        await pass_time(5)
        lease_of(process).is_lost = True
        return await process.result(execution)

    outcome = world.live(main, **leased(world))
    assert outcome.error is not None
    assert outcome.error["code"] == "effect.unknown"
    assert len(world.ledger.sent) == 1


def test_times_are_judged_by_the_clock_of_the_store() -> None:
    """The offset is added to what this machine shows; what is measured is measured as before."""
    clock, ahead = JumpingClock(), [0]
    shifted = ShiftedClock(clock, lambda: ahead[0])
    assert (shifted.now(), shifted.monotonic()) == (clock.now(), clock.monotonic())
    ahead[0] = -5_000_000
    clock.jump(1)
    assert (shifted.now(), shifted.monotonic()) == (clock.now() - 5_000_000, clock.monotonic())


def test_a_worker_on_a_fast_clock_fires_no_timer_early() -> None:
    """Its machine is an hour ahead; the wait ends when the store's time has come."""
    world = World()
    workflow = world.read(workflow_of({"wait": {"type": "delay", "for": "10m"}}))
    fast = ShiftedClock(world.clock, lambda: 3_600_000_000)
    begun = world.clock.now()
    world.live(lambda process: process.run(workflow), clock=ShiftedClock(fast, lambda: -3_600_000_000))
    assert 600_000_000 <= world.clock.now() - begun <= 602_000_000


def test_no_two_workers_have_one_name() -> None:
    """A name that people give only begins it: a worker that comes again under its old name would be no crash of the first."""
    clock = JumpingClock()
    first = worker_name(clock, "blue")
    clock.jump(0.001)
    assert first.startswith("blue-")
    assert worker_name(clock, "blue") != first
