"""Messages to executions: signals, cancels, answers; wherever the execution is, and whatever the home does at that moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from perdure.engine import events
from perdure.errors import NotFound, Refused
from perdure.ids import ExecutionId, id_text
from perdure.operations.executions import Executions
from perdure.runtime.hot import Outcome
from perdure.store.contract import Arrived, Batch, Committed
from perdure.testing.world import BEGIN, Process, World, act, pass_time, workflow_of

WAIT = workflow_of({"ok": {"type": "wait_for_signal", "signal": "ok"}})


def test_a_signal_reaches_an_execution_that_runs() -> None:
    """While another branch is at work, the waiting one takes its signal and goes on."""
    world = World()
    workflow = world.read(
        workflow_of(
            {"work": act(seconds=100), "ok": {"type": "wait_for_signal", "signal": "ok"}, "then": act("ok", gives="went on")}
        )
    )

    async def main(process: Process) -> Outcome:
        execution = await process.start(workflow)
        await pass_time(5)
        assert await process.executions.signal(execution, "ok")
        await pass_time(5)
        assert world.ledger.paths() == ["work", "then"]
        return await process.result(execution)

    assert world.live(main).status == "succeeded"


def test_rule_47_an_early_signal_is_kept_for_whoever_waits_later() -> None:
    """Two signals of one name come before anybody waits: they are taken first in, first out."""
    world = World()
    workflow = world.read(
        workflow_of(
            {
                "work": act(seconds=10),
                "one": {"type": "wait_for_signal", "after": "work", "signal": "ok"},
                "two": {"type": "wait_for_signal", "after": "one", "signal": "ok"},
            },
            output="${ [nodes.one, nodes.two] }",
        )
    )

    async def main(process: Process) -> Outcome:
        execution = await process.start(workflow)
        for number in (1, 2):
            await process.executions.signal(execution, "ok", number)
        return await process.result(execution)

    assert world.live(main).output == [1, 2]


def test_rule_47_a_signal_goes_to_the_oldest_that_waits_for_its_name_and_key() -> None:
    """By key to the one with that key, by path to the one named, else to the oldest."""
    world = World()
    node = {"type": "wait_for_signal", "signal": "ok"}
    workflow = world.read(workflow_of({"a": node, "b": node, "c": {**node, "key": "k"}, "d": node}))

    async def main(process: Process) -> Outcome:
        execution = await process.start(workflow)
        await process.executions.signal(execution, "ok", "by path", path="d")
        await process.executions.signal(execution, "ok", "by key", key="k")
        await process.executions.signal(execution, "ok", "first")
        await process.executions.signal(execution, "ok", "second")
        return await process.result(execution)

    assert world.live(main).output == {"a": "first", "b": "second", "c": "by key", "d": "by path"}


def test_rule_47_a_signal_with_the_same_id_counts_once() -> None:
    """The repeat is answered with False and changes nothing, even after the first was consumed and after a restart."""
    world = World()
    node = {"type": "wait_for_signal", "signal": "ok"}
    workflow = world.read(workflow_of({"a": node, "b": node}))

    async def sends(process: Process) -> ExecutionId:
        execution = await process.start(workflow, key="k")
        answers = [await process.executions.signal(execution, "ok", "one", id="s-1") for _ in range(2)]
        await pass_time(3)
        answers.append(await process.executions.signal(execution, "ok", "one", id="s-1"))
        assert answers == [True, False, False]
        return execution

    execution = world.live(sends)

    async def sends_again(process: Process) -> Outcome:
        assert not await process.executions.signal(execution, "ok", "one", id="s-1")
        await pass_time(3)
        assert (await process.executions.show(execution)).status == "waiting"
        assert await process.executions.signal(execution, "ok", "two", id="s-2")
        return await process.result(execution)

    assert world.live(sends_again).output == {"a": "one", "b": "two"}


def test_rule_47_an_execution_that_has_ended_refuses_messages() -> None:
    """Whoever speaks to it is told how it ended."""
    world = World()

    async def main(process: Process) -> None:
        execution = await process.start(world.read(workflow_of({"a": act()})))
        await process.result(execution)
        for saying in (process.executions.signal(execution, "ok"), process.executions.operate(execution, "cancel")):
            with pytest.raises(Refused, match="succeeded") as refused:
                await saying
            assert refused.value.code == "execution.ended"
        with pytest.raises(NotFound):
            await process.executions.signal(ExecutionId(bytes(16)), "ok")

    world.live(main)


def test_a_cancel_stops_what_runs_and_skips_what_has_not_begun() -> None:
    """The running effect is stopped, the next one never starts; who cancelled and why is kept."""
    world = World()
    workflow = world.read(workflow_of({"a": act(seconds=1_000), "b": act("a")}))

    async def main(process: Process) -> Outcome:
        execution = await process.start(workflow)
        await pass_time(5)
        await process.executions.operate(execution, "cancel", by="ann", reason="a mistake")
        return await process.result(execution)

    outcome = world.live(main)
    assert outcome.status == "cancelled"
    assert [stopped.path for stopped in world.ledger.stopped] == ["a"]
    departing = [
        fact for moment in world.show(outcome.execution).timeline for fact in moment.facts if isinstance(fact, events.Departing)
    ]
    assert (departing[0].by, departing[0].cause) == ("ann", "cancelled by ann: a mistake")


def test_a_message_from_another_store_is_found_by_looking() -> None:
    """Somebody else's signal and cancel reach the home with its next look at the inbox."""
    world = World()
    workflow = world.read(workflow_of({"work": act(seconds=1_000), "ok": {"type": "wait_for_signal", "signal": "ok"}}))

    async def main(process: Process) -> Outcome:
        execution = await process.start(workflow)
        elsewhere = Executions(process.store.store, world.clock)
        await elsewhere.signal(execution, "ok", "hello")
        await pass_time(1.5)
        assert process.home.state(execution).frames[""].instances["ok"].final
        await elsewhere.operate(execution, "cancel")
        return await process.result(execution)

    assert world.live(main).status == "cancelled"


