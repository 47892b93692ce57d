"""Functions on decimal strings, for money: exact, 34 digits, never through binary fractions (day-one 10)."""

from __future__ import annotations

import decimal
import re
from typing import Any

from perdure.expressions.budget import Budget
from perdure.expressions.errors import ExpressionError
from perdure.expressions.functions.catalogue import function
from perdure.expressions.values import describe

DIGITS_MAX = 34
"""Significant digits, those of IEEE decimal128: beyond any sum of money, and bounded."""

_TEXT = re.compile(r"[+-]?\d{1,60}(?:\.\d{1,60})?\Z", re.ASCII)
_EXACT = decimal.Context(prec=DIGITS_MAX, traps=[decimal.Inexact, decimal.Overflow, decimal.InvalidOperation])
_MODES = {
    "half_up": decimal.ROUND_HALF_UP,
    "half_even": decimal.ROUND_HALF_EVEN,
    "half_down": decimal.ROUND_HALF_DOWN,
    "up": decimal.ROUND_UP,
    "down": decimal.ROUND_DOWN,
    "ceiling": decimal.ROUND_CEILING,
    "floor": decimal.ROUND_FLOOR,
}


@function("Decimals", ('dec_add("0.10", "0.20")', "0.30"), cost=5)
def dec_add(budget: Budget, a: str | int, b: str | int) -> str:
    """The exact sum of two decimal numbers."""
    return _exactly(_EXACT.add, _decimal(a), _decimal(b))


@function("Decimals", ('dec_sub("10.00", "0.01")', "9.99"), cost=5)
def dec_sub(budget: Budget, a: str | int, b: str | int) -> str:
    """The exact difference of two decimal numbers."""
    return _exactly(_EXACT.subtract, _decimal(a), _decimal(b))


@function("Decimals", ('dec_mul("19.99", 3)', "59.97"), cost=5)
def dec_mul(budget: Budget, a: str | int, b: str | int) -> str:
    """The exact product of two decimal numbers."""
    return _exactly(_EXACT.multiply, _decimal(a), _decimal(b))


@function("Decimals", ('dec_div("10", "3", 2)', "3.33"), ('dec_div("2", "3", 2)', "0.67"), cost=20)
def dec_div(budget: Budget, a: str | int, b: str | int, digits: int = 10, mode: str = "half_up") -> str:
    """The quotient of two decimal numbers, rounded to so many digits after the point."""
    divisor = _decimal(b)
    if not divisor:
        raise ExpressionError("expression.value", "Expected a divisor other than zero, but it is 0.", "Test it first.")
    _check_digits(digits)
    # Rounded down to more digits than are kept, with a digit that says whether more follows: then rounding twice is exact.
    dividend = _decimal(a)
    scale = decimal.Decimal(1).scaleb(-digits - 2)
    wide = decimal.Context(prec=400, rounding=decimal.ROUND_DOWN)
    quotient = wide.divide(dividend, divisor).quantize(scale, rounding=decimal.ROUND_DOWN, context=wide)
    if wide.multiply(quotient, divisor) != dividend:
        sign = -1 if (dividend < 0) != (divisor < 0) else 1
        quotient = wide.add(quotient, wide.multiply(decimal.Decimal(sign), scale.scaleb(-1)))
    return _quantized(quotient, digits, mode)


@function(
    "Decimals",
    ('dec_round("2.345", 2)', "2.35"),
    ('dec_round("2.345", 2, "half_even")', "2.34"),
    ('dec_round("7", 2)', "7.00"),
    cost=5,
)
def dec_round(budget: Budget, x: str | int, digits: int = 2, mode: str = "half_up") -> str:
    """A decimal number with exactly so many digits after the point.

    `mode`: half_up, half_even, half_down, up, down, ceiling, floor.
    """
    _check_digits(digits)
    return _quantized(_decimal(x), digits, mode)


@function("Decimals", ('dec_compare("1.0", "1.00")', 0), ('dec_compare("9.99", "10")', -1), cost=5)
def dec_compare(budget: Budget, a: str | int, b: str | int) -> int:
    """-1, 0 or 1: whether the first decimal number is smaller, equal or larger."""
    first, second = _decimal(a), _decimal(b)
    return (first > second) - (first < second)


@function("Decimals", ('dec_sum(["0.10", "0.20", "5"])', "5.30"), ("dec_sum([])", "0"), cost=5)
def dec_sum(budget: Budget, list_: list[Any]) -> str:
    """The exact sum of a list of decimal numbers."""
    budget.charge(4 * len(list_))
    budget.measure(list_)
    total = decimal.Decimal(0)
    for element in list_:
        try:
            total = _EXACT.add(total, _decimal(element))
        except decimal.Inexact:
            raise _too_many_digits() from None
    return _text(total)


def _decimal(value: Any) -> decimal.Decimal:
    if type(value) is int:
        return decimal.Decimal(value)
    if type(value) is not str:
        remedy = "Write money as a string; a float has already lost digits." if type(value) is float else "Use `str(x)`."
        raise ExpressionError("expression.type", f"Expected a decimal string or integer, but got {describe(value)}.", remedy)
    text = value.strip() if len(value) <= 200 else ""
    if not _TEXT.match(text):
        raise ExpressionError(
            "expression.value", f'Expected a decimal such as "19.99", but got {value[:40]!r}.', "Remove currency signs."
        )
    return decimal.Decimal(text)


def _exactly(operation: Any, a: decimal.Decimal, b: decimal.Decimal) -> str:
    try:
        return _text(operation(a, b))
    except decimal.Inexact:
        raise _too_many_digits() from None


def _quantized(value: decimal.Decimal, digits: int, mode: str) -> str:
    rounding = _MODES.get(mode)
    if rounding is None:
        raise ExpressionError("expression.value", f"Expected a mode, but got {mode[:40]!r}.", f"One of {', '.join(_MODES)}.")
    wide = decimal.Context(prec=400)
    rounded = value.quantize(decimal.Decimal(1).scaleb(-digits), rounding=rounding, context=wide)
    if len(rounded.as_tuple().digits) > DIGITS_MAX + 30:
        raise _too_many_digits()
    return _text(rounded)


def _text(value: decimal.Decimal) -> str:
    return f"{value:f}" if value else f"{abs(value):f}"  # there is no -0.00 of money


def _check_digits(digits: int) -> None:
    if not 0 <= digits <= 30:
        raise ExpressionError("expression.value", f"Expected 0 to 30 digits after the point, but got {digits}.", "")


def _too_many_digits() -> ExpressionError:
    return ExpressionError(
        "expression.overflow",
        f"Expected a result of at most {DIGITS_MAX} digits, but it has more.",
        "Round before: `dec_round(x, 2)`.",
    )
