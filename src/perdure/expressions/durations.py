"""Durations as people write them (`10s`, `1h30m`, `PT10S`) and as the product keeps them: integer microseconds."""

from __future__ import annotations

import re
from fractions import Fraction

DURATION_MAX = 100 * 366 * 86_400 * 1_000_000
"""A hundred years in microseconds: what is longer is a mistake, and sums with it could leave 64 bits."""

UNITS = {
    "w": 7 * 86_400_000_000,
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
"""Microseconds of each unit, largest first, which is also the order they are written in."""

_LENGTH_MAX = 100
_NUMBER = r"\d{1,18}(?:\.\d{1,18})?"
_PLAIN = re.compile(rf"(?:{_NUMBER}(?:w|d|h|ms|us|m|s))+\Z", re.ASCII)
_PART = re.compile(rf"({_NUMBER})(w|d|h|ms|us|m|s)", re.ASCII)
_ISO = re.compile(rf"P(?:({_NUMBER})W)?(?:({_NUMBER})D)?(?:T(?:({_NUMBER})H)?(?:({_NUMBER})M)?(?:({_NUMBER})S)?)?\Z", re.ASCII)
_ISO_CALENDAR = re.compile(r"P\d+(?:\.\d+)?[YM]", re.ASCII)
_REMEDY = "Write 250ms, 10s, 5m, 1h30m, 3d, 1w, or ISO 8601 such as PT10S; a bare number counts seconds."


def parse_duration(value: str | int | float) -> int:
    """Microseconds of `10s`, `5m`, `2h`, `3d`, `1w`, `250ms`, `1h30m`, `PT10S`, `P1D`; a number counts seconds.

    Raises ValueError, with a sentence, for anything else: negative, not finite, months and years, more than a century.
    """
    if type(value) is str:
        amount = _from_text(value)
    elif type(value) is int or type(value) is float:
        if not 0 <= value <= DURATION_MAX:  # also false for NaN
            raise ValueError(f"Expected a duration of 0 or more seconds, at most a century, but got {value}. {_REMEDY}")
        amount = Fraction(value) * 1_000_000
    else:
        raise ValueError(f"Expected a duration, but got a {type(value).__name__}. {_REMEDY}")
    microseconds = round(amount)
    if microseconds > DURATION_MAX:
        raise ValueError(f"Expected a duration of at most 100 years, but got {value}.")
    return microseconds


def format_duration(microseconds: int) -> str:
    """A duration as people write it: `1h30m`, `250ms`, `0s`; `parse_duration` reads it back exactly."""
    if microseconds < 0:
        return f"-{format_duration(-microseconds)}"
    parts = []
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count, microseconds = divmod(microseconds, UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _from_text(text: str) -> Fraction:
    stripped = text.strip()
    if len(stripped) > _LENGTH_MAX:
        raise ValueError(f"Expected a duration, but got a text of {len(stripped)} characters. {_REMEDY}")
    if _PLAIN.match(stripped):
        return _from_parts(text, stripped)
    iso = _ISO.match(stripped)
    if iso and stripped[-1] not in "PT":
        sizes = (UNITS["w"], UNITS["d"], UNITS["h"], UNITS["m"], UNITS["s"])
        return sum((Fraction(part) * size for part, size in zip(iso.groups(), sizes, strict=True) if part), Fraction(0))
    if _ISO_CALENDAR.match(stripped):
        raise ValueError(
            f"Expected a duration of fixed length, but {text!r} has months or years. Say it in days, such as P30D."
        )
    if stripped.startswith("-"):
        raise ValueError(f"Expected a duration of 0 or more, but got {text!r}.")
    raise ValueError(f"Expected a duration, but got {text!r}. {_REMEDY}")


def _from_parts(text: str, stripped: str) -> Fraction:
    total = Fraction(0)
    order = list(UNITS)
    last = -1
    for number, unit in _PART.findall(stripped):
        position = order.index(unit)
        if position <= last:
            raise ValueError(f"Expected each unit once, the largest first, as in 1h30m, but got {text!r}.")
        last = position
        total += Fraction(number) * UNITS[unit]
    return total
