"""How edges resolve (rule 4), and what has arrived at a join (rules 15, 16). Never stored: it follows from the sources."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from perdure.definition.fields import percent
from perdure.definition.plan import Edge, NodePlan
from perdure.engine.execution import FAILED, SKIPPED, SUCCEEDED, Instance

if TYPE_CHECKING:
    from perdure.engine.index import FrameIndex

LIVE, DEAD, BROKEN = "live", "dead", "broken"


def resolution(edge: Edge, source: NodePlan, instance: Instance, on_failure: str) -> str:
    """How a final instance resolves one of its edges (rule 4; for an unhandled failure rule 13). Never stored."""
    state = instance.state
    if state == SUCCEEDED or (state == FAILED and instance.ports):
        return LIVE if edge.port in instance.ports else DEAD
    if state == FAILED:
        if edge.port in source.error_ports:
            return DEAD
        return LIVE if on_failure == "ignore" and not instance.shielded else BROKEN
    if state == SKIPPED and instance.broken:
        return DEAD if edge.port in source.error_ports else BROKEN
    return DEAD


def arrival(edge: Edge, source: NodePlan, instance: Instance, on_failure: str) -> str:
    """What a resolved edge is to a join: `succeeded`, `failed` or `dead` (rule 16)."""
    resolved = resolution(edge, source, instance, on_failure)
    if resolved is DEAD:
        return "dead"
    return "succeeded" if resolved is LIVE and (instance.state == SUCCEEDED or instance.ports) else "failed"


class Arrivals:
    """What has arrived at one join."""

    __slots__ = ("dead", "failed", "succeeded")

    def __init__(self) -> None:
        self.succeeded = self.failed = self.dead = 0

    @property
    def resolved(self) -> int:
        return self.succeeded + self.failed + self.dead

    def count(self, kind: str) -> None:
        """One more edge has resolved."""
        setattr(self, kind, getattr(self, kind) + 1)

    @classmethod
    def counted(cls, opened: FrameIndex, join: NodePlan) -> Arrivals:
        """Counted anew from the sources."""
        found = cls()
        goes_back = {each.source for each in opened.frame.returns}
        for edge in join.incoming:
            source = opened.scope.nodes[edge.source]
            instance = opened.instance(source)
            if instance is not None and instance.final and source.id not in goes_back:
                found.count(arrival(edge, source, instance, opened.scope.on_failure))
        return found


def counts_finished(declared: Any, on_failure: str) -> bool:
    """Does a quorum count failed branches too (rule 16)? `declared`: its `count`, None where left out."""
    return (declared or ("finished" if on_failure == "collect" else "success")) == "finished"


def shields(node: NodePlan, on_failure: str) -> bool:
    """Does the quorum of a join or a container bear failures of its branches, so that they only count (rule 18)?"""
    return node.options.get("need") != "all" or counts_finished(node.options.get("count"), on_failure)


def is_looked_at(opened: FrameIndex, join: NodePlan, arrivals: Arrivals) -> bool:
    """Can what has arrived decide the join, or begin its deadline? What cannot be told without names may."""
    declared = len(join.incoming)
    if arrivals.resolved == declared:
        return True
    if join.disabled:
        return False
    if is_timed(join) and opened.instance(join) is None and arrivals.succeeded + arrivals.failed:
        return True
    need = join.options.get("need")
    if need is None:
        return True
    finished = counts_finished(join.options.get("count"), opened.scope.on_failure)
    return verdict(need, finished, declared - arrivals.dead, arrivals, declared - arrivals.resolved) != ""


def ready_since(opened: FrameIndex, node: NodePlan) -> int:
    """The fact at which a node became ready: its last edge resolved, or its frame opened; a join may be decided before."""
    goes_back = {each.source for each in opened.frame.returns}
    resolved: list[tuple[int, Edge, NodePlan, Instance]] = []
    for edge in node.incoming:
        source = opened.scope.nodes[edge.source]
        instance = opened.instance(source)
        if instance is not None and instance.final and source.id not in goes_back:
            resolved.append((instance.seq, edge, source, instance))
    if node.type != "join" or node.options.get("need") is None:
        return max([opened.frame.opened, *(seq for seq, *_ in resolved)])
    arrivals = Arrivals()
    for seq, edge, source, instance in sorted(resolved, key=lambda each: each[0]):
        arrivals.count(arrival(edge, source, instance, opened.scope.on_failure))
        if is_looked_at(opened, node, arrivals):
            return seq
    return opened.frame.opened


def is_timed(join: NodePlan) -> bool:
    """Has it a limit in time, which runs from the first edge that is live or broken (rule 21)?"""
    return join.deadline is not None or join.timeout is not None


def needed(need: Any, branches: int) -> int:
    """How many of so many branches a quorum needs: all, any, a number, a percentage (rule 15)."""
    if need == "all":
        return branches
    if need == "any":
        return 1
    share = percent(need)
    return int(need) if share is None else max(1, ceil(share * branches / 100))


def verdict(need: Any, finished: bool, branches: int, arrivals: Any, unresolved: int) -> str:
    """`met`, `unreachable`, or "" while it is open. `branches`: those that are not dead."""
    have = arrivals.succeeded + (arrivals.failed if finished else 0)
    wanted = needed(need, branches)
    if branches and have >= wanted:
        return "met"
    return "unreachable" if branches and have + unresolved < wanted else ""
