"""Functions on numbers: conversion, rounding, sums and the rest of arithmetic."""

from __future__ import annotations

import math
import re
from typing import Any

from perdure.expressions.budget import Budget
from perdure.expressions.errors import ExpressionError
from perdure.expressions.functions.catalogue import function
from perdure.expressions.operators import modulo, power, whole
from perdure.expressions.operators import number as bounded
from perdure.expressions.paths import follow, parse_path
from perdure.expressions.values import describe

_TEXT_MAX = 100  # characters of a number written as text
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?\Z", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+\Z", re.ASCII)
_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0", "")


@function("Numbers", ('int("42")', 42), ("int(3.9)", 3), ('int("ff", 16)', 255), ("int(true)", 1))
def int_(budget: Budget, value: Any, base: int = 10) -> int:
    """A whole number: of text, of a number (what follows the point is cut off), or of a boolean."""
    if type(value) is str:
        text = value.strip()
        if len(text) <= _TEXT_MAX and 2 <= base <= 36:
            try:
                return whole(int(text, base), "the number")
            except ValueError:
                pass
        raise _not_a_number(
            "an integer", value, "Use `number(x)` for text with a decimal point, `matches(x, …)` to test it first."
        )
    if type(value) is int or type(value) is float or type(value) is bool:
        return whole(int(value), "the number")
    raise _unfit("int", value)


@function("Numbers", ('float("1.5")', 1.5), ("float(2)", 2.0))
def float_(budget: Budget, value: Any) -> float:
    """A number with a fraction: of text or of a whole number."""
    if type(value) is str:
        return float(bounded(float(_number_text(value)), "the number"))
    if type(value) is int or type(value) is float or type(value) is bool:
        return float(value)
    raise _unfit("float", value)


@function("Numbers", ('number("42")', 42), ('number("1.5e3")', 1500.0), ("number(7)", 7))
def number(budget: Budget, value: Any) -> int | float:
    """The number that a text holds: whole if it is written without point and exponent."""
    if type(value) is str:
        text = _number_text(value)
        return bounded(int(text) if _INTEGER.match(text) else float(text), "the number")
    if type(value) is int or type(value) is float:
        return value
    raise _unfit("number", value)


@function("Numbers", ('bool("yes")', True), ("bool(0)", False), ("bool(null)", False))
def bool_(budget: Budget, value: Any) -> bool:
    """A boolean: true, yes, on and 1 as text, false, no, off, 0 and the empty text; numbers other than 0; null is false."""
    if type(value) is str:
        text = value.strip().lower() if len(value) <= _TEXT_MAX else value[:1]
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        raise _not_a_number("true or false", value, "Use `not is_empty(x)` to test for any text.")
    if value is None or type(value) in (bool, int, float):
        return bool(value)
    raise _unfit("bool", value)


@function("Numbers", ("abs(-3)", 3))
def abs_(budget: Budget, x: int | float) -> int | float:
    """The number without its sign."""
    return bounded(abs(x), "the absolute value")


@function("Numbers", ("round(2.567, 2)", 2.57), ("round(2.5)", 2), ("round(1234, -2)", 1200))
def round_(budget: Budget, x: int | float, digits: int | None = None) -> int | float:
    """The nearest number with so many digits after the point, the even one of two; whole without `digits`.

    For money see `dec_round`.
    """
    if digits is not None and not -30 <= digits <= 30:
        raise ExpressionError("expression.value", f"Expected -30 to 30 digits, but got {digits}.", "")
    return bounded(round(x, digits) if digits is not None else round(x), "the rounded number")


@function("Numbers", ("floor(2.7)", 2), ("floor(-2.1)", -3))
def floor(budget: Budget, x: int | float) -> int:
    """The largest whole number that is not above `x`."""
    return whole(math.floor(x), "the rounded number")


