"""`loop`: its body for each item, one after another or several at once, opened lazily (rules 24 to 29)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Raw

from perdure.definition.spec import Example, NodeSpec
from perdure.engine import events, iterations
from perdure.engine.evaluation import outside
from perdure.engine.events import AnyFact
from perdure.engine.execution import Progress
from perdure.engine.place import NodeRefused, Place, expression_failure
from perdure.errors import Failure
from perdure.expressions import Budget, ExpressionError, Names, Template

SPEC = NodeSpec(
    name="loop",
    title="Loop",
    kind="control",
    group="loops",
    summary="Runs its body for each item.",
    description=(
        "`over` is a list, or an object (then items are `{key, value}`); it is evaluated once. Inside, `item` (or the name "
        "under `as`) and `index` are bound. `concurrency` is how many iterations run at the same time: 1, in order, unless "
        "written. `result` is the value of an iteration; the output is `{results, counts, failures, broken_by}`. `collect` "
        "says which results are kept, `tolerate` how many iterations may fail, `until` ends the loop early, `need` asks for a "
        "quorum, and `on_failure` says what an iteration that fails does to the others. With `open: true`, items are added by "
        "the signal `add` until the signal `close`."
    ),
    output={
        "type": "object",
        "properties": {"results": {}, "counts": {"type": "object"}, "failures": {"type": "array"}, "broken_by": {}},
    },
    examples=(
        Example(
            title="Price each line, two at a time",
            definition={
                "perdure": 1,
                "name": "price",
                "nodes": {
                    "lines": {
                        "type": "loop",
                        "over": "${ input.lines }",
                        "as": "line",
                        "concurrency": 2,
                        "body": {"nodes": {"price": {"type": "transform", "to": "${ line.price * line.quantity }"}}},
                        "result": "${ nodes.price }",
                    }
                },
                "output": "${ sum(nodes.lines.results) }",
            },
            input={"lines": [{"price": 5, "quantity": 2}, {"price": 3, "quantity": 1}]},
            output=13,
        ),
        Example(
            title="Carry a value from item to item",
            definition={
                "perdure": 1,
                "name": "balance",
                "nodes": {
                    "days": {
                        "type": "loop",
                        "over": "${ input }",
                        "carry": {"start": 100, "next": "${ nodes.after }"},
                        "body": {"nodes": {"after": {"type": "transform", "to": "${ carry + item }"}}},
                    }
                },
                "output": "${ nodes.days.results }",
            },
            input=[10, -30, 5],
            output=[110, 80, 85],
        ),
    ),
)

ADD, CLOSE = "add", "close"
"""The signals that an open loop takes, by its path."""


def compute(keys: Mapping[str, Template], options: Mapping[str, Any], names: Names, budget: Budget) -> Any:
    """The items. Objects iterate as `{key, value}`."""
    over = keys["over"].evaluate(names, budget)
    if type(over) is list:
        return over
    if type(over) is dict:
        return [{"key": key, "value": value} for key, value in over.items()]
    title = f"Expected `over` to be a list or an object, but it is {'null' if over is None else type(over).__name__}."
    raise NodeRefused(Failure(code="loop.not_iterable", title=title, category="validation", retryable=False))


def enter(place: Place) -> Iterator[AnyFact]:
    instance = place.instance()
    if instance is not None and instance.progress is not None and instance.attempt:  # a retry keeps the items (rule 24)
        progress = instance.progress
        base = progress.total - sum(count for _, count in progress.added)
        yield from _begin(place, progress.items, base, progress)
        return
    try:
        items = compute(place.node.keys, place.node.options, place.names(), Budget())
    except ExpressionError as error:
        if error.code != "expression.budget":
            raise NodeRefused(expression_failure(error, "over")) from error
        yield outside(place)
        return
    yield from _begin(place, place.encoded(items), len(items))


def evaluated(place: Place, output: Raw) -> Iterator[AnyFact]:
    """The items were evaluated outside the step."""
    yield from _begin(place, output, len(place.step.value(output)))


def _begin(place: Place, items: Raw, total: int, before: Progress | None = None) -> Iterator[AnyFact]:
    yield iterations.begin(
        place, items=items, total=total, concurrency=iterations.whole(place, "concurrency", 1, least=1),
        accepts=bool(place.node.options.get("open")) if before is None else before.accepts,
    )  # fmt: skip
    for raw, count in before.added if before is not None else ():
        yield _added(place, items=raw, count=count)


def advance(place: Place) -> Iterator[AnyFact]:
    return iterations.advance(place, lambda _, progress: progress.next < progress.total)


closing = iterations.closing


def signalled(place: Place, name: str, payload: Any) -> Iterator[AnyFact]:
    """More items for an open loop, or none any more (rule 28)."""
    if name == CLOSE:
        yield _added(place, closed=True)
        return
    items = payload if isinstance(payload, list) else [payload]
    yield _added(place, items=place.encoded(items), count=len(items))


def _added(place: Place, **fields: Any) -> events.ItemsAdded:
    return events.ItemsAdded(frame=place.opened.frame.path, node=place.node.id, visit=place.visit, **fields)
