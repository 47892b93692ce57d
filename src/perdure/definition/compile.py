"""A checked definition to its plan: numbers for nodes, templates for values, policies with format 1's defaults filled in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Literal

from perdure.definition.checks.subject import Subject
from perdure.definition.fields import is_expression, one_or_list
from perdure.definition.graph import Entry, Node, Scope, roles
from perdure.definition.nodes import CLOSED
from perdure.definition.plan import CatchPort, Edge, NodePlan, OnFailure, Plan, RetryPolicy, ScopePlan, Settings, VariablePlan
from perdure.definition.positions import Path
from perdure.definition.scope import is_declaration
from perdure.expressions import Computed, Constant, Expression, MapTemplate, Template
from perdure.labels import POOL, Labels, read_labels

_SETTINGS_NAMED = frozenset(
    {
        "timeout",
        "soft_timeout",
        "on_timeout",
        "cleanup",
        "priority",
        "park",
        "error_workflow",
        "retry",
        "on_failure",
        "depth_max",
    }
)
_ERROR_PORTS = ("error", "timeout")
_RETRY: dict[str, Any] = {"attempts": 3, "initial": "1s", "max": "5m"}


def plan_of(subject: Subject, digest: bytes) -> Plan:
    """The plan of a definition without errors."""
    document = subject.document
    lock = {node.spec.name: node.spec.version for node in subject.nodes if node.spec is not None}
    root = _Compiler(subject.templates).scope(subject.root, "")
    scopes = {scope.path: scope for scope in _every_scope(root)}
    return Plan(
        name=document["name"],
        title=document.get("title", ""),
        digest=digest.hex(),
        lock=dict(sorted(lock.items())),
        root=root,
        settings=_settings(document.get("settings", {}), subject.templates),
        input_schema=document.get("input"),
        output_schema=document.get("output_schema"),
        triggers=tuple(document.get("triggers", ())),
        document=document,
        scopes=scopes,
        pooled=any(node.runs_on is not None for scope in scopes.values() for node in scope.nodes),
        cleans_up=any(path.endswith((".finally", ".compensate")) for path in scopes),
    )


def _every_scope(root: ScopePlan) -> Iterator[ScopePlan]:
    waiting = [root]
    while waiting:
        scope = waiting.pop()
        yield scope
        waiting += [inner for node in scope.nodes for inner in node.scopes.values()]


def _may_detach(node: NodePlan) -> bool:
    """May the container end by a quorum or a deadline while frames of it go on, or have still to begin (rule 19)?"""
    ends_early = node.type == "parallel" or node.options.get("need") is not None or "need" in node.keys
    return node.type != "join" and node.options.get("losers") == "detach" and (ends_early or node.deadline is not None)


def _joins_around(joins: Iterable[NodePlan]) -> Mapping[int, tuple[NodePlan, ...]]:
    """By node: the joins in whose region it lies, as they are declared."""
    found: dict[int, tuple[NodePlan, ...]] = {}
    for join in joins:
        for inside in join.options["region"]:
            found[inside] = (*found.get(inside, ()), join)
    return found


def _reachable(nodes: Sequence[NodePlan], target: int) -> frozenset[int]:
    """A node, and everything that is reachable from it by forward edges."""
    found = {target}
    waiting = [target]
    while waiting:
        for edge in nodes[waiting.pop()].outgoing:
            if edge.target not in found:
                found.add(edge.target)
                waiting.append(edge.target)
    return frozenset(found)


def _settings(raw: Mapping[str, Any], templates: Mapping[Path, Template]) -> Settings:
    def value(key: str) -> Template | None:
        return templates.get(("settings", key))

    return Settings(
        timeout=value("timeout"),
        soft_timeout=value("soft_timeout"),
        on_timeout=raw.get("on_timeout", "fail"),
        cleanup=value("cleanup") or Constant("1m"),
        priority=raw.get("priority", 3),
        park=raw.get("park", False),
        error_workflow=raw.get("error_workflow"),
        depth_max=raw.get("depth_max", 32),
        attempts=raw.get("retry", {}).get("attempts", 1),
        rest={key: item for key, item in raw.items() if key not in _SETTINGS_NAMED},
    )


class _Compiler:
    """Walks the graph once; every template was compiled by the checker and is only looked up here."""

    def __init__(self, templates: Mapping[Path, Template]) -> None:
        self._templates = templates

    # -- scopes -------------------------------------------------------------------------------------------------------
    def scope(self, scope: Scope, path: str) -> ScopePlan:
        nodes = tuple(self._node(node, path) for node in scope.nodes.values())
        joins = [node for node in nodes if node.type == "join"]
        loop = scope.outer if scope.kind == "loop" else None
        result = self._templates.get((*scope.path, "result"))
        if loop is not None and result is None:
            result = self._templates.get((*loop.path, "result"))
        return ScopePlan(
            path=path,
            nodes=nodes,
            number={node.id: node.index for node in nodes},
            starts=tuple(node.index for node in nodes if not node.incoming),
            unresolved=tuple(len(node.incoming) for node in nodes),
            on_failure=_on_failure(scope.on_failure),
            output=self._templates.get((*scope.path, "output")),
            result=result if scope.kind != "workflow" else None,
            variables={name: self._variable(scope, name, declared) for name, declared in scope.variables.items()},
            timeout=self._templates.get((*scope.path, "timeout")),
            joins=frozenset(join.index for join in joins),
            asked=frozenset(join.index for join in joins if join.options.get("need") is None),
            joins_around=_joins_around(joins),
            regions={edge.target: _reachable(nodes, edge.target) for node in nodes for edge in node.again},
            detaching=tuple(node.id for node in nodes if _may_detach(node)),
        )

    def _variable(self, scope: Scope, name: str, declared: Any) -> VariablePlan:
        path: Path = (*scope.path, "vars", name)
        if is_declaration(declared):
            return VariablePlan(name, self._templates.get((*path, "value")) or Constant(None), declared.get("merge"))
        return VariablePlan(name, self._templates[path], None)

    # -- nodes --------------------------------------------------------------------------------------------------------
    def _node(self, node: Node, path: str) -> NodePlan:
        assert node.spec is not None, "the checker refuses types without a SPEC"
        raw = node.raw
        incoming = tuple(_edge(entry) for entry in node.incoming)
        outgoing = tuple(_edge(entry) for entry in node.outgoing)
        again = tuple(_edge(entry) for entry in node.again_out)
        own_path = f"{path}.{node.id}" if path else node.id
        leaving = {edge.port for edge in (*outgoing, *again)}
        catch = () if node.type == "try" else tuple(self._catch(node))
        return NodePlan(
            index=node.index,
            id=node.id,
            type=node.type,
            kind=node.spec.kind,
            spec=node.spec,
            incoming=incoming,
            outgoing=outgoing,
            again=again,
            ports=node.ports,
            keys=dict(self._keys(node)),
            params=self._templates.get((*node.path, "with")) if node.type not in CLOSED else None,
            options=_options(node),
            scopes={name: self.scope(inner, f"{own_path}.{name}") for name, inner in node.scopes.items()},
            when=self._condition((*node.path, "when")),
            catch=catch,
            handlers=tuple(self._catch(node)) if node.type == "try" else (),
            error_ports=frozenset((*_ERROR_PORTS, *(caught.port for caught in catch))),
            has_error_edge="error" in leaving,
            has_timeout_edge="timeout" in leaving,
            retry=tuple(self._retry(raw.get("retry"), node.path)),
            timeout=self._at(node, "timeout"),
            deadline=self._at(node, "deadline"),
            queue_timeout=self._at(node, "queue_timeout"),
            heartbeat=self._at(node, "heartbeat"),
            grace=self._at(node, "grace"),
            park=raw.get("park"),
            disabled=node.disabled,
            at_most_once=raw.get("delivery") == "at_most_once",
            on_unknown=raw.get("on_unknown", "fail"),
            crashes_max=raw.get("crashes_max", 3),
            on_timeout=raw.get("on_timeout", "fail"),
            lock=self._at(node, "lock"),
            runs_on=_labels(raw.get("runs_on")),
            cache=self._cache(node),
            document=raw,
        )

    def _at(self, node: Node, key: str) -> Template | None:
        return self._templates.get((*node.path, key))

    def _condition(self, path: Path) -> Expression | None:
        template = self._templates.get(path)
        assert template is None or isinstance(template, Computed), "conditions compile to one expression"
        return template.expression if template is not None else None

    def _keys(self, node: Node) -> Iterator[tuple[str, Template]]:
        for key, role in roles(node.type).items():
            if role.name in ("value", "condition", "quorum"):
                template = self._at(node, key)
                default = _default_of(node.type, key) if role.name == "value" else None
                if template is not None or default is not None:
                    yield key, template if template is not None else Constant(default)
                elif key in node.raw and _is_required(node.type, key):
                    yield key, Constant(None)  # `to: null` is a value like any other
            elif role.name == "cases":
                yield key, MapTemplate({case: self._templates[(*node.path, key, case)] for case in node.cases})
            elif role.name in ("carry", "reduce") and node.raw.get(key) is not None:
                for part in ("start", "next"):
                    yield f"{key}.{part}", self._templates.get((*node.path, key, part)) or Constant(None)

    def _catch(self, node: Node) -> Iterator[CatchPort]:
        """A node's `catch` maps errors to ports; a `try` maps them to its scopes `catch0`, `catch1`…"""
        value = node.raw.get("catch")
        single = not isinstance(value, list)
        for index, entry in enumerate([] if value is None else one_or_list(value)):
            base: Path = (*node.path, "catch") if single else (*node.path, "catch", index)
            port = f"catch{index}" if node.type == "try" else entry["to"]
            yield CatchPort(_codes(entry.get("on")), port, self._condition((*base, "when")))

    def _retry(self, value: Any, path: Path) -> Iterator[RetryPolicy]:
        single = not isinstance(value, list)
        for index, policy in enumerate([] if value is None else one_or_list(value)):
            base: Path = (*path, "retry") if single else (*path, "retry", index)
            templates = {key: self._templates.get((*base, key)) or Constant(default) for key, default in _RETRY.items()}
            yield RetryPolicy(
                attempts=templates["attempts"],
                backoff=policy.get("backoff", "exponential"),
                initial=templates["initial"],
                maximum=templates["max"],
                factor=float(policy.get("factor", 2)),
                jitter=policy.get("jitter", True),
                on=_codes(policy.get("on")),
                not_on=_codes(policy.get("not_on")),
            )

    def _cache(self, node: Node) -> Mapping[str, Any] | None:
        raw = node.raw.get("cache")
        if raw is None:
            return None
        parts: dict[str, Any] = {key: self._templates.get((*node.path, "cache", key)) for key in ("key", "ttl", "tags")}
        return {**parts, "scope": raw.get("scope", "tenant")}


