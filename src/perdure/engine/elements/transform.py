"""`transform`: one value made from others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.evaluation import entering
from perdure.expressions import Budget, Names, Template

SPEC = NodeSpec(
    name="transform",
    title="Transform",
    kind="pure",
    group="data",
    summary="Makes a value from others.",
    description="`to` is any value with expressions in it; it is the output.",
    repeatable=True,
    examples=(
        Example(
            title="Build a greeting",
            definition={
                "perdure": 1,
                "name": "greet",
                "nodes": {
                    "hello": {
                        "type": "transform",
                        "to": {"text": "Hello ${ title(input.name) }", "letters": "${ len(input.name) }"},
                    }
                },
            },
            input={"name": "ada"},
            output={"text": "Hello Ada", "letters": 3},
        ),
    ),
)


def compute(keys: Mapping[str, Template], options: Mapping[str, Any], names: Names, budget: Budget) -> Any:
    return keys["to"].evaluate(names, budget)


enter = entering(compute)
