"""Nodes that ask for a worker with labels: where they run, what becomes of them when somebody dies, that each counts once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perdure.engine import events
from perdure.errors import StoreBusy
from perdure.ids import ExecutionId
from perdure.runtime.hot import Outcome
from perdure.store.contract import Store
from perdure.store.tasks import Task
from perdure.testing.faults import Crash, CrashPoint
from perdure.testing.stores.sqlite import FilePlace
from perdure.testing.world import BEGIN, Process, World, act, pass_time, workflow_of

GPU = {"runs_on": {"gpu": True}}
LABELS = {"gpu": "true", "disk": "fast"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world whose processes share a file."""
    return World(place=FilePlace(tmp_path))


def facts(world: World, execution: ExecutionId, kind: type[Any]) -> list[Any]:
    """All facts of one kind, in order."""
    return [fact for moment in world.show(execution).timeline for fact in moment.facts if isinstance(fact, kind)]


def tasks_of(world: World, *executions: ExecutionId) -> list[Task]:
    async def look(store: Store) -> list[Task]:
        return await store.tasks(executions)

    return world.look(look)


def lives(world: World) -> list[tuple[str, int]]:
    """Which process sent which effect."""
    return [(sent.path, sent.life) for sent in world.ledger.sent]


def with_gpu(world: World, nodes: dict[str, Any], main: Callable[[Process, Process, ExecutionId], Any], **given: Any) -> Any:
    """Start a workflow of these nodes at a home, the first process, beside a worker with a GPU, the second."""
    workflow = world.read(workflow_of(nodes))

    async def both() -> Any:
        async with world.process(adopts=False, **given) as home, world.process(labels=LABELS) as worker:
            return await main(home, worker, await home.start(workflow))

    return world.run(both)


async def to_its_end(home: Process, worker: Process, execution: ExecutionId) -> Outcome:
    return await home.result(execution)


# -- where it runs -------------------------------------------------------------------------------------------------------------


def test_rule_65_a_node_runs_on_a_worker_with_its_labels(world: World) -> None:
    """The nodes around it run at home; its parameters, key and attempt are those of the home, its output goes on there."""
    nodes = {
        "before": act(seconds=1, gives={"n": 20}),
        "train": act("before", node=GPU, seconds=5, gives="${ nodes.before.n + 1 }"),
        "after": act("train", gives="${ nodes.train * 2 }"),
    }
    outcome = with_gpu(world, nodes, to_its_end)
    assert outcome.output == 42
    assert lives(world) == [("before", 1), ("train", 2), ("after", 1)]
    assert len(set(world.ledger.counts())) == 3
    assert tasks_of(world, outcome.execution) == []


def test_rule_65_a_home_with_the_labels_leaves_it_to_nobody(world: World) -> None:
    """It runs in place, and there never is a row."""
    workflow = world.read(workflow_of({"train": act(node=GPU, gives=1)}))

    async def main(process: Process) -> Outcome:
        outcome = await process.run(workflow)
        assert not {"claim_tasks", "left_tasks", "tasks"} & set(process.store.calls[: process.store.calls.index("commit") + 2])
        return outcome

    assert world.live(main, labels=LABELS, adopts=False).output == 1
    assert lives(world) == [("train", 1)]


def test_a_pool_is_a_label(world: World) -> None:
    """`runs_on: batch` asks for `pool=batch`."""
    workflow = world.read(workflow_of({"a": act(node={"runs_on": "batch"}, gives=1)}))

    async def both() -> Outcome:
        async with world.process(adopts=False) as home, world.process(labels="pool=other"), world.process(labels="pool=batch"):
            return await home.result(await home.start(workflow))

    assert world.run(both).output == 1
    assert lives(world) == [("a", 3)]


