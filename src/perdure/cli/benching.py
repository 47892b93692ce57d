"""`bench`: how fast this machine runs workflows whose effects do nothing, and where the time of a step goes."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter_ns

from perdure.app import open_engine
from perdure.cli import exits, workloads
from perdure.cli.budget import PARTS, watched
from perdure.cli.wording import json_line
from perdure.errors import Refused
from perdure.settings import Settings

NANOSECONDS = 1_000_000_000
WARMING = 20  # executions before the first that counts


def bench(names: tuple[str, ...], *, folder: str | None, repeat: int, profile: bool, json: bool) -> int:
    """Measure each workload on a fresh store in `folder`, which is removed again."""
    unknown = [name for name in names if name not in workloads.WORKLOADS]
    if unknown:
        raise Refused(
            f"Expected a workload, but there is no {', '.join(map(repr, unknown))}.",
            remedy=f"There are {', '.join(workloads.WORKLOADS)}; none: all of them.", code="usage",
        )  # fmt: skip
    if folder is not None and not Path(folder).is_dir():
        raise Refused(f"Expected a folder, but there is none at {folder}.", remedy="Make it, or name another.", code="usage")
    for name in names or tuple(workloads.WORKLOADS):
        with tempfile.TemporaryDirectory(prefix="perdure-bench-", dir=folder) as place:
            rounds = [asyncio.run(_measure(Path(place, f"{number}.db"), name, profile)) for number in range(repeat)]
        _tell(name, rounds, profile=profile, json=json)
    return exits.SUCCEEDED


async def _measure(store: Path, name: str, profile: bool) -> tuple[float, dict[str, float]]:
    """Steps a second of one round, and with `profile` the microseconds a step by part."""
    workload = workloads.WORKLOADS[name]()
    definition = workloads.read(workload)
    with watched() if profile else nullcontext() as watch:
        async with open_engine(Settings(store=str(store)), node_files=()) as engine:
            warm = workloads.chain(executions=WARMING)
            await workloads.run(engine, warm, workloads.read(warm))
            if watch is not None:
                watch.begin()
            begin = perf_counter_ns()
            await workloads.run(engine, workload, definition)
            spent = perf_counter_ns() - begin
            parts = watch.stop() if watch is not None else {}
    steps = workload.steps * workload.executions
    return steps * NANOSECONDS / spent, {part: value / steps / 1_000 for part, value in parts.items()}


def _tell(name: str, rounds: list[tuple[float, dict[str, float]]], *, profile: bool, json: bool) -> None:
    rates = sorted(rate for rate, _ in rounds)
    parts = {part: statistics.median(found[part] for _, found in rounds) for part in PARTS} if profile else {}
    if json:
        row = {"workload": name, "steps_per_second": round(statistics.median(rates)), "rounds": [round(rate) for rate in rates]}
        print(json_line({**row, "us_per_step": {part: round(value, 2) for part, value in parts.items()}} if profile else row))
        return
    print(f"{name:10} {statistics.median(rates):>10,.0f} steps/s   {rates[0]:,.0f} … {rates[-1]:,.0f}")
    for part, value in parts.items():
        print(f"  {part:8} {value:>8.1f} µs a step   {PARTS[part]}")
    if parts:
        print(f"  {'sum':8} {sum(parts.values()):>8.1f} µs a step")
