"""Self-fencing: what a home does whose lease may have run out, and one that others have taken for dead."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from perdure.app import worker_name
from perdure.clock import ShiftedClock
from perdure.engine import events
from perdure.ids import ExecutionId, id_text
from perdure.runtime.hot import Outcome
from perdure.store.contract import Batch, Committed, Store
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


@pytest.mark.parametrize("limits, status", [({}, "succeeded"), ({"queue_timeout": "15s"}, "failed")])
def test_a_lease_that_runs_out_while_an_effect_is_on_its_way_is_noticed_before_it_begins(
    limits: dict[str, str], status: str
) -> None:
    """It was let through, and the worker stood still: it waits in front of all others, and only the limit for that runs."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=8, gives=1, node={"timeout": "10s", **limits})}))

    async def main(process: Process) -> Outcome:
        store, answers = lease_of(process), iter([True])
        store.holds = False
        store.leased = lambda: next(answers, store.holds)  # type: ignore[method-assign]  # it held when the effect was let through
        execution = await process.start(workflow)
        await pass_time(5)
        assert (process.home.load().running, process.home.load().queued) == (0, 1)
        await pass_time(20)
        assert not world.ledger.sent
        store.holds = True
        return await process.result(execution)

    assert world.live(main, **leased(world)).status == status
    assert len(world.ledger.sent) == (status == "succeeded")


def test_a_start_is_answered_though_its_execution_was_taken_back_before_its_commit_was() -> None:
    """The commit is written and its answer late: meanwhile the worker is taken for dead, lives again and finds it free."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=10, gives=1)}))

    async def main(process: Process) -> Outcome:
        commit = process.store.commit

        async def answered_late(batch: Batch) -> Any:
            process.store.commit = commit  # type: ignore[method-assign]  # only the first one
            committed = await commit(batch)
            lease_of(process).is_lost = True
            await pass_time(5)
            return committed

        process.store.commit = answered_late  # type: ignore[method-assign]  # as above
        async with asyncio.timeout(60):
            execution = await process.start(workflow)
        return await process.result(execution)

    assert world.live(main, **leased(world)).output == 1
    assert world.rows()[0].epoch > 1


@pytest.mark.parametrize("late", ["commit", "claim"])
def test_what_a_home_wrote_or_claimed_before_it_was_taken_for_dead_begins_nothing_when_the_answer_comes(late: str) -> None:
    """It lives again and is leased by then, but the execution is that of the dead, and another worker runs it."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=10, gives=1)}))

    async def leaves(process: Process) -> ExecutionId:
        return await process.start(workflow)

    async def main(begun: ExecutionId | None) -> Outcome:
        async with world.process(adopts=False, **leased(world)) as first, world.process(adopts=False) as second:
            first.store.store._presence.hold(second.home.worker)  # type: ignore[attr-defined]  # it sees that the other lives
            call = getattr(first.store, late)

            async def answered_late(*given: Any, **more: Any) -> Any:
                setattr(first.store, late, call)  # only once
                answer = await call(*given, **more)
                lease_of(first).is_lost = True
                (row,) = await second.store.rows()
                assert await second.home.take([row.execution])
                await pass_time(5)
                assert first.home.worker.endswith("~2")
                return answer

            setattr(first.store, late, answered_late)
            if begun is not None:
                execution = begun
                await first.home.take([execution])
            else:
                execution = await first.start(workflow)
            outcome = await second.result(execution)
            assert not first.home.has(execution)
            return outcome

    begun = world.live(leaves) if late == "claim" else None
    lives = world.lives
    assert world.run(lambda: main(begun)).output == 1
    assert [sent.life for sent in world.ledger.sent if sent.life > lives] == [lives + 2]


def test_what_was_stepped_before_a_home_was_taken_for_dead_and_written_after_it_begins_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beside a commit that took long: its row names the dead one, so others may have it before the answer comes."""
    monkeypatch.setattr(LeasedStore, "commits_apart", True, raising=False)
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=10, gives=1)}))

    async def main() -> list[Outcome]:
        async with world.process(adopts=False, **leased(world)) as first, world.process(adopts=False) as second:
            first.store.store._presence.hold(second.home.worker)  # type: ignore[attr-defined]  # it sees that the other lives
            await first.start(workflow)  # goes on while others are written
            commit = first.store.commit
            starting: list[asyncio.Task[ExecutionId]] = []

            async def commit_late(batch: Batch) -> Committed:
                committed = await commit(batch)
                if not starting:
                    starting.append(asyncio.create_task(first.start(workflow)))
                    await pass_time(1)
                    lease_of(first).is_lost = True
                    await pass_time(5)
                    assert first.home.worker.endswith("~2")
                elif any(start.execution for start in batch.starts):
                    assert [start.home for start in batch.starts] == [first.home.worker.removesuffix("~2")]
                    await second.home.take([start.execution for start in batch.starts])
                return committed

            first.store.commit = commit_late  # type: ignore[method-assign]  # this one takes long
            one = await first.start(workflow)
            other = await starting[0]
            assert not first.home.has(other)
            return [await second.result(other), await (first if first.home.has(one) else second).result(one)]

    outcomes = world.run(main)
    assert [outcome.output for outcome in outcomes] == [1, 1]
    assert [sent.life for sent in world.ledger.sent if sent.execution == id_text(outcomes[0].execution)] == [2]


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
