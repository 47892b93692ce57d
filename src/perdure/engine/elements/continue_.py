"""`continue`: this iteration ends here, and adds nothing to the results (rules 25, 26)."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.containers import depart
from perdure.engine.elements.break_ import loop_around
from perdure.engine.events import AnyFact
from perdure.engine.place import Place

SPEC = NodeSpec(
    name="continue",
    title="Continue",
    kind="control",
    group="control",
    summary="Ends this iteration of the loop around it.",
    description="The iteration adds nothing to the results, and `carry` stays as it is. `loop` names a loop further out.",
    ports=(),
    examples=(
        Example(
            title="Pass over what does not count",
            definition={
                "perdure": 1,
                "name": "some",
                "nodes": {
                    "even": {
                        "type": "loop",
                        "over": "${ input }",
                        "body": {
                            "nodes": {
                                "odd": {"type": "condition", "if": "${ item % 2 == 1 }"},
                                "skip": {"type": "continue", "after": "odd.true"},
                                "half": {"type": "transform", "after": "odd.false", "to": "${ item // 2 }"},
                            }
                        },
                        "result": "${ nodes.half }",
                    }
                },
                "output": "${ nodes.even.results }",
            },
            input=[1, 2, 3, 4],
            output=[1, 2],
        ),
    ),
)


def enter(place: Place) -> Iterator[AnyFact]:
    frame = loop_around(place)
    yield place.done()
    yield from depart(frame, "continue", f"`{place.node.id}` went on with the next of `{frame.node}`")
