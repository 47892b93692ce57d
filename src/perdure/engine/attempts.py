"""The next attempt of an instance: of an effect with its parameters, of a container in fresh frames (rules 43, 50, 51)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.definition.plan import NodePlan
from perdure.engine import events
from perdure.engine.elements import ELEMENTS
from perdure.engine.execution import Instance
from perdure.engine.index import FrameIndex
from perdure.engine.place import Place

if TYPE_CHECKING:
    from perdure.engine.machine import Step


def next_attempt(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance) -> None:
    """The next attempt: of an effect with the same parameters, of a container as a whole, in fresh frames (rule 43)."""
    if instance.pure or node.type not in ELEMENTS:
        return step.emit(reattempt(opened, instance))
    step.begin(Place(step, opened, node))


def reattempt(opened: FrameIndex, instance: Instance) -> events.Scheduled:
    """The next attempt of an effect: its parameters and its key stay (rules 50, 51)."""
    return events.Scheduled(
        frame=opened.frame.path,
        node=instance.node,
        visit=instance.visit,
        attempt=instance.attempt + 1,
        ready=instance.ready,
        timeout=instance.timeout,
        pure=instance.pure,
        queue_timeout=instance.queue_timeout,
        heartbeat=instance.heartbeat,
        grace=instance.grace,
        deadline_at=instance.deadline_at,
        generation=instance.generation,
    )
