"""`merge`: several values made one: objects laid over each other, lists appended or zipped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.evaluation import entering, refused
from perdure.expressions import Budget, Names, Template

SPEC = NodeSpec(
    name="merge",
    title="Merge",
    kind="pure",
    group="data",
    summary="Makes one value of several.",
    description=(
        "`of` lists the values; null ones (a branch that was not taken) are left out. `how`: `shallow` lays objects over each "
        "other, the later wins; `deep` does so at every depth; `append` joins lists; `zip` pairs the items of lists, as long "
        "as the shortest. Left out: `shallow`."
    ),
    repeatable=True,
    examples=(
        Example(
            title="Defaults and wishes",
            definition={
                "perdure": 1,
                "name": "options",
                "nodes": {"options": {"type": "merge", "of": [{"size": "m", "colour": "red"}, "${ input }"], "how": "shallow"}},
            },
            input={"colour": "blue"},
            output={"size": "m", "colour": "blue"},
        ),
    ),
)


def compute(keys: Mapping[str, Template], options: Mapping[str, Any], names: Names, budget: Budget) -> Any:
    values = keys["of"].evaluate(names, budget)
    if type(values) is not list:
        raise refused("merge.type", f"Expected `of` to be a list of values, but it is {type(values).__name__}.")
    values = [value for value in values if value is not None]
    how = options.get("how", "shallow")
    _same_kind(values, list if how in ("append", "zip") else dict, how)
    for value in values:
        budget.measure(value)
    return _MERGES[how](values)


def _same_kind(values: list[Any], kind: type, how: str) -> None:
    for number, value in enumerate(values):
        if type(value) is not kind:
            wanted = "lists" if kind is list else "objects"
            raise refused("merge.type", f"Expected `{how}` to merge {wanted}, but value {number} is {type(value).__name__}.")


def _shallow(values: list[Any]) -> Any:
    merged: dict[str, Any] = {}
    for value in values:
        merged.update(value)
    return merged


def _deep(values: list[Any]) -> Any:
    merged: dict[str, Any] = {}
    for value in values:
        for key, inner in value.items():
            both = type(inner) is dict and type(merged.get(key)) is dict
            merged[key] = _deep([merged[key], inner]) if both else inner
    return merged


def _append(values: list[Any]) -> Any:
    return [item for value in values for item in value]


def _zip(values: list[Any]) -> Any:
    return [list(items) for items in zip(*values, strict=False)]


_MERGES = {"shallow": _shallow, "deep": _deep, "append": _append, "zip": _zip}

enter = entering(compute)
