"""The curves: each a coroutine that makes one point of its size in an empty folder, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench import definitions
from bench.growth.filling import SPACING, fill, template
from bench.growth.measured import Point, measured, middle, resident
from bench.workloads import engine, read
from perdure.app import Engine
from perdure.definition import read_definition
from perdure.engine.index import Index
from perdure.expressions.times import format_time
from perdure.operations.definitions import Read
from perdure.runtime.loading import folded
from perdure.runtime.plans import catalog_of, works_for
from perdure.runtime.resident import Resident
from perdure.runtime.retention import Policy, Pruning
from perdure.store.contract import FIRST_FINAL

SIZE = 20
"""Bytes that an effect gives: what is measured is the engine, not the journal's bytes."""
IN_FLIGHT = 100
ROUNDS = 200
"""Times that something short is done, of which the median counts."""
STARTS_AT_ONCE = 500
WAKES_MAX = 100_000
AHEAD_SECONDS = 2.0
"""The moment at which all are due lies so far ahead of the first look."""


async def ended(opened: Engine, definition: Read) -> None:
    """Run one execution to its success."""
    begun = await opened.executions.start(definition, None)
    outcome = await opened.home.outcome(begun.execution)
    assert outcome.status == "succeeded", outcome


# -- steps in one execution ---------------------------------------------------------------------------------------------


async def loop_of_effects(folder: Path, size: int) -> Point:
    """A loop of so many effects, a hundred of them at a time."""
    point = Point("loop of effects", size, size)
    document = definitions.loop(size, SIZE)
    document["nodes"]["each"]["concurrency"] = IN_FLIGHT
    async with engine(folder) as opened:
        await ended(opened, read(definitions.loop(50, SIZE)))
        with measured(point, opened.store):
            await ended(opened, read(document))
    return point


async def while_of_steps(folder: Path, size: int) -> Point:
    """A `while` that counts, with a step that computes in each iteration; all results are collected."""
    point = Point("while", size, size)
    async with engine(folder) as opened:
        await ended(opened, read(_counting(50)))
        with measured(point, opened.store):
            await ended(opened, read(_counting(size)))
    return point


def _counting(size: int, after: dict[str, Any] | None = None) -> dict[str, Any]:
    begin = {**definitions.EFFECT, "with": {"size": SIZE, "number": 0}}  # or all could be over before anybody waits for its end
    each = {
        "type": "while", "after": "begin", "condition": f"${{ index < {size} }}", "max_iterations": size + 1,
        "body": {"nodes": {"n": {"type": "transform", "to": "${ index }"}}},
    }  # fmt: skip
    return {"perdure": 1, "name": "count", "nodes": {"begin": begin, "each": each, **(after or {})}, "output": "done"}


# -- width --------------------------------------------------------------------------------------------------------------


async def fan_out(folder: Path, size: int) -> Point:
    """A definition with so many effects side by side, and a node where they meet."""
    point = Point("fan-out", size, size)
    definition = read(definitions.fan_out(size, SIZE))
    async with engine(folder) as opened:
        await ended(opened, read(definitions.fan_out(10, SIZE)))
        with measured(point, opened.store):
            await ended(opened, definition)
    return point


async def wide_loop(folder: Path, size: int) -> Point:
    """A loop of so many effects, all at the same time."""
    point = Point("wide loop", size, size)
    document = definitions.loop(size, SIZE)
    document["nodes"]["each"]["concurrency"] = size
    async with engine(folder) as opened:
        await ended(opened, read(definitions.loop(50, SIZE)))
        with measured(point, opened.store):
            await ended(opened, read(document))
    return point


# -- waiting ------------------------------------------------------------------------------------------------------------


async def waiting(folder: Path, size: int) -> Point:
    """Executions that start, wait for 30 days and leave memory. Memory: what is resident after, less before, for each."""
    return await _sleepers(Point("waiting", size, size), folder, adopts=True)


async def waiting_in_memory(folder: Path, size: int) -> Point:
    """The same in a process that keeps what it started in memory, as a single `perdure run` does."""
    return await _sleepers(Point("waiting in memory", size, size), folder, adopts=False)


async def _sleepers(point: Point, folder: Path, *, adopts: bool) -> Point:
    definition = read(definitions.sleeper())
    async with engine(folder, adopts=adopts) as opened:
        await _start(opened, definition, STARTS_AT_ONCE)
        space, memory = (await opened.store.space()).total, resident()
        with measured(point, opened.store):
            await _start(opened, definition, point.size)
        point.more["starts_a_second"] = point.size / point.wall
        point.more["memory_bytes"] = max(0, resident() - memory) / point.size
        point.more["disk_bytes"] = ((await opened.store.space()).total - space) / point.size
    return point


