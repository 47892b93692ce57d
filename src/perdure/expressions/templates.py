"""Values in definitions: literals, `${ … }` expressions, texts with both, and lists and objects of them.

A string that is wholly one `${ … }` gives a value of any type; `${ … }` within other text gives text; `$${` is a literal `${`.
"""

from __future__ import annotations

import re
from typing import Any

from perdure.expressions.budget import Budget
from perdure.expressions.errors import ExpressionError, ValueRefused
from perdure.expressions.expression import Expression, compile_expression
from perdure.expressions.formats import text_of
from perdure.expressions.names import Names
from perdure.expressions.source import end_of_expression
from perdure.expressions.values import VALUE_DEPTH_MAX, check_value, joined

_OPENING = re.compile(r"\$?\$\{")
_BARE_OPENING = re.compile(r"(?<!\$)\$\{")


class Template:
    """A value that may hold expressions. `path` is where it stands in the definition; errors carry it."""

    __slots__ = ("path", "reads", "roots")

    is_constant = False

    def __init__(self, path: str, parts: tuple[Template | Expression, ...]) -> None:
        self.path = path
        self.reads: frozenset[tuple[str, str | None]] = frozenset().union(*(part.reads for part in parts))
        self.roots: frozenset[str] = frozenset().union(*(part.roots for part in parts))

    def evaluate(self, names: Names, budget: Budget) -> Any:
        """The value. Raises ExpressionError with place and path."""
        raise NotImplementedError


class Constant(Template):
    """A value without expressions. It is given out as it is, so it must not be changed by who receives it."""

    __slots__ = ("value",)

    is_constant = True

    def __init__(self, value: Any, path: str = "") -> None:
        super().__init__(path, ())
        self.value = value

    def evaluate(self, names: Names, budget: Budget) -> Any:
        return self.value

    def __repr__(self) -> str:
        return f"Constant({self.value!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return Constant, (self.value, self.path)


class Computed(Template):
    """One expression. `text` is the string it stands in, `shift` where in it the expression begins."""

    __slots__ = ("expression", "text", "shift", "_evaluate")

    def __init__(self, expression: Expression, path: str = "", text: str | None = None, shift: int = 0) -> None:
        super().__init__(path, (expression,))
        self.expression = expression
        self.text = expression.source if text is None else text
        self.shift = shift
        self._evaluate = expression.evaluate

    def evaluate(self, names: Names, budget: Budget) -> Any:
        try:
            return self._evaluate(names, budget)
        except ExpressionError as error:
            raise error.inside(self.text, self.shift, self.path) from None

    def __repr__(self) -> str:
        return f"Computed({self.expression.source!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return Computed, (self.expression, self.path, self.text, self.shift)