def test_without_such_a_worker_it_waits_and_one_that_comes_begins(world: World) -> None:
    """Nothing fails, nothing runs; minutes later it goes on at once."""
    workflow = world.read(workflow_of({"a": act(node=GPU, gives=1)}))

    async def main(home: Process) -> Outcome:
        execution = await home.start(workflow)
        async with world.process(labels={"gpu": "false"}):
            await pass_time(600)
        assert world.ledger.sent == []
        async with world.process(labels=LABELS):
            return await home.result(execution)

    assert world.live(main, adopts=False).output == 1
    assert lives(world) == [("a", 3)]


def test_workers_take_no_more_than_they_have_slots_for(world: World) -> None:
    """A wide fan-out is shared out among two workers by their free slots; each runs no more at a time than it has."""
    body = {"nodes": {"work": act(node=GPU, seconds=10, gives="${ item }")}}
    workflow = world.read(workflow_of({"each": {"type": "loop", "over": list(range(12)), "concurrency": 12, "body": body}}))

    async def both() -> Outcome:
        async with (
            world.process(adopts=False) as home,
            world.process(labels=LABELS, slots=4) as large,
            world.process(labels=LABELS, slots=2) as small,
        ):
            execution = await home.start(workflow)
            await pass_time(9)
            assert (large.home.load().running, large.home.load().queued) == (4, 0)
            assert (small.home.load().running, small.home.load().queued) == (2, 0)
            return await home.result(execution)

    outcome = world.run(both)
    assert outcome.output["results"] == list(range(12))
    assert sorted(life for _, life in lives(world)) == [2] * 8 + [3] * 4


def test_large_values_go_both_ways(world: World) -> None:
    """Parameters and outputs that stand in the blob store are found by the worker and by the home."""
    nodes = {
        "make": act(bytes=50_000),
        "work": act("make", node=GPU, gives="${ nodes.make }"),
        "back": act("work", gives="${ len(nodes.work) }"),
    }
    assert with_gpu(world, nodes, to_its_end).output == 50_000


# -- how it ends ---------------------------------------------------------------------------------------------------------------


def test_a_failure_comes_home_and_a_retry_is_a_new_task(world: World) -> None:
    """The attempt that failed elsewhere is retried by the node's policy, with the same key and the next number."""
    nodes = {"a": act(node={**GPU, "retry": {"attempts": 3, "initial": "1s"}}, fails=["x.y", "x.y", None], gives=1)}
    assert with_gpu(world, nodes, to_its_end).output == 1
    assert [(sent.attempt, sent.life) for sent in world.ledger.sent] == [(1, 2), (2, 2), (3, 2)]
    assert len(world.ledger.counts()) == 1


def test_a_timeout_is_policed_where_the_attempt_runs(world: World) -> None:
    """It is reported when the work is gone, like at home."""
    outcome = with_gpu(world, {"a": act(node={**GPU, "timeout": "5s"}, seconds=100, leaves=2)}, to_its_end)
    assert outcome.error["code"] == "timeout"
    assert [(stopped.path, stopped.life) for stopped in world.ledger.stopped] == [("a", 2)]


def test_rule_43_a_deadline_stops_what_runs_elsewhere(world: World) -> None:
    """The home's deadline passes: the worker is asked to stop, and the node fails when it has."""
    outcome = with_gpu(world, {"a": act(node={**GPU, "deadline": "5s"}, seconds=100, leaves=2)}, to_its_end)
    assert outcome.error["code"] == "timeout.deadline"
    assert [stopped.life for stopped in world.ledger.stopped] == [2]
    assert tasks_of(world, outcome.execution) == []


def test_rule_43_what_nobody_begins_in_time_fails_by_its_queue_timeout(world: World) -> None:
    """No worker has the labels: the time in the queue is over, and nothing was sent, so a retry may follow."""
    workflow = world.read(workflow_of({"a": act(node={**GPU, "queue_timeout": "30s"}, gives=1)}))

    async def main(home: Process) -> Outcome:
        begun = world.clock.now()
        outcome = await home.run(workflow)
        assert 30 <= (world.clock.now() - begun) / 1_000_000 < 33
        return outcome

    outcome = world.live(main, adopts=False)
    assert outcome.error is not None
    assert outcome.error["code"] == "timeout.queue"
    assert "gpu=true" in outcome.error["title"]
    assert (world.ledger.sent, tasks_of(world, outcome.execution)) == ([], [])


