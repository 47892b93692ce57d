"""`subworkflow`: another workflow runs as a child; its id is derived, so that it is started once (rules 40, 41)."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.definition.spec import Example, NodeSpec
from perdure.engine import events
from perdure.engine.events import NOTHING, AnyFact
from perdure.engine.place import NodeRefused, Place
from perdure.errors import Failure
from perdure.ids import ExecutionId, child_id

SPEC = NodeSpec(
    name="subworkflow",
    title="Sub-workflow",
    kind="control",
    group="control",
    summary="Runs another workflow.",
    description=(
        "`workflow` is its name, `input` its input. The node waits and gives the child's output; with `wait: false` it goes "
        "on at once with `{execution}`. `version: pinned` (default) is the definition that was known when this execution "
        "started, `channel` the newest when the child starts. A failure of the child is the node's, with the child's error as "
        "cause. `on_cancel: abandon` lets the child go on when the node is cancelled; `on_parent_close: cancel | terminate` "
        "ends a child that is not waited for together with its parent. The depth of children of children is limited by "
        "`settings.depth_max`."
    ),
    ports=("out", "timeout"),
    examples=(
        Example(
            title="A workflow that calls itself",
            definition={
                "perdure": 1,
                "name": "countdown",
                "nodes": {
                    "more": {"type": "condition", "if": "${ input > 0 }"},
                    "below": {
                        "type": "subworkflow",
                        "after": "more.true",
                        "workflow": "countdown",
                        "input": "${ input - 1 }",
                    },
                    "end": {"type": "transform", "after": "more.false", "to": []},
                },
                "output": "${ [input] + (nodes.below or []) }",
            },
            input=2,
            output=[2, 1, 0],
        ),
    ),
)


def enter(place: Place) -> Iterator[AnyFact]:
    step, node, options = place.step, place.node, place.node.options
    execution = step.execution
    name = place.text("workflow")
    depth_max = step.index.plan.settings.depth_max
    if execution.depth + 1 > depth_max:
        raise NodeRefused(
            Failure(
                code="subworkflow.too_deep", title=f"`{name}` would be the child of {depth_max} executions in each other.",
                category="validation", retryable=False, detail="`settings.depth_max` of this workflow is the limit.",
            )
        )  # fmt: skip
    instance = place.instance()
    attempt = (instance.attempt if instance is not None else 0) + 1
    pinned = execution.children.get(name, b"") if options["version"] == "pinned" else b""
    given = place.given if place.given is not NOTHING else place.encoded(place.key("input"))
    yield events.Waiting(
        frame=place.opened.frame.path, node=node.id, visit=place.visit, kind="child", attempt=attempt, name=name,
        key=pinned.hex(), child=child_id(place.at, ExecutionId(execution.id), place.path, place.visit, attempt),
        params=given, ready=place.ready(), deadline_at=place.deadline_at(), timeout_at=place.after(node.timeout, "timeout"),
    )  # fmt: skip
