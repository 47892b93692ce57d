"""Nodes of the example that tunes a model: the cars as numbers, and how well a number of neighbours foretells consumption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from perdure import Context, node


@node("models.cars", title="Read the cars")
def cars() -> list[dict[str, float]]:
    """The cars that come with `vega-datasets` whose power and consumption are known, each in metric units."""
    from vega_datasets import local_data

    rows: list[dict[str, Any]] = json.loads(Path(local_data.cars.filepath).read_text(encoding="utf-8"))
    return [
        {
            "tonnes": row["Weight_in_lbs"] * 0.0004536, "kilowatts": row["Horsepower"] * 0.7457,
            "year": float(row["Year"][:4]), "litres": 235.2146 / row["Miles_per_Gallon"],
        }
        for row in rows
        if row["Miles_per_Gallon"] is not None and row["Horsepower"] is not None
    ]  # fmt: skip


@node("models.score", title="Score a number of neighbours")
def score(context: Context, rows: list[dict[str, float]], neighbours: int) -> dict[str, float]:
    """How many litres a car's consumption is off where it is the mean of its neighbours', each car left out in turn.

    Args:
        rows: The cars.
        neighbours: Of how many similar cars the mean is taken.
    """
    spread = {key: max(row[key] for row in rows) - min(row[key] for row in rows) for key in ("tonnes", "kilowatts", "year")}
    wrong = 0.0
    for number, car in enumerate(rows):
        if number % 50 == 0:
            context.heartbeat()
        others = [row for index, row in enumerate(rows) if index != number]
        others.sort(key=lambda other: sum(((other[key] - car[key]) / wide) ** 2 for key, wide in spread.items()))
        wrong += abs(car["litres"] - sum(other["litres"] for other in others[:neighbours]) / neighbours)
    return {"neighbours": neighbours, "litres": round(wrong / len(rows), 4)}
