"""`group`: the items by a key, each group a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.evaluation import Items, entering, refused
from perdure.expressions import Budget, Names, Template

SPEC = NodeSpec(
    name="group",
    title="Group",
    kind="pure",
    group="data",
    summary="Gathers the items of a list by a key.",
    description=(
        "The output is an object: each key with the list of its items, keys in the order they first appear. `by` gives a "
        "text, a whole number, true or false, or null; all but texts are written as JSON."
    ),
    repeatable=True,
    output={"type": "object"},
    examples=(
        Example(
            title="Orders by country",
            definition={
                "perdure": 1,
                "name": "countries",
                "nodes": {"countries": {"type": "group", "over": "${ input }", "by": "${ item.country }"}},
            },
            input=[{"country": "se", "n": 1}, {"country": "de", "n": 2}, {"country": "se", "n": 3}],
            output={"se": [{"country": "se", "n": 1}, {"country": "se", "n": 3}], "de": [{"country": "de", "n": 2}]},
        ),
    ),
)

_WORDS = {True: "true", False: "false", None: "null"}


def compute(keys: Mapping[str, Template], options: Mapping[str, Any], names: Names, budget: Budget) -> Any:
    items = Items(keys, names, budget)
    groups: dict[str, list[Any]] = {}
    for item in items:
        groups.setdefault(_text(items.value("by")), []).append(item)
    return groups


def _text(key: Any) -> str:
    kind = type(key)
    if kind is str:
        return str(key)
    if kind is bool or key is None:
        return _WORDS[key]
    if kind is int:
        return str(key)
    raise refused("group.key", f"Expected a text, a whole number, true, false or null to group by, but it is {kind.__name__}.")


enter = entering(compute)
