"""What follows from the state rather than from a single input: frames that are left, frames at their end (rules 2, 12, 30).

Judged only at rest: a short path that has ended must not end an execution whose long path is about to begin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from perdure.definition.plan import NodePlan, ScopePlan
from perdure.engine import conditions, events, returning
from perdure.engine.containers import closed, stop_frames
from perdure.engine.elements import ELEMENTS
from perdure.engine.events import NOTHING
from perdure.engine.execution import BACKOFF, FAILED, FINAL, OPEN, RUNNING, SUCCEEDED, WAITING, Departure, Frame, Instance
from perdure.engine.failing import fail, withdraw
from perdure.engine.index import FrameIndex
from perdure.engine.names import FrameNames
from perdure.engine.outstanding import running
from perdure.engine.place import Place, expression_failure
from perdure.engine.schemas import faults_of
from perdure.errors import Failure
from perdure.expressions import Budget, ExpressionError
from perdure.ids import ExecutionId, child_id

if TYPE_CHECKING:
    from perdure.engine.machine import Step

HANDED_OVER = "on_timeout"
OUTPUT_FAULTS_MAX = 20


def conclude(step: Step) -> bool:
    """Draw one conclusion; False when there was none to draw.

    In this order: the frame that was opened first of those to be swept or ended; the container that was touched first; the
    waits whose condition may have changed.
    """
    index = step.index
    opened = index.next_closing()
    if opened is not None and (opened.is_unswept() or not index.owes(opened)):
        if opened.is_unswept():
            sweep(step, opened)
        else:
            end(step, opened)
        return True
    attention = index.next_attention()
    if attention is not None:
        path, node = attention
        try:
            if node:
                step.advance(index.frames[path], index.node(path, node))
            else:
                returning.advance(step, index.frames[path])
        except BaseException:  # a value is lacking, or the step is full: it is looked at again
            index.attend_again(path, node)
            raise
        return True
    return conditions.judge_all(step)


# -- leaving a frame -----------------------------------------------------------------------------------------------------


def sweep(step: Step, opened: FrameIndex) -> None:
    """Go through the nodes of a frame that is being left: what has not started is skipped, what runs is asked to stop."""
    departure = opened.frame.departure
    assert departure is not None, "only a frame with a departure is swept"
    if departure.hard:
        return end_hard(step, departure, departure.error)
    for node in opened.scope.nodes[opened.swept :]:
        if step.is_full() and not step.sealed:
            return
        _leave(step, opened, node, departure)
        opened.swept = node.index + 1
    step.index.look_at(opened)


def _leave(step: Step, opened: FrameIndex, node: NodePlan, departure: Departure) -> None:
    instance = opened.frame.instances.get(node.id)
    frame = opened.frame
    drains = departure.kind == "drain"
    if instance is None:
        visit = frame.visit_of(node.id)
        return step.emit(events.Skipped(frame=frame.path, node=node.id, visit=visit, cause=departure.cause))
    if instance.state >= FINAL:
        if node.id in opened.inside and not drains:  # frames that outlived their container
            step.emit_all(stop_frames(Place(step, opened, node), departure.cause))
        return
    if instance.stopping or (drains and instance.state in (RUNNING, WAITING, OPEN)):
        return
    if instance.state == BACKOFF and drains and instance.error is not None:
        # No retry starts in a draining frame: the failure that was to be retried is the node's end.
        return fail(step, opened, node, instance.error, attempt=instance.attempt, may_retry=False)
    withdraw(step, opened, node, instance, departure.cause)


def end_hard(step: Step, departure: Departure, error: Failure | None) -> None:
    """Terminate: everything stops, nothing is waited for, nothing more runs (rule 37)."""
    if departure.kind == "return" and step.index.plan.output_schema:
        step.value(departure.value)  # a step that lacks it may have stated nothing (day-one 29)
    for opened, _, instance in list(running(step.index)):
        if not instance.stopping:
            step.stop(opened, instance, departure.cause)
    if departure.kind == "return":
        return _succeed(step, departure.value, error)
    _end_execution(step, _STATUS_OF[departure.kind], error=error)


# -- the end of a frame --------------------------------------------------------------------------------------------------

_STATUS_OF = {"fail": "failed", "drain": "failed", "cancel": "cancelled", "timeout": "timed_out", "return": "succeeded"}


def end(step: Step, opened: FrameIndex) -> None:
    """All nodes of a frame are final: it ends, and its container goes on; the workflow's own ends the execution."""
    frame, departure = opened.frame, opened.frame.departure
    output, error = NOTHING, None
    if departure is not None:
        error = _with_others(frame, departure.error)
    else:
        output, error = _outcome(step, opened)
    container, outer = opened.container, opened.outer
    if container is None or outer is None:
        return _end_workflow(step, opened, output, error)
    fact = closed(opened, value=output, error=error)
    closing = getattr(ELEMENTS[container.type], "closing", None)
    step.emit(fact if closing is None else closing(Place(step, outer, container), opened, fact))


def _outcome(step: Step, opened: FrameIndex) -> tuple[Raw, Failure | None]:
    """The output of a frame that ran to its end, or how it failed."""
    failures = unhandled_failures(opened.frame)
    if failures and opened.scope.on_failure == "isolate":
        return NOTHING, _first_with_others(failures)
    try:
        return step.encoded(output_of(step, opened)), None
    except ExpressionError as error:
        failure = expression_failure(error, "output")
        return NOTHING, msgspec.structs.replace(failure, node=opened.frame.path) if opened.frame.path else failure


