"""Every place of a definition that holds a value or a condition, compiled once; checker and compiler share them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from perdure.definition.fields import Sees, is_expression, one_or_list
from perdure.definition.graph import Node, Scope, all_scopes, roles
from perdure.definition.positions import Path, dotted
from perdure.definition.scope import is_declaration
from perdure.expressions import Computed, ExpressionError, Template, compile_condition, compile_template

View = Literal["workflow", "trigger", "outside", "output"] | Sees
"""Who looks: a node's own (`Sees`), a scope's output (any of its nodes), its variables and timeout (outside)…"""

_NODE_VALUES = ("timeout", "deadline", "queue_timeout", "heartbeat", "grace", "lock")
_SETTINGS_VALUES = ("timeout", "soft_timeout", "cleanup", "queue_max", "payload_max")


@dataclass(slots=True, eq=False)
class Site:
    """One place. `template` is None where it did not compile; then `errors` says why, each with its path."""

    path: Path
    value: Any
    is_condition: bool
    view: View
    scope: Scope
    node: Node | None
    template: Template | None = None
    errors: Sequence[tuple[Path, ExpressionError]] = ()

    def compile(self) -> None:
        """Fill `template`, or `errors` with everything that does not compile."""
        place = dotted(self.path)
        try:
            if self.is_condition:
                self.template = Computed(compile_condition(self.value), place)
            else:
                self.template = compile_template(self.value, path=place)
        except ExpressionError as error:
            self.errors = list(_errors_inside(self.value, self.path)) if isinstance(self.value, dict | list) else []
            self.errors = self.errors or [(self.path, error)]


def _errors_inside(value: Any, path: Path) -> Iterator[tuple[Path, ExpressionError]]:
    """Everything wrong in a list or mapping, each with the path of the text it stands in."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _errors_inside(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _error_of({key: None}, (*path, key))
            yield from _errors_inside(item, (*path, key))
    else:
        yield from _error_of(value, path)


def _error_of(value: Any, path: Path) -> Iterator[tuple[Path, ExpressionError]]:
    try:
        compile_template(value)
    except ExpressionError as error:
        yield path, error


def sites(root: Scope) -> Iterator[Site]:
    """All places of a definition, in the document's order of scopes."""
    yield from _workflow_sites(root)
    for scope in all_scopes(root):
        yield from _scope_sites(scope)
        for node in scope.nodes.values():
            yield from _node_sites(node)


# -- workflow -------------------------------------------------------------------------------------------------------------
def _workflow_sites(root: Scope) -> Iterator[Site]:
    settings = root.raw.get("settings")
    if isinstance(settings, dict):
        for key in _SETTINGS_VALUES:
            yield from _value(settings, ("settings",), key, "workflow", root, None)
        if not isinstance(settings.get("concurrency"), dict):
            yield from _value(settings, ("settings",), "concurrency", "workflow", root, None)
        for key in ("concurrency", "rate"):
            inner = settings.get(key)
            for name in ("limit", "per", "key") if isinstance(inner, dict) else ():
                yield from _value(inner, ("settings", key), name, "workflow", root, None)
    triggers = root.raw.get("triggers")
    for index, trigger in enumerate(triggers if isinstance(triggers, list) else []):
        if isinstance(trigger, dict):
            base: Path = ("triggers", index)
            for key in ("when", "where"):
                yield from _value(trigger, base, key, "trigger", root, None, is_condition=True)
            for key in ("input", "idempotency_key", "deduplicate", "every", "window", "jitter"):
                yield from _value(trigger, base, key, "trigger", root, None)


def _scope_sites(scope: Scope) -> Iterator[Site]:
    for name, declared in scope.variables.items():
        path: Path = (*scope.path, "vars", name)
        if is_declaration(declared):
            yield from _value(declared, path, "value", "outside", scope, scope.outer)
        else:
            yield Site(path, declared, False, "outside", scope, scope.outer)
    yield from _value(scope.raw, scope.path, "output", "output", scope, None)
    if scope.kind != "workflow":
        yield from _value(scope.raw, scope.path, "result", "output", scope, None)
        yield from _value(scope.raw, scope.path, "timeout", "outside", scope, scope.outer)


# -- nodes ----------------------------------------------------------------------------------------------------------------
def _node_sites(node: Node) -> Iterator[Site]:
    raw, path, scope = node.raw, node.path, node.scope
    yield from _value(raw, path, "when", "node", scope, node, is_condition=True)
    for key in _NODE_VALUES:
        yield from _value(raw, path, key, "node", scope, node)
    yield from _retry_sites(raw, path, scope, node)
    cache = raw.get("cache")
    if isinstance(cache, dict):
        for key in ("key", "ttl", "tags"):
            yield from _value(cache, (*path, "cache"), key, "node", scope, node)
    yield from _catch_sites(node)
    own = roles(node.type)
    if not own:
        yield from _value(raw, path, "with", "node", scope, node)
    for key, role in own.items():
        yield from _own_sites(node, key, role.name, role.sees)


def _own_sites(node: Node, key: str, name: str, sees: Sees) -> Iterator[Site]:
    value, path = node.raw.get(key), (*node.path, key)
    if value is None:
        return
    if name == "value":
        yield Site(path, value, False, sees, node.scope, node)
    elif name == "condition":
        yield Site(path, value, True, sees, node.scope, node)
    elif name == "quorum" and is_expression(value):
        yield Site(path, value, sees == "join", sees, node.scope, node)
    elif name == "cases":
        for case, condition in node.cases.items():
            yield Site((*path, case), condition, True, sees, node.scope, node)
    elif name in ("carry", "reduce") and isinstance(value, dict):
        yield from _value(value, path, "start", "node", node.scope, node)
        yield from _value(value, path, "next", "after" if name == "carry" else "fold", node.scope, node)


def _catch_sites(node: Node) -> Iterator[Site]:
    """The conditions of a `catch`: ports of any node, or the handlers of `try`; both see `error`."""
    value = node.raw.get("catch")
    single = not isinstance(value, list)
    for index, entry in enumerate([] if value is None else one_or_list(value)):
        if isinstance(entry, dict):
            base: Path = (*node.path, "catch") if single else (*node.path, "catch", index)
            yield from _value(entry, base, "when", "catch", node.scope, node, is_condition=True)


def _retry_sites(raw: Any, path: Path, scope: Scope, node: Node) -> Iterator[Site]:
    value = raw.get("retry")
    single = not isinstance(value, list)
    for index, policy in enumerate([] if value is None else one_or_list(value)):
        if isinstance(policy, dict):
            base: Path = (*path, "retry") if single else (*path, "retry", index)
            for key in ("attempts", "initial", "max"):
                yield from _value(policy, base, key, "node", scope, node)


def _value(
    raw: Any, path: Path, key: str, view: View, scope: Scope, node: Node | None, *, is_condition: bool = False
) -> Iterator[Site]:
    if raw.get(key) is not None:
        yield Site((*path, key), raw[key], is_condition, view, scope, node)
