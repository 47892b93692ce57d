"""Chaos: real processes on real files and databases, killed, cut off, out of room, without power; then a table, and 0 or 1.

    python tests/chaos/run.py [kills] [full] [read-only] [power] [--seconds 60] [--seed N]
    python tests/chaos/run.py cluster network proxies skew [--seconds 60] [--seed N]
    python tests/chaos/run.py graphs [--graphs NAME…]
    python tests/chaos/run.py parent [--children 1000]

`make chaos` runs what is on a file: three quarters of the time belong to the storm, the rest to losses of power; the disks take
what they take. `make chaos-postgres` runs the storms on PostgreSQL, with the time shared out among them.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blackout import Blackouts, blackouts
from disk import disk_full, disk_read_only
from graphs import graphs, instances
from namespaces import are_possible
from parent import raised
from storm import Storm, storm

from cluster import Kind, cluster

RESULTS = Path(__file__).with_name("results") / "latest.json"
STORM_SHARE = 0.75
KILLS_A_SECOND_MIN = 5
STARTS_A_SECOND_MIN = 10
"""A storm goes on until there were so many, on a slow machine too: hundreds in a minute."""
LOSSES_IN_A_SERIES = 30
GENERATIONS = 3

Figures = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="chaos", description="Kill Perdure in every way there is, and look what is left.")
    parser.add_argument("parts", nargs="*", help=f"which: {', '.join(PARTS)}; none: those on a file")
    parser.add_argument("--seconds", type=float, default=60, help="about how long it may rage (default: 60)")
    parser.add_argument("--seed", type=int, default=None, help="what to draw chance from (default: any, which is said)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the figures are written")
    parser.add_argument("--lives", type=int, default=5, help="pairs of processes that meet a disk's trouble (default: 5)")
    parser.add_argument("--no-mount", action="store_true", help="mount no disks, also where this user may")
    parser.add_argument("--graphs", nargs="*", help="which recordings (default: all there are)")
    parser.add_argument("--children", type=int, default=1_000, help="of the parent (default: 1,000)")
    parser.add_argument("--keep", action="store_true", help="keep the stores and logs, and say where")
    given = parser.parse_args(arguments)
    given.parts = given.parts or list(ON_A_FILE)
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1_000_000)
    print(f"chaos with seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="perdure-chaos-"))
    folder.chmod(0o755)  # somebody who may not write must reach it
    try:
        rows = [PARTS[part](folder / part, seed, given) for part in given.parts]
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
    violations = [sentence for row in rows for sentence in row.pop("violations")]
    _write(given.results, {"seed": seed, "seconds": given.seconds, "rows": rows, "violations": violations})
    _tell(rows, violations)
    if violations and given.keep:
        print(f"The stores and logs lie in {folder}.")
    return 1 if violations else 0


# -- the parts ----------------------------------------------------------------------------------------------------------------


def _kills(folder: Path, seed: int, given: argparse.Namespace) -> Figures:
    seconds = given.seconds * STORM_SHARE
    kills, starts = int(seconds * KILLS_A_SECOND_MIN), int(seconds * STARTS_A_SECOND_MIN)
    return _figures("kill -9", storm(folder, seed=seed, seconds=seconds, kills_min=kills, starts_min=starts))


def _cluster(folder: Path, seed: int, given: argparse.Namespace) -> Figures:
    return _on_postgres("cluster", folder, seed, given)


def _network(folder: Path, seed: int, given: argparse.Namespace) -> Figures:
    if not are_possible():
        print(
            "No networks can be made here, which takes root and the program `ip`: wires are cut by proxies instead.", flush=True
        )
    return _on_postgres("network", folder, seed, given)


def _proxies(folder: Path, seed: int, given: argparse.Namespace) -> Figures:
    return _on_postgres("network", folder, seed, given, hosts=False)


def _skew(folder: Path, seed: int, given: argparse.Namespace) -> Figures:
    return _on_postgres("skew", folder, seed, given)


def _on_postgres(kind: Kind, folder: Path, seed: int, given: argparse.Namespace, *, hosts: bool = True) -> Figures:
    """A storm on PostgreSQL, which takes an equal part of the time."""
    seconds = given.seconds / len(given.parts)
    starts = int(seconds * STARTS_A_SECOND_MIN)
    return _figures(f"PostgreSQL: {kind}", cluster(folder, kind, seed=seed, seconds=seconds, starts_min=starts, hosts=hosts))


def _graphs(folder: Path, seed: int, given: argparse.Namespace) -> Figures:
    names = given.graphs or instances.names()
    return _figures("PostgreSQL: graphs", graphs(folder, seed=seed, names=names)) | {"graphs": len(names)}


def _parent(folder: Path, seed: int, given: argparse.Namespace) -> Figures:
    found = raised(folder, children=given.children)
    return {
        "what": "PostgreSQL: parent",
        "kills": 1,
        "losses": 0,
        "executions": found.children + 1,
        "results": found.children,
        "effects": 0,
        "effects_repeated": 0,
        "lost": 0,
        "seconds": round(found.seconds, 1),
        "whole_seconds": round(found.seconds),
        "cpu_seconds": round(found.cpu_seconds),
        "takeover_milliseconds": round(found.takeover_seconds * 1_000),
        "memory_megabytes": max(found.memory_first, found.memory_second) >> 20,
        "violations": found.violations,
    }


def _full(folder: Path, seed: int, given: argparse.Namespace) -> Figures:
    return _figures("disk full", disk_full(folder, seed=seed, mount=not given.no_mount, lives=given.lives))


def _read_only(folder: Path, seed: int, given: argparse.Namespace) -> Figures:
    return _figures("read-only", disk_read_only(folder, seed=seed, mount=not given.no_mount, lives=given.lives))


def _figures(what: str, found: Storm) -> Figures:
    audit = found.audit
    return {
        "what": f"{what} ({found.way})" if found.way else what,
        "kills": found.kills,
        "losses": 0,
        **found.faults,
        "executions": audit.executions,
        "starts": found.starts,
        "starts_repeated": found.repeated_starts,
        "signals": found.signals,
        "takeovers": audit.takeovers,
        "results": audit.results,
        "effects": audit.received,
        "effects_repeated": audit.repeated,
        "lost": audit.lost,
        "seconds": round(found.seconds + found.quiet_seconds, 1),
        "violations": audit.told(),
    }


def _power(folder: Path, seed: int, given: argparse.Namespace) -> Figures:
    """Series of losses of power, each with a seed of its own, until the time is up."""
    began = time.monotonic()
    total = Blackouts()
    number = 0
    while number == 0 or time.monotonic() - began < given.seconds * (1 - STORM_SHARE):
        place = folder / str(number)
        total.add(blackouts(place, seed=seed + number, losses=LOSSES_IN_A_SERIES, generations=GENERATIONS))
        shutil.rmtree(place, ignore_errors=True)
        number += 1
    return {
        "what": "power loss",
        "kills": 0,
        "losses": total.losses,
        "executions": total.executions,
        "results": total.results,
        "effects": total.received,
        "effects_repeated": total.repeated,
        "lost": total.lost,
        "seconds": round(time.monotonic() - began, 1),
        "violations": total.violations,
    }


PARTS: dict[str, Callable[[Path, int, argparse.Namespace], Figures]] = {
    "kills": _kills, "full": _full, "read-only": _read_only, "power": _power,
    "cluster": _cluster, "network": _network, "proxies": _proxies, "skew": _skew, "graphs": _graphs, "parent": _parent,
}  # fmt: skip
ON_A_FILE = ("kills", "full", "read-only", "power")


# -- what is told -------------------------------------------------------------------------------------------------------------

COLUMNS = ("what", "kills", "losses", "executions", "results", "effects", "effects_repeated", "lost", "seconds")


def _write(file: Path, figures: Figures) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(figures, indent=1) + "\n")


def _tell(rows: list[Figures], violations: list[str]) -> None:
    """A line for each part, then each violation in a sentence."""
    cells = [[name.replace("_", " ") for name in COLUMNS], *([_shown(row[name]) for name in COLUMNS] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        print(
            "  ".join(
                [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
            )
        )
    for sentence in violations:
        print(f"violated: {sentence}")
    print(
        f"{len(violations)} violations."
        if violations
        else "Nothing was lost, nothing was recorded twice, all ended as it should."
    )


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    sys.exit(main())
