"""`python -m bench.scaling`: one to four workers on one PostgreSQL, with effects that wait; how near to linear it is.

What bounds it is how many effects may wait at the same time: each worker has so few slots that neither the cores nor the server
have much to do. Writes `bench/results/scaling.json`; with `--publish` also the table and the picture of the page on workers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

from bench import postgres
from bench.crew import LOOK_SECONDS, Crew, crew
from bench.growth.published import COLOURS, GREY, drawn
from bench.pages import placed, table
from bench.peers.tables import BUSY, number

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "scaling.json"
PAGE = ROOT / "docs" / "guide" / "workers.md"
PICTURE = ROOT / "docs" / "pictures" / "workers.svg"
WORKERS = (1, 2, 3, 4)
SLOTS = 20  # so four workers need less than half of two cores
WAIT_SECONDS = 0.05
LENGTH = 10
FOR_SECONDS = 15.0


def measure(
    folder: Path, workers: int, *, slots: int = SLOTS, length: int = LENGTH, seconds: float = FOR_SECONDS
) -> dict[str, float]:
    """Effects a second of so many workers with work for about so many seconds, and the cores that they and the server used.

    All executions are started before. The time runs from when every worker has a result to the last result.
    """
    executions = round(workers * slots * seconds / WAIT_SECONDS / length)
    with postgres.server() as server, crew(postgres.new_database(server.url()), folder, slots=slots) as crew_:
        asyncio.run(crew_.begin(executions, length=length, seconds=WAIT_SECONDS))
        crew_.start(workers)
        before, used = time.monotonic(), _used(crew_, server)
        while crew_.lines() < executions * length * 2 * 0.9:  # then they are still at work, and their times can be read
            crew_.check()
            time.sleep(LOOK_SECONDS)
        cores = (_used(crew_, server) - used) / (time.monotonic() - before)
        lost, twice = asyncio.run(crew_.to_the_end())
        ends = [entry for entry in crew_.entries() if not entry.begins]
    if lost or twice or len(ends) != executions * length:
        raise RuntimeError(f"{lost} executions lost, {twice} results twice, {len(ends)} effects of {executions * length}")
    firsts = {entry.process: entry.at for entry in reversed(ends)}
    begin, end = max(firsts.values()), ends[-1].at
    return {"effects_per_second": sum(entry.at > begin for entry in ends) / (end - begin), "cores": cores}


def _used(workers: Crew, server: postgres.BenchServer) -> float:
    """Seconds of CPU of the workers and of the server, until now."""
    total = 0.0
    for process in (*(worker.pid for worker in workers.processes), *server.processes()):
        try:
            times = psutil.Process(process).cpu_times()
        except psutil.NoSuchProcess:
            continue  # a process of the server that had nothing more to do
        total += times.user + times.system
    return total


def rows(found: dict[int, list[dict[str, float]]], *, slots: int) -> list[dict[str, Any]]:
    """A row for each number of workers, beside what so many slots could do at most and beside one worker."""
    one = statistics.median(each["effects_per_second"] for each in found[min(found)]) / min(found)
    made = []
    for workers, runs in sorted(found.items()):
        rates = [each["effects_per_second"] for each in runs]
        made.append(
            {
                "workers": workers,
                "median": statistics.median(rates),
                "min": min(rates),
                "max": max(rates),
                "most": workers * slots / WAIT_SECONDS,
                "linear": workers * one,
                "efficiency": statistics.median(rates) / (workers * one),
                "cores": statistics.median(each["cores"] for each in runs),
            }
        )
    return made


def markdown(results: dict[str, Any]) -> str:
    """How it was run, and a line for each number of workers."""
    machine = results["machine"]
    busy = " **The machine was busy with other things, so the cores and the disk were a bound, too.**"
    said = (
        f"Medians of {results['repetitions']} interleaved runs on {machine['cores']} cores, Python {machine['python']}, load "
        f"{machine['load']} before the run, PostgreSQL {machine['postgresql']} on the same cores ({machine['settings']})."
        f"{busy if machine['load'] > BUSY else ''}"
    )
    head = ("Workers", "Effects a second", "Spread", "Of linear", "Of what the slots allow", "Cores used")
    body = [
        (
            str(row["workers"]), f"**{number(row['median'])}**", f"{number(row['min'])} … {number(row['max'])}",
            f"{row['efficiency']:.0%}", f"{row['median'] / row['most']:.0%} of {number(row['most'])}", f"{row['cores']:.1f}",
        )
        for row in results["rows"]
    ]  # fmt: skip
    return f"{said}\n\n{table(head, body)}"


def picture(made: Iterable[dict[str, Any]]) -> str:
    """Effects a second against workers, beside one worker's times their number."""
    made = list(made)
    workers = [row["workers"] for row in made]

    def lines(axes: Any) -> None:
        axes.plot(workers, [row["linear"] for row in made], color=GREY, linestyle="--", label="linear")
        axes.plot(workers, [row["median"] for row in made], marker="o", markersize=4, color=COLOURS[0], label="measured")
        axes.fill_between(workers, [row["min"] for row in made], [row["max"] for row in made], color=COLOURS[0], alpha=0.2)
        axes.set_xticks(workers)

    return drawn("workers", "Workers on one PostgreSQL", "workers", "effects a second", lines)


def publish(results: dict[str, Any], *, page: Path = PAGE, file: Path = PICTURE) -> None:
    """Write the table between the marks of the page, and the picture."""
    page.write_text(placed(page.read_text(), "scaling", markdown(results)))
    file.write_text(picture(results["rows"]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.scaling", description="One to four workers on effects that wait 50 ms.")
    parser.add_argument("--workers", type=int, nargs="+", default=list(WORKERS), help="how many, each (default: 1 2 3 4)")
    parser.add_argument("--slots", type=int, default=SLOTS, help=f"of each worker (default: {SLOTS})")
    parser.add_argument("--seconds", type=float, default=FOR_SECONDS, help=f"of work in each run (default: {FOR_SECONDS:g})")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, interleaved; the median counts (default: 3)")
    parser.add_argument("--publish", action="store_true", help="also write the table and the picture of docs/guide/workers.md")
    given = parser.parse_args()
    server = {"postgresql": postgres.release(), "settings": postgres.told()}
    load = round(os.getloadavg()[0], 1)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": load, **server}
    found: dict[int, list[dict[str, float]]] = {}
    folder = Path(tempfile.mkdtemp(prefix="perdure-scaling-"))
    try:
        for round_ in range(given.repeat):
            for workers in given.workers:
                run = measure(folder / f"{workers}-{round_}", workers, slots=given.slots, seconds=given.seconds)
                found.setdefault(workers, []).append(run)
                print(f"{round_ + 1}/{given.repeat}  {workers} workers  {run['effects_per_second']:,.0f} effects/s", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    results = {"machine": machine, "repetitions": given.repeat, "rows": rows(found, slots=given.slots)}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(markdown(results))
    if given.publish:
        publish(results)


if __name__ == "__main__":
    main()