def _end_workflow(step: Step, opened: FrameIndex, output: Raw, error: Failure | None) -> None:
    departure = opened.frame.departure
    if departure is None or departure.kind == "return":
        if error is not None:
            return _end_execution(step, "failed", error=error)
        return _succeed(step, output if departure is None else departure.value)
    started = list(_handed_over(step)) if departure.kind == "timeout" else []
    _end_execution(step, _STATUS_OF[departure.kind], error=error, started=started)


def _end_execution(
    step: Step, status: str, *, output: Raw = NOTHING, error: Failure | None = None, started: Sequence[events.Spawned] = ()
) -> None:  # fmt: skip
    """The execution ends, and others start in its place: where it failed, its error workflow. All is known beforehand."""
    also: list[events.Spawned] = []
    workflow = step.index.plan.settings.error_workflow
    if status in ("failed", "timed_out") and workflow and step.execution.relation != ERROR_RELATION:
        execution = step.execution
        about = {**_about(step), "status": status, "error": error.as_value() if error is not None else None}
        child = child_id(step.at, ExecutionId(execution.id), ERROR_RELATION, 1, 0)
        also.append(events.Spawned(execution=child, relation=ERROR_RELATION, workflow=workflow, input=step.encoded(about)))
    step.emit_all((*started, *also))
    step.emit(events.Ended(status=status, output=output, error=error))


ERROR_RELATION = "error"
"""What an execution is to the one whose failure it was started for; the failure of such a one starts no further."""


def _succeed(step: Step, output: Raw, left: Failure | None = None) -> None:
    """Success, if the output is what the workflow promises (rule 32). `left`: what could not be cleaned up in its time."""
    schema = step.index.plan.output_schema
    faults = faults_of(schema, step.value(output), limit=OUTPUT_FAULTS_MAX) if schema else []
    if not faults:
        return _end_execution(step, "succeeded", output=output, error=left)
    where = f"`{faults[0]['path']}`: " if faults[0]["path"] else ""
    failure = Failure(
        code="output.schema",
        title=f"The workflow's output does not fit its `output_schema`: {where}{faults[0]['message']}",
        category="validation",
        retryable=False,
        data={"faults": faults},
    )
    _end_execution(step, "failed", error=failure)


def unhandled_failures(frame: Frame) -> list[Instance]:
    """The instances whose failure nobody handled, in the order of the journal."""
    failed = (
        instance for instance in frame.instances.values()
        if instance.state == FAILED and not instance.ports and not instance.shielded
    )  # fmt: skip
    return sorted(failed, key=lambda instance: instance.seq)


def _first_with_others(failures: list[Instance]) -> Failure | None:
    first, *others = [instance.error for instance in failures if instance.error is not None]
    return msgspec.structs.replace(first, also=tuple(others)) if others else first


def _with_others(frame: Frame, error: Failure | None) -> Failure | None:
    """The failure that closed the frame, with those that came to an end after it."""
    if error is None:
        return None
    others = tuple(
        instance.error
        for instance in unhandled_failures(frame)
        if instance.error is not None and instance.error.node != error.node
    )
    return msgspec.structs.replace(error, also=others) if others else error


def output_of(step: Step, opened: FrameIndex) -> Any:
    """A scope's output: as authored, else its one sink's output, else those of its sinks by id (rule 33)."""
    scope, frame = opened.scope, opened.frame
    names = FrameNames(step.execution, step.index, opened, step.at, f"{frame.path}(output)")
    if scope.result is not None:
        return scope.result.evaluate(names, Budget())
    if scope.output is not None:
        return scope.output.evaluate(names, Budget())
    sinks = sinks_of(scope)
    if len(sinks) == 1:
        return names.member("nodes", sinks[0].id)
    return {sink.id: names.member("nodes", sink.id) for sink in sinks if _succeeded(frame, sink)}


def sinks_of(scope: ScopePlan) -> list[NodePlan]:
    """The nodes that nothing comes after."""
    return [node for node in scope.nodes if not node.outgoing]


def _succeeded(frame: Frame, node: NodePlan) -> bool:
    instance = frame.instances.get(node.id)
    return instance is not None and instance.state == SUCCEEDED


# -- after a workflow timeout (rule 44) ----------------------------------------------------------------------------------


def _handed_over(step: Step) -> Iterator[events.Spawned]:
    """`on_timeout: retry` starts a new execution of the same definition, `{route: workflow}` one of another."""
    execution, settings = step.execution, step.index.plan.settings
    if settings.on_timeout == "retry":
        if execution.attempt < settings.attempts:
            yield events.Spawned(
                execution=child_id(step.at, ExecutionId(execution.id), HANDED_OVER, 1, execution.attempt),
                relation="retry",
                input=execution.input,
                attempt=execution.attempt + 1,
            )
    elif isinstance(settings.on_timeout, dict):
        yield events.Spawned(
            execution=child_id(step.at, ExecutionId(execution.id), HANDED_OVER, 1, 0),
            relation="route",
            workflow=str(settings.on_timeout["route"]),
            input=step.encoded(_about(step)),
        )


def _about(step: Step) -> dict[str, Any]:
    """What a workflow is told that starts because of this execution."""
    names = FrameNames(step.execution, step.index, step.index.frames[""], step.at, "")
    return {"execution": names.root("execution"), "input": names.root("input")}
