"""`log`: a line for people, kept in the journal."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.events import AnyFact
from perdure.engine.place import Place
from perdure.expressions import value_text

SPEC = NodeSpec(
    name="log",
    title="Log",
    kind="control",
    group="utility",
    summary="Writes a message into the execution's timeline.",
    description="`level` is debug, info (default), warning or error; `data` any value to go with it.",
    output={"type": "object", "properties": {"message": {"type": "string"}, "level": {"type": "string"}, "data": {}}},
    examples=(
        Example(
            title="Say what happened",
            definition={
                "perdure": 1,
                "name": "note",
                "nodes": {"note": {"type": "log", "message": "got ${ input }", "level": "info"}},
            },
            input=3,
            output={"message": "got 3", "level": "info"},
        ),
    ),
)


def enter(place: Place) -> Iterator[AnyFact]:
    line = {"message": value_text(place.key("message", "")), "level": place.node.options.get("level", "info")}
    if "data" in place.node.keys:
        line["data"] = place.key("data")
    yield place.done(line)