class Text(Template):
    """A text with values in it: literal strings and `Computed` parts."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[str | Computed, ...], path: str = "") -> None:
        super().__init__(path, tuple(part for part in parts if isinstance(part, Computed)))
        self.parts = parts

    def evaluate(self, names: Names, budget: Budget) -> Any:
        pieces = []
        for part in self.parts:
            if type(part) is str:
                pieces.append(part)
                continue
            assert isinstance(part, Computed)
            value = part.evaluate(names, budget)
            try:
                pieces.append(text_of(budget, value))
            except ExpressionError as error:
                raise error.inside(part.text, part.shift, self.path) from None
        return "".join(pieces)

    def __repr__(self) -> str:
        return f"Text({self.parts!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return Text, (self.parts, self.path)


class ListTemplate(Template):
    """A list of templates."""

    __slots__ = ("items",)

    def __init__(self, items: tuple[Template, ...], path: str = "") -> None:
        super().__init__(path, items)
        self.items = items

    def evaluate(self, names: Names, budget: Budget) -> Any:
        return [item.evaluate(names, budget) for item in self.items]

    def __repr__(self) -> str:
        return f"ListTemplate({self.items!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return ListTemplate, (self.items, self.path)


class MapTemplate(Template):
    """An object of templates; its keys are literal."""

    __slots__ = ("entries",)

    def __init__(self, entries: dict[str, Template], path: str = "") -> None:
        super().__init__(path, tuple(entries.values()))
        self.entries = entries

    def evaluate(self, names: Names, budget: Budget) -> Any:
        return {key: entry.evaluate(names, budget) for key, entry in self.entries.items()}

    def __repr__(self) -> str:
        return f"MapTemplate({self.entries!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return MapTemplate, (self.entries, self.path)


def compile_template(value: Any, *, path: str = "", faults: list[ExpressionError] | None = None) -> Template:
    """The template of a value as it stands in a definition. `path` is where that is.

    Raises the first ExpressionError; or, where a list of `faults` is given, adds all to it and puts null in their place.
    """
    return _compiled(value, path, faults, VALUE_DEPTH_MAX)


def compile_condition(value: str | bool) -> Expression:
    """The expression of a condition: `${ … }`, the bare expression, or a boolean. Raises ExpressionError."""
    if type(value) is bool:
        return compile_expression("true" if value else "false")
    if type(value) is not str:
        raise ExpressionError(
            "expression.type", f"Expected a condition, but got a {type(value).__name__}.", "Write an expression.", "", 0
        )
    opening = _BARE_OPENING.search(value)
    if opening is None:
        return compile_expression(value)
    if value[: opening.start()].strip():
        raise _not_whole(value, opening.start())
    end = end_of_expression(value, opening.end())
    if value[end + 1 :].strip():
        raise _not_whole(value, end + 1)
    try:
        return compile_expression(value[opening.end() : end])
    except ExpressionError as error:
        raise error.inside(value, opening.end(), "") from None


def _compiled(value: Any, path: str, faults: list[ExpressionError] | None, depth: int) -> Template:
    try:
        if type(value) is str:
            return _compiled_text(value, path)
        if type(value) is not list and type(value) is not dict:
            return Constant(_checked(value, path), path)
        if depth == 0:
            raise ExpressionError(
                "expression.too_large",
                f"Expected at most {VALUE_DEPTH_MAX} levels of lists and objects.",
                "Flatten it.",
                "",
                0,
                path=path,
            )
    except ExpressionError as error:
        if faults is None:
            raise
        faults.append(error)
        return Constant(None, path)
    if isinstance(value, list):
        items = tuple(_compiled(item, joined(path, index), faults, depth - 1) for index, item in enumerate(value))
        if all(item.is_constant for item in items):
            return Constant([item.value for item in items if isinstance(item, Constant)], path)
        return ListTemplate(items, path)
    entries = {}
    for key, item in value.items():
        try:
            _check_key(key, path)
        except ExpressionError as error:
            if faults is None:
                raise
            faults.append(error)
            continue
        entries[key] = _compiled(item, joined(path, key), faults, depth - 1)
    if all(entry.is_constant for entry in entries.values()):
        return Constant({key: entry.value for key, entry in entries.items() if isinstance(entry, Constant)}, path)
    return MapTemplate(entries, path)


def _compiled_text(text: str, path: str) -> Template:
    if "${" not in text:
        return Constant(_checked(text, path), path)
    parts: list[str | Computed] = []
    position = 0
    while (opening := _OPENING.search(text, position)) is not None:
        if opening.start() > position:
            parts.append(text[position : opening.start()])
        if opening.group() == "$${":
            parts.append("${")
            position = opening.end()
            continue
        start = opening.end()
        try:
            end = end_of_expression(text, start)
        except ExpressionError as error:
            raise error.inside(text, 0, path) from None
        try:
            expression = compile_expression(text[start:end])
        except ExpressionError as error:
            raise error.inside(text, start, path) from None
        parts.append(Computed(expression, path, text, start))
        position = end + 1
    if position < len(text):
        parts.append(text[position:])
    if len(parts) == 1 and isinstance(parts[0], Computed):
        return parts[0]
    if all(type(part) is str for part in parts):
        return Constant(_checked("".join(part for part in parts if type(part) is str), path), path)
    for part in parts:
        if type(part) is str:
            _checked(part, path)
    return Text(tuple(parts), path)


def _check_key(key: Any, path: str) -> None:
    if type(key) is not str:
        _checked({key: None}, path)
    elif (opening := _BARE_OPENING.search(key)) is not None:
        raise ExpressionError(
            "expression.forbidden",
            "Expected a literal key, but this one holds an expression; keys are fixed when saved.",
            "Build the object in one expression: `${ {name: value} }`, or write `$${` for a literal `${`.",
            key,
            opening.start(),
            path=path,
        )


def _checked(value: Any, path: str) -> Any:
    try:
        check_value(value, path="")
    except ValueRefused as refused:
        raise ExpressionError("expression.value", refused.message, "Write it as a string.", "", 0, path=path) from None
    return value


def _not_whole(value: str, offset: int) -> ExpressionError:
    return ExpressionError(
        "expression.forbidden",
        "Expected one expression as condition, but there is text around `${ … }`.",
        "Put all of it into one `${ … }`: `${ a > 1 and b }`.",
        value,
        offset,
    )
