"""`cancel`: another node or container is withdrawn, or completed with what it has (patterns 19, 25 to 27)."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.containers import is_left, stop_frames
from perdure.engine.events import AnyFact
from perdure.engine.execution import OPEN, STATE_NAMES
from perdure.engine.failing import withdraw
from perdure.engine.index import FrameIndex
from perdure.engine.place import Place

SPEC = NodeSpec(
    name="cancel",
    title="Cancel",
    kind="control",
    group="control",
    summary="Withdraws a node or container.",
    description=(
        "`target` is a node of this scope or of one around it. `mode: stop` (default) cancels it: its edges are dead; `mode: "
        "complete` ends it as a success with what it has: a loop with the results so far, a branch or an effect without an "
        "output. One that has not begun is skipped (completed: succeeds without an output), one that has ended stays as it "
        "is."
    ),
    output={"type": "object", "properties": {"target": {"type": "string"}, "was": {"type": "string"}}},
    examples=(
        Example(
            title="Withdraw what nobody needs any more",
            definition={
                "perdure": 1,
                "name": "withdraw",
                "nodes": {
                    "slow": {"type": "delay", "for": "30d"},
                    "enough": {"type": "transform", "to": True},
                    "stop": {"type": "cancel", "after": "enough", "target": "slow"},
                    "told": {"type": "transform", "after": "stop", "to": "${ nodes.stop.was }"},
                },
                "output": "${ nodes.told }",
            },
            output="waiting",
        ),
    ),
)


def enter(place: Place) -> Iterator[AnyFact]:
    target = place.node.options["target"]
    here: FrameIndex | None = place.opened
    while here is not None and target not in here.scope.number:
        here = here.outer
    assert here is not None, "the checker refuses a target that is not in sight"
    instance = here.frame.instances.get(target)
    was = STATE_NAMES[instance.state] if instance is not None else "pending"
    yield place.done({"target": target, "was": was})
    yield from _withdrawn(place, here, target)


def _withdrawn(place: Place, opened: FrameIndex, target: str) -> Iterator[AnyFact]:
    step, node = place.step, opened.scope.nodes[opened.scope.number[target]]
    cause, complete = f"`{place.node.id}` withdrew it", place.node.options["mode"] == "complete"
    instance = opened.frame.instances.get(target)
    if is_left(opened) or opened.frame.departure is not None:
        return
    if instance is None:
        there = Place(step, opened, node)
        yield there.done() if complete else step.skipped(there, cause)
    elif not instance.final and not instance.stopping:
        then = "complete" if complete else ""
        withdraw(step, opened, node, instance, cause, then=then, budget=instance.state == OPEN)
    elif node.id in opened.inside and not complete:
        yield from stop_frames(Place(step, opened, node), cause)
