"""Sub-workflows in a running engine: children start once, end where they should, and hear of their parent (rules 40, 41)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from perdure.errors import Refused
from perdure.ids import ExecutionId
from perdure.operations import definitions
from perdure.runtime.hot import Outcome
from perdure.store.contract import STATUSES, Row
from perdure.testing.faults import Crash
from perdure.testing.world import Process, World, act, pass_time, workflow_of


def child_of(nodes: Mapping[str, Any], **keys: Any) -> dict[str, Any]:
    """A document named `child`."""
    return {**workflow_of(nodes, **keys), "name": "child"}


async def saved(process: Process, *documents: Mapping[str, Any]) -> None:
    """Keep definitions in the store, to be started by name."""
    for document in documents:
        read = process.world.read(document)
        await definitions.save(process.engine.store, process.home.plans, process.engine.clock, read)


def rows_of(world: World, workflow: str) -> list[Row]:
    return [row for row in world.rows() if row.workflow == workflow]


def statuses(world: World, workflow: str) -> list[str]:
    """How the executions of a workflow stand, the oldest first."""
    return [STATUSES[row.status] for row in reversed(rows_of(world, workflow))]


def run(world: World, parent: Mapping[str, Any], *children: Mapping[str, Any], input: Any = None) -> Outcome:
    """One process keeps the children's definitions and runs the parent."""

    async def main(process: Process) -> Outcome:
        await saved(process, *children)
        return await process.run(world.read(parent), input)

    return world.live(main)


CALL = {"type": "subworkflow", "workflow": "child"}


def test_rule_40_a_child_is_started_once_wherever_its_parent_dies() -> None:
    """Worked graph 11: three attempts are at most three children; a death between wish and start makes none more."""
    failing = child_of({"a": act(seconds=1, fails=["x.y"])})
    parent = workflow_of({"sub": {**CALL, "retry": {"attempts": 3, "initial": "1s", "jitter": False}}})

    async def first(process: Process) -> Outcome:
        await saved(process, failing)
        return await process.run(process.world.read(parent), key="k")

    undisturbed = World()
    assert undisturbed.live(first).error["code"] == "x.y"  # type: ignore[index]  # it failed
    assert statuses(undisturbed, "child") == ["failed"] * 3
    calls = 60
    died = 0
    for call in range(1, calls):
        world = World()
        try:
            world.live(first, die=(call, "after"))
        except Crash:
            died += 1
            world.live(first)
        assert statuses(world, "child") == ["failed"] * 3, f"died after call {call}"
    assert died > 20


def test_rule_40_a_pinned_child_keeps_the_definition_its_parent_started_with() -> None:
    """A newer definition of the child's name, saved while the parent runs, is for parents that start later."""
    world = World()
    old = child_of({"a": {"type": "transform", "to": "old"}})
    new = child_of({"a": {"type": "transform", "to": "new"}})

    def parent(version: str) -> dict[str, Any]:
        return workflow_of(
            {"wait": act(seconds=10), "sub": {**CALL, "after": "wait", "version": version}}, output="${ nodes.sub }"
        )

    async def main(process: Process) -> tuple[Any, Any]:
        await saved(process, old)
        pinned = await process.start(world.read(parent("pinned")))
        channel = await process.start(world.read({**parent("channel"), "name": "other"}))
        await pass_time(2)
        await saved(process, new)
        return (await process.result(pinned)).output, (await process.result(channel)).output

    assert world.live(main) == ("old", "new")


def test_rule_40_an_unknown_workflow_is_refused_before_anything_starts() -> None:
    """Every one that is missing is named."""
    world = World()
    with pytest.raises(Refused) as refused:
        run(world, workflow_of({"a": {**CALL, "workflow": "one"}, "b": {**CALL, "workflow": "two"}}))
    assert refused.value.code == "workflow.unknown"
    assert "`one`" in refused.value.message
    assert "`two`" in refused.value.message
    assert world.rows() == []


def test_rule_40_a_name_that_is_computed_and_unknown_fails_the_node() -> None:
    """It cannot be known before; the node's error edge takes it."""
    parent = workflow_of(
        {
            "sub": {**CALL, "workflow": "${ input.name }"},
            "no": {"type": "transform", "after": "sub.error", "to": "${ [error.code, error.category] }"},
        },
        output="${ nodes.no }",
    )
    assert run(World(), parent, input={"name": "nowhere"}).output == ["workflow.unknown", "validation"]


