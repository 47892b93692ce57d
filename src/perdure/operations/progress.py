"""How far a container has come, in words: `3 of 10, 2 running, 1 failed`, `in catch0`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from perdure.engine.execution import Execution, Frame, Instance, Progress

ITERATED = frozenset(("loop", "while", "repeat"))
"""Containers whose frames have numbers."""


def progress_words(instance: Instance, node_type: str, inside: Iterable[Frame] = ()) -> str:
    """How far the container has come; nothing for what is no container. `inside`: its frames that have not ended."""
    progress = instance.progress
    if progress is None:
        return ""
    if node_type == "try":
        names = [frame.name for frame in inside if not frame.closed]
        return f"in {', '.join(names)}" if names else ""
    if node_type == "rollback":
        return f"{len(progress.named)} undone" if progress.named else ""
    return ", ".join(_counts(progress)) if node_type in ITERATED or node_type == "parallel" else ""


def ended(progress: Progress) -> int:
    """How many frames of a container have ended, however they did."""
    return progress.succeeded + progress.failed + progress.continued + progress.cancelled


def _counts(progress: Progress) -> Iterable[str]:
    total = f" of {progress.total}" if progress.total >= 0 else ""
    yield f"{ended(progress)}{total}"
    if progress.open:
        yield f"{progress.open} running"
    if progress.failed:
        yield f"{progress.failed} failed"
    if progress.broken_by is not None:
        yield f"broken by {progress.broken_by}"
    if progress.accepts:
        yield "open for more"


def frames_of(state: Execution, frame: str, node: str) -> Iterator[Frame]:
    """The frames of one container that are in memory, in the order in which they were opened."""
    return (each for each in list(state.frames.values()) if each.parent == frame and each.node == node)
