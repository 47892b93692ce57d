"""Workloads nearer to what users run: effects that wait, larger outputs, requests, code, data, many nodes, a slow disk."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from bench import definitions, workloads

now = time.perf_counter
LENGTH = 10
SLOW_FLUSH_SECONDS = 0.005
DATA_ITEMS = 10_000
Rows = list[tuple[str, str, str, float]]


def waiting(folder: Path) -> Rows:
    """Chains of effects that wait 0 to 10 ms each, so many of them in flight."""
    rows = []
    for in_flight in (100, 400, 1_000):
        rate = asyncio.run(_chain(folder / str(in_flight), _waiting(), executions=2 * in_flight, in_flight=in_flight))
        rows.append(("effects that wait", f"0 to 10 ms each, {in_flight:,} in flight", "steps/s", rate))
    return rows


def outputs(folder: Path) -> Rows:
    """The chain with larger outputs; beyond 1 KB they lie in the blob store."""
    rows = []
    for name, size in (("1 KB", 1_000), ("10 KB", 10_000)):
        rate = asyncio.run(workloads.chain(folder / str(size), executions=200, size=size))
        rows.append(("outputs", name, "steps/s", rate))
    return rows


def requests(folder: Path) -> Rows:
    """`http` nodes against a server on this machine, 100 in flight."""
    with _listener() as port:
        document = _chain_of({"type": "http", "with": {"url": f"http://127.0.0.1:{port}/"}, "timeout": "30s"})
        rate = asyncio.run(_chain(folder, document, executions=100, in_flight=100))
    return [("http", "requests to this machine, 100 in flight", "steps/s", rate)]


def code(folder: Path) -> Rows:
    """`python` nodes, each in the sandbox."""
    document = _chain_of({"type": "python", "with": {"code": "sum(range(100))"}, "timeout": "30s"})
    return [("python", "throughput", "steps/s", asyncio.run(_chain(folder, document, executions=40, in_flight=40)))]


def data(folder: Path) -> Rows:
    """One execution that maps, filters, sorts and reduces ten thousand items."""
    nodes = {
        "items": {"type": "map", "over": f"${{ range({DATA_ITEMS}) }}", "to": "${ {'n': item, 'm': item * 7 % 1000} }"},
        "few": {"type": "filter", "over": "${ nodes.items }", "where": "${ item.m > 500 }", "after": "items"},
        "sorted": {"type": "sort", "over": "${ nodes.few }", "by": "${ item.m }", "after": "few"},
        "sum": {"type": "transform", "to": "${ sum([each.n for each in nodes.sorted]) }", "after": "sorted"},
    }
    document = {"perdure": 1, "name": "data", "nodes": nodes, "output": "${ nodes.sum }"}

    async def measure() -> float:
        async with workloads.engine(folder) as opened:
            definition = workloads.read(document)
            await workloads._run(opened, definition)  # the processes that evaluate are started
            begin = now()
            await workloads._run(opened, definition)
            return now() - begin

    return [("data", f"map, filter, sort and sum of {DATA_ITEMS:,} items", "s", asyncio.run(measure()))]


def definition(folder: Path) -> Rows:
    """Checking and compiling ten thousand nodes."""
    document = definitions.fan_out(DATA_ITEMS, 100)
    begin = now()
    workloads.read(document)
    return [("definition", f"check and compile {DATA_ITEMS:,} nodes", "s", now() - begin)]


def slow_disk(folder: Path) -> Rows:
    """The waiting chain on a disk that takes 5 ms longer to flush, with commits in a thread and without."""
    rows = []
    with _slow_flushes():
        for name, threaded in (("commits in a thread when slow", "auto"), ("commits in the loop", "never")):
            rate = asyncio.run(_chain(folder / threaded, _waiting(), executions=200, in_flight=100, commit_thread=threaded))
            rows.append(("slow disk", name, "steps/s", rate))
    return rows


def _waiting() -> dict[str, Any]:
    return _chain_of({"type": "bench.waiting", "timeout": "30s"})


def _chain_of(effect: dict[str, Any]) -> dict[str, Any]:
    nodes = {f"n{number}": {**effect, **({"after": f"n{number - 1}"} if number else {})} for number in range(LENGTH)}
    return {"perdure": 1, "name": "chain", "nodes": nodes, "output": "done"}


async def _chain(folder: Path, document: dict[str, Any], *, executions: int, in_flight: int, **settings: Any) -> float:
    definition = workloads.read(document)
    async with workloads.engine(folder, **settings) as opened:
        await workloads.many(opened, definition, 10, 10)
        return executions * LENGTH / await workloads.many(opened, definition, executions, in_flight)


@contextmanager
def _listener() -> Iterator[int]:
    command = [sys.executable, "-m", "bench.listener"]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.terminate()


@contextmanager
def _slow_flushes() -> Iterator[None]:
    """Every database opened inside lies on a disk that takes its time."""

    class File(apsw.VFSFile):  # type: ignore[misc]
        def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
            time.sleep(SLOW_FLUSH_SECONDS)
            super().xSync(flags)

    class Layer(apsw.VFS):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__("slow", "unix", makedefault=True)

        def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802 - SQLite's name
            return File("unix", name, flags)

    layer = Layer()
    try:
        yield
    finally:
        layer.unregister()
