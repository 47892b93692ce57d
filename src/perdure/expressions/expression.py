"""`Expression`: compiled once, evaluated often, with what it reads known beforehand."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from perdure.expressions.budget import Budget
from perdure.expressions.compile import Compiler, compile_source
from perdure.expressions.errors import ExpressionError
from perdure.expressions.names import Names

CACHED_SOURCE_MAX = 300
"""Only expressions up to this length are kept: it bounds what the cache can hold, whatever authors write."""

_READS_UNMEASURED_MAX = 8  # an expression that reads this often and never repeats cannot blow up what it reads
_SCALARS = (int, float, str, bool, type(None))


class Expression:
    """A compiled expression.

    `source`, `language`: as given. `reads`: root names with the first literal member, None where the whole is read:
    `("nodes", "fetch")`, `("input", None)`. `roots`: every free name, so that a checker can refuse those unknown.
    `functions`: the library functions called.
    """

    __slots__ = ("source", "language", "reads", "roots", "functions", "_run", "_operations", "_touched", "_slots", "_measured")

    def __init__(self, compiler: Compiler) -> None:
        self.source = compiler.source
        self.language = "py"
        self.reads: frozenset[tuple[str, str | None]] = frozenset(compiler.reads)
        self.roots: frozenset[str] = frozenset(name for name, _ in compiler.reads)
        self.functions: frozenset[str] = frozenset(compiler.functions)
        self._run = compiler.run
        self._operations = compiler.operations
        self._touched = compiler.touched
        self._slots = compiler.slots
        self._measured = compiler.repeats or compiler.read_count > _READS_UNMEASURED_MAX

    def evaluate(self, names: Names, budget: Budget) -> Any:
        """The value, within the value rules. Raises ExpressionError with a place; what else `names` raises passes through."""
        left = budget.operations_left - self._operations
        if left < 0 or self._touched:
            self._charge(budget)
        else:
            budget.operations_left = left
        try:
            value = self._run(names, budget, [None] * self._slots if self._slots else None)
        except RecursionError:
            raise ExpressionError(
                "expression.too_large", "Expected data that is nested less deeply.", "Read a part of it.", self.source, 0
            ) from None
        if self._measured and type(value) not in _SCALARS:
            self._measure(budget, value)
        return value

    def _charge(self, budget: Budget) -> None:
        try:
            budget.charge(self._operations)
            budget.touch(self._touched)
        except ExpressionError as error:
            raise error.at(self.source, 0) from None

    def _measure(self, budget: Budget, value: Any) -> None:
        # A list that holds the same big value a thousand times costs nothing to make and everything to write down.
        try:
            budget.measure(value)
        except ExpressionError as error:
            raise error.at(self.source, 0) from None

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (self.source, self.language)


def compile_expression(source: str, *, language: str = "py") -> Expression:
    """The compiled expression. Raises ExpressionError with code, place and remedy; nothing is evaluated."""
    if language != "py":
        raise ExpressionError(
            "expression.language", f"Expected the language `py`, but got {language!r}.", "Leave it out.", source, 0
        )
    if len(source) <= CACHED_SOURCE_MAX:
        return _compile_cached(source)
    return _compile(source)


def _again(source: str, language: str) -> Expression:
    return compile_expression(source, language=language)


def _compile(source: str) -> Expression:
    return Expression(compile_source(source))


_compile_cached = lru_cache(maxsize=2048)(_compile)
