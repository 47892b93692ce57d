"""Pauses across processes: one that is asked for when nobody runs the execution begins nothing, and keeps what was at work."""

from __future__ import annotations

import pytest

from perdure.engine import events
from perdure.errors import Refused
from perdure.ids import ExecutionId
from perdure.operations.executions import Executions
from perdure.store.contract import STATUSES, Store
from perdure.testing.faults import Crash
from perdure.testing.world import Process, World, act, pass_time, workflow_of

SLOW = workflow_of({"a": act(seconds=10, gives=1), "b": act("a", gives="${ nodes.a + 1 }")}, output="${ nodes.b }")


def died(world: World) -> ExecutionId:
    """An execution whose process died while its first node was at work."""
    found: list[ExecutionId] = []

    async def main(process: Process) -> None:
        found.append(await process.start(world.read(SLOW)))
        await pass_time(5)
        raise Crash

    with pytest.raises(Crash):
        world.live(main)
    return found[0]


def ask(world: World, execution: ExecutionId, action: str, **given: str) -> None:
    """Ask from a process that runs nothing."""

    async def send(store: Store) -> None:
        await Executions(store, world.clock).operate(execution, action, by="ann", **given)

    world.look(send)


def test_rule_45_a_pause_that_waits_for_a_takeover_comes_before_what_that_would_begin() -> None:
    """The attempt that was under way is lost and not asked for: it is sent again when the pause is over, under the same key."""
    world = World()
    execution = died(world)
    ask(world, execution, "pause")

    async def looks(process: Process) -> None:
        await process.home.take()
        await pass_time(60)

    world.live(looks)
    assert len(world.ledger.sent) == 1
    assert STATUSES[world.rows()[0].status] == "paused"
    facts = [fact for moment in world.show(execution).timeline for fact in moment.facts]
    assert [type(fact) for fact in facts[-2:]] == [events.Paused, events.Lost]
    ask(world, execution, "resume")
    outcome = world.live(lambda process: process.result(execution))
    assert outcome.output == 2
    sent = [each for each in world.ledger.sent if each.path == "a"]
    assert len(sent) == 2
    assert len({each.key for each in sent}) == 1


def test_rule_45_a_pause_after_another_control_waits_its_turn() -> None:
    """The takeover comes before both, as ever: what was under way is asked to stop, and the end waits for that of the pause."""
    world = World()
    execution = died(world)
    for action in ("cancel", "pause", "resume"):
        ask(world, execution, action)

    async def ends(process: Process) -> str:
        await process.home.take()
        return (await process.result(execution)).status

    assert world.live(ends) == "cancelled"
    inputs = [given for moment in world.show(execution).timeline for given in moment.inputs]
    assert [type(given) for given in inputs[1:3]] == [events.Recovered, events.Operate]


def test_what_was_asked_and_not_taken_in_is_told() -> None:
    """The controls in an inbox, in order; signals are none, and what was taken in is not there any more."""
    world = World()
    execution = died(world)

    async def asked(store: Store) -> list[str]:
        return await Executions(store, world.clock).asked(execution)

    assert world.look(asked) == []
    ask(world, execution, "pause")
    ask(world, execution, "resume", reason="enough")

    async def signal(store: Store) -> None:
        await Executions(store, world.clock).signal(execution, "go")

    world.look(signal)
    assert world.look(asked) == ["pause", "resume"]
    world.live(lambda process: process.result(execution))
    assert world.look(asked) == []
    with pytest.raises(Refused, match="nothing more reaches it"):
        ask(world, execution, "pause")
