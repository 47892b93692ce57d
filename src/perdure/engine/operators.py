"""What operators may do: cancel, terminate, pause and resume an execution; decide what is parked; move the end of a wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.definition.plan import NodePlan
from perdure.engine import children, events
from perdure.engine.attempts import reattempt
from perdure.engine.containers import cleanup_until
from perdure.engine.elements import ELEMENTS
from perdure.engine.execution import BACKOFF, PARKED, WAITING, Instance
from perdure.engine.failing import fail
from perdure.engine.index import FrameIndex
from perdure.engine.outstanding import running, stop_child, waiting
from perdure.engine.place import Place
from perdure.errors import Failure

if TYPE_CHECKING:
    from perdure.engine.machine import Step

FROZEN, RUNS_ON = "frozen", "running"
"""What clocks did during a pause: stand still, or run on (rule 45)."""


def operate(step: Step, given: events.Operate) -> None:
    """An operator's control: on the execution, or on one of its instances."""
    if given.action in _ON_EXECUTION:
        return _ON_EXECUTION[given.action](step, given)
    frame = step.execution.frames.get(given.frame)
    instance = frame.instances.get(given.node) if frame is not None and not frame.closed else None
    fits = _STATES[given.action]
    if instance is None or instance.visit != given.visit or instance.state not in fits:
        return step.emit(events.Late(frame=given.frame, node=given.node, visit=given.visit, what=given.action))
    opened = step.index.frames[given.frame]
    _ON_INSTANCE[given.action](step, opened, step.index.node(given.frame, given.node), instance, given)


# -- the execution -------------------------------------------------------------------------------------------------------


def _cancel(step: Step, given: events.Operate) -> None:
    root = step.index.frames.get("")
    if root is None or step.execution.ended:
        return
    hard = given.action == "terminate"
    who = f" by {given.by}" if given.by else ""
    why = f": {given.reason}" if given.reason else ""
    cause = f"cancelled{who}{why}"
    if step.execution.paused_at:  # what is left must be able to end
        _end_pause(step, given.by, shift=0)
    standing = root.frame.departure
    until = 0 if hard else cleanup_until(step)
    if standing is None or (hard and not standing.hard):
        kind = "cancel" if standing is None or standing.kind != "drain" else "fail"
        error = standing.error if standing is not None and kind == "fail" else None
        return step.emit(
            events.Departing(
                kind=kind, cause=cause, by=given.by, hard=hard, error=error, cleanup_at=until, drained=kind == "fail"
            )
        )  # fmt: skip
    if standing.kind == "drain":
        return step.emit(
            events.Departing(kind="fail", cause=cause, error=standing.error, by=given.by, cleanup_at=until, drained=True)
        )
    if (
        until and not standing.cleanup_at
    ):  # a return or an error is under way: it goes on, within a budget from now on (rule 38)
        step.emit(msgspec.structs.replace(_same(standing), cleanup_at=until))


def _same(standing: Any) -> events.Departing:
    """The departure that is under way, stated once more."""
    return events.Departing(
        kind=standing.kind, cause=standing.cause, error=standing.error, value=standing.value, by=standing.by,
        hard=standing.hard, drained=standing.drained,
    )  # fmt: skip


def _pause(step: Step, given: events.Operate) -> None:
    if step.execution.paused_at or not step.execution.seq:
        return step.emit(events.Late(node="", what="pause"))
    step.emit(events.Paused(at=step.at, by=given.by))
    _tell_children(step, "pause", None)


def _resume(step: Step, given: events.Operate) -> None:
    paused_at = step.execution.paused_at
    if not paused_at:
        return step.emit(events.Late(node="", what="resume"))
    clocks = step.value(given.value) if given.value != events.NOTHING else FROZEN
    _end_pause(step, given.by, shift=0 if clocks == RUNS_ON else step.at - paused_at)
    _tell_children(step, "resume", clocks)


def _end_pause(step: Step, by: str, *, shift: int) -> None:
    lost = [each for each in running(step.index) if each[2].unasked]
    step.emit(events.Resumed(shift=shift, by=by))
    for opened, node, instance in lost:
        step.ask(opened, node, instance)


