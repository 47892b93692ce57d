"""What an expression sees: the `Names` protocol, its plain implementation, and the overlay for loop variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

RESERVED_NAMES = frozenset(
    (
        "input", "nodes", "state", "previous", "incoming", "vars", "item", "index", "last", "error", "self", "execution",
        "trigger", "carry", "join",
    )
)  # fmt: skip
"""Names with a fixed meaning (day-one 28); `carry` and `join` have theirs in loops and joins."""

FAMILIES = frozenset(("nodes", "state", "previous"))
"""Roots that have no value as a whole: only a member, written out, may be read, so that reads are known when saved (rule 8)."""


class Names(Protocol):
    """Where an evaluation gets its values from. Other exceptions than KeyError pass through the evaluation untouched."""

    @property
    def at(self) -> int:
        """Microseconds UTC: what `now()` gives (day-one 12)."""
        ...

    @property
    def seed(self) -> bytes:
        """What `random()`, `uuid()` and their kin are drawn from."""
        ...

    def root(self, name: str) -> Any:
        """The value of a name that is no family. Raises KeyError when there is none."""
        ...

    def member(self, family: str, name: str) -> Any:
        """The member `name` of `nodes`, `state` or `previous`. Raises KeyError when there is none."""
        ...


class PlainNames:
    """Names from a dict: `{"input": …, "vars": {…}, "nodes": {"fetch": …}}`."""

    __slots__ = ("at", "seed", "_values")

    def __init__(self, values: Mapping[str, Any], at: int = 0, seed: bytes = b"") -> None:
        self._values = values
        self.at = at
        self.seed = seed

    def root(self, name: str) -> Any:
        return self._values[name]

    def member(self, family: str, name: str) -> Any:
        return self._values[family][name]


class WithLocals:
    """Other names with some laid over them, such as the `item` and `index` of a loop. `locals` may be changed between uses."""

    __slots__ = ("at", "seed", "locals", "member", "_names")

    def __init__(self, names: Names, locals: dict[str, Any]) -> None:
        self._names = names
        self.locals = locals
        self.at = names.at
        self.seed = names.seed
        self.member = names.member

    def root(self, name: str) -> Any:
        if name in self.locals:
            return self.locals[name]
        return self._names.root(name)
