"""`python -m bench`: our rows of the speed table, medians of repeated runs, and `bench/results/latest.json`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import felt, recovery, startup, workloads
from bench.pages import placed, table
from bench.peers.tables import number
from perdure import __version__
from perdure.cli.budget import PARTS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "latest.json"
PAGE = ROOT / "docs" / "guide" / "speed.md"
PAYLOAD = 100
DURABILITY = "WAL, synchronous=FULL; inputs, parameters, outputs journaled"
Measure = Callable[[Path], list[tuple[str, str, str, float]]]  # (workload, metric, unit, value)


def _chain(folder: Path) -> list[tuple[str, str, str, float]]:
    return [("chain", "500 × 10 steps, 100 in flight", "steps/s", asyncio.run(workloads.chain(folder)))]


def _flushes(folder: Path) -> list[tuple[str, str, str, float]]:
    return [("chain", "disk flushes per step", "flushes", asyncio.run(workloads.flushes(folder)))]


def _fan_out_100(folder: Path) -> list[tuple[str, str, str, float]]:
    return [("fan-out", "20 × 100 steps and a join", "steps/s", asyncio.run(workloads.fan_out_100(folder)))]


def _fan_out_1000(folder: Path) -> list[tuple[str, str, str, float]]:
    return [("fan-out", "1,000 steps and a join, one execution", "s", asyncio.run(workloads.fan_out_1000(folder)))]


def _loop(folder: Path) -> list[tuple[str, str, str, float]]:
    return [("loop", "1,000 durable iterations, one execution", "iterations/s", asyncio.run(workloads.loop(folder)))]


def _latency(folder: Path) -> list[tuple[str, str, str, float]]:
    taken = asyncio.run(workloads.latency(folder))
    return [
        ("latency", "start to result of one step, p50", "ms", taken[len(taken) // 2]),
        ("latency", "start to result of one step, p99", "ms", taken[int(len(taken) * 0.99)]),
    ]


def _sleepers(folder: Path) -> list[tuple[str, str, str, float]]:
    rate, weight = asyncio.run(workloads.sleepers(folder))
    return [
        ("waiting", "starts of executions that wait 30 days", "starts/s", rate),
        ("waiting", "memory each", "bytes", weight),
    ]


def _recovery(folder: Path) -> list[tuple[str, str, str, float]]:
    found = recovery.measure(folder)
    return [
        ("kill -9", "process start to first effect", "s", found.first_effect),
        ("kill -9", "executions lost", "executions", found.lost),
        ("kill -9", "results recorded twice", "results", found.twice),
        ("kill -9", "effects in flight run again", "effects", found.again),
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
    "loop": "async no-op effects with a timeout, a loop of 1,000 iterations in one execution",
    "waiting": "delay of 30 days",
    "kill -9": "async effects of 0 to 9 ms that write to a ledger, 1,000 executions of 10",
    "effects that wait": "async effects that wait 0 to 10 ms, with a timeout",
    "http": "http nodes, a server on this machine",
    "python": "python nodes in the sandbox",
    "data": "data nodes and expressions, evaluated in processes where they are large",
    "definition": "a fan-out of 10,000 effects and a join",
    "slow disk": "async effects that wait 0 to 10 ms, 100 in flight; each flush takes 5 ms longer",
    "startup": "whole processes, warm caches",
}
GOALS = {
    "500 × 10 steps, 100 in flight": "≥ 20,000",
    "disk flushes per step": "≤ 0.1",
    "20 × 100 steps and a join": "≥ 30,000",
    "1,000 steps and a join, one execution": "≤ 0.05",
    "1,000 durable iterations, one execution": "≥ 4,000",
    "start to result of one step, p50": "≤ 0.6",
    "start to result of one step, p99": "≤ 1.5",
    "starts of executions that wait 30 days": "≥ 20,000",
    "memory each": "≤ 100",
    "process start to first effect": "< 0.3",
    "executions lost": "0",
    "results recorded twice": "0",
    "perdure --help": "< 0.25",
    "perdure check examples/orders/order.yaml": "< 0.4",
    "perdure run: first effect": "< 0.6",
}
"""What each row was meant to reach when it was planned, on two cores and with a fast disk."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description="Perdure's own benchmarks, embedded.")
    parser.add_argument("workloads", nargs="*", help=f"which: {', '.join(MEASURES)}; none: all")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each, interleaved; the median counts (default: 5)")
    parser.add_argument("--publish", action="store_true", help="also write the tables of docs/guide/speed.md")
    given = parser.parse_args()
    unknown = set(given.workloads) - set(MEASURES)
    if unknown:
        parser.error(f"there is no workload {', '.join(sorted(unknown))}")
    if given.publish and given.workloads:
        parser.error("a table of some workloads would lose the others: publish all of them")
    load = os.getloadavg()[0]
    rows = list(_rows(_measured(given.workloads or list(MEASURES), given.repeat)))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    for row in rows:
        print(
            f"{row['workload']:18} {row['metric']:46} {row['median']:>12,.4g} {row['unit']:14} "
            f"{row['min']:,.4g} … {row['max']:,.4g}"
        )
    print(f"written to {RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS.name}")
    if given.publish:
        page = placed(PAGE.read_text(), "ours", ours(rows, repeat=given.repeat, load=load))
        PAGE.write_text(placed(page, "budget", budget(_profiles())))


def ours(rows: list[dict[str, Any]], *, repeat: int, load: float) -> str:
    """The rows as a table, and how they were measured."""
    lines = [
        (
            row["workload"], row["metric"], f"**{number(row['median'])}** {row['unit']}",
            f"{number(row['min'])} … {number(row['max'])}", GOALS.get(row["metric"], ""),
        )
        for row in rows
    ]  # fmt: skip
    how = f"Medians of {repeat} interleaved runs on {os.cpu_count()} cores, Python {platform.python_version()}"
    said = f"{how}, load {load:.1f} before the run. {DURABILITY}."
    return f"{said}\n\n{table(('Workload', 'What', 'Median', 'Spread', 'Goal'), lines)}"


def budget(profiles: list[dict[str, Any]]) -> str:
    """Microseconds a step by part, a column for each workload."""
    head = ("Part", *(found["workload"] for found in profiles), "What it is")
    lines = [(part, *(f"{found['us_per_step'][part]:.1f}" for found in profiles), what) for part, what in PARTS.items()]
    sums = ("**sum**", *(f"**{sum(found['us_per_step'].values()):.1f}**" for found in profiles), "")
    return table(head, [*lines, sums])


def _profiles() -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "perdure", "bench", "--profile", "--json"]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in told.splitlines()]


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
            "store": "postgresql" if os.environ.get("BENCH_STORE") else "sqlite",
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