def test_a_cancel_stops_what_runs_elsewhere(world: World) -> None:
    """The worker is asked to stop, and the execution ends when it has; the task goes with the turn."""

    async def cancels(home: Process, worker: Process, execution: ExecutionId) -> Outcome:
        await pass_time(5)
        await home.executions.operate(execution, "cancel", by="ann")
        return await home.result(execution)

    outcome = with_gpu(world, {"a": act(node=GPU, seconds=1_000)}, cancels)
    assert outcome.status == "cancelled"
    assert [(stopped.path, stopped.life) for stopped in world.ledger.stopped] == [("a", 2)]
    assert tasks_of(world, outcome.execution) == []


def test_a_cancel_takes_back_what_nobody_has_begun(world: World) -> None:
    """It never runs, also when a worker comes later."""
    workflow = world.read(workflow_of({"a": act(node=GPU)}))

    async def main(home: Process) -> Outcome:
        execution = await home.start(workflow)
        await pass_time(5)
        await home.executions.operate(execution, "cancel", by="ann")
        outcome = await home.result(execution)
        async with world.process(labels=LABELS):
            await pass_time(60)
        return outcome

    outcome = world.live(main, adopts=False)
    assert (outcome.status, world.ledger.sent) == ("cancelled", [])
    assert tasks_of(world, outcome.execution) == []


def test_a_terminate_waits_for_nobody_and_the_worker_stops(world: World) -> None:
    """The task is gone with the end of the execution; its worker finds that out and stops, and its report goes nowhere."""

    async def terminates(home: Process, worker: Process, execution: ExecutionId) -> Outcome:
        await pass_time(5)
        await home.executions.operate(execution, "terminate", by="ann")
        outcome = await home.result(execution)
        assert await home.store.tasks([execution]) == []
        await pass_time(5)
        assert worker.home.load().running == 0
        return outcome

    assert with_gpu(world, {"a": act(node=GPU, seconds=1_000)}, terminates).status == "cancelled"
    assert [stopped.life for stopped in world.ledger.stopped] == [2]


def test_a_loser_that_runs_elsewhere_is_stopped(world: World) -> None:
    """The first of two branches fires the join; the other one's worker is told."""
    nodes = {
        "fast": act(seconds=5, gives=1), "slow": act(node=GPU, seconds=1_000),
        "first": {"type": "join", "after": ["fast", "slow"], "need": "any"},
    }  # fmt: skip
    assert with_gpu(world, nodes, to_its_end).status == "succeeded"
    assert [(stopped.path, stopped.life) for stopped in world.ledger.stopped] == [("slow", 2)]


def test_a_deferred_node_answers_later(world: World) -> None:
    """The worker's slot is free, its task gone; whoever has the token answers to the home."""

    async def answers(home: Process, worker: Process, execution: ExecutionId) -> Outcome:
        await pass_time(5)
        assert await home.store.tasks([execution]) == []
        await home.executions.complete(world.ledger.tokens["a"], output="late")
        return await home.result(execution)

    assert with_gpu(world, {"a": act(node=GPU, defers=True)}, answers).output == "late"


# -- who dies ------------------------------------------------------------------------------------------------------------------


def dying_workers(world: World, workflow: Any, count: int, *, then: Any = None) -> Outcome:
    """A home, and one worker after another that dies while it carries the task out; `then` one that lives."""

    async def main(home: Process) -> Outcome:
        execution = await home.start(workflow)
        for _ in range(count):
            doomed = world.process(labels=LABELS)
            process = await doomed.__aenter__()
            await pass_time(5)
            await process.kill()
            world.place.die(process.store.store)
            await pass_time(5)
        if then is None:
            return await home.result(execution)
        async with world.process(labels=LABELS):
            return await home.result(execution)

    return world.live(main, adopts=False)


