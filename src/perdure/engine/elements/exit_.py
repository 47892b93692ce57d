"""`exit`: the nearest scope ends here with a value, and what is around it goes on (rule 32)."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.containers import depart
from perdure.engine.events import AnyFact
from perdure.engine.place import Place

SPEC = NodeSpec(
    name="exit",
    title="Exit",
    kind="control",
    group="control",
    summary="Ends the nearest scope with a value.",
    description=(
        "What is still under way in the scope is cancelled. In the body of a loop, `value` is the iteration's result; in a "
        "branch its output; in a `try` that of the body or handler; in the workflow's own scope it ends the workflow, as "
        "`return` does."
    ),
    ports=(),
    examples=(
        Example(
            title="An early result of an iteration",
            definition={
                "perdure": 1,
                "name": "early",
                "nodes": {
                    "each": {
                        "type": "loop",
                        "over": "${ input }",
                        "body": {
                            "nodes": {
                                "known": {"type": "condition", "if": "${ item == 0 }"},
                                "nothing": {"type": "exit", "after": "known.true", "value": "nothing"},
                                "some": {"type": "transform", "after": "known.false", "to": "${ 100 // item }"},
                            }
                        },
                        "result": "${ nodes.some }",
                    }
                },
                "output": "${ nodes.each.results }",
            },
            input=[0, 50],
            output=["nothing", 2],
        ),
    ),
)


def enter(place: Place) -> Iterator[AnyFact]:
    yield from leave_scope(place, "exited")


def leave_scope(place: Place, how: str) -> Iterator[AnyFact]:
    """End the scope of this node with its `value`."""
    value = place.encoded(place.key("value"))
    frame = place.opened.frame
    yield place.done()
    yield from depart(frame, "exit" if frame.path else "return", f"`{place.node.id}` {how}", value=value)
