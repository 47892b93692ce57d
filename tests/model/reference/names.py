"""What expressions see, looked up from the inside out (rules 7, 8, 10), and how they are evaluated."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from perdure.definition.graph import Entry, Node
from perdure.errors import Failure
from perdure.expressions import (
    Budget,
    ExpressionError,
    Template,
    compile_condition,
    compile_template,
    format_time,
    parse_duration,
)
from reference.edges import resolution
from reference.shape import error_ports
from reference.state import Frame, Instance, World, Wrong

BUDGET = (1_000_000, 16_000_000)


class Sight:
    """Names as they are seen by a node in a frame, or by a frame as a whole; `own` are laid over them."""

    def __init__(self, world: World, frame: Frame, instance: Instance | None = None, own: Mapping[str, Any] | None = None):
        self.world = world
        self.frame = frame
        self.instance = instance
        self.own = own or {}
        self.at = world.at
        self.seed = b"reference"

    def root(self, name: str) -> Any:
        """The value of a name that is no family. Raises KeyError."""
        if name in self.own:
            return self.own[name]
        if name in EVERYWHERE:
            return EVERYWHERE[name](self.world)
        if name == "vars":
            return variables_in_sight(self.frame)
        if name == "incoming" and self.instance is not None:
            return incoming(self.instance)
        return self._bound(name)

    def _bound(self, name: str) -> Any:
        """What the node's edges bind, then its frame, then the node around, and so on."""
        instance: Instance | None = self.instance
        frame: Frame | None = self.frame
        while frame is not None:
            if name == "error" and instance is not None and leads_from_failure(instance.node):
                return error_of(instance).as_value()
            if name in frame.bound:
                return frame.bound[name]
            instance, frame = frame.holder, frame.outer
        raise KeyError(name)

    def member(self, family: str, name: str) -> Any:
        """A member of `nodes`, `state` or `previous`. Raises KeyError."""
        for frame in in_sight(self.world, self.frame):
            if name in frame.instances:
                return FAMILIES[family](frame, frame.instances[name])
        raise KeyError(name)


def about(world: World) -> dict[str, Any]:
    """What `execution` says, as far as a reference needs it."""
    return {"workflow": world.document["name"], "started": format_time(world.started_at), "priority": 3}


EVERYWHERE: dict[str, Callable[[World], Any]] = {
    "input": lambda world: world.input, "trigger": lambda world: None, "execution": about,
}  # fmt: skip


def in_sight(world: World, frame: Frame) -> Iterator[Frame]:
    """The frame and those around it; catch, finally and compensation also see the body's nodes."""
    inner: Frame | None = frame
    while inner is not None:
        yield inner
        if inner.kind in ("catch", "finally", "compensate") and inner.holder is not None:
            attempt = inner.attempt if inner.kind != "compensate" else inner.holder.attempt
            for body in world.frames:
                if body.path == _body_path(inner.holder, attempt):
                    yield body
        inner = inner.outer


def _body_path(holder: Instance, attempt: int) -> str:
    return f"{holder.path}.body" if attempt <= 1 else f"{holder.path}~{attempt}.body"


def variables_in_sight(frame: Frame) -> dict[str, Any]:
    """Every variable by name, the nearest declaration first (rule 49)."""
    outer = {} if frame.outer is None else variables_in_sight(frame.outer)
    return {**outer, **frame.variables}


# -- what is known of a node ----------------------------------------------------------------------------------------------
def output_of(frame: Frame, instance: Instance) -> Any:
    """Null unless it succeeded (rule 8)."""
    return instance.output if instance.state == "succeeded" else None


def previous_of(frame: Frame, instance: Instance) -> Any:
    """The output of the newest earlier visit that succeeded (rule 35)."""
    earlier = [past for past in frame.past if past.node is instance.node and past.state == "succeeded"]
    return earlier[-1].output if earlier else None


def state_of(frame: Frame, instance: Instance) -> dict[str, Any]:
    """Status, error, attempts, visit and times."""
    error = instance.error if instance.state in ("failed", "parked") else None
    return {
        "status": instance.state,
        "error": None if error is None else error.as_value(),
        "attempts": instance.attempt,
        "visit": instance.visit,
        "started": None if instance.started_at is None else format_time(instance.started_at),
        "finished": None if instance.finished_at is None else format_time(instance.finished_at),
        **({"winners": list(instance.winners)} if instance.node.type in ("join", "parallel") else {}),
    }


