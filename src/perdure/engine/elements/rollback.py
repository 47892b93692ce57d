"""`rollback`: what was registered is undone, the last first, one after another, each once ever (rule 39)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from operator import attrgetter

from perdure.definition.spec import Example, NodeSpec
from perdure.engine.compensations import bound_for
from perdure.engine.containers import ended_by_stop, entered, opened, progress_of, stands_still, stop_frame
from perdure.engine.events import AnyFact
from perdure.engine.execution import Compensation, Frame, FrameEnd, Progress
from perdure.engine.index import FrameIndex
from perdure.engine.names import FrameNames, body_beside
from perdure.engine.place import NodeRefused, Place
from perdure.errors import Failure
from perdure.ids import instance_path, is_inside

SPEC = NodeSpec(
    name="rollback",
    title="Roll back",
    kind="control",
    group="control",
    summary="Runs the compensations that stand registered, last first.",
    description=(
        "A node with `compensate` registers it when it succeeds. `rollback` runs what is registered in the body of the `try` "
        "whose handler it is in, or in the node or container under `of`: in reverse order of completion, one after another, "
        "each once ever. A compensation sees `self.input` and `self.output` of its node. One that fails is recorded, the "
        "others still run, and then the rollback fails with `compensation_failed`. The output is the list of what was undone."
    ),
    output={"type": "array", "items": {"type": "string"}},
    examples=(
        Example(
            title="Undo what was booked",
            definition={
                "perdure": 1,
                "name": "trip",
                "nodes": {
                    "trip": {
                        "type": "try",
                        "body": {
                            "nodes": {
                                "hotel": {
                                    "type": "transform",
                                    "to": {"room": 7},
                                    "compensate": {
                                        "nodes": {
                                            "undo": {"type": "log", "message": "room ${ self.output.room } is free again"}
                                        }
                                    },
                                },
                                "flight": {"type": "fail", "after": "hotel", "code": "flight.full"},
                            }
                        },
                        "catch": {"body": {"nodes": {"undo": {"type": "rollback"}}}},
                    }
                },
                "output": "${ nodes.trip }",
            },
            output=["trip.body.hotel"],
        ),
    ),
)


def enter(place: Place) -> Iterator[AnyFact]:
    yield opened(place)


def advance(place: Place) -> Iterator[AnyFact]:
    instance, progress = place.instance(), progress_of(place)
    assert instance is not None
    if instance.final:
        return
    if instance.stopping and not progress.open:
        yield from ended_by_stop(place)
        return
    if instance.stopping:
        yield from stop_frame(place, instance.stopping)
        return
    if progress.open or stands_still(place):
        return
    compensation = _last(place)
    if compensation is not None:
        yield from _undo(place, compensation)
        return
    failed = [end for end in progress.named.values() if end.status != "succeeded"]
    if failed:
        raise NodeRefused(_failure(failed))
    yield place.done(_undone(progress))


def _undone(progress: Progress) -> list[str]:
    ends = sorted((end.seq, path) for path, end in progress.named.items())
    return [path.removesuffix(".compensate") for _, path in ends]


def _failure(failed: list[FrameEnd]) -> Failure:
    errors = tuple(end.error for end in failed if end.error is not None)
    return Failure(
        code="compensation_failed", title=f"{len(failed)} of the compensations failed; all others were run.",
        category="technical", retryable=False, cause=errors[0] if errors else None, also=errors[1:],
    )  # fmt: skip


_SEQ = attrgetter("seq")


def _last(place: Place) -> Compensation | None:
    """The compensation that was registered last of those this rollback is for.

    What it has passed over once is not its to undo: a target that comes later, by a fresh visit, has registered nothing before.
    """
    registered, passed_over = place.step.execution.compensations, place.opened.passed_over
    after, through = passed_over.get(place.node.index, (0, 0))
    newer, older = bisect_right(registered, through, key=_SEQ), bisect_right(registered, after, key=_SEQ)
    numbers = chain(reversed(range(newer, len(registered))), reversed(range(older)))
    inside = _inside(place)
    found = next((registered[number] for number in numbers if inside(registered[number])), None)
    passed_over[place.node.index] = found.seq if found is not None else 0, registered[-1].seq if registered else 0
    return found


def _inside(place: Place) -> Callable[[Compensation], bool]:
    """Does a compensation lie in what it undoes: the node under `of`, else the body of the `try` whose handler it is in?"""
    name = place.node.options.get("of")
    here: FrameIndex | None = place.opened
    while here is not None:
        frame, outer = here.frame, here.outer
        if name is None and here.container is not None and here.container.type == "try" and frame.name != "body":
            return partial(_is_of_body, instance_path(frame.parent, frame.node, frame.visit))
        if name is not None:
            for holder in (here, body_beside(place.step.index, here)):
                if holder is not None and name in holder.scope.number:
                    return partial(_is_of_node, holder.frame.path, name)
        here = outer
    return lambda compensation: False


def _is_of_body(container: str, compensation: Compensation) -> bool:
    """Is it of the body of the `try` at this path, in whatever attempt?"""
    if not is_inside(compensation.frame, container):
        return False
    scope = compensation.frame[len(container) :].partition(".")[2]  # after the number of the attempt, if any
    return scope == "body" or scope.startswith("body.")


def _is_of_node(frame: str, node: str, compensation: Compensation) -> bool:
    """Is it the node's own, or of something inside it, in whatever visit?"""
    path = instance_path(frame, node)
    is_own = (compensation.frame, compensation.node) == (frame, node)
    return is_own or is_inside(compensation.frame, path) or compensation.frame.startswith(f"{path}#")


def _undo(place: Place, compensation: Compensation) -> Iterator[AnyFact]:
    """Open the scope that undoes it. What cannot be evaluated fails this compensation only: the others still run."""
    step = place.step
    own = instance_path(compensation.frame, compensation.node, compensation.visit)
    bound, scope = bound_for(step, compensation), step.index.plan.scopes[compensation.scope]
    frame = Frame(path=f"{own}.compensate", node=place.node.id, bound=bound, compensates=compensation.seq)
    names = FrameNames(step.execution, step.index, FrameIndex(frame, scope, place.opened), step.at, frame.path)
    yield from entered(
        place, scope, frame.path, where="", names=names, timed_by=names, blamed=frame.path, name="compensate",
        path=frame.path, bound=bound, of=compensation.seq,
    )  # fmt: skip
