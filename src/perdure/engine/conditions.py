"""Waits for a condition: judged in every step that changed a name they read, and now and then (rule 48)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.definition.plan import NodePlan
from perdure.engine.events import Rescheduled
from perdure.engine.execution import WAITING, Instance
from perdure.engine.failing import fail
from perdure.engine.index import FrameIndex
from perdure.engine.place import NodeRefused, Place

if TYPE_CHECKING:
    from perdure.engine.machine import Step

_ANYTHING = ("", "")
"""Among the names that changed: nobody knows which did, so every condition is judged."""


def judge_all(step: Step) -> bool:
    """Judge the conditions that read a name which changed; did one come true, or fail?

    The others are judged with what followed from this one, and those before it anew if they read of that. A step that is cut,
    or lacks a value, leaves all of them to the next, whose time is another.
    """
    index = step.index
    if not index.conditions or not index.changed:
        return False
    for path, node_id in list(index.conditions):
        opened = index.frames[path]
        node = index.node(path, node_id)
        if not _has_changed(step, opened, node):
            continue
        if judge(step, opened, node):
            return True
        step.untrue[path, node_id] = step.execution.seq
    index.changed, step.untrue = {}, {}
    return False


def _has_changed(step: Step, opened: FrameIndex, node: NodePlan) -> bool:
    """Has a name that a condition reads changed since it was judged?"""
    changed, judged = step.index.changed, step.untrue.get((opened.frame.path, node.id), 0)
    if changed.get(_ANYTHING, 0) > judged:
        return True
    return any(changed.get(name, 0) > judged for name in names_read(opened, node))


def judge(step: Step, opened: FrameIndex, node: NodePlan) -> bool:
    """Judge one condition; is the wait over?"""
    place = Place(step, opened, node)
    try:
        if not place.boolean(node.keys["condition"], "condition"):
            return False
    except NodeRefused as refused:
        fail(step, opened, node, refused.failure, finished=step.at)
        return True
    step.emit(place.done())
    return True


def judge_on_time(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance) -> None:
    """It is time to judge a condition anew, though nothing that it reads may have changed."""
    if instance.state != WAITING or instance.progress is None or judge(step, opened, node):
        return
    step.emit(
        Rescheduled(
            frame=opened.frame.path, node=node.id, visit=instance.visit, due=step.at + instance.progress.every
        )
    )  # fmt: skip


def names_read(opened: FrameIndex, node: NodePlan) -> list[tuple[str, str]]:
    """The names that a condition reads, each by the frame that holds it."""
    found: list[tuple[str, str]] = []
    for root, member in node.keys["condition"].reads:
        here: FrameIndex | None = opened
        while here is not None:
            if root in ("nodes", "state", "previous") and member in here.scope.number:
                found.append((here.frame.path, str(member)))
                break
            if root == "vars":
                found += [(here.frame.path, f"(vars.{name})") for name in here.frame.variables]
            elif root == "last" and here.frame.index >= 0:
                found.append((here.frame.parent, here.frame.node))
                break
            here = here.outer
    return found
