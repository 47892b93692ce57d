"""`python -m bench.peers`: Perdure and its peers in one run, each peer right after ours, several times over; medians count.

What runs on PostgreSQL gets a server of its own each time, which `bench/postgres.py` starts, and is compared with ours on one.

Writes `bench/results/peers.json`; with `--publish` also the tables of `docs/guide/speed.md` and the two pictures of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import STORE, postgres
from bench.pages import placed
from bench.peers import pictures, tables
from bench.peers.engines import ENGINES, PEERS, ROOT, WORKLOADS, Engine, ours_beside

RESULTS = ROOT / "bench" / "results" / "peers.json"
RUN_SECONDS_MAX = 300  # four times what the slowest peer needs on two cores


class RunFailed(Exception):
    """A runner failed or took too long; the message has its last words."""


def run(engine: Engine, workloads: list[str]) -> list[dict[str, Any]]:
    """What the engine's runner reports of those workloads that the engine has, one line each, in order."""
    wanted = [workload for workload in workloads if workload in engine.loads]
    if not wanted:
        return []
    command = [str(engine.python), "-m", f"bench.peers.{engine.folder}.run", engine.name, *wanted]
    with tempfile.TemporaryFile("w+") as log, _surroundings(engine) as environ:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True, env=environ
        )
        try:
            said, _ = process.communicate(timeout=RUN_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            raise RunFailed(f"{engine.name}: no result of {', '.join(wanted)} within {RUN_SECONDS_MAX} s") from None
        finally:
            _end(process)
        if process.returncode != 0:
            log.seek(0)
            raise RunFailed(f"{engine.name}: its runner ended with {process.returncode}:\n{log.read()[-3_000:]}")
    lines: list[dict[str, Any]] = [json.loads(line) for line in said.splitlines()]
    return lines


@contextmanager
def _surroundings(engine: Engine) -> Iterator[dict[str, str]]:
    """The environment of its runner; with the URL of a database on a server that has just begun, for those that need one."""
    environ = {name: value for name, value in os.environ.items() if name != STORE}
    if not engine.on_postgres:
        yield environ
        return
    with postgres.server() as server:
        yield {**environ, STORE: postgres.new_database(server.url())}


def _end(process: subprocess.Popen[str]) -> None:
    """A runner that is asked to end stops its servers; one that does not end is killed."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measured(peers: list[Engine], workloads: list[str], repeat: int) -> tuple[list[dict[str, Any]], list[str]]:
    """All lines of all runs, and what failed. Ours runs before each peer: what slows the machine for a while slows both."""
    lines: list[dict[str, Any]] = []
    failures: list[str] = []
    for repetition in range(1, repeat + 1):
        for engine in (each for peer in peers for each in (ours_beside(peer), peer)):
            began = time.perf_counter()
            try:
                lines += run(engine, [name for name in workloads if engine in peers or _needed(name, engine, peers)])
            except RunFailed as failed:
                failures.append(str(failed))
            print(f"{repetition}/{repeat} {engine.name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return lines, failures


def _needed(workload: str, ours: Engine, peers: list[Engine]) -> bool:
    return any(workload in peer.loads for peer in peers if ours_beside(peer) is ours)


def rows(lines: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One row for each workload, metric and engine, in the order of the tables, with how far ours is ahead."""
    found: dict[tuple[str, str, str], list[float]] = {}
    versions = {line["engine"]: line["version"] for line in lines}
    for line in lines:
        for figure in line["figures"]:
            found.setdefault((line["workload"], figure["metric"], line["engine"]), []).append(figure["value"])
    for workload, about in WORKLOADS.items():
        for metric in about.metrics:
            for engine in ENGINES.values():
                values = found.get((workload, metric.name, engine.name))
                if values is None:
                    continue
                ours = found.get((workload, metric.name, ours_beside(engine).name))
                median = statistics.median(values)
                yield {
                    "workload": workload,
                    "engine": engine.name,
                    "version": versions[engine.name],
                    "durability": engine.durability,
                    "metric": metric.name,
                    "unit": metric.unit,
                    "median": median,
                    "min": min(values),
                    "max": max(values),
                    "runs": len(values),
                    "load": engine.loads[workload]._asdict(),
                    "ours_ahead": metric.ahead(statistics.median(ours), median) if ours and engine in PEERS else None,
                }


def machine() -> dict[str, Any]:
    """What kind of machine this is, and how busy it is with other things; nothing that would name it."""
    kind = {"system": platform.system(), "machine": platform.machine(), "python": platform.python_version()}
    of_server = {"postgresql": postgres.release(), "settings": postgres.told()}
    return {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), **kind, **of_server}


def publish(results: dict[str, Any]) -> list[Path]:
    """Writes the tables into their page and draws both pictures."""
    page = ROOT / "docs" / "guide" / "speed.md"
    page.write_text(placed(page.read_text(), "peers", tables.markdown(results)))
    drawn = [page]
    for scheme in pictures.SCHEMES:
        file = ROOT / "docs" / "pictures" / f"speed-{scheme}.svg"
        file.write_text(pictures.svg(results, scheme))
        drawn.append(file)
    return drawn


def main() -> int:
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(prog="bench.peers", description="Perdure beside other durable engines, in one run.")
    parser.add_argument("workloads", nargs="*", help=f"which: {', '.join(WORKLOADS)}; none: all")
    parser.add_argument("--peer", action="append", choices=names, help="only this one (may be repeated); none: all")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, interleaved; the median counts (default: 3)")
    parser.add_argument("--publish", action="store_true", help="also write the tables and pictures of the documentation")
    parser.add_argument("--recorded", action="store_true", help="measure nothing: take what bench/results/peers.json holds")
    given = parser.parse_args()
    unknown = set(given.workloads) - set(WORKLOADS)
    if unknown:
        parser.error(f"there is no workload {', '.join(sorted(unknown))}")
    peers = [ENGINES[name] for name in given.peer or names]
    missing = sorted({peer.folder for peer in peers if not (peer.environment / "set-up-for").exists()})
    if missing and not given.recorded:
        parser.error(f"there is no environment for {', '.join(missing)}: run bench/peers/setup")

    failures: list[str] = []
    if not given.recorded:
        before = machine()
        if before["load"] > tables.BUSY:
            print(
                f"This machine is busy (load {before['load']}): what runs alone will look slow. Run it again later.",
                file=sys.stderr,
            )
        lines, failures = measured(peers, given.workloads or list(WORKLOADS), given.repeat)
        RESULTS.parent.mkdir(exist_ok=True)
        results = {"machine": before, "repetitions": given.repeat, "rows": list(rows(lines))}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    results = json.loads(RESULTS.read_text())
    print(tables.text(results))
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    if given.publish and not failures:
        print("written:", *(file.relative_to(ROOT) for file in publish(results)))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
