"""What becomes of a failure: retried, handled by an edge, parked, or left to the frame's policy (rules 11, 13, 14, 53)."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.definition.plan import NodePlan
from perdure.engine import events
from perdure.engine.containers import is_left, stopping
from perdure.engine.edges import shields
from perdure.engine.evolution import FAILURES_MAX
from perdure.engine.execution import OPEN, RUNNING, WAITING, Instance
from perdure.engine.index import FrameIndex
from perdure.engine.names import FrameNames, time_text
from perdure.engine.place import NodeRefused, Place
from perdure.engine.quorums import has_need
from perdure.engine.regions import draining_join, is_shielded
from perdure.engine.retry import matches, next_try
from perdure.errors import Failure
from perdure.expressions import FAMILIES, Expression, Template
from perdure.ids import ExecutionId, effect_key, instance_path, is_inside

if TYPE_CHECKING:
    from perdure.engine.machine import Step


def fail(
    step: Step, opened: FrameIndex, node: NodePlan, failure: Failure, *, attempt: int = 0, started: int = 0,
    finished: int = 0, may_retry: bool = True, may_park: bool = True,
) -> None:  # fmt: skip
    """Offer a failure to whoever may handle it, in the order of rule 11."""
    frame = opened.frame
    instance = frame.instances.get(node.id)
    visit = frame.visit_of(node.id)
    where: dict[str, Any] = {"frame": frame.path, "node": node.id, "visit": visit, "attempt": attempt}
    spent: dict[str, Any] = {"started": started, "finished": finished}
    failure = msgspec.structs.replace(failure, node=failure.node or instance_path(frame.path, node.id, visit))
    left = frame.departure is not None or is_left(opened)
    may_retry = may_retry and attempt > 0 and not left and draining_join(opened, node) is None
    if instance is not None and may_retry and not instance.by_hand:
        again, failure = _next_try(step, opened, node, instance, failure)
        if again is not None:
            paused = step.at - step.execution.paused_at if step.execution.paused_at else 0
            return step.emit(
                events.Retrying(**where, **spent, error=failure, policy=again[0], due=again[1], paused=paused)
            )  # fmt: skip
    if instance is not None and instance.failures:
        failure = msgspec.structs.replace(failure, attempts=_attempts(instance, failure, attempt, started, finished))
    ports = _handling_port(step, opened, node, failure)
    shielded = not ports and is_shielded(opened, node)
    if may_park and parks(step, opened, node, failure):
        return step.emit(events.Parked(**where, error=failure))
    step.emit(events.NodeFailed(**where, **spent, error=failure, ports=ports, shielded=shielded))
    if not ports and not shielded and not left:
        unhandled(step, opened, node, failure)


def _attempts(instance: Instance, last: Failure, attempt: int, started: int, finished: int) -> tuple[dict[str, Any], ...]:
    """Every attempt that failed, the last one included, as people and expressions read it."""
    ends = [*instance.failures]
    if attempt:
        ends.append({"attempt": attempt, "code": last.code, "title": last.title, "started": started, "finished": finished})
    return tuple(
        {**end, "started": _moment(end["started"]), "finished": _moment(end["finished"])} for end in ends[-FAILURES_MAX:]
    )


def _moment(at: int) -> str | None:
    return time_text(at) if at else None


def _next_try(
    step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, failure: Failure
) -> tuple[tuple[int, int] | None, Failure]:
    if not node.retry:
        return None, failure
    place = Place(step, opened, node)
    key = effect_key(ExecutionId(step.execution.id), place.path, instance.visit, instance.generation)
    try:
        return next_try(node, instance, failure, step.at, key, lambda template: place.evaluate(template, "retry")), failure
    except NodeRefused as refused:
        wrong = refused.failure
    except (TypeError, ValueError) as error:
        title = f"`retry` cannot be followed: {error}"
        wrong = Failure(code="retry.invalid", title=title, category="validation", retryable=False)
    # The policy itself is wrong: that is the news, and the failure its cause.
    return None, msgspec.structs.replace(wrong, node=failure.node, cause=failure)


def _handling_port(step: Step, opened: FrameIndex, node: NodePlan, failure: Failure) -> tuple[str, ...]:
    """The port of the node that takes this failure (rule 10): its `catch`, then `timeout`, then `error`."""
    if failure.category != "cancelled":
        for caught in node.catch:
            if (not caught.on or matches(caught.on, failure)) and (
                caught.when is None or _catches(step, opened, node, caught.when, failure)
            ):
                return (caught.port,)
    if failure.category == "timeout" and node.has_timeout_edge:
        return ("timeout",)
    if node.has_error_edge and failure.category != "cancelled":
        return ("error",)
    return ()


def _catches(step: Step, opened: FrameIndex, node: NodePlan, when: Expression, failure: Failure) -> bool:
    """A catch condition that cannot be evaluated does not match: the failure at hand matters more than it."""
    place = Place(step, opened, node)
    seen = FrameNames(
        step.execution, step.index, opened, step.at, place.path,
        {"error": failure.as_value()},
    )  # fmt: skip
    try:
        return place.evaluate(when, "catch", seen) is True
    except NodeRefused:
        return False


def parks(step: Step, opened: FrameIndex, node: NodePlan, failure: Failure, *, by_edges: bool = True) -> bool:
    """Would nobody but the execution's own end take this failure, and are people asked first (rule 14)?

    `by_edges`: may an edge of the node take it?

    A container does not ask about the failure of a node inside it, unless it says `park` itself: that node was asked about.
    """
    if (
        opened.frame.departure is not None
        or is_left(opened)
        or (by_edges and _handling_port(step, opened, node, failure))
        or is_shielded(opened, node)
    ):
        return False
    own = _is_own(failure.node, instance_path(opened.frame.path, node.id, opened.frame.visit_of(node.id)), node)
    wanted = (step.index.plan.settings.park and own) if node.park is None else node.park
    return wanted and not _is_handled_further_out(step, opened, failure, asks=node.park is True)


def _is_own(failed: str, path: str, node: NodePlan) -> bool:
    """Is it the node itself that has failed, or one of its frames as such, so that nobody was asked about it?"""
    if failed == path or not is_inside(failed, path):
        return failed == path
    inside = re.sub(r"^~\d+", "", failed[len(path) :])
    return inside[1:] in node.scopes or re.fullmatch(r"\[\d+]", inside) is not None


def _is_handled_further_out(step: Step, opened: FrameIndex, failure: Failure, *, asks: bool) -> bool:
    """Does the frame, or a container around it, take a failure that nobody on its node takes (rule 11)?

    A rollback goes on with the other compensations, unless the node that failed `asks` by its own `park`.
    """
    here = opened
    while True:
        if here.scope.on_failure in ("collect", "ignore"):
            return True
        if here.frame.compensates:
            return not asks
        container, outer = here.container, here.outer
        if container is None or outer is None:
            return False
        instance = outer.instance(container)
        assert instance is not None, "a frame's container is an instance"
        if (
            instance.final  # what it left behind concerns nobody
            or _takes(step, here, container, instance, failure)
            or _handling_port(step, outer, container, failure)
            or is_shielded(outer, container)
            or (container.retry and _next_try(step, outer, container, instance, failure)[0] is not None)
        ):
            return True
        here = outer


def _takes(step: Step, frame: FrameIndex, container: NodePlan, instance: Instance, failure: Failure) -> bool:
    """Does a container live with the failure of this frame of its?"""
    progress = instance.progress
    if container.type == "try":
        return frame.frame.name == "body" and handler_for(step, frame, container, failure) >= 0
    if container.type == "parallel" or frame.frame.index >= 0:
        policy = container.options["on_failure"]
        tolerated = progress is not None and progress.failed < progress.tolerate
        return policy in ("collect", "ignore") or tolerated or (has_need(container) and shields(container, policy))
    return False


def handler_for(step: Step, opened: FrameIndex, node: NodePlan, failure: Failure) -> int:
    """The number of the first handler of a `try` that matches a failure; -1 when there is none. `opened`: its body's frame."""
    if failure.category == "cancelled":
        return -1
    for number, caught in enumerate(node.handlers):
        if (not caught.on or matches(caught.on, failure)) and (
            caught.when is None or _catches(step, opened, node, caught.when, failure)
        ):
            return number
    return -1