def test_rule_65_a_worker_that_dies_loses_its_task_and_another_repeats_it(world: World) -> None:
    """It counts as a crash of the attempt and as no attempt: same key, same number, another worker."""
    workflow = world.read(workflow_of({"a": act(node=GPU, seconds=100, gives=1)}))
    outcome = dying_workers(world, workflow, 2, then=True)
    assert outcome.output == 1
    assert [(sent.attempt, sent.life) for sent in world.ledger.sent] == [(1, 2), (1, 3), (1, 4)]
    assert len(world.ledger.counts()) == 1
    assert [fact.crashed for fact in facts(world, outcome.execution, events.Lost)] == [True, True]


def test_rule_52_a_node_that_kills_three_workers_fails(world: World) -> None:
    """It takes no fourth one with it."""
    outcome = dying_workers(world, world.read(workflow_of({"a": act(node=GPU, seconds=1_000)})), 3)
    assert outcome.error is not None
    assert outcome.error["code"] == "worker.crashed"
    assert len(world.ledger.sent) == 3
    assert tasks_of(world, outcome.execution) == []


def test_rule_53_an_at_most_once_effect_is_unknown_when_its_worker_dies(world: World) -> None:
    """It is not sent again, whoever lives."""
    node = {**GPU, "delivery": "at_most_once"}
    outcome = dying_workers(world, world.read(workflow_of({"a": act(node=node, seconds=1_000)})), 1, then=True)
    assert outcome.error is not None
    assert outcome.error["code"] == "effect.unknown"
    assert len(world.ledger.sent) == 1


def test_rule_65_a_home_that_dies_loses_nothing_that_runs_elsewhere(world: World) -> None:
    """The task goes on, also under `at_most_once`; its report is there for whoever takes the execution over."""
    node = {**GPU, "delivery": "at_most_once"}
    workflow = world.read(workflow_of({"a": act(node=node, seconds=30, gives=1), "b": act("a", gives="${ nodes.a + 1 }")}))

    async def main(worker: Process) -> Outcome:
        doomed = world.process(adopts=False)
        home = await doomed.__aenter__()
        execution = await home.start(workflow)
        await pass_time(5)
        await home.kill()
        world.place.die(home.store.store)
        return await worker.result(execution)

    outcome = world.live(main, labels=LABELS)
    assert outcome.output == 2
    assert lives(world) == [("a", 1), ("b", 1)]
    assert facts(world, outcome.execution, events.Lost) == []


def test_a_report_that_came_while_nobody_was_home_counts(world: World) -> None:
    """The home dies, the worker reports and stops; the next home finds the message and repeats nothing."""
    node = {**GPU, "delivery": "at_most_once"}
    workflow = world.read(workflow_of({"a": act(node=node, seconds=30, gives=1)}))

    async def main() -> Outcome:
        async with world.process(labels=LABELS, adopts=True, name="gpu") as worker:
            doomed = world.process(adopts=False)
            home = await doomed.__aenter__()
            execution = await home.start(workflow)
            await pass_time(5)
            # The worker is the home of nothing from here on: the execution is left where it is.
            worker.home.take_free = nothing  # type: ignore[method-assign]  # it may carry out tasks, and take no execution over
            await home.kill()
            world.place.die(home.store.store)
            await pass_time(60)
            assert [arrived.message.source for arrived in await worker.store.inbox(execution)] == ["task"]
        async with world.process(adopts=False) as other:
            await other.home.take([execution])
            return await other.result(execution)

    async def nothing() -> list[ExecutionId]:
        return []

    outcome = world.run(main)
    assert outcome.output == 1
    assert len(world.ledger.sent) == 1


def test_a_worker_that_drains_gives_its_tasks_back(world: World) -> None:
    """What does not end within its grace is stopped and repeated elsewhere; that is no crash."""
    workflow = world.read(workflow_of({"a": act(node=GPU, seconds=100, gives=1)}))

    async def main(home: Process) -> Outcome:
        execution = await home.start(workflow)
        async with world.process(labels=LABELS, grace="2s") as first:
            await pass_time(5)
            await first.home.drain()
        async with world.process(labels=LABELS):
            return await home.result(execution)

    outcome = world.live(main, adopts=False)
    assert outcome.output == 1
    assert lives(world) == [("a", 2), ("a", 3)]
    assert [fact.crashed for fact in facts(world, outcome.execution, events.Lost)] == [False]