def test_rule_40_an_input_that_does_not_fit_fails_the_node() -> None:
    """The child's own schema says what it takes; no child is started."""
    world = World()
    parent = workflow_of({"sub": {**CALL, "input": {"n": "x"}}})
    takes = child_of({"a": {"type": "transform", "to": 1}}, input={"type": "object", "properties": {"n": {"type": "integer"}}})
    outcome = run(world, parent, takes)
    assert outcome.error is not None
    assert (outcome.status, outcome.error["code"]) == ("failed", "input.refused")
    assert "input.n" in outcome.error["title"]
    assert statuses(world, "child") == []


def test_rule_40_recursion_ends_at_the_depth_that_is_set() -> None:
    """A workflow that calls itself for ever fails where the limit is, from the inside out."""
    world = World()
    endless = workflow_of({"again": {"type": "subworkflow", "workflow": "w"}}, settings={"depth_max": 3})
    outcome = run(world, endless)
    assert outcome.error is not None
    assert outcome.error["code"] == "subworkflow.too_deep"
    assert statuses(world, "w") == ["failed"] * 4


def test_rule_40_a_child_that_is_not_waited_for_goes_on_alone() -> None:
    """The node is done when the child is started; the child outlives its parent."""
    world = World()
    parent = workflow_of({"sub": {**CALL, "wait": False}}, output="${ nodes.sub.execution }")

    async def main(process: Process) -> Outcome:
        await saved(process, child_of({"a": act(seconds=50, gives=1)}))
        outcome = await process.run(world.read(parent))
        assert statuses_now(await process.engine.store.rows()) == {"w": ["succeeded"], "child": ["running"]}
        await pass_time(60)
        return outcome

    outcome = world.live(main)
    assert str(outcome.output).startswith("ex_")
    assert statuses(world, "child") == ["succeeded"]


def statuses_now(rows: list[Row]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.workflow, []).append(STATUSES[row.status])
    return found


@pytest.mark.parametrize(
    "on_parent_close, status", [("abandon", "succeeded"), ("cancel", "cancelled"), ("terminate", "cancelled")]
)
def test_rule_41_on_parent_close_speaks_of_children_that_are_not_waited_for(on_parent_close: str, status: str) -> None:
    """When the parent ends first, the child goes on, is cancelled or terminated."""
    world = World()
    parent = workflow_of({"sub": {**CALL, "wait": False, "on_parent_close": on_parent_close}})

    async def main(process: Process) -> None:
        await saved(process, child_of({"a": act(seconds=50, gives=1)}))
        await process.run(world.read(parent))
        await pass_time(60)

    world.live(main)
    assert statuses(world, "child") == [status]


async def cancelled_after(process: Process, parent: Mapping[str, Any], action: str = "cancel") -> tuple[ExecutionId, Outcome]:
    execution = await process.start(process.world.read(parent))
    await pass_time(5)
    await process.executions.operate(execution, action, by="ann")
    return execution, await process.result(execution)


@pytest.mark.parametrize("on_cancel, status", [("cancel", "cancelled"), ("abandon", "succeeded")])
def test_rule_41_a_cancel_reaches_the_child_unless_it_is_abandoned(on_cancel: str, status: str) -> None:
    """`cancel` waits for the child's end; `abandon` lets go at once."""
    world = World()

    async def main(process: Process) -> Outcome:
        await saved(process, child_of({"a": act(seconds=50, gives=1)}))
        _, outcome = await cancelled_after(process, workflow_of({"sub": {**CALL, "on_cancel": on_cancel}}))
        await pass_time(60)
        return outcome

    assert world.live(main).status == "cancelled"
    assert statuses(world, "child") == [status]


def test_rule_41_a_terminate_ends_the_child_too() -> None:
    """Nobody is waited for, and nothing is left running."""
    world = World()

    async def main(process: Process) -> Outcome:
        await saved(process, child_of({"a": act(seconds=50, gives=1)}))
        _, outcome = await cancelled_after(process, workflow_of({"sub": CALL}), "terminate")
        await pass_time(10)
        return outcome

    assert world.live(main).status == "cancelled"
    assert statuses(world, "child") == ["cancelled"]


def test_rule_41_a_child_that_cleans_up_for_too_long_is_let_go_and_the_cause_says_so() -> None:
    """The budget is the parent's: when it is used, the parent ends without the child."""
    world = World()
    slow = child_of(
        {
            "t": {
                "type": "try",
                "body": {"nodes": {"a": act(seconds=100)}},
                "finally": {"nodes": {"tidy": act(seconds=40, gives=1)}},
            }
        }
    )
    parent = workflow_of({"sub": CALL}, settings={"cleanup": "10s"})

    async def main(process: Process) -> tuple[ExecutionId, Outcome]:
        await saved(process, slow)
        found = await cancelled_after(process, parent)
        await pass_time(60)
        return found

    execution, outcome = world.live(main)
    assert outcome.status == "cancelled"
    shown = world.show(execution)
    assert "was let go" in shown.state.frames[""].instances["sub"].cause
    assert statuses(world, "child") == ["cancelled"]