def unhandled(step: Step, opened: FrameIndex, node: NodePlan, failure: Failure) -> None:
    """Nobody on the node handles it: the frame's `on_failure` speaks (rule 13)."""
    kind = {"cancel_siblings": "fail", "drain": "drain"}.get(opened.scope.on_failure)
    if kind is None:
        return
    step.emit(
        events.Departing(
            frame=opened.frame.path, kind=kind, error=failure, cause=f"sibling `{node.id}` failed: {failure.title}"
        )
    )


def withdraw(
    step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, cause: str, *, then: str = "", budget: bool = False
) -> None:  # fmt: skip
    """Ask an active instance away: what runs is asked to stop, what only waits is cancelled at once (rule 12).

    `then`: how it ends when it has stopped, unless cancelled; `complete`: succeeded, with what there is.
    """
    if instance.state == RUNNING:
        return step.stop(opened, instance, cause, then=then)
    if instance.state == OPEN:
        return stopping(step, opened, instance, cause, then=then, budget=budget)
    if instance.state == WAITING and instance.wait == "child" and node.options["on_cancel"] == "cancel":
        return stopping(step, opened, instance, cause, then=then, budget=True)
    where: dict[str, Any] = {"frame": opened.frame.path, "node": node.id, "visit": instance.visit, "attempt": instance.attempt}
    if then == "complete":
        return step.emit(events.Done(**where, finished=step.at))
    unsure = instance.question == "unknown" or (node.at_most_once and instance.state == WAITING and instance.wait == "deferred")
    step.emit(events.NodeCancelled(**where, cause=cause, unknown=unsure))


