"""Leaving frames: break, continue, return, exit, error, cancel and timeout, from the inside out (rules 30, 31, 37, 38)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from perdure.definition.graph import all_scopes
from perdure.errors import Failure
from reference import containers, ending
from reference.names import Sight, length
from reference.shape import is_effect
from reference.state import Departure, Frame, Instance, World

CANCELS = frozenset({"cancel", "timeout", "complete"})
SHIELDED = frozenset({"finally", "compensate"})  # frames that a departure from outside does not close


def depart(world: World, departure: Departure) -> None:
    """Everything that the departure reaches closes at once; frames still end from the inside out (rule 30)."""
    target = departure.target
    if isinstance(target, Frame):
        if target.departure is None or target.departure.reach > departure.reach:
            world.departures.append(departure)
        close(world, target, departure)
        return
    world.departures.append(departure)
    if target.leaving is None:
        target.leaving = departure
    for frame in world.active_frames(target):
        if frame.kind not in SHIELDED:
            close(world, frame, departure)


def close(world: World, frame: Frame, departure: Departure) -> None:
    """The frame is being left: its nodes end or are asked to. Of two departures the one that reaches further wins."""
    if frame.ended or (frame.departure is not None and frame.departure.reach <= departure.reach):
        return
    frame.departure = departure
    frame.returns.clear()
    for instance in list(frame.instances.values()):
        if instance.state == "pending":
            _leave_out(world, instance, departure.cause)
        else:
            _close_instance(world, instance, departure)


def _close_instance(world: World, instance: Instance, departure: Departure) -> None:
    inside = world.active_frames(instance)
    for frame in inside:
        if frame.kind not in SHIELDED:
            close(world, frame, departure)
    if not inside and not instance.final:
        stop(world, instance, departure.cause)


def _leave_out(world: World, instance: Instance, cause: str) -> None:
    """It has not started, so it is skipped; but a join whose deadline runs has begun (rule 21)."""
    if instance.deadline_at is None:
        ending.skip(world, instance, cause)
    else:
        ending.cancel(world, instance, cause)


def stop(world: World, instance: Instance, cause: str) -> None:
    """An attempt under way is asked to stop; what only waits is cancelled at once (rule 12)."""
    if instance.fixed.get("recorded"):
        return  # its attempt has ended already, during a pause
    is_running = is_effect(instance.node) and instance.state == "running"
    is_awaited = instance.waits_for == "child" and instance.raw.get("on_cancel", "cancel") == "cancel"
    if is_running or is_awaited:
        if is_awaited and instance.let_go_at is None:
            instance.let_go_at = cleanup_end(world)
        instance.stopping, instance.by_deadline = cause, False
    elif _has_begun(instance):
        containers.mark(world, instance)  # it sees to that itself; in a try `finally` may be next
    else:
        ending.cancel(world, instance, cause)


def _has_begun(instance: Instance) -> bool:
    """Is it a container with an attempt under way, whether a frame of it is open or not?"""
    return instance.node.type in containers.KINDS and instance.state == "running" and instance.waits_for != "backoff"


def withdraw(world: World, instance: Instance, cause: str, kind: str = "cancel", failure: Failure | None = None) -> None:
    """One node is cancelled for itself: a loser, the target of a `cancel`, what an edge leads back over, what timed out."""
    if instance.state == "pending":
        _leave_out(world, instance, cause)
    elif _has_begun(instance):
        depart(world, Departure(kind, instance, cause, failure=failure, cleanup_at=budget(world, instance)))
        containers.mark(world, instance)
    elif not instance.final:
        stop(world, instance, cause)


# -- cleanup --------------------------------------------------------------------------------------------------------------
def budget(world: World, target: Frame | Instance) -> int | None:
    """When the time for cleaning up after a cancel or a timeout is over; None where nothing could be cleaned up (rule 38)."""
    instance = target if isinstance(target, Instance) else target.parent
    return cleanup_end(world, instance) if has_cleanup(world) else None


def cleanup_end(world: World, instance: Instance | None = None) -> int:
    """A minute from now, unless written."""
    raw = world.settings.get("cleanup", "1m")
    sight = Sight(world, world.frames[0])
    if instance is not None and instance.node.type == "try" and instance.raw.get("cleanup") is not None:
        raw, sight = instance.raw["cleanup"], Sight(world, instance.frame, instance)
    return world.at + length(sight, raw, "cleanup")


def under_way(world: World) -> list[Departure]:
    """The departures that have not arrived, also those that another has overtaken."""
    return [each for each in world.departures if not _has_arrived(each.target)]


def _has_arrived(target: Frame | Instance) -> bool:
    if isinstance(target, Frame):
        return target.ended
    return target.final or target.waits_for == "backoff" or target.state == "parked"


def has_cleanup(world: World) -> bool:
    """Whether the definition has a finally or a compensation at all: without one there is no budget."""
    return any(scope.kind in ("finally", "compensate") for scope in all_scopes(world.root))


def reached(world: World, target: Frame | Instance) -> list[Frame]:
    """The frames inside a frame or an instance that have not ended, those that are shielded too, and the frame itself."""
    return [frame for frame in world.frames if not frame.ended and _is_within(frame, target)]


def _is_within(frame: Frame, target: Frame | Instance) -> bool:
    if frame is target or frame.parent is target:
        return True
    return frame.parent is not None and _is_within(frame.parent.frame, target)


def undone_in(frames: Sequence[Frame]) -> Failure:
    """What was left undone when the time for cleaning up was over, as a failure (rule 38)."""
    left = [each.path for frame in frames for each in frame.instances.values() if not each.final]
    return Failure(code="cleanup.exhausted", title="The time for cleaning up is over.", category="timeout", data=left)


def stop_all(world: World, frames: Sequence[Frame]) -> Failure:
    """Everything in these frames stops at once; what was left undone."""
    error = undone_in(frames)
    for frame in frames:
        _stop_frame(world, frame, error.title)
    return error


def _stop_frame(world: World, frame: Frame, cause: str) -> None:
    """From the inside out."""
    for instance in frame.instances.values():
        for inner in world.active_frames(instance):
            _stop_frame(world, inner, cause)
        if instance.state == "pending":
            ending.skip(world, instance, cause)
        elif not instance.final:
            ending.cancel(world, instance, cause)
    frame.outcome = "cancelled"


def exhaust(world: World, departure: Departure) -> None:
    """The time for cleaning up is over: everything that the departure reaches stops (rule 38)."""
    departure.cleanup_at = None
    target = departure.target
    if isinstance(target, Frame) and target.parent is None:
        end_execution(world, target, undone_in(reached(world, target)))
        return
    error = stop_all(world, reached(world, target))
    if departure.failure is not None:
        departure.failure = ending.with_cause(departure.failure, error)
    if isinstance(target, Instance):
        containers.has_been_left(world, target)
    else:
        target.outcome = ""  # it ends as its departure says


# -- the end of a frame ---------------------------------------------------------------------------------------------------
def can_end(world: World, frame: Frame) -> bool:
    """Whether all nodes of the frame are final, and all frames inside."""
    return (
        not frame.ended
        and not frame.returns
        and all(each.final for each in frame.instances.values())
        and not any(_has_frames(world, each) for each in (*frame.instances.values(), *frame.past))
    )


def _has_frames(world: World, instance: Instance) -> bool:
    """Whether frames inside go on, or are still to be opened for losers that are detached (rule 19)."""
    is_detached = instance.quorum_met and instance.look and instance.raw.get("losers") == "detach"
    return bool(world.active_frames(instance)) or bool(is_detached and instance.frame.departure is None)


def conclude(world: World, frame: Frame) -> None:
    """The frame has ended: as its departure says, else as its policy does (rules 13, 31, 33)."""
    frame.outcome, frame.value, frame.error = containers.outcome_of(world, frame)
    if frame.parent is None:
        end_execution(world, frame, None)
    else:
        containers.after_frame(world, frame.parent, frame)


STATUS = {"cancel": "cancelled", "timeout": "timed_out", "return": "succeeded", "exit": "succeeded", "error": "failed"}


def end_execution(world: World, root: Frame, undone: Failure | None) -> None:
    """The execution is final, with the status of what reached its root first."""
    if root.drain is not None:
        world.status = "failed"
    elif root.departure is not None and root.outcome != "failed":
        world.status = STATUS[root.departure.kind]
    elif root.departure is not None:
        world.status = {"timeout": "timed_out"}.get(root.departure.kind, "failed")
    else:
        world.status = root.outcome
    world.error = root.error if root.ended else failure_of(root)
    if world.status == "succeeded":
        world.output = root.value if root.departure is None else root.departure.value
    if undone is not None:
        world.error = ending.with_cause(undone, world.error)


def failure_of(root: Frame) -> Failure | None:
    """Why an execution that is stopped on its way out ends as it does."""
    if root.drain is not None:
        return root.drain
    return None if root.departure is None else root.departure.failure


def replace_by(departure: Departure, failure: Failure) -> bool:
    """An error of a `finally` takes the place of what is under way, never that of a cancel (rule 31). Whether it did."""
    if departure.kind in CANCELS:
        return False
    pending = departure.failure
    if pending is None:
        code = f"departure.{departure.kind}"
        pending = Failure(code=code, title=f"A {departure.kind} was under way.", category="cancelled")
    departure.failure = msgspec.structs.replace(failure, cause=pending)
    departure.kind = "error"
    return True
