"""When an execution stands still: only a person, a signal, an event, or another execution can move it on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from perdure.definition.plan import NodePlan
from perdure.engine.execution import BACKOFF, OPEN, PARKED, RUNNING, WAITING, Execution, Instance
from perdure.ids import ExecutionId
from perdure.operations.waits import child_of, condition_of

OF_TIME = frozenset(("now",))
"""Functions that give something else as time passes: a condition that calls one may come true by itself."""

Active = Mapping[tuple[str, str], Instance]
"""What has begun and is not final, by frame and node."""

NodeOf = Callable[[str, str], NodePlan | None]
"""The plan of a node, by frame and node; None where it is not known."""


class Standstill(msgspec.Struct, kw_only=True):
    """Why an execution does not move by itself; instances by the path of their frame."""

    paused: bool = False
    people: list[tuple[str, Instance]] = msgspec.field(default_factory=list)  # parked, or waiting for somebody's word
    conditions: list[tuple[str, Instance]] = msgspec.field(default_factory=list)  # that nothing is left to make true
    children: list[ExecutionId] = msgspec.field(default_factory=list)  # that are waited for: it stands as long as they do
    locks: list[tuple[str, Instance]] = msgspec.field(default_factory=list)  # that are waited for: as long as others hold them


def standstill(state: Execution, active: Active, node_of: NodeOf, now: int) -> Standstill | None:
    """Why the execution stands still; None when it moves by itself, or has ended."""
    if state.ended or not state.frames:
        return None
    if state.paused_at:
        runs = any(instance.state == RUNNING for instance in active.values())
        return None if runs else Standstill(paused=True)
    found = Standstill()
    for (frame, name), instance in active.items():
        if not _stands(found, frame, instance, node_of(frame, name), now):
            return None
    return found if found.people or found.conditions or found.children or found.locks else None


def _stands(found: Standstill, frame: str, instance: Instance, node: NodePlan | None, now: int) -> bool:
    """Note what an instance waits for; False when it moves by itself."""
    if instance.state in (RUNNING, BACKOFF) or any(due and due <= now for due in _limits(instance)):
        return False
    if instance.state == PARKED:
        found.people.append((frame, instance))
    elif instance.state == OPEN:
        progress = instance.progress
        if progress is not None and progress.accepts and not progress.open:
            found.people.append((frame, instance))
    elif instance.state == WAITING:
        return _waits(found, frame, instance, node)
    else:
        return False
    return True


def _limits(instance: Instance) -> tuple[int, ...]:
    return (instance.deadline_at, instance.wait_timeout_at if instance.state == WAITING else 0)


def _waits(found: Standstill, frame: str, instance: Instance, node: NodePlan | None) -> bool:
    match instance.wait:
        case "signal" | "deferred" | "event":
            found.people.append((frame, instance))
        case "child":
            found.children.append(child_of(instance))
        case "lock":
            found.locks.append((frame, instance))
        case "condition":
            condition = condition_of(node)
            if instance.due and (condition is None or condition.expression.functions & OF_TIME):
                return False
            found.conditions.append((frame, instance))
        case "join":
            pass  # its branches speak for themselves
        case _:
            return False
    return True
