"""`condition`: one question, two ports; the branch that was not taken is dead."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.events import AnyFact
from perdure.engine.place import Place

SPEC = NodeSpec(
    name="condition",
    title="Condition",
    kind="control",
    group="control",
    summary="Goes on by `true` or by `false`.",
    description="`if` must be true or false; anything else fails the node. Its output is the answer.",
    ports=("true", "false"),
    output={"type": "boolean"},
    examples=(
        Example(
            title="A discount for large orders",
            definition={
                "perdure": 1,
                "name": "discount",
                "nodes": {
                    "large": {"type": "condition", "if": "${ input.total > 100 }"},
                    "reduced": {"type": "transform", "after": "large.true", "to": "${ input.total * 0.9 }"},
                    "full": {"type": "transform", "after": "large.false", "to": "${ input.total }"},
                },
                "output": "${ coalesce(nodes.reduced, nodes.full) }",
            },
            input={"total": 200},
            output=180.0,
        ),
    ),
)


def enter(place: Place) -> Iterator[AnyFact]:
    answer = place.boolean(place.node.keys["if"], "if")
    yield place.done(answer, ports=("true" if answer else "false",))