# -- plain values ---------------------------------------------------------------------------------------------------------
def _edge(entry: Entry) -> Edge:
    assert entry.source is not None, "the checker refuses edges from nowhere"
    visits_max = entry.visits_max if entry.again else 0
    return Edge(entry.source.index, entry.port, entry.target.index, entry.text, entry.again, visits_max)


def _codes(value: Any) -> tuple[str, ...]:
    return () if value is None else tuple(one_or_list(value))


def _labels(value: Any) -> Labels | None:
    return None if value is None else read_labels({POOL: value} if isinstance(value, str) else value) or None


def _on_failure(policy: str) -> OnFailure:
    known: dict[str, OnFailure] = {each: each for each in _POLICIES}
    return known[policy]


_POLICIES: tuple[OnFailure, ...] = ("cancel_siblings", "drain", "isolate", "collect", "ignore")


def _options(node: Node) -> Mapping[str, Any]:
    """What is fixed when saved, with defaults; `need` and `tolerate` stand here too unless they are expressions."""
    options: dict[str, Any] = {}
    if "compensate" in node.scopes:
        options["compensate_on"] = node.raw.get("compensate_on", "success")
    if node.type not in CLOSED:
        return options
    for key, (name, default) in _option_defaults(node.type).items():
        value = node.raw.get(key, default)
        if name != "quorum" or not is_expression(value):
            options[key] = value
    if node.type == "join":
        options["region"] = tuple(sorted(_region(node)))
    if node.type == "try":
        handlers = one_or_list(node.raw.get("catch", []))
        options["as"] = tuple(handler.get("as", "error") for handler in handlers)
    return options


