"""Writes the figures of the last runs of `make simulate` and of all of `make chaos` into the page on what is promised.

`.venv/bin/python tools/tested.py` after such runs: those on a file, those on PostgreSQL, or both. A test reads the page.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "guide" / "promises.md"
BEGIN, END = "<!-- figures: written by tools/tested.py -->", "<!-- end of figures -->"
BEGIN_POSTGRES, END_POSTGRES = (
    "<!-- figures on PostgreSQL: written by tools/tested.py -->",
    "<!-- end of figures on PostgreSQL -->",
)
SIMULATION = ROOT / "tests" / "simulation" / "results" / "latest.json"
CHAOS = ROOT / "tests" / "chaos" / "results" / "latest.json"
ON_POSTGRES = [CHAOS.with_name(f"{name}.json") for name in ("postgres", "graphs", "parent")]


def page(text: str, simulation: dict[str, Any], chaos: dict[str, Any]) -> str:
    """The page with these figures in place of those that stand there."""
    return _between(text, BEGIN, END, f"{_simulated(simulation)}\n{_killed('Chaos', chaos)}")


def page_on_postgres(text: str, runs: Sequence[dict[str, Any]]) -> str:
    """The page with the figures of these runs on PostgreSQL in place of those that stand there."""
    together = {name: [each for run in runs for each in run[name]] for name in ("rows", "violations")}
    return _between(text, BEGIN_POSTGRES, END_POSTGRES, _killed("Chaos on PostgreSQL", together))


def _between(text: str, begin: str, end: str, figures: str) -> str:
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{figures}\n{end}{after}"


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


def _killed(title: str, found: dict[str, Any]) -> str:
    rows = []
    for part in found["rows"]:
        said = [f"{name.replace('_', ' ')} {value:,}" for name, value in part.items() if type(value) is int]
        rows.append((str(part["what"]).removeprefix("PostgreSQL: "), ", ".join(said)))
    rows.append(("Violations", f"{len(found['violations']):,}"))
    return _table(title, rows)


def _pair(found: dict[str, Any], first: str, second: str) -> str:
    return f"{found[first]:,.0f}, {found[second]:,.0f}"


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    lines = [f"| {title} | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join(lines) + "\n"


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def main() -> None:
    """Write what there are results of; a part of which a result is missing stays as it is."""
    text = PAGE.read_text()
    if SIMULATION.exists() and CHAOS.exists():
        text = page(text, _read(SIMULATION), _read(CHAOS))
    if all(file.exists() for file in ON_POSTGRES):
        text = page_on_postgres(text, [_read(file) for file in ON_POSTGRES])
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
