"""Children: what a sub-workflow's start and end do to the node that asked for it (rules 40, 41)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.definition.plan import NodePlan
from perdure.engine import events
from perdure.engine.compensations import names_kept
from perdure.engine.containers import is_left, time_is_over
from perdure.engine.execution import WAITING, Instance
from perdure.engine.failing import fail, withdraw
from perdure.engine.index import FrameIndex
from perdure.errors import Failure
from perdure.ids import ExecutionId, id_text

if TYPE_CHECKING:
    from perdure.engine.machine import Step


def is_awaited(instance: Instance) -> bool:
    """Does the node wait for a child, or for the word that it was started?"""
    return instance.state == WAITING and instance.wait == "child"


def started(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, given: events.Result) -> None:
    """A child that is not waited for was started: the node is done with it."""
    assert instance.progress is not None, "who waits for a child knows which"
    names_kept(step, opened, node)  # before anything is stated
    step.emit(events.Detached(execution=instance.progress.child, on_parent_close=node.options["on_parent_close"]))
    step.emit(
        events.Done(
            frame=opened.frame.path, node=node.id, visit=instance.visit, attempt=instance.attempt, output=given.output,
            started=given.started, finished=given.finished,
        )
    )  # fmt: skip


def ended(step: Step, given: events.ChildEnded) -> None:
    """A child came to its end. The first word counts; one for an attempt that is over is late."""
    token = given.token
    instance = step.execution.instance(token)
    if (
        instance is None
        or not is_awaited(instance)
        or instance.progress is None
        or instance.progress.child != given.child
        or instance.attempt != token.attempt
    ):
        return step.emit(
            events.Late(frame=token.frame, node=token.node, visit=token.visit, attempt=token.attempt, what="child's end")
        )
    opened = step.index.frames[token.frame]
    node = step.index.node(token.frame, token.node)
    if given.status == "succeeded":
        step.emit(
            events.Done(
                frame=token.frame, node=token.node, visit=token.visit, attempt=token.attempt, output=given.output,
                started=instance.ready, finished=step.at,
            )
        )  # fmt: skip
    elif instance.stopping:
        stopped(step, opened, node, instance)
    else:
        fail(step, opened, node, _failure(given), attempt=token.attempt, started=instance.ready, finished=step.at)


def _failure(given: events.ChildEnded) -> Failure:
    child = id_text(ExecutionId(given.child))
    if given.status == "timed_out":
        return Failure(code="timeout.subworkflow", title=f"{child} timed out.", category="timeout", cause=given.error)
    if given.status == "cancelled" or given.error is None:
        return Failure(
            code="subworkflow.cancelled",
            title=f"{child} was cancelled.",
            category="cancelled",
            retryable=False,
            cause=given.error,
        )
    error = given.error
    return Failure(
        code=error.code, title=error.title, category=error.category, retryable=error.retryable, status=error.status,
        detail=f"in {child}", cause=error,
    )  # fmt: skip


def stopped(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, *, let_go: bool = False) -> None:
    """A child that was asked to stop has, or is let go since its time is used."""
    progress = instance.progress
    assert progress is not None, "who waits for a child knows which"
    where: dict[str, Any] = {
        "frame": opened.frame.path, "node": node.id, "visit": instance.visit, "attempt": instance.attempt,
    }  # fmt: skip
    cause = instance.stopping + (f"; {id_text(ExecutionId(progress.child))} had not ended and was let go" if let_go else "")
    if instance.then and not is_left(opened):
        if instance.then == "complete":
            return step.emit(events.Done(**where, finished=step.at))
        return fail(step, opened, node, time_over(node, instance.then), attempt=instance.attempt, finished=step.at,
                    may_retry=instance.then == "timeout")  # fmt: skip
    step.emit(events.NodeCancelled(**where, cause=cause, started=instance.ready, finished=step.at))


def time_over(node: NodePlan, then: str) -> Failure:
    """How a sub-workflow fails whose own time has passed."""
    if then == "timeout":
        return Failure(code="timeout", title=f"`{node.id}` waited for its child until its timeout.", category="timeout")
    return time_is_over(node, then)


def timed_out(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, then: str, cause: str) -> None:
    """The node's time for its child is over: the child is asked to stop, or let go."""
    if node.options["on_cancel"] == "cancel":
        return withdraw(step, opened, node, instance, cause, then=then)
    fail(step, opened, node, time_over(node, then), attempt=instance.attempt, finished=step.at, may_retry=then == "timeout")
