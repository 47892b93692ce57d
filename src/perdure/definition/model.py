"""The workflow document of format 1: its head, settings and triggers, over the nodes of `nodes.py`.

Every default written here is part of format 1 and stays as it is (day-one 14).
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, create_model

from perdure.definition.fields import (
    Condition,
    Duration,
    Keeping,
    OnFailure,
    Positive,
    Priority,
    Role,
    Schema,
    Slug,
    Strict,
    Texts,
    Ui,
    Value,
    absent,
    one_or_list,
    shown,
)
from perdure.definition.nodes import CLOSED, Own
from perdure.definition.scope import TAG, Variables
from perdure.definition.values import Problem

CRON_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)  # whether an expression can be read does not depend on the day


def _cron(value: str) -> str:
    try:
        next(CronSim(CRON_ALIASES.get(value, value), _SOME_DAY))
    except CronSimError as error:
        message = f"Expected a cron expression of five or six fields, but {shown(value)} is none: {error}."
        raise Problem("trigger.cron", message) from None
    except StopIteration:
        raise Problem("trigger.cron", f"Expected a cron expression that fires, but {shown(value)} never does.") from None
    return value


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _timezone(value: str) -> str:
    if value not in _zones():
        raise Problem("trigger.timezone", f"Expected a time zone like Europe/Berlin, but got {shown(value)}.")
    return value


Cron = Annotated[str, AfterValidator(_cron)]
Timezone = Annotated[str, AfterValidator(_timezone)]


# -- triggers -------------------------------------------------------------------------------------------------------------
class Trigger(Strict):
    """What every trigger may say. `when` and `input` see `trigger`."""

    id: Slug = ""
    title: str = ""
    when: Condition = True
    input: Value = None
    disabled: bool = False
    priority: Priority = absent()
    idempotency_key: Value = None
    ui: Ui = Field(default_factory=dict)


class ManualTrigger(Trigger):
    """Started by a person or a call."""

    type: Literal["manual"]


class WebhookTrigger(Trigger):
    """Started by a delivery to a connector."""

    type: Literal["webhook"]
    connector: Slug
    event: Texts = Field(default_factory=list)
    signature: str | dict[str, Any] = ""
    deduplicate: Value = None
    respond: Literal["accepted", "result"] = "accepted"
    secret: str = ""


class ScheduleTrigger(Trigger):
    """Started by the calendar: a cron expression, or a fixed interval."""

    type: Literal["schedule"]
    cron: Cron = ""
    every: Duration = None
    timezone: Timezone = "UTC"
    overlap: Literal["skip", "buffer", "cancel", "allow"] = "skip"
    catch_up: Literal["none", "last", "all"] = "none"
    start: str = ""
    end: str = ""
    jitter: Duration = None


class EventTrigger(Trigger):
    """Started by events of the event log. `where` sees `event`."""

    type: Literal["event"]
    event: Texts
    source: str = ""
    subject: str = ""
    where: Condition = True
    since: str = ""


Statuses = Annotated[list[Literal["succeeded", "failed", "cancelled", "timed_out"]], BeforeValidator(one_or_list)]


class FinishedTrigger(Trigger):
    """Started when other workflows have finished."""

    type: Literal["finished"]
    workflow: Texts
    need: Literal["all", "any"] = "any"
    status: Statuses = ["succeeded"]
    window: Duration = None
    where: Condition = True


TRIGGERS: dict[str, type[Trigger]] = {
    "manual": ManualTrigger,
    "webhook": WebhookTrigger,
    "schedule": ScheduleTrigger,
    "event": EventTrigger,
    "finished": FinishedTrigger,
}


class UnknownTrigger(Strict):
    """Any other type: refused, with the known ones."""

    type: Literal["manual", "webhook", "schedule", "event", "finished"]


def _trigger_tag(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    return TAG + (kind if isinstance(kind, str) and kind in TRIGGERS else "unknown")


AnyTrigger = Annotated[
    Annotated[ManualTrigger, Tag(TAG + "manual")]
    | Annotated[WebhookTrigger, Tag(TAG + "webhook")]
    | Annotated[ScheduleTrigger, Tag(TAG + "schedule")]
    | Annotated[EventTrigger, Tag(TAG + "event")]
    | Annotated[FinishedTrigger, Tag(TAG + "finished")]
    | Annotated[UnknownTrigger, Tag(TAG + "unknown")],
    Discriminator(_trigger_tag),
]


# -- settings -------------------------------------------------------------------------------------------------------------
class Limit(Strict):
    """At most `limit` at a time, for each `key`; `strategy` says what happens to the rest."""

    limit: Positive
    key: Value = None
    strategy: Literal["queue", "reject", "cancel_oldest", "cancel_newest", "coalesce"] = "queue"


class Rate(Strict):
    """At most `limit` starts `per` time, for each `key`."""

    limit: Positive
    per: Duration
    key: Value = None
    strategy: Literal["queue", "reject", "coalesce"] = "queue"


class Route(Strict):
    """Start another workflow with what happened as its input."""

    route: Slug


def _shape(value: Any) -> str:
    return f"{TAG}mapping" if isinstance(value, dict) else f"{TAG}other"


_OTHER, _MAPPING = Tag(f"{TAG}other"), Tag(f"{TAG}mapping")
OnTimeout = Annotated[
    Annotated[Literal["fail", "terminate", "retry"], _OTHER] | Annotated[Route, _MAPPING], Discriminator(_shape)
]
Concurrency = Annotated[Annotated[Positive, _OTHER] | Annotated[Limit, _MAPPING], Discriminator(_shape)]


class StartAgain(Strict):
    """How often `on_timeout: retry` starts the workflow; `attempts` counts the first execution (rule 44)."""

    attempts: int = Field(ge=1)


class Settings(Strict):
    """How executions of the workflow run."""

    timeout: Duration = None
    soft_timeout: Duration = None
    on_timeout: OnTimeout = "fail"
    cleanup: Duration = "1m"
    priority: Priority = 3
    concurrency: Concurrency = absent()
    rate: Rate = absent()
    queue_max: Positive = None
    on_failure: OnFailure = "cancel_siblings"
    park: bool = False
    error_workflow: Slug = ""
    retry: StartAgain = absent()
    payload_max: Positive = None
    retention: Keeping = Field(None, description="How long its executions are kept after their end, or `forever`.")
    depth_max: int = Field(32, ge=1)
    budget: dict[str, Any] = Field(default_factory=dict)
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Workflow(Strict):
    """A whole definition."""

    perdure: Literal[1] = Field(description="The format's version.")
    name: Slug = Field(description="Unique name; part of addresses.")
    title: str = ""
    description: str = ""
    tags: Texts = Field(default_factory=list)
    input: Schema = Field(default_factory=dict, description="JSON Schema; checked at every start.")
    output_schema: Schema = Field(default_factory=dict, description="JSON Schema of the output.")
    settings: Settings = absent()
    triggers: list[AnyTrigger] = Field(default_factory=list)
    vars: Variables = Field(default_factory=dict)
    nodes: dict[str, Any]  # as in `Scope`
    output: Value = None
    ui: Ui = Field(default_factory=dict)


def closed_types() -> dict[str, type[Own]]:
    """The models of the closed set of node types, by type; every other type is work from the catalogue."""
    return dict(CLOSED)


def own_keys(node_type: str) -> tuple[str, ...]:
    """The keys that belong to one closed type, as the document spells them, in declaration order."""
    fields = CLOSED[node_type].model_fields
    return tuple(field.alias or name for name, field in fields.items() if name != "type")


def keys_schema(node_type: str) -> dict[str, Any]:
    """JSON Schema (type object) of a closed type's own keys, without those that every node has; scopes are plain objects."""
    own: dict[str, Any] = {}
    for name, field in CLOSED[node_type].model_fields.items():
        if name != "type":
            marks = [mark.name for mark in field.metadata if isinstance(mark, Role)]
            own[name] = (_PLAIN_SCOPES.get(marks[-1] if marks else "", field.rebuild_annotation()), field)
    model = create_model(f"{CLOSED[node_type].__name__}Keys", __base__=Strict, **own)
    return model.model_json_schema(by_alias=True)


_PLAIN_SCOPES: dict[str, Any] = {"scope": dict[str, Any], "branches": dict[str, Any], "catch": list[dict[str, Any]]}
