"""Locks in a running engine: one holder at a time, over waits, deaths and processes (rule 59)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perdure.ids import ExecutionId
from perdure.runtime.hot import Outcome
from perdure.testing.faults import Crash
from perdure.testing.stores.sqlite import FilePlace
from perdure.testing.world import Process, World, act, pass_time, workflow_of


def till(seconds: float = 10, **node: Any) -> dict[str, Any]:
    """A workflow whose one effect takes the lock `till`."""
    return workflow_of({"a": act(seconds=seconds, gives=1, node={"lock": "till", **node})})


async def started(process: Process, document: dict[str, Any], count: int) -> list[ExecutionId]:
    workflow = process.world.read(document)
    return [await process.start(workflow) for _ in range(count)]


def most_at_once(world: World) -> int:
    return world.ledger.running_most


def test_rule_59_one_after_another_in_the_order_in_which_they_asked() -> None:
    """Five executions want the same lock: their effects never overlap."""
    world = World()

    async def main(process: Process) -> list[str]:
        executions = await started(process, till(), 5)
        outcomes = [await process.result(execution) for execution in executions]
        return [outcome.status for outcome in outcomes]

    assert world.live(main) == ["succeeded"] * 5
    assert most_at_once(world) == 1
    assert len({sent.execution for sent in world.ledger.sent}) == 5


def test_rule_59_other_keys_do_not_wait() -> None:
    """A key may be computed; each key is a lock of its own."""
    world = World()
    document = workflow_of({"a": act(seconds=10, gives=1, node={"lock": "${ input.customer }"})})

    async def main(process: Process) -> None:
        workflow = world.read(document)
        executions = [await process.start(workflow, {"customer": name}) for name in ("ada", "bob", "ada")]
        for execution in executions:
            await process.result(execution)

    world.live(main)
    assert most_at_once(world) == 2


def test_rule_59_a_lock_is_held_over_waits_and_retries() -> None:
    """A container keeps it until it is final; a retry keeps it through its backoff."""
    world = World()
    container = workflow_of(
        {
            "t": {
                "type": "try",
                "lock": "till",
                "body": {"nodes": {"d": {"type": "delay", "for": "60s"}, "a": act("d", seconds=1)}},
            }
        }
    )
    retrying = till(1, retry={"attempts": 2, "initial": "50s", "jitter": False})
    retrying["nodes"]["a"]["with"]["fails"] = ["x.y", None]

    async def main(process: Process) -> None:
        (first,) = await started(process, retrying, 1)
        await pass_time(1)
        (second,) = await started(process, container, 1)
        (third,) = await started(process, till(1), 1)
        for execution in (first, second, third):
            await process.result(execution)

    world.live(main)
    assert world.ledger.paths() == ["a", "a", "t.body.a", "a"]
    assert most_at_once(world) == 1


def test_rule_59_who_is_cancelled_while_it_waits_leaves_the_line() -> None:
    """The next one behind it gets the lock."""
    world = World()

    async def main(process: Process) -> list[str]:
        executions = await started(process, till(), 3)
        await pass_time(1)
        await process.executions.operate(executions[1], "cancel")
        return [(await process.result(execution)).status for execution in executions]

    assert world.live(main) == ["succeeded", "cancelled", "succeeded"]
    assert most_at_once(world) == 1


def test_rule_59_a_terminate_gives_it_back() -> None:
    """An execution that ends at once keeps nothing."""
    world = World()

    async def main(process: Process) -> list[str]:
        executions = await started(process, till(1_000), 1)
        await pass_time(1)
        executions += await started(process, till(1), 1)
        await process.executions.operate(executions[0], "terminate")
        return [(await process.result(execution)).status for execution in executions]

    assert world.live(main) == ["cancelled", "succeeded"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_rule_59_a_lock_is_held_over_the_death_of_its_process(moment: Any) -> None:
    """Wherever the process dies, two executions never hold it together, and both come to their end."""
    for call in range(1, 45):
        world = World()
        executions: list[ExecutionId] = []

        async def first(process: Process, found: list[ExecutionId] = executions) -> None:
            workflow = process.world.read(till())
            found += [await process.start(workflow, key=name) for name in ("one", "two")]
            for execution in found:
                await process.result(execution)

        try:
            world.live(first, die=(call, moment))
        except Crash:
            world.live(second)
        assert most_at_once(world) == 1, f"died {moment} call {call}"
        assert world.look(lambda store: store.holder("default", "till")) is None


async def second(process: Process) -> None:
    """Go on with whatever was started before, and see it end."""
    workflow = process.world.read(till())
    for name in ("one", "two"):
        execution = await process.start(workflow, key=name)
        await process.home.take([execution])
        await process.result(execution)


def test_rule_59_another_process_waits_too(tmp_path: Path) -> None:
    """Two processes on one store: the lock of the first holds back the second, which notices when it is given back."""
    world = World(place=FilePlace(tmp_path))
    order: list[str] = []

    async def main() -> Outcome:
        async with world.process(name="one") as one, world.process(name="two", adopts=False) as two:
            (held,) = await started(one, till(20), 1)
            await pass_time(1)
            (waits,) = await started(two, till(1), 1)
            await one.result(held)
            order.append("one")
            outcome = await two.result(waits)
            order.append("two")
            return outcome

    assert world.run(main).status == "succeeded"
    assert order == ["one", "two"]
    assert most_at_once(world) == 1