def test_a_worker_that_drains_still_hears_that_a_task_shall_stop(world: World) -> None:
    """It would have an hour's grace; the execution is cancelled meanwhile, and that is what ends the attempt."""
    workflow = world.read(workflow_of({"a": act(node=GPU, seconds=3_000)}))

    async def main(home: Process) -> Outcome:
        execution = await home.start(workflow)
        async with world.process(labels=LABELS, grace="1h") as worker:
            await pass_time(5)
            draining = asyncio.create_task(worker.home.drain())
            await pass_time(5)
            assert world.ledger.stopped == []
            await home.executions.operate(execution, "cancel", by="ann")
            outcome = await home.result(execution)
            await draining
            return outcome

    assert world.live(main, adopts=False).status == "cancelled"
    assert [stopped.life for stopped in world.ledger.stopped] == [2]
    assert world.clock.now() < BEGIN + 60 * 1_000_000


def test_a_home_that_stops_in_good_order_hands_its_tasks_on(world: World) -> None:
    """The next home waits for the same task; nothing is repeated."""
    workflow = world.read(workflow_of({"a": act(node=GPU, seconds=100, gives=1)}))

    async def main(worker: Process) -> Outcome:
        async with world.process(adopts=False) as home:
            execution = await home.start(workflow)
            await pass_time(5)
        return await worker.result(execution)

    outcome = world.live(main, labels=LABELS)
    assert outcome.output == 1
    assert lives(world) == [("a", 1)]


# -- what goes wrong on the way ------------------------------------------------------------------------------------------------


def test_a_worker_without_the_node_type_leaves_it_to_others(world: World) -> None:
    """It gives the task back, and does not ask for it all the time."""
    workflow = world.read(workflow_of({"a": act(node=GPU, gives=1)}))

    async def main(home: Process) -> Outcome:
        execution = await home.start(workflow)
        async with world.process(labels=LABELS, works={}) as unable:
            await pass_time(60)
            assert unable.store.counts["return_tasks"] <= 6
        async with world.process(labels=LABELS):
            return await home.result(execution)

    assert world.live(main, adopts=False).output == 1
    assert lives(world) == [("a", 3)]


@pytest.mark.parametrize("name", ["claim_tasks", "report_tasks", "held_tasks", "return_tasks"])
@pytest.mark.parametrize("call", [1, 2])
def test_a_lost_answer_of_the_worker_loses_and_repeats_nothing(world: World, name: str, call: int) -> None:
    """It was done and its answer lost: what it took comes back to it or to another, what it reported counts once."""
    workflow = world.read(workflow_of({"a": act(node=GPU, seconds=5, gives=1), "b": act("a", node=GPU, seconds=5, gives=2)}))

    async def main(home: Process) -> Outcome:
        execution = await home.start(workflow)
        async with world.process(labels=LABELS, lose=[call], only=(name,)):
            return await home.result(execution)

    outcome = world.live(main, adopts=False)
    assert outcome.output == 2
    assert len(facts(world, outcome.execution, events.Done)) == 2
    assert [sent.path for sent in world.ledger.sent] == ["a", "b"]


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_a_lost_answer_to_the_homes_commit_posts_once(world: World, call: int) -> None:
    """The turn with the task was written or was not: either way there is one task, and each effect is sent once."""
    outcome = with_gpu(
        world, {"a": act(gives=1), "b": act("a", node=GPU, seconds=5, gives=2)}, to_its_end, lose=[call], only=("commit",)
    )
    assert outcome.output == 2
    assert sorted(world.ledger.counts().values()) == [1, 1]


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_refused_commit_posts_when_it_is_made_again(world: World, call: int) -> None:
    """Nothing of the turn was written: no task is there before the turn is."""
    refuse = {call: StoreBusy("Expected the lock, but another has it.", remedy="Try again.")}
    outcome = with_gpu(
        world, {"a": act(gives=1), "b": act("a", node=GPU, seconds=5, gives=2)}, to_its_end, refuse=refuse, only=("commit",)
    )
    assert outcome.output == 2
    assert sorted(world.ledger.counts().values()) == [1, 1]


