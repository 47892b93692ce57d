"""The model example: what its workers find is what another count finds, also where one of them is killed half-way."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

from instances import ROOT
from vega_datasets import local_data

from conftest import Perdure

TUNE = ROOT / "examples" / "models" / "tune.yaml"


def error_of(neighbours: int) -> float:
    """The mean error of the prediction, each car left out in turn, by distances in a table instead of sorted lists."""
    rows = [
        row
        for row in json.loads(Path(local_data.cars.filepath).read_text(encoding="utf-8"))
        if row["Miles_per_Gallon"] is not None and row["Horsepower"] is not None
    ]
    points = [(row["Weight_in_lbs"], row["Horsepower"], int(row["Year"][:4])) for row in rows]
    litres = [235.2146 / row["Miles_per_Gallon"] for row in rows]
    widths = [max(column) - min(column) for column in zip(*points, strict=True)]
    errors = []
    for car, here in enumerate(points):
        distance = {
            other: sum(((a - b) / width) ** 2 for a, b, width in zip(here, there, widths, strict=True))
            for other, there in enumerate(points)
            if other != car
        }
        nearest = sorted(distance, key=lambda other: (distance[other], other))[:neighbours]
        errors.append(abs(litres[car] - fmean(litres[other] for other in nearest)))
    return fmean(errors)


def worker(perdure: Perdure) -> Any:
    """A worker with the label, that has said that it is ready."""
    process = perdure.start("worker", "--label", "cpu=large", "--slots", "1")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["labels"] == {"cpu": "large"}
    return process


def test_rule_65_the_best_number_of_neighbours_is_found_on_the_workers_made_for_it(perdure: Perdure) -> None:
    """The run itself has no such label; of two workers one is killed as soon as the first candidate is done."""
    doomed = worker(perdure)
    worker(perdure)
    run = perdure.start("run", TUNE, "--input", '{"most": 6}', slots="1")
    assert run.stdout is not None
    lines = []
    for text in run.stdout:
        lines.append(json.loads(text))
        if lines[-1].get("fact") == "done" and lines[-1].get("node", "").endswith(".score"):
            doomed.kill()
    assert run.wait() == 0, lines
    output = lines[-1]["output"]
    found = {number: error_of(number) for number in range(1, 7)}
    best = min(found, key=lambda number: found[number])
    assert output["tried"] == 6
    assert output["best"]["neighbours"] == best
    assert abs(output["best"]["litres"] - found[best]) < 0.01
