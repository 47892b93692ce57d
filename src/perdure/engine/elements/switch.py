"""`switch`: many branches, the first that matches or all that do; else `default` (rule 9)."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.events import AnyFact
from perdure.engine.place import NodeRefused, Place
from perdure.errors import Failure
from perdure.expressions import MapTemplate

DEFAULT = "default"

SPEC = NodeSpec(
    name="switch",
    title="Switch",
    kind="control",
    group="control",
    summary="Goes on by the case that holds.",
    description=(
        "`cases` are asked in order. With `match: first` the first that is true is taken, with `match: all` each one. None: "
        "`default`; with `strict: true` none is the error `switch.no_match`. The output names what was chosen."
    ),
    ports=(DEFAULT,),
    output={"type": "array", "items": {"type": "string"}},
    examples=(
        Example(
            title="Route an order by value",
            definition={
                "perdure": 1,
                "name": "route",
                "nodes": {
                    "size": {
                        "type": "switch",
                        "cases": {"large": "${ input.total > 1000 }", "medium": "${ input.total > 100 }"},
                    },
                    "call": {"type": "transform", "after": "size.large", "to": "call"},
                    "mail": {"type": "transform", "after": ["size.medium", "size.default"], "to": "mail"},
                },
            },
            input={"total": 500},
            output={"mail": "mail"},
        ),
    ),
)


def enter(place: Place) -> Iterator[AnyFact]:
    node = place.node
    cases = node.keys["cases"]
    assert isinstance(cases, MapTemplate), "the compiler gives cases as a map"
    every = node.options.get("match") == "all"
    chosen: list[str] = []
    for name, condition in cases.entries.items():
        if place.boolean(condition, f"cases.{name}"):
            chosen.append(name)
            if not every:
                break
    if not chosen:
        if node.options.get("strict"):
            raise NodeRefused(
                Failure(
                    code="switch.no_match",
                    title=f"No case of `{node.id}` holds, and it is strict.",
                    category="business",
                    retryable=False,
                )
            )
        chosen.append(DEFAULT)
    yield place.done(chosen, ports=tuple(chosen))