# -- whoever dies, wherever ----------------------------------------------------------------------------------------------------

WRITES = ("commit", "claim_tasks", "report_tasks", "left_tasks", "tasks", "claim")
DYING = {
    "a": act(seconds=3, gives=1), "b": act("a", node=GPU, seconds=3, gives="${ nodes.a + 1 }"),
    "c": act("b", node={**GPU, "retry": {"attempts": 2, "initial": "1s"}}, fails=["x.y"], bytes=3_000),
}  # fmt: skip


class Cast:
    """A home and a worker with a GPU; who dies is replaced, until the execution has ended."""

    def __init__(self, world: World, **faults: Any) -> None:
        self.world = world
        self.workflow = world.read(workflow_of(DYING, output="${ [nodes.a, nodes.b, len(nodes.c)] }"))
        self.faults: dict[str, Any] = faults
        self.living: dict[str, tuple[Any, Process]] = {}
        self.points: dict[str, Any] = {}

    async def enter(self, role: str) -> None:
        given = {"adopts": False} if role == "home" else {"labels": LABELS}
        context = self.world.process(**given, **self.faults.pop(role, {}), only=WRITES)
        self.living[role] = context, await context.__aenter__()

    async def play(self) -> Outcome:
        await self.enter("worker")
        await self.enter("home")
        while True:
            home = self.living["home"][1]
            try:
                await home.home.take()
                return await self.until_ended(await home.start(self.workflow, key="k"))
            except Crash:
                await self.replace("home")

    async def until_ended(self, execution: ExecutionId) -> Outcome:
        while True:
            await pass_time(0.5)
            for role, (_, process) in list(self.living.items()):
                if process.store.dead:
                    await self.replace(role)
            home = self.living["home"][1]
            try:
                await home.home.take()  # what the former home had
                if (outcome := await home.engine._ended(execution)) is not None:
                    break
            except Crash:
                continue
        for role, (context, process) in self.living.items():
            self.points[role] = process.store.crash_points
            await context.__aexit__(None, None, None)
        return outcome

    async def replace(self, role: str) -> None:
        _, process = self.living[role]
        await process.kill()
        self.world.place.die(process.store.store)
        await self.enter(role)


@pytest.mark.parametrize("role", ["home", "worker"])
@pytest.mark.parametrize("part", range(4))
def test_rule_65_a_death_of_either_side_changes_nothing_but_the_time(tmp_path: Path, role: str, part: int) -> None:
    """Before and after each of its writes: the same end, each node done once, nothing sent anew but what was under way."""

    def world_of(name: str) -> World:
        (tmp_path / name).mkdir()
        return World(place=FilePlace(tmp_path / name))

    world = world_of("whole")
    whole = Cast(world)
    expected = world.run(whole.play)
    assert expected.output == [1, 2, 3_000]
    for point in whole.points[role][part::4]:
        check_death(world_of(f"{point.call}-{point.moment}"), expected, role, point)


def check_death(world: World, expected: Outcome, role: str, point: CrashPoint) -> None:
    """Play it with a death at that point, and compare."""
    outcome = world.run(Cast(world, **{role: {"die": (point.call, point.moment)}}).play)
    assert outcome.output == expected.output, point
    done = [fact.node for fact in facts(world, outcome.execution, events.Done)]
    assert sorted(done) == ["a", "b", "c"], point
    assert len(world.ledger.sent) <= len(DYING) + 1 + 1, point  # one retry, and one that was under way
    assert len(world.ledger.counts()) == 3, point
    assert tasks_of(world, outcome.execution) == [], point
