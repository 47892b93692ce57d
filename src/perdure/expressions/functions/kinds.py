"""Functions that ask what a value is, and `coalesce`, which replaces null."""

from __future__ import annotations

from typing import Any

from perdure.expressions.budget import Budget
from perdure.expressions.errors import ExpressionError
from perdure.expressions.functions.catalogue import function
from perdure.expressions.values import describe

_TYPES = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


@function("Types", ("type_of(1)", "integer"), ("type_of(1.5)", "number"), ("type_of([])", "array"))
def type_of(budget: Budget, value: Any) -> str:
    """The type by its JSON Schema name: null, boolean, integer, number, string, array, object."""
    return _TYPES[type(value)]


@function("Types", ("is_null(null)", True))
def is_null(budget: Budget, value: Any) -> bool:
    """Whether the value is null: the same as `value is null`."""
    return value is None


@function("Types", ("is_bool(true)", True), ("is_bool(1)", False))
def is_bool(budget: Budget, value: Any) -> bool:
    """Whether the value is true or false."""
    return type(value) is bool


@function("Types", ("is_number(1.5)", True), ("is_number(true)", False))
def is_number(budget: Budget, value: Any) -> bool:
    """Whether the value is a number, whole or not."""
    return type(value) is int or type(value) is float


@function("Types", ("is_integer(1)", True), ("is_integer(1.0)", False))
def is_integer(budget: Budget, value: Any) -> bool:
    """Whether the value is a whole number, written without a point."""
    return type(value) is int


@function("Types", ('is_string("a")', True))
def is_string(budget: Budget, value: Any) -> bool:
    """Whether the value is a string."""
    return type(value) is str


@function("Types", ("is_list([])", True))
def is_list(budget: Budget, value: Any) -> bool:
    """Whether the value is a list."""
    return type(value) is list


@function("Types", ("is_object({})", True))
def is_object(budget: Budget, value: Any) -> bool:
    """Whether the value is an object."""
    return type(value) is dict


@function("Types", ("is_empty([])", True), ('is_empty("")', True), ("is_empty(null)", True), ("is_empty([0])", False))
def is_empty(budget: Budget, value: Any) -> bool:
    """Whether the value is null, or a string, list or object with nothing in it."""
    if value is None:
        return True
    if type(value) in (str, list, dict):
        return not value
    raise ExpressionError(
        "expression.type", f"Expected a string, list, object or null, but got {describe(value)}.", "Compare numbers: `x == 0`."
    )


@function("Types", ("coalesce(null, 0)", 0), ('coalesce(null, "", "a")', ""), ("coalesce(null)", None), cost=1)
def coalesce(budget: Budget, *values: Any) -> Any:
    """The first value that is not null. What is missing is an error all the same: `get` replaces both."""
    for value in values:
        if value is not None:
            return value
    return None