@pytest.mark.parametrize("moment", ["before", "after", "delivered"])
def test_a_signal_that_comes_while_the_home_lets_go_is_not_lost(moment: str) -> None:
    """It comes just before, just after, or in the middle of the commit that releases the execution: it is taken, once."""
    world = World()

    async def main(process: Process) -> Outcome:
        store = process.store.store
        commit = store.commit
        sent: list[bool] = []

        async def say(execution: ExecutionId) -> None:
            speaker = process.executions if moment == "delivered" else Executions(store, world.clock)
            sent.append(await speaker.signal(execution, "ok", "heard", id="s-1"))

        async def committing(batch: Batch) -> Committed:
            leaving = [turn.execution for turn in batch.turns if turn.release and not sent]
            if leaving and moment != "after":
                await commit_alone(batch)
                await say(leaving[0])
                batch = without_starts(batch)
            committed = await commit(batch)
            if leaving and moment == "after":
                await say(leaving[0])
            return committed

        async def commit_alone(batch: Batch) -> None:
            """The row must be there before anybody can send to it; the turn that lets go comes after."""
            for start in batch.starts:
                opening = [turn for turn in batch.turns if turn.execution == start.execution]
                await commit(Batch(starts=[start], turns=[_opening(turn) for turn in opening]))

        store.commit = committing  # type: ignore[method-assign]
        return await process.run(world.read(WAIT))

    outcome = world.live(main)
    assert outcome.output == "heard"
    if moment == "delivered":
        assert world.clock.now() == BEGIN, "what was handed over already does not wait for the next look at the inbox"
    dones = [
        fact for moment_ in world.show(outcome.execution).timeline for fact in moment_.facts if isinstance(fact, events.Done)
    ]
    assert len(dones) == 1


def without_starts(batch: Batch) -> Batch:
    return Batch(turns=batch.turns, blobs=batch.blobs, messages=batch.messages, events=batch.events, snapshots=batch.snapshots)


def _opening(turn: Any) -> Any:
    """A turn that writes nothing but that the execution is at home."""
    return msgspec.structs.replace(turn, count=0, body=b"", release=False, wake=None, consumed=())


