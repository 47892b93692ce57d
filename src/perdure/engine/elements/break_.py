"""`break`: the loop around ends here, with what has been done (rule 29)."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.containers import depart
from perdure.engine.events import AnyFact
from perdure.engine.execution import Frame
from perdure.engine.place import Place

SPEC = NodeSpec(
    name="break",
    title="Break",
    kind="control",
    group="control",
    summary="Ends the loop around it.",
    description=(
        "No further iteration starts; those in flight follow the loop's `in_flight: cancel | drain`. Results of finished "
        "iterations stay, and `broken_by` of the loop's output is the lowest iteration that broke. `loop` names a loop "
        "further out."
    ),
    ports=(),
    examples=(
        Example(
            title="Stop at the first that fits",
            definition={
                "perdure": 1,
                "name": "first",
                "nodes": {
                    "search": {
                        "type": "loop",
                        "over": "${ input }",
                        "body": {
                            "nodes": {
                                "seen": {"type": "transform", "to": "${ item }"},
                                "found": {"type": "break", "after": "seen", "when": "${ item > 2 }"},
                            }
                        },
                    }
                },
                "output": "${ nodes.search.broken_by }",
            },
            input=[1, 2, 3, 4],
            output=2,
        ),
    ),
)


def loop_around(place: Place) -> Frame:
    """The frame of the iteration that a `break` or `continue` leaves: of the nearest loop, or of the one it names."""
    label = place.node.options.get("loop")
    here = place.opened
    while here.frame.index < 0 or (label is not None and here.frame.node != label):
        assert here.outer is not None, "the checker refuses a break outside a loop"
        here = here.outer
    return here.frame


def enter(place: Place) -> Iterator[AnyFact]:
    frame = loop_around(place)
    yield place.done()
    yield from depart(frame, "break", f"`{place.node.id}` broke `{frame.node}`")
