"""A place: one node instance at the moment a step looks at it, with all that an element may ask and the facts it may state."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from perdure.definition.plan import Edge, NodePlan
from perdure.engine import events
from perdure.engine.codec import INLINE_MAX, encode_value, handle_for
from perdure.engine.edges import BROKEN, LIVE, resolution
from perdure.engine.execution import FINAL, SUCCEEDED, Instance
from perdure.engine.index import FrameIndex
from perdure.engine.names import FrameNames, edge_error
from perdure.errors import Failure
from perdure.expressions import (
    TASK_OPERATIONS,
    TASK_TOUCHED,
    Budget,
    Constant,
    Expression,
    ExpressionError,
    Names,
    PlainNames,
    Template,
    parse_duration,
)
from perdure.ids import instance_path

if TYPE_CHECKING:
    from perdure.engine.machine import Step

NO_PARAMS = Raw(encode_value({}))

_duration = lru_cache(4_096, typed=True)(parse_duration)  # typed: `true` is no duration, though it equals 1


class NodeRefused(Exception):
    """The node cannot do what it was asked; `failure` is how it fails."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.title)
        self.failure = failure


def expression_failure(error: ExpressionError, where: str) -> Failure:
    """An expression that could not be evaluated, as the failure of its node (rule 7): wrong for good, so never retried."""
    return Failure(
        code=error.code,
        title=error.message,
        category="validation",
        retryable=False,
        detail=f"in `{where}`, line {error.line}, column {error.column}: {error.source}"
        + (f" — {error.remedy}" if error.remedy else ""),
    )


