"""What `loop`, `while` and `repeat` share: which iteration opens next, when a loop has ended, what it says (rules 24 to 29).

What a loop does next follows from its progress alone; its results leave the state in chunks, so that a loop of a million
iterations costs the same at its end as at its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from perdure.definition.fields import percent
from perdure.engine import events
from perdure.engine.codec import handle_of_ext
from perdure.engine.containers import (
    breaks_out,
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
from perdure.engine.events import NOTHING, AnyFact
from perdure.engine.execution import Progress
from perdure.engine.failing import parks
from perdure.engine.index import FrameIndex
from perdure.engine.names import FrameNames, LoopNames
from perdure.engine.place import NodeRefused, Place, expression_failure
from perdure.engine.quorums import Counted, has_need, judged, unreachable
from perdure.errors import Failure
from perdure.expressions import Budget, ExpressionError, Names, WithLocals

CHUNK = 1_000
"""Results that are put away as one value (day-one 19)."""

More = Callable[[Place, Progress], bool]
"""Is there another iteration to open? Raises NodeRefused where that cannot be told."""


# -- beginning -----------------------------------------------------------------------------------------------------------


def begin(place: Place, *, items: Raw = NOTHING, total: int = -1, concurrency: int = 1, accepts: bool = False) -> AnyFact:
    """A loop begins; everything it was given is evaluated here, once."""
    node = place.node
    return opened(
        place, items=items, total=total, concurrency=concurrency, accepts=accepts,
        tolerate=_tolerated(place, total), iterations_max=whole(place, "max_iterations", 0, least=1), keep=_kept(place),
        carry=place.encoded(place.evaluate(node.keys["carry.start"], "carry.start")) if "carry.start" in node.keys else NOTHING,
        reduced=place.encoded(place.evaluate(node.keys["reduce.start"], "reduce.start")) if folds(place) else NOTHING,
    )  # fmt: skip


def whole(place: Place, key: str, default: int, *, least: int) -> int:
    """The whole number under a key. Raises NodeRefused where it is none, or too small."""
    value = place.key(key)
    if value is None:
        return default
    if type(value) is not int or value < least:
        raise invalid(f"Expected `{key}` to be a whole number of at least {least}, but it is {str(value)[:80]!r}.")
    return value


def invalid(title: str) -> NodeRefused:
    return NodeRefused(Failure(code="loop.invalid", title=title, category="validation", retryable=False))


def _tolerated(place: Place, total: int) -> int:
    value = place.key("tolerate") if "tolerate" in place.node.keys else place.node.options.get("tolerate", 0)
    share = percent(value)
    if share is not None and share <= 100 and total >= 0:
        return int(share * total / 100)
    if type(value) is not int or value < 0:
        wanted = "a number of failures, or a percentage of the items in [0, 100]"
        raise invalid(f"Expected `tolerate` to be {wanted}, but it is {str(value)[:80]!r}.")
    return value


def _kept(place: Place) -> int:
    collect = place.node.options["collect"]
    if collect in ("count", "none"):
        return 0
    return int(collect.removeprefix("last ")) if collect.startswith("last ") else -1


def folds(place: Place) -> bool:
    """Are the results folded into one value?"""
    return bool(place.node.options["collect"] == "reduce")


# -- going on ------------------------------------------------------------------------------------------------------------


def advance(place: Place, more: More) -> Iterator[AnyFact]:
    """What a loop does next."""
    instance, progress = place.instance(), progress_of(place)
    assert instance is not None
    if instance.final:
        yield from _after_its_end(place, progress, more)
    elif instance.stopping:
        yield from stop_frame(place, instance.stopping)
        if not progress.open:
            yield from ended_by_stop(place, lambda: output(place))
    elif stands_still(place):
        return
    elif _is_chunk_full(place, progress):
        yield _put_away(place, progress)
    else:
        yield from _decide(place, progress, more)


def _decide(place: Place, progress: Progress, more: More) -> Iterator[AnyFact]:
    options = place.node.options
    if breaks_out(place.node, progress):
        if options.get("in_flight", "cancel") == "cancel":
            yield from stop_frame(place, f"iteration {progress.broken_by} broke `{place.node.id}`")
        if not progress.open:
            yield place.done(output(place))
        return
    failure = _failing(place, progress)
    if (progress.until and failure is None) or _is_met(place, progress, more):
        yield place.done(output(place))
        return
    goes_on = failure is None or (options["on_failure"] == "isolate" and not progress.until)
    if goes_on and _is_guarded(progress) and _may_open(place, progress, more):
        yield from _too_many(place, progress)  # it stops its own iterations, which then count for no quorum
        return
    missed = _unreachable(place, progress, more)
    if missed is not None and not parks(place.step, place.opened, place.node, missed):
        raise NodeRefused(missed)  # what is left of it are losers (rule 19)
    if missed is not None:
        yield from _after_its_end(place, progress, more)
        if not progress.open:
            raise NodeRefused(missed)
        return
    if failure is not None and options["on_failure"] != "isolate":
        if options["on_failure"] != "drain":
            yield from stop_frame(place, f"an iteration of `{place.node.id}` failed: {failure.title}")
        if not progress.open:
            raise NodeRefused(failure)
        return
    if failure is not None and progress.until:
        raise NodeRefused(failure)  # it ends as early as without the failure, which stands
    yield from _open_next(place, progress, more)
    if progress.open:
        return
    cause, rest = draining(place), progress.accepts or more(place, progress)
    if failure is not None and (cause or not rest):
        raise NodeRefused(failure)
    if cause and rest:
        yield cancelled(place, cause)
    elif not rest:
        yield place.done(output(place))


def _open_next(place: Place, progress: Progress, more: More) -> Iterator[AnyFact]:
    """Open the next iteration, if there is one and it may run."""
    if _may_open(place, progress, more):
        body = place.node.scopes["body"]
        reads = body.variables or body.timeout is not None  # what else would look at the item before the body does?
        yield from open_frame(place, "body", progress.next, loop_names(place, progress.next) if reads else None)


def _may_open(place: Place, progress: Progress, more: More) -> bool:
    """Is there a further iteration, and room for it?"""
    has_room = not progress.concurrency or progress.open < progress.concurrency
    return has_room and not draining(place) and more(place, progress)


def _is_guarded(progress: Progress) -> bool:
    """Were there as many iterations as `max_iterations` allows (rule 28)?"""
    return 0 < progress.iterations_max <= progress.next


def _too_many(place: Place, progress: Progress) -> Iterator[AnyFact]:
    title = f"`{place.node.id}` would go beyond its {progress.iterations_max} iterations."
    yield from stop_frame(place, title)
    if not progress.open:
        raise NodeRefused(Failure(code="loop.max_iterations", title=title, category="business", retryable=False))


def _after_its_end(place: Place, progress: Progress, more: More) -> Iterator[AnyFact]:
    """A loop that is final has iterations in flight: they have lost (rule 19)."""
    losers = place.node.options["losers"]
    if losers == "cancel":
        yield from stop_frame(place, f"`{place.node.id}` has ended", budget=True)
    elif losers == "detach" and not progress.until and progress.broken_by is None and others_go_on(place):
        if progress.total >= 0 and not _is_guarded(progress):  # nobody hears of a condition or a guard any more
            yield from _open_next(place, progress, more)


# -- quorum and failure --------------------------------------------------------------------------------------------------


def _counted(progress: Progress, ends: bool) -> Counted:
    """`ends`: no further iteration will open. While items may be added, nobody knows how many there will be."""
    total = -1 if progress.accepts else progress.total if progress.total >= 0 else progress.next if ends else -1
    ended = progress.succeeded + progress.failed + progress.continued + progress.cancelled
    unresolved = total - ended if total >= 0 else 1
    return Counted(succeeded=progress.succeeded, failed=progress.failed, total=total, unresolved=unresolved)


def _judged(place: Place, progress: Progress, more: More) -> str:
    ends = progress.total < 0 and not progress.open and not more(place, progress)
    return judged(place, _counted(progress, ends), place.node.options["on_failure"])


def _is_met(place: Place, progress: Progress, more: More) -> bool:
    return has_need(place.node) and _judged(place, progress, more) == "met"


def _unreachable(place: Place, progress: Progress, more: More) -> Failure | None:
    """The failure of a loop whose quorum can no longer be reached."""
    policy = place.node.options["on_failure"]
    if not has_need(place.node) or not shields(place.node, policy) or _judged(place, progress, more) != "unreachable":
        return None
    return unreachable(place, [error for _, error in progress.failures])


def _failing(place: Place, progress: Progress) -> Failure | None:
    """The failure that `on_failure` will end the loop with."""
    policy = place.node.options["on_failure"]
    if progress.error is None or policy in ("collect", "ignore") or (has_need(place.node) and shields(place.node, policy)):
        return None
    later = [error for _, error in progress.failures[progress.tolerate + 1 :]] if policy == "isolate" else []
    return msgspec.structs.replace(progress.error, also=tuple(later)) if later else progress.error


# -- the end of an iteration ---------------------------------------------------------------------------------------------


def closing(place: Place, inner: FrameIndex, fact: events.FrameClosed) -> events.FrameClosed:
    """An iteration ends: its result, the next `carry`, what `reduce` and `until` say of it (rules 25, 26, 28)."""
    progress, options = progress_of(place), place.node.options
    if fact.status == "failed" and options["on_failure"] == "collect" and fact.error is not None:
        value = place.encoded({"status": "failed", "error": fact.error.as_value()})
        fact = msgspec.structs.replace(fact, value=value, collects=progress.keep != 0)
    elif fact.status == "succeeded":
        fact = msgspec.structs.replace(fact, collects=progress.keep != 0)
    try:
        fact = _carried(place, inner, fact)
        fact = _folded(place, inner, progress, fact)
        return _until(place, inner, progress, fact)
    except ExpressionError as error:
        failure = msgspec.structs.replace(expression_failure(error, place.node.id), node=inner.frame.path)
        return events.FrameClosed(frame=inner.frame.path, status="failed", error=failure)
    except NodeRefused as refused:
        failure = msgspec.structs.replace(refused.failure, node=inner.frame.path)
        return events.FrameClosed(frame=inner.frame.path, status="failed", error=failure)


def _names(place: Place, inner: FrameIndex, bound: Mapping[str, Any]) -> Names:
    step = place.step
    return FrameNames(step.execution, step.index, inner, place.at, inner.frame.path, bound)


def _carried(place: Place, inner: FrameIndex, fact: events.FrameClosed) -> events.FrameClosed:
    template = place.node.keys.get("carry.next")
    if template is None or fact.status != "succeeded":
        return fact
    names = _names(place, inner, {"last": lambda: place.step.value(fact.value)})
    return msgspec.structs.replace(fact, carried=True, carry=place.encoded(template.evaluate(names, Budget())))


def _folded(place: Place, inner: FrameIndex, progress: Progress, fact: events.FrameClosed) -> events.FrameClosed:
    """Fold this result, and those behind it that came before it, once all below it have ended."""
    if not folds(place):
        return fact
    index = inner.frame.index
    if index != progress.through:
        return fact
    value = place.step.value
    reduced = value(progress.reduced)
    template = place.node.keys["reduce.next"]
    results = {**progress.results, index: fact.value} if fact.collects else progress.results
    while index == inner.frame.index or index in progress.ahead:
        if index in results:
            bound = {"item": value(results[index]), "index": index, "carry": reduced}
            reduced = template.evaluate(WithLocals(place.names(), bound), Budget())
        index += 1
    return msgspec.structs.replace(fact, folds=True, reduced=place.encoded(reduced))


def _until(place: Place, inner: FrameIndex, progress: Progress, fact: events.FrameClosed) -> events.FrameClosed:
    template = place.node.keys.get("until")
    policy = place.node.options["on_failure"]
    borne = policy in ("collect", "ignore") or (has_need(place.node) and shields(place.node, policy))
    tolerated = borne or progress.failed < progress.tolerate
    if template is None or not (fact.status in ("succeeded", "continued") or (fact.status == "failed" and tolerated)):
        return fact
    bound: dict[str, Any] = {}
    if fact.status == "succeeded":
        bound["last"] = lambda: place.step.value(fact.value)
    if fact.carried:
        bound["carry"] = lambda: place.step.value(fact.carry)
    return msgspec.structs.replace(fact, until=place.boolean(template, "until", _names(place, inner, bound)))


# -- what a loop says ----------------------------------------------------------------------------------------------------


def _is_chunk_full(place: Place, progress: Progress) -> bool:
    return progress.keep == -1 and not folds(place) and progress.through - progress.chunked >= CHUNK


def _put_away(place: Place, progress: Progress) -> AnyFact:
    """Results of iterations that have all ended leave the state, a thousand at a time (day-one 19)."""
    through = progress.chunked + CHUNK
    values = [progress.results[index] for index in range(progress.chunked, through) if index in progress.results]
    return events.Chunked(
        frame=place.opened.frame.path, node=place.node.id, visit=place.visit, values=place.encoded(values), through=through
    )


def output(place: Place) -> dict[str, Any]:
    """`{results, counts, failures, broken_by}` (rule 25)."""
    progress = progress_of(place)
    return {
        "results": _results(place, progress),
        "counts": {
            "total": progress.next,
            "succeeded": progress.succeeded,
            "failed": progress.failed,
            "continued": progress.continued,
            "cancelled": progress.cancelled + progress.open,
        },
        "failures": [{"index": index, "error": error.as_value()} for index, error in progress.failures],
        "broken_by": progress.broken_by,
    }


def _results(place: Place, progress: Progress) -> Any:
    collect = place.node.options["collect"]
    value = place.step.value
    if collect == "count":
        return progress.succeeded
    if collect == "none":
        return None
    if collect == "reduce":
        return value(progress.reduced)
    found: list[Any] = []
    for chunk in progress.chunks:
        found += [_whole_value(place, each) for each in value(chunk)]
    return found + [value(progress.results[index]) for index in sorted(progress.results)]


def _whole_value(place: Place, value: Any) -> Any:
    """A result in a chunk: the value, or a handle that stands for a large one."""
    return place.step.value(handle_of_ext(value)) if isinstance(value, msgspec.msgpack.Ext) else value


def loop_names(place: Place, index: int) -> Names:
    """What a loop's own keys see of the iteration of this number."""
    instance = place.instance()
    assert instance is not None
    names = LoopNames(place.step.index, place.opened, place.node, instance, index)
    return WithBound(place.names(), names.all())


class WithBound(WithLocals):
    """Other names with some laid over them that are found when they are read."""

    def root(self, name: str) -> Any:
        found = self.locals.get(name)
        return found() if found is not None else self._names.root(name)
