"""Functions on lists of objects: columns, groups, lookups. `by` is a path such as `customer.id`."""

from __future__ import annotations

from typing import Any

from perdure.expressions.budget import Budget
from perdure.expressions.errors import ExpressionError
from perdure.expressions.functions.catalogue import function
from perdure.expressions.functions.lists import check_comparable, keys_of
from perdure.expressions.values import describe, value_text


@function("Lists of objects", ('pluck([{"a": 1}, {"a": 2}], "a")', [1, 2]))
def pluck(budget: Budget, list_: list[Any], by: str) -> list[Any]:
    """What stands at the path `by` in each element."""
    return keys_of(budget, list_, by)


@function(
    "Lists of objects",
    ('group_by([{"k": "x", "n": 1}, {"k": "x", "n": 2}], "k")', {"x": [{"k": "x", "n": 1}, {"k": "x", "n": 2}]}),
)
def group_by(budget: Budget, list_: list[Any], by: str) -> dict[str, Any]:
    """An object from each value at the path `by`, written as text, to the list of elements that have it."""
    groups: dict[str, Any] = {}
    budget.touch_elements(2 * len(list_))
    for element, key in zip(list_, keys_of(budget, list_, by), strict=True):
        groups.setdefault(_key_text(budget, key), []).append(element)
    return groups


@function("Lists of objects", ('count_by([{"k": "x"}, {"k": "y"}, {"k": "x"}], "k")', {"x": 2, "y": 1}))
def count_by(budget: Budget, list_: list[Any], by: str) -> dict[str, Any]:
    """An object from each value at the path `by`, written as text, to the number of elements that have it."""
    counts: dict[str, Any] = {}
    budget.touch_elements(len(list_))
    for key in keys_of(budget, list_, by):
        name = _key_text(budget, key)
        counts[name] = counts.get(name, 0) + 1
    return counts


@function("Lists of objects", ('key_by([{"id": 7, "n": "a"}], "id")', {"7": {"id": 7, "n": "a"}}))
def key_by(budget: Budget, list_: list[Any], by: str) -> dict[str, Any]:
    """An object from each value at the path `by`, written as text, to the element that has it; the last one wins."""
    budget.touch_elements(2 * len(list_))
    return {_key_text(budget, key): element for element, key in zip(list_, keys_of(budget, list_, by), strict=True)}


@function("Lists of objects", ('min_by([{"n": 2}, {"n": 1}], "n")', {"n": 1}), ('min_by([], "n")', None))
def min_by(budget: Budget, list_: list[Any], by: str) -> Any:
    """The first element with the smallest value at the path `by`; null where the list is empty."""
    keys = keys_of(budget, list_, by)
    check_comparable(budget, keys, "min_by")
    return list_[min(range(len(keys)), key=keys.__getitem__)] if list_ else None


@function("Lists of objects", ('max_by([{"n": 2}, {"n": 1}], "n")', {"n": 2}))
def max_by(budget: Budget, list_: list[Any], by: str) -> Any:
    """The first element with the largest value at the path `by`; null where the list is empty."""
    keys = keys_of(budget, list_, by)
    check_comparable(budget, keys, "max_by")
    return list_[max(range(len(keys)), key=keys.__getitem__)] if list_ else None


def _key_text(budget: Budget, key: Any) -> str:
    if type(key) is list or type(key) is dict:
        raise ExpressionError(
            "expression.type",
            f"Expected strings, numbers, booleans or null to group by, but got {describe(key)}.",
            "Name a field in it.",
        )
    text = value_text(key)
    budget.touch(len(text))
    return text
