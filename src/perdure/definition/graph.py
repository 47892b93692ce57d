"""A document as scopes, nodes and edges, for the checks: made from any mapping, however wrong, and never failing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from perdure.definition.fields import Role, one_or_list
from perdure.definition.nodes import CLOSED
from perdure.definition.positions import Path
from perdure.definition.spec import Catalog, NodeSpec

ScopeKind = Literal["workflow", "body", "loop", "branch", "catch", "finally", "compensate"]

LOOPS = frozenset({"loop", "while", "repeat"})
LEAVING = frozenset({"break", "continue", "return", "exit", "fail"})
WAITING = frozenset({"wait_until", "wait_for_condition", "wait_for_signal", "wait_for_event", "delay", "human"})

_KINDS: dict[str, Literal["control", "pure", "effect"]] = {
    **dict.fromkeys(("transform", "map", "filter", "reduce", "sort", "group", "merge", "split", "validate"), "pure"),
    **dict.fromkeys(("set_variable", "get_variable", "log"), "pure"),
    "emit": "effect",
}
_PORTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(LEAVING, ()),
    "fail": ("out",),  # live where its scope ignores failures
    "condition": ("true", "false"),
    "switch": (),
}
RESERVED_PORTS = frozenset({"error", "timeout", "out", "default"})


@dataclass(slots=True, eq=False)
class Entry:
    """One entry of `after`: an edge, once its source is known."""

    path: Path
    text: str
    source_id: str
    port: str
    target: Node
    again: bool = False
    visits_max: Any = 0
    source: Node | None = None


@dataclass(slots=True, eq=False)
class Node:
    """One node of a scope, with what stands in the document."""

    id: str
    index: int
    path: Path
    raw: Mapping[str, Any]
    scope: Scope
    type: str
    spec: NodeSpec | None
    incoming: list[Entry] = field(default_factory=list)  # forward, as far as their sources are known
    outgoing: list[Entry] = field(default_factory=list)  # forward
    again_in: list[Entry] = field(default_factory=list)
    again_out: list[Entry] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)  # all, known or not
    scopes: dict[str, Scope] = field(default_factory=dict)

    @property
    def disabled(self) -> bool:
        return self.raw.get("disabled") is True

    @property
    def cases(self) -> Mapping[str, Any]:
        found = self.raw.get("cases")
        return found if self.type == "switch" and isinstance(found, dict) else {}

    @property
    def catch_ports(self) -> tuple[str, ...]:
        """The ports that the node's `catch` names; `try` has bodies there instead."""
        if self.type == "try":
            return ()
        entries = one_or_list(self.raw.get("catch") or [])
        ports = [entry["to"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("to"), str)]
        return tuple(dict.fromkeys(ports))

    @property
    def fixed_ports(self) -> tuple[str, ...]:
        """The ports it can leave by when it succeeds."""
        if self.type == "switch":
            return (*(str(name) for name in self.cases), "default")
        return ports_of(self.type, self.spec)

    @property
    def ports(self) -> tuple[str, ...]:
        """All its ports, in order: what it succeeds by, what its `catch` names, `timeout` where it has one, `error`."""
        timed = any(self.raw.get(key) is not None for key in ("timeout", "deadline", "queue_timeout", "heartbeat"))
        timeout = ("timeout",) if timed or self.raw.get("on_timeout") == "route" else ()
        return tuple(dict.fromkeys((*self.fixed_ports, *self.catch_ports, *timeout, "error")))