FAMILIES: dict[str, Callable[[Frame, Instance], Any]] = {
    "nodes": output_of, "previous": previous_of, "state": state_of,
}  # fmt: skip


def live_entries(instance: Instance) -> list[Entry]:
    """The edges that are live, in the order of `after`; the edge back that led to this visit among them."""
    live = [entry for entry in instance.node.incoming if resolution(instance.frame, entry) == "live"]
    if instance.led_back is not None:
        live.append(instance.led_back.entry)
    return [entry for entry in instance.node.entries if entry in live]


def incoming(instance: Instance) -> Any:
    """The output of the one live predecessor, or an object by `after` entry (rule 8)."""
    sources = {entry.text: instance.frame.instances[entry.source_id] for entry in live_entries(instance)}
    outputs = {text: output_of(instance.frame, source) for text, source in sources.items()}
    if len(outputs) > 1:
        return outputs
    return next(iter(outputs.values()), None)


def leads_from_failure(node: Node) -> bool:
    """Whether an edge of failure leads straight to the node, so that `error` is bound (rule 10)."""
    return any(
        entry.source is not None and entry.port in error_ports(entry.source) for entry in (*node.incoming, *node.again_in)
    )  # fmt: skip


def error_of(instance: Instance) -> Failure:
    """The failure of the first live error edge in the order of `after`. Raises KeyError."""
    if instance.led_back is not None and instance.led_back.error is not None:
        return instance.led_back.error
    for entry in live_entries(instance):
        failure = instance.frame.instances[entry.source_id].error
        if entry.source is not None and entry.port in error_ports(entry.source) and failure is not None:
            return failure
    raise KeyError("error")


# -- evaluating -----------------------------------------------------------------------------------------------------------
def evaluate(sight: Sight, raw: Any, place: str) -> Any:
    """The value of what stands in the document. Raises Wrong, of category validation."""
    try:
        return compiled(raw).evaluate(sight, Budget(*BUDGET))
    except ExpressionError as error:
        raise Wrong(_failure(sight, error, place)) from None


def compiled(raw: Any) -> Template:
    return compile_template(raw)


def holds(sight: Sight, raw: Any, place: str) -> bool:
    """Whether a condition is true. What is no boolean is an error (rule 7). Raises Wrong."""
    try:
        value = compile_condition(raw).evaluate(sight, Budget(*BUDGET))
    except ExpressionError as error:
        raise Wrong(_failure(sight, error, place)) from None
    if type(value) is not bool:
        raise invalid(sight.instance, "expression.type", f"{place}: Expected true or false, but got {value!r}.")
    return value


def _failure(sight: Sight, error: ExpressionError, place: str) -> Failure:
    node = "" if sight.instance is None else sight.instance.path
    return Failure(
        code=error.code, title=error.message, category="validation", detail=f"{place}: {error}", retryable=False, node=node
    )


def invalid(instance: Instance | None, code: str, title: str) -> Wrong:
    """A failure of category validation, which is never retried."""
    node = "" if instance is None else instance.path
    return Wrong(Failure(code=code, title=title, category="validation", retryable=False, node=node))


def duration(sight: Sight, raw: Any, place: str) -> int | None:
    """Microseconds; None where there is none, or where it is 0 and so no limit (rule 43). Raises Wrong."""
    return None if raw is None else length(sight, raw, place) or None


def length(sight: Sight, raw: Any, place: str) -> int:
    """Microseconds of something that must be a duration. Raises Wrong."""
    value = evaluate(sight, raw, place)
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return parse_duration(value)
    except ValueError:
        pass
    raise invalid(sight.instance, "duration.invalid", f"{place}: Expected a duration, but got {value!r}.")


# -- remembering ----------------------------------------------------------------------------------------------------------
def remembered(instance: Instance) -> Instance:
    """The instance in a copy of its frame, and of the frames around it, as they are now (rule 39)."""
    return _remembered_frame(instance.frame).instances[instance.node.id]


def _remembered_frame(frame: Frame) -> Frame:
    kept = copy.copy(frame)
    kept.variables = dict(frame.variables)
    kept.bound = dict(frame.bound)
    kept.past = list(frame.past)
    kept.instances = {name: copy.copy(each) for name, each in frame.instances.items()}
    for each in kept.instances.values():
        each.frame = kept
    if frame.outer is not None and frame.holder is not None:
        kept.outer = _remembered_frame(frame.outer)
        kept.holder = kept.outer.instances[frame.holder.node.id]
    return kept
