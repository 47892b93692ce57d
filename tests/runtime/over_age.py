"""Workflows that end, worlds in which they end, and passes over them: what the tests of retention share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.ids import ExecutionId
from perdure.operations import definitions
from perdure.operations.verification import Verification
from perdure.runtime.retention import Policy, Pruned, Pruning
from perdure.store.contract import Store
from perdure.testing.world import Process, World, act, pass_time, workflow_of

DAY = 86_400_000_000
DAY_SECONDS = 86_400
ONE_DAY = Policy(retention=DAY)
QUICK = workflow_of({"a": {"type": "transform", "to": 1}})
WAITS = workflow_of({"ask": {"type": "wait_for_signal", "signal": "go"}})


def prune(world: World, policy: Policy = ONE_DAY, *, unnamed: int = 0, **given: Any) -> Pruned:
    """One pass, by a process that does nothing else."""
    return world.look(lambda store: Pruning(store, world.clock, policy, holder="p", unnamed=unnamed, **given).run())


def run(world: World, document: Mapping[str, Any], input: Any = None, **given: Any) -> ExecutionId:
    """Run a workflow to its end."""

    async def main(process: Process) -> ExecutionId:
        execution = await process.start(world.read(document), input, **given)
        await process.result(execution)
        return execution

    return world.live(main)


def begin(world: World, document: Mapping[str, Any], *children: Mapping[str, Any]) -> ExecutionId:
    """Start a workflow and leave it waiting."""

    async def main(process: Process) -> ExecutionId:
        for child in children:
            await definitions.save(process.engine.store, process.home.plans, world.clock, world.read(child))
        execution = await process.start(world.read(document))
        await pass_time(5)
        return execution

    return world.live(main)


def left(world: World) -> list[ExecutionId]:
    return [row.execution for row in reversed(world.rows())]


def sound(world: World) -> list[str]:
    """What a verification of the store finds."""

    async def verify(store: Store) -> list[str]:
        return [finding.sentence async for finding in Verification(store).findings()]

    return world.look(verify)


LARGE = workflow_of({"a": act(bytes=5_000)}, output="${ nodes.a }")


def blobs(world: World) -> int:
    async def count(store: Store) -> int:
        return len((await store.old_blobs(unsaved=0))[0])

    return world.look(count)


def bodies(world: World) -> list[tuple[ExecutionId | None, bytes]]:
    """All that is stored of executions and events."""

    async def read(store: Store) -> list[tuple[ExecutionId | None, bytes]]:
        found, after = await store.bodies()
        while after:
            page, after = await store.bodies(after=after)
            found += page
        return found

    return world.look(read)
