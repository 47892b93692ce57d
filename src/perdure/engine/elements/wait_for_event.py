"""`wait_for_event`: until an event of this type comes into the event log, and fits (rule 48)."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.events import AnyFact
from perdure.engine.place import Place

SPEC = NodeSpec(
    name="wait_for_event",
    title="Wait for an event",
    kind="control",
    group="waiting",
    summary="Waits for an event of the event log.",
    description=(
        "`event` is its type; `where` sees `event` with `id`, `type`, `source`, `subject`, `time` and `data`, and says "
        "whether it is the one. Events count from the moment the node begins to wait, with `since: execution` from the start "
        "of the execution. The output is the event. `timeout` and `on_timeout` are those of `wait_for_signal`."
    ),
    ports=("out", "timeout"),
    output={"type": "object"},
    examples=(
        Example(
            title="Go on after a while without a payment",
            definition={
                "perdure": 1,
                "name": "paid",
                "nodes": {
                    "paid": {
                        "type": "wait_for_event",
                        "event": "order.paid",
                        "where": "${ event.data.order == input.order }",
                        "timeout": "20ms",
                        "on_timeout": "route",
                    },
                    "remind": {"type": "transform", "after": "paid.timeout", "to": "remind"},
                },
                "output": "${ nodes.remind }",
            },
            input={"order": "o-1"},
            output="remind",
        ),
    ),
)


def enter(place: Place) -> Iterator[AnyFact]:
    yield place.waiting("event", name=place.text("event"))
