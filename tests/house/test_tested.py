"""The page on what is promised bears the figures of the last runs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def tool() -> Any:
    """tools/tested.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("tested", ROOT / "tools" / "tested.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SIMULATED = {
    "seeds": 10_000, "first": 0, "seconds": 300.0, "failed": 0, "undecided": 3, "nodes_median": 30, "instances_median": 40,
    "faults_median": 9, "faults": 90_000, "executions": 30_000, "followed_by_the_reference": 29_000, "turns": 200_000,
    "effects": 60_000, "effects_begun_again": 9_000, "empty_cells": 0, "by_fault": {"killed": 12, "stopped": 3},
}  # fmt: skip
CHAOS = {"rows": [{"what": "kill -9", "kills": 311, "lost": 0, "seconds": 40.0}], "violations": []}
ON_POSTGRES = [
    {"rows": [{"what": "PostgreSQL: cluster", "pauses": 17, "lost": 0, "seconds": 40.0}], "violations": []},
    {"rows": [{"what": "PostgreSQL: parent", "kills": 1}], "violations": ["that"]},
]


def test_the_page_has_figures() -> None:
    """They stand between the marks, and say that no seed violated an invariant."""
    text = (ROOT / "docs" / "guide" / "promises.md").read_text()
    between = text.partition(tool().BEGIN)[2].partition(tool().END)[0]
    assert "| Seeds that violated an invariant | 0 |" in between
    assert "| Violations | 0 |" in between
    on_postgres = text.partition(tool().BEGIN_POSTGRES)[2].partition(tool().END_POSTGRES)[0]
    assert "| Violations | 0 |" in on_postgres


def test_new_figures_take_the_place_of_those_before() -> None:
    """What stands around them stays; written twice, the page is the same."""
    module = tool()
    text = f"before\n{module.BEGIN}\nold\n{module.END}\nafter\n"
    once = module.page(text, SIMULATED, CHAOS)
    assert once == module.page(once, SIMULATED, CHAOS)
    assert "old" not in once
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert "kills 311, lost 0" in once
    assert json.dumps("10,000")[1:-1] in once


def test_figures_on_postgresql_have_a_place_of_their_own() -> None:
    """The rows and violations of several runs are shown as those of one; the other figures stay."""
    module = tool()
    text = f"{module.BEGIN}\nthese\n{module.END}\nbefore\n{module.BEGIN_POSTGRES}\nold\n{module.END_POSTGRES}\nafter\n"
    once = module.page_on_postgres(text, ON_POSTGRES)
    assert once == module.page_on_postgres(once, ON_POSTGRES)
    assert once.startswith(f"{module.BEGIN}\nthese\n{module.END}\nbefore\n")
    assert "old" not in once
    assert "| cluster | pauses 17, lost 0 |\n| parent | kills 1 |\n| Violations | 1 |" in once