def _tell_children(step: Step, action: str, value: Any) -> None:
    """A pause reaches the children that are waited for (rule 41)."""
    for _, node, instance in waiting(step.index):
        if children.is_awaited(instance) and node.options["wait"] and instance.progress is not None:
            step.commands.append(
                stop_child(instance.progress.child, action, "its parent", times=step.execution.seq, value=value)
            )


_ON_EXECUTION: dict[str, Callable[[Step, events.Operate], None]] = {
    "cancel": _cancel,
    "terminate": _cancel,
    "pause": _pause,
    "resume": _resume,
}


# -- what is parked ------------------------------------------------------------------------------------------------------


def _retry(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, given: events.Operate) -> None:
    """Try it again: with the same input under the same effect key, with changed input under a new one (rule 50)."""
    generation = instance.generation + (given.value != events.NOTHING)
    where: dict[str, Any] = {"frame": opened.frame.path, "node": instance.node, "visit": instance.visit}
    if not instance.attempt or (node.type in ELEMENTS and not instance.pure):  # there was no attempt, or it is a container's
        place = Place(step, opened, node)
        if given.value != events.NOTHING:
            place.given = given.value
        return step.enter(place)
    step.emit(events.Unparked(**where, by=given.by, params=given.value, generation=generation))
    again = reattempt(opened, instance)
    if 0 < again.deadline_at <= step.at:  # a question was answered after the deadline: as much time again
        again = msgspec.structs.replace(again, ready=step.at, deadline_at=step.at + again.deadline_at - again.ready)
    step.emit(again)


def _complete(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, given: events.Operate) -> None:
    step.emit(
        events.Done(
            frame=opened.frame.path,
            node=instance.node,
            visit=instance.visit,
            attempt=instance.attempt,
            output=given.value,
            finished=step.at,
            by=given.by,
        )
    )


def _fail(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, given: events.Operate) -> None:
    error = instance.error if instance.error is not None else Failure(code="node.failed", title=given.reason)
    fail(step, opened, node, error, attempt=instance.attempt, finished=step.at, may_retry=False, may_park=False)


# -- what waits ----------------------------------------------------------------------------------------------------------


def _skip(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, given: events.Operate) -> None:
    """A wait ends now, as if it had come to its end; a backoff is over (rule 46)."""
    if instance.stopping or not is_skippable(instance):
        return step.emit(events.Late(frame=given.frame, node=given.node, visit=given.visit, what="skip"))
    if instance.state == BACKOFF:
        return step.emit(_moved(opened, instance, given, due=step.at))
    output = step.encoded({"skipped": True})
    step.emit(
        events.Done(
            frame=opened.frame.path, node=instance.node, visit=instance.visit, attempt=instance.attempt, output=output,
            finished=step.at, by=given.by,
        )
    )  # fmt: skip


def is_skippable(instance: Instance) -> bool:
    """May an operator skip what it waits for? Not what is the work itself, or somebody else's turn."""
    return instance.state != WAITING or instance.wait not in ("child", "lock", "deferred", "join")


def _reschedule(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, given: events.Operate) -> None:
    """The end of a wait moves: when it ends by itself, else its timeout."""
    moment = step.value(given.value)
    if instance.due and instance.wait != "condition":
        return step.emit(_moved(opened, instance, given, due=moment))
    if instance.wait_timeout_at:
        return step.emit(_moved(opened, instance, given, timeout_at=moment))
    step.emit(events.Late(frame=given.frame, node=given.node, visit=given.visit, what="reschedule"))


def _moved(opened: FrameIndex, instance: Instance, given: events.Operate, **fields: int) -> events.Rescheduled:
    return events.Rescheduled(frame=opened.frame.path, node=instance.node, visit=instance.visit, by=given.by, **fields)


_STATES: dict[str, tuple[int, ...]] = {
    "retry": (PARKED,),
    "complete": (PARKED,),
    "fail": (PARKED,),
    "skip": (WAITING, BACKOFF),
    "reschedule": (WAITING, BACKOFF),
}
"""In which states an instance takes which control."""

_ON_INSTANCE: dict[str, Callable[[Step, FrameIndex, NodePlan, Instance, events.Operate], None]] = {
    "retry": _retry,
    "complete": _complete,
    "fail": _fail,
    "skip": _skip,
    "reschedule": _reschedule,
}