@dataclass(slots=True, eq=False)
class Scope:
    """One graph of nodes. `name` is its segment in paths; `outer` the container it belongs to."""

    name: str
    kind: ScopeKind
    path: Path
    raw: Mapping[str, Any]
    outer: Node | None
    depth: int  # segments of the paths of its nodes
    width: int  # bytes of the longest frame path so far
    nodes: dict[str, Node] = field(default_factory=dict)
    order: list[Node] = field(default_factory=list)  # topological, as far as there is one
    cyclic: bool = False
    before: list[int] = field(default_factory=list)  # by node index: bits of its ancestors over forward edges
    again: list[Entry] = field(default_factory=list)  # the edges that go back

    @property
    def on_failure(self) -> str:
        raw = self.raw.get("settings") if self.kind == "workflow" else self.raw
        policy = raw.get("on_failure") if isinstance(raw, dict) else None
        return policy if isinstance(policy, str) else "cancel_siblings"

    @property
    def variables(self) -> Mapping[str, Any]:
        found = self.raw.get("vars")
        return found if isinstance(found, dict) else {}

    def is_before(self, first: Node, second: Node) -> bool:
        """Whether `first` is an ancestor of `second` over forward edges; with a cycle about, everything may be."""
        return self.cyclic or bool(self.before[second.index] >> first.index & 1)

    def outwards(self) -> Iterator[Scope]:
        """This scope, then each enclosing one."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer.scope if scope.outer is not None else None


def ports_of(node_type: str, spec: NodeSpec | None) -> tuple[str, ...]:
    """The fixed ports of a type: as its SPEC says, else by the closed set."""
    if spec is not None and node_type not in _PORTS:
        return spec.ports
    return _PORTS.get(node_type, ("out",))


def spec_of(node_type: str, catalog: Catalog) -> NodeSpec | None:
    """The SPEC of a type: from the catalogue, else a plain one for the closed set, else None."""
    found = catalog.get(node_type)
    if found is not None or node_type not in CLOSED:
        return found
    return NodeSpec(name=node_type, title=node_type, kind=_KINDS.get(node_type, "control"), ports=ports_of(node_type, None))


def roles(node_type: str) -> Mapping[str, Role]:
    """The roles of a closed type's own keys, by the key's name in the document."""
    return _ROLES.get(node_type, {})


def _roles_of(node_type: str) -> dict[str, Role]:
    found: dict[str, Role] = {}
    for name, info in CLOSED[node_type].model_fields.items():
        if name == "type":
            continue
        marks = [mark for mark in info.metadata if isinstance(mark, Role)]
        found[info.alias or name] = marks[-1] if marks else Role("fixed")
    return found


_ROLES: dict[str, dict[str, Role]] = {name: _roles_of(name) for name in CLOSED}


def build(document: Mapping[str, Any], catalog: Catalog) -> Scope:
    """The root scope of a document, with everything inside it."""
    root = Scope("", "workflow", (), document, None, depth=0, width=0)
    waiting = [root]
    while waiting:
        scope = waiting.pop()
        _fill(scope, catalog)
        for node in scope.nodes.values():
            waiting.extend(node.scopes.values())
    return root


def _fill(scope: Scope, catalog: Catalog) -> None:
    nodes = scope.raw.get("nodes")
    for node_id, raw in (nodes if isinstance(nodes, dict) else {}).items():
        path = (*scope.path, "nodes", node_id)
        if not isinstance(raw, dict):
            raw = {}
        kind = raw.get("type")
        kind = kind if isinstance(kind, str) else ""
        node = Node(node_id, len(scope.nodes), path, raw, scope, kind, spec_of(kind, catalog))
        scope.nodes[node_id] = node
        node.entries = list(_entries(node))
        node.scopes = {inner.name: inner for inner in _inner(node)}
    for node in scope.nodes.values():
        for entry in node.entries:
            _connect(entry, scope)
    _sort(scope)


def _entries(node: Node) -> Iterator[Entry]:
    after = node.raw.get("after")
    single = not isinstance(after, list)
    for index, item in enumerate([] if after is None else one_or_list(after)):
        path: Path = (*node.path, "after") if single else (*node.path, "after", index)
        text = item.get("from") if isinstance(item, dict) else item
        if not isinstance(text, str):
            continue
        source_id, dot, port = text.partition(".")
        entry = Entry(path, text, source_id, port if dot else "out", node)
        if isinstance(item, dict):
            entry.again = item.get("again") is True
            entry.visits_max = item.get("max_visits", 0)
        yield entry


def _connect(entry: Entry, scope: Scope) -> None:
    source = scope.nodes.get(entry.source_id)
    if source is None:
        return
    entry.source = source
    if entry.again:
        scope.again.append(entry)
    (entry.target.again_in if entry.again else entry.target.incoming).append(entry)
    (source.again_out if entry.again else source.outgoing).append(entry)


def _inner(node: Node) -> Iterator[Scope]:
    loop = node.type in LOOPS
    for key, role in roles(node.type).items():
        value = node.raw.get(key)
        if role.name == "scope" and isinstance(value, dict):
            yield _scope(node, key, "finally" if key == "finally" else "loop" if loop else "body", (key,), value)
        elif role.name == "branches" and isinstance(value, dict):
            for name, branch in value.items():
                if isinstance(branch, dict):
                    yield _scope(node, str(name), "branch", (key, name), branch)
        elif role.name == "catch" and value is not None:
            single = not isinstance(value, list)
            for index, handler in enumerate(one_or_list(value)):
                body = handler.get("body") if isinstance(handler, dict) else None
                if isinstance(body, dict):
                    steps: Path = (key, "body") if single else (key, index, "body")
                    yield _scope(node, f"catch{index}", "catch", steps, body)
    undo = node.raw.get("compensate")
    if isinstance(undo, dict):
        yield _scope(node, "compensate", "compensate", ("compensate",), undo)


def _scope(node: Node, name: str, kind: ScopeKind, steps: Path, raw: Mapping[str, Any]) -> Scope:
    """An inner scope. A loop's frames are `orders[3]`, the others `charge.body`: that is what depth and width count."""
    outer = node.scope
    own = 1 if kind == "loop" else 2
    width = outer.width + len(node.id.encode()) + 1 + (len("[1000000]") if kind == "loop" else len(name.encode()) + 1)
    return Scope(name, kind, (*node.path, *steps), raw, node, outer.depth + own, width)


def _sort(scope: Scope) -> None:
    """Order the nodes so that edges point forward, and gather each one's ancestors as bits."""
    count = len(scope.nodes)
    nodes = list(scope.nodes.values())
    open_edges = [len(node.incoming) for node in nodes]
    before = [0] * count
    order = [node for node in nodes if not open_edges[node.index]]
    for node in order:  # grows while it is walked
        reached = before[node.index] | 1 << node.index
        for edge in node.outgoing:
            target = edge.target.index
            before[target] |= reached
            open_edges[target] -= 1
            if not open_edges[target]:
                order.append(edge.target)
    scope.order = order
    scope.before = before
    scope.cyclic = len(order) < count


def all_scopes(root: Scope) -> Iterator[Scope]:
    """Every scope, outer ones first, in the order of the document."""
    waiting = [root]
    while waiting:
        scope = waiting.pop()
        yield scope
        inner = [each for node in scope.nodes.values() for each in node.scopes.values()]
        waiting.extend(reversed(inner))
