"""The workloads of the speed table, each a coroutine that gives one measurement in its unit."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from bench import definitions
from perdure.app import Engine, open_engine
from perdure.definition import check_document
from perdure.operations.definitions import Read
from perdure.runtime.plans import catalog_of, works_for
from perdure.settings import Settings

NODES = Path(__file__).with_name("nodes.py")
now = time.perf_counter


def read(document: dict[str, Any]) -> Read:
    """A bench definition, checked."""
    works = works_for("", (str(NODES),))
    checked = check_document(document, catalog_of(works))
    assert checked.plan is not None, checked.faults
    return Read(checked, works, "")


@asynccontextmanager
async def engine(folder: Path, *, adopts: bool = False, **settings: Any) -> AsyncIterator[Engine]:
    """An engine with everything but `settings` at its default, on a fresh file (WAL, synchronous=FULL) or on BENCH_STORE."""
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - before anything runs
    given = Settings(store=os.environ.get("BENCH_STORE") or str(folder / "bench.db"), **settings)
    async with open_engine(given, node_files=(str(NODES),), adopts=adopts) as opened:
        yield opened


async def _run(opened: Engine, definition: Read, *, input: Any = None) -> None:
    begun = await opened.executions.start(definition, input)
    outcome = await opened.home.outcome(begun.execution)
    assert outcome.status == "succeeded", outcome


async def many(opened: Engine, definition: Read, executions: int, in_flight: int) -> float:
    """Seconds that so many executions take, so many at a time."""
    gate = asyncio.Semaphore(in_flight)

    async def one() -> None:
        async with gate:
            await _run(opened, definition)

    begin = now()
    await asyncio.gather(*(one() for _ in range(executions)))
    return now() - begin


async def chain(folder: Path, *, executions: int = 500, length: int = 10, in_flight: int = 100, size: int = 100) -> float:
    """Effect steps a second."""
    definition = read(definitions.chain(length, size))
    async with engine(folder) as opened:
        await many(opened, definition, 20, 20)
        return executions * length / await many(opened, definition, executions, in_flight)


async def flushes(folder: Path, *, executions: int = 500, length: int = 10, in_flight: int = 100, size: int = 100) -> float:
    """Disk flushes a step of the chain, counted at SQLite's own file layer. Not a timed run: counting costs time."""
    from bench.flushes import counted

    with counted() as count:
        definition = read(definitions.chain(length, size))
        async with engine(folder) as opened:
            before = count.flushes
            await many(opened, definition, executions, in_flight)
            return (count.flushes - before) / (executions * length)


async def fan_out_100(folder: Path, *, executions: int = 20, width: int = 100, size: int = 100) -> float:
    """Effect steps a second, all executions at once."""
    definition = read(definitions.fan_out(width, size))
    async with engine(folder) as opened:
        await many(opened, definition, 1, 1)
        return executions * width / await many(opened, definition, executions, executions)


async def fan_out_1000(folder: Path, *, width: int = 1_000, size: int = 100) -> float:
    """Seconds for one execution."""
    definition = read(definitions.fan_out(width, size))
    async with engine(folder) as opened:
        await _run(opened, read(definitions.fan_out(2, size)))  # the first one pays for warming up
        begin = now()
        await _run(opened, definition)
        return now() - begin


async def loop(folder: Path, *, iterations: int = 1_000, size: int = 100) -> float:
    """Sequential durable iterations of one effect a second, in one execution."""
    definition = read(definitions.loop(iterations, size))
    async with engine(folder) as opened:
        await _run(opened, read(definitions.chain(2, size)))
        begin = now()
        await _run(opened, definition)
        return iterations / (now() - begin)


async def latency(folder: Path, *, rounds: int = 500, size: int = 100) -> list[float]:
    """Milliseconds from start to result of one step, one at a time, sorted."""
    definition = read(definitions.chain(1, size))
    taken = []
    async with engine(folder) as opened:
        for _ in range(50):
            await _run(opened, definition)
        for _ in range(rounds):
            begin = now()
            await _run(opened, definition)
            taken.append((now() - begin) * 1_000)
    return sorted(taken)


async def sleepers(folder: Path, *, executions: int = 100_000, in_flight: int = 500) -> tuple[float, float]:
    """Starts a second of executions that then only wait, and bytes of memory that each keeps.

    As many are started before: they fill the database's page cache, which grows to its bound with any work.
    """
    definition = read(definitions.sleeper())
    process = psutil.Process()
    gate = asyncio.Semaphore(in_flight)
    async with engine(folder, adopts=True) as opened:

        async def one() -> None:
            async with gate:
                await opened.executions.start(definition, None)

        async def all_of_them() -> None:
            for _ in range(executions // in_flight):
                await asyncio.gather(*(one() for _ in range(in_flight)))

        await all_of_them()
        gc.collect()
        before = process.memory_info().rss
        begin = now()
        await all_of_them()
        rate = executions / (now() - begin)
        gc.collect()
        return rate, max(0, process.memory_info().rss - before) / executions
