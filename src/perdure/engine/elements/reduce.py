"""`reduce`: all items folded into one value, in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.evaluation import Items, entering
from perdure.expressions import Budget, Names, Template

SPEC = NodeSpec(
    name="reduce",
    title="Reduce",
    kind="pure",
    group="data",
    summary="Folds the items of a list into one value.",
    description="`carry` begins as `start` and becomes `next` for each item; `next` sees `item`, `index` and `carry`.",
    repeatable=True,
    examples=(
        Example(
            title="Sum and count",
            definition={
                "perdure": 1,
                "name": "totals",
                "nodes": {
                    "totals": {
                        "type": "reduce",
                        "over": "${ input }",
                        "start": {"sum": 0, "count": 0},
                        "next": {"sum": "${ carry.sum + item }", "count": "${ carry.count + 1 }"},
                    }
                },
            },
            input=[1, 2, 3],
            output={"sum": 6, "count": 3},
        ),
    ),
)


def compute(keys: Mapping[str, Template], options: Mapping[str, Any], names: Names, budget: Budget) -> Any:
    items = Items(keys, names, budget)
    start = keys.get("start")
    items.bound["carry"] = None if start is None else start.evaluate(names, budget)
    for _ in items:
        items.bound["carry"] = items.value("next")
    return items.bound["carry"]


enter = entering(compute)
