"""Any node whose work leaves the engine: its parameters are evaluated and journaled, then an attempt may start (rule 51)."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.engine import events
from perdure.engine.events import AnyFact
from perdure.engine.place import Place


def enter(place: Place) -> Iterator[AnyFact]:
    node = place.node
    params = place.params()
    yield events.Scheduled(
        frame=place.opened.frame.path,
        node=node.id,
        visit=place.visit,
        params=params,
        ready=place.ready(),
        timeout=place.duration(node.timeout, "timeout"),
        queue_timeout=place.duration(node.queue_timeout, "queue_timeout"),
        heartbeat=place.duration(node.heartbeat, "heartbeat"),
        grace=place.duration(node.grace, "grace"),
        deadline_at=place.deadline_at(),
    )