def test_a_completion_that_overtakes_the_deferral_counts() -> None:
    """The answer of a deferred node comes before the node has said that it will come later: it is not lost (rule 52)."""
    world = World()
    workflow = world.read(workflow_of({"ask": act(defers=True, seconds=10)}))

    async def main(process: Process) -> Outcome:
        execution = await process.start(workflow)
        await pass_time(5)  # the token is out already in the other side's hands, the node still at work
        token = f"{id_text(execution)}:ask:1"
        assert await process.executions.complete(token, "early")
        return await process.result(execution)

    outcome = world.live(main)
    assert outcome.output == "early"


def test_a_large_completion_and_a_large_operator_value_are_kept() -> None:
    """What is said to an execution may be large: its bytes go to the blob store before the message names them."""
    world = World()
    workflow = world.read(
        workflow_of(
            {"ask": act(defers=True), "poor": act(fails=["x.y"], node={"park": True})},
            output="${ [len(nodes.ask), len(nodes.poor)] }",
        )
    )

    async def main(process: Process) -> Outcome:
        execution = await process.start(workflow)
        await pass_time(5)
        await process.executions.complete(world.ledger.tokens["ask"], "a" * 5_000)
        await process.executions.operate(execution, "complete", path="poor", value="b" * 6_000)
        return await process.result(execution)

    assert world.live(main).output == [5_000, 6_000]


def test_many_messages_at_once_are_each_taken_once() -> None:
    """Thirty signals in one moment from thirty callers find thirty waits."""
    world = World()
    waits = {f"w{n}": {"type": "wait_for_signal", "signal": "ok"} for n in range(30)}
    workflow = world.read(workflow_of(waits))

    async def main(process: Process) -> Outcome:
        execution = await process.start(workflow)
        await asyncio.gather(*(process.executions.signal(execution, "ok", n) for n in range(30)))
        return await process.result(execution)

    outcome = world.live(main)
    assert sorted(outcome.output.values()) == list(range(30))


# -- stores that take their time ------------------------------------------------------------------------------------------


def test_a_message_that_is_taken_in_while_the_inbox_is_read_is_taken_in_once() -> None:
    """Two reads overlap: what the first one brought is consumed before the second, which has it too, comes back."""
    world = World()
    nodes = {
        "ok": {"type": "wait_for_signal", "signal": "ok"},
        "again": {"type": "wait_for_signal", "after": "ok", "signal": "ok"},
    }
    workflow = world.read(workflow_of({**nodes, "work": act(seconds=100)}, output="${ [nodes.ok, nodes.again] }"))

    async def main(process: Process) -> Outcome:
        execution = await process.start(workflow)
        await pass_time(5)
        read = process.store.arrived

        async def slowly(*args: Any, **given: Any) -> list[Arrived]:
            page = await read(*args, **given)
            await pass_time(3)
            return page

        process.store.arrived = slowly  # type: ignore[method-assign]  # only this store is slow
        await asyncio.gather(process.executions.signal(execution, "ok", 1, id="one"), delayed(2, process.home.take_messages))
        await pass_time(10)
        await process.executions.signal(execution, "ok", 2, id="two")
        return await process.result(execution)

    assert world.live(main).output == [1, 2]


async def delayed(seconds: float, then: Callable[[], Awaitable[None]]) -> None:
    await pass_time(seconds)
    await then()


def test_a_message_that_comes_while_its_execution_is_loaded_is_found() -> None:
    """It was not in the inbox when that was read, and the execution not in memory when the message was looked for."""
    world = World()
    workflow = world.read(WAIT)

    async def begin(process: Process) -> ExecutionId:
        execution = await process.start(workflow)
        await pass_time(100)
        assert process.home.state(execution) is None
        return execution

    async def load(process: Process) -> Outcome:
        outside = Executions(process.store.store, world.clock)
        read = process.store.inbox

        async def slowly(*args: Any, **given: Any) -> list[Arrived]:
            page = await read(*args, **given)
            await outside.signal(execution, "ok", id="late")
            await pass_time(5)  # in which it is looked for in vain
            return page

        process.store.inbox = slowly  # type: ignore[method-assign]  # only this store is slow
        await process.home.take([execution])
        return await process.result(execution)

    execution = world.live(begin)
    assert world.live(load, adopts=False).status == "succeeded"
