"""`set_variable`: new values for declared variables, visible at once (rule 49)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perdure.definition.spec import Example, NodeSpec
from perdure.engine import events, variables
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
        "declared under `vars` of the workflow or of a scope; `scope` names the container, or `workflow`, whose one is meant, "
        "else it is the nearest. Where branches write the same one, its declaration says how a value joins the present one: "
        "`merge: last | error | append | sum | max | min`. A write that reads the variable itself has joined them already."
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
        reads: dict[str, Any] = {}
    else:
        values = {name: place.evaluate(value, f"set.{name}") for name, value in wanted.entries.items()}
        reads = {name: value.reads for name, value in wanted.entries.items()}
    writes = [_write(place, name, value, reads.get(name, ())) for name, value in values.items()]
    yield from writes
    yield place.done(values)


def _write(place: Place, name: str, value: Any, reads: Any) -> events.VariableSet:
    """One write: what is there and what is written, joined as the declaration says (rule 49)."""
    holder = variables.declared_in(place, name)
    declaration = holder.scope.variables[name]
    merge = declaration.merge or "last"
    if merge == "error":
        variables.refuse_unordered(place, holder, name)
    elif ("vars", name) not in reads and ("vars", None) not in reads:
        present = place.step.value(holder.frame.variables[name])
        value = variables.merged(merge, name, present, value)
    frame = place.opened.frame.path
    alone: dict[str, Any] = {"writer": frame, "alone": True} if merge == "error" else {}
    return events.VariableSet(frame=holder.frame.path, name=name, value=place.encoded(value), node=place.node.id, **alone)