@function("Numbers", ("ceil(2.1)", 3))
def ceil(budget: Budget, x: int | float) -> int:
    """The smallest whole number that is not below `x`."""
    return whole(math.ceil(x), "the rounded number")


@function("Numbers", ("min([3, 1, 2])", 1), ("min(3, 1)", 1), ('min(["b", "a"])', "a"))
def min_(budget: Budget, *values: Any) -> Any:
    """The smallest of a list, or of the arguments: all numbers or all strings."""
    return min(_comparable(budget, "min", values))


@function("Numbers", ("max([3, 1, 2])", 3), ('max("2026-01-02", "2026-01-10")', "2026-01-10"))
def max_(budget: Budget, *values: Any) -> Any:
    """The largest of a list, or of the arguments: all numbers or all strings."""
    return max(_comparable(budget, "max", values))


@function(
    "Numbers", ("sum([1, 2, 3])", 6), ("sum([0.1] * 10)", 1.0), ('sum(line.price for line in [{"price": 2}, {"price": 3}])', 5)
)
def sum_(budget: Budget, list_: list[Any]) -> int | float:
    """The sum of a list of numbers; with fractions it is rounded once, at the end, so that the order does not matter."""
    return _sum(_numbers(budget, "sum", list_))


@function("Numbers", ("avg([1, 2, 6])", 3.0))
def avg(budget: Budget, list_: list[Any]) -> float:
    """The mean of a list of numbers that is not empty."""
    _not_empty("avg", list_)
    return float(bounded(_sum(_numbers(budget, "avg", list_)) / len(list_), "the mean"))


@function("Numbers", ("median([5, 1, 3])", 3), ("median([1, 2, 3, 10])", 2.5))
def median(budget: Budget, list_: list[Any]) -> int | float:
    """The middle of a list of numbers that is not empty, or the mean of the two in the middle."""
    _not_empty("median", list_)
    budget.charge(len(list_) * len(list_).bit_length() >> 2)
    ordered: list[int | float] = sorted(_numbers(budget, "median", list_))
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return bounded(ordered[middle - 1] / 2 + ordered[middle] / 2, "the mean")


@function("Numbers", ("pow(2, 10)", 1024), ("pow(4, 0.5)", 2.0))
def pow_(budget: Budget, x: int | float, exponent: int | float) -> int | float:
    """`x` to the power of `exponent`: the same as `x ** exponent`."""
    result: int | float = power(budget, x, exponent)
    return result


@function("Numbers", ("sqrt(9)", 3.0))
def sqrt(budget: Budget, x: int | float) -> float:
    """The square root."""
    if x < 0:
        raise ExpressionError("expression.value", "Expected a number of 0 or more, but it is negative.", "Use `sqrt(abs(x))`.")
    return math.sqrt(x)


@function("Numbers", ("log(1)", 0.0), ("log(8, 2)", 3.0))
def log(budget: Budget, x: int | float, base: int | float = math.e) -> float:
    """The logarithm, natural or to another base."""
    if x <= 0 or base <= 0 or base == 1:
        raise ExpressionError("expression.value", "Expected a positive number, and a base other than 1, but got neither.", "")
    if base == math.e:
        return math.log(x)
    if base == 2:
        return math.log2(x)
    return math.log10(x) if base == 10 else math.log(x) / math.log(base)


@function("Numbers", ("exp(0)", 1.0))
def exp(budget: Budget, x: int | float) -> float:
    """e to the power of `x`."""
    return math.exp(x)


@function("Numbers", ("mod(7, 3)", 1), ("mod(-1, 3)", 2))
def mod(budget: Budget, x: int | float, divisor: int | float) -> int | float:
    """What is left of `x` after division, with the sign of the divisor: the same as `x % divisor`."""
    result: int | float = modulo(budget, x, divisor)
    return result


