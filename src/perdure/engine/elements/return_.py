"""`return`: the workflow ends here and now, with this value (rule 32)."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.definition.spec import Example, NodeSpec
from perdure.engine import events
from perdure.engine.events import AnyFact
from perdure.engine.place import Place

SPEC = NodeSpec(
    name="return",
    title="Return",
    kind="control",
    group="control",
    summary="Ends the workflow with a value.",
    description="What is still under way is cancelled. `value` replaces the workflow's `output`.",
    examples=(
        Example(
            title="Leave early",
            definition={
                "perdure": 1,
                "name": "early",
                "nodes": {
                    "known": {"type": "condition", "if": "${ input == 1 }"},
                    "leave": {"type": "return", "after": "known.true", "value": "early"},
                    "wait": {"type": "delay", "for": "30d"},
                },
            },
            input=1,
            output="early",
        ),
    ),
)


def enter(place: Place) -> Iterator[AnyFact]:
    value = place.encoded(place.key("value"))
    yield place.done()
    yield events.Departing(frame="", kind="return", cause=f"`{place.node.id}` returned", value=value)
