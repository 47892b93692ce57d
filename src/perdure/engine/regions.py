"""Regions of a scope, from the plan alone: what an `again` edge resets, and which joins shield a node (rules 18, 19, 35)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from perdure.definition.plan import NodePlan, ScopePlan
from perdure.engine.edges import counts_finished
from perdure.engine.execution import FAILED, SUCCEEDED

if TYPE_CHECKING:
    from perdure.engine.index import FrameIndex


@lru_cache(4_096)
def region_of(scope: ScopePlan, target: int) -> frozenset[int]:
    """The target of an `again` edge, and everything that is reachable from it by forward edges (rule 35)."""
    found = {target}
    waiting = [target]
    while waiting:
        for edge in scope.nodes[waiting.pop()].outgoing:
            if edge.target not in found:
                found.add(edge.target)
                waiting.append(edge.target)
    return frozenset(found)


@lru_cache(4_096)
def joins_around(scope: ScopePlan) -> dict[int, tuple[NodePlan, ...]]:
    """By node: the joins in whose region it lies (rule 19)."""
    found: dict[int, list[NodePlan]] = {}
    for number in sorted(scope.joins):
        for inside in scope.nodes[number].options["region"]:
            found.setdefault(inside, []).append(scope.nodes[number])
    return {inside: tuple(joins) for inside, joins in found.items()}


def is_shielded(opened: FrameIndex, node: NodePlan) -> bool:
    """Does a join bear a failure of this node, so that the frame's policy does not speak (rule 18)?"""
    scope = opened.scope
    if not scope.joins:
        return False
    return any(_shields(opened, join) for join in joins_around(scope).get(node.index, ()))


def _shields(opened: FrameIndex, join: NodePlan) -> bool:
    instance = opened.instance(join)
    if instance is not None and instance.final:
        return instance.state in (SUCCEEDED, FAILED)
    return join.options.get("need") != "all" or counts_finished(join.options.get("count"), opened.scope.on_failure)


def losing_joins(opened: FrameIndex, node: NodePlan) -> list[NodePlan]:
    """The joins that have ended and left this node among the losers."""
    if not opened.scope.joins:
        return []
    around = joins_around(opened.scope).get(node.index, ())
    return [join for join in around if has_losers(opened, join)]


def lost_to(opened: FrameIndex, node: NodePlan) -> NodePlan | None:
    """The join that has ended without this node, so that it does not begin any more (rule 19)."""
    return next((join for join in losing_joins(opened, node) if join.options["losers"] != "detach"), None)


def draining_join(opened: FrameIndex, node: NodePlan) -> NodePlan | None:
    """The join that has ended without this node, and lets what has started of it run to its end (rule 19)."""
    return next((join for join in losing_joins(opened, node) if join.options["losers"] == "drain"), None)


def has_losers(opened: FrameIndex, join: NodePlan) -> bool:
    """Has the join ended in a way that makes losers of what is left of its region?"""
    instance = opened.instance(join)
    return instance is not None and instance.state in (SUCCEEDED, FAILED)
