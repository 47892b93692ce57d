"""Waits for events in a running engine: hot or cold, from outside or from another workflow, looking back or not (rule 48)."""

from __future__ import annotations

from typing import Any

from perdure.ids import ExecutionId
from perdure.operations.events import emit
from perdure.runtime.hot import Outcome
from perdure.testing.world import Process, World, act, pass_time, workflow_of


def waits(**keys: Any) -> dict[str, Any]:
    """A workflow that waits for `paid` of its order."""
    return workflow_of(
        {"paid": {"type": "wait_for_event", "event": "paid", "where": "${ event.data.order == input }", **keys}},
        output="${ nodes.paid.data }",
    )


async def publish(process: Process, order: Any, id: str = "", type: str = "paid") -> None:
    await emit(process.engine.store, process.engine.clock, type, {"order": order}, id=id)
    await process.home.take_messages()


def test_rule_48_an_event_reaches_every_wait_that_it_fits() -> None:
    """Each execution judges for itself; one whose order is another waits on."""
    world = World()

    async def main(process: Process) -> tuple[list[Any], str]:
        workflow = world.read(waits())
        mine = [await process.start(workflow, 1), await process.start(workflow, 1)]
        other = await process.start(workflow, 2)
        await pass_time(1)
        await publish(process, 1)
        found = [(await process.result(execution)).output for execution in mine]
        return found, (await process.executions.show(other)).status

    assert world.live(main) == ([{"order": 1}] * 2, "waiting")


def test_rule_48_a_cold_execution_is_woken() -> None:
    """The waiting execution has left memory, and its process is gone; the event comes from one that is no worker's."""
    world = World()

    async def first(process: Process) -> ExecutionId:
        execution = await process.start(world.read(waits()), 7)
        await pass_time(5)
        assert process.home.state(execution) is None
        return execution

    execution = world.live(first)
    world.look(lambda store: emit(store, world.clock, "paid", {"order": 7}))
    assert world.live(lambda process: process.result(execution)).output == {"order": 7}


def test_rule_48_events_before_the_wait_count_only_since_the_execution() -> None:
    """`since: execution` looks back to the start of the execution, and no further; `entry` does not look back."""
    world = World()

    def document(since: str) -> dict[str, Any]:
        found = waits(since=since, timeout="100s", on_timeout="continue")
        found["nodes"]["work"] = act(seconds=10)
        found["nodes"]["paid"]["after"] = "work"
        found["output"] = "${ nodes.paid }"
        return found

    async def main(process: Process) -> list[Any]:
        await publish(process, 1, id="before it began")
        await pass_time(1)
        entry, looks_back = world.read(document("entry")), world.read(document("execution"))
        executions = [await process.start(entry, 1), await process.start(looks_back, 1)]
        await pass_time(2)
        await publish(process, 1, id="while it worked")
        return [(await process.result(execution)).output for execution in executions]

    found = world.live(main)
    assert found[0] == {"timed_out": True}
    assert found[1]["id"] == "while it worked"


def test_rule_48_an_event_that_is_sent_twice_is_one() -> None:
    """The same id again reaches nobody, not even who waits anew."""
    world = World()
    document = workflow_of(
        {
            "one": {"type": "wait_for_event", "event": "paid"},
            "two": {"type": "wait_for_event", "event": "paid", "after": "one", "timeout": "50s", "on_timeout": "continue"},
        },
        output="${ nodes.two }",
    )

    async def main(process: Process) -> Outcome:
        execution = await process.start(world.read(document))
        await pass_time(1)
        await publish(process, 1, id="e-1")
        await pass_time(1)
        await publish(process, 1, id="e-1")
        return await process.result(execution)

    assert world.live(main).output == {"timed_out": True}


def test_rule_48_one_workflow_emits_and_another_waits() -> None:
    """The event is written with the fact that says so, and reaches the other in the same commit."""
    world = World()
    says = {**workflow_of({"say": {"type": "emit", "event": "paid", "data": {"order": 3}}}), "name": "says"}

    async def main(process: Process) -> Outcome:
        execution = await process.start(world.read(waits()), 3)
        await pass_time(1)
        await process.run(world.read(says))
        return await process.result(execution)

    assert world.live(main).output == {"order": 3}
