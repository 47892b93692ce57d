"""`set_variable`: new values for declared variables, visible at once (rule 49)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perdure.definition.spec import Example, NodeSpec
from perdure.engine import events
from perdure.engine.events import AnyFact
from perdure.engine.place import Place
from perdure.expressions import Constant, MapTemplate

SPEC = NodeSpec(
    name="set_variable",
    title="Set variables",
    kind="control",
    group="utility",
    summary="Gives declared variables new values.",
    description=(
        "`set` names variables and their new values, which are all computed before the first is written. A variable is "
        "declared under `vars`; where branches write the same one, its declaration says how: `merge: last | error | append | "
        "sum | max | min`."
    ),
    output={"type": "object"},
    examples=(
        Example(
            title="Count up",
            definition={
                "perdure": 1,
                "name": "count",
                "vars": {"total": 1},
                "nodes": {
                    "more": {"type": "set_variable", "set": {"total": "${ vars.total + input }"}},
                    "read": {"type": "get_variable", "after": "more", "name": "total"},
                },
            },
            input=41,
            output=42,
        ),
    ),
)


def enter(place: Place) -> Iterator[AnyFact]:
    wanted = place.node.keys["set"]
    assert isinstance(wanted, Constant | MapTemplate), "the compiler gives `set` as a map, or as a constant one"
    if isinstance(wanted, Constant):
        values: dict[str, Any] = dict(wanted.value)
    else:
        values = {name: place.evaluate(value, f"set.{name}") for name, value in wanted.entries.items()}
    frame = place.opened.frame.path
    for name, value in values.items():
        yield events.VariableSet(frame=frame, name=name, value=place.encoded(value), node=place.node.id)
    yield place.done(values)
