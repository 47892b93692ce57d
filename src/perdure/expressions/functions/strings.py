"""Functions on strings: case, trimming, cutting, joining, padding."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from perdure.expressions.budget import Budget
from perdure.expressions.errors import ExpressionError
from perdure.expressions.formats import text_of
from perdure.expressions.functions.catalogue import function
from perdure.expressions.operators import contained
from perdure.expressions.values import describe

_NOT_IN_SLUG = re.compile(r"[^a-z0-9]+")


@function("Strings", ('upper("straße")', "STRASSE"))
def upper(budget: Budget, text: str) -> str:
    """The text in upper case."""
    budget.touch(3 * len(text))  # a few letters grow when they change case, none beyond three
    return text.upper()


@function("Strings", ('lower("ABC")', "abc"))
def lower(budget: Budget, text: str) -> str:
    """The text in lower case."""
    budget.touch(3 * len(text))
    return text.lower()


@function("Strings", ('title("order of things")', "Order Of Things"))
def title(budget: Budget, text: str) -> str:
    """Each word with a capital first letter, the rest in lower case."""
    budget.touch(3 * len(text))
    return text.title()


@function("Strings", ('capitalize("hello WORLD")', "Hello world"))
def capitalize(budget: Budget, text: str) -> str:
    """The first letter in upper case, the rest in lower case."""
    budget.touch(3 * len(text))
    return text.capitalize()


@function("Strings", ('strip("  a b ")', "a b"), ('strip("--a--", "-")', "a"))
def strip(budget: Budget, text: str, characters: str | None = None) -> str:
    """The text without white space, or any of `characters`, at both ends."""
    _charge_stripping(budget, text, characters)
    return text.strip(characters)


@function("Strings", ('lstrip("007", "0")', "7"))
def lstrip(budget: Budget, text: str, characters: str | None = None) -> str:
    """The text without white space, or any of `characters`, at its start."""
    _charge_stripping(budget, text, characters)
    return text.lstrip(characters)


@function("Strings", ('rstrip("1.500", "0")', "1.5"))
def rstrip(budget: Budget, text: str, characters: str | None = None) -> str:
    """The text without white space, or any of `characters`, at its end."""
    _charge_stripping(budget, text, characters)
    return text.rstrip(characters)


def _charge_stripping(budget: Budget, text: str, characters: str | None) -> None:
    budget.touch(len(text))
    if characters is not None and len(characters) > 64:
        raise ExpressionError(
            "expression.value",
            f"Expected at most 64 characters to strip, but got {len(characters)}.",
            "Use `regex_replace` with a character class.",
        )


@function(
    "Strings", ('split("a, b", ", ")', ["a", "b"]), ('split(" a  b ")', ["a", "b"]), ('split("a-b-c", "-", 1)', ["a", "b-c"])
)
def split(budget: Budget, text: str, separator: str | None = None, limit: int = -1) -> list[Any]:
    """The pieces between separators, by default between runs of white space; at most `limit` cuts are made."""
    if separator == "":
        raise ExpressionError(
            "expression.value", "Expected a separator, but it is empty.", "Use `[text[i] for i in range(len(text))]`."
        )
    budget.touch(len(text))
    if limit != 0:
        budget.touch_elements((text.count(separator) if separator else len(text) // 2) + 1)
    return text.split(separator, limit)


@function("Strings", (r'lines("a\nb\r\nc")', ["a", "b", "c"]))
def lines(budget: Budget, text: str) -> list[Any]:
    """The lines of a text, without their ends."""
    budget.touch(len(text))
    budget.touch_elements(text.count("\n") + 1)
    made = [line.removesuffix("\r") for line in text.split("\n")]
    return made[:-1] if made[-1] == "" else made


@function("Strings", ('join(["a", 1, true], "-")', "a-1-true"), ('join(["a", "b"])', "ab"))
def join(budget: Budget, list_: list[Any], separator: str = "") -> str:
    """The elements as one text, with the separator between them; what is no string is written as JSON."""
    budget.touch_elements(len(list_))
    budget.touch(len(separator) * len(list_))
    return separator.join([text_of(budget, element) for element in list_])


@function("Strings", ('replace("a.b.c", ".", "/")', "a/b/c"), ('replace("a.b.c", ".", "/", 1)', "a/b.c"))
def replace(budget: Budget, text: str, old: str, new: str, limit: int = -1) -> str:
    """The text with `old` replaced by `new`, everywhere or at most `limit` times from the left."""
    if old == "":
        raise ExpressionError("expression.value", "Expected a text to replace, but it is empty.", "Use `join(…)`.")
    budget.touch(len(text) + len(old))
    count = text.count(old) if limit < 0 else min(text.count(old), limit)
    budget.touch(len(text) + count * len(new))
    return text.replace(old, new, limit)


@function("Strings", ('starts_with("order-17", "order-")', True))
def starts_with(budget: Budget, text: str, start: str) -> bool:
    """Whether the text begins with `start`."""
    budget.touch(len(start))
    return text.startswith(start)


@function("Strings", ('ends_with("report.pdf", ".pdf")', True))
def ends_with(budget: Budget, text: str, end: str) -> bool:
    """Whether the text ends with `end`."""
    budget.touch(len(end))
    return text.endswith(end)


@function("Strings", ('find("abcabc", "c")', 2), ('find("abc", "x")', -1))
def find(budget: Budget, text: str, part: str) -> int:
    """The position of the first `part` in the text, from 0; -1 where there is none."""
    budget.touch(len(text) + len(part))
    return text.find(part)


@function("Strings", ('pad_left("7", 3, "0")', "007"))
def pad_left(budget: Budget, text: str, width: int, fill: str = " ") -> str:
    """The text, made `width` characters long with `fill` at its start."""
    _charge_padding(budget, text, width, fill)
    return text.rjust(width, fill)


@function("Strings", ('pad_right("ab", 4, ".")', "ab.."))
def pad_right(budget: Budget, text: str, width: int, fill: str = " ") -> str:
    """The text, made `width` characters long with `fill` at its end."""
    _charge_padding(budget, text, width, fill)
    return text.ljust(width, fill)


def _charge_padding(budget: Budget, text: str, width: int, fill: str) -> None:
    if len(fill) != 1:
        raise ExpressionError(
            "expression.value", f"Expected one character to fill with, but got {len(fill)}.", 'Use " " or "0".'
        )
    budget.touch(max(len(text), width))


@function("Strings", ('truncate("abcdefgh", 5)', "abcd…"), ('truncate("abc", 5)', "abc"))
def truncate(budget: Budget, text: str, length: int, end: str = "…") -> str:
    """The text, cut to at most `length` characters, which include `end` where something was cut off."""
    if length < len(end):
        raise ExpressionError(
            "expression.value", f"Expected a length of at least {len(end)}, the length of `end`, but got {length}.", ""
        )
    budget.touch(min(len(text), length))
    return text if len(text) <= length else text[: length - len(end)] + end


@function("Strings", ('slug("Crème brûlée, 2 pcs.")', "creme-brulee-2-pcs"))
def slug(budget: Budget, text: str) -> str:
    """The text for an address or file name: plain small letters and digits, hyphens between words, accents removed."""
    budget.touch(18 * len(text) if not text.isascii() else 2 * len(text))  # one sign can decompose into eighteen
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return _NOT_IN_SLUG.sub("-", plain).strip("-")


@function("Strings", ('contains("abc", "b")', True), ("contains([1, 2], 2)", True), ('contains({"a": 1}, "a")', True))
def contains(budget: Budget, container: str | list[Any] | dict[str, Any], value: Any) -> bool:
    """Whether a string has a part, a list an element, or an object a key: the same as `value in container`."""
    return contained(budget, value, container)


@function("Strings", ('reverse("abc")', "cba"), ("reverse([1, 2, 3])", [3, 2, 1]))
def reverse(budget: Budget, value: str | list[Any]) -> str | list[Any]:
    """A string or list, back to front."""
    if type(value) is str:
        budget.touch(len(value))
    else:
        budget.touch_elements(len(value))
    return value[::-1]


@function("Strings", ('len("abc")', 3), ("len([1, 2])", 2), ('len({"a": 1})', 1), cost=1)
def len_(budget: Budget, value: str | list[Any] | dict[str, Any]) -> int:
    """How many characters a string, elements a list, or keys an object has."""
    return len(value)


@function("Strings", ("str(12)", "12"), ("str(true)", "true"), ('str({"a": [1, null]})', '{"a":[1,null]}'))
def str_(budget: Budget, value: Any) -> str:
    """Any value as text: strings as they are, all others as compact JSON."""
    return text_of(budget, value)


@function("Strings", ('is_blank(" ")', True), ("is_blank(null)", True), ('is_blank("a")', False))
def is_blank(budget: Budget, value: Any) -> bool:
    """Whether a value is null or a string of nothing but white space."""
    if value is None:
        return True
    if type(value) is not str:
        raise ExpressionError("expression.type", f"Expected a string or null, but got {describe(value)}.", "Use `is_empty(x)`.")
    budget.touch(len(value))
    return not value or value.isspace()
