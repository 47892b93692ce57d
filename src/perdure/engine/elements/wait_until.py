"""`wait_until`: until a moment of the calendar; a pause does not shift it (rules 45, 48)."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.events import AnyFact
from perdure.engine.place import NodeRefused, Place
from perdure.errors import Failure
from perdure.expressions import parse_time

SPEC = NodeSpec(
    name="wait_until",
    title="Wait until a time",
    kind="control",
    group="waiting",
    summary="Waits until a moment.",
    description=(
        "`time` is an RFC 3339 time with its offset: `2026-12-24T18:00:00+01:00`. One that has passed ends the wait at once."
    ),
    examples=(
        Example(
            title="A moment that has passed",
            definition={
                "perdure": 1,
                "name": "past",
                "nodes": {"then": {"type": "wait_until", "time": "2020-01-01T00:00:00Z"}},
            },
            output=None,
        ),
    ),
)


def enter(place: Place) -> Iterator[AnyFact]:
    value = place.key("time")
    try:
        due = parse_time(value)
    except (ValueError, TypeError) as error:
        title = f"Expected `time` to be an RFC 3339 time with its offset, but it is {str(value)[:80]!r}."
        raise NodeRefused(Failure(code="time.invalid", title=title, category="validation", retryable=False)) from error
    if due <= place.at:
        yield place.done()
        return
    yield place.waiting("until", due=due, absolute=True)


def due(place: Place) -> Iterator[AnyFact]:
    yield place.done()
