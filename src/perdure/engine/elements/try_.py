"""`try`: a body, handlers for its errors, and `finally`, which always runs (rules 37, 38)."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.containers import cancelled as was_cancelled
from perdure.engine.containers import (
    is_left,
    open_frame,
    opened,
    progress_of,
    stands_still,
    stop_frame,
    time_is_over,
)
from perdure.engine.events import NOTHING, AnyFact, Departing, FrameClosed
from perdure.engine.execution import FrameEnd, Progress
from perdure.engine.failing import handler_for
from perdure.engine.index import FrameIndex
from perdure.engine.place import NodeRefused, Place
from perdure.errors import Failure

SPEC = NodeSpec(
    name="try",
    title="Try",
    kind="control",
    group="control",
    summary="Runs a body, handles its errors, and cleans up.",
    description=(
        "`catch` is a list of handlers; the first whose `on` and `when` match the error of the body runs, with the error "
        "bound as `error` (or the name under `as`). `finally` runs whatever happens: success, error, cancel, timeout. A "
        "cancel does not reach into it, but it must be done within the `cleanup` budget. The output is that of the body, or "
        "of the handler."
    ),
    examples=(
        Example(
            title="Another way when the first fails",
            definition={
                "perdure": 1,
                "name": "another",
                "nodes": {
                    "pay": {
                        "type": "try",
                        "body": {"nodes": {"card": {"type": "fail", "code": "card.declined"}}},
                        "catch": [
                            {
                                "on": "card.*",
                                "body": {"nodes": {"invoice": {"type": "transform", "to": "invoice after ${ error.code }"}}},
                            }
                        ],
                        "finally": {"nodes": {"note": {"type": "log", "message": "payment is settled"}}},
                    }
                },
                "output": "${ nodes.pay }",
            },
            output="invoice after card.declined",
        ),
    ),
)

BODY, FINALLY = "body", "finally"


def enter(place: Place) -> Iterator[AnyFact]:
    yield opened(place)


def advance(place: Place) -> Iterator[AnyFact]:
    instance, progress = place.instance(), progress_of(place)
    assert instance is not None
    if instance.final:
        return
    if progress.open:
        if instance.stopping:
            yield from stop_frame(place, instance.stopping)
        return
    if not instance.stopping and stands_still(place):
        return
    ended = progress.named
    if BODY not in ended and not instance.stopping:
        yield from open_frame(place, BODY)
        return
    if BODY in ended and FINALLY not in ended:
        handler = _handler(place, progress) if not instance.stopping else ""
        if handler:
            yield from open_frame(place, handler)
            return
        if FINALLY in place.node.scopes:
            yield from open_frame(place, FINALLY)
            return
    yield from _conclude(place, progress)


def _handler(place: Place, progress: Progress) -> str:
    """The scope that takes the error of the body, if one does and none has."""
    body = progress.named[BODY]
    if body.status != "failed" or body.error is None or _caught(progress) is not None:
        return ""
    step = place.step
    frame = step.index.frames[progress.kept[0]]
    number = handler_for(step, frame, place.node, body.error)
    return f"catch{number}" if number >= 0 else ""


def _caught(progress: Progress) -> FrameEnd | None:
    """How the handler ended that ran."""
    return next((end for name, end in progress.named.items() if name.startswith("catch")), None)


def _conclude(place: Place, progress: Progress) -> Iterator[AnyFact]:
    """Everything has ended: what the body left, the handler made of it, `finally` put in its place."""
    instance = place.instance()
    assert instance is not None
    left = is_left(place.opened)
    error = _pending(place, progress, "" if left else instance.then)
    wrong = progress.named[FINALLY].error if FINALLY in progress.named else None
    if instance.stopping and not left and (not instance.then or _was_left(progress)):
        yield from _as_asked(place, progress, wrong)
        return
    if wrong is not None:
        if left:
            replacing = list(replacements(place.opened, wrong))
            if not replacing:
                yield was_cancelled(place, instance.stopping)
                return
            yield from replacing
        raise NodeRefused(msgspec.structs.replace(wrong, cause=error) if error is not None else wrong)
    if instance.stopping and left:
        yield was_cancelled(place, instance.stopping)
    elif error is not None:
        raise NodeRefused(error)
    else:
        end = _caught(progress) or progress.named.get(BODY)
        yield place.done_with(end.value if end is not None and end.status == "succeeded" else NOTHING)


def _was_left(progress: Progress) -> bool:
    """Was the body, or the handler, stopped on the way, and not only `finally` late?"""
    end = _caught(progress) or progress.named.get(BODY)
    return end is None or end.status == "cancelled"


def _as_asked(place: Place, progress: Progress, wrong: Failure | None) -> Iterator[AnyFact]:
    """It ends as whoever made it stop wants, whatever went `wrong` in `finally` (rule 31)."""
    instance = place.instance()
    assert instance is not None
    if instance.then in ("timeout", "deadline"):
        failure = time_is_over(place.node, instance.then)
        raise NodeRefused(msgspec.structs.replace(failure, also=(wrong,)) if wrong is not None else failure)
    yield place.done() if instance.then else was_cancelled(place, instance.stopping)


def _pending(place: Place, progress: Progress, then: str) -> Failure | None:
    """The error that is under way: of the handler, of the body, else of its own time, which came while `finally` ran."""
    error = thrown(progress)
    if error is None and then in ("timeout", "deadline"):
        return time_is_over(place.node, then)
    return error


def thrown(progress: Progress) -> Failure | None:
    """The error that the body, or the handler, throws."""
    body, caught = progress.named.get(BODY), _caught(progress)
    if caught is None:
        return body.error if body is not None and body.status == "failed" else None
    if caught.status != "failed" or caught.error is None:
        return None
    first = body.error if body is not None else None
    return caught.error if caught.error.cause is not None else msgspec.structs.replace(caught.error, cause=first)


def closing(place: Place, inner: FrameIndex, fact: FrameClosed) -> FrameClosed:
    """A part ends. One that was failing when its try was made to stop was left by that, which reaches further (rule 31)."""
    instance = place.instance()
    if fact.status == "failed" and inner.frame.name != FINALLY and instance is not None and instance.stopping:
        return FrameClosed(frame=fact.frame, status="cancelled")
    return fact


def replacements(here: FrameIndex, error: Failure) -> Iterator[AnyFact]:
    """The error of a `finally` takes the place of the departure that reaches furthest, unless that is a cancel (rule 31)."""
    furthest = furthest_departing(here)
    departure = furthest.frame.departure if furthest is not None else None
    if furthest is None or departure is None or departure.drained or departure.kind in ("cancel", "timeout"):
        return
    cause = departure.error
    if departure.kind in ("return", "break", "continue", "exit"):
        cause = Failure(code=f"departure.{departure.kind}", title=departure.cause, category="business", retryable=False)
    merged = msgspec.structs.replace(error, cause=cause)
    yield Departing(frame=furthest.frame.path, kind="fail", cause=departure.cause, error=merged)


def furthest_departing(opened: FrameIndex) -> FrameIndex | None:
    """Of the departures that are under way here, that of the frame furthest out. What a container has decided stands aside."""
    found, here = None, opened
    while True:
        departure = here.frame.departure
        if departure is not None and departure.kind != "stop":
            found = here
        if here.outer is None or here.is_shielded:
            return found
        instance = here.outer.frame.instances.get(here.frame.node)
        if instance is None or not instance.stopping or not is_left(here.outer):
            return found
        here = here.outer
