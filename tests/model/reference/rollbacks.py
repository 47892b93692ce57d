"""Rollback: registered compensations, last first, one after another, each once ever (rule 39)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from perdure.errors import Failure
from perdure.ids import instance_path
from reference import containers, ending, failing
from reference.names import Sight, in_sight
from reference.state import Frame, Instance, Registration, World, Wrong


@dataclass
class Memory:
    """What a rollback has done so far."""

    done: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def fixed(world: World, rollback: Instance) -> dict[str, Any]:
    """Nothing of a rollback is evaluated on entry."""
    return {}


def count(world: World, rollback: Instance, frame: Frame) -> None:
    """A compensation has ended; one that failed is recorded, and the others still run."""
    if frame.error is not None:
        rollback.memory.failures.append(frame.error)
    elif frame.holder is not None and frame.outcome == "succeeded":
        rollback.memory.done.append(frame.holder.path)


def look(world: World, rollback: Instance) -> None:
    """What was registered last is next."""
    _next(world, rollback)


def leave(world: World, rollback: Instance) -> None:
    """It is being left: it ends when the compensation under way has."""
    containers.has_been_left(world, rollback)


def look_as_loser(world: World, rollback: Instance) -> None:
    """A rollback has one frame at a time: nothing is left when it has ended."""


def waiting(world: World, rollback: Instance) -> list[Registration]:
    """What is registered there and was never run, in the order of completion."""
    return [each for each in world.registrations if not each.done and is_meant(world, rollback, each)]


def _next(world: World, rollback: Instance) -> None:
    memory: Memory = rollback.memory
    left = waiting(world, rollback)
    if left:
        _compensate(world, rollback, left[-1])
    elif memory.failures:
        failure = Failure(
            code="compensation_failed", title="A compensation failed.", category="business", retryable=False,
            node=rollback.path, also=tuple(memory.failures),
        )  # fmt: skip
        failing.offer(world, rollback, failure)
    else:
        ending.succeed(world, rollback, list(memory.done))


def _compensate(world: World, rollback: Instance, registration: Registration) -> None:
    registration.done = True
    instance = registration.instance
    scope = instance.node.scopes["compensate"]
    about = {"input": registration.params, "output": registration.output}
    kept = registration.remembered
    path = f"{instance_path(instance.frame.path, instance.node.id, instance.visit)}.compensate"
    frame = Frame(path, scope, rollback, kept.frame, kept, rollback.attempt, bound={"self": about})
    try:
        containers.fill(world, frame, Sight(world, kept.frame, kept))
    except Wrong as wrong:
        rollback.memory.failures.append(wrong.failure)
        _next(world, rollback)


def is_meant(world: World, rollback: Instance, registration: Registration) -> bool:
    """Whether a registration stands in what the rollback names; left out: in a body of the try whose catch it is in."""
    name = rollback.raw.get("of")
    if name is None:
        around = try_around(rollback.frame)
        return around is not None and is_in_body(registration.instance, around)
    for frame in in_sight(world, rollback.frame):
        if name in frame.scope.nodes:
            return is_of(registration.instance, frame, name)
    return False


def is_of(instance: Instance, frame: Frame, name: str) -> bool:
    """Whether an instance is a visit of the named node of the frame, or inside of one."""
    if instance.frame is frame:
        return instance.node.id == name
    return instance.frame.parent is not None and is_of(instance.frame.parent, frame, name)


def is_in_body(instance: Instance, container: Instance) -> bool:
    """Whether an instance is in the body of a try, of whatever attempt, at any depth."""
    frame = instance.frame
    if frame.parent is None:
        return False
    return (frame.parent is container and frame.kind == "body") or is_in_body(frame.parent, container)


def try_around(frame: Frame) -> Instance | None:
    """The nearest try whose handler or finally is around."""
    if frame.parent is None:
        return None
    return frame.parent if frame.kind in ("catch", "finally") else try_around(frame.parent.frame)
