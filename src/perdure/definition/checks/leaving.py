"""Nodes that leave frames or reach into them: break, continue, return, exit, rollback and cancel."""

from __future__ import annotations

from perdure.definition.checks.subject import Check, Subject, listed, near
from perdure.definition.graph import LOOPS, Node

_CLEANUPS = frozenset({"finally", "compensate"})


def check_loops_left(subject: Subject) -> None:
    """`break` and `continue` stand in a loop, the one they name, and leave no `finally` (rules 29, 32)."""
    for node in subject.nodes:
        if node.type in ("break", "continue"):
            _leave_loop(subject, node)


def _leave_loop(subject: Subject, node: Node) -> None:
    label = node.raw.get("loop")
    loops: list[str] = []
    crossed = ""
    for scope in node.scope.outwards():
        outer = scope.outer
        if scope.kind == "loop" and outer is not None:
            loops.append(outer.id)
            if label is None or label == outer.id:
                if crossed:
                    message = f"Expected `{node.type}` outside of `{crossed}`, but it would leave it."
                    subject.find("leave.in_finally", node.path, message, at_key=True)
                return
        if scope.kind in _CLEANUPS:
            crossed = crossed or scope.kind
    if label is not None and loops:
        remedy = near(str(label), loops) or f"The loops around it are {listed(loops)}."
        message = f"Expected a loop around `{node.id}`, but `{label}` is none."
        subject.find("leave.unknown_loop", (*node.path, "loop"), message, remedy=remedy)
    else:
        message = f"Expected `{node.type}` inside a loop, but no loop is around `{node.id}`."
        subject.find("leave.outside_loop", node.path, message, at_key=True)


def check_returns(subject: Subject) -> None:
    """`return` and `exit` leave no `finally` (rule 32): what is under way there must end by itself."""
    for node in subject.nodes:
        if node.type == "return" and node.raw.get("from") != "scope":
            crossed = [scope.kind for scope in node.scope.outwards() if scope.kind in _CLEANUPS]
        elif node.type in ("return", "exit"):
            crossed = [node.scope.kind] if node.scope.kind in _CLEANUPS else []
        else:
            continue
        if crossed:
            message = f"Expected `{node.type}` outside of `{crossed[0]}`, but it would leave it."
            subject.find("leave.in_finally", node.path, message, at_key=True)


def check_rollbacks(subject: Subject) -> None:
    """`rollback` names something that can have registered compensations, or stands in a handler of `try` (rule 39)."""
    for node in subject.nodes:
        if node.type != "rollback":
            continue
        target = node.raw.get("of")
        around = list(node.scope.outwards())
        handlers = [scope for scope in around if scope.kind in ("catch", "finally")]
        if target is None:
            if not handlers:
                message = f"Expected `{node.id}` in the catch or finally of a `try`, but it stands elsewhere and names nothing."
                subject.find("rollback.outside", node.path, message, at_key=True)
            continue
        known = {name for scope in around for name in scope.nodes}
        for scope in handlers:
            body = scope.outer.scopes.get("body") if scope.outer is not None else None
            known.update(body.nodes if body is not None else ())
        _known_target(subject, node, "of", "rollback.unknown_node", known)


def check_cancels(subject: Subject) -> None:
    """`cancel` names a node of its own scope or of an enclosing one, and not itself."""
    for node in subject.nodes:
        if node.type == "cancel":
            known = {name for scope in node.scope.outwards() for name in scope.nodes} - {node.id}
            _known_target(subject, node, "target", "cancel.unknown_node", known)


def _known_target(subject: Subject, node: Node, key: str, code: str, known: set[str]) -> None:
    target = node.raw.get(key)
    if isinstance(target, str) and target not in known:
        remedy = near(target, sorted(known)) or f"Name one of {listed(sorted(known))}."
        subject.find(
            code, (*node.path, key), f"Expected a node that `{node.id}` can reach, but `{target}` is none.", remedy=remedy
        )


def check_in_flight(subject: Subject) -> None:
    """`in_flight` speaks of iterations beside the one that breaks: with concurrency 1 there are none."""
    for node in subject.nodes:
        if node.type in LOOPS and node.raw.get("in_flight") is not None and node.raw.get("concurrency", 1) == 1:
            message = f"Expected a concurrency above 1 beside `in_flight`, but `{node.id}` runs one iteration at a time."
            subject.find("loop.in_flight", (*node.path, "in_flight"), message, at_key=True)


CHECKS: tuple[Check, ...] = (check_loops_left, check_returns, check_rollbacks, check_cancels, check_in_flight)
