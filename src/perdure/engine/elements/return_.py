"""`return`: the workflow ends here and now, with this value (rule 32)."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.containers import depart
from perdure.engine.elements.exit_ import leave_scope
from perdure.engine.events import AnyFact
from perdure.engine.place import Place

SPEC = NodeSpec(
    name="return",
    title="Return",
    kind="control",
    group="control",
    summary="Ends the workflow with a value.",
    description=(
        "What is still under way is cancelled, and each `finally` on the way out runs. `value` replaces the workflow's "
        "`output`. `from: scope` ends only the nearest scope, as `exit` does."
    ),
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
    if place.node.options["from"] == "scope":
        yield from leave_scope(place, "returned")
        return
    value = place.encoded(place.key("value"))
    yield place.done()
    yield from depart(place.step.execution.frames[""], "return", f"`{place.node.id}` returned", value=value)
