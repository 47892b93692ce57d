"""Signals and events: which wait takes one, and what is kept for later (rules 47, 48)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.definition.plan import NodePlan
from perdure.engine import events
from perdure.engine.elements import ELEMENTS
from perdure.engine.execution import OPEN, WAITING, Instance
from perdure.engine.index import FrameIndex
from perdure.engine.names import time_text
from perdure.engine.place import NodeRefused, Place
from perdure.expressions import WithLocals
from perdure.ids import instance_path

if TYPE_CHECKING:
    from perdure.engine.machine import Step

SIGNALS_MAX = 1_000
"""Signals kept for one execution that nobody waits for yet; more change nothing (rule 47)."""


def signal(step: Step, given: events.Signal) -> None:
    """A signal goes to exactly one waiter, the oldest that fits, or to all; else it is kept (rule 47)."""
    loop = _open_loop(step, given)
    if loop is not None:
        return _to_loop(step, *loop, given)
    waiters = _waiters(step, given)
    if given.to_all:
        for opened, instance in waiters:
            _deliver(step, opened, instance, given)
        return None if waiters else step.emit(events.Late(node=given.name, what="signal to all"))
    if waiters:
        return _deliver(step, *waiters[0], given)
    kept = sum(1 for signal in step.execution.signals if not signal.until or signal.until > step.at)
    if kept >= SIGNALS_MAX:
        return step.emit(events.Late(node=given.name, what="signal beyond the limit"))
    step.emit(
        events.SignalKept(
            id=given.id, name=given.name, key=given.key, path=given.path, payload=given.payload,
            until=step.at + given.ttl if given.ttl else 0,
        )
    )  # fmt: skip


def _deliver(step: Step, opened: FrameIndex, instance: Instance, given: events.Signal) -> None:
    step.emit(
        events.Done(
            frame=opened.frame.path,
            node=instance.node,
            visit=instance.visit,
            output=given.payload,
            finished=step.at,
            by=given.by,
        )
    )


def _waiters(step: Step, given: events.Signal) -> list[tuple[FrameIndex, Instance]]:
    """The waits that fit, the oldest first."""
    found: list[tuple[FrameIndex, Instance]] = []
    for path, node in step.index.signals.get((given.name, given.key), ()):
        opened = step.index.frames[path]
        instance = opened.frame.instances[node]
        if instance.state == WAITING and given.path in ("", instance_path(path, node, instance.visit)):
            found.append((opened, instance))
    return sorted(found, key=lambda entry: entry[1].seq)


# -- open loops ----------------------------------------------------------------------------------------------------------


def _open_loop(step: Step, given: events.Signal) -> tuple[FrameIndex, NodePlan, Instance] | None:
    """The loop with `open: true` at the signal's path, for the signals that it takes."""
    element = ELEMENTS["loop"]
    if not given.path or given.name not in (element.ADD, element.CLOSE):
        return None
    path, _, name = given.path.rpartition(".")
    opened = step.index.frames.get(path)
    instance = opened.frame.instances.get(name.partition("#")[0]) if opened is not None else None
    if opened is None or instance is None or instance.state != OPEN:
        return None
    if given.path != instance_path(path, instance.node, instance.visit):
        return None
    node = step.index.node(path, instance.node)
    return (opened, node, instance) if node.options.get("open") else None


def _to_loop(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, given: events.Signal) -> None:
    assert instance.progress is not None, "a loop that has begun has progress"
    if not instance.progress.accepts or instance.stopping:
        return step.emit(events.Late(frame=opened.frame.path, node=node.id, visit=instance.visit, what=f"signal {given.name}"))
    payload: Any = step.value(given.payload)
    step.emit_all(ELEMENTS["loop"].signalled(Place(step, opened, node), given.name, payload))


# -- events --------------------------------------------------------------------------------------------------------------


def event(step: Step, given: events.Arrived) -> None:
    """An event goes to every wait for its type that it fits; one that fits none leaves no trace."""
    told: dict[str, Any] | None = None
    for opened, instance in _waiting_for(step, given.type):
        if told is None:
            told = {
                "id": given.id, "type": given.type, "source": given.source, "subject": given.subject,
                "time": time_text(given.at), "data": step.value(given.data),
            }  # fmt: skip
        node = step.index.node(opened.frame.path, instance.node)
        if given.past and node.options["since"] != "execution":
            continue
        if _fits(Place(step, opened, node), told):
            step.emit(
                events.Done(
                    frame=opened.frame.path, node=node.id, visit=instance.visit, output=step.encoded(told), finished=step.at
                )
            )  # fmt: skip


def _waiting_for(step: Step, event_type: str) -> list[tuple[FrameIndex, Instance]]:
    """The waits for a type of event, in the order in which their frames opened, and in each its nodes began."""
    waits, frames = step.index.events.get(event_type, {}), step.index.frames
    holding = sorted((frames[path] for path in {path for path, _ in waits}), key=lambda opened: opened.frame.opened)
    return [
        (opened, instance)
        for opened in holding
        for instance in opened.frame.instances.values()
        if instance.state == WAITING and (opened.frame.path, instance.node) in waits
    ]


def _fits(place: Place, told: dict[str, Any]) -> bool:
    where = place.node.keys.get("where")
    if where is None:
        return True
    try:
        return place.boolean(where, "where", WithLocals(place.names(), {"event": told}))
    except NodeRefused:
        return False  # one that cannot be judged does not match
