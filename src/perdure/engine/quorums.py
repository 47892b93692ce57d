"""How many frames of a container, or branches of a join, must succeed: what the author wrote, and the verdict now."""

from __future__ import annotations

from typing import Any

from perdure.definition.plan import NodePlan
from perdure.engine.edges import counts_finished, verdict
from perdure.engine.place import Place
from perdure.errors import Failure
from perdure.expressions import Names, WithLocals


class Counted:
    """What has come of the branches so far. `total`: those declared, -1 where nobody knows yet."""

    __slots__ = ("dead", "failed", "succeeded", "total", "unresolved")

    def __init__(self, *, succeeded: int, failed: int, dead: int = 0, total: int, unresolved: int) -> None:
        self.succeeded = succeeded
        self.failed = failed
        self.dead = dead
        self.total = total
        self.unresolved = unresolved

    def as_value(self) -> dict[str, int]:
        """What `need` sees as `join`."""
        return {
            "success": self.succeeded,
            "failed": self.failed,
            "dead": self.dead,
            "pending": self.unresolved,
            "total": self.total,
        }


def need_of(node: NodePlan) -> Any:
    """The quorum as written: `all`, `any`, a number, a percentage; None where it is an expression, or not there."""
    return node.options.get("need")


def has_need(node: NodePlan) -> bool:
    """Does the author ask for a quorum?"""
    return need_of(node) is not None or "need" in node.keys


def judged(place: Place, counted: Counted, on_failure: str, names: Names | None = None) -> str:
    """`met`, `unreachable`, or "" while it is open (rules 15, 16). Raises NodeRefused where the expression cannot be judged."""
    node = place.node
    need = need_of(node)
    finished = counts_finished(node.options.get("count"), on_failure)
    if need is None:
        seen = WithLocals(place.names() if names is None else names, {"join": counted.as_value()})
        if place.boolean(node.keys["need"], "need", seen):
            return "met"
        return "" if counted.unresolved else "unreachable"
    if counted.total < 0:  # nobody knows how many there will be: only what needs no total can be met
        if need == "all" or isinstance(need, str) and need != "any":
            return ""
        return "met" if counted.succeeded + (counted.failed if finished else 0) >= (1 if need == "any" else need) else ""
    return verdict(need, finished, counted.total - counted.dead, counted, counted.unresolved)


def unreachable(place: Place, causes: list[Failure]) -> Failure:
    """The failure of a quorum that can no longer be reached: with `need: all` the branch's own (rule 17)."""
    if need_of(place.node) == "all" and causes:
        return causes[0]
    return Failure(
        code="quorum_unreachable", node=place.path, title=f"`{place.node.id}` can no longer get the branches it needs.",
        category="business", retryable=False, also=tuple(causes),
    )  # fmt: skip
