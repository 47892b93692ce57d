"""Expressions: they compile, and every name they read is one that has a value there (rules 7, 8, 10 and 49)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from perdure.definition.checks.subject import Check, Subject, listed, near
from perdure.definition.fields import is_expression
from perdure.definition.graph import LOOPS, Node, Scope
from perdure.definition.positions import Path, Place
from perdure.definition.sites import Site
from perdure.expressions import ExpressionError, compile_condition, compile_template

_EVERYWHERE = frozenset({"input", "execution", "trigger"})
_INSIDE = frozenset({"nodes", "state", "previous", "vars"})
_FAMILIES = frozenset({"nodes", "state", "previous"})
_ERROR_PORTS = frozenset({"error", "timeout"})


def check_expressions(subject: Subject) -> None:
    """Each place compiles; what does not is reported with its line and column."""
    for site in subject.sites:
        for path, error in site.errors:
            place = _place_in_text(subject, path, error)
            subject.find(error.code, path, error.message, remedy=error.remedy, place=place)


def _place_in_text(subject: Subject, path: Path, error: ExpressionError) -> Place:
    """Where the error stands in the document; a condition without `${ }` is its own source."""
    value: Any = subject.document
    for step in path:
        value = value[step]
    if isinstance(value, str) and error.offset >= 0 and error.source in value:
        return subject.positions.within(path, value, value.index(error.source) + error.offset)
    return subject.positions.key(path) if isinstance(value, dict | list) else subject.positions.value(path)


def check_names(subject: Subject) -> None:
    """Each name that a place reads has a value there, in every run and in no race."""
    sight = _Sight()
    for site in subject.sites:
        if site.template is not None and site.template.reads:
            roots = sight.roots(site)
            for root, member in site.template.reads:
                if root not in roots:
                    _unknown_root(subject, site, root, roots)
                elif root in _FAMILIES and member is not None:
                    _family(subject, site, root, member)
                elif root == "vars" and member is not None:
                    _variable(subject, site, member)


class _Sight:
    """Which roots are bound where; what a scope binds is worked out once."""

    def __init__(self) -> None:
        self._bound: dict[int, frozenset[str]] = {}

    def roots(self, site: Site) -> frozenset[str]:
        """All roots that an expression at this place may read."""
        if site.view == "workflow":
            return _EVERYWHERE
        if site.view == "trigger":
            return _EVERYWHERE | {"event"}
        node = site.node
        if node is None:
            return _EVERYWHERE if site.view == "outside" else _EVERYWHERE | _INSIDE | self._of_scope(site.scope)
        own = _EVERYWHERE | _INSIDE | {"incoming"} | self._of_scope(node.scope) | _bound_by_edges(node)
        return own | _bound_by_view(site, node)

    def _of_scope(self, scope: Scope) -> frozenset[str]:
        """What the containers around bind: a loop its names, a handler its error, a compensation `self`."""
        known = self._bound.get(id(scope))
        if known is None:
            known = frozenset()
            if scope.outer is not None:
                known = (
                    self._of_scope(scope.outer.scope) | _bound_by_edges(scope.outer) | _bound_by_container(scope, scope.outer)
                )
            self._bound[id(scope)] = known
        return known


def _bound_by_edges(node: Node) -> frozenset[str]:
    """`error`, where an edge of failure leads straight to the node (rule 10)."""
    for entry in (*node.incoming, *node.again_in):
        if entry.source is not None and (entry.port in _ERROR_PORTS or entry.port in entry.source.catch_ports):
            return frozenset({"error"})
    return frozenset()


def _bound_by_container(scope: Scope, container: Node) -> frozenset[str]:
    if scope.kind == "loop":
        return _loop_names(container)
    if scope.kind == "finally":
        return frozenset({"error"})
    if scope.kind == "compensate":
        return frozenset({"self"})
    if scope.kind == "catch":
        handlers = container.raw["catch"]
        handler = handlers[int(scope.name.removeprefix("catch"))] if isinstance(handlers, list) else handlers
        name = handler.get("as", "error")
        return frozenset({name}) if isinstance(name, str) else frozenset({"error"})
    return frozenset()


def _loop_names(loop: Node) -> frozenset[str]:
    names = [loop.raw.get("index", "index"), "last"]
    if loop.type == "loop":
        names.append(loop.raw.get("as", "item"))
    if loop.raw.get("carry") is not None:
        names.append("carry")
    return frozenset(name for name in names if isinstance(name, str))


def _bound_by_view(site: Site, node: Node) -> frozenset[str]:
    if site.view == "item":
        return frozenset({"item", "index"})
    if site.view == "fold":
        return frozenset({"item", "index", "carry"})
    if site.view == "outside" and site.scope.kind == "loop":
        return _loop_names(node)  # the first values of an iteration's variables
    if site.view == "outside" and site.scope.kind == "compensate":
        return frozenset({"self"})
    if site.view in ("before", "after"):
        return _loop_names(node) if node.type in LOOPS else frozenset()
    if site.view == "join":
        return frozenset({"join"}) | (_loop_names(node) if node.type in LOOPS else frozenset())
    if site.view in ("event", "catch"):
        return frozenset({"event" if site.view == "event" else "error"})
    return frozenset()


# -- nodes ----------------------------------------------------------------------------------------------------------------
def _family(subject: Subject, site: Site, family: str, name: str) -> None:
    """Rule 8: only ancestors in the same scope, and ancestors of the enclosing containers."""
    visible, fitting = False, []
    for scope, reader in _looks(site):
        found = scope.nodes.get(name)
        fitting.append(scope)
        if found is None:
            continue
        visible = True
        if reader is None or scope.is_before(found, reader) or (family == "previous" and _comes_around(found, reader)):
            return
    path, text, offset = _place_of(site, family, name)
    place = subject.positions.within(path, text, offset)
    if visible:
        message = (
            f"Expected a node that comes before, but nothing leads from `{name}` to here: `{family}.{name}` would be a race."
        )
        subject.find("name.not_before", path, message, place=place)
        return
    known = sorted({each for scope in fitting for each in scope.nodes})
    inside = [node for node in subject.nodes if node.id == name]
    if inside and inside[0].scope.outer is not None:
        remedy = f"It stands inside `{inside[0].scope.outer.id}`: read that container's output instead."
    else:
        remedy = near(name, known) or f"Known here are {listed(known)}."
    subject.find("name.unknown_node", path, f"Expected a node, but there is no `{name}` here.", remedy=remedy, place=place)


def _looks(site: Site) -> Iterator[tuple[Scope, Node | None]]:
    """The scopes in which a place may look for nodes, each with the node that must come after them (None: any may be read)."""
    node, scope = site.node, site.scope
    if site.view == "outside" and node is not None:
        scope = node.scope
    if site.view == "after" and node is not None:
        for inner in node.scopes.values():
            if inner.kind == "loop":
                yield inner, None
    if site.view == "catch" and node is not None and node.type == "try" and "body" in node.scopes:
        yield node.scopes["body"], None
    yield scope, None if site.view in ("output", "scope", "join") or node is None else node
    while scope.outer is not None:
        container = scope.outer
        if scope.kind in ("catch", "finally", "compensate") and (body := container.scopes.get("body")) is not None:
            yield body, None
        scope = container.scope
        yield scope, container


def _comes_around(found: Node, reader: Node) -> bool:
    """Whether a node's earlier visit is settled when the reader runs: edges that go back lead from one to the other."""
    scope = reader.scope
    left = list(scope.again)
    goals = [reader]
    for goal in goals:  # grows while it is walked
        arriving = [edge for edge in left if edge.target is goal or scope.is_before(edge.target, goal)]
        left = [edge for edge in left if edge not in arriving]
        for edge in arriving:
            if edge.source is not None:
                if edge.source is found or scope.is_before(found, edge.source):
                    return True
                goals.append(edge.source)
    return False


