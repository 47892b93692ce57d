"""Two workers on effects that wait, in small; what is written of them, and that the page has it. Rates are not judged."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from bench.pages import placed  # noqa: E402 - as above

from bench import scaling  # noqa: E402 - the folder is no installed package

MACHINE = {"cores": 2, "python": "3.11.7", "load": 0.1, "postgresql": "18.4", "settings": "fsync=on"}
FOUND = {
    1: [{"effects_per_second": rate, "cores": 0.2} for rate in (390.0, 380.0, 370.0)],
    2: [{"effects_per_second": rate, "cores": 0.4} for rate in (720.0, 722.0, 730.0)],
}


@pytest.fixture
def results() -> dict[str, Any]:
    return {"machine": MACHINE, "repetitions": 3, "rows": scaling.rows(FOUND, slots=20)}


def test_all_effects_of_two_workers_are_counted_once(tmp_path: Path) -> None:
    """They are real processes on a real server; a run in which anything was lost or done twice gives no figure."""
    found = scaling.measure(tmp_path, 2, slots=4, length=2, seconds=0.4)
    assert found["effects_per_second"] > 0
    assert found["cores"] > 0


def test_a_row_stands_beside_one_worker_and_beside_what_the_slots_allow(results: dict[str, Any]) -> None:
    """Two workers with 1.9 times the effects of one are at 95 % of linear."""
    one, two = results["rows"]
    assert (one["median"], one["min"], one["max"], one["most"], one["efficiency"]) == (380, 370, 390, 400, 1)
    assert (two["median"], two["linear"], two["most"], two["efficiency"]) == (722, 760, 800, pytest.approx(0.95))
    assert "| 2 | **722** | 720 … 730 | 95% | 90% of 800 | 0.4 |" in scaling.markdown(results)
    assert "busy" not in scaling.markdown(results)
    assert "busy" in scaling.markdown({**results, "machine": {**MACHINE, "load": 5.0}})


def test_the_page_gets_its_table_and_its_picture(results: dict[str, Any], tmp_path: Path) -> None:
    """Written twice they are the same; without its marks the page is refused."""
    page, file = tmp_path / "page.md", tmp_path / "picture.svg"
    page.write_text("before\n<!-- scaling:begin -->\nold\n<!-- scaling:end -->\nafter\n")
    scaling.publish(results, page=page, file=file)
    once = page.read_text(), file.read_text()
    scaling.publish(results, page=page, file=file)
    assert (page.read_text(), file.read_text()) == once
    assert once[0].startswith("before\n")
    assert "old" not in once[0]
    assert ElementTree.fromstring(once[1]).tag.endswith("svg")
    page.write_text("no marks")
    with pytest.raises(ValueError, match="Expected the page to have"):
        scaling.publish(results, page=page, file=file)


def test_the_page_in_the_documentation_has_a_row_for_each_number_of_workers() -> None:
    """From one to four, beside the picture."""
    page = scaling.PAGE.read_text()
    assert "a table" in placed(page, "scaling", "a table")
    between = page.partition("<!-- scaling:begin -->")[2].partition("<!-- scaling:end -->")[0]
    assert all(f"\n| {workers} | **" in between for workers in scaling.WORKERS)
    assert f"pictures/{scaling.PICTURE.name}" in page
    assert scaling.PICTURE.exists()
