"""`python -m bench`: our rows of the speed table, on a file and on PostgreSQL, and `bench/results/latest.json`.

Medians of repeated runs. The PostgreSQL is one that it starts itself, anew for each round, unless `BENCH_STORE` names another.
"""

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
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from bench import STORE, felt, postgres, recovery, startup, takeover, workloads
from bench.pages import placed, table
from bench.peers.tables import number
from perdure import __version__
from perdure.cli.budget import PARTS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "latest.json"
PAGE = ROOT / "docs" / "guide" / "speed.md"
PAYLOAD = 100
SQLITE, POSTGRES = "sqlite", "postgresql"
DURABILITY = {
    SQLITE: "WAL, synchronous=FULL; inputs, parameters, outputs journaled",
    POSTGRES: f"{postgres.told()}; inputs, parameters, outputs journaled",
}
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


def _takeover(folder: Path) -> list[tuple[str, str, str, float]]:
    found = takeover.measure(os.environ[STORE], folder)
    beat = takeover.LEASE_SECONDS / takeover.HEARTBEATS_A_LEASE
    return [
        ("kill -9", f"first effect at another worker, in heartbeats of {beat:g} s", "heartbeats", found.first / beat),
        ("kill -9", "half of what it had has gone on after", "s", found.half),
        ("kill -9", "all of what it had has gone on after", "s", found.last),
        ("kill -9", "executions that it had", "executions", found.had),
        ("kill -9", "executions lost", "executions", found.lost),
        ("kill -9", "results recorded twice", "results", found.twice),
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
ON_POSTGRES: dict[str, Measure] = {
    **{
        name: MEASURES[name]
        for name in ("chain", "fan-out-100", "fan-out-1000", "loop", "latency", "sleepers", "waiting", "outputs")
    },
    "takeover": _takeover,
}
"""Those that a server can change."""
NODE_KIND = {
    "loop": "async no-op effects with a timeout, a loop of 1,000 iterations in one execution",
    "waiting": "delay of 30 days",
    "kill -9": "async effects that write to a ledger; on a file 1,000 executions of 10 that wait 0 to 9 ms, on PostgreSQL two "
    "workers with 800 of 10 that wait 1 s",
    "effects that wait": "async effects that wait 0 to 10 ms, with a timeout",
    "http": "http nodes, a server on this machine",
    "python": "python nodes in the sandbox",
    "data": "data nodes and expressions, evaluated in processes where they are large",
    "definition": "a fan-out of 10,000 effects and a join",
    "slow disk": "async effects that wait 0 to 10 ms, 100 in flight; each flush takes 5 ms longer",
    "startup": "whole processes, warm caches",
}
GOALS = {
    SQLITE: {
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
    },
    POSTGRES: {
        "500 × 10 steps, 100 in flight": "≥ 15,000",
        "20 × 100 steps and a join": "≥ 20,000",
        "1,000 steps and a join, one execution": "≤ 0.08",
        "1,000 durable iterations, one execution": "≥ 2,500",
        "start to result of one step, p50": "≤ 1.2",
        "start to result of one step, p99": "≤ 3",
        "starts of executions that wait 30 days": "≥ 15,000",
        "memory each": "≤ 100",
        "first effect at another worker, in heartbeats of 2 s": "< 2",
        "executions lost": "0",
        "results recorded twice": "0",
    },
}
"""What each row was meant to reach when it was planned, on two cores and with a fast disk."""
Found = dict[tuple[str, str, str, str], list[float]]  # store, workload, metric, unit


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description="Perdure's own benchmarks.")
    parser.add_argument("workloads", nargs="*", help=f"which: {', '.join([*MEASURES, 'takeover'])}; none: all")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each, interleaved; the median counts (default: 5)")
    parser.add_argument("--publish", action="store_true", help="also write the tables of docs/guide/speed.md")
    parser.add_argument("--store", choices=(SQLITE, POSTGRES), help="only there; none: on a file and on PostgreSQL")
    given = parser.parse_args()
    unknown = set(given.workloads) - set(MEASURES) - set(ON_POSTGRES)
    if unknown:
        parser.error(f"there is no workload {', '.join(sorted(unknown))}")
    if given.publish and (given.workloads or given.store):
        parser.error("a table of some workloads would lose the others: publish all of them")
    load = os.getloadavg()[0]
    stores = [given.store] if given.store else [SQLITE, POSTGRES]
    rows = list(_rows(_measured(given.workloads or [*MEASURES, "takeover"], stores, given.repeat)))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    for row in rows:
        print(
            f"{row['store']:10} {row['workload']:18} {row['metric']:52} {row['median']:>12,.4g} {row['unit']:14} "
            f"{row['min']:,.4g} … {row['max']:,.4g}"
        )
    print(f"written to {RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS.name}")
    if given.publish:
        page = placed(PAGE.read_text(), "ours", ours(rows, repeat=given.repeat, load=load))
        PAGE.write_text(placed(page, "budget", budget(_profiles())))