# -- variables and roots --------------------------------------------------------------------------------------------------
def _variable(subject: Subject, site: Site, name: str) -> None:
    """Rule 49: a variable is declared in this scope or around it."""
    scope = site.scope
    scopes = list(scope.outwards())
    if site.view == "outside":
        scopes = scopes[1:]
    elif site.view == "after" and site.node is not None:
        scopes = [*site.node.scopes.values(), *scopes]
    if any(name in each.variables for each in scopes):
        return
    path, text, offset = _place_of(site, "vars", name)
    known = sorted({each for scope in scopes for each in scope.variables})
    remedy = near(name, known) or f"Declare it under `vars`: {name}: null."
    message = f"Expected a declared variable, but `{name}` is none here."
    subject.find("variable.undeclared", path, message, remedy=remedy, place=subject.positions.within(path, text, offset))


_ROOT_REMEDIES = {
    "error": "It is bound in the direct target of an error edge, in catch and in finally; elsewhere read `state.x.error`.",
    "item": "It is bound inside a `loop`, and in the expressions of data nodes that run for each item.",
    "index": "It is bound inside loops, and in the expressions of data nodes that run for each item.",
    "last": "It is bound inside loops.",
    "carry": "It is bound inside a loop with `carry`, and in the `next` of `reduce`.",
    "self": "It is bound inside `compensate`.",
    "join": "It is bound in the `need` of joins, parallels and loops.",
    "event": "It is bound in the `where` of `wait_for_event` and of event triggers.",
    "incoming": "It is bound on nodes; the output of a scope names its nodes: `nodes.x`.",
}


def _unknown_root(subject: Subject, site: Site, root: str, roots: frozenset[str]) -> None:
    path, text, offset = _place_of(site, root, None)
    place = subject.positions.within(path, text, offset)
    if root in ("nodes", "state", "previous", "vars"):
        remedy = "There is no execution yet: only `input`, `trigger` and `execution` can be read."
    else:
        remedy = _ROOT_REMEDIES.get(root) or near(root, sorted(roots)) or f"Known here are {listed(sorted(roots), 20)}."
    if any(node.id == root for node in subject.nodes):
        remedy = f"The output of a node is `nodes.{root}`."
    subject.find("name.unknown", path, f"Expected a known name, but `{root}` has no value here.", remedy=remedy, place=place)


def _place_of(site: Site, root: str, member: str | None) -> tuple[Path, str, int]:
    """The text inside a place that reads a name, with its path and the offset of the name in it."""
    for path, text in _texts(site.value, site.path):
        try:
            template = compile_condition(text) if site.is_condition else compile_template(text)
        except ExpressionError:  # a text that is no condition by itself
            continue
        if (root, member) in template.reads or (member is None and any(name == root for name, _ in template.reads)):
            step = rf"\s*(?:\.\s*{re.escape(member)}\b|\[\s*[\"']{re.escape(member)}[\"'])" if member is not None else ""
            found = re.search(rf"(?<![\w.]){re.escape(root)}\b{step}", text)
            return path, text, found.start() if found else 0
    return site.path, "", 0


def _texts(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(item, dict | list) or is_expression(item):
                yield from _texts(item, (*path, key))


CHECKS: tuple[Check, ...] = (check_expressions, check_names)
