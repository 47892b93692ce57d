"""How an instance becomes final, and what that means for its edges (rules 4, 12, 34, 36, 39)."""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.definition.graph import Entry
from perdure.errors import Failure
from reference import failing, leaving
from reference.names import remembered
from reference.shape import reachable
from reference.state import Departure, Frame, Instance, Registration, Return, World


def succeed(world: World, instance: Instance, output: Any = None, ports: tuple[str, ...] = ("out",)) -> None:
    """The instance succeeded and leaves by these ports; an `again` edge at one of them may forbid it (rule 36)."""
    if instance.final:
        return
    back = back_edge(instance, ports)
    if back is not None and is_used_up(instance, back):
        failing.without_retry(world, instance, exhausted(instance, None))
        return
    instance.output = output
    instance.error = None
    _finish(world, instance, "succeeded", ports)
    register(world, instance)
    if back is not None:
        go_back(world, instance, back)


def fail(world: World, instance: Instance, failure: Failure, ports: tuple[str, ...] = (), others: str = "dead") -> None:
    """The instance failed for good: by a port that took the failure, or with its other ports broken, live or dead."""
    instance.error = failure
    instance.others = others
    _finish(world, instance, "failed", ports)
    if instance.raw.get("compensate_on") == "attempted" and failure.ambiguous:
        register(world, instance)


def cancel(world: World, instance: Instance, cause: str) -> None:
    """The instance was withdrawn: its edges are dead."""
    was_running = instance.attempt > 0 and (instance.state == "running" or instance.waits_for == "child")
    instance.cause = cause
    _finish(world, instance, "cancelled", ())
    if was_running and instance.raw.get("compensate_on") == "attempted":
        register(world, instance)


def skip(world: World, instance: Instance, cause: str, broken: Failure | None = None) -> None:
    """The instance never ran; where something it depends on failed, its own edges are broken."""
    instance.cause = cause
    instance.broken = broken
    instance.others = "dead" if broken is None else "broken"
    _finish(world, instance, "skipped", ())


def _finish(world: World, instance: Instance, state: str, ports: tuple[str, ...]) -> None:
    assert not instance.final, f"{instance.path} is {instance.state} and would become {state}"
    instance.state = state
    instance.ports = ports
    instance.waits_for = ""
    instance.finished = world.tick()
    instance.finished_at = world.at


def register(world: World, instance: Instance) -> None:
    """The instance's compensation may be run from now on; that of a container replaces those inside (rule 39)."""
    if "compensate" not in instance.node.scopes:
        return
    if instance.state == "succeeded":
        inside = [each for each in world.registrations if is_inside(each.instance, instance)]
        world.registrations = [each for each in world.registrations if each not in inside]
    world.registrations.append(Registration(instance, remembered(instance), instance.params, instance.output))


def is_inside(inner: Instance, outer: Instance) -> bool:
    """Whether an instance is in a frame of another, at any depth."""
    holder = inner.frame.parent
    return holder is not None and (holder is outer or is_inside(holder, outer))


# -- edges back -----------------------------------------------------------------------------------------------------------
def back_edge(instance: Instance, ports: tuple[str, ...]) -> Entry | None:
    """The first `again` edge at one of the ports, unless nothing starts here any more or it is being set back itself."""
    frame = instance.frame
    if not frame.open or is_being_reset(instance):
        return None
    return next((entry for entry in instance.node.again_out if entry.port in ports), None)


def is_being_reset(instance: Instance) -> bool:
    return any(instance.node in back.region for back in instance.frame.returns)


def is_used_up(instance: Instance, entry: Entry) -> bool:
    """Whether one visit more of the target would be beyond `max_visits`."""
    return instance.frame.instances[entry.target.id].visit >= int(entry.visits_max)


def exhausted(instance: Instance, cause: Failure | None) -> Failure:
    """The failure of a source whose target has had all its visits."""
    title, node = "No visit is left.", instance.path
    return Failure(code="visits.exhausted", title=title, category="business", retryable=False, node=node, cause=cause)


def go_back(world: World, source: Instance, entry: Entry) -> None:
    """Set the region back: what is active there is cancelled; the new visit starts when all of it is final (rule 35)."""
    frame = source.frame
    region = reachable(entry.target)
    frame.returns = [back for back in frame.returns if back.entry.target not in region]
    frame.returns.append(Return(entry, region, source.error))
    for node in region:
        instance = frame.instances[node.id]
        cause = f"`{source.node.id}` led back to `{entry.target.id}`"
        if instance.final:
            for inner in world.active_frames(instance):  # its losers
                leaving.depart(world, Departure("cancel", inner, cause, cleanup_at=leaving.budget(world, inner)))
        elif instance.state != "pending":
            leaving.withdraw(world, instance, cause)


def next_visits(world: World) -> list[tuple[Frame, Return]]:
    """The regions in which everything is final, so that their new visit may begin."""
    found = []
    for frame in world.frames:
        for back in frame.returns:
            instances = [frame.instances[node.id] for node in back.region]
            are_final = all(each.final or each.state == "pending" for each in instances)
            if are_final and not any(world.active_frames(each) for each in instances):
                found.append((frame, back))
    return found


def revisit(world: World, frame: Frame, back: Return) -> None:
    """Begin the new visit: every node of the region has one more, whether it had run or not (rule 35)."""
    frame.returns.remove(back)
    for node in back.region:
        former = frame.instances[node.id]
        frame.past.append(former)
        frame.instances[node.id] = Instance(frame, node, visit=former.visit + 1)
    frame.instances[back.entry.target.id].led_back = back


def with_cause(failure: Failure, cause: Failure | None) -> Failure:
    """The failure, because of another."""
    return failure if cause is None else msgspec.structs.replace(failure, cause=cause)
