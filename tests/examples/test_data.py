"""The data example tells the truth about its data: what its report says is what the data set says, counted another way."""

from __future__ import annotations

import html
import json
import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from instances import ROOT
from vega_datasets import local_data

from conftest import Perdure
from perdure import Context, Failed
from perdure.nodes.discovery import from_file
from perdure.nodes.work import Work

CARS = ROOT / "examples" / "data" / "cars.yaml"


@pytest.fixture(scope="module")
def cars() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(Path(local_data.cars.filepath).read_text(encoding="utf-8"))
    return rows


def load_nodes() -> dict[str, Work]:
    return {work.spec.name: work for work in from_file(CARS.parent / "nodes.py")}


def known(row: dict[str, Any]) -> bool:
    return row["Miles_per_Gallon"] is not None and row["Horsepower"] is not None


def test_the_report_says_what_the_data_says(perdure: Perdure, tmp_path: Path, cars: list[dict[str, Any]]) -> None:
    """Counts, averages, the year of the greatest saving and the best cars are those of an independent count."""
    finished = perdure("run", CARS, "--input", json.dumps({"folder": str(tmp_path / "report"), "best": 3}))
    assert (finished.code, finished.last["status"]) == (0, "succeeded"), finished.stderr
    output = finished.last["output"]

    litres: dict[int, list[float]] = defaultdict(list)
    for row in filter(known, cars):
        litres[int(row["Year"][:4])].append(round(235.2146 / row["Miles_per_Gallon"], 2))
    years = sorted(litres)
    average = {year: round(mean(litres[year]), 1) for year in years}
    saved = {year: average[before] - average[year] for before, year in pairwise(years)}
    best_year = max(saved, key=saved.__getitem__)
    assert output["facts"]["cars"] == sum(map(known, cars)) == 392
    assert output["facts"]["left_out"] == len(cars) - 392 == 14
    assert output["facts"]["best_year"] == best_year == 1974
    assert output["facts"]["headline"] == (
        f"From {average[1970]} to {average[1982]} litres per 100 km in 12 years: New cars need about half the fuel they needed "
        f"then. The greatest step came in {best_year}."
    )

    page = Path(output["report"]).read_text(encoding="utf-8")
    assert html.escape(output["facts"]["headline"]) in page
    tables = re.findall(r"<table>(.*?)</table>", page, re.DOTALL)
    best = sorted(filter(known, cars), key=lambda row: -row["Miles_per_Gallon"])[:3]
    assert [tables[0].index(html.escape(row["Name"])) for row in best] == sorted(tables[0].index(row["Name"]) for row in best)
    assert tables[0].count("<tr>") == 4
    assert tables[1].count("<tr>") == len(years) + 1
    pictures = re.findall(r'<img src="([^"]+)"', page)
    assert [Path(path).name for path in output["pictures"]] == pictures == ["trend.png", "weight.png"]
    for picture in output["pictures"]:
        assert Path(picture).read_bytes().startswith(b"\x89PNG\r\n")


@pytest.mark.parametrize("dataset", local_data.list_datasets())
def test_every_data_set_of_the_package_can_be_loaded(dataset: str) -> None:
    """Whichever data set is named: a list of objects that all have the same keys, of JSON values alone."""
    rows = load_nodes()["data.load"].run({"dataset": dataset}, Context())
    assert rows
    assert {frozenset(row) for row in rows} == {frozenset(rows[0])}


def test_a_data_set_that_is_not_there_fails_for_good() -> None:
    """A wrong name is refused with the names that there are, and not tried again."""
    with pytest.raises(Failed, match="seattle-weather") as failed:
        load_nodes()["data.load"].run({"dataset": "carz"}, Context())
    assert (failed.value.failure.code, failed.value.failure.retryable) == ("data.unknown", False)


def test_a_report_shows_text_as_text(tmp_path: Path) -> None:
    """Text and table cells that look like HTML are shown, never interpreted; a picture is found beside the page."""
    section = {"heading": "<b>", "text": "a < b & c", "rows": [{"<i>": "<script>"}], "picture": str(tmp_path / "a&b.png")}
    load_nodes()["data.report"].run({"file": str(tmp_path / "page.html"), "title": "<t>", "sections": [section]}, Context())
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not {"<b>", "<i>", "<script>", "<t>"} & set(re.findall(r"<\w+>", page))
    assert "a &lt; b &amp; c" in page
    assert 'src="a&amp;b.png"' in page


def test_the_report_lies_in_the_folder_report_unless_told(perdure: Perdure, tmp_path: Path) -> None:
    """Without input the report is written to `report/` of the folder in which the command was started."""
    finished = perdure("run", CARS)
    assert finished.code == 0, finished.stderr
    assert finished.last["output"]["report"] == "report/cars.html"
    assert (tmp_path / "report" / "cars.html").is_file()


@pytest.mark.parametrize("given", [{"best": 0}, {"folder": ""}, {"folder": 3}, {"colour": "red"}])
def test_input_that_does_not_fit_is_refused(given: dict[str, Any], perdure: Perdure, tmp_path: Path) -> None:
    """Wrong input is refused (exit 2) before anything starts or is written."""
    refused = perdure("run", CARS, "--input", json.dumps(given))
    assert refused.code == 2
    assert not (tmp_path / "report").exists()
    assert perdure("list").lines == []


def test_a_report_that_cannot_be_written_fails_with_its_reason(perdure: Perdure, tmp_path: Path) -> None:
    """Where the folder is a file, drawing fails, the run fails, and the error names the node and what stood in the way."""
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    finished = perdure("run", CARS, "--input", json.dumps({"folder": str(tmp_path / "taken")}))
    assert (finished.code, finished.last["status"]) == (1, "failed")
    assert finished.last["error"]["node"] in ("trend_chart", "weight_chart")
    assert "taken" in json.dumps(finished.last["error"])


def test_the_example_passes_the_checker(perdure: Perdure) -> None:
    """`cars.yaml` has no faults."""
    checked = perdure.command("check", CARS)
    assert checked.code == 0, checked.stdout + checked.stderr
