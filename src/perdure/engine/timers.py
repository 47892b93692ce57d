"""What may become due in an execution, and when: of instances, of frames, of the whole."""

from __future__ import annotations

from collections.abc import Callable

from perdure.engine.execution import BACKOFF, FINAL, OPEN, WAITING, Execution, Frame, Instance


def _deadline(instance: Instance) -> int:
    """A failure that is parked keeps its deadline (rule 14); a question is ended by its answer alone (rule 53)."""
    return instance.deadline_at if instance.state < FINAL and not instance.stopping and instance.question != "unknown" else 0


def _attempt(instance: Instance) -> int:
    """A container's timeout is the engine's to watch: nobody runs it."""
    if instance.progress is None or instance.stopping or instance.state not in (OPEN, WAITING):
        return 0
    return instance.progress.timeout_at


def _cleanup(instance: Instance) -> int:
    """The budget of a container, or of a child, that was asked to stop; none is left once it waits for something else."""
    return instance.progress.cleanup_at if instance.progress is not None and instance.state in (OPEN, WAITING) else 0


TIMER_FIELDS: dict[str, Callable[[Instance], int]] = {
    "wait": lambda instance: instance.due if instance.state == WAITING else 0,
    "backoff": lambda instance: instance.due if instance.state == BACKOFF else 0,
    "deadline": _deadline,
    "wait_timeout": lambda instance: instance.wait_timeout_at if instance.state == WAITING and not instance.stopping else 0,
    "attempt": _attempt,
    "cleanup": _cleanup,
}
"""When each of an instance's timers is due, microseconds UTC; 0 = not armed."""


def _may_be_late(frame: Frame) -> bool:
    """A drain is under way but leaves the frame to its own end; its timeout is a later departure (rule 31)."""
    return frame.departure is None or frame.departure.kind == "drain"


FRAME_TIMERS: dict[str, Callable[[Frame], int]] = {
    "scope": lambda frame: frame.timeout_at if not frame.closed and _may_be_late(frame) else 0,
    "departure": lambda frame: frame.departure.cleanup_at if frame.departure is not None and not frame.closed else 0,
}
"""When each of a frame's timers is due."""


def counts(execution: Execution, timer: tuple[int, str, str, str, int]) -> bool:
    """Does this timer (due, frame, node, kind, visit) still stand for something?"""
    due, path, node, kind, visit = timer
    if execution.ended:
        return False
    if kind == "timeout":
        return execution.timeout_at == due and not _leaving(execution)
    if kind == "soft_timeout":
        return execution.soft_timeout_at == due
    frame = execution.frames.get(path)
    if frame is None:
        return False
    if kind in FRAME_TIMERS:
        return FRAME_TIMERS[kind](frame) == due
    instance = frame.instances.get(node)
    return instance is not None and instance.visit == visit and due == TIMER_FIELDS[kind](instance)


def _leaving(execution: Execution) -> bool:
    """Is the workflow being left in a way that its timeout no longer changes?"""
    departure = execution.frames[""].departure
    return departure is not None and departure.kind != "drain"
