"""The growth curves run, in small, and what they count for a unit of work does not grow with size; times are not judged."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from bench.growth import published  # noqa: E402 - as above
from bench.growth.__main__ import keep, told  # noqa: E402 - as above
from bench.growth.curves import CURVES, QUICK  # noqa: E402 - as above

ON_THE_CLOCK = "waking"
"""Waits for a moment of the machine's clock, which no test does."""


def points(name: str, folder: Path) -> list[dict[str, Any]]:
    """A curve at its small sizes."""
    return [
        {"name": name, **asyncio.run(CURVES[name][0](folder / str(size), size)).row()}  # type: ignore[arg-type]
        for size in QUICK[name]
    ]


@pytest.mark.parametrize("name", sorted(set(CURVES) - {ON_THE_CLOCK, "database"}))
def test_what_is_counted_for_a_unit_does_not_grow(name: str, tmp_path: Path) -> None:
    """Bytes and rows of a unit of work are as many at the larger size as at the smaller one, or fewer."""
    small, large = points(name, tmp_path)[-2:]
    assert large["size"] > small["size"]
    assert small["cpu_us"] > 0
    for count in ("bytes", "rows", "statements"):
        if small.get(count):
            assert large[count] <= 1.1 * small[count], (name, count, small, large)


def test_a_store_full_of_what_has_ended_costs_a_start_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many statements, rows and bytes as with fewer; what was to be pruned was."""
    monkeypatch.setattr("bench.growth.curves.ROUNDS", 10)
    empty, some, many = points("database", tmp_path)
    for count in ("transactions", "statements", "rows", "bytes"):
        assert some[count] == many[count] == empty[count]
    assert many["pruned"] > 0


def test_loading_reads_a_snapshot_and_what_came_after(tmp_path: Path) -> None:
    """However long the history: the row of the snapshot, then the journal beyond it."""
    (point,) = (asyncio.run(CURVES["history"][0](tmp_path, 2_500)),)
    row = point.row()  # type: ignore[attr-defined]
    assert row["facts"] > 7_500
    assert row["snapshot_bytes"] > 0
    assert row["tail_facts"] < row["facts"] / 2


def test_every_curve_has_sizes_up_to_what_is_promised() -> None:
    """A million steps, waiting and finished executions, a hundred thousand branches and wake-ups, ten thousand nodes."""
    largest = {name: max(sizes) for name, (_, sizes) in CURVES.items()}
    assert {largest[name] for name in ("loop", "while", "waiting", "database", "history")} == {1_000_000}
    assert {largest[name] for name in ("wide-loop", "waking")} == {100_000}
    assert largest["definition"] == 10_000
    assert set(QUICK) == set(CURVES)


# -- publishing -----------------------------------------------------------------------------------------------------------

ROWS = [
    {"name": name, "curve": name, "size": size, "units": size, "wall_us": 90.0, "cpu_us": 50.0, "bytes": 284.1, measure: 1.5}
    for name, measure in (("waiting", "memory_bytes"), ("waking", "last_ms"))
    for size in (100, 1_000)
]


def test_the_table_stands_between_its_marks() -> None:
    """Written twice the page is the same, and what stands around it stays."""
    page = f"before\n{published.BEGIN}\nold\n{published.END}\nafter\n"
    once = published.with_table(page, ROWS)
    assert once == published.with_table(once, ROWS)
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert "old" not in once
    assert "| waking | 1,000 | 50 | 90 |  |  |  | 284 | last 1.5 ms |" in once
    with pytest.raises(ValueError, match="one is missing"):
        published.with_table("no marks", ROWS)


def test_pictures_are_the_same_for_the_same_rows() -> None:
    """Without a ground of their own and without a date, so that only new figures change a file."""
    for name in ("lag", "memory"):
        drawn = published.picture(name, ROWS)
        assert drawn == published.picture(name, ROWS)
        assert drawn.rstrip().endswith("</svg>")


def test_the_page_has_figures_and_pictures() -> None:
    """Each picture of the page is there, and the table holds every curve at its largest size."""
    page = (ROOT / "docs" / "guide" / "growth.md").read_text()
    between = page.partition(published.BEGIN)[2].partition(published.END)[0]
    for name, (_, sizes) in CURVES.items():
        assert any(f"| {max(sizes):,} |" in line for line in between.splitlines()), name
    for name in published.PICTURES:
        assert (ROOT / "docs" / "pictures" / "growth" / f"{name}.svg").exists()
        assert f"growth/{name}.svg" in page


def test_results_of_other_curves_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring one curve anew replaces its points only."""
    results = tmp_path / "growth.json"
    monkeypatch.setattr("bench.growth.__main__.RESULTS", results)
    keep([row for row in ROWS if row["name"] == "waiting"], "waiting")
    keep([row for row in ROWS if row["name"] == "waking"], "waking")
    keep([{**ROWS[0], "size": 7}], "waiting")
    kept = json.loads(results.read_text())
    assert [(row["name"], row["size"]) for row in kept] == [("waking", 100), ("waking", 1_000), ("waiting", 7)]
    assert told(ROWS[0]).split()[:2] == ["waiting", "100"]
