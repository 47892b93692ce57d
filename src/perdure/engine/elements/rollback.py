"""`rollback`: what was registered is undone, the last first, one after another, each once ever (rule 39)."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from perdure.definition.spec import Example, NodeSpec
from perdure.engine import events
from perdure.engine.compensations import bound_for
from perdure.engine.containers import ended_by_stop, opened, progress_of, stands_still, stop_frame
from perdure.engine.events import AnyFact
from perdure.engine.execution import Compensation, Frame, FrameEnd, Progress
from perdure.engine.index import FrameIndex
from perdure.engine.names import FrameNames
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


def _last(place: Place) -> Compensation | None:
    """The compensation that was registered last of those this rollback is for."""
    targets = _targets(place)
    for compensation in reversed(place.step.execution.compensations):
        own = instance_path(compensation.frame, compensation.node, compensation.visit)
        if any(own == target or is_inside(f"{compensation.frame}.", target) for target in targets):
            return compensation
    return None


def _targets(place: Place) -> list[str]:
    """The instances in which it undoes: of the node under `of`, else of the `try` around, whose body it is for."""
    name = place.node.options.get("of")
    here: FrameIndex | None = place.opened
    while here is not None:
        frame, outer = here.frame, here.outer
        if name is None and here.container is not None and here.container.type == "try" and frame.name != "body":
            return [instance_path(frame.parent, frame.node, frame.visit)]
        if name is not None:
            for holder in _holders(place, here):
                if name in holder.scope.number:
                    visits = range(1, holder.frame.visit_of(name) + 1)
                    return [instance_path(holder.frame.path, name, visit) for visit in visits]
        here = outer
    return []


def _holders(place: Place, here: FrameIndex) -> list[FrameIndex]:
    """A frame, and for a handler the body that it is for."""
    found = [here]
    if here.container is not None and here.container.type == "try" and here.frame.name != "body":
        body = place.step.index.frames.get(here.frame.path[: -len(here.frame.name)] + "body")
        found += [body] if body is not None else []
    return found


def _undo(place: Place, compensation: Compensation) -> Iterator[AnyFact]:
    """Open the scope that undoes it. What cannot be evaluated fails this compensation only: the others still run."""
    step = place.step
    own = instance_path(compensation.frame, compensation.node, compensation.visit)
    bound, scope = bound_for(step, compensation), step.index.plan.scopes[compensation.scope]
    frame = Frame(path=f"{own}.compensate", node=place.node.id, bound=bound, compensates=compensation.seq)
    names = FrameNames(step.execution, step.index, FrameIndex(frame, scope, place.opened), step.at, frame.path)
    timeout_at, values = 0, []
    refused: Failure | None = None
    try:
        timeout_at = place.after(scope.timeout, "timeout", names)
        for variable in scope.variables.values():
            value = place.evaluate(variable.value, f"vars.{variable.name}", names)
            values.append((variable.name, place.encoded(value)))
    except NodeRefused as wrong:
        refused = wrong.failure
    yield events.FrameOpened(
        frame=place.opened.frame.path, node=place.node.id, visit=place.visit, scope="compensate", path=frame.path,
        bound=bound, of=compensation.seq, timeout_at=timeout_at,
    )  # fmt: skip
    for name, raw in values:
        yield events.VariableSet(frame=frame.path, name=name, value=raw)
    if refused is not None:
        failure = msgspec.structs.replace(refused, node=frame.path)
        yield events.Departing(frame=frame.path, kind="fail", cause=refused.title, error=failure)
