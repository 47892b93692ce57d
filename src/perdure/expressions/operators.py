"""What `+`, `==`, `in` and the other operators do with values: Python's meaning, within the value rules and paid for.

Each operation is a function of (budget, left, right). Sizes are charged before anything is made.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from perdure.expressions.budget import Budget
from perdure.expressions.errors import ExpressionError
from perdure.expressions.values import FLOAT_MAX, INT_MAX, INT_MIN, describe

Operation = Callable[[Budget, Any, Any], Any]

_NUMERIC = frozenset((int, float))


def whole(value: int, what: str) -> int:
    """`value`, if it fits 64 bits. Raises ExpressionError `expression.overflow`."""
    if INT_MIN <= value <= INT_MAX:
        return value
    raise ExpressionError(
        "expression.overflow",
        f"Expected an integer within ±2^63, but {what} is larger.",
        "Use floats (`float(x)`), or decimal strings with `dec_mul`, `dec_add`.",
    )


def finite(value: float, what: str) -> float:
    """`value`, if it is finite. Raises ExpressionError `expression.overflow`."""
    if -FLOAT_MAX <= value <= FLOAT_MAX:
        return value
    raise ExpressionError("expression.overflow", f"Expected a finite number, but {what} is not.", "Keep the numbers smaller.")


def number(value: int | float, what: str) -> int | float:
    """`value` if it is within the value rules."""
    return whole(value, what) if type(value) is int else finite(value, what)


def add(budget: Budget, left: Any, right: Any) -> Any:
    kind, other = type(left), type(right)
    if kind in _NUMERIC and other in _NUMERIC:
        return number(left + right, "the sum")
    if kind is str and other is str:
        budget.touch(len(left) + len(right))
        return left + right
    if kind is list and other is list:
        budget.touch_elements(len(left) + len(right))
        return left + right
    if (kind is str) != (other is str) and kind is not list and other is not list:
        raise _unfit("+", left, right, 'Write f"{a} {b}", or `str(x)` around the value that is no string.')
    raise _unfit("+", left, right, "Use `merge(a, b)` for objects.")


def subtract(budget: Budget, left: Any, right: Any) -> Any:
    if type(left) in _NUMERIC and type(right) in _NUMERIC:
        return number(left - right, "the difference")
    remedy = "Use `without(list, …)` for lists." if type(left) is list else "Use `diff(a, b)` for times."
    raise _unfit("-", left, right, remedy)


def multiply(budget: Budget, left: Any, right: Any) -> Any:
    kind, other = type(left), type(right)
    if kind in _NUMERIC and other in _NUMERIC:
        return number(left * right, "the product")
    if kind is int and (other is str or other is list):
        left, right, kind, other = right, left, other, kind
    if other is int and kind is str:
        budget.touch(len(left) * max(right, 0))
        return left * right
    if other is int and kind is list:
        budget.touch_elements(len(left) * max(right, 0))
        return left * right
    raise _unfit("*", left, right, "")


def divide(budget: Budget, left: Any, right: Any) -> Any:
    if type(left) in _NUMERIC and type(right) in _NUMERIC:
        if right == 0:
            raise _by_zero()
        return finite(left / right, "the quotient")
    raise _unfit("/", left, right, "")


def floor_divide(budget: Budget, left: Any, right: Any) -> Any:
    if type(left) in _NUMERIC and type(right) in _NUMERIC:
        if right == 0:
            raise _by_zero()
        return number(left // right, "the quotient")
    raise _unfit("//", left, right, "")


def modulo(budget: Budget, left: Any, right: Any) -> Any:
    if type(left) in _NUMERIC and type(right) in _NUMERIC:
        if right == 0:
            raise _by_zero()
        return number(left % right, "the remainder")
    remedy = 'Write f"…{x}…" to put values into text.' if type(left) is str else ""
    raise _unfit("%", left, right, remedy)


def power(budget: Budget, left: Any, right: Any) -> Any:
    if type(left) not in _NUMERIC or type(right) not in _NUMERIC:
        raise _unfit("**", left, right, "")
    if type(left) is int and type(right) is int and right >= 0:
        if right > 63 and left not in (-1, 0, 1):
            return whole(INT_MAX + 1, "the power")
        return whole(left ** (right if right < 64 else right % 2 + 64), "the power")
    if left == 0 and right < 0:
        raise _by_zero()
    if left < 0 and right != int(right):
        raise ExpressionError(
            "expression.value", "Expected a whole exponent for a negative number, but got a fraction.", "Use `abs(x)`."
        )
    try:
        return finite(float(left) ** right, "the power")
    except OverflowError:
        return finite(float("inf"), "the power")


def shift_left(budget: Budget, left: Any, right: Any) -> Any:
    _integers("<<", left, right)
    if right < 0:
        raise _negative_shift()
    if right > 63 and left != 0:
        return whole(INT_MAX + 1, "the shifted number")
    return whole(left << min(right, 64), "the shifted number")


def shift_right(budget: Budget, left: Any, right: Any) -> Any:
    _integers(">>", left, right)
    if right < 0:
        raise _negative_shift()
    return left >> min(right, 64)


def bit_and(budget: Budget, left: Any, right: Any) -> Any:
    _integers("&", left, right)
    return left & right


def bit_or(budget: Budget, left: Any, right: Any) -> Any:
    _integers("|", left, right)
    return left | right


def bit_xor(budget: Budget, left: Any, right: Any) -> Any:
    _integers("^", left, right)
    return left ^ right


def negative(budget: Budget, value: Any) -> Any:
    if type(value) in _NUMERIC:
        return number(-value, "the negated number")
    raise _unfit_one("-", value)


def positive(budget: Budget, value: Any) -> Any:
    if type(value) in _NUMERIC:
        return value
    raise _unfit_one("+", value)


def invert(budget: Budget, value: Any) -> Any:
    if type(value) is int:
        return ~value
    raise _unfit_one("~", value)


def negate(budget: Budget, value: Any) -> Any:
    return not value


def equal(budget: Budget, left: Any, right: Any) -> bool:
    kind = type(left)
    if kind is str:
        if type(right) is str:
            budget.touch(min(len(left), len(right)))
    elif (kind is list or kind is dict) and type(right) is kind:
        budget.measure(left)
        budget.measure(right)
    return bool(left == right)


def unequal(budget: Budget, left: Any, right: Any) -> bool:
    return not equal(budget, left, right)


def contained(budget: Budget, left: Any, right: Any) -> bool:
    """`left in right`: a key of an object, an element of a list, a part of a string."""
    kind = type(right)
    if kind is dict:
        if type(left) is str:
            return left in right
        raise ExpressionError(
            "expression.type", f"Expected a string to look for in an object's keys, but got {describe(left)}.", "Use `str(x)`."
        )
    if kind is list:
        look_through(budget, left, right)
        return left in right
    if kind is str:
        if type(left) is str:
            budget.touch(len(left) + len(right))
            return left in right
        raise ExpressionError(
            "expression.type", f"Expected a string to look for in a string, but got {describe(left)}.", "Use `str(x)`."
        )
    raise ExpressionError(
        "expression.type",
        f"Expected a list, object or string after `in`, but got {describe(right)}.",
        "Use `coalesce(x, [])` where it may be null." if right is None else "",
    )


def look_through(budget: Budget, wanted: Any, elements: list[Any]) -> None:
    """Charge for comparing `wanted` with every one of `elements`."""
    kind = type(wanted)
    if kind is list or kind is dict:
        budget.measure(wanted)
        budget.measure(elements)
        return
    budget.touch_elements(len(elements))
    if kind is str and len(wanted) > 64:
        budget.touch(len(wanted) * len(elements))


def not_contained(budget: Budget, left: Any, right: Any) -> bool:
    return not contained(budget, left, right)


def same(budget: Budget, left: Any, right: Any) -> bool:
    return left is right


def not_same(budget: Budget, left: Any, right: Any) -> bool:
    return left is not right


def _ordered(symbol: str, compare: Callable[[Any, Any], bool]) -> Operation:
    def run(budget: Budget, left: Any, right: Any) -> bool:
        kind, other = type(left), type(right)
        if kind in _NUMERIC and other in _NUMERIC:
            return compare(left, right)
        if kind is str and other is str:
            budget.touch(min(len(left), len(right)))
            return compare(left, right)
        if left is None or right is None:
            raise _unfit(symbol, left, right, "Use `coalesce(x, 0)` where a value may be null.")
        if kind is str and other in _NUMERIC or other is str and kind in _NUMERIC:
            raise _unfit(symbol, left, right, "Use `number(x)` on the string.")
        raise _unfit(symbol, left, right, "")

    return run


less = _ordered("<", operator.lt)
less_equal = _ordered("<=", operator.le)
greater = _ordered(">", operator.gt)
greater_equal = _ordered(">=", operator.ge)


def _integers(symbol: str, left: Any, right: Any) -> None:
    if type(left) is not int or type(right) is not int:
        merging = symbol == "|" and type(left) is dict
        raise _unfit(symbol, left, right, "Use `merge(a, b)` for objects." if merging else "")


def _unfit(symbol: str, left: Any, right: Any, remedy: str) -> ExpressionError:
    message = f"Expected values that `{symbol}` takes, but got {describe(left)} and {describe(right)}."
    if not remedy:
        remedy = "Convert them first: `number(x)`, `int(x)`, `str(x)`."
    return ExpressionError("expression.type", message, remedy)


def _unfit_one(symbol: str, value: Any) -> ExpressionError:
    return ExpressionError(
        "expression.type",
        f"Expected a number after `{symbol}`, but got {describe(value)}.",
        "Convert it first: `number(x)`, `int(x)`.",
    )


def _by_zero() -> ExpressionError:
    return ExpressionError(
        "expression.value", "Expected a divisor other than zero, but it is 0.", "Test it first: `a / b if b else 0`."
    )


def _negative_shift() -> ExpressionError:
    return ExpressionError(
        "expression.value", "Expected a shift of 0 or more bits, but it is negative.", "Shift the other way."
    )


UNARY: dict[type[ast.unaryop], Callable[[Budget, Any], Any]] = {
    ast.Not: negate,
    ast.USub: negative,
    ast.UAdd: positive,
    ast.Invert: invert,
}
"""Operators before one value."""

BINARY: dict[type[ast.operator], tuple[str, Operation]] = {
    ast.Add: ("+", add),
    ast.Sub: ("-", subtract),
    ast.Mult: ("*", multiply),
    ast.Div: ("/", divide),
    ast.FloorDiv: ("//", floor_divide),
    ast.Mod: ("%", modulo),
    ast.Pow: ("**", power),
    ast.LShift: ("<<", shift_left),
    ast.RShift: (">>", shift_right),
    ast.BitAnd: ("&", bit_and),
    ast.BitOr: ("|", bit_or),
    ast.BitXor: ("^", bit_xor),
}
"""Operators between two values: how they are written and what they do."""

COMPARISONS: dict[type[ast.cmpop], tuple[str, Operation]] = {
    ast.Eq: ("==", equal),
    ast.NotEq: ("!=", unequal),
    ast.Lt: ("<", less),
    ast.LtE: ("<=", less_equal),
    ast.Gt: (">", greater),
    ast.GtE: (">=", greater_equal),
    ast.In: ("in", contained),
    ast.NotIn: ("not in", not_contained),
    ast.Is: ("is", same),
    ast.IsNot: ("is not", not_same),
}
"""Comparisons, likewise."""
