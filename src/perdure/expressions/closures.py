"""The small functions that an expression is compiled into: reading names and members, operators, choices, displays.

Each takes (names, budget, frame) and gives a value; `frame` holds the variables of comprehensions. What goes wrong is raised
with the place it was compiled from. The static part of the cost is charged by `Expression.evaluate`; here only what depends on
the data is.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from perdure.expressions.budget import Budget
from perdure.expressions.errors import ExpressionError, did_you_mean
from perdure.expressions.names import RESERVED_NAMES, Names
from perdure.expressions.operators import Operation
from perdure.expressions.paths import Key, absent
from perdure.expressions.values import describe, joined

Closure = Callable[[Names, Budget, Any], Any]
Steps = tuple[tuple[Key, int], ...]
"""Keys and where each is written."""


def constant(value: Any) -> Closure:
    def run(names: Names, budget: Budget, frame: Any) -> Any:
        return value

    return run


def member(family: str, name: str, offset: int, steps: Steps, source: str) -> Closure:
    """`nodes.fetch.body.total`: a member of a family and what is inside."""

    def explain(names: Names) -> ExpressionError:
        try:
            value = names.member(family, name)
        except KeyError:
            return ExpressionError(
                "expression.unknown_name",
                f"Expected `{family}.{name}` to be something that can be read here, but there is no such name.",
                "Name a node that comes before this one.",
                source,
                offset,
            )
        return _explain(value, f"{family}.{name}", steps, source)

    if len(steps) == 2:  # the commonest shapes are written out: a loop costs a tenth of a microsecond
        first, second = steps[0][0], steps[1][0]

        def run_two(names: Names, budget: Budget, frame: Any) -> Any:
            try:
                return names.member(family, name)[first][second]
            except (LookupError, TypeError):
                raise explain(names) from None

        return run_two
    keys = tuple(key for key, _ in steps)

    def run(names: Names, budget: Budget, frame: Any) -> Any:
        try:
            value = names.member(family, name)
            for key in keys:
                value = value[key]
            return value
        except (LookupError, TypeError):
            raise explain(names) from None

    return run


def root(name: str, offset: int, steps: Steps, source: str) -> Closure:
    """`input.customer.id`: a name and what is inside."""

    def explain(names: Names) -> ExpressionError:
        try:
            value = names.root(name)
        except KeyError:
            return ExpressionError(
                "expression.unknown_name",
                f"Expected a name that is known here, but there is no `{name}`.",
                did_you_mean(name, sorted(RESERVED_NAMES)) or "Strings need quotes; fields are read as `input.field`.",
                source,
                offset,
            )
        return _explain(value, name, steps, source)

    keys = tuple(key for key, _ in steps)

    def run(names: Names, budget: Budget, frame: Any) -> Any:
        try:
            value = names.root(name)
            for key in keys:
                value = value[key]
            return value
        except (LookupError, TypeError):
            raise explain(names) from None

    return run


def local(name: str, slot: int, steps: Steps, source: str) -> Closure:
    """A variable of a comprehension and what is inside."""
    if not steps:

        def run_bare(names: Names, budget: Budget, frame: Any) -> Any:
            return frame[slot]

        return run_bare
    keys = tuple(key for key, _ in steps)

    def run(names: Names, budget: Budget, frame: Any) -> Any:
        value = frame[slot]
        try:
            for key in keys:
                value = value[key]
            return value
        except (LookupError, TypeError):
            raise _explain(frame[slot], name, steps, source) from None

    return run


def inside(base: Closure, steps: Steps, source: str) -> Closure:
    """What is inside the result of any other expression."""
    keys = tuple(key for key, _ in steps)

    def run(names: Names, budget: Budget, frame: Any) -> Any:
        start = value = base(names, budget, frame)
        try:
            for key in keys:
                value = value[key]
            return value
        except (LookupError, TypeError):
            raise _explain(start, "…", steps, source) from None

    return run


def _explain(value: Any, where: str, steps: Steps, source: str) -> ExpressionError:
    """Walk again, slowly, to the step that failed."""
    for key, offset in steps:
        try:
            value = value[key]
        except (LookupError, TypeError):
            return absent(value, key, where).at(source, offset)
        where = joined(where, key)
    raise AssertionError(f"A value changed while it was read at {where}.")


def index(container: Closure, key: Closure, source: str, offset: int) -> Closure:
    """`x[expression]`: objects by string, lists and strings by integer."""

    def run(names: Names, budget: Budget, frame: Any) -> Any:
        value = container(names, budget, frame)
        at = key(names, budget, frame)
        kind = type(at)
        if kind is not str and kind is not int:
            raise ExpressionError(
                "expression.type", f"Expected a string or integer in brackets, but got {describe(at)}.", "", source, offset
            )
        try:
            return value[at]
        except (LookupError, TypeError):
            raise absent(value, at, "…").at(source, offset) from None

    return run


def part(container: Closure, bounds: tuple[Closure | None, ...], source: str, offset: int) -> Closure:
    """`x[start:stop:step]` of a list or string."""

    def run(names: Names, budget: Budget, frame: Any) -> Any:
        value = container(names, budget, frame)
        if type(value) is not list and type(value) is not str:
            raise ExpressionError(
                "expression.type", f"Expected a list or string to slice, but got {describe(value)}.", "", source, offset
            )
        limits: list[int | None] = []
        for bound in bounds:
            limit = bound(names, budget, frame) if bound is not None else None
            if limit is not None and type(limit) is not int:
                raise ExpressionError(
                    "expression.type",
                    f"Expected integers in a slice, but got {describe(limit)}.",
                    "Use `int(x)`.",
                    source,
                    offset,
                )
            limits.append(limit)
        if limits[2] == 0:
            raise ExpressionError("expression.value", "Expected a step other than 0, but it is 0.", "Use 1.", source, offset)
        wanted = slice(*limits)
        count = len(range(*wanted.indices(len(value))))
        try:
            if type(value) is str:
                budget.touch(count)
            else:
                budget.touch_elements(count)
        except ExpressionError as error:
            raise error.at(source, offset) from None
        return value[wanted]

    return run


def unary(operation: Callable[[Budget, Any], Any], value: Closure, source: str, offset: int) -> Closure:
    def run(names: Names, budget: Budget, frame: Any) -> Any:
        try:
            return operation(budget, value(names, budget, frame))
        except ExpressionError as error:
            raise error.at(source, offset) from None

    return run


def binary(operation: Operation, left: Closure, right: Closure, source: str, offset: int) -> Closure:
    def run(names: Names, budget: Budget, frame: Any) -> Any:
        try:
            return operation(budget, left(names, budget, frame), right(names, budget, frame))
        except ExpressionError as error:
            raise error.at(source, offset) from None

    return run


def against_constant(symbol: str, operation: Operation, left: Closure, value: Any, source: str, offset: int) -> Closure | None:
    """A comparison with a number, string, boolean or null that is written out: nothing to charge, one call less."""
    if symbol == "==":

        def run_equal(names: Names, budget: Budget, frame: Any) -> Any:
            return left(names, budget, frame) == value

        return run_equal
    if symbol == "!=":

        def run_unequal(names: Names, budget: Budget, frame: Any) -> Any:
            return left(names, budget, frame) != value

        return run_unequal
    compare = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}.get(symbol)
    if compare is None or (type(value) is not int and type(value) is not float):
        return None

    def run_ordered(names: Names, budget: Budget, frame: Any) -> Any:
        found = left(names, budget, frame)
        kind = type(found)
        if kind is int or kind is float:
            return compare(found, value)
        try:
            return operation(budget, found, value)
        except ExpressionError as error:
            raise error.at(source, offset) from None

    return run_ordered


def chain(first: Closure, links: tuple[tuple[Operation, Closure, int], ...], source: str) -> Closure:
    """`a < b < c`: each value is computed once, and none after the first comparison that does not hold."""

    def run(names: Names, budget: Budget, frame: Any) -> Any:
        left = first(names, budget, frame)
        for operation, closure, offset in links:
            right = closure(names, budget, frame)
            try:
                if not operation(budget, left, right):
                    return False
            except ExpressionError as error:
                raise error.at(source, offset) from None
            left = right
        return True

    return run


def conjunction(values: tuple[Closure, ...]) -> Closure:
    *leading, last = values

    def run(names: Names, budget: Budget, frame: Any) -> Any:
        for closure in leading:
            value = closure(names, budget, frame)
            if not value:
                return value
        return last(names, budget, frame)

    return run


def disjunction(values: tuple[Closure, ...]) -> Closure:
    *leading, last = values

    def run(names: Names, budget: Budget, frame: Any) -> Any:
        for closure in leading:
            value = closure(names, budget, frame)
            if value:
                return value
        return last(names, budget, frame)

    return run


def choice(test: Closure, then: Closure, otherwise: Closure) -> Closure:
    def run(names: Names, budget: Budget, frame: Any) -> Any:
        return then(names, budget, frame) if test(names, budget, frame) else otherwise(names, budget, frame)

    return run


def list_of(elements: tuple[Closure, ...]) -> Closure:
    def run(names: Names, budget: Budget, frame: Any) -> Any:
        return [element(names, budget, frame) for element in elements]

    return run


def object_of(entries: tuple[tuple[Closure, Closure, int], ...], source: str) -> Closure:
    def run(names: Names, budget: Budget, frame: Any) -> Any:
        made = {}
        for key, value, offset in entries:
            name = key(names, budget, frame)
            if type(name) is not str:
                raise not_a_key(name).at(source, offset)
            made[name] = value(names, budget, frame)
        return made

    return run


def not_a_key(value: Any) -> ExpressionError:
    return ExpressionError(
        "expression.type", f"Expected a string as key of an object, but got {describe(value)}.", "Use `str(x)`."
    )
