"""Which values a document may hold (day-one 10), and the one form that each number has."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from perdure.definition.positions import Path

INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1
DEPTH_MAX = 200  # containers inside each other; thirty-two scopes of five levels each, and room for data
VALUES_MAX = 1_000_000  # aliases expanded: ten thousand nodes need about two hundred thousand


class Problem(ValueError):
    """One thing wrong with a value: the fault's code, and the message. The model's validators raise it as well."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def whole(number: float) -> float | int:
    """A float without a fraction as the integer its digits say, so that a stored document reads back as it was (1.0 is 1)."""
    if not number.is_integer() or abs(number) > INTEGER_MAX:
        return number
    digits = int(Decimal(repr(number)))  # beyond 2^53 the shortest digits, which RFC 8785 writes, are not the exact value
    return digits if INTEGER_MIN <= digits <= INTEGER_MAX else number


def number(value: float | int) -> float | int:
    """The number as it is kept. Raises Problem when it is outside what can be stored."""
    if isinstance(value, int):
        if not INTEGER_MIN <= value <= INTEGER_MAX:
            shown = str(value) if value.bit_length() < 128 else f"one of {value.bit_length()} bits"
            raise Problem("value.range", f"Expected an integer within ±2^63, but got {shown}.")
        return value
    if not math.isfinite(value):
        raise Problem("value.range", f"Expected a finite number, but got {value}.")
    return whole(value)


def text(value: str) -> str:
    """The string as it is kept. Raises Problem when it holds half of a surrogate pair, which no UTF-8 can."""
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise Problem(
                "value.text", f"Expected text that UTF-8 can hold, but character {error.start} is half a pair."
            ) from None
    return value


def kept(document: Any) -> tuple[Any, list[tuple[Path, Problem]]]:
    """A copy of an already-parsed document in its kept form, and every value in it that cannot be kept, by path."""
    problems: list[tuple[Path, Problem]] = []
    count = 0

    def walk(value: Any, path: Path) -> Any:
        nonlocal count
        count += 1
        if count > VALUES_MAX:
            if count == VALUES_MAX + 1:
                problems.append(
                    (path, Problem("document.too_large", f"Expected at most {VALUES_MAX:,} values, but there are more."))
                )
            return None
        if len(path) > DEPTH_MAX:
            message = f"Expected at most {DEPTH_MAX} levels of nesting, but this goes deeper."
            problems.append((path, Problem("document.too_deep", message)))
            return None
        try:
            return step(value, path)
        except Problem as problem:
            problems.append((path, problem))
            return None

    def step(value: Any, path: Path) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return text(value)
        if isinstance(value, int | float):
            return number(value)
        if isinstance(value, list | tuple):
            return [walk(item, (*path, index)) for index, item in enumerate(value)]
        if isinstance(value, dict):
            return {_key(key): walk(item, (*path, _key(key))) for key, item in value.items()}
        raise Problem("value.type", f"Expected a value of JSON, but got a {type(value).__name__}.")

    return walk(document, ()), problems


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise Problem("value.key", f"Expected a text as key, but got {key!r}.")
    return text(key)
