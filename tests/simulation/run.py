"""Many seeds on all cores: how many lived, what the faults met, and each seed that failed, cut down to what it needs.

    python tests/simulation/run.py --seeds 10000 --first 0

`make simulate SEEDS=N SEED=first` runs it. A seed that fails is repeated by `--first THAT --seeds 1`, and becomes a case.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "model"), str(HERE.parent / "engine")]

import yaml  # noqa: E402 - after the paths
from matrix import empty_cells, table  # noqa: E402 - after the paths
from seeds import Lived, live, median  # noqa: E402 - after the paths
from shrinking import smaller  # noqa: E402 - after the paths

RESULTS = HERE / "results" / "latest.json"
OPEN = HERE / "open.yaml"
"""Seeds on which the reference interpreter and the engine differ, and nobody has decided yet which is right."""
CASES = HERE / "cases"
"""Seeds that failed once, each with as much of a workflow as it needed to fail."""
SHRUNK_MAX = 3


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="simulate", description="Live through many seeds; 1 where one of them failed.")
    parser.add_argument("--seeds", type=int, default=1_000, help="how many (default: 1,000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the figures are written")
    given = parser.parse_args(arguments)
    began = time.monotonic()
    with get_context("fork").Pool(given.jobs) as pool:
        lived = []
        for each in pool.imap(lived_quietly, range(given.first, given.first + given.seeds), chunksize=10):
            lived.append(each)
            for sentence in each.wrong[:2]:
                print(f"seed {each.seed}: {sentence[:300]}", flush=True)
    undecided = frozenset(yaml.safe_load(OPEN.read_text()) or ())
    failed = [each for each in lived if each.wrong and not (each.differs and each.seed in undecided)]
    for each in failed[:SHRUNK_MAX]:
        print(f"\nseed {each.seed} fails with no more than what now stands in {kept(each)}", flush=True)
    figures = figures_of(lived, time.monotonic() - began, len(failed))
    print(table(coverage_of(lived)))
    empty = empty_cells(coverage_of(lived))
    print(f"\n{len(empty)} of the cells (element, policy, fault) are empty" + (f": {empty[:5]}" if empty else ""))
    for name, value in figures.items():
        if isinstance(value, int | float):
            print(f"{name.replace('_', ' '):>28} {value:,}")
    write(given.results, {"first": given.first, **figures, "empty_cells": len(empty)})
    return 1 if failed else 0


def lived_quietly(seed: int) -> Lived:
    """One seed, whatever its homes have to say; what breaks in the simulation itself is a finding, too."""
    logging.disable(logging.CRITICAL)
    try:
        return live(seed)
    except Exception as error:  # noqa: BLE001 - whatever breaks is a finding
        return Lived(seed, wrong=[f"{type(error).__name__}: {error}"])


def kept(lived: Lived) -> str:
    """Cut a seed that failed down to what it needs, and keep it as a case, which the tests run from now on; its file."""
    found = smaller(lived.seed)
    case = {"seed": lived.seed, "wrong": lived.wrong[0], "input": found.input, "document": found.document}
    CASES.mkdir(exist_ok=True)
    path = CASES / f"seed-{lived.seed}.yaml"
    path.write_text(yaml.safe_dump(case, sort_keys=False))
    return f"{CASES.name}/{path.name}"


def coverage_of(lived: Iterable[Lived]) -> Counter[tuple[str, str, str]]:
    """What all faults of all seeds met."""
    return sum((each.coverage for each in lived), Counter())


def figures_of(lived: list[Lived], seconds: float, failed: int) -> dict[str, Any]:
    """What came of the seeds, in numbers."""
    return {
        "seeds": len(lived), "failed": failed, "undecided": sum(1 for each in lived if each.wrong) - failed,
        "seconds": round(seconds, 1), "nodes_median": median(each.nodes for each in lived),
        "instances_median": median(each.instances for each in lived),
        "faults_median": median(each.faults.total() for each in lived),
        "faults": sum(each.faults.total() for each in lived), "executions": sum(each.executions for each in lived),
        "followed_by_the_reference": sum(each.followed for each in lived), "turns": sum(each.turns for each in lived),
        "effects": sum(each.effects for each in lived), "effects_begun_again": sum(each.repeated for each in lived),
        "by_fault": dict(sum((each.faults for each in lived), Counter())),
    }  # fmt: skip


def write(path: Path, figures: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
