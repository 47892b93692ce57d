"""Joins, parallels and loops: a quorum that can be reached (rules 15 to 23)."""

from __future__ import annotations

from typing import Any

from perdure.definition.checks.exclusive import Exclusion
from perdure.definition.checks.subject import Check, Subject
from perdure.definition.fields import is_expression
from perdure.definition.graph import LOOPS, Node

_COUNTS = frozenset({"success", "failed", "dead", "pending", "total"})


def check_quorums(subject: Subject) -> None:
    """Rule 23: some branch, not more needed than can come, and an expression that counts."""
    exclusions: dict[int, Exclusion] = {}
    for node in subject.nodes:
        if node.type == "join":
            exclusion = exclusions.setdefault(id(node.scope), Exclusion())
            _join(subject, node, exclusion)
        elif node.type == "parallel":
            _parallel(subject, node)
        elif node.type in LOOPS:
            _enough(subject, node, _iterations(node), "iterations")
        if node.type == "join" or node.type == "parallel" or node.type in LOOPS:
            _expression(subject, node)


def _join(subject: Subject, node: Node, exclusion: Exclusion) -> None:
    known = [entry for entry in node.incoming if entry.source is not None]
    declared = [entry for entry in node.entries if not entry.again]
    _some(subject, node, len(declared))
    if len(known) == len(declared) > 0 and isinstance(node.raw.get("need"), int):
        _enough(subject, node, exclusion.most_together(known), "branches that can be live together")


def _parallel(subject: Subject, node: Node) -> None:
    branches = node.raw.get("branches")
    if isinstance(branches, dict):
        _some(subject, node, len(branches))
        if branches:
            _enough(subject, node, len(branches), "branches")


def _some(subject: Subject, node: Node, count: int) -> None:
    if count == 0:
        subject.find("quorum.no_branch", node.path, f"Expected branches for `{node.id}`, but it has none.", at_key=True)
    elif count == 1:
        subject.find("quorum.one_branch", node.path, f"Expected several branches for `{node.id}`, but it has one.", at_key=True)


def _enough(subject: Subject, node: Node, most: int | None, what: str) -> None:
    need = node.raw.get("need")
    if most is not None and isinstance(need, int) and not isinstance(need, bool) and need > most:
        message = f"Expected a need of at most {most}, the number of {what}, but got {need}."
        subject.find("quorum.unreachable", (*node.path, "need"), message)


def _iterations(node: Node) -> int | None:
    """How many iterations there can be, where that is written out."""
    bounds = [node.raw.get("times"), node.raw.get("max_iterations")]
    over: Any = node.raw.get("over")
    if isinstance(over, list | dict) and not node.raw.get("open"):
        bounds.append(len(over))
    known = [bound for bound in bounds if isinstance(bound, int) and not isinstance(bound, bool)]
    return min(known, default=None)


def _expression(subject: Subject, node: Node) -> None:
    path = (*node.path, "need")
    template = subject.templates.get(path)
    if is_expression(node.raw.get("need")) and template is not None:
        counts = {member for root, member in template.reads if root == "join"}
        if not counts & _COUNTS:
            message = (
                "Expected a need that counts branches, but it reads none of join.success, failed, dead, pending and total."
            )
            subject.find("quorum.no_count", path, message)


CHECKS: tuple[Check, ...] = (check_quorums,)
