"""Joins: when one fires, what it says of its branches, and what becomes of those that lost (rules 15 to 22)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from perdure.definition.plan import Edge, NodePlan
from perdure.engine.edges import BROKEN, Arrivals, arrival, is_timed, resolution
from perdure.engine.events import AnyFact
from perdure.engine.execution import BACKOFF, FAILED, FINAL, OPEN, PARKED, STATE_NAMES, SUCCEEDED, Instance
from perdure.engine.failing import fail, withdraw
from perdure.engine.index import FrameIndex
from perdure.engine.place import NodeRefused, Place
from perdure.engine.quorums import Counted, judged, unreachable
from perdure.engine.regions import has_losers
from perdure.errors import Failure

if TYPE_CHECKING:
    from perdure.engine.machine import Step


def judge(step: Step, place: Place) -> Iterator[AnyFact]:
    """An edge of a join has resolved: it fires, fails, is skipped, or waits on. Raises NodeRefused when it fails."""
    opened, node = place.opened, place.node
    arrivals = opened.arrivals[node.index]
    declared = len(node.incoming)
    if arrivals.dead == declared:
        yield step.skipped(place, "no incoming edge was taken")
        return
    if node.disabled:
        if arrivals.resolved == declared:
            yield step.skipped(place, "disabled")
        return
    met = judged(place, _counted(arrivals, declared), opened.scope.on_failure)
    if met == "unreachable":
        raise NodeRefused(unreachable(place, causes(opened, node)))
    if met == "met":
        if node.when is not None and not place.boolean(node.when, "when"):
            yield step.skipped(place, f"`when` is false: {node.when.source}")
        else:
            yield place.done_with(place.encoded(outcomes(place)), winners=tuple(winners(opened, node)))
    elif place.instance() is None and is_timed(node) and arrivals.succeeded + arrivals.failed:
        yield place.waiting("join", ready=place.at)


def _counted(arrivals: Arrivals, declared: int) -> Counted:
    return Counted(
        succeeded=arrivals.succeeded, failed=arrivals.failed, dead=arrivals.dead, total=declared,
        unresolved=declared - arrivals.resolved,
    )  # fmt: skip


def _arrived(opened: FrameIndex, join: NodePlan) -> Iterator[tuple[Edge, Instance | None, str]]:
    """Each branch with its source and what it is to the join: `succeeded`, `failed`, `dead`, `pending`."""
    for edge in join.incoming:
        source = opened.scope.nodes[edge.source]
        instance = opened.instance(source)
        if instance is None or instance.state < FINAL:
            yield edge, instance, "pending"
        else:
            yield edge, instance, arrival(edge, source, instance, opened.scope.on_failure)


def winners(opened: FrameIndex, join: NodePlan) -> list[str]:
    """The branches that succeeded, in order of arrival (rule 22)."""
    found = [(instance.seq, edge.entry) for edge, instance, kind in _arrived(opened, join) if kind == "succeeded" and instance]
    return [entry for _, entry in sorted(found)]


def outcomes(place: Place) -> dict[str, Any]:
    """What a join says of its branches, in the order of `after` (rule 22)."""
    told: dict[str, Any] = {}
    roots: Roots = {}
    for edge, instance, kind in _arrived(place.opened, place.node):
        entry: dict[str, Any] = {"status": _status(instance, kind)}
        if entry["status"] == "succeeded" and instance is not None:
            entry["output"] = _output(place, instance)
        elif entry["status"] == "failed":
            root = failed_before(place.opened, edge, roots)
            entry["error"] = root.error.as_value() if root is not None and root.error is not None else None
        told[edge.entry] = entry
    return told


def _status(instance: Instance | None, kind: str) -> str:
    if kind in ("succeeded", "failed", "pending"):
        return kind
    state = STATE_NAMES[instance.state] if instance is not None else "skipped"
    return state if state in ("skipped", "cancelled") else "skipped"


def _output(place: Place, instance: Instance) -> Any:
    if instance.state != SUCCEEDED:  # what was handled has arrived, without an output
        return None
    return place.step.index.value((place.opened.frame.path, instance.node), instance.output)


def causes(opened: FrameIndex, join: NodePlan) -> list[Failure]:
    """The failures of the branches that failed, in the order of the journal."""
    found: dict[str, tuple[int, Failure]] = {}
    roots: Roots = {}
    for edge, _, kind in _arrived(opened, join):
        root = failed_before(opened, edge, roots) if kind == "failed" else None
        if root is not None and root.error is not None:
            found.setdefault(root.error.node, (root.seq, root.error))
    return [error for _, error in sorted(found.values(), key=lambda entry: entry[0])]


Roots = dict[int, Instance | None]
"""What was found at the root of broken edges, by the number of their source: branches may share a long way to it."""


def failed_before(opened: FrameIndex, edge: Edge, known: Roots) -> Instance | None:
    """The failed instance at the root of an edge that is broken, or that `ignore` let pass: its source, or what broke that."""
    way: list[int] = []
    here: Edge | None = edge
    root: Instance | None = None
    while here is not None:
        if here.source in known:
            root = known[here.source]
            break
        way.append(here.source)
        source = opened.scope.nodes[here.source]
        instance = opened.instance(source)
        if instance is None or instance.state == FAILED:
            root = instance
            break
        here = next((inner for inner in source.incoming if _is_broken(opened, inner)), None)
    known.update(dict.fromkeys(way, root))
    return root


def _is_broken(opened: FrameIndex, edge: Edge) -> bool:
    source = opened.scope.nodes[edge.source]
    instance = opened.instance(source)
    return instance is not None and instance.final and resolution(edge, source, instance, opened.scope.on_failure) is BROKEN


# -- losers --------------------------------------------------------------------------------------------------------------


def release_loser(step: Step, opened: FrameIndex, join: NodePlan, instance: Instance) -> None:
    """A join has ended: cancel or drain the next node that is left of its region."""
    how, region = join.options["losers"], join.options["region"]
    if how == "detach" or not has_losers(opened, join):
        return
    stated = len(step.facts)
    told = opened.released.get(join.index, 0)
    while told < len(region) and len(step.facts) == stated:
        node = opened.scope.nodes[region[told]]
        if node.index not in opened.resetting:
            _release(step, opened, node, why_lost(opened, join), drain=how == "drain")
        told += 1
    opened.released[join.index] = told
    if told < len(region):
        step.index.attend_container(opened.frame.path, instance)


def why_lost(opened: FrameIndex, join: NodePlan) -> str:
    """Why what is left of the region of a join does not go on, in a sentence."""
    instance = opened.instance(join)
    return f"`{join.id}` had its branches" if instance is not None and instance.state == SUCCEEDED else f"`{join.id}` failed"


def _release(step: Step, opened: FrameIndex, node: NodePlan, cause: str, *, drain: bool) -> None:
    instance = opened.instance(node)
    if instance is None:
        return step.emit(step.skipped(Place(step, opened, node), cause))
    if instance.state >= FINAL or instance.stopping:
        return
    if not drain:
        return withdraw(step, opened, node, instance, cause, budget=instance.state == OPEN)
    if instance.state == BACKOFF and instance.error is not None:
        fail(step, opened, node, instance.error, attempt=instance.attempt, may_retry=False)
    elif instance.state == PARKED:
        withdraw(step, opened, node, instance, cause)
