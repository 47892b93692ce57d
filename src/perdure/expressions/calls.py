"""Calls of library functions: arguments are matched when compiled, their types are checked when called."""

from __future__ import annotations

from typing import Any, NoReturn

from perdure.expressions.budget import Budget
from perdure.expressions.closures import Closure
from perdure.expressions.errors import ExpressionError, did_you_mean
from perdure.expressions.functions import FUNCTIONS
from perdure.expressions.functions.catalogue import Function, Parameter
from perdure.expressions.names import Names
from perdure.expressions.values import describe

_METHODS = {
    "startswith": "starts_with(x, …)",
    "endswith": "ends_with(x, …)",
    "format": 'an f-string: f"{x}"',
    "append": "`x + [value]`",
    "extend": "`x + y`",
    "update": "merge(x, y)",
    "pop": "omit(x, …) or x[:-1]",
    "sort": "sorted(x)",
    "isoformat": "the time itself, it is text already",
    "strftime": "format_date(x, …)",
    "trim": "strip(x)",
    "includes": "`value in x`",
    "length": "len(x)",
    "size": "len(x)",
    "map": "a comprehension: `[f(y) for y in x]`",
    "filter": "a comprehension: `[y for y in x if …]`",
    "indexOf": "index_of(x, …)",
    "toLowerCase": "lower(x)",
    "toUpperCase": "upper(x)",
    "toString": "str(x)",
    "substring": "a slice: x[1:3]",
    "zfill": 'pad_left(x, width, "0")',
    "ljust": "pad_right(x, …)",
    "rjust": "pad_left(x, …)",
    "isdigit": 'matches(x, r"^\\d+$")',
    "setdefault": "merge({…}, x)",
    "copy": "x itself, values are never changed",
}
_ELSEWHERE = {
    "filter": "Use a comprehension: `[x for x in list if …]`.",
    "map": "Use a comprehension: `[f(x) for x in list]`.",
    "dict": "Use `{…}` or `from_items(list)`.",
    "list": "Use `[…]`, `keys(x)`, `values(x)`, `items(x)`.",
    "set": "Use `unique(list)`.",
    "tuple": "Use `[…]`.",
    "type": "Use `type_of(x)`.",
    "isinstance": "Use `is_string(x)`, `is_number(x)` and their kin.",
    "getattr": 'Use `get(x, "name", default)`.',
    "hasattr": 'Use `has(x, "name")`.',
    "divmod": "Use `//` and `%`.",
    "hash": "Use `sha256(x)`.",
    "json": "Use `to_json(x)` or `from_json(x)`.",
    "format": "Use an f-string or `format_number(x, 2)`.",
    "datetime": "Times are RFC 3339 strings: `now()`, `parse_time(x)`, `add(x, '1d')`.",
    "today": "Use `now()[:10]`.",
    "iif": "Use `a if condition else b`.",
    "if": "Use `a if condition else b`.",
}  # fmt: skip


def find_function(name: str, source: str, offset: int) -> Function:
    """The function of that name. Raises ExpressionError `expression.unknown_function`."""
    function = FUNCTIONS.get(name)
    if function is None:
        remedy = _ELSEWHERE.get(name) or did_you_mean(name, FUNCTIONS) or "The reference lists all functions."
        raise ExpressionError(
            "expression.unknown_function", f"Expected a function, but there is no `{name}`.", remedy, source, offset
        )
    return function


def method_refused(name: str, source: str, offset: int) -> ExpressionError:
    """Why `x.name()` is refused, and what to write."""
    if name in FUNCTIONS:
        remedy = f"Write `{name}(x)`: functions stand before their values."
    elif name in _METHODS:
        remedy = f"Use {_METHODS[name]}."
    else:
        remedy = did_you_mean(name, FUNCTIONS) or "Functions are called by name: `upper(x)`."
    return ExpressionError(
        "expression.forbidden", f"Expected a function, but `.{name}()` is a method; values have none.", remedy, source, offset
    )


