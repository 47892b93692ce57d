"""`sort`: the items in the order of a key; equal ones keep theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.evaluation import Items, entering, refused
from perdure.expressions import Budget, Names, Template

SPEC = NodeSpec(
    name="sort",
    title="Sort",
    kind="pure",
    group="data",
    summary="Puts the items of a list in order.",
    description=(
        "`by` gives the key of an item (left out: the item itself). Keys are all numbers, all texts or all lists of such; "
        "null comes first. Equal items keep their order, also with `descending: true`."
    ),
    repeatable=True,
    output={"type": "array"},
    examples=(
        Example(
            title="Dearest first",
            definition={
                "perdure": 1,
                "name": "dearest",
                "nodes": {"sorted": {"type": "sort", "over": "${ input }", "by": "${ item.price }", "descending": True}},
            },
            input=[{"price": 1}, {"price": 3}, {"price": 2}],
            output=[{"price": 3}, {"price": 2}, {"price": 1}],
        ),
    ),
)


def compute(keys: Mapping[str, Template], options: Mapping[str, Any], names: Names, budget: Budget) -> Any:
    items = Items(keys, names, budget)
    keyed = [(_sortable(items.value("by") if "by" in keys else item), item) for item in items]
    budget.charge(len(keyed) * max(1, len(keyed).bit_length()))  # n log n comparisons
    descending = options.get("descending") is True
    try:
        keyed.sort(key=lambda pair: pair[0], reverse=descending)
    except TypeError:
        kinds = sorted({type(items_key[0][-1]).__name__ for items_key in keyed if items_key[0]})
        raise refused(
            "sort.key", f"Expected keys that can be compared with each other, but they are {' and '.join(kinds)}."
        ) from None
    return [item for _, item in keyed]


def _sortable(key: Any) -> tuple[Any, ...]:
    """Null before everything else; numbers, texts and lists compare among themselves."""
    if key is None:
        return (0,)
    if type(key) is list:
        return (1, [_sortable(part) for part in key])
    if type(key) is dict:
        raise refused("sort.key", "Expected a number, a text or a list of them as sort key, but it is an object.")
    return (1, key)


enter = entering(compute)
