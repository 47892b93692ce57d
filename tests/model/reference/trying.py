"""Try: body, catch, finally, and what becomes of an error on the way (rules 10, 30, 31, 37)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perdure.definition.fields import one_or_list
from perdure.errors import Failure
from reference import containers, ending, failing, leaving
from reference.names import Sight
from reference.state import Frame, Instance, World, Wrong


@dataclass
class Memory:
    """How far a try has come: what its body and handler gave, and whether its own time has passed since."""

    ended: Frame | None = None  # the part that has ended last
    caught: Failure | None = None
    output: Any = None
    error: Failure | None = None
    late: Failure | None = None
    cleanup_at: int | None = None


def fixed(world: World, instance: Instance) -> dict[str, Any]:
    """Nothing of a try is evaluated on entry."""
    return {}


def handler_of(world: World, instance: Instance, failure: Failure) -> tuple[str, Mapping[str, Any]] | None:
    """The first handler that matches a failure, with the name of its scope."""
    sight = Sight(world, instance.frame, instance, {"error": failure.as_value()})
    for number, entry in enumerate(one_or_list(instance.raw.get("catch") or [])):
        if failure.category != "cancelled" and failing.takes(sight, entry, failure):
            return f"catch{number}", entry
    return None


def _open(world: World, instance: Instance, name: str, bound: Mapping[str, Any]) -> None:
    memory: Memory = instance.memory
    try:
        containers.open_frame(world, instance, name, bound=bound)
    except Wrong as wrong:
        if name == "finally":
            _end(world, instance, wrong.failure)
        else:
            memory.error = wrong.failure
            _cleanup(world, instance)


def count(world: World, instance: Instance, frame: Frame) -> None:
    """A part has ended."""
    instance.memory.ended = frame


def look(world: World, instance: Instance) -> None:
    """The body begins; where a part has ended, the next begins, or the try ends."""
    memory: Memory = instance.memory
    frame = memory.ended
    if frame is None:
        _open(world, instance, "body", {})
    elif frame.kind == "finally":
        _end(world, instance, frame.error)
    else:
        _after(world, instance, frame)


def leave(world: World, instance: Instance) -> None:
    """It is being left: `finally` runs all the same, then it ends; but where the body has not begun nothing is cleaned up."""
    memory: Memory = instance.memory
    frame = memory.ended
    if world.active_frames(instance):
        return
    if frame is None:
        containers.has_been_left(world, instance)
    elif frame.kind == "finally":
        _end(world, instance, frame.error)
    else:
        memory.output, memory.error = None, None
        _cleanup(world, instance)


def look_as_loser(world: World, instance: Instance) -> None:
    """A try has one frame at a time: nothing is left when it has ended."""


def _after(world: World, instance: Instance, frame: Frame) -> None:
    memory: Memory = instance.memory
    memory.output, memory.error = frame.value, frame.error
    if frame.kind == "body" and frame.error is not None:
        handler = handler_of(world, instance, frame.error)
        if handler is not None:
            name, entry = handler
            memory.caught = frame.error
            _open(world, instance, name, {entry.get("as", "error"): frame.error.as_value()})
            return
    if frame.kind == "catch" and memory.error is not None and memory.error.cause is None:
        memory.error = ending.with_cause(memory.error, memory.caught)
    _cleanup(world, instance)


def _cleanup(world: World, instance: Instance) -> None:
    """`finally` runs whatever has happened; it sees the error, null where nothing failed."""
    memory: Memory = instance.memory
    if "finally" in instance.node.scopes:
        _open(world, instance, "finally", {"error": None if memory.error is None else memory.error.as_value()})
    else:
        _end(world, instance, None)


def _end(world: World, instance: Instance, thrown: Failure | None) -> None:
    """Everything has ended. `thrown` is an error of `finally`: it replaces a pending error, return or break (rule 31)."""
    memory: Memory = instance.memory
    if instance.frame.departure is not None:
        is_heard = thrown is not None and not failing.is_loser(instance)
        if thrown is not None and is_heard and leaving.replace_by(instance.frame.departure, thrown):
            ending.fail(world, instance, thrown)
        else:
            containers.has_been_left(world, instance)
    elif instance.leaving is not None:
        containers.has_been_left(world, instance)
    elif thrown is not None:
        failing.offer(world, instance, ending.with_cause(thrown, memory.error))
    elif memory.error is not None:
        failing.offer(world, instance, memory.error)
    elif memory.late is not None:
        failing.offer(world, instance, memory.late)
    else:
        ending.succeed(world, instance, memory.output)


def time_out(world: World, instance: Instance, failure: Failure, cause: str) -> None:
    """Its own time is over: as a cancel, unless it cleans up already, which then goes on in the budget (rule 37)."""
    memory: Memory = instance.memory
    instance.timeout_at = instance.deadline_at = None
    if any(frame.kind == "finally" for frame in world.active_frames(instance)):
        memory.late = failure
        instance.no_retry = instance.no_retry or failing.is_by_deadline(failure)  # the time for all attempts is over
        memory.cleanup_at = leaving.budget(world, instance)
    else:
        leaving.withdraw(world, instance, cause, "timeout", failure)


def exhaust(world: World, instance: Instance) -> None:
    """A `finally` that its own time has passed in has used up the budget: it stops, and the try ends as it was left."""
    memory: Memory = instance.memory
    memory.cleanup_at = None
    undone = leaving.stop_all(world, leaving.reached(world, instance))
    if memory.late is not None:
        memory.late = ending.with_cause(memory.late, undone)
    _end(world, instance, None)
