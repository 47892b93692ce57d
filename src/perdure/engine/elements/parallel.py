"""`parallel`: named branches at the same time, joined by a quorum (rules 15 to 22)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.containers import (
    cancelled,
    draining,
    ended_by_stop,
    open_frame,
    opened,
    others_go_on,
    progress_of,
    stands_still,
    stop_frame,
)
from perdure.engine.edges import shields
from perdure.engine.events import AnyFact, Done
from perdure.engine.execution import Progress
from perdure.engine.failing import parks
from perdure.engine.iterations import whole
from perdure.engine.place import NodeRefused, Place
from perdure.engine.quorums import Counted, judged, unreachable
from perdure.errors import Failure

SPEC = NodeSpec(
    name="parallel",
    title="Parallel",
    kind="control",
    group="control",
    summary="Runs named branches at the same time and joins them.",
    description=(
        "`branches` are graphs of their own. `need` is how many must succeed: `all` (default), `any`, a number, a percentage, "
        "or an expression over `join.success`, `join.failed`, `join.pending` and `join.total`. `count: finished` counts "
        "failed ones too. `losers` says what becomes of those that are not needed any more, `on_failure` what one that fails "
        "does to the others, `concurrency` how many run at once. The output is `{branch: {status, output|error}}` in the "
        "order they are written."
    ),
    output={"type": "object"},
    examples=(
        Example(
            title="The first two of three quotes",
            definition={
                "perdure": 1,
                "name": "quotes",
                "nodes": {
                    "quotes": {
                        "type": "parallel",
                        "need": 2,
                        "branches": {
                            "a": {"nodes": {"price": {"type": "transform", "to": 12}}},
                            "b": {"nodes": {"none": {"type": "fail", "code": "quote.none"}}},
                            "c": {"nodes": {"price": {"type": "transform", "to": 9}}},
                        },
                    },
                    "best": {
                        "type": "transform",
                        "after": "quotes",
                        "to": "${ min([nodes.quotes[name].output for name in state.quotes.winners]) }",
                    },
                },
                "output": "${ nodes.best }",
            },
            output=9,
        ),
    ),
)


def branches_of(place: Place) -> list[str]:
    """The names of the branches, in the order they are written."""
    return [name for name in place.node.scopes if name != "compensate"]


def enter(place: Place) -> Iterator[AnyFact]:
    yield opened(place, total=len(branches_of(place)), concurrency=whole(place, "concurrency", 0, least=1))


def advance(place: Place) -> Iterator[AnyFact]:
    instance, progress = place.instance(), progress_of(place)
    assert instance is not None
    if instance.final:
        yield from _after_its_end(place, progress)
    elif instance.stopping:
        yield from stop_frame(place, instance.stopping)
        if not progress.open:
            yield from ended_by_stop(place, lambda: outcomes(place, progress))
    elif not stands_still(place):
        yield from _decide(place, progress)


def _decide(place: Place, progress: Progress) -> Iterator[AnyFact]:
    policy = place.node.options["on_failure"]
    if _is_met(place, progress):
        yield _done(place, progress)
        return
    failure = _unreachable(place, progress)
    if failure is not None and not parks(place.step, place.opened, place.node, failure):
        raise NodeRefused(failure)  # what is left of it are losers (rule 19)
    if failure is not None:
        yield from _after_its_end(place, progress)
        if not progress.open:
            raise NodeRefused(failure)
        return
    failure = _failing(place, progress)
    if failure is not None and policy != "isolate":
        if policy != "drain":
            yield from stop_frame(place, f"a branch of `{place.node.id}` failed: {failure.title}")
        if not progress.open:
            raise NodeRefused(failure)
        return
    yield from _open_next(place, progress)
    if progress.open:
        return
    if failure is not None:
        raise NodeRefused(failure)
    if progress.next < progress.total:
        yield cancelled(place, draining(place))
    else:
        yield _done(place, progress)


def _open_next(place: Place, progress: Progress) -> Iterator[AnyFact]:
    names = branches_of(place)
    if (
        progress.next < progress.total
        and (not progress.concurrency or progress.open < progress.concurrency)
        and not draining(place)
    ):
        yield from open_frame(place, names[progress.next])


def _after_its_end(place: Place, progress: Progress) -> Iterator[AnyFact]:
    """The branches that were not needed have lost (rule 19)."""
    losers = place.node.options["losers"]
    if losers == "cancel":
        yield from stop_frame(place, f"`{place.node.id}` has ended", budget=True)
    elif losers == "detach" and others_go_on(place):
        yield from _open_next(place, progress)


# -- quorum --------------------------------------------------------------------------------------------------------------


def _judged(place: Place, progress: Progress) -> str:
    ended = progress.succeeded + progress.failed + progress.cancelled
    counted = Counted(
        succeeded=progress.succeeded, failed=progress.failed, total=progress.total, unresolved=progress.total - ended
    )
    return judged(place, counted, place.node.options["on_failure"])


def _is_met(place: Place, progress: Progress) -> bool:
    return _judged(place, progress) == "met"


def _unreachable(place: Place, progress: Progress) -> Failure | None:
    """The failure of a parallel whose quorum can no longer be reached."""
    if not shields(place.node, place.node.options["on_failure"]) or _judged(place, progress) != "unreachable":
        return None
    return unreachable(place, [error for _, error in progress.failures])


def _failing(place: Place, progress: Progress) -> Failure | None:
    """The failure that `on_failure` will end it with."""
    policy = place.node.options["on_failure"]
    errors = [error for _, error in progress.failures]
    if not errors or policy in ("collect", "ignore") or shields(place.node, policy):
        return None
    return msgspec.structs.replace(errors[0], also=tuple(errors[1:])) if policy == "isolate" and errors[1:] else errors[0]


# -- what it says --------------------------------------------------------------------------------------------------------


def _done(place: Place, progress: Progress) -> Done:
    won = sorted((end.seq, name) for name, end in progress.named.items() if end.status == "succeeded")
    return place.done_with(place.encoded(outcomes(place, progress)), winners=tuple(name for _, name in won))


def outcomes(place: Place, progress: Progress) -> dict[str, Any]:
    """`{branch: {status, output|error}}` in the order they are written (rule 22)."""
    ignores = place.node.options["on_failure"] == "ignore"
    told: dict[str, Any] = {}
    for name in branches_of(place):
        end = progress.named.get(name)
        if end is None:
            told[name] = {"status": "pending"}
        elif end.status == "succeeded":
            told[name] = {"status": "succeeded", "output": place.step.value(end.value)}
        elif end.status == "failed" and end.error is not None:
            if not ignores:
                told[name] = {"status": "failed", "error": end.error.as_value()}
        else:
            told[name] = {"status": "cancelled"}
    return told
