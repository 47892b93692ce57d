"""Workers with far more to do than they have slots for: what they leave to others, and that each effect counts once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_tasks import lives, tasks_of, to_its_end

from perdure.engine import events
from perdure.ids import ExecutionId
from perdure.runtime.hot import Outcome
from perdure.runtime.pulse import Pulse
from perdure.testing.stores.postgres import PostgresPlace
from perdure.testing.stores.sqlite import FilePlace
from perdure.testing.world import Process, World, act, pass_time, workflow_of


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world whose processes share a file."""
    return World(place=FilePlace(tmp_path))


def wide(count: int, **node: Any) -> dict[str, Any]:
    """A wave of short effects, then as many that take long, all at once."""
    body = {"nodes": {"early": act(seconds=1), "work": act("early", node=node, seconds=10, gives="${ item }")}}
    return {"each": {"type": "loop", "over": list(range(count)), "concurrency": count, "body": body}}


async def says_what_it_does(world: World, process: Process) -> None:
    """What a worker says of itself every two seconds; on PostgreSQL with its next heartbeat, which no test waits for."""
    pulse = Pulse(process.store, process.home, world.clock, version="1")
    await pulse.report()
    if isinstance(world.place, PostgresPlace):
        said = msgspec.json.encode(pulse.load()).decode()
        world.place.sql("UPDATE perdure.workers SET load = $1 WHERE worker = $2", said, process.home.worker)


def full(world: World, main: Callable[[Process, Process, ExecutionId], Any], **node: Any) -> Any:
    """A worker with two slots and far more to do, beside one with ten and nothing to do; the first is not asked to stop."""
    workflow = world.read(workflow_of(wide(20, **node)))

    async def both() -> Any:
        async with world.process(slots=10) as idle:
            living = world.process(slots=2, overflow=3)
            home = await living.__aenter__()
            execution = await home.start(workflow)
            for each in (home, idle):
                await says_what_it_does(world, each)
            ended = await main(home, idle, execution)
            await home.kill()
            return ended

    return world.run(both)


def test_rule_66_what_a_full_worker_cannot_begin_soon_is_for_others(world: World) -> None:
    """The other one carries most of it out; each is done once, and the execution stays where it is."""
    outcome = full(world, to_its_end)
    assert outcome.output["results"] == list(range(20))
    late = [life for path, life in lives(world) if path.endswith(".work")]
    assert late.count(1) > late.count(2) > 0
    assert max(world.ledger.counts().values()) == 1
    assert tasks_of(world, outcome.execution) == []


def test_rule_66_nothing_overflows_to_nobody(world: World) -> None:
    """Alone, or beside one that is as full, a worker keeps what it has; so does one that is told to."""
    for settings in ({"overflow": 3}, {"overflow": 0}):
        world.ledger.sent.clear()
        workflow = world.read(workflow_of(wide(8)))

        async def main(process: Process, workflow: Any = workflow) -> Outcome:
            outcome = await process.run(workflow)
            await says_what_it_does(world, process)
            return outcome

        assert world.live(main, slots=2, **settings).status == "succeeded"
        assert {life for _, life in lives(world)} == {world.lives}


def test_rule_66_a_home_that_dies_loses_nothing_of_what_overflowed(world: World) -> None:
    """Its definition asks for no labels; what others carry out goes on all the same, also under `at_most_once`."""

    async def dies(home: Process, idle: Process, execution: ExecutionId) -> Outcome:
        while not any(life == 1 for _, life in lives(world)):
            await pass_time(0.5)
        elsewhere = {task.path for task in await home.store.tasks([execution]) if task.worker}
        await home.kill()
        world.place.die(home.store.store)
        outcome = await idle.result(execution)
        unknown = {fact.node for fact in await failed_in(idle, execution)}
        assert elsewhere
        assert not unknown & elsewhere
        return outcome

    full(world, dies, delivery="at_most_once")
    repeated = [key for key, count in world.ledger.counts().items() if count > 1]
    assert not [sent for sent in world.ledger.sent if sent.key in repeated and sent.path.endswith(".work")]


async def failed_in(process: Process, execution: ExecutionId) -> list[Any]:
    timeline = (await process.executions.show(execution)).timeline
    return [
        msgspec.structs.replace(fact, node=f"{fact.frame}.{fact.node}")
        for moment in timeline for fact in moment.facts if isinstance(fact, events.NodeFailed)
    ]  # fmt: skip
