"""A plan is a definition, checked and indexed: immutable, cheap to walk, made anew by every release (day-one 13).

Nodes of a scope are numbered in declaration order; edges and tables speak of those numbers. Ids stay strings in the journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from perdure.definition.spec import Kind, NodeSpec
from perdure.expressions import Expression, Template
from perdure.labels import Labels

OnFailure = Literal["cancel_siblings", "drain", "isolate", "collect", "ignore"]


@dataclass(slots=True, frozen=True, eq=False)
class Edge:
    """From a port of one node to another node of the same scope. `entry` is how `after` names it: `route.gold`, `fetch`."""

    source: int
    port: str
    target: int
    entry: str
    again: bool = False
    visits_max: int = 0  # `max_visits` of an `again` edge


@dataclass(slots=True, frozen=True, eq=False)
class CatchPort:
    """One entry of a node's `catch`: an error whose code or category matches and for which `when` holds leaves by `port`."""

    on: tuple[str, ...]  # exact codes, `prefix.*`, or a category; empty: every code
    port: str
    when: Expression | None = None


@dataclass(slots=True, frozen=True, eq=False)
class RetryPolicy:
    """One retry policy (rule 42). Durations are templates: literals or expressions that give `10s`, `PT10S` or seconds."""

    attempts: Template  # counts the first one
    backoff: Literal["fixed", "linear", "exponential"]
    initial: Template
    maximum: Template
    factor: float
    jitter: bool
    on: tuple[str, ...]  # codes, `prefix.*`, categories; empty: the default set of rule 42
    not_on: tuple[str, ...]


@dataclass(slots=True, frozen=True, eq=False)
class VariablePlan:
    """A variable declared by a scope: its first value and how parallel writes merge (rule 49)."""

    name: str
    value: Template
    merge: Literal["last", "error", "append", "sum", "max", "min"] | None


@dataclass(slots=True, frozen=True, eq=False)
class NodePlan:
    """One node, ready to run. `keys` holds the node's own top-level keys, `params` what stands under `with:`.

    `scopes` holds the bodies of a container by the name they have in paths (`body`, `catch0`, `finally`, a branch's name);
    `options` what is fixed when saved (`need`, `losers`, `match`, `strict`, `loop`…), as plain values of the document.
    """

    index: int
    id: str
    type: str
    kind: Kind
    spec: NodeSpec
    incoming: tuple[Edge, ...]  # without `again` edges
    outgoing: tuple[Edge, ...]  # without `again` edges
    again: tuple[Edge, ...]  # `again` edges that leave this node
    ports: tuple[str, ...]
    keys: Mapping[str, Template]
    params: Template | None
    options: Mapping[str, Any]
    scopes: Mapping[str, ScopePlan]
    when: Expression | None
    catch: tuple[CatchPort, ...]
    handlers: tuple[CatchPort, ...]  # of a `try`: what each takes, and the name of its scope as port
    error_ports: frozenset[str]  # those that only a failure makes live
    has_error_edge: bool
    has_timeout_edge: bool
    retry: tuple[RetryPolicy, ...]
    timeout: Template | None
    deadline: Template | None
    queue_timeout: Template | None
    heartbeat: Template | None
    grace: Template | None
    park: bool | None  # None: the workflow's setting
    disabled: bool
    at_most_once: bool
    on_unknown: Literal["retry", "fail", "ask"]
    crashes_max: int
    on_timeout: Literal["continue", "fail", "route"]
    lock: Template | None
    runs_on: Labels | None  # that a worker must have which carries it out; None: any worker
    cache: Mapping[str, Any] | None
    document: Mapping[str, Any] = field(default_factory=dict)  # the node as authored


@dataclass(slots=True, frozen=True, eq=False)
class ScopePlan:
    """A graph of nodes: the workflow's own, or the body of a container. `path` names it from the root: `charge.body`."""

    path: str
    nodes: tuple[NodePlan, ...]
    number: Mapping[str, int]  # id → index
    starts: tuple[int, ...]  # nodes without incoming edges, in declaration order
    unresolved: tuple[int, ...]  # incoming edges per node: the template of a frame's counters
    on_failure: OnFailure
    output: Template | None
    result: Template | None  # a loop body's `result`
    variables: Mapping[str, VariablePlan]
    timeout: Template | None
    joins: frozenset[int] = frozenset()  # nodes that are looked at each time one of their edges resolves
    asked: frozenset[int] = frozenset()  # those of the joins that have an expression to be asked
    joins_around: Mapping[int, tuple[NodePlan, ...]] = field(default_factory=dict)  # by node: in whose region it lies (rule 19)
    regions: Mapping[int, frozenset[int]] = field(default_factory=dict)  # by target: what an `again` edge resets (rule 35)
    detaching: tuple[str, ...] = ()  # containers whose losers go on, also those that had not begun (rule 19)


@dataclass(slots=True, frozen=True, eq=False)
class Settings:
    """The workflow's settings, with format 1's defaults filled in."""

    timeout: Template | None = None
    soft_timeout: Template | None = None
    on_timeout: Any = "fail"  # fail | terminate | retry | {"route": workflow}
    cleanup: Template | None = None
    priority: int = 3
    park: bool = False
    error_workflow: str | None = None
    depth_max: int = 32
    attempts: int = 1  # executions that `on_timeout: retry` may start in all, the first one included
    rest: Mapping[str, Any] = field(default_factory=dict)  # settings whose engine is elsewhere (concurrency, …)


@dataclass(slots=True, frozen=True, eq=False)
class Plan:
    """A whole workflow. `digest` is the definition's; `lock` pins the major version of every node type it uses."""

    name: str
    title: str
    digest: str
    lock: Mapping[str, int]
    root: ScopePlan
    settings: Settings
    input_schema: Mapping[str, Any] | None
    output_schema: Mapping[str, Any] | None
    triggers: tuple[Mapping[str, Any], ...]
    document: Mapping[str, Any]
    scopes: Mapping[str, ScopePlan]  # all of them, by their paths
    pooled: bool  # is there a node among them that asks for labels?
    cleans_up: bool  # is there a scope among them that runs when something is left?
