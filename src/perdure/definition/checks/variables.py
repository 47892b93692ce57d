"""Variables: writers that are not ordered need a merge (rule 49)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

from perdure.definition.checks.exclusive import Exclusion
from perdure.definition.checks.subject import Check, Subject, listed, near
from perdure.definition.graph import Node, Scope
from perdure.definition.scope import is_declaration

_WRITERS_MAX = 400  # of one variable, compared in pairs; more without a merge are taken as they are


class Write(NamedTuple):
    """One node that writes one variable."""

    node: Node
    name: str
    declared: Scope


def check_writes(subject: Subject) -> None:
    """Every written variable is declared; where two writers are in no order, or one runs beside itself, it says `merge`."""
    written: dict[tuple[int, str], list[Write]] = {}
    for node in subject.nodes:
        if node.type == "set_variable":
            for write in _writes(subject, node):
                written.setdefault((id(write.declared), write.name), []).append(write)
    exclusions: dict[int, Exclusion] = {}
    for writes in written.values():
        if not _has_merge(writes[0]):
            _ordered(subject, writes[:_WRITERS_MAX], exclusions)


def _writes(subject: Subject, node: Node) -> Iterator[Write]:
    values, named = node.raw.get("set"), node.raw.get("scope")
    scopes = list(node.scope.outwards())
    if isinstance(named, str):
        scopes = _named_scope(subject, node, named, scopes)
    for name in values if isinstance(values, dict) and scopes else ():
        declared = next((scope for scope in scopes if name in scope.variables), None)
        if declared is None:
            known = {each for scope in scopes for each in scope.variables}
            message = f"Expected a declared variable, but `{name}` is none."
            remedy = near(name, sorted(known)) or f"Declare it under `vars`: {name}: null."
            subject.find("variable.undeclared", (*node.path, "set", name), message, remedy=remedy, at_key=True)
        else:
            yield Write(node, name, declared)


def _named_scope(subject: Subject, node: Node, named: str, scopes: list[Scope]) -> list[Scope]:
    if named == "workflow":
        return scopes[-1:]
    found = [scope for scope in scopes if scope.outer is not None and scope.outer.id == named]
    if not found:
        known = ["workflow", *(scope.outer.id for scope in scopes if scope.outer is not None)]
        message = f"Expected `workflow` or a container around `{node.id}`, but `{named}` is none."
        subject.find(
            "variable.scope", (*node.path, "scope"), message, remedy=near(named, known) or f"Name one of {listed(known)}."
        )
    return found


def _has_merge(write: Write) -> bool:
    declared = write.declared.variables[write.name]
    return is_declaration(declared) and declared.get("merge") is not None


def _ordered(subject: Subject, writes: list[Write], exclusions: dict[int, Exclusion]) -> None:
    for write in writes:
        loop = _loop_beside_itself(write)
        if loop is not None:
            why = f"`{write.node.id}` writes it in iterations of `{loop.id}` that run at the same time"
            _race(subject, write, why)
            return
    for first, second in combinations(writes, 2):
        if _are_unordered(first, second, exclusions):
            _race(subject, second, f"`{first.node.id}` and `{second.node.id}` both write it, in no order")
            return


def _race(subject: Subject, write: Write, why: str) -> None:
    path = (*write.node.path, "set", write.name)
    subject.find("variable.unordered", path, f"Expected a merge for the variable `{write.name}`, but {why}.", at_key=True)


def _loop_beside_itself(write: Write) -> Node | None:
    """The loop inside the variable's scope whose iterations overlap, if there is one."""
    for scope in write.node.scope.outwards():
        if scope is write.declared:
            return None
        loop = scope.outer
        if scope.kind == "loop" and loop is not None and loop.type != "while" and loop.raw.get("concurrency", 1) != 1:
            return loop
    return None


def _are_unordered(first: Write, second: Write, exclusions: dict[int, Exclusion]) -> bool:
    """Whether two writers can run in either order: sibling branches, or nodes without a path between them."""
    outer = {id(scope): chain for chain in (_chain(first.node),) for scope, _ in chain}
    below = {id(scope): node for scope, node in _chain(first.node)}
    for scope, node in _chain(second.node):
        if id(scope) in outer:
            other = below[id(scope)]
            if other is node:
                return _siblings(first.node, second.node, node)
            if scope.is_before(other, node) or scope.is_before(node, other):
                return False
            return not exclusions.setdefault(id(scope), Exclusion()).exclude(other, node)
    return False


def _chain(node: Node) -> Iterator[tuple[Scope, Node]]:
    """The scopes around a node, each with the node in it that holds the first one."""
    for scope in node.scope.outwards():
        yield scope, node
        if scope.outer is not None:
            node = scope.outer


def _siblings(first: Node, second: Node, container: Node) -> bool:
    """Whether they stand in two branches of one parallel; body, catch and finally of a `try` come one after another."""
    if container.type != "parallel" or first is second:
        return False
    kinds = {_scope_of(first, container).kind, _scope_of(second, container).kind}
    return kinds == {"branch"}


def _scope_of(node: Node, container: Node) -> Scope:
    for scope in node.scope.outwards():
        if scope.outer is container:
            return scope
    return node.scope


CHECKS: tuple[Check, ...] = (check_writes,)
