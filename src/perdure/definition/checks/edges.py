"""Edges: `after` names what there is, forward edges make no circle, edges that go back obey rule 34."""

from __future__ import annotations

from perdure.definition.checks.subject import Check, Subject, listed, near
from perdure.definition.fields import shown
from perdure.definition.graph import Entry, Node, Scope


def check_after(subject: Subject) -> None:
    """Every entry names a node of the same scope and a port it has; none stands twice."""
    for node in subject.nodes:
        seen: set[tuple[str, bool]] = set()
        for entry in node.entries:
            if entry.source is None:
                _unknown_source(subject, entry)
            elif entry.port not in entry.source.ports and entry.source.type and entry.source.spec is not None:
                _unknown_port(subject, entry, entry.source)
            name = (f"{entry.source_id}.{entry.port}", entry.again)
            if name in seen:
                subject.find("after.repeated", entry.path, f"Expected each edge once, but `{entry.text}` stands twice.")
            seen.add(name)


def _unknown_source(subject: Subject, entry: Entry) -> None:
    scope = entry.target.scope
    elsewhere = [outer for outer in list(scope.outwards())[1:] if entry.source_id in outer.nodes]
    if elsewhere:
        message = f"Expected a node of this scope, but `{entry.source_id}` stands outside of it."
        remedy = "A body starts when its container does: put the edge on the container."
    else:
        message = f"Expected a node of this scope, but there is no `{entry.source_id}`."
        remedy = near(entry.source_id, scope.nodes) or f"This scope has {listed(scope.nodes)}."
    subject.find("after.unknown_node", entry.path, message, remedy=remedy)


def _unknown_port(subject: Subject, entry: Entry, source: Node) -> None:
    ports = source.ports
    if entry.port == "timeout":
        message = f"Expected a port of `{source.id}`, but without a timeout it has no port `timeout`."
        remedy = f"Give `{source.id}` a `timeout`."
    elif "." not in entry.text:
        message = f"Expected a port of `{source.id}`, but it has no `out`: it leaves by {listed(ports)}."
        remedy = f"Write `{source.id}.{ports[0]}`, or several entries."
    else:
        message = f"Expected a port of `{source.id}`, but it has no `{entry.port}`."
        remedy = near(entry.port, ports) or f"It has {listed(ports)}."
    subject.find("after.unknown_port", entry.path, message, remedy=remedy)


def check_cycles(subject: Subject) -> None:
    """Forward edges make no circle; each circle is named once."""
    for scope in subject.scopes:
        if scope.cyclic:
            for cycle in _cycles(scope):
                names = " → ".join([*(node.id for node in cycle), cycle[0].id])
                path = (*cycle[0].path, "after")
                subject.find("after.cycle", path, f"Expected edges without a circle, but found {names}.", at_key=True)


def _cycles(scope: Scope) -> list[list[Node]]:
    """One circle of each knot of nodes: walked backwards from a node that the order leaves out."""
    placed = {node.index for node in scope.order}
    left = [node for node in scope.nodes.values() if node.index not in placed]
    seen: set[int] = set()
    found = []
    for start in left:
        trail: list[Node] = []
        node = start
        while node.index not in seen:
            seen.add(node.index)
            trail.append(node)
            node = next(edge.source for edge in node.incoming if edge.source is not None and edge.source.index not in placed)
        if node in trail:
            found.append(list(reversed(trail[trail.index(node) :])))
    return found


def check_again(subject: Subject) -> None:
    """Rule 34: back to the source itself or an ancestor, `max_visits`, and no forward edge beside it."""
    for node in subject.nodes:
        for entry in node.entries:
            if entry.again:
                _back_edge(subject, entry)
            elif entry.visits_max:
                subject.find("again.missing", entry.path, "Expected `again: true` beside `max_visits`, but it is not there.")


def _back_edge(subject: Subject, entry: Entry) -> None:
    if isinstance(entry.visits_max, bool) or not isinstance(entry.visits_max, int) or entry.visits_max < 1:
        subject.find("again.max_visits", entry.path, f"Expected `max_visits` of at least 1, but got {shown(entry.visits_max)}.")
    source, target = entry.source, entry.target
    if source is None:
        return
    if source is not target and not target.scope.is_before(target, source):
        message = f"Expected an edge back to an ancestor of `{source.id}`, but `{target.id}` is none."
        subject.find("again.target", entry.path, message)
    forward = [edge for edge in source.outgoing if edge.port == entry.port]
    if forward:
        message = f"Expected no forward edge from `{source.id}.{entry.port}`, but `{forward[0].target.id}` comes after it too."
        subject.find("again.forward", entry.path, message)


CHECKS: tuple[Check, ...] = (check_after, check_cycles, check_again)
