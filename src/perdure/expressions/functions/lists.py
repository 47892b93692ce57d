"""Functions on lists: elements, parts, order, sets."""

from __future__ import annotations

import json
from typing import Any

from perdure.expressions.budget import Budget
from perdure.expressions.errors import ExpressionError
from perdure.expressions.functions.catalogue import function
from perdure.expressions.operators import look_through, whole
from perdure.expressions.paths import follow, parse_path
from perdure.expressions.values import describe


@function("Lists", ("first([1, 2])", 1), ("first([], 0)", 0))
def first(budget: Budget, list_: list[Any], default: Any = None) -> Any:
    """The first element, or `default` where the list is empty."""
    return list_[0] if list_ else default


@function("Lists", ("last([1, 2])", 2), ("last([])", None))
def last(budget: Budget, list_: list[Any], default: Any = None) -> Any:
    """The last element, or `default` where the list is empty."""
    return list_[-1] if list_ else default


@function("Lists", ("nth([5, 6], 1)", 6), ("nth([5, 6], 9, 0)", 0), ("nth([5, 6], -1)", 6))
def nth(budget: Budget, list_: list[Any], position: int, default: Any = None) -> Any:
    """The element at a position, from 0, or from the end where it is negative; `default` where there is none."""
    return list_[position] if -len(list_) <= position < len(list_) else default


