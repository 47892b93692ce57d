"""The tables of our own rows, as `make bench --publish` writes them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.__main__ import GOALS, budget, ours

from perdure.cli.budget import PARTS


def test_a_row_stands_beside_its_goal_and_a_file_beside_postgresql() -> None:
    """Median, spread and what it was meant to reach, there and there; what is measured on one of them only has gaps."""
    metric = next(iter(GOALS["sqlite"]))
    about = {"workload": "chain", "metric": metric, "unit": "steps/s", "median": 23456.0, "min": 20000.0, "max": 25000.0}
    rows = [
        {**about, "store": "sqlite"},
        {**about, "store": "sqlite", "workload": "loop", "metric": "other"},
        {**about, "store": "postgresql", "median": 16000.0},
        {**about, "store": "postgresql", "metric": "only there"},
    ]
    lines = ours(rows, repeat=5, load=0.1).splitlines()[-3:]
    spread = "20,000 … 25,000"
    assert lines == [
        f"| chain | {metric} | **23,456** steps/s | {spread} | ≥ 20,000 | **16,000** steps/s | {spread} | ≥ 15,000 |",
        f"| chain | only there |  |  |  | **23,456** steps/s | {spread} |  |",
        f"| loop | other | **23,456** steps/s | {spread} |  |  |  |  |",
    ]


def test_a_budget_has_a_line_for_each_part_and_their_sum() -> None:
    """A column for each workload."""
    profile = {"workload": "chain", "us_per_step": dict.fromkeys(PARTS, 2.0)}
    lines = budget([profile, {**profile, "workload": "loop"}]).splitlines()
    assert lines[0] == "| Part | chain | loop | What it is |"
    assert [line.split(" | ")[0] for line in lines[2:-1]] == [f"| {part}" for part in PARTS]
    assert lines[-1] == f"| **sum** | **{2 * len(PARTS):.1f}** | **{2 * len(PARTS):.1f}** |  |"
