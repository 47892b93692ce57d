"""`get_variable`: a variable's value at this moment, as an output."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.events import AnyFact
from perdure.engine.place import NodeRefused, Place
from perdure.errors import Failure

SPEC = NodeSpec(
    name="get_variable",
    title="Get a variable",
    kind="control",
    group="utility",
    summary="Keeps a variable's present value as its output.",
    examples=(
        Example(
            title="Read a declared value",
            definition={
                "perdure": 1,
                "name": "read",
                "vars": {"rate": 0.25},
                "nodes": {"rate": {"type": "get_variable", "name": "rate"}},
            },
            output=0.25,
        ),
    ),
)


def enter(place: Place) -> Iterator[AnyFact]:
    name = place.node.options["name"]
    variables = place.names().root("vars")
    if name not in variables:
        raise NodeRefused(
            Failure(
                code="variable.unknown", title=f"There is no variable `{name}` here.", category="validation", retryable=False
            )
        )
    yield place.done(variables[name])
