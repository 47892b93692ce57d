"""`delay`: a durable pause; it holds no slot and survives restarts."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.events import AnyFact
from perdure.engine.place import Place

SPEC = NodeSpec(
    name="delay",
    title="Delay",
    kind="control",
    group="waiting",
    summary="Waits for a while.",
    description="`for` is a duration: `10s`, `5m`, `2h`, `3d`, ISO 8601, or a number of seconds.",
    examples=(
        Example(
            title="A short pause",
            definition={"perdure": 1, "name": "pause", "nodes": {"pause": {"type": "delay", "for": "20ms"}}},
            output=None,
        ),
    ),
)


def enter(place: Place) -> Iterator[AnyFact]:
    yield place.waiting("delay", due=place.at + place.duration(place.node.keys["for"], "for"))


def due(place: Place) -> Iterator[AnyFact]:
    yield place.done()
