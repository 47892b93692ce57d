"""Writes the figures of the last runs of `make simulate` and `make chaos` into the page on what is promised.

`.venv/bin/python tools/tested.py` after such runs. A test reads the page.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "guide" / "promises.md"
BEGIN, END = "<!-- figures: written by tools/tested.py -->", "<!-- end of figures -->"
SIMULATION = ROOT / "tests" / "simulation" / "results" / "latest.json"
CHAOS = ROOT / "tests" / "chaos" / "results" / "latest.json"


def page(text: str, simulation: dict[str, Any], chaos: dict[str, Any]) -> str:
    """The page with these figures in place of those that stand there."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{_simulated(simulation)}\n{_killed(chaos)}\n{END}{after}"


def _simulated(found: dict[str, Any]) -> str:
    rows = [
        ("Seeds", f"{found['seeds']:,}, from {found['first']:,} on, in {found['seconds']:,.0f} s"),
        ("Seeds that violated an invariant", f"{found['failed']:,}"),
        ("Seeds on which the reference interpreter and the engine differ, undecided", f"{found['undecided']:,}"),
        ("Nodes of a workflow, instances that ended in a seed (medians)", _pair(found, "nodes_median", "instances_median")),
        ("Faults in a seed (median), in all", _pair(found, "faults_median", "faults")),
        ("Executions, of which the reference followed", _pair(found, "executions", "followed_by_the_reference")),
        ("Commits witnessed", f"{found['turns']:,}"),
        ("Effects, begun again after a fault", _pair(found, "effects", "effects_begun_again")),
        ("Combinations of element, policy and fault that were not met", f"{found['empty_cells']:,}"),
    ]
    faults = ", ".join(f"{name} {count:,}" for name, count in sorted(found["by_fault"].items()))
    return _table("Simulation", rows) + f"\nFaults: {faults}.\n"


def _killed(found: dict[str, Any]) -> str:
    rows = []
    for part in found["rows"]:
        said = [f"{name.replace('_', ' ')} {value:,}" for name, value in part.items() if type(value) is int]
        rows.append((str(part["what"]), ", ".join(said)))
    rows.append(("Violations", f"{len(found['violations']):,}"))
    return _table("Chaos", rows)


def _pair(found: dict[str, Any], first: str, second: str) -> str:
    return f"{found[first]:,.0f}, {found[second]:,.0f}"


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    lines = [f"| {title} | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(), json.loads(SIMULATION.read_text()), json.loads(CHAOS.read_text())))
