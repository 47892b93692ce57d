"""A signal that is given with a start: in the same commit, exactly once, wherever a process dies, however often it is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.engine import events
from perdure.errors import InputRefused, Refused, StartConflict
from perdure.ids import ExecutionId
from perdure.operations.executions import Begun, FirstSignal
from perdure.runtime.hot import Outcome
from perdure.store.contract import Batch
from perdure.testing.faults import Crash
from perdure.testing.world import Process, World, act, pass_time, workflow_of

GATHERS = workflow_of(
    {
        "first": {"type": "wait_for_signal", "signal": "item"},
        "work": act("first", seconds=5, gives="${ nodes.first }"),
        "second": {"type": "wait_for_signal", "after": "work", "signal": "item"},
    },
    output="${ [nodes.work, nodes.second] }",
)


def item(payload: Any, **fields: Any) -> FirstSignal:
    return FirstSignal(name="item", payload=payload, **fields)


def signals(world: World, execution: ExecutionId) -> list[str]:
    """The ids of the signals that the execution has taken in."""
    timeline = world.show(execution).timeline
    return [given.id for moment in timeline for given in moment.inputs if isinstance(given, events.Signal)]


def test_the_signal_stands_in_the_commit_of_the_start() -> None:
    """The batch that starts the execution holds its message; there is no moment at which one is there without the other."""
    world = World()
    batches: list[Batch] = []

    async def main(process: Process) -> Begun:
        commit = process.home._store.commit

        async def kept(batch: Batch) -> Any:
            batches.append(batch)
            return await commit(batch)

        process.home._store.commit = kept  # type: ignore[method-assign]  # to look on
        begun = await process.executions.start(world.read(GATHERS), signal=item(1, id="s-1"), by="ann")
        await pass_time(1)
        return begun

    begun = world.live(main)
    assert (begun.existing, begun.signalled) == (False, True)
    (first,) = [batch for batch in batches if batch.starts]
    (message,) = first.messages
    assert (message.execution, message.source, message.key, message.sender) == (
        begun.execution, "signal", "s-1", begun.execution,
    )  # fmt: skip
    assert signals(world, begun.execution) == ["s-1"]


def test_a_second_start_with_the_key_sends_its_signal_to_the_first() -> None:
    """The one starts it, the other one finds it; both are delivered, in order, and each says whether it was new."""
    world = World()
    workflow = world.read(GATHERS)

    async def main(process: Process) -> tuple[list[Begun], Outcome]:
        begun = [await process.executions.start(workflow, key="k", signal=item(n, id=f"s-{n}")) for n in (1, 2, 2)]
        return begun, await process.result(begun[0].execution)

    begun, outcome = world.live(main)
    assert len({each.execution for each in begun}) == 1
    assert [(each.existing, each.signalled) for each in begun] == [(False, True), (True, True), (True, False)]
    assert outcome.output == [1, 2]
    assert signals(world, outcome.execution) == ["s-1", "s-2"]


def test_starts_at_the_same_moment_deliver_all_their_signals() -> None:
    """One of them starts it; the signals of the others, which lost, are sent to that one."""
    world = World()
    nodes = {f"w{n}": {"type": "wait_for_signal", "signal": "item", "key": str(n)} for n in range(5)}
    workflow = world.read(workflow_of(nodes))

    async def main(process: Process) -> Outcome:
        starts = [process.executions.start(workflow, key="k", signal=item(n, key=str(n), id=f"s-{n}")) for n in range(5)]
        begun = await asyncio.gather(*starts)
        assert sum(not each.existing for each in begun) == 1
        assert all(each.signalled for each in begun)
        return await process.result(begun[0].execution)

    outcome = world.live(main)
    assert outcome.output == {f"w{n}": n for n in range(5)}
    assert sorted(signals(world, outcome.execution)) == [f"s-{n}" for n in range(5)]


def test_without_an_id_each_start_brings_a_signal_of_its_own() -> None:
    """Nobody said that they are the same one."""
    world = World()
    workflow = world.read(GATHERS)

    async def main(process: Process) -> Outcome:
        for n in (1, 2):
            begun = await process.executions.start(workflow, key="k", signal=item(n))
            assert begun.signalled
        return await process.result(begun.execution)

    assert world.live(main).output == [1, 2]


def test_a_large_payload_is_durable_with_the_start() -> None:
    """What is too large for the journal goes by the blob store, in the same commit, or before the message that names it."""
    world = World()
    workflow = world.read(GATHERS)

    async def main(process: Process) -> Outcome:
        for n, size in enumerate((5_000, 400_000)):
            begun = await process.executions.start(workflow, key="k", signal=item("x" * size, id=f"s-{n}"))
        return await process.result(begun.execution)

    assert world.live(main).output == ["x" * 5_000, "x" * 400_000]


def drive(world: World, **given: Any) -> Outcome:
    """One process that starts it with its signal, or finds it, and brings the second signal the same way."""
    workflow = world.read(GATHERS)

    async def main(process: Process) -> Outcome:
        await process.home.take()
        for n in (1, 2):
            begun = await process.executions.start(workflow, key="k", signal=item("x" * 2_000 * n, id=f"s-{n}"))
        outcome = await process.result(begun.execution)
        world.points = process.store.crash_points  # type: ignore[attr-defined]  # for who asks where it could have died
        return outcome

    return world.live(main, **given)


def test_a_death_at_any_store_call_delivers_each_signal_once() -> None:
    """Before and after each call: the next process that asks the same comes to the same end, with each signal taken in once."""
    world = World()
    expected = drive(world).output
    points = world.points  # type: ignore[attr-defined]  # as above
    assert expected == ["x" * 2_000, "x" * 4_000]
    died = 0
    for point in points:
        world = World()
        try:
            drive(world, die=(point.call, point.moment))
        except Crash:
            died += 1
        outcome = drive(world)
        assert outcome.output == expected, f"dies at {point}"
        assert signals(world, outcome.execution) == ["s-1", "s-2"], f"dies at {point}"
        assert len(world.rows()) == 1
    assert died > len(points) // 2


def test_a_repeat_after_the_end_finds_that_its_signal_was_delivered() -> None:
    """The answer to the same question is the same; a signal that never came is refused, since nothing reaches it any more."""
    world = World()
    workflow = world.read(GATHERS)

    async def main(process: Process) -> None:
        for n in (1, 2):
            begun = await process.executions.start(workflow, key="k", signal=item(n, id=f"s-{n}"))
        await process.result(begun.execution)
        again = await process.executions.start(workflow, key="k", signal=item(1, id="s-1"))
        assert (again.execution, again.existing, again.signalled) == (begun.execution, True, False)
        with pytest.raises(Refused, match="has ended") as refused:
            await process.executions.start(workflow, key="k", signal=item(3, id="s-3"))
        assert refused.value.code == "execution.ended"

    world.live(main)


def test_an_execution_that_ends_in_its_first_step_had_no_use_for_the_signal() -> None:
    """It is in its inbox, unread; a repeat of the start finds it there."""
    world = World()
    workflow = world.read(workflow_of({"a": {"type": "transform", "to": 1}}))

    async def main(process: Process) -> None:
        begun = [await process.executions.start(workflow, key="k", signal=item(1, id="s-1")) for _ in range(2)]
        assert [(each.existing, each.signalled) for each in begun] == [(False, True), (True, False)]
        assert (await process.result(begun[0].execution)).status == "succeeded"

    world.live(main)


def test_another_input_under_the_key_starts_and_sends_nothing() -> None:
    """The conflict is refused as ever, before anything is written."""
    world = World()
    workflow = world.read(GATHERS)

    async def main(process: Process) -> ExecutionId:
        begun = await process.executions.start(workflow, {"n": 1}, key="k")
        with pytest.raises(StartConflict):
            await process.executions.start(workflow, {"n": 2}, key="k", signal=item(1))
        return begun.execution

    execution = world.live(main)
    assert world.look(lambda store: store.inbox(execution)) == []


@pytest.mark.parametrize(
    "signal, named",
    [
        (item(float("nan")), "payload: "),
        (item(1, key="caf\udce9"), "key: "),
        (item(1, id="caf\udce9"), "id: "),
        (FirstSignal(name="caf\udce9"), "name: "),
    ],
)
def test_a_signal_that_cannot_be_kept_starts_nothing(signal: FirstSignal, named: str) -> None:
    """All or nothing, and the part that is wrong is named."""
    world = World()

    async def main(process: Process) -> None:
        with pytest.raises(InputRefused, match=f"^{named}"):
            await process.executions.start(world.read(GATHERS), key="k", signal=signal)

    world.live(main)
    assert world.rows() == []
