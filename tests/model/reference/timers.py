"""What is due and when: found anew from the state each time, fired by due time, frame and node (rules 2, 21, 43, 44, 45)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from perdure.errors import Failure
from reference import ending, failing, joins, leaving, loops, parallels, starting, trying, waits
from reference.shape import CONTAINERS, WAITS, has_edge, is_effect
from reference.state import Departure, Frame, Instance, World


@dataclass(frozen=True)
class Timer:
    """Something that happens at a time unless something else happens before."""

    due: int
    path: str
    order: int  # among those of the same moment and path
    fire: Callable[[], None]


def pending(world: World) -> list[Timer]:
    """All timers, in the order in which they would fire; none during a pause (rule 45)."""
    if world.ended or world.paused_at is not None:
        return []
    found = [*_of_workflow(world), *_of_frames(world), *_of_departures(world)]
    for instance in world.present():
        if not instance.final:
            found += _of_instance(world, instance)
    return sorted(found, key=lambda timer: (timer.due, timer.path, timer.order))


def _of_workflow(world: World) -> Iterator[Timer]:
    root = world.frames[0]
    if world.timeout_at is not None and root.departure is None:
        yield Timer(world.timeout_at, "", 0, lambda: _time_out_workflow(world, root))
    if world.soft_timeout_at is not None and root.departure is None:
        yield Timer(world.soft_timeout_at, "", 1, lambda: _report(world))


def _time_out_workflow(world: World, root: Frame) -> None:
    world.timeout_at = None
    title = "The workflow's timeout passed."
    failure = Failure(code="timeout.workflow", title=title, category="timeout")
    at_end = leaving.budget(world, root)
    departure = Departure("timeout", root, "the workflow's timeout passed", failure=failure, cleanup_at=at_end)
    if world.settings.get("on_timeout") == "terminate":
        root.departure = departure
        leaving.end_execution(world, root, None)
    else:
        leaving.depart(world, departure)


def _report(world: World) -> None:
    world.soft_timeout_at = None


def _of_frames(world: World) -> Iterator[Timer]:
    for frame in world.frames:
        if frame.timeout_at is not None and not frame.ended and frame.departure is None:
            yield Timer(frame.timeout_at, frame.path, 0, partial(_time_out_frame, world, frame))


def _time_out_frame(world: World, frame: Frame) -> None:
    failure = Failure(code="timeout.scope", title="The scope's timeout passed.", category="timeout", node=frame.path)
    leaving.depart(world, Departure("error", frame, "the scope's timeout passed", failure=failure))  # an error inside (rule 37)


def _of_departures(world: World) -> Iterator[Timer]:
    for departure in leaving.under_way(world):
        if departure.cleanup_at is not None:
            yield Timer(departure.cleanup_at, departure.target.path, 9, partial(leaving.exhaust, world, departure))


# -- nodes ----------------------------------------------------------------------------------------------------------------
def _of_instance(world: World, instance: Instance) -> Iterator[Timer]:
    path = f"{instance.frame.path} {instance.path}"  # a frame before those that are deeper
    if instance.due is not None and instance.waits_for in ("end", "backoff"):
        yield Timer(instance.due, path, 0, lambda: _end_wait(world, instance))
    if instance.every_at is not None and instance.waits_for == "condition":
        yield Timer(instance.every_at, path, 0, lambda: _look_again(world, instance))
    if instance.let_go_at is not None:
        yield Timer(instance.let_go_at, path, 9, lambda: ending.cancel(world, instance, instance.stopping))
    is_leaving = instance.leaving is not None or instance.stopping or instance.frame.departure is not None
    has_begun = instance.state != "parked" and instance.waits_for != "backoff"
    if instance.timeout_at is not None and has_begun and not is_leaving:
        yield Timer(instance.timeout_at, path, 1, lambda: _time_out(world, instance))
    fails_already = instance.leaving is not None and instance.leaving.kind == "error" and instance.frame.departure is None
    if instance.deadline_at is not None and (fails_already or not is_leaving):
        yield Timer(instance.deadline_at, path, 2, lambda: _meet_deadline(world, instance))
    if instance.node.type == "try" and has_begun and instance.memory is not None and instance.memory.cleanup_at is not None:
        yield Timer(instance.memory.cleanup_at, path, 9, lambda: trying.exhaust(world, instance))


def _end_wait(world: World, instance: Instance) -> None:
    if instance.waits_for == "backoff":
        starting.attempt_again(world, instance)
    else:
        ending.succeed(world, instance, None)


def _look_again(world: World, instance: Instance) -> None:
    instance.every_at = world.at + instance.fixed["every"]
    waits.recheck(world, instance)


def _time_out(world: World, instance: Instance) -> None:
    """The `timeout` of a wait, a child or an attempt of a container."""
    failure = Failure(code="timeout", title="The timeout passed.", category="timeout", node=instance.path)
    if instance.node.type in WAITS:
        waits.time_out(world, instance)
    elif instance.node.type == "try":
        trying.time_out(world, instance, failure, "its timeout passed")
    elif instance.node.type in CONTAINERS:
        containers_time_out(world, instance, failure)
    else:
        instance.timeout_at = None
        instance.stopping, instance.takes_too_long = "its timeout passed", True


def containers_time_out(world: World, instance: Instance, failure: Failure) -> None:
    """A container's attempt is over in time: as a cancel, then it fails (rule 21)."""
    instance.timeout_at = None
    if world.active_frames(instance):
        leaving.withdraw(world, instance, "its timeout passed", "timeout", failure)
    else:
        failing.offer(world, instance, failure)


def _meet_deadline(world: World, instance: Instance) -> None:
    """All attempts together have taken too long (rules 14, 21, 43)."""
    instance.deadline_at = None
    cause = instance.last_failure if instance.state == "parked" or instance.waits_for == "backoff" else None
    title = "The deadline has passed."
    failure = Failure(code="timeout.deadline", title=title, category="timeout", node=instance.path, cause=cause)
    if is_effect(instance.node) and instance.state == "running":
        instance.stopping, instance.by_deadline = "its deadline passed", True
    elif instance.node.type == "join":
        joins.time_out(world, instance)
    elif instance.state == "running" and instance.node.type in (*loops.TYPES, "parallel"):
        module = parallels if instance.node.type == "parallel" else loops
        module.time_out(world, instance, failure, has_edge(instance.node, "timeout"))
    elif instance.state == "running" and instance.node.type == "try":
        trying.time_out(world, instance, failure, "its deadline passed")
    elif instance.state == "running":
        containers_time_out(world, instance, failure)
    else:
        failing.without_retry(world, instance, failure)


def shift(world: World, by: int) -> None:
    """Resume with frozen clocks: every relative time moves by the pause; absolute ones do not (rule 45)."""
    for name in ("timeout_at", "soft_timeout_at"):
        if getattr(world, name) is not None:
            setattr(world, name, getattr(world, name) + by)
    for frame in world.frames:
        if frame.timeout_at is not None:
            frame.timeout_at += by
    for departure in leaving.under_way(world):
        if departure.cleanup_at is not None:
            departure.cleanup_at += by
    for instance in world.present():
        if instance.due is not None and instance.node.type != "wait_until":
            instance.due += by
        if instance.node.type == "try" and instance.memory is not None and instance.memory.cleanup_at is not None:
            instance.memory.cleanup_at += by
        for name in ("timeout_at", "deadline_at", "every_at", "let_go_at"):
            due = getattr(instance, name)
            if due is not None:
                setattr(instance, name, due + by)
