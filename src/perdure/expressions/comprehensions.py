"""`[… for x in xs if …]`: every pass is paid for before the first one begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from perdure.expressions.budget import ELEMENT_BYTES, Budget
from perdure.expressions.closures import Closure, not_a_key
from perdure.expressions.errors import ExpressionError
from perdure.expressions.names import Names
from perdure.expressions.values import describe

Pass = Callable[[Names, Budget, Any, Any], None]
"""(names, budget, frame, collected): one pass of the innermost loop, or a whole inner loop."""


class Loop(NamedTuple):
    """One `for … in … if …`. `slots` are where its variables live in the frame; `cost` is one pass, without inner loops."""

    over: Closure
    slots: tuple[int, ...]
    conditions: tuple[Closure, ...]
    cost: int
    touched: int
    source: str
    offset: int


def list_comprehension(loops: tuple[Loop, ...], element: Closure) -> Closure:
    def collect(names: Names, budget: Budget, frame: Any, collected: Any) -> None:
        collected.append(element(names, budget, frame))

    whole = _nested(loops, collect)

    def run(names: Names, budget: Budget, frame: Any) -> Any:
        collected: list[Any] = []
        whole(names, budget, frame, collected)
        return collected

    if len(loops) > 1 or len(loops[0].slots) != 1 or loops[0].conditions:
        return run
    only = loops[0]
    slot = only.slots[0]

    def run_plain(names: Names, budget: Budget, frame: Any) -> Any:
        elements = _entered(only, names, budget, frame)
        collected = []
        for frame[slot] in elements:
            collected.append(element(names, budget, frame))
        return collected

    return run_plain


def object_comprehension(loops: tuple[Loop, ...], key: Closure, value: Closure, source: str, offset: int) -> Closure:
    def collect(names: Names, budget: Budget, frame: Any, collected: Any) -> None:
        name = key(names, budget, frame)
        if type(name) is not str:
            raise not_a_key(name).at(source, offset)
        collected[name] = value(names, budget, frame)

    whole = _nested(loops, collect)

    def run(names: Names, budget: Budget, frame: Any) -> Any:
        collected: dict[str, Any] = {}
        whole(names, budget, frame, collected)
        return collected

    return run


def _nested(loops: tuple[Loop, ...], innermost: Pass) -> Pass:
    for loop in reversed(loops):
        innermost = _around(loop, innermost)
    return innermost


def _around(loop: Loop, inner: Pass) -> Pass:
    slots, conditions = loop.slots, loop.conditions
    single = slots[0] if len(slots) == 1 else None

    def run(names: Names, budget: Budget, frame: Any, collected: Any) -> None:
        for item in _entered(loop, names, budget, frame):
            if single is not None:
                frame[single] = item
            else:
                _unpack(loop, item, frame)
            for condition in conditions:
                if not condition(names, budget, frame):
                    break
            else:
                inner(names, budget, frame, collected)

    return run


def _entered(loop: Loop, names: Names, budget: Budget, frame: Any) -> Any:
    """The elements of the loop, all passes charged."""
    elements = loop.over(names, budget, frame)
    kind = type(elements)
    if kind is not list and kind is not dict:
        remedy = "Use `coalesce(x, [])` where it may be null." if elements is None else "Use `split(x)` or `values(x)`."
        raise ExpressionError(
            "expression.type", f"Expected a list to go through, but got {describe(elements)}.", remedy, loop.source, loop.offset
        )
    count = len(elements)
    try:
        budget.charge(count * loop.cost)
        budget.touch(count * (ELEMENT_BYTES + loop.touched))
    except ExpressionError as error:
        raise error.at(loop.source, loop.offset) from None
    return elements


def _unpack(loop: Loop, item: Any, frame: Any) -> None:
    if type(item) is not list or len(item) != len(loop.slots):
        found = f"{len(item)} elements" if type(item) is list else describe(item)
        raise ExpressionError(
            "expression.type",
            f"Expected lists of {len(loop.slots)} elements to unpack, but got {found}.",
            "Use `items(x)` to go through an object's keys and values.",
            loop.source,
            loop.offset,
        )
    for slot, part in zip(loop.slots, item, strict=True):
        frame[slot] = part
