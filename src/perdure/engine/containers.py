"""What all containers share: opening their frames, closing them, being stopped, giving up (rules 30, 37, 38).

A container is advanced whenever something that concerns it has happened, and does one thing then: it opens a frame, leaves one,
ends. What it does next follows from its state alone, and what is ready begins before, so that a step may be cut, and a home may
die, between any two of these things (rule 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from perdure.definition.plan import NodePlan, ScopePlan
from perdure.engine import events
from perdure.engine.events import NOTHING, AnyFact
from perdure.engine.execution import FAILED, FINAL, OPEN, RUNNING, SUCCEEDED, WAITING, Frame, Instance, Progress
from perdure.engine.index import FrameIndex
from perdure.engine.place import NodeRefused, Place
from perdure.engine.regions import draining_join, losing_joins
from perdure.errors import Failure
from perdure.expressions import Names
from perdure.ids import frame_path, instance_path

if TYPE_CHECKING:
    from perdure.engine.machine import Step


# -- beginning -----------------------------------------------------------------------------------------------------------


def opened(place: Place, **fields: Any) -> events.Opened:
    """A container begins an attempt."""
    instance = place.instance()
    return events.Opened(
        frame=place.opened.frame.path, node=place.node.id, visit=place.visit,
        attempt=(instance.attempt if instance is not None else 0) + 1, ready=place.ready(),
        timeout_at=place.after(place.node.timeout, "timeout"), deadline_at=place.deadline_at(), **fields,
    )  # fmt: skip


def progress_of(place: Place) -> Progress:
    """How far the container at this place has come."""
    instance = place.instance()
    assert instance is not None, "a container that has begun is an instance"
    assert instance.progress is not None, "a container that has begun has progress"
    return instance.progress


def open_frame(place: Place, name: str, index: int = -1, names: Names | None = None) -> Iterator[AnyFact]:
    """Enter a scope of the container: its frame, the first values of its variables, which see `names`."""
    instance = place.instance()
    assert instance is not None, "a container that has begun is an instance"
    yield from entered(
        place, place.node.scopes[name], frame_path(place.path, instance.attempt, name, index),
        where=f"{name}.", names=names, blamed=place.path, name=name, index=index,
    )  # fmt: skip


def entered(
    place: Place, scope: ScopePlan, frame: str, *, where: str, names: Names | None, blamed: str, name: str,
    timed_by: Names | None = None, **fields: Any,
) -> Iterator[AnyFact]:  # fmt: skip
    """This frame opens. What cannot be evaluated of it, `where` it stands, is a failure of `blamed` inside it."""
    timeout_at, values = 0, []
    refused: Failure | None = None
    try:
        timeout_at = place.after(scope.timeout, f"{where}timeout", timed_by)
        for variable in scope.variables.values():
            value = place.evaluate(variable.value, f"{where}vars.{variable.name}", names)
            values.append((variable.name, place.encoded(value)))
    except NodeRefused as wrong:
        refused = msgspec.structs.replace(wrong.failure, node=blamed)
    yield events.FrameOpened(
        frame=place.opened.frame.path, node=place.node.id, visit=place.visit, scope=name, timeout_at=timeout_at, **fields
    )
    for variable_name, raw in values:
        yield events.VariableSet(frame=frame, name=variable_name, value=raw)
    if refused is not None:
        yield events.Departing(frame=frame, kind="fail", cause=refused.title, error=refused)


# -- leaving -------------------------------------------------------------------------------------------------------------


def is_left(opened: FrameIndex) -> bool:
    """Is this frame being left, or a frame around it, so that nothing may start in it (rule 31)? A drain is none here."""
    here: FrameIndex | None = opened
    while here is not None:
        frame = here.frame
        if frame.departure is not None and frame.departure.kind != "drain":
            return True
        if here.is_shielded or here.outer is None:
            return False
        instance = here.outer.frame.instances.get(frame.node)
        if instance is not None and (instance.stopping or _has_lost(here.outer, here.container, instance)):
            return True
        here = here.outer
    return False


def _has_lost(outer: FrameIndex, container: NodePlan | None, instance: Instance) -> bool:
    """Are its frames losers, or in flight at a break, so that they are cancelled, though none was told yet (rules 19, 29)?"""
    if container is None:
        return False
    if instance.state >= FINAL:
        return container.options.get("losers") == "cancel"
    if instance.progress is not None and breaks_out(container, instance.progress):
        return bool(container.options.get("in_flight", "cancel") == "cancel")
    return is_loser(outer, container)


def is_loser(opened: FrameIndex, node: NodePlan) -> bool:
    """Has a join ended without this node, so that it is cancelled (rule 19)?"""
    losing = losing_joins(opened, node)
    return bool(losing) and any(join.options["losers"] == "cancel" for join in losing)


def stands_still(place: Place) -> bool:
    """Will the container be asked to stop before anything else, so that it begins nothing (rules 19, 31)?"""
    return is_loser(place.opened, place.node) or is_left(place.opened)


_LEAVES_LOSERS = frozenset({"quorum_unreachable", "timeout.deadline"})


def breaks_out(loop: NodePlan, progress: Progress) -> bool:
    """Has a break decided the loop? Not where it drains for a failure that was first (rule 31)."""
    return bool(progress.breaks) and not (progress.failed_first and loop.options["on_failure"] == "drain")


def others_go_on(place: Place) -> bool:
    """Has it ended by its quorum or deadline, so that under `detach` also those frames begin that had not (rule 19)?"""
    instance = place.instance()
    assert instance is not None
    error = instance.error if instance.state == FAILED else None
    failed_so = error is not None and error.code in _LEAVES_LOSERS and error.node == place.path  # not that of a branch
    decided = failed_so or (instance.state == SUCCEEDED and instance.then != "complete")
    return decided and not is_left(place.opened)


def draining(place: Place) -> str:
    """Why the container lets the frames that have started run to their end, and starts none more (rules 13, 19); else ""."""
    departure = place.opened.frame.departure
    if departure is not None and departure.kind == "drain":
        return departure.cause
    join = draining_join(place.opened, place.node)
    return f"`{join.id}` has ended" if join is not None else ""


def depart(frame: Frame, kind: str, cause: str, **fields: Any) -> Iterator[AnyFact]:
    """A frame is to be left. The first departure stands; a drain gives way, and its error stays (rule 31)."""
    standing = frame.departure
    if standing is None:
        yield events.Departing(frame=frame.path, kind=kind, cause=cause, **fields)
    elif standing.kind == "drain" and kind != "drain":
        kept = {name: fields[name] for name in ("by", "hard", "cleanup_at") if name in fields}
        yield events.Departing(frame=frame.path, kind="fail", cause=cause, error=standing.error, drained=True, **kept)


def stop_frame(place: Place, cause: str, *, budget: bool = False) -> Iterator[AnyFact]:
    """The container takes the next of its frames with it; what cleans up goes on, shielded, within a `budget` (rule 38)."""
    for inner in place.opened.staying.get(place.node.id, {}).values():
        yield from depart(inner.frame, "stop", cause, cleanup_at=cleanup_until(place.step) if budget else 0)
        return


def stop_frames(place: Place, cause: str) -> Iterator[AnyFact]:
    """All of them at once."""
    for inner in list(place.opened.staying.get(place.node.id, {}).values()):
        yield from depart(inner.frame, "stop", cause)


def ended_by_stop(place: Place, partial: Any = None) -> Iterator[AnyFact]:
    """A container that was asked to stop has stopped: it ends as whoever asked wanted. `partial()`: what it has so far."""
    instance = place.instance()
    assert instance is not None
    departed = is_left(place.opened)
    if instance.then == "complete" and not departed:
        yield place.done(partial() if partial is not None else None)
    elif instance.then in ("timeout", "deadline") and not departed:
        raise NodeRefused(time_is_over(place.node, instance.then))
    else:
        yield cancelled(place, instance.stopping)


def time_is_over(node: NodePlan, then: str) -> Failure:
    """How a container fails whose time has passed."""
    if then == "timeout":
        return Failure(code="timeout", title=f"`{node.id}` took longer than its timeout.", category="timeout")
    title = f"the deadline of `{node.id}` passed"
    return Failure(code="timeout.deadline", title=title, category="timeout", retryable=False)


def cancelled(place: Place, cause: str, **fields: Any) -> events.NodeCancelled:
    """The instance at this place was cancelled."""
    instance = place.instance()
    attempt = instance.attempt if instance is not None else 0
    return events.NodeCancelled(
        frame=place.opened.frame.path, node=place.node.id, visit=place.visit, attempt=attempt, cause=cause, **fields
    )


def stopping(step: Step, opened: FrameIndex, instance: Instance, cause: str, *, then: str = "", budget: bool = False) -> None:
    """Ask a container to stop. `budget`: it is left by a cancel or a timeout of its own, which limits its cleanup (rule 38)."""
    step.emit(
        events.Stopping(
            frame=opened.frame.path, node=instance.node, visit=instance.visit, cause=cause, then=then,
            cleanup_at=cleanup_until(step, opened, instance) if budget else 0,
        )
    )  # fmt: skip


def cleanup_until(step: Step, opened: FrameIndex | None = None, instance: Instance | None = None) -> int:
    """When the time of a departure for cleaning up is over, microseconds UTC; 0 where nothing in the workflow cleans up.

    What has no `finally` and no compensation ends when its attempts have stopped, which is their `grace` to limit.
    """
    waits_for_a_child = instance is not None and instance.state == WAITING
    if not waits_for_a_child and not step.index.plan.cleans_up:
        return 0
    return step.at + cleanup_budget(step, opened, instance)


def cleanup_budget(step: Step, opened: FrameIndex | None = None, instance: Instance | None = None) -> int:
    """How long a departure may clean up, microseconds: a try's own `cleanup`, else the workflow's (rule 38)."""
    index = step.index
    root = index.frames[""]
    template = index.plan.settings.cleanup
    place = Place(step, root, root.scope.nodes[0])
    if opened is not None and instance is not None:
        node = index.node(opened.frame.path, instance.node)
        if node.type == "try" and "cleanup" in node.keys:
            place, template = Place(step, opened, node), node.keys["cleanup"]
    try:
        return place.duration(template, "cleanup")
    except NodeRefused:
        return DEFAULT_BUDGET


DEFAULT_BUDGET = 60_000_000
"""One minute, in microseconds: the budget where the one that was written cannot be evaluated any more."""


# -- ending frames -------------------------------------------------------------------------------------------------------

_STATUS_OF = {
    "fail": "failed", "drain": "failed", "break": "broken", "continue": "continued", "exit": "succeeded", "stop": "cancelled",
    "cancel": "cancelled",
}  # fmt: skip


def closed(opened: FrameIndex, *, value: Raw = NOTHING, error: Failure | None = None) -> events.FrameClosed:
    """How a frame of a container ends, as far as it says itself."""
    departure = opened.frame.departure
    status = _STATUS_OF[departure.kind] if departure is not None else "failed" if error is not None else "succeeded"
    if departure is not None and departure.kind == "exit":
        value = departure.value
    return events.FrameClosed(
        frame=opened.frame.path, status=status, value=value if status == "succeeded" else NOTHING,
        error=error if status == "failed" else None,
    )  # fmt: skip


# -- giving up -----------------------------------------------------------------------------------------------------------


def give_up_frame(step: Step, opened: FrameIndex, cause: str) -> None:
    """End a frame at once, with everything inside, waiting for nobody (rule 38)."""
    _empty(step, opened, cause, [])
    step.emit(events.FrameClosed(frame=opened.frame.path, status="cancelled"))


def give_up(step: Step, opened: FrameIndex, node: NodePlan, cause: str) -> list[str]:
    """End everything inside a container at once, waiting for nobody (rule 38). The paths of what was left undone."""
    undone: list[str] = []
    for inner in list(opened.inside.get(node.id, {}).values()):
        _empty(step, inner, cause, undone)
        step.emit(events.FrameClosed(frame=inner.frame.path, status="cancelled"))
    return undone


def _empty(step: Step, opened: FrameIndex, cause: str, undone: list[str]) -> None:
    frame = opened.frame
    for node in opened.scope.nodes:
        instance = frame.instances.get(node.id)
        if instance is None:
            step.emit(events.Skipped(frame=frame.path, node=node.id, visit=frame.visit_of(node.id), cause=cause))
            continue
        undone += give_up(step, opened, node, cause)
        if instance.state >= FINAL:
            continue
        if instance.state != OPEN:
            undone.append(instance_path(frame.path, node.id, instance.visit))
        let_go(step, opened, node, instance, cause)


def let_go(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, cause: str) -> None:
    """An instance is cancelled without waiting for its attempt, which is asked to stop all the same."""
    if instance.state == RUNNING and not instance.stopping:
        step.stop(opened, instance, cause)
    step.emit(
        events.NodeCancelled(
            frame=opened.frame.path, node=node.id, visit=instance.visit, attempt=instance.attempt, cause=cause,
            unknown=node.at_most_once and instance.state in (RUNNING, WAITING),
        )
    )  # fmt: skip


def used_up(undone: list[str], cause: Failure | None) -> Failure:
    """The failure that says what a departure could not clean up in its time."""
    return Failure(
        code="cleanup.exhausted", title="The time for cleaning up is used; what was left was stopped.", category="timeout",
        retryable=False, cause=cause, data={"undone": undone},
    )  # fmt: skip
