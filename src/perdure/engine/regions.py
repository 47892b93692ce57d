"""Joins around a node: those that bear its failure, and those that have ended without it (rules 18, 19)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.definition.plan import NodePlan
from perdure.engine.edges import shields
from perdure.engine.execution import FAILED, SUCCEEDED

if TYPE_CHECKING:
    from perdure.engine.index import FrameIndex


def is_shielded(opened: FrameIndex, node: NodePlan) -> bool:
    """Does a join bear a failure of this node, so that the frame's policy does not speak (rule 18)?"""
    around = opened.scope.joins_around.get(node.index)
    return around is not None and any(_shields(opened, join) for join in around)


def _shields(opened: FrameIndex, join: NodePlan) -> bool:
    instance = opened.instance(join)
    if instance is not None and instance.final:
        return instance.state in (SUCCEEDED, FAILED)
    return shields(join, opened.scope.on_failure)


def losing_joins(opened: FrameIndex, node: NodePlan) -> list[NodePlan]:
    """The joins that have ended and left this node among the losers."""
    around = opened.scope.joins_around.get(node.index)
    return [join for join in around if has_losers(opened, join)] if around else []


def lost_to(opened: FrameIndex, node: NodePlan) -> NodePlan | None:
    """The join that has ended without this node, so that it does not begin any more (rule 19)."""
    losing = losing_joins(opened, node)
    return next((join for join in losing if join.options["losers"] != "detach"), None) if losing else None


def draining_join(opened: FrameIndex, node: NodePlan) -> NodePlan | None:
    """The join that has ended without this node, and lets what has started of it run to its end (rule 19)."""
    return next((join for join in losing_joins(opened, node) if join.options["losers"] == "drain"), None)


def has_losers(opened: FrameIndex, join: NodePlan) -> bool:
    """Has the join ended in a way that makes losers of what is left of its region?"""
    instance = opened.instance(join)
    return instance is not None and instance.state in (SUCCEEDED, FAILED)
