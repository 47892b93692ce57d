"""The other end of an evaluation that went over the step's budget: the same function, in a process, with a task's budget."""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.definition.graph import roles
from perdure.engine.elements import ELEMENTS
from perdure.engine.place import NodeRefused, expression_failure
from perdure.expressions import (
    TASK_OPERATIONS,
    TASK_TOUCHED,
    Budget,
    Computed,
    ExpressionError,
    PlainNames,
    Template,
    compile_condition,
    compile_template,
)


def evaluate(payload: dict[str, Any]) -> dict[str, Any]:
    """`{type, document, names}` → `{output}` or `{failure}`; called in a process of the pool."""
    names = payload["names"]
    plain = PlainNames(
        {**names["roots"], "nodes": names["nodes"], "state": names["state"], "previous": names["previous"]},
        at=names["at"], seed=names["seed"],
    )  # fmt: skip
    keys, options = _compiled(payload["type"], payload["document"])
    try:
        output = ELEMENTS[payload["type"]].compute(keys, options, plain, Budget(TASK_OPERATIONS, TASK_TOUCHED))
    except NodeRefused as refused:
        return {"failure": msgspec.to_builtins(refused.failure)}
    except ExpressionError as error:
        return {"failure": msgspec.to_builtins(expression_failure(error, error.path))}
    return {"output": output}


def _compiled(node_type: str, document: dict[str, Any]) -> tuple[dict[str, Template], dict[str, Any]]:
    """The node's keys and options again, from the node as authored: compiled templates do not travel."""
    keys: dict[str, Template] = {}
    options: dict[str, Any] = {}
    for key, role in roles(node_type).items():
        if key not in document:
            continue
        if role.name == "condition":
            keys[key] = Computed(compile_condition(document[key]))
        elif role.name == "fixed":
            options[key] = document[key]
        else:
            keys[key] = compile_template(document[key])
    return keys, options