def test_rule_41_the_deadline_handed_down_is_the_earlier_one() -> None:
    """The parent has 20 s left, the node 60: the child times out with its parent."""
    world = World()
    parent = workflow_of({"sub": {**CALL, "timeout": "60s"}}, settings={"timeout": "20s"})
    assert run(world, parent, child_of({"a": act(seconds=100)})).status == "timed_out"
    assert statuses(world, "child")[0] in ("timed_out", "cancelled")
    child = rows_of(world, "child")[0]
    assert world.show(child.execution).state.started + 20_000_000 >= child.updated


def test_rule_41_a_childs_timeout_is_the_nodes_failure() -> None:
    """Category `timeout`: the `timeout` edge takes it."""
    parent = workflow_of(
        {"sub": CALL, "late": {"type": "transform", "after": "sub.error", "to": "${ [error.code, error.category] }"}},
        output="${ nodes.late }",
    )
    slow = child_of({"a": act(seconds=100)}, settings={"timeout": "5s"})
    assert run(World(), parent, slow).output == ["timeout.subworkflow", "timeout"]


def test_rule_41_a_pause_reaches_the_children_that_are_waited_for() -> None:
    """The child's next node does not start until the parent goes on; frozen clocks stand still in both."""
    world = World()
    steps = child_of({"a": act(seconds=10), "b": act("a", seconds=1, gives="done")}, output="${ nodes.b }")
    parent = workflow_of({"sub": CALL}, output="${ nodes.sub }")

    async def main(process: Process) -> Outcome:
        await saved(process, steps)
        execution = await process.start(world.read(parent))
        await pass_time(5)
        await process.executions.operate(execution, "pause", by="ann")
        await pass_time(100)
        assert world.ledger.paths() == ["a"]
        assert statuses_now(await process.engine.store.rows()) == {"child": ["paused"], "w": ["paused"]}
        await process.executions.operate(execution, "resume", value="frozen", by="ann")
        return await process.result(execution)

    assert world.live(main).output == "done"


def test_a_child_inherits_the_priority_and_may_have_its_own() -> None:
    """Rule 41: unless the node names one."""
    world = World()
    parent = workflow_of({"a": CALL, "b": {**CALL, "priority": 5, "after": "a"}}, settings={"priority": 2})
    run(world, parent, child_of({"t": {"type": "transform", "to": 1}}))
    assert [row.priority for row in reversed(rows_of(world, "child"))] == [2, 5]


def test_the_family_goes_on_in_another_process() -> None:
    """Parent and children lie still when their process stops, and go on together in the next one."""
    world = World()
    parent = workflow_of(
        {
            "each": {
                "type": "loop", "over": "${ [1, 2, 3] }", "concurrency": 3,
                "body": {"nodes": {"sub": {**CALL, "input": "${ item }"}}}, "result": "${ nodes.sub }",
            }
        },
        output="${ nodes.each.results }",
    )  # fmt: skip
    waits = child_of(
        {"d": {"type": "delay", "for": "30s"}, "a": act("d", seconds=1, gives="${ input }")}, output="${ nodes.a }"
    )

    async def first(process: Process) -> ExecutionId:
        await saved(process, waits)
        execution = await process.start(world.read(parent))
        await pass_time(10)
        return execution

    execution = world.live(first)
    assert world.live(lambda process: process.result(execution)).output == [1, 2, 3]
    assert len(rows_of(world, "child")) == 3


def test_rule_44_an_error_workflow_starts_with_the_failed_execution_as_its_input() -> None:
    """It is told of the execution, its input and its error; its own failure starts nothing further."""
    world = World()
    handler = {
        **workflow_of({"say": act(gives="${ [input.status, input.error.code, input.input] }")}, output="${ nodes.say }"),
        "name": "handler",
        "settings": {"error_workflow": "handler"},
    }
    parent = workflow_of({"a": act(fails=["x.y"])}, settings={"error_workflow": "handler"})

    async def main(process: Process) -> None:
        await saved(process, handler)
        await process.run(world.read(parent), {"n": 1})
        await pass_time(10)

    world.live(main)
    (row,) = rows_of(world, "handler")
    shown = world.show(row.execution)
    assert shown.status == "succeeded"
    assert shown.state.relation == "error"
