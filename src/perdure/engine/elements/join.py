"""`join`: waits for a quorum of its incoming edges; how it decides stands in `engine/joins.py` (rules 15 to 22)."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.definition.spec import Example, NodeSpec
from perdure.engine import joins
from perdure.engine.events import AnyFact
from perdure.engine.place import Place

SPEC = NodeSpec(
    name="join",
    title="Join",
    kind="control",
    group="control",
    summary="Waits for a quorum of its branches.",
    description=(
        "Each entry of `after` is a branch. `need` is how many must succeed: `all` (default), `any`, a number, a percentage "
        "of those that can come, or an expression over `join.success`, `join.failed`, `join.dead`, `join.pending` and "
        "`join.total`. What was not chosen does not count. `count: finished` counts failed branches too; `losers` says what "
        "becomes of the rest; `deadline` runs from the first arrival and leaves by `timeout`. The output is `{branch: "
        "{status, output|error}}`, `state.<id>.winners` names who made the quorum, in order of arrival."
    ),
    ports=("out", "timeout"),
    output={"type": "object"},
    examples=(
        Example(
            title="Two of three are enough",
            definition={
                "perdure": 1,
                "name": "enough",
                "nodes": {
                    "a": {"type": "transform", "to": 1},
                    "b": {"type": "fail", "code": "b.broken", "title": "No answer from b."},
                    "c": {"type": "transform", "to": 3},
                    "both": {"type": "join", "after": ["a", "b", "c"], "need": 2},
                },
                "output": "${ nodes.both }",
            },
            output={
                "a": {"status": "succeeded", "output": 1},
                "b": {
                    "status": "failed",
                    "error": {
                        "type": "urn:perdure:error:b.broken",
                        "title": "No answer from b.",
                        "code": "b.broken",
                        "category": "business",
                        "retryable": False,
                        "node": "b",
                        "instance": "b",
                    },
                },
                "c": {"status": "succeeded", "output": 3},
            },
        ),
    ),
)


def enter(place: Place) -> Iterator[AnyFact]:
    return joins.judge(place.step, place)
