"""`map`: a value for each item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.evaluation import Items, entering
from perdure.expressions import Budget, Names, Template

SPEC = NodeSpec(
    name="map",
    title="Map",
    kind="pure",
    group="data",
    summary="Makes a value of each item of a list.",
    description="`over` is a list, or an object (then items are `{key, value}`); `to` sees `item` and `index`.",
    repeatable=True,
    output={"type": "array"},
    examples=(
        Example(
            title="Line totals",
            definition={
                "perdure": 1,
                "name": "totals",
                "nodes": {"lines": {"type": "map", "over": "${ input.lines }", "to": "${ item.price * item.quantity }"}},
            },
            input={"lines": [{"price": 5, "quantity": 2}, {"price": 3, "quantity": 1}]},
            output=[10, 3],
        ),
    ),
)


def compute(keys: Mapping[str, Template], options: Mapping[str, Any], names: Names, budget: Budget) -> Any:
    items = Items(keys, names, budget)
    return [items.value("to") for _ in items]


enter = entering(compute)
