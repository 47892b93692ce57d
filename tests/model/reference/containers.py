"""Containers: their attempts, their frames, and what the end of a frame means to them (rules 18, 19, 30, 33, 43)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.definition.graph import LOOPS
from perdure.definition.scope import is_declaration
from perdure.errors import Failure
from perdure.ids import frame_path
from reference import ending, failing, leaving, loops, parallels, rollbacks, trying
from reference.names import Sight, duration, evaluate
from reference.state import Departure, Frame, Instance, World, Wrong

KINDS = {**dict.fromkeys(LOOPS, loops), "parallel": parallels, "try": trying, "rollback": rollbacks}


def enter(world: World, instance: Instance) -> None:
    """A container becomes ready: what it says is evaluated once, then its first attempt begins. Raises Wrong."""
    instance.fixed = KINDS[instance.node.type].fixed(world, instance)
    begin(world, instance)


def begin(world: World, instance: Instance) -> None:
    """An attempt of a container: the whole of it, in fresh frames (rule 43)."""
    instance.attempt += 1
    instance.state, instance.waits_for, instance.due = "running", "", None
    instance.leaving, instance.quorum_met = None, False
    world.departures = [each for each in world.departures if each.target is not instance]  # of an attempt before
    instance.started_at = world.at
    limit = instance.limits.get("timeout")
    instance.timeout_at = None if limit is None else world.at + limit
    instance.memory = KINDS[instance.node.type].Memory()
    instance.draining = False
    mark(world, instance)


def mark(world: World, instance: Instance) -> None:
    """Something is new to the container: it is looked at when nothing else follows, those with older news first (rule 2)."""
    instance.look = world.tick()


def look(world: World, instance: Instance) -> None:
    """Start a frame, judge those that have ended, end: whatever its type does next."""
    instance.look = 0
    if instance.final:
        KINDS[instance.node.type].look_as_loser(world, instance)
    elif is_being_left(instance):
        KINDS[instance.node.type].leave(world, instance)
    elif instance.state == "running":
        KINDS[instance.node.type].look(world, instance)


def open_frame(
    world: World, instance: Instance, name: str, index: int = -1, bound: Mapping[str, Any] | None = None
) -> Frame:  # fmt: skip
    """A new frame of the container's present attempt. Raises Wrong for its variables and its timeout."""
    scope = instance.node.scopes[name]
    path = frame_path(instance.path, instance.attempt, name, index)
    frame = Frame(path, scope, instance, instance.frame, instance, instance.attempt, index, dict(bound or {}))
    fill(world, frame, Sight(world, instance.frame, instance, bound))
    return frame


def fill(world: World, frame: Frame, sight: Sight) -> None:
    """Give a frame its variables, its timeout and its nodes. Raises Wrong."""
    for name, declared in frame.scope.variables.items():
        raw = declared.get("value") if is_declaration(declared) else declared
        frame.variables[name] = evaluate(sight, raw, f"vars.{name}")
    if frame.kind != "workflow":
        limit = duration(sight, frame.scope.raw.get("timeout"), "timeout")
        frame.timeout_at = None if limit is None else world.at + limit
    frame.instances = {node.id: Instance(frame, node) for node in frame.scope.nodes.values()}
    world.frames.append(frame)


# -- the end of a frame ---------------------------------------------------------------------------------------------------
Outcome = tuple[str, Any, Failure | None]


def outcome_of(world: World, frame: Frame) -> Outcome:
    """How a frame has ended, its value, its failure."""
    departure = frame.departure
    if departure is not None and departure.target is not frame:
        return "cancelled", None, None
    if frame.drain is not None:
        return "failed", None, failing.joined(frame.unhandled)
    if departure is not None:
        return BY_DEPARTURE[departure.kind], departure.value, departure.failure
    if frame.unhandled and frame.scope.on_failure == "isolate":
        return "failed", None, failing.joined(frame.unhandled)
    try:
        return "succeeded", output_of(world, frame), None
    except Wrong as wrong:
        return "failed", None, wrong.failure


BY_DEPARTURE = {
    "break": "broke", "continue": "continued", "return": "succeeded", "exit": "succeeded", "error": "failed",
    "timeout": "failed", "cancel": "cancelled",
}  # fmt: skip