@cache
def _default_of(node_type: str, key: str) -> Any:
    """Format 1's default of a key that may hold an expression (day-one 14)."""
    fields = {field.alias or name: field for name, field in CLOSED[node_type].model_fields.items()}
    return None if fields[key].is_required() else fields[key].default


@cache
def _is_required(node_type: str, key: str) -> bool:
    return any(field.is_required() for name, field in CLOSED[node_type].model_fields.items() if (field.alias or name) == key)


@cache
def _option_defaults(node_type: str) -> Mapping[str, tuple[Literal["fixed", "quorum"], Any]]:
    """Format 1's defaults of the keys that are fixed when saved (day-one 14)."""
    fields = {field.alias or name: field for name, field in CLOSED[node_type].model_fields.items()}
    return {
        key: ("fixed" if role.name == "fixed" else "quorum", None if fields[key].is_required() else fields[key].default)
        for key, role in roles(node_type).items()
        if role.name in ("fixed", "quorum")
    }


def _region(join: Node) -> set[int]:
    """Rule 19: every node all of whose forward paths lead into the join."""
    region: set[int] = set()
    for node in reversed(join.scope.order):
        leads = node.outgoing and all(edge.target is join or edge.target.index in region for edge in node.outgoing)
        if leads and join.scope.is_before(node, join):
            region.add(node.index)
    return region