def lose(
    step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, *, crashed: bool, sent: bool = True
) -> None:  # fmt: skip
    """An attempt was cut off without a result. It is repeated under the same number, unless that is forbidden (52, 53).

    `sent`: may its effect have begun? False when its worker says that it never did. That worker stops: an at-most-once effect
    is asked for by the next home, or nobody could tell then whether it was begun in between.
    """
    look_ahead(step, opened, node)
    frame = opened.frame
    where: dict[str, Any] = {"frame": frame.path, "node": instance.node, "visit": instance.visit, "attempt": instance.attempt}
    given_back = node.at_most_once and not sent and not instance.unbegun
    step.emit(events.Lost(**where, crashed=crashed, unbegun=given_back))
    if given_back:
        return None
    if instance.stopping:
        return stopped(step, opened, node, instance, None, None, sent=sent)
    if node.at_most_once and sent:
        cut = Failure(code="worker.crashed", title="The worker stopped while the effect was under way.", ambiguous=True)
        return unknown(step, opened, node, instance, cut)
    if instance.crashes >= node.crashes_max:
        poison = Failure(
            code="worker.crashed", retryable=False,
            title=f"{instance.crashes} workers died while they ran this node; it is not tried again.",
        )  # fmt: skip
        return fail(step, opened, node, poison, attempt=instance.attempt, may_retry=False)
    if not step.execution.paused_at:  # nothing starts in a pause: it is asked for when that is over (rule 45)
        step.ask(opened, node, instance)


def look_ahead(step: Step, opened: FrameIndex, node: NodePlan) -> None:
    """Read what the node's handlers and policies read: a step that lacks a large value may have stated nothing (day-one 29)."""
    templates: list[Template | Expression] = [caught.when for caught in node.catch if caught.when is not None]
    for policy in node.retry:
        templates += (policy.attempts, policy.initial, policy.maximum)
    names = Place(step, opened, node).names()
    for root, member in sorted(frozenset[tuple[str, str | None]]().union(*(template.reads for template in templates)), key=str):
        with suppress(KeyError):  # `error` is not bound yet
            _ = names.root(root) if member is None or root not in FAMILIES else names.member(root, member)


def stopped(
    step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, result: events.Result | None, cause: Failure | None,
    *, sent: bool = True,
) -> None:  # fmt: skip
    """An attempt that was asked to stop has stopped (rule 12): by its deadline it failed in time, else it was cancelled.

    `sent`: may its effect have begun, where there is no result?
    """
    started, finished = (result.started, result.finished) if result is not None else (0, 0)
    uncertain = node.at_most_once and (sent if result is None else started > 0)
    if instance.then == "complete" and not is_left(opened):
        return step.emit(
            events.Done(
                frame=opened.frame.path, node=instance.node, visit=instance.visit, attempt=instance.attempt, started=started,
                finished=finished or step.at,
            )
        )  # fmt: skip
    drains = opened.frame.departure is not None and opened.frame.departure.kind == "drain"
    if instance.stopping_deadline and (drains or opened.frame.departure is None) and not is_left(opened):
        failure = Failure(
            code="timeout.deadline", title=instance.stopping, category="timeout", retryable=False, cause=cause,
            ambiguous=uncertain,
        )  # fmt: skip
        if uncertain:
            return unknown(step, opened, node, instance, failure, started=started, finished=finished)
        return fail(
            step, opened, node, failure, attempt=instance.attempt, started=started, finished=finished, may_retry=False,
            may_park=False,
        )  # fmt: skip
    step.emit(
        events.NodeCancelled(
            frame=opened.frame.path,
            node=instance.node,
            visit=instance.visit,
            attempt=instance.attempt,
            cause=instance.stopping,
            unknown=uncertain,
            started=started,
            finished=finished,
        )
    )


def unknown(
    step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, error: Failure, *, started: int = 0, finished: int = 0
) -> None:
    """Nobody can say whether an at-most-once effect happened: `on_unknown` decides (rule 53)."""
    path = instance_path(opened.frame.path, node.id, instance.visit)
    failure = Failure(
        code="effect.unknown", title="Nobody can say whether the effect happened.", retryable=False, cause=error, node=path,
        detail="`delivery: at_most_once` forbids a second attempt; `on_unknown` says what then: fail, ask, or retry anyway.",
    )  # fmt: skip
    spent: dict[str, Any] = {"started": started, "finished": finished}
    stays = opened.frame.departure is None and not is_left(opened) and draining_join(opened, node) is None
    if stays and node.on_unknown == "ask":
        return step.emit(
            events.Parked(
                frame=opened.frame.path,
                node=node.id,
                visit=instance.visit,
                attempt=instance.attempt,
                error=failure,
                question="unknown",
            )
        )
    if stays and node.on_unknown == "retry":
        return fail(step, opened, node, error, attempt=instance.attempt, **spent)
    fail(step, opened, node, failure, attempt=instance.attempt, may_retry=False, **spent)
