"""Which nodes can run at all, and which edges and ports are of no use."""

from __future__ import annotations

from typing import Literal

from perdure.definition.checks.subject import Check, Subject
from perdure.definition.graph import WAITING, Entry, Node, Scope

Chance = Literal["may", "disabled", "never"]


def check_never_runs(subject: Subject) -> None:
    """A node all of whose edges are dead from the start never runs: an error, or a warning where `disabled` is the cause."""
    for scope in subject.scopes:
        if not scope.cyclic:
            _scope_reach(subject, scope)


def _scope_reach(subject: Subject, scope: Scope) -> None:
    chances: dict[int, Chance] = {}
    for node in scope.order:
        edges = [(entry, _edge_chance(entry, chances)) for entry in node.incoming if entry.source is not None]
        if not edges or any(chance == "may" for _, chance in edges):
            chances[node.index] = "may"
            continue
        chances[node.index] = "disabled" if all(chance == "disabled" for _, chance in edges) else "never"
        if len(node.incoming) < len([entry for entry in node.entries if not entry.again]) or node.disabled:
            continue  # an unknown source is a fault of its own
        if all(_is_follower(entry, chances) for entry, _ in edges):
            continue  # its sources have been reported
        names = ", ".join(f"`{entry.text}`" for entry, _ in edges)
        if chances[node.index] == "disabled":
            subject.find(
                "node.after_disabled", node.path, f"Expected an edge that can be taken, but {names} is disabled.", at_key=True
            )
        else:
            subject.find(
                "node.never_runs", node.path, f"Expected an edge that can be taken, but {names} never is.", at_key=True
            )


def _is_follower(entry: Entry, chances: dict[int, Chance]) -> bool:
    source = entry.source
    return source is not None and not source.disabled and chances[source.index] != "may"


def _edge_chance(entry: Entry, chances: dict[int, Chance]) -> Chance:
    source = entry.source
    assert source is not None, "only known sources have edges"
    if source.disabled:
        return "disabled"
    if chances[source.index] != "may":
        return chances[source.index]
    return "never" if _is_dead(source, entry.port) else "may"


def _is_dead(node: Node, port: str) -> bool:
    """Whether a port can be live in no run, judged by what is written out."""
    if node.raw.get("when") is False:
        return True
    if node.type == "fail" and port == "out":
        return node.scope.on_failure != "ignore"
    if node.type == "condition" and isinstance(node.raw.get("if"), bool) and port in ("true", "false"):
        return port != ("true" if node.raw["if"] else "false")
    if port in node.cases:
        return node.cases[port] is False
    return port == "timeout" and node.type in WAITING and node.raw.get("on_timeout") == "continue"


def check_isolated(subject: Subject) -> None:
    """A node without any edge beside others is seldom meant (rule 6)."""
    for scope in subject.scopes:
        for node in scope.nodes.values() if len(scope.nodes) > 1 else ():
            if not (node.entries or node.outgoing or node.again_out or node.disabled):
                message = f"Expected an edge to or from `{node.id}`, but it stands alone: it runs at once, beside the others."
                subject.find("node.isolated", node.path, message, at_key=True)


def check_empty(subject: Subject) -> None:
    """A scope without nodes does nothing."""
    for scope in subject.scopes:
        if not scope.nodes:
            subject.find("scope.empty", scope.path, "Expected nodes, but there are none: this does nothing.", at_key=True)


def check_ports_used(subject: Subject) -> None:
    """What a `catch` or `on_timeout: route` sends away should arrive somewhere."""
    for node in subject.nodes:
        used = {edge.port for edge in (*node.outgoing, *node.again_out)}
        for port in node.catch_ports:
            if port not in used:
                message = f"Expected a node after `{node.id}.{port}`, but there is none: such errors vanish."
                subject.find("catch.unused", (*node.path, "catch"), message, at_key=True)
        if node.raw.get("on_timeout") == "route" and "timeout" not in used:
            message = f"Expected a node after `{node.id}.timeout`, but there is none: nothing follows a timeout."
            subject.find("timeout.unrouted", (*node.path, "on_timeout"), message, at_key=True)


CHECKS: tuple[Check, ...] = (check_never_runs, check_isolated, check_empty, check_ports_used)
