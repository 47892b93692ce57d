"""Budgets: an evaluation may do so many operations and touch so much data; both are counted, never timed (day-one 30)."""

from __future__ import annotations

from typing import Any, NamedTuple

from perdure.expressions.errors import ExpressionError

STEP_OPERATIONS = 20_000
"""Operations that one evaluation may do inside a step: about 2 ms of the loop everybody shares."""
STEP_TOUCHED = 64 * 1024
"""Bytes that one evaluation may touch inside a step."""
TASK_OPERATIONS = 50_000_000
"""Operations of an evaluation that runs as a task in a process of its own: some seconds."""
TASK_TOUCHED = 256 * 1024 * 1024
"""Bytes of an evaluation that runs as a task. Characters count one and may take four, so this is 1 GiB of memory."""

ELEMENT_BYTES = 16  # what an element of a list or an entry of an object is charged, besides the text it holds


class Spent(NamedTuple):
    """What an evaluation has used."""

    operations: int
    touched: int


class Budget:
    """What one evaluation may use. It counts down; the same expression on the same data always spends the same.

    `draws` counts the calls of `random()` and its kin, so that all expressions that share a budget draw different numbers.
    """

    __slots__ = ("operations", "touched", "operations_left", "touched_left", "draws")

    def __init__(self, operations: int = STEP_OPERATIONS, touched: int = STEP_TOUCHED) -> None:
        self.operations = self.operations_left = operations
        self.touched = self.touched_left = touched
        self.draws = 0

    @property
    def spent(self) -> Spent:
        return Spent(self.operations - self.operations_left, self.touched - self.touched_left)

    def charge(self, operations: int) -> None:
        """Take `operations` off. Raises ExpressionError `expression.budget` before anything is done that is not paid for."""
        left = self.operations_left - operations
        if left < 0:
            self.operations_left = 0
            raise _exhausted(f"to do at most {self.operations:,} operations")
        self.operations_left = left

    def touch(self, size: int) -> None:
        """Take `size` bytes off. Raises ExpressionError `expression.budget`."""
        left = self.touched_left - size
        if left < 0:
            self.touched_left = 0
            raise _exhausted(f"to touch at most {self.touched:,} bytes of data")
        self.touched_left = left

    def touch_elements(self, count: int) -> None:
        """Charge for walking over, or making, a list or object of `count` elements."""
        self.charge(count >> 3)
        self.touch(count * ELEMENT_BYTES)

    def measure(self, value: Any) -> None:
        """Charge for `value` as a whole, however deep. What is contained twice counts twice, as it would when written out."""
        kind = type(value)
        if kind is str:
            self.touch(len(value))
            return
        if kind is not list and kind is not dict:
            return
        waiting = [value]
        while waiting:
            container = waiting.pop()
            text = 0
            if type(container) is dict:
                self.touch_elements(len(container) + 1)
                elements: Any = container.values()
                for key in container:
                    text += len(key)
            else:
                self.touch_elements(len(container) + 1)
                elements = container
            for element in elements:
                kind = type(element)
                if kind is str:
                    text += len(element)
                elif kind is dict or kind is list:
                    waiting.append(element)
            self.touch(text)


def _exhausted(limit: str) -> ExpressionError:
    return ExpressionError(
        "expression.budget",
        f"Expected the evaluation {limit}, but it needs more.",
        "Work on less data at once: select before you combine, or move the work into a `python` node.",
    )
