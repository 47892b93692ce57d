"""`repeat`: its body a number of times, or until a condition holds, judged after each iteration (rules 24 to 29)."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.definition.spec import Example, NodeSpec
from perdure.engine import iterations
from perdure.engine.events import AnyFact
from perdure.engine.execution import Progress
from perdure.engine.place import Place

SPEC = NodeSpec(
    name="repeat",
    title="Repeat",
    kind="control",
    group="loops",
    summary="Runs its body a number of times, or until a condition holds.",
    description=(
        "`times` is how often at most; `until` is judged after each iteration and sees the nodes of the body, `last`, "
        "`carry`, `index` and variables. All else is as in `loop`."
    ),
    output={"type": "object"},
    examples=(
        Example(
            title="Double it until it is large",
            definition={
                "perdure": 1,
                "name": "double",
                "nodes": {
                    "twice": {
                        "type": "repeat",
                        "times": 10,
                        "until": "${ last > 20 }",
                        "carry": {"start": "${ input }", "next": "${ nodes.doubled }"},
                        "body": {"nodes": {"doubled": {"type": "transform", "to": "${ carry * 2 }"}}},
                    }
                },
                "output": "${ nodes.twice.results }",
            },
            input=3,
            output=[6, 12, 24],
        ),
    ),
)


def enter(place: Place) -> Iterator[AnyFact]:
    times = iterations.whole(place, "times", -1, least=0)
    yield iterations.begin(place, total=times, concurrency=iterations.whole(place, "concurrency", 1, least=1))


def _more(place: Place, progress: Progress) -> bool:
    return progress.total < 0 or progress.next < progress.total


def advance(place: Place) -> Iterator[AnyFact]:
    return iterations.advance(place, _more)


closing = iterations.closing