def output_of(world: World, frame: Frame) -> Any:
    """What a scope gives: for an iteration its `result`, else `output`, else what its sinks gave (rules 25, 33)."""
    if frame.kind == "loop" and frame.parent is not None:
        if frame.scope.raw.get("result") is not None:
            return evaluate(Sight(world, frame), frame.scope.raw["result"], "result")
        if frame.parent.raw.get("result") is not None:
            return evaluate(loops.after_sight(world, frame.parent, frame), frame.parent.raw["result"], "result")
    if frame.scope.raw.get("output") is not None:
        return evaluate(Sight(world, frame), frame.scope.raw["output"], "output")
    sinks = [frame.instances[node.id] for node in frame.scope.nodes.values() if not node.outgoing]
    succeeded = {sink.node.id: sink.output for sink in sinks if sink.state == "succeeded"}
    if len(sinks) == 1:
        return next(iter(succeeded.values()), None)
    return succeeded


def after_frame(world: World, instance: Instance, frame: Frame) -> None:
    """A frame of the container has ended: it is counted. Those of an earlier attempt are news to nobody (rule 20)."""
    if frame.attempt == instance.attempt:
        KINDS[instance.node.type].count(world, instance, frame)
        mark(world, instance)


def goes_on(instance: Instance) -> bool:
    """Whether its attempt is under way and nothing has decided how it ends."""
    return instance.state == "running" and not is_being_left(instance)


def is_being_left(instance: Instance) -> bool:
    """Whether the container closes, for itself or with the frame around it."""
    return instance.leaving is not None or instance.frame.departure is not None


def has_been_left(world: World, instance: Instance) -> None:
    """All frames of a container that was being left have ended: it is what its departure makes of it."""
    departure = instance.leaving
    if instance.final or world.active_frames(instance):
        return
    if instance.frame.departure is not None or departure is None:
        ending.cancel(world, instance, instance.frame.departure.cause if instance.frame.departure is not None else "")
    elif departure.kind == "cancel":
        ending.cancel(world, instance, departure.cause)
    elif departure.kind == "complete":
        ending.succeed(world, instance, None)
    else:
        assert departure.failure is not None, "an error and a timeout have a failure"
        instance.leaving = None
        failing.offer(world, instance, departure.failure)


def fail_at_once(world: World, instance: Instance, failure: Failure, cause: str) -> None:
    """The container itself has failed: its frames are cancelled, then the failure is its own."""
    if world.active_frames(instance):
        instance.memory.wrong = failure
        cancel_frames(world, instance, cause)
    else:
        failing.offer(world, instance, failure)


def fail_unreachable(world: World, instance: Instance, failure: Failure) -> None:
    """Its quorum cannot be reached any more: it fails at once; one that parks for it waits for what is left (rules 17, 19)."""
    if failing.would_park(world, instance, failure):
        lose(world, instance)
        instance.draining = True  # whatever people say, it is another attempt that starts the rest
        instance.memory.unreachable = failure
        mark(world, instance)
    else:
        failing.offer(world, instance, failure)
        lose(world, instance)


def cancel_frames(world: World, instance: Instance, cause: str, but: Frame | None = None) -> None:
    """The other frames of the present attempt are cancelled, since one has failed or broken the loop (rules 13, 29)."""
    for frame in world.active_frames(instance):
        if frame is not but and frame.attempt == instance.attempt:
            leaving.depart(world, Departure("cancel", frame, cause))


# -- quorums --------------------------------------------------------------------------------------------------------------
def lose(world: World, instance: Instance) -> None:
    """The frames that are left are losers: the successors do not wait for them (rule 19)."""
    instance.quorum_met = True
    losers = instance.raw.get("losers", "cancel")
    if losers == "detach":
        mark(world, instance)
    elif losers == "drain":
        instance.draining = True
    elif losers == "cancel":
        instance.draining = True
        cause = f"`{instance.node.id}` has ended"
        for frame in world.active_frames(instance):
            cleanup_at = leaving.budget(world, frame)
            leaving.depart(world, Departure("cancel", frame, cause, cleanup_at=cleanup_at))
