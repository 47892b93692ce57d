"""Policies that do not go together, and effects that an edge back repeats."""

from __future__ import annotations

from perdure.definition.checks.subject import Check, Subject, listed
from perdure.definition.graph import Entry, Node


def check_cache(subject: Subject) -> None:
    """Rule 53: an effect that must not happen twice has no result to share."""
    for node in subject.nodes:
        if node.raw.get("cache") is not None and node.raw.get("delivery") == "at_most_once":
            message = "Expected `cache` or `delivery: at_most_once`, but both are here."
            subject.find("cache.at_most_once", (*node.path, "cache"), message, at_key=True)


def check_repeated_effects(subject: Subject) -> None:
    """Rule 35: an edge back resets all that follows its target; effects beside the circle then run again."""
    for node in subject.nodes:
        for entry in node.again_in:
            if not node.scope.cyclic:
                _repeated(subject, entry)


def _repeated(subject: Subject, entry: Entry) -> None:
    source, target = entry.source, entry.target
    if source is None:
        return
    beside = [node.id for node in _reachable(target) if _is_effect(node) and _stands_beside(node, source)]
    if beside:
        message = f"Expected only pure nodes beside the circle, but {listed(beside)} will run again on each visit."
        subject.find("again.effect", entry.path, message)


def _is_effect(node: Node) -> bool:
    return node.spec is not None and node.spec.kind == "effect"


def _stands_beside(node: Node, source: Node) -> bool:
    """Neither on the circle nor behind its end: what comes after the source has not run when the source goes back."""
    scope = node.scope
    return node is not source and not scope.is_before(node, source) and not scope.is_before(source, node)


def _reachable(start: Node) -> list[Node]:
    found = {start: None}
    for node in (queue := [start]):
        for edge in node.outgoing:
            if edge.target not in found:
                found[edge.target] = None
                queue.append(edge.target)
    return list(found)


CHECKS: tuple[Check, ...] = (check_cache, check_repeated_effects)
