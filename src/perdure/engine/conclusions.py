"""What follows from the state rather than from a single input: frames that are left, frames at their end (rules 2, 12, 30).

Judged only at rest: a short path that has ended must not end an execution whose long path is about to begin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from perdure.definition.plan import NodePlan, ScopePlan
from perdure.engine import events
from perdure.engine.execution import BACKOFF, FAILED, FINAL, RUNNING, SUCCEEDED, WAITING, Departure, Frame, Instance
from perdure.engine.failing import fail
from perdure.engine.index import FrameIndex
from perdure.engine.names import FrameNames
from perdure.engine.place import expression_failure
from perdure.engine.schemas import faults_of
from perdure.errors import Failure
from perdure.expressions import Budget, ExpressionError
from perdure.ids import ExecutionId, child_id

if TYPE_CHECKING:
    from perdure.engine.machine import Step

HANDED_OVER = "on_timeout"
OUTPUT_FAULTS_MAX = 20


def conclude(step: Step) -> bool:
    """Draw one round of conclusions; False when there was nothing to conclude, or the step is full."""
    if step.execution.ended:
        return False
    drawn = False
    for opened in list(step.index.frames.values()):
        if opened.frame.departure is not None and opened.swept < len(opened.scope.nodes):
            drawn |= sweep(step, opened)
        if opened.open == 0 and not step.index.ready and len(step.facts) < step.facts_max:
            end(step, opened)
            return True
    return drawn


def inconclusive(step: Step) -> bool:
    """Was the step cut in the middle of leaving a frame, or before the end of one?"""
    return not step.execution.ended and any(
        opened.open == 0 or (opened.frame.departure is not None and opened.swept < len(opened.scope.nodes))
        for opened in step.index.frames.values()
    )


# -- leaving a frame -----------------------------------------------------------------------------------------------------


def sweep(step: Step, opened: FrameIndex) -> bool:
    """Go through the nodes of a frame that is being left: what has not started is skipped, what runs is asked to stop."""
    departure = opened.frame.departure
    assert departure is not None, "only a frame with a departure is swept"
    if departure.hard:
        return end_hard(step, opened, departure)
    before = len(step.facts)
    for node in opened.scope.nodes[opened.swept :]:
        if len(step.facts) >= step.facts_max and _holds(opened, node, departure):
            break
        _leave(step, opened, node, departure)
        opened.swept = node.index + 1
    return len(step.facts) > before


def _holds(opened: FrameIndex, node: NodePlan, departure: Departure) -> bool:
    """Has leaving still something to say of this node? Not of what is final, is stopping already, or may run to its own end."""
    instance = opened.frame.instances.get(node.id)
    if instance is None:
        return True
    drains = departure.kind == "drain" and instance.state in (RUNNING, WAITING)
    return instance.state < FINAL and not instance.stopping and not drains


def _leave(step: Step, opened: FrameIndex, node: NodePlan, departure: Departure) -> None:
    instance = opened.frame.instances.get(node.id)
    frame = opened.frame.path
    if instance is None:
        return step.emit(events.Skipped(frame=frame, node=node.id, cause=departure.cause))
    if instance.state >= FINAL or instance.stopping:
        return
    drains = departure.kind == "drain"
    if instance.state == RUNNING:
        if not drains:
            step.stop(opened, instance, departure.cause)
    elif instance.state == BACKOFF and drains and instance.error is not None:
        # No retry starts in a draining frame: the failure that was to be retried is the node's end.
        fail(step, opened, node, instance.error, attempt=instance.attempt, may_retry=False)
    elif not (instance.state == WAITING and drains):
        step.emit(
            events.NodeCancelled(
                frame=frame,
                node=node.id,
                visit=instance.visit,
                attempt=instance.attempt,
                cause=departure.cause,
                unknown=instance.question == "unknown" or (node.at_most_once and instance.state == WAITING),
            )
        )


def end_hard(step: Step, opened: FrameIndex, departure: Departure) -> bool:
    """Terminate: everything stops, nothing is waited for, nothing more runs (rule 37)."""
    for other in step.index.frames.values():
        for node in other.scope.nodes:
            instance = other.frame.instances.get(node.id)
            if instance is not None and instance.state == RUNNING and not instance.stopping:
                step.stop(other, instance, departure.cause)
        other.swept = len(other.scope.nodes)
    step.emit(events.Ended(status=_STATUS_OF[departure.kind], error=departure.error))
    return True


# -- the end of a frame --------------------------------------------------------------------------------------------------

_STATUS_OF = {"fail": "failed", "drain": "failed", "cancel": "cancelled", "timeout": "timed_out", "return": "succeeded"}


def end(step: Step, opened: FrameIndex) -> None:
    """All nodes of the root frame are final: the execution ends."""
    departure = opened.frame.departure
    if departure is not None:
        if departure.kind == "return":
            return _succeed(step, opened, departure.value)
        if departure.kind == "timeout":
            _hand_over(step)
        return step.emit(events.Ended(status=_STATUS_OF[departure.kind], error=_with_others(opened.frame, departure.error)))
    failures = unhandled_failures(opened.frame)
    if failures and opened.scope.on_failure == "isolate":
        return step.emit(events.Ended(status="failed", error=_first_with_others(failures)))
    try:
        output = step.encoded(output_of(step, opened))
    except ExpressionError as error:
        return step.emit(events.Ended(status="failed", error=expression_failure(error, "output")))
    _succeed(step, opened, output)


def _succeed(step: Step, opened: FrameIndex, output: Raw) -> None:
    """Success, if the output is what the workflow promises (rule 32)."""
    schema = step.index.plan.output_schema
    faults = faults_of(schema, step.value(output), limit=OUTPUT_FAULTS_MAX) if schema else []
    if not faults:
        return step.emit(events.Ended(status="succeeded", output=output))
    where = f"`{faults[0]['path']}`: " if faults[0]["path"] else ""
    failure = Failure(
        code="output.schema",
        title=f"The workflow's output does not fit its `output_schema`: {where}{faults[0]['message']}",
        category="validation",
        retryable=False,
        data={"faults": faults},
    )
    step.emit(events.Ended(status="failed", error=failure))


def unhandled_failures(frame: Frame) -> list[Instance]:
    """The instances whose failure nobody handled, in the order of the journal."""
    failed = (instance for instance in frame.instances.values() if instance.state == FAILED and not instance.ports)
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
    names = FrameNames(step.execution, step.index, frame, step.at, "(output)")
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


def _hand_over(step: Step) -> None:
    """`on_timeout: retry` starts a new execution of the same definition, `{route: workflow}` one of another."""
    execution, settings = step.execution, step.index.plan.settings
    if settings.on_timeout == "retry":
        attempts = int((settings.retry or {}).get("attempts", 1))
        if execution.attempt < attempts:
            step.emit(
                events.Spawned(
                    execution=child_id(step.at, ExecutionId(execution.id), HANDED_OVER, 1, execution.attempt),
                    relation="retry",
                    input=execution.input,
                    attempt=execution.attempt + 1,
                )
            )
    elif isinstance(settings.on_timeout, dict):
        about = {
            "execution": FrameNames(step.execution, step.index, step.execution.frames[""], step.at, "").root("execution"),
            "input": step.index.value(("", "(input)"), execution.input),
        }
        step.emit(
            events.Spawned(
                execution=child_id(step.at, ExecutionId(execution.id), HANDED_OVER, 1, 0),
                relation="route",
                workflow=str(settings.on_timeout["route"]),
                input=step.encoded(about),
            )
        )
