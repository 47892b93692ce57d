"""Functions on objects: keys, reading by path, choosing, merging. None changes what it is given."""

from __future__ import annotations

from typing import Any

from perdure.expressions.budget import Budget
from perdure.expressions.errors import ExpressionError
from perdure.expressions.functions.catalogue import function
from perdure.expressions.paths import Key, find, parse_path
from perdure.expressions.values import describe

_MISSING = object()


@function("Objects", ('keys({"a": 1, "b": 2})', ["a", "b"]))
def keys(budget: Budget, object_: dict[str, Any]) -> list[Any]:
    """The keys, in the object's order."""
    budget.touch_elements(len(object_))
    return [*object_]


@function("Objects", ('values({"a": 1, "b": 2})', [1, 2]))
def values(budget: Budget, object_: dict[str, Any]) -> list[Any]:
    """The values, in the object's order."""
    budget.touch_elements(len(object_))
    return [*object_.values()]


@function("Objects", ('items({"a": 1})', [["a", 1]]), ('[f"{k}={v}" for k, v in items({"a": 1})]', ["a=1"]))
def items(budget: Budget, object_: dict[str, Any]) -> list[Any]:
    """Each key with its value, as lists of two."""
    budget.touch_elements(5 * len(object_))
    return [[key, value] for key, value in object_.items()]


@function(
    "Objects", ('from_items([["a", 1], ["b", 2]])', {"a": 1, "b": 2}), ('from_items([{"key": "a", "value": 1}])', {"a": 1})
)
def from_items(budget: Budget, list_: list[Any]) -> dict[str, Any]:
    """An object of keys with their values, given as lists of two or as objects with `key` and `value`."""
    budget.touch_elements(2 * len(list_))
    made = {}
    for position, item in enumerate(list_):
        if type(item) is type(list_) and len(item) == 2:
            key, value = item
        elif type(item) is dict and "key" in item and "value" in item:
            key, value = item["key"], item["value"]
        else:
            raise ExpressionError(
                "expression.type",
                f"Expected lists of two, or objects with `key` and `value`, but position {position} is another.",
                "Write `{x.name: x.value for x in list}`.",
            )
        if type(key) is not str:
            raise ExpressionError(
                "expression.type",
                f"Expected strings as keys, but at position {position} it is {describe(key)}.",
                "Use `str(x)`.",
            )
        made[key] = value
    return made


@function(
    "Objects",
    ('get({"a": {"b": [5]}}, "a.b[0]")', 5),
    ('get({"a": null}, "a.b", 0)', 0),
    ('get({"a b": 1}, "[\\"a b\\"]")', 1),
    ('get(null, "a", "none")', "none"),
)
def get(budget: Budget, value: Any, path: str, default: Any = None) -> Any:
    """What stands at a path such as `a.b[0].c`; `default` where anything on the way is missing or null.

    A null at the end stays null.
    """
    steps = parse_path(path)
    budget.charge(len(steps))
    return find(value, steps, default)


@function("Objects", ('has({"a": {"b": null}}, "a.b")', True), ('has({"a": 1}, "a.b")', False))
def has(budget: Budget, value: Any, path: str) -> bool:
    """Whether something, be it null, stands at a path such as `a.b[0].c`."""
    steps = parse_path(path)
    budget.charge(len(steps))
    return find(value, steps, _MISSING) is not _MISSING


@function("Objects", ('pick({"a": 1, "b": 2}, "a", "c")', {"a": 1}), ('pick({"a": 1, "b": 2}, ["b"])', {"b": 2}))
def pick(budget: Budget, object_: dict[str, Any], *keys: str | list[Any]) -> dict[str, Any]:
    """The object with only the named keys, those it has."""
    wanted = _named(budget, keys)
    budget.touch_elements(len(object_))
    return {key: value for key, value in object_.items() if key in wanted}


@function("Objects", ('omit({"a": 1, "b": 2}, "a")', {"b": 2}))
def omit(budget: Budget, object_: dict[str, Any], *keys: str | list[Any]) -> dict[str, Any]:
    """The object without the named keys."""
    unwanted = _named(budget, keys)
    budget.touch_elements(len(object_))
    return {key: value for key, value in object_.items() if key not in unwanted}


@function("Objects", ('merge({"a": 1, "b": 1}, {"b": 2})', {"a": 1, "b": 2}), ('merge({"a": {"x": 1}}, {"a": {}})', {"a": {}}))
def merge(budget: Budget, *objects: dict[str, Any] | None) -> dict[str, Any]:
    """All keys of all objects; later ones win; null counts as empty."""
    merged: dict[str, Any] = {}
    for one in objects:
        if one is not None:
            budget.touch_elements(2 * len(one))
            merged.update(one)
    return merged


@function("Objects", ('deep_merge({"a": {"x": 1}}, {"a": {"y": 2}})', {"a": {"x": 1, "y": 2}}))
def deep_merge(budget: Budget, *objects: dict[str, Any] | None) -> dict[str, Any]:
    """All keys of all objects; where both have an object at a key, these are merged likewise, else later ones win."""
    merged: dict[str, Any] = {}
    for one in objects:
        if one is not None:
            merged = _deeply(budget, merged, one)
    return merged


@function(
    "Objects",
    ('set({"a": {"b": 1}}, "a.b", 2)', {"a": {"b": 2}}),
    ('set({}, "a.b", 1)', {"a": {"b": 1}}),
    ('set({"l": [1, 2]}, "l[0]", 9)', {"l": [9, 2]}),
)
def set_(budget: Budget, value: list[Any] | dict[str, Any], path: str, new: Any) -> Any:
    """A copy with another value at a path; objects on the way are made where they are missing. The original stays as it is."""
    steps = parse_path(path)
    if not steps:
        raise ExpressionError("expression.value", "Expected a path that names something, but it is empty.", 'Write "a.b".')
    budget.charge(len(steps))
    return _with(budget, value, steps, new)


def _with(budget: Budget, value: Any, steps: tuple[Key, ...], new: Any) -> Any:
    key, rest = steps[0], steps[1:]
    if type(key) is str and (type(value) is dict or value is None):
        budget.touch_elements(2 * len(value or ()) + 2)
        made = dict(value or {})
        made[key] = _with(budget, made.get(key), rest, new) if rest else new
        return made
    if type(key) is int and type(value) is list and -len(value) <= key < len(value):
        budget.touch_elements(len(value))
        changed = list(value)
        changed[key] = _with(budget, changed[key], rest, new) if rest else new
        return changed
    what = f"an object to set `{key}` in" if type(key) is str else f"a list that has position {key}"
    raise ExpressionError(
        "expression.missing", f"Expected {what}, but got {describe(value)}.", "Use `list + [x]` to add to a list."
    )


def _deeply(budget: Budget, left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    budget.charge(2)
    budget.touch_elements(2 * (len(left) + len(right)))
    merged = dict(left)
    for key, value in right.items():
        before = merged.get(key)
        if type(before) is dict and type(value) is dict:
            merged[key] = _deeply(budget, before, value)
        else:
            merged[key] = value
    return merged


def _named(budget: Budget, names: tuple[Any, ...]) -> set[str]:
    wanted: set[str] = set()
    for name in names:
        for one in name if type(name) is list else [name]:
            if type(one) is not str:
                raise ExpressionError("expression.type", f"Expected strings as keys, but got {describe(one)}.", "Use `str(x)`.")
            budget.touch(len(one) + 16)
            wanted.add(one)
    return wanted
