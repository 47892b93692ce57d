"""What can be wrong with an expression or a value: `ExpressionError` with code, place and remedy, and `ValueRefused`."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

CODES = {
    "expression.syntax": "the text is not an expression",
    "expression.forbidden": "the syntax exists in Python but is not part of the expression language",
    "expression.unknown_name": "there is no such name here",
    "expression.unknown_function": "there is no such function",
    "expression.arguments": "a function is called with too few, too many or unknown arguments",
    "expression.missing": "an object has no such key, a list no such position, or the value is null",
    "expression.type": "an operation or function got a value of a type that it does not take",
    "expression.value": "a value has the right type but cannot be used: division by zero, a text that is no number",
    "expression.overflow": "a number is beyond ±2^63, or beyond the largest float",
    "expression.budget": "the evaluation needs more operations, or touches more data, than it is allowed",
    "expression.too_large": "the source is too long, or expression or data are nested too deeply",
    "expression.language": "there is no such expression language",
}

_SUGGESTIONS_FROM_MAX = 500  # names compared for "did you mean": enough for people, bounded for machines


class ExpressionError(Exception):
    """An expression that cannot be compiled or evaluated.

    `code`: one of `CODES`. `message`: a sentence. `remedy`: what to do. `source`: the text that the place counts in.
    `offset`: characters from its start, `line` and `column` count from 1; -1, 0 and 0 while the place is not known.
    `path`: where in a template the text stands, such as `with.headers[0]`; "" outside templates.
    """

    def __init__(
        self, code: str, message: str, remedy: str = "", source: str = "", offset: int = -1, *, path: str = ""
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy
        self.source = source
        self.offset = offset
        self.path = path

    @property
    def line(self) -> int:
        return self.source.count("\n", 0, self.offset) + 1 if self.offset >= 0 else 0

    @property
    def column(self) -> int:
        return self.offset - self.source.rfind("\n", 0, self.offset) if self.offset >= 0 else 0

    def at(self, source: str, offset: int) -> ExpressionError:
        """This error, placed; one that has a place keeps it."""
        if self.offset < 0:
            self.source = source
            self.offset = offset
        return self

    def inside(self, text: str, shift: int, path: str) -> ExpressionError:
        """This error as one of the template `text` at `path`, in which its source starts `shift` characters in."""
        self.source = text
        self.offset = max(self.offset, 0) + shift
        self.path = path
        return self

    def __str__(self) -> str:
        place = f" (line {self.line}, column {self.column})" if self.offset >= 0 else ""
        where = f"{self.path}: " if self.path else ""
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{where}{self.message}{place}{remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        state = {"path": self.path}
        return type(self), (self.code, self.message, self.remedy, self.source, self.offset), state


class ValueRefused(Exception):
    """A value that can be neither stored nor sent. `path` says where in the value: `lines[3].price`; "" is the value itself."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.path, self.message)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence like "Did you mean `total`?", or "" where nothing is close."""
    candidates: list[str] = []
    for candidate in known:
        if len(candidates) == _SUGGESTIONS_FROM_MAX:
            break
        if len(candidate) <= 64:
            candidates.append(candidate)
    if len(name) > 64:
        return ""
    close = get_close_matches(name, candidates, n=1, cutoff=0.6)
    return f"Did you mean `{close[0]}`?" if close else ""
