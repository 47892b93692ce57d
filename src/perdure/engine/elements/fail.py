"""`fail`: an ordinary failure of its node, on purpose (rule 32)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.events import AnyFact
from perdure.engine.place import NodeRefused, Place
from perdure.errors import Category, Failure

SPEC = NodeSpec(
    name="fail",
    title="Fail",
    kind="control",
    group="control",
    summary="Fails with an error of the author's choice.",
    description="`code` is a dotted word that `catch` and `on` can name; `category` is business by default.",
    examples=(
        Example(
            title="Refuse an empty order",
            definition={
                "perdure": 1,
                "name": "refuse",
                "nodes": {
                    "empty": {
                        "type": "fail",
                        "when": "${ input == 0 }",
                        "code": "order.empty",
                        "title": "Nothing was ordered.",
                    },
                    "sorry": {"type": "transform", "after": "empty.error", "to": "${ error.code }"},
                },
                "output": "${ nodes.sorry }",
            },
            input=0,
            output="order.empty",
        ),
    ),
)


def enter(place: Place) -> Iterable[AnyFact]:
    options = place.node.options
    raise NodeRefused(
        Failure(
            code=place.text("code", "failed"),
            title=place.text("title", f"`{place.node.id}` failed on purpose."),
            detail=place.text("detail"),
            category=cast("Category", options.get("category") or "business"),
            retryable=bool(options.get("retryable")),
            data=place.key("data"),
        )
    )
