"""`wait_for_condition`: until an expression is true; judged when what it reads has changed (rule 48)."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.events import AnyFact
from perdure.engine.place import Place

SPEC = NodeSpec(
    name="wait_for_condition",
    title="Wait for a condition",
    kind="control",
    group="waiting",
    summary="Waits until an expression is true.",
    description=(
        "`condition` may read any node of its scope, and variables. It is judged on entry, in every step that changed a name "
        "it reads, and every `every` where that is given. `timeout` ends the wait: `on_timeout: fail` (default) fails with "
        "category `timeout`, `continue` goes on by `out`, `route` by `timeout`, both with `{timed_out: true}`."
    ),
    ports=("out", "timeout"),
    examples=(
        Example(
            title="Until enough was counted",
            definition={
                "perdure": 1,
                "name": "enough",
                "vars": {"count": {"value": 0, "merge": "sum"}},
                "nodes": {
                    "one": {"type": "set_variable", "set": {"count": 1}},
                    "two": {"type": "set_variable", "set": {"count": 1}},
                    "wait": {"type": "wait_for_condition", "condition": "${ vars.count >= 2 }"},
                    "told": {"type": "get_variable", "after": "wait", "name": "count"},
                },
                "output": "${ nodes.told }",
            },
            output=2,
        ),
    ),
)


def enter(place: Place) -> Iterator[AnyFact]:
    if place.boolean(place.node.keys["condition"], "condition"):
        yield place.done()
        return
    every = place.duration(place.node.keys.get("every"), "every")
    yield place.waiting("condition", due=place.at + every if every else 0, every=every)