class Place:
    """One node instance, now."""

    __slots__ = ("_draws", "_live", "_names", "given", "node", "opened", "step", "visit")

    def __init__(self, step: Step, opened: FrameIndex, node: NodePlan) -> None:
        self.step = step
        self.opened = opened
        self.node = node
        self.visit = opened.frame.visit_of(node.id)
        self.given = events.NOTHING  # parameters by an operator, in place of those under `with:`
        self._names: FrameNames | None = None
        self._draws = 0
        self._live: list[Edge] | None = None

    # -- what it may ask ----------------------------------------------------------------------------------------------

    @property
    def at(self) -> int:
        return self.step.at

    @property
    def path(self) -> str:
        return instance_path(self.opened.frame.path, self.node.id, self.visit)

    def instance(self) -> Instance | None:
        return self.opened.frame.instances.get(self.node.id)

    def names(self) -> FrameNames:
        """What this node's expressions see."""
        if self._names is None:
            bound: dict[str, Any] = {}
            if self.node.incoming or self.opened.frame.returned:
                bound["incoming"] = self._incoming
                bound["error"] = self._error
            self._names = FrameNames(self.step.execution, self.step.index, self.opened, self.at, self.path, bound)
        return self._names

    def live_edges(self) -> list[Edge]:
        """The incoming edges that are live, in the order of `after`."""
        if self._live is None:
            self.first_broken()
        assert self._live is not None, "resolving the edges finds the live ones"
        return self._live

    def first_broken(self) -> Edge | None:
        """The first incoming edge that is broken, if any; finds the live ones on the way."""
        scope, instances = self.opened.scope, self.opened.frame.instances
        nodes, on_failure = scope.nodes, scope.on_failure
        live: list[Edge] = []
        broken: Edge | None = None
        for edge in self.node.incoming:
            source = nodes[edge.source]
            instance = instances.get(source.id)
            if instance is None or instance.state < FINAL:
                continue
            resolved = resolution(edge, source, instance, on_failure)
            if resolved is LIVE:
                live.append(edge)
            elif resolved is BROKEN and broken is None:
                broken = edge
        self._live = live
        return broken

    def _source(self, edge: Edge) -> Instance:
        return self.opened.frame.instances[self.opened.scope.nodes[edge.source].id]

    def _error(self) -> Any:
        """The failure whose edge led here (rule 10), else that of the handler around. Raises KeyError where there is none."""
        try:
            return edge_error(self.opened, self.node)
        except KeyError:
            return self.names().around("error")

    def _incoming(self) -> Any:
        live = self.live_edges()
        if not live:
            return None
        if len(live) == 1:
            return self._output_of(live[0])
        return {edge.entry: self._output_of(edge) for edge in live}

    def incoming_outputs(self) -> list[Raw]:
        """The outputs of the live predecessors, as the journal has them."""
        return [self._source(edge).output for edge in self.live_edges()]

    def _output_of(self, edge: Edge) -> Any:
        source = self._source(edge)
        if source.state != SUCCEEDED:
            return None
        return self.step.index.value((self.opened.frame.path, source.node), source.output)

    def evaluate(self, template: Template | Expression, where: str, names: Names | None = None) -> Any:
        """The value of a template within the step's budget. Raises NodeRefused with the failure of rule 7."""
        if template.__class__ is Constant:
            return template.value
        budget = Budget()
        budget.draws = self._draws  # `random()` counts its calls over all expressions of the instance (day-one 12)
        try:
            return template.evaluate(self.names() if names is None else names, budget)
        except ExpressionError as error:
            raise NodeRefused(expression_failure(error, where)) from error
        finally:
            self._draws = budget.draws

    def key(self, name: str, default: Any = None) -> Any:
        """The value of one of the node's own keys; `default` where the author left it out."""
        template = self.node.keys.get(name)
        return default if template is None else self.evaluate(template, name)

    def text(self, name: str, default: str = "") -> str:
        """The value of a key that must be text."""
        value = self.key(name, default)
        if not isinstance(value, str):
            raise NodeRefused(_wrong_type(name, "text", value))
        return value

    def boolean(self, expression: Template | Expression, where: str, names: Names | None = None) -> bool:
        """The value of a condition; anything but true or false fails the node (rule 7)."""
        value = self.evaluate(expression, where, names)
        if value is True or value is False:
            return value
        raise NodeRefused(_wrong_type(where, "true or false", value))

    def duration(self, template: Template | None, where: str, names: Names | None = None) -> int:
        """A duration in microseconds; 0 where there is none."""
        if template is None:
            return 0
        value = self.evaluate(template, where, names)
        try:
            return _duration(value)
        except (ValueError, TypeError, ExpressionError) as error:
            raise NodeRefused(
                Failure(
                    code="duration.invalid", title=f"`{where}` is no duration: {error}", category="validation", retryable=False
                )
            ) from error

    def params(self) -> Raw:
        """What stands under `with:`, evaluated and encoded; encoded once where it is constant."""
        template = self.node.params
        if self.given is not events.NOTHING:
            return self.given
        if template is None:
            return NO_PARAMS
        if template.is_constant:
            return _constant(template) or self.encoded(self.evaluate(template, "with"))
        return self.encoded(self.evaluate(template, "with"))

    def encoded(self, value: Any) -> Raw:
        """A value as the journal keeps it: inline, or as a handle with its body among the step's blobs."""
        return self.step.encoded(value)

    # -- what it may state --------------------------------------------------------------------------------------------

    def done(self, output: Any = None, ports: tuple[str, ...] = ("out",)) -> events.Done:
        """It succeeded, without an attempt."""
        return self.done_with(self.encoded(output), ports=ports)

    def done_with(self, output: Raw, **fields: Any) -> events.Done:
        """It succeeded with an output as the journal has it; a container's attempt began when it became ready."""
        instance = self.instance()
        began = instance.ready if instance is not None and instance.progress is not None and instance.ready else self.at
        return events.Done(
            frame=self.opened.frame.path, node=self.node.id, visit=self.visit, output=output, started=began, finished=self.at,
            attempt=instance.attempt if instance is not None and instance.progress is not None else 0, **fields,
        )  # fmt: skip

    def waiting(self, kind: str, *, timed: bool = True, **fields: Any) -> events.Waiting:
        """It waits, and holds no slot; at most until its `deadline`, and where it is `timed` for its `timeout` (43, 46)."""
        return events.Waiting(
            frame=self.opened.frame.path, node=self.node.id, visit=self.visit, kind=kind, **fields,
            timeout_at=self.after(self.node.timeout, "timeout") if timed else 0, deadline_at=self.deadline_at(),
        )  # fmt: skip

    def after(self, template: Template | None, where: str, names: Names | None = None) -> int:
        """When this duration from now on will be over, microseconds UTC; 0 where there is none."""
        duration = self.duration(template, where, names)
        return self.at + duration if duration else 0

    def deadline_at(self) -> int:
        """When all its attempts must be over (rule 43): from its becoming ready, which an earlier attempt or wait has noted."""
        instance = self.instance()
        return instance.deadline_at if instance is not None and instance.ready else self.after(self.node.deadline, "deadline")

    def ready(self) -> int:
        """When it became ready, microseconds UTC."""
        instance = self.instance()
        return instance.ready if instance is not None and instance.ready else self.at


@lru_cache(8_192)
def _constant(template: Template) -> Raw | None:
    """A constant template's encoded value; None where it is large and belongs among the blobs of each step."""
    body = encode_value(template.evaluate(PlainNames({}), Budget(TASK_OPERATIONS, TASK_TOUCHED)))
    return Raw(body) if len(body) <= INLINE_MAX else None


def _wrong_type(where: str, wanted: str, value: Any) -> Failure:
    return Failure(
        code="expression.type",
        title=f"Expected `{where}` to be {wanted}, but it is {type(value).__name__} {str(value)[:80]!r}.",
        category="validation",
        retryable=False,
    )


def encode_bounded(value: Any, blobs: Callable[[bytes, bytes], None]) -> Raw:
    """Encode a value; above INLINE_MAX bytes hand its body to `blobs(digest, body)` and give the handle."""
    body = encode_value(value)
    if len(body) <= INLINE_MAX:
        return Raw(body)
    handle, digest = handle_for(body)
    blobs(digest, body)
    return handle