async def _start(opened: Engine, definition: Read, count: int) -> None:
    for first in range(0, count, STARTS_AT_ONCE):
        some = min(STARTS_AT_ONCE, count - first)
        await asyncio.gather(*(opened.executions.start(definition, None) for _ in range(some)))


async def waking(folder: Path, size: int) -> Point:
    """Executions that sleep on the disk until one moment, all the same; a worker is there when it comes.

    The clock is the machine's. Lag: from the moment to the end of the first, the median and the last of them.
    """
    point = Point("waking", size, size)
    async with engine(folder, adopts=True) as opened:
        begin = time.time() + AHEAD_SECONDS + size / 5_000
        document = {
            "perdure": 1, "name": "wake", "output": "woken",
            "nodes": {"sleep": {"type": "wait_until", "time": format_time(round(begin * 1e6))}},
        }  # fmt: skip
        ends: list[float] = []
        everyone = asyncio.Event()

        def saw(execution: Any, at: int, facts: list[Any]) -> None:
            if type(facts[-1]).__name__ == "Ended":
                ends.append(time.time())
                if len(ends) == size:
                    everyone.set()

        await _start(opened, read(document), size)
        assert time.time() < begin, "Expected to be ready before the moment, but the machine was too slow."
        opened.home.observe(saw)
        await asyncio.sleep(max(0.0, begin - time.time()))
        with measured(point, opened.store):
            await everyone.wait()
        lags = sorted(end - begin for end in ends)
        point.more |= {"first_ms": lags[0] * 1e3, "median_ms": lags[size // 2] * 1e3, "last_ms": lags[-1] * 1e3}
    return point


# -- what has ended -----------------------------------------------------------------------------------------------------


async def database(folder: Path, size: int) -> Point:
    """A store with so many executions that have ended: how long it takes to start, list and resume one more, to look for
    what is interrupted, and to prune one of them. Median of two hundred; a unit is one start to its end.
    """
    point = Point("database", size, ROUNDS)
    ran = await template(folder / "template")
    chain, sleeper = read(definitions.chain(2, 100)), read(definitions.sleeper())
    async with engine(folder, adopts=True) as opened:
        await ended(opened, chain)
        await fill(opened.store, ran, size, until=opened.clock.now())
    async with engine(folder) as opened:  # caches are as empty as in a process that has just begun
        waits = [(await opened.executions.start(sleeper, None)).execution for _ in range(20)]
    async with engine(folder) as opened:
        await ended(opened, chain)
        point.more["resume_ms"] = middle([await _timed(lambda each=each: opened.home.take([each])) for each in waits])  # type: ignore[misc]  # bound at once
        with measured(point, opened.store):
            starts = [await _timed(lambda: ended(opened, chain)) for _ in range(ROUNDS)]
        point.more["start_ms"] = middle(starts)
        lists = opened.executions.list
        point.more["list_ms"] = await _often(lambda: lists(limit=50))
        point.more["list_workflow_ms"] = await _often(lambda: lists(workflow="sleeper", limit=50))
        point.more["list_failed_ms"] = await _often(lambda: lists(statuses=["failed"], limit=50))
        point.more["unfinished_ms"] = await _often(lambda: opened.store.rows(statuses=range(FIRST_FINAL), limit=50))
        point.more["claim_ms"] = await _often(lambda: opened.store.claim(opened.home.worker, 0, limit=500, level=9))
        space = await opened.store.space()
        point.more["disk_bytes"] = space.total / max(1, size)
        point.more |= await _pruned(opened, size)
    return point


async def _pruned(opened: Engine, size: int) -> dict[str, float]:
    """Microseconds to prune one of the oldest, at most ten thousand of them, and what the others wait for meanwhile."""
    some = min(size // 2, 10_000)
    if not some:
        return {}
    age = (size - some) * SPACING
    pruned = Point("prune", size, some)
    with measured(pruned):
        found = await Pruning(opened.store, opened.clock, Policy(retention=age), holder="bench").run()
    return {"prune_cpu_us": pruned.cpu / max(1, found.executions) * 1e6, "pruned": float(found.executions)}


async def _timed(call: Callable[[], Awaitable[Any]]) -> float:
    begin = time.perf_counter()
    await call()
    return (time.perf_counter() - begin) * 1e3


async def _often(call: Callable[[], Awaitable[Any]]) -> float:
    return middle([await _timed(call) for _ in range(20)])


# -- history ------------------------------------------------------------------------------------------------------------


async def history(folder: Path, size: int) -> Point:
    """An execution with so many iterations behind it that waits: how long it takes to have it in memory again.

    From its snapshot and what came after; beside it from its first fact, as without a snapshot.
    """
    point = Point("history", size, 1)
    definition = read(_counting(size, {"wait": {"type": "delay", "for": "30d", "after": "each"}}))
    async with engine(folder) as opened:
        begun = await opened.executions.start(definition, None)
        await _until_it_waits(opened, begun.execution)
        plan = definition.plan
    async with engine(folder) as opened:
        await opened.store.row(begun.execution)
        with measured(point, opened.store):
            execution, stood_at = await folded(opened.store, begun.execution)
            Index.rebuilt(plan, execution, Resident())
        begin = time.perf_counter()
        await folded(_WithoutSnapshots(opened.store), begun.execution)  # type: ignore[arg-type]  # the two calls that it makes
        point.more["refold_ms"] = (time.perf_counter() - begin) * 1e3
        point.more["load_ms"] = point.wall * 1e3
        point.more["facts"], point.more["tail_facts"] = float(execution.seq), float(execution.seq - stood_at)
        snapshot = await opened.store.snapshot(begun.execution)
        point.more["snapshot_bytes"] = float(len(snapshot.body)) if snapshot is not None else 0.0
    return point


async def _until_it_waits(opened: Engine, execution: Any) -> None:
    waits = asyncio.Event()

    def saw(whose: Any, at: int, facts: list[Any]) -> None:
        if whose == execution and any(getattr(fact, "node", "") == "wait" for fact in facts):
            waits.set()

    opened.home.observe(saw)
    await waits.wait()


class _WithoutSnapshots:
    """A store that has lost its snapshots."""

    def __init__(self, store: Any) -> None:
        self.journal = store.journal

    async def snapshot(self, execution: Any) -> None:
        """None."""


# -- definitions --------------------------------------------------------------------------------------------------------


async def definition(folder: Path, size: int) -> Point:
    """A definition of so many nodes in a chain, each with an expression: read from JSON, checked, compiled."""
    point = Point("definition", size, size)
    catalog = catalog_of(works_for(""))
    nodes: dict[str, Any] = {"n0": {"type": "transform", "to": 0}}
    for number in range(1, size):
        before = f"n{number - 1}"
        nodes[f"n{number}"] = {"type": "transform", "after": before, "to": f"${{ nodes.{before} + 1 }}"}
    text = json.dumps({"perdure": 1, "name": "long", "nodes": nodes, "output": f"${{ nodes.n{size - 1} }}"}).encode()
    read_definition(
        b'{"perdure": 1, "name": "w", "nodes": {"a": {"type": "transform", "to": 1}}}', source="w.json", catalog=catalog
    )
    with measured(point):
        checked = read_definition(text, source="long.json", catalog=catalog)
    assert checked.plan is not None, checked.faults[:3]
    return point


Curve = Callable[[Path, int], Awaitable[Point]]
CURVES: dict[str, tuple[Curve, tuple[int, ...]]] = {
    "loop": (loop_of_effects, (1_000, 10_000, 100_000, 1_000_000)),
    "while": (while_of_steps, (1_000, 10_000, 100_000, 1_000_000)),
    "fan-out": (fan_out, (100, 1_000, 10_000, 24_000)),
    "wide-loop": (wide_loop, (100, 1_000, 10_000, 100_000)),
    "waiting": (waiting, (10_000, 100_000, 1_000_000)),
    "waiting-in-memory": (waiting_in_memory, (1_000, 10_000, 100_000)),
    "waking": (waking, (1_000, 10_000, WAKES_MAX)),
    "database": (database, (0, 10_000, 100_000, 1_000_000)),
    "history": (history, (1_000, 10_000, 100_000, 1_000_000)),
    "definition": (definition, (10, 100, 1_000, 10_000)),
}
"""By name: what makes a point, and the sizes at which it is made."""

QUICK: dict[str, tuple[int, ...]] = {
    "loop": (100, 400), "while": (100, 400), "fan-out": (20, 80), "wide-loop": (20, 80), "waiting": (100, 400),
    "waiting-in-memory": (100, 400), "waking": (20, 80), "database": (0, 200, 800), "history": (100, 400),
    "definition": (10, 40),
}  # fmt: skip
"""Sizes for a look whether it runs at all, and whether what is counted is flat."""
