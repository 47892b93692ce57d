"""How an edge is resolved, seen from its source alone (rules 4 and 34)."""

from __future__ import annotations

from perdure.definition.graph import Entry
from reference.shape import error_ports
from reference.state import Frame, Instance


def resolution(frame: Frame, entry: Entry) -> str:
    """unresolved, live, dead or broken."""
    source = frame.instances[entry.source_id]
    if not source.final or _goes_back(frame, source):
        return "unresolved"
    if entry.port in source.ports:
        return "live"
    if entry.port in error_ports(source.node):
        return "dead"
    return source.others


def _goes_back(frame: Frame, source: Instance) -> bool:
    """Whether one of its live ports has an `again` edge that was taken: the other edges stay unresolved."""
    return any(back.entry.source is source.node for back in frame.returns)