def call(
    function: Function, positional: list[Closure], named: dict[str, tuple[Closure, int]], source: str, offset: int
) -> Closure:
    """A call, its arguments put in order. Raises ExpressionError `expression.arguments`."""
    arguments = _arranged(function, positional, named, source, offset)
    types = tuple(parameter.types for _, parameter in arguments)
    closures = tuple(closure for closure, _ in arguments)

    def refuse(values: tuple[Any, ...]) -> NoReturn:
        for value, (_, parameter) in zip(values, arguments, strict=True):
            if type(value) not in parameter.types:
                raise _wrong_type(function, parameter, value).at(source, offset)
        raise AssertionError("Expected an argument of the wrong type, but all are right.")

    work = function.run
    if not function.needs_names and len(arguments) == 1:
        (only,), (taken,) = closures, types

        def run_one(names: Names, budget: Budget, frame: Any) -> Any:
            value = only(names, budget, frame)
            if type(value) not in taken:
                refuse((value,))
            try:
                return work(budget, value)
            except ExpressionError as error:
                raise error.at(source, offset) from None
            except (ValueError, ArithmeticError) as error:
                raise _unusable(function, error).at(source, offset) from None

        return run_one

    def run(names: Names, budget: Budget, frame: Any) -> Any:
        values = [closure(names, budget, frame) for closure in closures]
        for value, taken in zip(values, types, strict=True):
            if type(value) not in taken:
                refuse(tuple(values))
        try:
            return work(names, budget, *values) if function.needs_names else work(budget, *values)
        except ExpressionError as error:
            raise error.at(source, offset) from None
        except (ValueError, ArithmeticError) as error:
            raise _unusable(function, error).at(source, offset) from None

    return run


def _arranged(
    function: Function, positional: list[Closure], named: dict[str, tuple[Closure, int]], source: str, offset: int
) -> list[tuple[Closure, Parameter]]:
    """Each argument with its parameter, in the function's order; defaults stand in for what is left out."""
    arranged: list[tuple[Closure, Parameter]] = []
    rest = list(positional)
    unused = dict(named)
    for parameter in function.parameters:
        if parameter.variadic:
            arranged.extend((closure, parameter) for closure in rest)
            rest = []
        elif rest:
            arranged.append((rest.pop(0), parameter))
            if parameter.name in unused:
                raise _misfit(function, f"`{parameter.name}` is given twice", source, unused[parameter.name][1])
        elif parameter.name in unused:
            arranged.append((unused.pop(parameter.name)[0], parameter))
        elif parameter.required:
            raise _misfit(function, f"`{parameter.name}` is missing", source, offset)
        else:
            arranged.append((_default(parameter), Parameter(parameter.name, "", _any_of(parameter), False)))
    if rest:
        raise _misfit(function, f"it got {len(positional)} arguments", source, offset)
    if unused:
        name, (_, place) = next(iter(unused.items()))
        near = did_you_mean(name, [parameter.name for parameter in function.parameters])
        raise _misfit(function, f"there is no parameter `{name}`", source, place, near)
    return arranged


def _default(parameter: Parameter) -> Closure:
    value = parameter.default

    def run(names: Names, budget: Budget, frame: Any) -> Any:
        return value

    return run


def _any_of(parameter: Parameter) -> frozenset[type]:
    return parameter.types | {type(parameter.default)}


def _misfit(function: Function, what: str, source: str, offset: int, near: str = "") -> ExpressionError:
    remedy = f"{near} It is called as {function.signature}.".strip()
    return ExpressionError(
        "expression.arguments", f"Expected arguments that `{function.name}` takes, but {what}.", remedy, source, offset
    )


def _wrong_type(function: Function, parameter: Parameter, value: Any) -> ExpressionError:
    if value is None:
        remedy = "Use `coalesce(x, …)` where it may be null."
    elif type(value) is str and int in parameter.types:
        remedy = "Use `number(x)` or `int(x)` on the string."
    elif parameter.types == frozenset((str,)):
        remedy = "Use `str(x)`."
    else:
        remedy = f"It is called as {function.signature}."
    return ExpressionError(
        "expression.type",
        f"Expected `{parameter.name}` of `{function.name}` to be {_with_article(parameter.kind)}, but got {describe(value)}.",
        remedy,
    )


def _with_article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aio" else f"a {kind}"


def _unusable(function: Function, error: Exception) -> ExpressionError:
    code = "expression.overflow" if isinstance(error, OverflowError) else "expression.value"
    return ExpressionError(
        code,
        f"Expected values that `{function.name}` can use, but it cannot: {error}.",
        f"It is called as {function.signature}.",
    )