def ours(rows: list[dict[str, Any]], *, repeat: int, load: float) -> str:
    """The rows as a table, those of a file beside those of PostgreSQL, and how they were measured."""
    by_metric: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_metric.setdefault((row["workload"], row["metric"]), {})[row["store"]] = row
    order = {workload: number for number, (workload, _) in reversed(list(enumerate(by_metric)))}
    found = sorted(by_metric.items(), key=lambda each: order[each[0][0]])  # what belongs to one workload stands together
    lines = [(*about, *_cells(of.get(SQLITE)), *_cells(of.get(POSTGRES))) for about, of in found]
    how = f"Medians of {repeat} interleaved runs on {os.cpu_count()} cores, Python {platform.python_version()}"
    said = (
        f"{how}, load {load:.1f} before the run. On a file: {DURABILITY[SQLITE]}. "
        f"On PostgreSQL {postgres.release()}, on the same cores: {DURABILITY[POSTGRES]}."
    )
    head = ("Workload", "What", "On a file", "Spread", "Goal", "On PostgreSQL", "Spread", "Goal")
    return f"{said}\n\n{table(head, lines)}"


def _cells(row: dict[str, Any] | None) -> tuple[str, str, str]:
    """Median, spread and goal."""
    if row is None:
        return "", "", ""
    median = f"**{number(row['median'])}** {row['unit']}"
    return median, f"{number(row['min'])} … {number(row['max'])}", GOALS[row["store"]].get(row["metric"], "")


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


def _measured(names: list[str], stores: list[str], repeat: int) -> Found:
    """Every workload once, then every workload again: what slows the machine for a while slows all alike."""
    found: Found = {}
    folder = Path(tempfile.mkdtemp(prefix="perdure-bench-"))
    elsewhere = os.environ.pop(STORE, "")
    try:
        for round_ in range(repeat):
            with _server(elsewhere) if POSTGRES in stores else nullcontext("") as url:
                for name in names:
                    for store in stores:
                        for workload, metric, unit, value in _once(store, name, folder / f"{name}-{store}-{round_}", url):
                            found.setdefault((store, workload, metric, unit), []).append(value)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


@contextmanager
def _server(elsewhere: str) -> Iterator[str]:
    """The URL of a database beside which others can be made: of the server that was given, or of a new one."""
    if elsewhere:
        yield elsewhere
        return
    with postgres.server() as server:
        yield server.url()


def _once(store: str, name: str, folder: Path, url: str) -> list[tuple[str, str, str, float]]:
    """One workload on an empty store; nothing where it has none there."""
    if store == SQLITE:
        return MEASURES[name](folder) if name in MEASURES else []
    if name not in ON_POSTGRES:
        return []
    with postgres.empty_store(url):
        return ON_POSTGRES[name](folder)


def _rows(found: Found) -> Iterator[dict[str, Any]]:
    for (store, workload, metric, unit), values in found.items():
        yield {
            "workload": workload,
            "engine": f"perdure {__version__}",
            "store": store,
            "durability": DURABILITY[store],
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
