"""`emit`: an event into the durable event log, in the same commit as the fact that says so: exactly once."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.definition.spec import Example, NodeSpec
from perdure.engine import events
from perdure.engine.events import AnyFact
from perdure.engine.place import Place
from perdure.ids import ExecutionId, effect_key

SPEC = NodeSpec(
    name="emit",
    title="Emit an event",
    kind="control",
    group="utility",
    summary="Puts an event into the event log.",
    description="`event` is its type, `data` its content, `subject` what it is about. The output names its id.",
    output={"type": "object", "properties": {"id": {"type": "string"}, "event": {"type": "string"}}},
    examples=(
        Example(
            title="Tell others that an order is paid",
            definition={
                "perdure": 1,
                "name": "tell",
                "nodes": {
                    "tell": {"type": "emit", "event": "order.paid", "subject": "${ input.id }", "data": "${ input }"},
                    "told": {"type": "transform", "after": "tell", "to": "${ nodes.tell.event }"},
                },
            },
            input={"id": "o-1"},
            output="order.paid",
        ),
    ),
)


def enter(place: Place) -> Iterator[AnyFact]:
    type_, subject, data = place.text("event"), place.text("subject"), place.key("data")
    id_ = effect_key(ExecutionId(place.step.execution.id), place.path, place.visit, 0)
    frame, node = place.opened.frame.path, place.node.id
    yield events.Emitted(
        frame=frame, node=node, visit=place.visit, id=id_, type=type_, subject=subject, data=place.encoded(data)
    )
    yield place.done({"id": id_, "event": type_})
