"""Functions of chance, drawn from the seed of the evaluation, so that a replay draws the same (day-one 12)."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

from perdure.expressions.budget import Budget
from perdure.expressions.errors import ExpressionError
from perdure.expressions.functions.catalogue import function
from perdure.expressions.names import Names


@function("Chance", ("0 <= random() < 1", True), cost=5)
def random(names: Names, budget: Budget) -> float:
    """A number from 0 up to, not including, 1."""
    return (_draw(names, budget) >> 203) * 2.0**-53


@function("Chance", ("1 <= random_int(1, 6) <= 6", True), cost=5)
def random_int(names: Names, budget: Budget, low: int, high: int) -> int:
    """A whole number between two limits, both included."""
    if low > high:
        raise ExpressionError("expression.value", f"Expected limits in order, but {low} is above {high}.", "Swap them.")
    return low + _draw(names, budget) % (high - low + 1)


@function("Chance", ("len(uuid())", 36), cost=10)
def uuid(names: Names, budget: Budget) -> str:
    """A random UUID, version 4."""
    return str(UUID(int=_draw(names, budget) >> 128, version=4))


@function("Chance", ('choose(["a", "b"]) in ["a", "b"]', True), cost=5)
def choose(names: Names, budget: Budget, list_: list[Any]) -> Any:
    """One element of a list that is not empty."""
    if not list_:
        raise ExpressionError(
            "expression.value", "Expected a list with something to choose from, but it is empty.", "Test it first."
        )
    return list_[_draw(names, budget) % len(list_)]


@function("Chance", ("sorted(shuffle([1, 2, 3]))", [1, 2, 3]), cost=5)
def shuffle(names: Names, budget: Budget, list_: list[Any]) -> list[Any]:
    """The list in random order."""
    budget.touch_elements(len(list_))
    budget.charge(4 * len(list_))
    shuffled = list_[:]
    for last in range(len(shuffled) - 1, 0, -1):
        other = _draw(names, budget) % (last + 1)
        shuffled[last], shuffled[other] = shuffled[other], shuffled[last]
    return shuffled


def _draw(names: Names, budget: Budget) -> int:
    """256 bits: the next of the sequence that the seed begins."""
    count = budget.draws
    budget.draws = count + 1
    return int.from_bytes(hashlib.sha256(names.seed + count.to_bytes(8, "big")).digest(), "big")
