"""`split`: one list cut into several."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.evaluation import entering, items_of, refused
from perdure.expressions import Budget, Names, Template

SPEC = NodeSpec(
    name="split",
    title="Split",
    kind="pure",
    group="data",
    summary="Cuts a list into pieces.",
    description="Either `size`, how many items a piece has at most, or `parts`, how many pieces there are; order stays.",
    repeatable=True,
    output={"type": "array", "items": {"type": "array"}},
    examples=(
        Example(
            title="Pages of two",
            definition={"perdure": 1, "name": "pages", "nodes": {"pages": {"type": "split", "over": "${ input }", "size": 2}}},
            input=[1, 2, 3, 4, 5],
            output=[[1, 2], [3, 4], [5]],
        ),
    ),
)


def compute(keys: Mapping[str, Template], options: Mapping[str, Any], names: Names, budget: Budget) -> Any:
    items = items_of(keys["over"].evaluate(names, budget))
    budget.touch_elements(len(items))
    if "size" in keys:
        size = _count(keys["size"].evaluate(names, budget), "size")
        return [items[start : start + size] for start in range(0, len(items), size)]
    parts = _count(keys["parts"].evaluate(names, budget), "parts")
    budget.charge(parts)
    length, longer = divmod(len(items), parts)  # the first `longer` pieces have one item more
    cuts = [part * length + min(part, longer) for part in range(parts + 1)]
    return [items[start:end] for start, end in pairwise(cuts)]


def _count(value: Any, key: str) -> int:
    if type(value) is not int or value < 1:
        raise refused("split.count", f"Expected `{key}` to be a whole number from 1 on, but it is {value!r:.80}.")
    return value


enter = entering(compute)
