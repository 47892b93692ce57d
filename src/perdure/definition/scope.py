"""The scope, a graph of nodes, and what every node of it may say, whatever its type.

A key's role (template, condition, option, scope) is part of its type, so checker and compiler read it here and in `nodes.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from perdure.definition.fields import (
    Codes,
    Condition,
    Duration,
    Name,
    OnFailure,
    Positive,
    Role,
    RunsOn,
    Strict,
    Ui,
    Value,
    absent,
    one_or_list,
)

TAG = "\0"
"""Opens the tags of unions inside the places of the model's errors: no key can hold it, so places translate back."""


def _shape(value: Any) -> str:
    return f"{TAG}mapping" if isinstance(value, dict) else f"{TAG}other"


class Edge(Strict):
    """An incoming edge written out: needed for edges that go back."""

    from_: str = Field(alias="from", description="The node, or node and port: `ready.false`.")
    again: bool = Field(False, description="Goes back: gives its target and all that follows a fresh visit.")
    max_visits: int = Field(0, ge=1, description="How many visits there may be; obligatory with `again`.")


AfterEntry = Annotated[Annotated[str, Tag(f"{TAG}other")] | Annotated[Edge, Tag(f"{TAG}mapping")], Discriminator(_shape)]
AfterList = Annotated[list[AfterEntry], BeforeValidator(one_or_list)]


class Retry(Strict):
    """One retry policy (rule 42). `attempts` counts the first one."""

    attempts: Positive = 3
    backoff: Literal["fixed", "linear", "exponential"] = "exponential"
    initial: Duration = "1s"
    max: Duration = "5m"
    factor: float = Field(2.0, ge=1)
    jitter: bool = True
    on: Codes = Field(default_factory=list)
    not_on: Codes = Field(default_factory=list)


RetryList = Annotated[list[Retry], BeforeValidator(one_or_list), Field(min_length=1)]


class CatchPort(Strict):
    """An error that matches leaves the node by the port `to` (rule 10)."""

    on: Codes = Field(default_factory=list)
    when: Condition = None
    to: Name


class Cache(Strict):
    """Keep the result for executions with the same key (rule 54)."""

    key: Value = None
    ttl: Duration = None
    tags: Value = None
    scope: Literal["tenant", "workflow", "execution"] = "tenant"


class VariableDeclaration(Strict):
    """A variable with its first value, and how writes that are not ordered come together (rule 49)."""

    value: Value = None
    merge: Literal["last", "error", "append", "sum", "max", "min"] | None = None


def is_declaration(value: Any) -> bool:
    """Whether a variable is written out (`{value: 0, merge: sum}`) or is a value by itself."""
    return isinstance(value, dict) and ("value" in value or "merge" in value) and set(value) <= {"value", "merge"}


def _variable_shape(value: Any) -> str:
    return f"{TAG}mapping" if is_declaration(value) else f"{TAG}other"


Variable = Annotated[
    Annotated[VariableDeclaration, Tag(f"{TAG}mapping")] | Annotated[Any, Tag(f"{TAG}other")],
    Discriminator(_variable_shape),
    WithJsonSchema({"description": "A first value, or {value, merge}."}),
]
Variables = dict[str, Variable]


class Scope(Strict):
    """A graph of nodes inside a container."""

    nodes: dict[str, Any] = Field(default_factory=dict)  # judged one by one, each by what its type may say
    vars: Variables = Field(default_factory=dict)
    on_failure: OnFailure = "cancel_siblings"
    output: Value = None
    result: Annotated[Any, Role("value", "after")] = None
    timeout: Duration = None
    ui: Ui = Field(default_factory=dict)


Body = Annotated[Scope, Role("scope")]


class Shared(Strict):
    """What every node may say."""

    title: str = Field("", description="What people read.")
    after: AfterList = Field(
        default_factory=list, description="Where its edges come from: nodes, or ports of nodes (`route.gold`)."
    )
    when: Condition = Field(True, description="Whether it runs, judged when it would start.")
    disabled: bool = Field(False, description="Drawn, but never run.")
    timeout: Duration = Field(None, description="For one attempt, or for a wait.")
    deadline: Duration = Field(None, description="For all attempts, queueing and backoff.")
    queue_timeout: Duration = Field(None, description="For each time it is queued.")
    heartbeat: Duration = Field(None, description="The longest silence of a running attempt.")
    grace: Duration = Field(None, description="Between asking an attempt to stop and killing it.")
    retry: RetryList = Field(default_factory=list, description="One policy or a list; the first that matches counts.")
    catch: Annotated[list[CatchPort], BeforeValidator(one_or_list)] = Field(
        default_factory=list, description="Errors to ports; the first match wins."
    )
    compensate: Scope = absent(description="Undoes the node; run by `rollback`.")
    compensate_on: Literal["success", "attempted"] = Field(
        "success", description="Whether what may have happened is undone as well."
    )
    park: bool = Field(False, description="Keep an unhandled failure for a person. Left out: the workflow's setting.")
    delivery: Literal["at_least_once", "at_most_once"] = Field(
        "at_least_once", description="Whether an effect that may have happened is tried again."
    )
    on_unknown: Literal["retry", "fail", "ask"] = Field(
        "fail", description="What follows when nobody knows whether an effect under `at_most_once` happened."
    )
    crashes_max: int = Field(3, ge=1, description="After so many crashes of its worker the node fails.")
    cache: Cache = absent(description="Keep and share the result.")
    runs_on: RunsOn = absent(description="A worker pool, or labels a worker must have. Left out: any worker.")
    lock: Value = Field(None, description="A key held alone until the node is final.")
    on_timeout: Literal["continue", "fail", "route"] = Field(
        "fail", description="When a wait times out: go on by `out`, fail, or go on by `timeout`."
    )
    ui: Ui = Field(default_factory=dict, description="Positions and notes; no part of the digest.")
