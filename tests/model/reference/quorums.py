"""Quorums: how many branches count, and whether they are enough, or can still be (rules 15, 16, 17)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from perdure.definition.fields import is_expression
from perdure.errors import Failure
from reference.names import Sight, holds
from reference.shape import counts_finished, need_of, needed
from reference.state import Instance


@dataclass(frozen=True)
class Tally:
    """The branches of a join or container at one moment."""

    success: int
    failed: int
    dead: int
    pending: int
    neither: int = 0  # iterations that went on with the next: they have ended, and count for nothing

    @property
    def total(self) -> int:
        return self.success + self.failed + self.dead + self.pending + self.neither

    def as_value(self) -> dict[str, int]:
        """What an expression sees as `join`."""
        return {
            "success": self.success, "failed": self.failed, "dead": self.dead, "pending": self.pending, "total": self.total,
        }  # fmt: skip


def verdict(sight: Sight, instance: Instance, tally: Tally) -> str:
    """fires, unreachable, empty (no branch is left that could count) or waits. Raises Wrong."""
    need: Any = instance.fixed.get("need", need_of(instance.node))
    alive = tally.total - tally.dead
    if alive == 0:
        return "empty"
    if is_expression(need):
        if holds(Sight(sight.world, sight.frame, sight.instance, {**sight.own, "join": tally.as_value()}), need, "need"):
            return "fires"
        return "waits" if tally.pending else "unreachable"
    return by_number(instance, need, tally)


def by_number(instance: Instance, need: Any, tally: Tally) -> str:
    """fires, unreachable or waits, of a need that is a number, a share, `any` or `all`."""
    alive = tally.total - tally.dead
    counted = tally.success + (tally.failed if counts_finished(instance.node) else 0)
    if counted >= needed(need, alive):
        return "fires"
    if tally.pending == 0 or counted + tally.pending < needed(need, alive):
        return "unreachable"
    return "waits"


def unreachable(instance: Instance, failures: Sequence[Failure]) -> Failure:
    """What a join or container fails with: of `all` the branch's own error, else the quorum's with every cause."""
    if need_of(instance.node) == "all" and failures:
        return failures[0]
    return Failure(
        code="quorum_unreachable",
        title="The quorum can no longer be reached.",
        category="business",
        retryable=False,
        node=instance.path,
        also=tuple(failures),
    )
