"""`again` edges: a node goes back, what lies between becomes final, and its region gets a fresh visit (rules 34 to 36)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.definition.plan import Edge, NodePlan
from perdure.engine import events
from perdure.engine.containers import is_left, stop_frames
from perdure.engine.execution import FINAL, Instance, Return
from perdure.engine.failing import withdraw
from perdure.engine.index import FrameIndex
from perdure.engine.place import Place
from perdure.errors import Failure

if TYPE_CHECKING:
    from perdure.engine.machine import Step


def edge_back(opened: FrameIndex, node: NodePlan, ports: tuple[str, ...]) -> Edge | None:
    """The `again` edge that a node takes when it ends by these ports, if any."""
    edge = next((edge for edge in node.again if edge.port in ports), None)
    if edge is None or node.index in opened.resetting or is_left(opened) or opened.frame.departure is not None:
        return None
    return edge


def is_exhausted(opened: FrameIndex, edge: Edge) -> bool:
    """Was the target visited as often as it may be?"""
    return opened.frame.visit_of(opened.scope.nodes[edge.target].id) >= edge.visits_max


def exhausted(opened: FrameIndex, edge: Edge, cause: Failure | None) -> Failure:
    target = opened.scope.nodes[edge.target].id
    title = f"`{target}` was visited {edge.visits_max} times, which is as often as it may be."
    return Failure(code="visits.exhausted", title=title, category="business", retryable=False, cause=cause)


def go_back(step: Step, opened: FrameIndex, node: NodePlan, edge: Edge) -> None:
    """The edge is taken: its region is left."""
    step.emit(events.Returning(frame=opened.frame.path, node=node.id, target=opened.scope.nodes[edge.target].id))


def advance(step: Step, opened: FrameIndex) -> None:
    """Stop what is active in the regions that are left; give a fresh visit to each that has come to rest."""
    if is_left(opened):
        return  # the frame will be left before anything else
    for going in list(opened.frame.returns):
        _stop_region(step, opened, going)
    for going in list(opened.frame.returns):
        if going in opened.frame.returns and _is_at_rest(opened, going):
            _visit(step, opened, going)


def _region(opened: FrameIndex, going: Return) -> list[NodePlan]:
    scope = opened.scope
    return [scope.nodes[number] for number in sorted(scope.regions[scope.number[going.target]])]


def _stop_region(step: Step, opened: FrameIndex, going: Return) -> None:
    cause = f"`{going.source}` goes back to `{going.target}`"
    for node in _region(opened, going):
        instance = opened.instance(node)
        if instance is not None and instance.state < FINAL and not instance.stopping:
            withdraw(step, opened, node, instance, cause, budget=True)
        elif instance is not None and instance.state >= FINAL:
            _stop_what_lost(step, opened, node, cause)


def _stop_what_lost(step: Step, opened: FrameIndex, node: NodePlan, cause: str) -> None:
    """Frames that outlived their container."""
    step.emit_all(stop_frames(Place(step, opened, node), cause))


def _is_at_rest(opened: FrameIndex, going: Return) -> bool:
    for node in _region(opened, going):
        instance: Instance | None = opened.instance(node)
        if node.id in opened.inside or (instance is not None and instance.state < FINAL):
            return False
    return True


def _visit(step: Step, opened: FrameIndex, going: Return) -> None:
    source = opened.frame.instances.get(going.source)
    error = source.error if source is not None else None
    nodes = tuple(node.id for node in _region(opened, going))
    step.emit(events.Revisited(frame=opened.frame.path, node=going.source, target=going.target, nodes=nodes, error=error))