@function("Numbers", ("clamp(15, 0, 10)", 10))
def clamp(budget: Budget, x: int | float, low: int | float, high: int | float) -> int | float:
    """`x`, or the nearer of the two limits where it lies outside them."""
    if low > high:
        raise ExpressionError("expression.value", f"Expected limits in order, but {low} is above {high}.", "Swap them.")
    return low if x < low else min(x, high)


@function("Numbers", ("format_number(1234567.891, 2)", "1,234,567.89"), ('format_number(1234.5, 2, ".", ",")', "1.234,50"))
def format_number(budget: Budget, x: int | float, digits: int = 0, thousands: str = ",", decimal: str = ".") -> str:
    """A number for people, with so many digits after the point and marks between thousands."""
    if not 0 <= digits <= 30 or len(thousands) > 4 or len(decimal) > 4:
        raise ExpressionError(
            "expression.value", "Expected 0 to 30 digits and marks of at most 4 characters, but got others.", ""
        )
    text = f"{x:,.{digits}f}"
    budget.touch(5 * len(text))
    before, point, after = text.partition(".")
    return before.replace(",", thousands) + (decimal + after if point else "")


@function("Numbers", ('sum_by([{"n": 2}, {"n": 3}], "n")', 5))
def sum_by(budget: Budget, list_: list[Any], by: str) -> int | float:
    """The sum of what stands at the path `by` in each element."""
    keys = parse_path(by)
    budget.charge(len(list_) * (1 + len(keys)))
    return _sum(_numbers(budget, "sum_by", [follow(element, keys) for element in list_]))


def _sum(numbers: list[Any]) -> int | float:
    if any(type(element) is float for element in numbers):
        return bounded(math.fsum(numbers), "the sum")
    return bounded(sum(numbers), "the sum")


def _numbers(budget: Budget, name: str, elements: list[Any]) -> list[Any]:
    budget.touch_elements(len(elements))
    for position, element in enumerate(elements):
        if type(element) is not int and type(element) is not float:
            raise ExpressionError(
                "expression.type",
                f"Expected numbers in the list of `{name}`, but position {position} is {describe(element)}.",
                "Leave it out or convert it: `[number(x) for x in list if x is not null]`.",
            )
    return elements


def _comparable(budget: Budget, name: str, values: tuple[Any, ...]) -> list[Any]:
    elements = values[0] if len(values) == 1 and type(values[0]) is list else list(values)
    _not_empty(name, elements)
    budget.touch_elements(len(elements))
    kinds = {float if type(element) is int else type(element) for element in elements}
    if kinds != {float} and kinds != {str}:
        strange = (
            next(element for element in elements if type(element) not in (int, float, str))
            if kinds - {float, str}
            else elements[0]
        )
        raise ExpressionError(
            "expression.type",
            f"Expected all numbers or all strings for `{name}`, but got {describe(strange)} among them.",
            "Leave it out or convert it: `[number(x) for x in list if x is not null]`.",
        )
    if kinds == {str}:
        budget.touch(sum(len(element) for element in elements))
    return elements


def _not_empty(name: str, elements: list[Any]) -> None:
    if not elements:
        raise ExpressionError(
            "expression.value",
            f"Expected at least one value for `{name}`, but the list is empty.",
            f"Write `{name}(x) if x else 0`.",
        )


def _number_text(value: str) -> str:
    text = value.strip() if len(value) <= _TEXT_MAX else ""
    if not _NUMBER.match(text):
        raise _not_a_number("a number", value, 'Test it first: `matches(x, r"^[0-9.]+$")`, or remove units with `replace`.')
    return text


def _not_a_number(wanted: str, value: str, remedy: str) -> ExpressionError:
    return ExpressionError("expression.value", f"Expected text that holds {wanted}, but got {value[:40]!r}.", remedy)


def _unfit(name: str, value: Any) -> ExpressionError:
    return ExpressionError(
        "expression.type",
        f"Expected a value that `{name}` can convert, but got {describe(value)}.",
        f"Use `{name}(coalesce(x, 0))` where it may be null.",
    )
