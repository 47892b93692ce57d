"""Text with values in it: f-strings, their format specifications, and the text parts of templates."""

from __future__ import annotations

import re
from typing import Any

from perdure.expressions.budget import Budget
from perdure.expressions.closures import Closure
from perdure.expressions.errors import ExpressionError
from perdure.expressions.names import Names
from perdure.expressions.values import describe, value_text

WIDTH_MAX = 1_000
"""The widest field of a format specification."""
PRECISION_MAX = 100
"""The most digits of a format specification."""

_SPECIFICATION = re.compile(
    r"(?:(?P<fill>.)?(?P<align>[<>^=]))?[-+ ]?z?#?0?(?P<width>\d+)?[,_]?(?:\.(?P<precision>\d+))?"
    r"[sdboxXeEfFgG%]?\Z",
    re.DOTALL | re.ASCII,
)


def text_of(budget: Budget, value: Any) -> str:
    """A value as text, paid for: strings as they are, others as compact JSON."""
    kind = type(value)
    if kind is str:
        budget.touch(len(value))
        return str(value)
    if kind is list or kind is dict:
        budget.measure(value)
    text = value_text(value)
    budget.touch(len(text))
    return text


def concatenation(parts: tuple[str | Closure, ...], source: str, offset: int) -> Closure:
    """An f-string: literal texts and values."""

    def run(names: Names, budget: Budget, frame: Any) -> Any:
        try:
            return "".join([part if isinstance(part, str) else text_of(budget, part(names, budget, frame)) for part in parts])
        except ExpressionError as error:
            raise error.at(source, offset) from None

    return run


def check_specification(specification: str) -> None:
    """Raise ExpressionError unless `specification` is one of the bounded ones. Widths and digits are the danger in it."""
    match = _SPECIFICATION.match(specification)
    if match is None:
        raise ExpressionError(
            "expression.forbidden",
            f"Expected a format such as `.2f`, `>10` or `,`, but got {specification[:40]!r}.",
            "Use `pad_left`, `format_number`, `format_date`.",
        )
    width, precision = match["width"], match["precision"]
    if (
        width
        and (len(width) > 4 or int(width) > WIDTH_MAX)
        or precision
        and (len(precision) > 4 or int(precision) > PRECISION_MAX)
    ):
        raise ExpressionError(
            "expression.too_large",
            f"Expected a width of at most {WIDTH_MAX:,} and at most {PRECISION_MAX} digits, but got {specification[:40]!r}.",
            "Write less.",
        )


def formatted(value: Closure, specification: str, source: str, offset: int) -> Closure:
    """`{x:.2f}`: one value, formatted by a specification that was checked when compiled."""

    def run(names: Names, budget: Budget, frame: Any) -> Any:
        found = value(names, budget, frame)
        kind = type(found)
        if kind is not str and kind is not int and kind is not float:
            raise ExpressionError(
                "expression.type",
                f"Expected a number or string to format as `{specification}`, but got {describe(found)}.",
                "Convert it first: `str(x)`, `number(x)`.",
                source,
                offset,
            )
        try:
            text = format(found, specification)
            budget.touch(len(text))
            return text
        except (ValueError, OverflowError) as error:
            raise ExpressionError(
                "expression.value",
                f"Expected a value that can be formatted as `{specification}`, but {describe(found)} cannot: {error}.",
                "Use `f` for numbers, `s` for strings.",
                source,
                offset,
            ) from None
        except ExpressionError as error:
            raise error.at(source, offset) from None

    return run
