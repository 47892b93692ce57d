"""Idempotent starts: one key and one input are one execution, whoever asks, however often, before and after a restart."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.errors import InputRefused, StartConflict
from perdure.ids import ExecutionId
from perdure.testing.world import Process, World, act, workflow_of

PAY = workflow_of({"pay": act(seconds=1, gives="${ input.amount }")})


def test_rule_55_the_same_key_and_input_are_the_same_execution() -> None:
    """The second start finds the first one's execution, and says that it was there."""
    world = World()

    async def main(process: Process) -> list[Any]:
        workflow = world.read(PAY)
        return [await process.executions.start(workflow, {"amount": 5}, key="order-1") for _ in range(3)]

    begun = world.live(main)
    assert len({each.execution for each in begun}) == 1
    assert [each.existing for each in begun] == [False, True, True]
    assert len(world.rows()) == 1


def test_rule_55_the_order_of_keys_in_the_input_does_not_matter() -> None:
    """Two ways of writing one object are one input."""
    world = World()

    async def main(process: Process) -> set[ExecutionId]:
        workflow = world.read(PAY)
        inputs = ({"amount": 5, "to": {"a": 1, "b": 2}}, {"to": {"b": 2, "a": 1}, "amount": 5})
        return {await process.start(workflow, each, key="k") for each in inputs}

    assert len(world.live(main)) == 1


def test_rule_55_starts_at_the_same_moment_are_one_execution() -> None:
    """Five callers with one key in one turn of the home: one execution, one effect, one answer for all."""
    world = World()

    async def main(process: Process) -> list[Any]:
        workflow = world.read(PAY)
        starts = [process.start(workflow, {"amount": 5}, key="k") for _ in range(5)]
        executions = await asyncio.gather(*starts)
        outcomes = await asyncio.gather(*(process.result(execution) for execution in executions))
        return [outcome.output for outcome in outcomes]

    assert world.live(main) == [5] * 5
    assert len(world.rows()) == 1
    assert len(world.ledger.sent) == 1


@pytest.mark.parametrize("key", ["", "k"])
def test_a_caller_who_gives_up_on_a_start_harms_nobody(key: str) -> None:
    """The start that nobody waits for any more is carried through or not, and the home goes on with all others."""
    world = World()

    async def main(process: Process) -> list[Any]:
        workflow = world.read(PAY)
        given_up = [asyncio.ensure_future(process.start(workflow, {"amount": 5}, key=key)) for _ in range(2)]
        await asyncio.sleep(0)  # they have asked, and the home has not written anything yet
        for task in given_up:
            task.cancel()
        return [(await process.run(workflow, {"amount": amount}, key=f"{key}{amount}")).output for amount in (6, 7)]

    assert world.live(main) == [6, 7]


def test_rule_55_another_input_under_the_same_key_is_a_conflict() -> None:
    """The caller hears which execution has the key, and nothing is started; also when both ask at the same moment."""
    world = World()

    async def main(process: Process) -> tuple[Any, Any]:
        workflow = world.read(PAY)
        both = await asyncio.gather(
            *(process.start(workflow, {"amount": amount}, key="k") for amount in (5, 6)), return_exceptions=True
        )
        with pytest.raises(StartConflict, match="with another payload"):
            await process.start(workflow, {"amount": 7}, key="k")
        return both[0], both[1]

    first, second = world.live(main)
    assert isinstance(first, bytes)
    assert isinstance(second, StartConflict)
    assert len(world.rows()) == 1


def test_rule_55_a_key_belongs_to_one_workflow_and_none_is_no_key() -> None:
    """Another workflow may use the same key, and starts without a key are all different."""
    world = World()

    async def main(process: Process) -> None:
        await process.start(world.read(PAY), {"amount": 5}, key="k")
        await process.start(world.read({**PAY, "name": "other"}), {"amount": 6}, key="k")
        for _ in range(2):
            await process.start(world.read(PAY), {"amount": 5})

    world.live(main)
    assert len(world.rows()) == 4


def test_rule_55_a_key_is_known_after_a_restart_and_so_is_its_payload() -> None:
    """The next process finds the execution of the key, ended as it is, and refuses another payload."""
    world = World()
    workflow = world.read(PAY)
    outcome = world.live(lambda process: process.run(workflow, {"amount": 5}, key="k"))
    assert world.live(lambda process: process.run(workflow, {"amount": 5}, key="k")) == outcome

    async def conflicts(process: Process) -> None:
        with pytest.raises(StartConflict):
            await process.start(workflow, {"amount": 6}, key="k")

    world.live(conflicts)
    assert len(world.ledger.sent) == 1


def test_rule_55_a_failed_execution_is_found_too() -> None:
    """A repeat does not try again what has failed: it gets the same failure."""
    world = World()
    workflow = world.read(workflow_of({"a": act(fails=["x.y", "x.y"])}))

    async def main(process: Process) -> None:
        for _ in range(2):
            outcome = await process.run(workflow, key="k")
            assert outcome.status == "failed"

    world.live(main)
    assert len(world.ledger.sent) == 1


def test_rule_55_a_repeat_after_the_definition_changed_finds_the_old_execution() -> None:
    """The key stands for the request, not for the version that answered it (worked graph 14)."""
    world = World()

    async def main(process: Process) -> tuple[Any, Any]:
        first = await process.executions.start(world.read(PAY), {"amount": 5}, key="k")
        changed = world.read(workflow_of({"pay": act(seconds=2, gives="${ input.amount * 2 }")}))
        second = await process.executions.start(changed, {"amount": 5}, key="k")
        assert second.existing
        return first.execution, second.execution

    first, second = world.live(main)
    assert first == second


@pytest.mark.parametrize(
    "input", [float("nan"), {"a": 2**64}, {"a": "\ud800"}, "x" * 2_000], ids=["nan", "int", "text", "size"]
)
def test_an_input_that_cannot_be_kept_starts_nothing(input: Any) -> None:
    """The caller is told at once; no row, no key, no definition is left behind."""
    world = World(payload_max=1_999)

    async def main(process: Process) -> None:
        with pytest.raises(InputRefused):
            await process.start(world.read(workflow_of({"a": act()})), input, key="k")

    world.live(main)
    assert world.rows() == []


def test_an_input_that_does_not_fit_the_schema_starts_nothing_and_names_every_fault() -> None:
    """All faults of the input at once, each with its place."""
    world = World()
    schema = {"type": "object", "required": ["a"], "properties": {"b": {"type": "integer"}}}

    async def main(process: Process) -> str:
        with pytest.raises(InputRefused) as refused:
            await process.start(world.read(workflow_of({"a": act()}, input=schema)), {"b": "text"})
        return refused.value.message

    message = world.live(main)
    assert "input.b" in message
    assert "'a'" in message or '"a"' in message
    assert world.rows() == []


def test_a_large_input_is_kept_by_digest_and_read_like_any_other() -> None:
    """An input of 400 KB stays out of the journal, and its workflow sees all of it, also after a restart."""
    world = World()
    workflow = world.read(
        workflow_of({"a": act(seconds=9), "size": {"type": "transform", "after": "a", "to": "${ len(input.text) }"}})
    )

    async def begins(process: Process) -> ExecutionId:
        return await process.start(workflow, {"text": "x" * 400_000})

    execution = world.live(begins)
    outcome = world.live(lambda process: process.result(execution))
    assert outcome.output == 400_000
    sizes = world.look(lambda store: store.journal(execution))
    assert sum(len(row.body) for row in sizes) < 2_000
