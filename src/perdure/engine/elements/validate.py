"""`validate`: a value that must fit a JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.evaluation import entering, refused
from perdure.engine.schemas import faults_of
from perdure.expressions import Budget, Names, Template

SPEC = NodeSpec(
    name="validate",
    title="Validate",
    kind="pure",
    group="data",
    summary="Fails unless a value fits a JSON Schema.",
    description=(
        "The output is the value. One that does not fit fails the node with code `validation.schema`, category `validation`, "
        "and every fault in `data.faults` as `{path, message}`."
    ),
    repeatable=True,
    examples=(
        Example(
            title="An order needs an id",
            definition={
                "perdure": 1,
                "name": "checked",
                "nodes": {
                    "checked": {
                        "type": "validate",
                        "value": "${ input }",
                        "schema": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}},
                    },
                    "bad": {"type": "transform", "after": "checked.error", "to": "${ error.data.faults[0].message }"},
                    "good": {"type": "transform", "after": "checked", "to": "${ nodes.checked.id }"},
                },
                "output": "${ coalesce(nodes.good, nodes.bad) }",
            },
            input={"id": "o-1"},
            output="o-1",
        ),
    ),
)

_FAULTS_MAX = 100


def compute(keys: Mapping[str, Template], options: Mapping[str, Any], names: Names, budget: Budget) -> Any:
    value = keys["value"].evaluate(names, budget)
    schema = options["schema"]
    budget.measure(value)
    faults = faults_of(schema, value, limit=_FAULTS_MAX)
    if faults:
        first = faults[0]
        where = f"`{first['path']}`: " if first["path"] else ""
        raise refused(
            "validation.schema", f"The value does not fit the schema: {where}{first['message']}", data={"faults": faults}
        )
    return value


enter = entering(compute)
