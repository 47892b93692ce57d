"""The workloads, run the same way on every peer, and the protocol between a runner and the comparison.

A runner is called with an engine's name and workloads, and prints one JSON line for each. Only the standard library is imported
here, since runners use this inside their engine's own environment.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NoReturn, Protocol

from bench.peers.engines import ENGINES, WORKLOADS, Load

now = time.perf_counter


class Peer(Protocol):
    """What a runner makes of its engine."""

    version: str
    shapes: dict[str, Callable[[int], Awaitable[Any]]]  # "chain", "fan", "loop" -> one execution of that size, to its end


class Timekeeper(Peer, Protocol):
    """A peer that has durable timers."""

    async def sleep(self) -> None:
        """Starts one execution that waits 30 days; returns when the engine has taken it in."""

    async def asleep(self, count: int) -> None:
        """Returns when so many executions wait durably; at once, where `sleep` returns no earlier than that."""

    def processes(self) -> list[int]:
        """The processes whose memory holds what waits; none, where memory tells nothing."""


async def _many(run: Callable[[], Awaitable[Any]], executions: int, in_flight: int) -> float:
    """Seconds that so many executions take, so many at a time."""
    gate = asyncio.Semaphore(in_flight)

    async def one() -> None:
        async with gate:
            await run()

    begin = now()
    await asyncio.gather(*(one() for _ in range(executions)))
    return now() - begin


async def _throughput(peer: Peer, shape: str, load: Load) -> list[float]:
    run = peer.shapes[shape]
    await _many(lambda: run(load.size), max(1, load.executions // 10), load.in_flight)  # pays for warming up
    return [load.executions * load.size / await _many(lambda: run(load.size), load.executions, load.in_flight)]


async def _alone(peer: Peer, shape: str, load: Load) -> float:
    """Seconds for one execution, after a small one that pays for warming up."""
    await peer.shapes[shape](2)
    begin = now()
    await peer.shapes[shape](load.size)
    return now() - begin


async def chain(peer: Peer, load: Load) -> list[float]:
    return await _throughput(peer, "chain", load)


async def fan_out_100(peer: Peer, load: Load) -> list[float]:
    return await _throughput(peer, "fan", load)


async def fan_out_1000(peer: Peer, load: Load) -> list[float]:
    return [await _alone(peer, "fan", load)]


async def loop(peer: Peer, load: Load) -> list[float]:
    return [load.size / await _alone(peer, "loop", load)]


async def latency(peer: Peer, load: Load) -> list[float]:
    """p50 and p99, one execution at a time."""
    taken = []
    for number in range(load.executions + load.executions // 10):
        begin = now()
        await peer.shapes["chain"](1)
        if number >= load.executions // 10:
            taken.append((now() - begin) * 1_000)
    taken.sort()
    return [taken[len(taken) // 2], taken[int(len(taken) * 0.99)]]


async def sleepers(peer: Timekeeper, load: Load) -> list[float | None]:
    """Starts a second, and the bytes by which the engine's processes have grown for each, if that can be told."""
    await _many(peer.sleep, load.in_flight, load.in_flight)
    await peer.asleep(load.in_flight)
    gc.collect()
    before = _resident(peer.processes())
    begin = now()
    await _many(peer.sleep, load.executions, load.in_flight)
    await peer.asleep(load.in_flight + load.executions)
    taken = now() - begin
    gc.collect()
    grown = max(0, _resident(peer.processes()) - before) / load.executions if peer.processes() else None
    return [load.executions / taken, grown]


MEASURES: dict[str, Callable[[Any, Load], Awaitable[Sequence[float | None]]]] = {
    "chain": chain,
    "fan-out-100": fan_out_100,
    "fan-out-1000": fan_out_1000,
    "loop": loop,
    "latency": latency,
    "sleepers": sleepers,
}


def _resident(processes: list[int]) -> int:
    """Bytes of memory that the processes hold."""
    if not processes:
        return 0
    listed = ",".join(map(str, processes))
    shown = subprocess.run(["ps", "-o", "rss=", "-p", listed], capture_output=True, text=True, check=True)
    return sum(map(int, shown.stdout.split())) * 1_024


class Report:
    """The way to whoever called the runner: its standard output, which from here on nothing else can write to."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what libraries print goes where errors go

    def tell(self, engine: str, version: str, workload: str, values: Sequence[float | None]) -> None:
        """One line: the figures of one workload; what could not be told is left out."""
        metrics = WORKLOADS[workload].metrics
        told = [(of, value) for of, value in zip(metrics, values, strict=True) if value is not None]
        figures = [{"metric": of.name, "unit": of.unit, "value": value} for of, value in told]
        line = {
            "engine": engine,
            "version": version,
            "workload": workload,
            "figures": figures,
            "load": ENGINES[engine].loads[workload]._asdict(),
            "durability": ENGINES[engine].durability,
        }
        self._out.write(json.dumps(line) + "\n")
        self._out.flush()


def report(opened: Callable[[str], AbstractAsyncContextManager[Peer]]) -> NoReturn:
    """What every runner does: opens its engine under the name given first, measures the workloads given after it, reports."""
    engine, *workloads = sys.argv[1:]
    to = Report()

    async def run() -> None:
        async with opened(engine) as peer:
            for workload in workloads:
                to.tell(engine, peer.version, workload, await MEASURES[workload](peer, ENGINES[engine].loads[workload]))

    def stop(number: int, _: Any) -> None:
        raise KeyboardInterrupt(f"signal {number}")

    signal.signal(signal.SIGTERM, stop)
    asyncio.run(run())
    sys.stderr.flush()
    os._exit(0)  # without waiting for threads of executions that still wait
