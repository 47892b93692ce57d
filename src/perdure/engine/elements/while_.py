"""`while`: its body as long as a condition holds, judged before each iteration (rules 24 to 29)."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.definition.spec import Example, NodeSpec
from perdure.engine import iterations
from perdure.engine.events import AnyFact
from perdure.engine.execution import Progress
from perdure.engine.place import Place

SPEC = NodeSpec(
    name="while",
    title="While",
    kind="control",
    group="loops",
    summary="Runs its body as long as a condition holds.",
    description=(
        "`condition` is judged before each iteration and sees `carry`, `last`, `index` and variables. `carry` passes a value "
        "from one iteration to the next. All else is as in `loop`, one iteration after another."
    ),
    output={"type": "object"},
    examples=(
        Example(
            title="Follow pages until there is no next one",
            definition={
                "perdure": 1,
                "name": "pages",
                "nodes": {
                    "pages": {
                        "type": "while",
                        "condition": "${ carry.next != null }",
                        "carry": {"start": {"next": 1}, "next": "${ nodes.page }"},
                        "body": {
                            "nodes": {
                                "page": {
                                    "type": "transform",
                                    "to": {
                                        "number": "${ carry.next }",
                                        "next": "${ carry.next + 1 if carry.next < 3 else null }",
                                    },
                                }
                            }
                        },
                        "result": "${ nodes.page.number }",
                    }
                },
                "output": "${ nodes.pages.results }",
            },
            output=[1, 2, 3],
        ),
    ),
)


def enter(place: Place) -> Iterator[AnyFact]:
    yield iterations.begin(place)


def _more(place: Place, progress: Progress) -> bool:
    names = iterations.loop_names(place, progress.next)
    return place.boolean(place.node.keys["condition"], "condition", names)


def advance(place: Place) -> Iterator[AnyFact]:
    return iterations.advance(place, _more)


closing = iterations.closing
