"""The catalogue of functions: each is a record with parameters, sentence and examples.

Compiler, reference and tests read it. A function is written as Python with annotations from the table below; its first
parameter is the `Budget`, or, where it asks for the time or for chance, `Names` and `Budget`. It must charge for what it
touches before it does it, and raise ExpressionError, without a place, for what it cannot use.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

Work = TypeVar("Work", bound=Callable[..., Any])

Example = tuple[str, Any]
"""An expression and its value."""

_NULL = type(None)
KINDS: dict[str, frozenset[type]] = {
    "bool": frozenset((bool,)),
    "int": frozenset((int,)),
    "int | float": frozenset((int, float)),
    "str": frozenset((str,)),
    "list[Any]": frozenset((list,)),
    "dict[str, Any]": frozenset((dict,)),
    "Any": frozenset((_NULL, bool, int, float, str, list, dict)),
    "str | int": frozenset((str, int)),
    "str | int | float": frozenset((str, int, float)),
    "str | list[Any]": frozenset((str, list)),
    "list[Any] | dict[str, Any]": frozenset((list, dict)),
    "str | list[Any] | dict[str, Any]": frozenset((str, list, dict)),
    "int | None": frozenset((int, _NULL)),
    "str | None": frozenset((str, _NULL)),
    "str | int | None": frozenset((str, int, _NULL)),
    "dict[str, Any] | None": frozenset((dict, _NULL)),
}
"""Annotation → the types of values it takes. A boolean is never taken for a number."""

_WORDS = {
    "bool": "boolean",
    "int": "integer",
    "float": "number",
    "str": "string",
    "list[Any]": "list",
    "dict[str, Any]": "object",
    "Any": "any",
    "None": "null",
}


@dataclass(slots=True, frozen=True)
class Parameter:
    """One parameter: the types it takes, its default, and whether it takes all the rest."""

    name: str
    kind: str  # as people read it: `string or null`
    types: frozenset[type]
    required: bool
    default: Any = None
    variadic: bool = False


@dataclass(slots=True, frozen=True)
class Function:
    """One function of the expression language. `cost` is what a call is charged, besides its arguments and its data."""

    name: str
    group: str
    summary: str
    parameters: tuple[Parameter, ...]
    result: str
    examples: tuple[Example, ...]
    run: Callable[..., Any]
    needs_names: bool
    cost: int

    @property
    def signature(self) -> str:
        """`pad_left(text: string, width: integer, fill: string = " ") → string`"""
        parts = []
        for parameter in self.parameters:
            star = "…" if parameter.variadic else ""
            default = "" if parameter.required or parameter.variadic else f" = {_literal(parameter.default)}"
            parts.append(f"{parameter.name}{star}: {parameter.kind}{default}")
        return f"{self.name}({', '.join(parts)}) → {self.result}"


FUNCTIONS: dict[str, Function] = {}
"""All functions by name."""


def function(group: str, *examples: Example, cost: int = 3) -> Callable[[Work], Work]:
    """Register a function under its Python name; a trailing underscore keeps it apart from Python's own."""

    def register(run: Work) -> Work:
        name = run.__name__.rstrip("_")
        signature = inspect.signature(run)
        given = list(signature.parameters.values())
        needs_names = given[0].name == "names"
        assert name not in FUNCTIONS, f"Expected one function {name}, but there are two."
        assert run.__doc__, f"Expected {name} to have a docstring."
        assert examples, f"Expected {name} to have examples."
        FUNCTIONS[name] = Function(
            name=name,
            group=group,
            summary=" ".join(inspect.cleandoc(run.__doc__).split()),
            parameters=tuple(_parameter(one) for one in given[2 if needs_names else 1 :]),
            result=_readable(signature.return_annotation),
            examples=examples,
            run=run,
            needs_names=needs_names,
            cost=cost,
        )
        return run

    return register


def _parameter(given: inspect.Parameter) -> Parameter:
    required = given.default is inspect.Parameter.empty
    variadic = given.kind is inspect.Parameter.VAR_POSITIONAL
    return Parameter(
        name=given.name.rstrip("_"),
        kind=_readable(given.annotation),
        types=KINDS[given.annotation],
        required=required and not variadic,
        default=None if required else given.default,
        variadic=variadic,
    )


def _readable(annotation: str) -> str:
    words = [_WORDS[part.strip()] for part in annotation.split(" | ")]
    if words == ["integer", "number"]:
        return "number"
    if "integer" in words and "number" in words:
        words.remove("integer")
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _literal(value: Any) -> str:
    if value is None:
        return "null"
    if type(value) is bool:
        return "true" if value else "false"
    return f'"{value}"' if type(value) is str else str(value)