@function("Lists", ("range(3)", [0, 1, 2]), ("range(1, 4)", [1, 2, 3]), ("range(10, 0, -5)", [10, 5]))
def range_(budget: Budget, start: int, end: int | None = None, step: int = 1) -> list[Any]:
    """The whole numbers from `start` up to, not including, `end`; with one argument from 0."""
    if step == 0:
        raise ExpressionError("expression.value", "Expected a step other than 0, but it is 0.", "Use 1.")
    numbers = range(0, start, step) if end is None else range(start, end, step)
    count = max(0, -(-(numbers.stop - numbers.start) // step))
    budget.touch_elements(count)
    return [*numbers]


@function("Lists", ('enumerate(["a", "b"])', [[0, "a"], [1, "b"]]), ('enumerate(["a"], 1)', [[1, "a"]]))
def enumerate_(budget: Budget, list_: list[Any], start: int = 0) -> list[Any]:
    """Each element with its number: `[f"{i}: {x}" for i, x in enumerate(list)]`."""
    budget.touch_elements(5 * len(list_))
    whole(start + len(list_), "the last number")
    return [[start + position, element] for position, element in enumerate(list_)]


@function("Lists", ('zip([1, 2], ["a", "b"])', [[1, "a"], [2, "b"]]), ("zip([1, 2], [3])", [[1, 3]]))
def zip_(budget: Budget, *lists: list[Any]) -> list[Any]:
    """The first elements of all lists together, then the second ones, as far as the shortest list goes."""
    count = min((len(one) for one in lists), default=0)
    budget.touch_elements(count * (len(lists) + 4))
    return [[*row] for row in zip(*lists, strict=False)]


@function(
    "Lists",
    ("sorted([3, 1, 2])", [1, 2, 3]),
    ('sorted([{"n": 2}, {"n": 1}], by="n")', [{"n": 1}, {"n": 2}]),
    ('sorted(["a", "b"], descending=true)', ["b", "a"]),
)
def sorted_(budget: Budget, list_: list[Any], by: str | None = None, descending: bool = False) -> list[Any]:
    """The list in order, by the elements or by what stands at the path `by` in each.

    These must be all numbers, all strings or all booleans.
    """
    count = len(list_)
    budget.touch_elements(count)
    keys = keys_of(budget, list_, by)
    check_comparable(budget, keys, "sorted")
    budget.charge(count * count.bit_length() >> 2)
    order = sorted(range(count), key=keys.__getitem__, reverse=descending)
    return [list_[position] for position in order]


@function("Lists", ("unique([1, 2, 1])", [1, 2]), ('unique([{"a": 1, "b": 2}, {"a": 1}], by="a")', [{"a": 1, "b": 2}]))
def unique(budget: Budget, list_: list[Any], by: str | None = None) -> list[Any]:
    """The list without repetitions; the first of each stays, judged by the elements or by what stands at the path `by`."""
    budget.touch_elements(len(list_))
    seen = set()
    kept = []
    for element, key in zip(list_, keys_of(budget, list_, by), strict=True):
        mark = frozen(budget, key)
        if mark not in seen:
            seen.add(mark)
            kept.append(element)
    return kept


@function("Lists", ("flatten([1, [2, [3]]])", [1, 2, [3]]), ("flatten([1, [2, [3]]], 2)", [1, 2, 3]))
def flatten(budget: Budget, list_: list[Any], depth: int = 1) -> list[Any]:
    """The list with the elements of inner lists in their place, so many levels deep."""
    if not 0 <= depth <= 100:
        raise ExpressionError("expression.value", f"Expected a depth of 0 to 100, but got {depth}.", "Use 1.")
    flat = list_
    for _ in range(depth):
        flat, before = [], flat
        changed = False
        for element in before:
            if type(element) is type(list_):
                budget.touch_elements(len(element) + 1)
                flat.extend(element)
                changed = True
            else:
                flat.append(element)
        budget.touch_elements(len(before))
        if not changed:
            break
    return flat


@function("Lists", ("chunk([1, 2, 3, 4, 5], 2)", [[1, 2], [3, 4], [5]]))
def chunk(budget: Budget, list_: list[Any], size: int) -> list[Any]:
    """The list in pieces of so many elements; the last may be shorter."""
    if size < 1:
        raise ExpressionError("expression.value", f"Expected pieces of at least 1 element, but got {size}.", "Use 1 or more.")
    budget.touch_elements(5 * len(list_))
    return [list_[start : start + size] for start in range(0, len(list_), size)]


@function("Lists", ("any([false, true])", True), ("any(x > 2 for x in [1, 2])", False))
def any_(budget: Budget, list_: list[Any]) -> bool:
    """Whether at least one element is true."""
    budget.touch_elements(len(list_))
    return any(list_)


@function("Lists", ("all([true, true])", True), ("all(x > 0 for x in [1, 2])", True), ("all([])", True))
def all_(budget: Budget, list_: list[Any]) -> bool:
    """Whether every element is true; so it is in an empty list."""
    budget.touch_elements(len(list_))
    return all(list_)


@function("Lists", ("count([1, 2, 1], 1)", 2), ('count("banana", "an")', 2), ("count([true, false, true], true)", 2))
def count(budget: Budget, container: str | list[Any], value: Any) -> int:
    """How many elements of a list are equal to a value, or how often a string has a part, without overlaps."""
    if isinstance(container, str):
        if type(value) is not str or not value:
            raise ExpressionError("expression.type", "Expected a string, not empty, to count in a string, but got another.", "")
        budget.touch(len(container) + len(value))
    else:
        look_through(budget, value, container)
    return container.count(value)


@function("Lists", ('index_of(["a", "b"], "b")', 1), ("index_of([1], 2)", -1))
def index_of(budget: Budget, list_: list[Any], value: Any) -> int:
    """The position of the first element that is equal to a value, from 0; -1 where there is none."""
    look_through(budget, value, list_)
    return list_.index(value) if value in list_ else -1


@function("Lists", ("slice([1, 2, 3, 4], 1, 3)", [2, 3]), ('slice("abcd", -2)', "cd"))
def slice_(budget: Budget, value: str | list[Any], start: int, end: int | None = None) -> str | list[Any]:
    """The part from `start` up to, not including, `end`: the same as `value[start:end]`."""
    if type(value) is str:
        budget.touch(len(value))
    else:
        budget.touch_elements(len(value))
    return value[start:end]


@function("Lists", ("concat([1], [2, 3])", [1, 2, 3]), ("concat()", []))
def concat(budget: Budget, *lists: list[Any]) -> list[Any]:
    """All elements of all lists, one after another."""
    budget.touch_elements(sum(len(one) for one in lists))
    return [element for one in lists for element in one]


@function("Lists", ("without([1, 2, 3, 1], 1)", [2, 3]), ("without([1, 2], 1, 2)", []))
def without(budget: Budget, list_: list[Any], *values: Any) -> list[Any]:
    """The list without the elements that are equal to one of the values."""
    for value in values:
        look_through(budget, value, list_)
    return [element for element in list_ if element not in values]


@function("Lists", ("intersect([1, 2, 3], [3, 2])", [2, 3]))
def intersect(budget: Budget, list_: list[Any], other: list[Any]) -> list[Any]:
    """The elements of the first list that are also in the second one, without repetitions."""
    marks = {frozen(budget, element) for element in other}
    return [element for element in unique(budget, list_) if frozen(budget, element) in marks]


@function("Lists", ("difference([1, 2, 3], [2])", [1, 3]))
def difference(budget: Budget, list_: list[Any], other: list[Any]) -> list[Any]:
    """The elements of the first list that are not in the second one, without repetitions."""
    marks = {frozen(budget, element) for element in other}
    return [element for element in unique(budget, list_) if frozen(budget, element) not in marks]


@function("Lists", ("union([1, 2], [2, 3])", [1, 2, 3]))
def union(budget: Budget, *lists: list[Any]) -> list[Any]:
    """The elements of all lists, without repetitions."""
    return unique(budget, concat(budget, *lists))


@function("Lists", ("take([1, 2, 3], 2)", [1, 2]), ("take([1], 5)", [1]))
def take(budget: Budget, list_: list[Any], count: int) -> list[Any]:
    """The first so many elements."""
    budget.touch_elements(min(len(list_), max(count, 0)))
    return list_[: max(count, 0)]


@function("Lists", ("drop([1, 2, 3], 2)", [3]))
def drop(budget: Budget, list_: list[Any], count: int) -> list[Any]:
    """The list without its first so many elements."""
    budget.touch_elements(len(list_))
    return list_[max(count, 0) :]


def keys_of(budget: Budget, elements: list[Any], by: str | None) -> list[Any]:
    """What stands at the path `by` in each element, or the elements themselves."""
    if by is None:
        return elements
    steps = parse_path(by)
    budget.charge(len(elements) * (1 + len(steps)))
    budget.touch_elements(len(elements))
    return [follow(element, steps) for element in elements]


def check_comparable(budget: Budget, keys: list[Any], name: str) -> None:
    """Raise ExpressionError unless all are numbers, all strings or all booleans; charge for the text."""
    kinds = {float if type(key) is int else type(key) for key in keys}
    if len(kinds) > 1 or not kinds <= {float, str, bool}:
        strange = next((key for key in keys if type(key) not in (int, float, str, bool)), None)
        found = describe(strange) if kinds - {float, str, bool} else "a mixture"
        raise ExpressionError(
            "expression.type",
            f"Expected all numbers, all strings or all booleans for `{name}`, but got {found}.",
            "Leave out what is null first: `[x for x in list if x.key is not null]`.",
        )
    if kinds == {str}:
        budget.touch(sum(len(key) for key in keys))


def frozen(budget: Budget, value: Any) -> Any:
    """A hashable stand-in that is equal where the values are: lists and objects as text.

    Python keys the hashes of strings anew in each process. Those of tuples are known, and whoever writes the data could make
    all of them collide.
    """
    kind = type(value)
    if kind is list or kind is dict:
        budget.measure(value)
        return _Canonical(_canonical(value))
    if kind is str:
        budget.touch(len(value))
    return value


class _Canonical(str):
    """The text of a list or object, which is equal to no string."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is _Canonical and str.__eq__(self, other)

    __hash__ = str.__hash__


def _canonical(value: Any) -> str:
    """Equal values give equal texts: keys are sorted, and 1, 1.0 and true are one number, as they are for `==`."""
    kind = type(value)
    if kind is list:
        return f"[{','.join([_canonical(element) for element in value])}]"
    if kind is dict:
        return f"{{{','.join([f'{json.dumps(key)}:{_canonical(value[key])}' for key in sorted(value)])}}}"
    if kind is str:
        return json.dumps(value)
    if kind is float and value != int(value) or value is None:
        return repr(value)
    return str(int(value))
