"""Starts from a process that is no worker: durable at once, and carried out by whichever worker looks first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perdure.errors import StartConflict
from perdure.ids import ExecutionId
from perdure.operations.executions import Executions, FirstSignal
from perdure.runtime.plans import Plans
from perdure.store.contract import STATUSES, Store
from perdure.testing.world import World, act, workflow_of

WORKFLOW = workflow_of(
    {"ok": {"type": "wait_for_signal", "signal": "ok"}, "a": act("ok", gives="${ [input, nodes.ok] }")},
    settings={"priority": 2},
)
OK = FirstSignal(name="ok", payload="go", id="s-1")


def from_outside(world: World, ask: Callable[[Executions], Awaitable[Any]]) -> Any:
    """What a process without a home gets as its answer."""

    def asked(store: Store) -> Awaitable[Any]:
        plans = Plans(store, works=lambda origin, files: world.works())
        return ask(Executions(store, world.clock, plans=plans))

    return world.look(asked)  # type: ignore[arg-type]  # an awaitable is all it needs


def test_a_start_without_a_home_is_carried_out_by_the_first_worker() -> None:
    """It is queued, and nobody's; with its input, its priority and its signal it is begun as soon as a worker is there."""
    world = World()
    begun = from_outside(world, lambda outside: outside.start(world.read(WORKFLOW), 7, signal=OK, by="ann"))
    (row,) = world.rows()
    assert (row.execution, row.home, STATUSES[row.status], row.priority) == (begun.execution, "", "queued", 2)
    assert (begun.existing, begun.signalled) == (False, True)
    assert world.live(lambda process: process.result(begun.execution)).output == [7, "go"]
    assert world.show(begun.execution).state.by == "ann"


def test_a_large_input_travels_with_such_a_start() -> None:
    """Its blob is in the same commit, so that no worker ever finds the one without the other."""
    world = World()
    workflow = world.read(workflow_of({"a": act(gives="${ len(input) }")}))
    begun = from_outside(world, lambda outside: outside.start(workflow, "x" * 100_000))
    assert world.live(lambda process: process.result(begun.execution)).output == 100_000


def test_rule_55_such_a_start_is_made_once_for_its_key() -> None:
    """The same request finds the first execution, another one is refused; whether a worker has begun it or not."""
    world = World()
    workflow = world.read(WORKFLOW)
    first = from_outside(world, lambda outside: outside.start(workflow, 7, key="k"))
    again = from_outside(world, lambda outside: outside.start(workflow, 7, key="k", signal=OK))
    assert (again.execution, again.existing, again.signalled) == (first.execution, True, True)
    with pytest.raises(StartConflict):
        from_outside(world, lambda outside: outside.start(workflow, 8, key="k"))
    assert len(world.rows()) == 1
    assert world.live(lambda process: process.result(first.execution)).output == [7, "go"]


@pytest.mark.parametrize("given, same", [(7, True), (8, False)])
def test_rule_55_of_two_such_starts_at_the_same_time_one_is_made(given: int, same: bool) -> None:
    """Both look for the key before either has written: the second one's commit finds it taken, and writes nothing."""
    world = World()
    workflow = world.read(WORKFLOW)
    first: ExecutionId = from_outside(world, lambda outside: outside.start(workflow, 7, key="k")).execution

    async def at_the_same_time(outside: Executions) -> ExecutionId:
        store = outside._store
        keyed, asked = store.keyed, []

        async def not_yet(*key: str) -> Any:
            asked.append(key)
            return None if len(asked) == 1 else await keyed(*key)

        store.keyed = not_yet  # type: ignore[method-assign]  # it looked before the other one wrote
        return (await outside.start(workflow, given, key="k")).execution

    if same:
        assert from_outside(world, at_the_same_time) == first
    else:
        with pytest.raises(StartConflict):
            from_outside(world, at_the_same_time)
    assert len(world.rows()) == 1
