"""`filter`: the items for which a condition holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.evaluation import Items, entering
from perdure.expressions import Budget, Names, Template

SPEC = NodeSpec(
    name="filter",
    title="Filter",
    kind="pure",
    group="data",
    summary="Keeps the items for which `where` is true.",
    description=(
        "`over` is a list, or an object (then items are `{key, value}`); `where` sees `item` and `index`. Order stays."
    ),
    repeatable=True,
    output={"type": "array"},
    examples=(
        Example(
            title="Paid orders",
            definition={
                "perdure": 1,
                "name": "paid",
                "nodes": {"paid": {"type": "filter", "over": "${ input }", "where": "${ item.paid and item.total > 10 }"}},
            },
            input=[{"paid": True, "total": 20}, {"paid": False, "total": 30}, {"paid": True, "total": 5}],
            output=[{"paid": True, "total": 20}],
        ),
    ),
)


def compute(keys: Mapping[str, Template], options: Mapping[str, Any], names: Names, budget: Budget) -> Any:
    items = Items(keys, names, budget)
    return [item for item in items if items.condition("where")]


enter = entering(compute)
