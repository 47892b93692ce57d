"""`wait_for_signal`: until somebody says so; an early signal is found waiting (rules 46, 47)."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.definition.spec import Example, NodeSpec
from perdure.engine import events
from perdure.engine.events import AnyFact
from perdure.engine.place import Place
from perdure.expressions import value_text

SPEC = NodeSpec(
    name="wait_for_signal",
    title="Wait for a signal",
    kind="control",
    group="waiting",
    summary="Waits until a signal of this name, and key, arrives.",
    description=(
        "The output is the signal's payload. `timeout` ends the wait: `on_timeout: fail` (default) fails with category "
        "`timeout`, `continue` goes on by `out`, `route` by `timeout`, both with `{timed_out: true}`."
    ),
    ports=("out", "timeout"),
    examples=(
        Example(
            title="Go on after a while without an answer",
            definition={
                "perdure": 1,
                "name": "ask",
                "nodes": {
                    "answer": {"type": "wait_for_signal", "signal": "answer", "timeout": "20ms", "on_timeout": "route"},
                    "none": {"type": "transform", "after": "answer.timeout", "to": "no answer"},
                },
            },
            output="no answer",
        ),
    ),
)


def enter(place: Place) -> Iterator[AnyFact]:
    node = place.node
    name = place.text("signal")
    key = place.key("key", "")
    key = value_text(key)
    kept = next(
        (
            signal
            for signal in place.step.execution.signals
            if signal.name == name and signal.key == key and signal.path in ("", place.path)
            and (not signal.until or signal.until > place.at)
        ),
        None,
    ) if node.options["buffer"] else None  # fmt: skip
    if kept is None:
        yield place.waiting("signal", name=name, key=key)
        return
    yield events.SignalTaken(id=kept.id)
    yield events.Done(
        frame=place.opened.frame.path, node=node.id, visit=place.visit, output=kept.payload, started=place.at, finished=place.at
    )
