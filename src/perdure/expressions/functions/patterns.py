"""Functions on regular expressions, by RE2: no pattern takes more than linear time, whatever the text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import re2

from perdure.expressions.budget import Budget
from perdure.expressions.errors import ExpressionError
from perdure.expressions.functions.catalogue import function

PATTERN_MAX = 1_000
"""Characters of a pattern."""
PROGRAM_MAX = 2_000
"""Instructions that a pattern may be compiled into: `(a{30}){30}` is short to write and long to run."""

_MEMORY_MAX = 1 << 20  # bytes RE2 may use for one pattern
_REFERENCE = re.compile(r"\\(?:(\d)|g<(\w{1,64})>|(.)|\Z)", re.DOTALL | re.ASCII)


@function(
    "Regular expressions",
    (r'matches("order-17", r"^order-\d+$")', True),
    (r'matches("see order-17", r"order")', True),
    cost=20,
)
def matches(budget: Budget, text: str, pattern: str) -> bool:
    """Whether the pattern is found anywhere in the text; anchor it with `^` and `$` to match the whole."""
    return _compiled(budget, pattern, text).search(text) is not None


@function(
    "Regular expressions",
    (r'find_all("a1 b22", r"\d+")', ["1", "22"]),
    (r'find_all("k=v, x=y", r"(\w)=(\w)", 2)', ["v", "y"]),
    cost=20,
)
def find_all(budget: Budget, text: str, pattern: str, group: str | int | None = None) -> list[Any]:
    """All places where the pattern is found: the whole of each, or one group; with a group in the pattern, the first one."""
    regex = _compiled(budget, pattern, text)
    wanted = _group(regex, group)
    found = []
    for match in _each(budget, regex, text):
        piece = match[wanted]
        budget.touch(len(piece or ""))
        found.append(piece)
    return found


@function(
    "Regular expressions",
    (r'extract("order-17 of today", r"order-(\d+)")', "17"),
    (r'extract("none", r"\d+")', None),
    (r'extract("2026-03-01", r"(?P<year>\d{4})-(?P<month>\d\d)", "month")', "03"),
    cost=20,
)
def extract(budget: Budget, text: str, pattern: str, group: str | int | None = None) -> str | None:
    """The first place where the pattern is found, or null.

    Of it the group asked for, else its first group if it has one, else the whole.
    """
    regex = _compiled(budget, pattern, text)
    wanted = _group(regex, group)
    match = regex.search(text)
    return match[wanted] if match is not None else None


@function(
    "Regular expressions",
    (r'regex_replace("2026-03-01", r"(\d+)-(\d+)-(\d+)", r"\3.\2.\1")', "01.03.2026"),
    (r'regex_replace("a  b", r"\s+", " ")', "a b"),
    cost=20,
)
def regex_replace(budget: Budget, text: str, pattern: str, replacement: str, limit: int = 0) -> str:
    r"""The text with what the pattern finds replaced, everywhere or at most `limit` times.

    `\1` and `\g<name>` stand for its groups.
    """
    regex = _compiled(budget, pattern, text)
    parts = _replacement(regex, replacement)
    pieces: list[str] = []
    end = 0
    for count, match in enumerate(_each(budget, regex, text)):
        if limit > 0 and count == limit:
            break
        pieces.append(text[end : match.start()])
        for part in parts:
            piece = part if type(part) is str else match[part] or ""
            budget.touch(len(piece))
            pieces.append(piece)
        end = match.end()
    pieces.append(text[end:])
    return "".join(pieces)


@function("Regular expressions", (r'regex_split("a, b;c", r"[,;]\s*")', ["a", "b", "c"]), cost=20)
def regex_split(budget: Budget, text: str, pattern: str, limit: int = 0) -> list[Any]:
    """The pieces of the text between the places that the pattern finds; at most `limit` cuts are made."""
    regex = _compiled(budget, pattern, text)
    pieces: list[Any] = []
    end = 0
    for count, match in enumerate(_each(budget, regex, text)):
        if limit > 0 and count == limit:
            break
        pieces.append(text[end : match.start()])
        end = match.end()
    pieces.append(text[end:])
    return pieces


@function("Regular expressions", ('regex_escape("1.5*2")', r"1\.5\*2"))
def regex_escape(budget: Budget, text: str) -> str:
    """The text as a pattern that matches just this text."""
    budget.touch(2 * len(text))
    return "".join(
        character if character.isalnum() or not character.isascii() or character == "_" else "\\" + character
        for character in text
    )


def _compiled(budget: Budget, pattern: str, text: str) -> Any:
    """The compiled pattern; one search of `text` by it is paid for."""
    if len(pattern) > PATTERN_MAX:
        raise ExpressionError(
            "expression.too_large", f"Expected a pattern of at most {PATTERN_MAX:,} characters, but it is longer.", "Split it."
        )
    budget.charge(len(pattern))
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY_MAX
    try:
        regex = re2.compile(pattern, options)
    except re2.error as error:
        raise _not_a_pattern(pattern, error) from None
    size = regex.programsize
    if size > PROGRAM_MAX:
        raise ExpressionError(
            "expression.too_large",
            "Expected a pattern with fewer repetitions, but it grows too large when compiled.",
            "Use `+` or `*` instead of large counts.",
        )
    budget.charge(size)
    budget.touch(len(text) * (1 + size // 64))
    return regex


def _each(budget: Budget, regex: Any, text: str) -> Iterator[Any]:
    """All matches from left to right. A search may look ahead to the end of the text, and is charged as if it did."""
    weight = 1 + regex.programsize // 64
    length = len(text)
    for match in regex.finditer(text):
        budget.charge(1 + ((length - match.end()) * weight >> 8))
        budget.touch_elements(1)
        yield match


def _group(regex: Any, group: str | int | None) -> int:
    if group is None:
        return 1 if regex.groups else 0
    number: int = regex.groupindex.get(group, -1) if isinstance(group, str) else group
    if not 0 <= number <= regex.groups:
        raise ExpressionError(
            "expression.value", f"Expected a group of the pattern, but it has no {group!r}.", f"It has {regex.groups} groups."
        )
    return number


def _replacement(regex: Any, replacement: str) -> list[str | int]:
    parts: list[str | int] = []
    end = 0
    for match in _REFERENCE.finditer(replacement):
        parts.append(replacement[end : match.start()])
        digit, name, other = match.groups()
        if digit is not None:
            parts.append(_group(regex, int(digit)))
        elif name is not None:
            parts.append(_group(regex, int(name) if name.isdigit() and len(name) < 4 else name))
        elif other == "\\":
            parts.append("\\")
        else:
            raise ExpressionError(
                "expression.value",
                r"Expected `\1` to `\9`, `\g<name>` or `\\` in the replacement, but found another backslash.",
                'Write a string with r in front: r"\\1".',
            )
        end = match.end()
    parts.append(replacement[end:])
    return parts


def _not_a_pattern(pattern: str, error: Exception) -> ExpressionError:
    reason = error.args[0] if error.args else "it cannot be read"
    text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    if "repetition size" in text or "too large" in text:
        return ExpressionError(
            "expression.too_large",
            "Expected a smaller pattern, but it grows too large when compiled.",
            "Use fewer repetitions.",
        )
    hint = (
        "Look-around and back-references do not exist in RE2."
        if "(?" in pattern
        else 'Write patterns with r in front: r"\\d+".'
    )
    return ExpressionError("expression.value", f"Expected a regular expression, but: {text[:200]}.", hint)
