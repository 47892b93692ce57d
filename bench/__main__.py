"""`python -m bench`: our rows of the speed table, medians of repeated runs, and `bench/results/latest.json`."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import felt, recovery, startup, workloads
from perdure import __version__

RESULTS = Path(__file__).with_name("results") / "latest.json"
PAYLOAD = 100
DURABILITY = "WAL, synchronous=FULL; inputs, parameters, outputs journaled"
Measure = Callable[[Path], list[tuple[str, str, str, float]]]  # (workload, metric, unit, value)


def _chain(folder: Path) -> list[tuple[str, str, str, float]]:
    return [("chain", "throughput", "steps/s", asyncio.run(workloads.chain(folder)))]


def _flushes(folder: Path) -> list[tuple[str, str, str, float]]:
    return [("chain", "disk flushes per step", "flushes/step", asyncio.run(workloads.flushes(folder)))]


def _fan_out_100(folder: Path) -> list[tuple[str, str, str, float]]:
    return [("fan-out-100", "throughput", "steps/s", asyncio.run(workloads.fan_out_100(folder)))]


def _fan_out_1000(folder: Path) -> list[tuple[str, str, str, float]]:
    return [("fan-out-1000", "duration", "s", asyncio.run(workloads.fan_out_1000(folder)))]


def _loop(folder: Path) -> list[tuple[str, str, str, float]]:
    return [("loop", "throughput", "iterations/s", asyncio.run(workloads.loop(folder)))]


def _latency(folder: Path) -> list[tuple[str, str, str, float]]:
    taken = asyncio.run(workloads.latency(folder))
    return [
        ("latency", "p50", "ms", taken[len(taken) // 2]),
        ("latency", "p99", "ms", taken[int(len(taken) * 0.99)]),
    ]


def _sleepers(folder: Path) -> list[tuple[str, str, str, float]]:
    rate, weight = asyncio.run(workloads.sleepers(folder))
    return [("sleepers", "starts", "steps/s", rate), ("sleepers", "memory each", "bytes", weight)]


def _recovery(folder: Path) -> list[tuple[str, str, str, float]]:
    found = recovery.measure(folder)
    return [
        ("recovery", "kill -9: process start to first effect", "s", found.first_effect),
        ("recovery", "executions lost", "executions", found.lost),
        ("recovery", "results recorded twice", "results", found.twice),
        ("recovery", "effects in flight run again", "effects", found.again),
    ]


MEASURES: dict[str, Measure] = {
    "chain": _chain,
    "flushes": _flushes,
    "fan-out-100": _fan_out_100,
    "fan-out-1000": _fan_out_1000,
    "loop": _loop,
    "latency": _latency,
    "sleepers": _sleepers,
    "recovery": _recovery,
    "waiting": felt.waiting,
    "outputs": felt.outputs,
    "http": felt.requests,
    "python": felt.code,
    "data": felt.data,
    "definition": felt.definition,
    "slow disk": felt.slow_disk,
    "startup": startup.measure,
}
NODE_KIND = {
    "waiting": "async effects that wait 0 to 10 ms, with a timeout",
    "http": "http nodes, a server on this machine",
    "python": "python nodes in the sandbox",
    "data": "data nodes and expressions, evaluated in processes where they are large",
    "definition": "a fan-out of 10,000 effects and a join",
    "slow disk": "async effects that wait 0 to 10 ms, 100 in flight; each flush takes 5 ms longer",
    "startup": "whole processes, warm caches",
    "loop": "async no-op effects with a timeout, a loop of 1,000 iterations in one execution",
    "sleepers": "delay of 30 days",
    "recovery": "async effects of 0 to 9 ms that write to a ledger, 1,000 executions of 10",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description="Perdure's own benchmarks, embedded.")
    parser.add_argument("workloads", nargs="*", help=f"which: {', '.join(MEASURES)}; none: all")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each, interleaved; the median counts (default: 5)")
    given = parser.parse_args()
    unknown = set(given.workloads) - set(MEASURES)
    if unknown:
        parser.error(f"there is no workload {', '.join(sorted(unknown))}")
    found = _measured(given.workloads or list(MEASURES), given.repeat)
    rows = list(_rows(found))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    for row in rows:
        print(
            f"{row['workload']:14} {row['metric']:40} {row['median']:>12,.4g} {row['unit']:14} "
            f"{row['min']:,.4g} … {row['max']:,.4g}"
        )
    print(f"written to {RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS.name}")


def _measured(names: list[str], repeat: int) -> dict[tuple[str, str, str], list[float]]:
    """Every workload once, then every workload again: what slows the machine for a while slows all alike."""
    found: dict[tuple[str, str, str], list[float]] = {}
    folder = Path(tempfile.mkdtemp(prefix="perdure-bench-"))
    try:
        for round_ in range(repeat):
            for name in names:
                for workload, metric, unit, value in MEASURES[name](folder / f"{name}-{round_}"):
                    found.setdefault((workload, metric, unit), []).append(value)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _rows(found: dict[tuple[str, str, str], list[float]]) -> Iterator[dict[str, Any]]:
    for (workload, metric, unit), values in found.items():
        yield {
            "workload": workload,
            "engine": f"perdure {__version__}",
            "store": "sqlite",
            "durability": DURABILITY,
            "metric": metric,
            "unit": unit,
            "median": statistics.median(values),
            "min": min(values),
            "max": max(values),
            "payload_bytes": PAYLOAD,
            "node_kind": NODE_KIND.get(workload, "async no-op effects with a timeout"),
        }


if __name__ == "__main__":
    main()
