"""What each kind of input does to an execution: one function an input, looked up in `TAKE`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from perdure.definition.plan import NodePlan
from perdure.engine import children, conditions, events, iterations, joins, operators, signals
from perdure.engine.attempts import next_attempt
from perdure.engine.conclusions import end_hard
from perdure.engine.containers import (
    cancelled,
    cleanup_until,
    depart,
    give_up,
    give_up_frame,
    is_left,
    stopping,
    time_is_over,
    used_up,
)
from perdure.engine.elements import ELEMENTS
from perdure.engine.events import AnyInput
from perdure.engine.execution import BACKOFF, OPEN, PARKED, RUNNING, WAITING, Instance
from perdure.engine.failing import fail, look_ahead, lose, stopped, unknown
from perdure.engine.index import FrameIndex, Index
from perdure.engine.names import about
from perdure.engine.outstanding import command_of_wait, running, token_of, waiting
from perdure.engine.place import Place, expression_failure
from perdure.engine.timers import FRAME_TIMERS, TIMER_FIELDS
from perdure.errors import Failure
from perdure.expressions import Budget, ExpressionError, Template, parse_duration
from perdure.ids import instance_path

if TYPE_CHECKING:
    from perdure.engine.machine import Step

# -- the beginning -------------------------------------------------------------------------------------------------------


class StartNames:
    """What settings and the workflow's variables may read: there is no frame yet, so `input`, `trigger` and `execution`."""

    def __init__(self, index: Index, given: events.Start, at: int) -> None:
        self._index = index
        self._given = given
        self._values: Mapping[str, Raw] = {"input": given.input, "trigger": given.trigger}
        self.at = at
        self.seed = given.execution

    def root(self, name: str) -> Any:
        if name == "execution":
            return self._about()
        return self._index.value(("", f"({name})"), self._values[name])

    def _about(self) -> dict[str, Any]:
        given, plan = self._given, self._index.plan
        return about(
            id=given.execution, workflow=plan.name, tenant=given.tenant, digest=bytes.fromhex(plan.digest), started=self.at,
            priority=given.priority or plan.settings.priority, key=given.key,
        )  # fmt: skip

    def member(self, family: str, name: str) -> Any:
        raise KeyError(name)


def _start(step: Step, given: events.Start) -> None:
    if step.execution.seq:
        return  # sent twice: the first one counts
    plan = step.index.plan
    names = StartNames(step.index, given, step.at)
    refused: Failure | None = None
    variables: list[tuple[str, Any]] = []
    timeout_at = soft_timeout_at = 0
    try:
        timeout_at = _earlier(_due(plan.settings.timeout, names), given.deadline_at)
        soft_timeout_at = _due(plan.settings.soft_timeout, names)
        variables = [(variable.name, variable.value.evaluate(names, Budget())) for variable in plan.root.variables.values()]
    except ExpressionError as error:
        refused = expression_failure(error, "settings, vars")
    except ValueError as error:
        refused = Failure(code="duration.invalid", title=str(error), category="validation", retryable=False)
    step.emit(
        events.Started(
            execution=given.execution,
            at=step.at,
            tenant=given.tenant,
            workflow=plan.name,
            digest=bytes.fromhex(plan.digest),
            lock=dict(plan.lock),
            sources=given.sources,
            input=given.input,
            trigger=given.trigger,
            priority=given.priority or plan.settings.priority,
            key=given.key,
            by=given.by,
            parent=given.parent,
            relation=given.relation,
            attempt=given.attempt,
            timeout_at=timeout_at,
            soft_timeout_at=soft_timeout_at,
            children=given.children,
            depth=given.depth,
            awaited=given.awaited,
        )
    )
    for name, value in variables:
        step.emit(events.VariableSet(name=name, value=step.encoded(value)))
    if refused is not None:
        step.emit(events.Departing(kind="fail", cause=refused.title, error=refused))


def _earlier(one: int, other: int) -> int:
    return min(one, other) if one and other else one or other


def _due(template: Template | None, names: StartNames) -> int:
    if template is None:
        return 0
    return names.at + int(parse_duration(template.evaluate(names, Budget())))


# -- results of attempts -------------------------------------------------------------------------------------------------


def _result(step: Step, given: events.Result) -> None:
    token = given.token
    instance = step.execution.instance(token)
    if instance is None or instance.attempt != token.attempt or not _awaited(instance, given):
        # Somebody else reported first. That report stands; this one was the harmless second delivery.
        return step.emit(events.Late(frame=token.frame, node=token.node, visit=token.visit, attempt=token.attempt))
    opened = step.index.frames[token.frame]
    _OUTCOMES[given.outcome](step, opened, opened.scope.nodes[opened.scope.number[token.node]], instance, given)


def _awaited(instance: Instance, given: events.Result) -> bool:
    if instance.state == RUNNING or children.is_awaited(instance):
        return True
    # The late truth answers the question whether the effect happened (rule 53).
    return instance.state == PARKED and instance.question == "unknown" and given.outcome in ("succeeded", "failed")


def _succeeded(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, given: events.Result) -> None:
    token = given.token
    if instance.state == WAITING:
        return children.started(step, opened, node, instance, given)
    element = ELEMENTS.get(node.type)
    if (
        instance.pure and element is not None and hasattr(element, "evaluated")
    ):  # what a container is given, and not what it gives
        return step.emit_all(element.evaluated(Place(step, opened, node), given.output))
    # The journal holds the output once, in the fact; the input names that fact.
    step.taken[-1] = events.Result(
        token=token, outcome="succeeded", started=given.started, finished=given.finished, fact=len(step.facts)
    )
    step.emit(
        events.Done(
            frame=token.frame,
            node=token.node,
            visit=token.visit,
            attempt=token.attempt,
            output=given.output,
            started=given.started,
            finished=given.finished,
        )
    )


def _failed(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, given: events.Result) -> None:
    error = given.error if given.error is not None else Failure(code="node.failed", title="The node failed and said no more.")
    if instance.stopping and instance.state == RUNNING:
        return stopped(step, opened, node, instance, given, error)
    spent: dict[str, Any] = {"started": given.started, "finished": given.finished}
    if node.at_most_once and error.leaves_open:
        return unknown(step, opened, node, instance, error, **spent)
    fail(step, opened, node, error, attempt=given.token.attempt, may_retry=not instance.pure, **spent)


def _stopped(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, given: events.Result) -> None:
    if not instance.stopping:  # its worker is going away in good order: nobody's fault, and no attempt used up
        return lose(step, opened, node, instance, crashed=False, sent=given.started > 0)
    stopped(step, opened, node, instance, given, given.error)


def _deferred(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, given: events.Result) -> None:
    """The node answers later: it gives its slot back and waits for whoever holds its token (day-one 15)."""
    if instance.stopping:
        return stopped(step, opened, node, instance, given, None)
    token = given.token
    step.emit(
        events.Waiting(
            frame=token.frame,
            node=token.node,
            visit=token.visit,
            attempt=token.attempt,
            kind="deferred",
            timeout_at=given.started + instance.timeout if instance.timeout else 0,
            deadline_at=instance.deadline_at,
        )
    )


def _lost(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, given: events.Result) -> None:
    lose(step, opened, node, instance, crashed=given.crashed)


_OUTCOMES: dict[str, Callable[[Step, FrameIndex, NodePlan, Instance, events.Result], None]] = {
    "succeeded": _succeeded,
    "failed": _failed,
    "stopped": _stopped,
    "deferred": _deferred,
    "lost": _lost,
}


def _complete(step: Step, given: events.Complete) -> None:
    """The later answer of a deferred node. The first one counts, whoever brings it (rule 52).

    It may overtake the report that there will be one: whoever was given the token can be quicker than the node that gave it.
    """
    token = given.token
    instance = step.execution.instance(token)
    if instance is None or instance.attempt != token.attempt or not _answerable(instance):
        return step.emit(
            events.Late(frame=token.frame, node=token.node, visit=token.visit, attempt=token.attempt, what="completion")
        )
    if given.error is None:
        return step.emit(
            events.Done(
                frame=token.frame,
                node=token.node,
                visit=token.visit,
                attempt=token.attempt,
                output=given.output,
                finished=step.at,
                by=given.by,
            )
        )
    opened = step.index.frames[token.frame]
    node = step.index.node(token.frame, token.node)
    if node.at_most_once and given.error.leaves_open:
        return unknown(step, opened, node, instance, given.error, finished=step.at)
    fail(step, opened, node, given.error, attempt=token.attempt, finished=step.at)


def _answerable(instance: Instance) -> bool:
    if instance.state == RUNNING:
        return not instance.pure and not instance.stopping
    return instance.state == WAITING and instance.wait == "deferred"


# -- time ----------------------------------------------------------------------------------------------------------------


def _due_input(step: Step, given: events.Due) -> None:
    if step.execution.paused_at:
        return  # it is armed again when the pause is over
    if given.kind in _EXECUTION_TIMERS:
        return _EXECUTION_TIMERS[given.kind](step, given)
    opened = step.index.frames.get(given.frame)
    if opened is None:
        return
    if given.kind in FRAME_TIMERS:
        if FRAME_TIMERS[given.kind](opened.frame) == given.due:
            _FRAME_TIMERS[given.kind](step, opened)
        return
    instance = opened.frame.instances.get(given.node)
    if instance is None or instance.visit != given.visit or TIMER_FIELDS[given.kind](instance) != given.due:
        return  # what came before it in the batch has moved it, or made it nothing
    _NODE_TIMERS[given.kind](step, opened, step.index.node(given.frame, given.node), instance)


def _backoff_over(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance) -> None:
    if instance.state == BACKOFF and opened.frame.departure is None and not is_left(opened):
        next_attempt(step, opened, node, instance)


def _wait_over(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance) -> None:
    if instance.state != WAITING:
        return
    if instance.wait == "condition":
        return conditions.judge_on_time(step, opened, node, instance)
    step.emit_all(ELEMENTS[node.type].due(Place(step, opened, node)))


def _wait_timed_out(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance) -> None:
    """A wait ends without what it waited for (rule 46)."""
    if instance.state != WAITING:
        return
    if children.is_awaited(instance):
        return children.timed_out(step, opened, node, instance, "timeout", f"the timeout of `{node.id}` passed")
    where: dict[str, Any] = {"frame": opened.frame.path, "node": node.id, "visit": instance.visit}
    if instance.wait != "deferred" and node.on_timeout in ("continue", "route"):
        port = "out" if node.on_timeout == "continue" else "timeout"
        output = step.encoded({"timed_out": True})
        return step.emit(events.Done(**where, output=output, ports=(port,), finished=step.at))
    failure = Failure(
        code="timeout" if instance.wait in ("deferred", "join") else "timeout.wait", category="timeout",
        title=f"`{node.id}` waited for its {instance.wait} until its timeout.",
        ambiguous=instance.wait == "deferred",
    )  # fmt: skip
    if instance.wait == "deferred" and node.at_most_once:
        return unknown(step, opened, node, instance, failure, finished=step.at)
    fail(step, opened, node, failure, attempt=instance.attempt, finished=step.at)


def _deadline_passed(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance) -> None:
    """The time for all attempts together is over (rule 43)."""
    cause = f"the deadline of `{node.id}` passed"
    if instance.stopping:
        return
    if instance.state == RUNNING:
        return step.stop(opened, instance, cause, deadline=True)
    place = Place(step, opened, node)
    partial = partial_results(place, instance) if node.has_timeout_edge else None
    if partial is not None:
        return step.emit(place.done_with(place.encoded(partial), ports=("timeout",)))
    if instance.state == OPEN and not _ends_by_deadline(node):
        return stopping(step, opened, instance, cause, then="deadline", budget=True)
    if children.is_awaited(instance):
        return children.timed_out(step, opened, node, instance, "deadline", cause)
    failure = Failure(code="timeout.deadline", title=cause, category="timeout", retryable=False, cause=instance.error)
    if instance.state == WAITING and instance.wait == "deferred" and node.at_most_once:
        return unknown(step, opened, node, instance, failure, finished=step.at)
    # Its time is over, so there is nothing left to ask an operator for: it is not parked, and no longer parked.
    fail(step, opened, node, failure, attempt=instance.attempt, finished=step.at, may_retry=False, may_park=False)


def partial_results(place: Place, instance: Instance) -> Any:
    """What a join, parallel or loop has so far, when its deadline passes (rule 21); None for what has no parts."""
    if instance.state == WAITING and instance.wait == "join":
        return joins.outcomes(place)
    if instance.state == OPEN and instance.progress is not None and _ends_by_deadline(place.node):
        if place.node.type == "parallel":
            return ELEMENTS["parallel"].outcomes(place, instance.progress)
        return iterations.output(place)
    return None


def _ends_by_deadline(node: NodePlan) -> bool:
    """Is it over at its deadline, and what is left inside has lost (rules 19, 21)? Other containers are left first."""
    return node.type in ("parallel", "loop", "while", "repeat")


def _attempt_timed_out(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance) -> None:
    """A container took longer than its `timeout`: it is left as by a cancel, and fails then (rule 37)."""
    stopping(step, opened, instance, f"the timeout of `{node.id}` passed", then="timeout", budget=True)


def _cleanup_over(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance) -> None:
    """The budget for cleaning up is used: what is left stops at once (rule 38)."""
    if children.is_awaited(instance):
        return children.stopped(step, opened, node, instance, let_go=True)
    progress = instance.progress
    assert progress is not None, "only a container has a budget"
    undone = give_up(step, opened, node, f"{instance.stopping}; the time for cleaning up is used")
    place = Place(step, opened, node)
    if instance.then in ("timeout", "deadline") and not is_left(opened):
        failure: Failure | None = ELEMENTS["try"].thrown(progress) if node.type == "try" else None
        if failure is not None:  # its time passed while `finally` ran: it ends as it was left
            failure = msgspec.structs.replace(failure, also=(*failure.also, used_up(undone, None)))
        else:
            failure = msgspec.structs.replace(time_is_over(node, instance.then), data={"undone": undone})
            failure = msgspec.structs.replace(failure, cause=used_up(undone, failure), data=None)
        return fail(step, opened, node, failure, attempt=instance.attempt, finished=step.at)
    if instance.then == "complete" and not is_left(opened):
        return step.emit(place.done(partial_results(place, instance)))
    step.emit(cancelled(place, f"{instance.stopping}; the time for cleaning up was used"))


_NODE_TIMERS: dict[str, Callable[[Step, FrameIndex, NodePlan, Instance], None]] = {
    "wait": _wait_over,
    "backoff": _backoff_over,
    "wait_timeout": _wait_timed_out,
    "deadline": _deadline_passed,
    "attempt": _attempt_timed_out,
    "cleanup": _cleanup_over,
}


# -- the time of frames and of the whole -----------------------------------------------------------------------------------


def _scope_timed_out(step: Step, opened: FrameIndex) -> None:
    """The `timeout` of a scope: an error inside it, which its container may handle (rule 37)."""
    if is_left(opened):
        return
    frame = opened.frame
    cause = f"the timeout of `{frame.path}` passed"
    failure = Failure(code="timeout.scope", title=cause, category="timeout", node=frame.path)
    step.emit_all(depart(frame, "fail", cause, error=failure))


def _departure_over(step: Step, opened: FrameIndex) -> None:
    """A departure has used its time: its frame ends at once; the workflow's own says what was left undone (rule 38)."""
    departure = opened.frame.departure
    assert departure is not None, "a timer that counts stands for a departure"
    if opened.outer is not None:
        return give_up_frame(step, opened, f"{departure.cause}; the time for cleaning up is used")
    undone = [
        instance_path(frame.path, instance.node, instance.visit)
        for frame, instance in step.execution.instances()
        if not instance.final and instance.state != OPEN
    ]
    end_hard(step, departure, used_up(undone, departure.error))


_FRAME_TIMERS: dict[str, Callable[[Step, FrameIndex], None]] = {
    "scope": _scope_timed_out,
    "departure": _departure_over,
}


def _workflow_timed_out(step: Step, given: events.Due) -> None:
    root = step.index.frames.get("")
    if root is None or step.execution.ended:
        return
    cause = "the workflow's timeout passed"
    hard = step.index.plan.settings.on_timeout == "terminate"
    failure = Failure(code="timeout.workflow", title=cause, category="timeout", retryable=False)
    until = 0 if hard else cleanup_until(step)
    step.emit_all(depart(root.frame, "timeout", cause, error=failure, hard=hard, cleanup_at=until))


def _soft_timeout_passed(step: Step, given: events.Due) -> None:
    if step.execution.soft_timeout_at:
        step.emit(events.SoftTimedOut())


_EXECUTION_TIMERS: dict[str, Callable[[Step, events.Due], None]] = {
    "timeout": _workflow_timed_out,
    "soft_timeout": _soft_timeout_passed,
}


# -- the home ------------------------------------------------------------------------------------------------------------


def _recovered(step: Step, given: events.Recovered) -> None:
    """Another home takes over: every attempt under way is lost, and asked for again (rule 52)."""
    lost = [each for each in running(step.index) if not each[2].unasked]  # what was lost in this pause stays so
    if given.kept:
        kept = frozenset(given.kept)
        lost = [each for each in lost if token_of(each[0].frame, each[2]) not in kept]
    for opened, node, _ in lost:
        look_ahead(step, opened, node)
    for opened, node, instance in lost:
        lose(step, opened, node, instance, crashed=given.crashed and not instance.unbegun, sent=not instance.unbegun)
    for opened, node, instance in waiting(step.index):
        command = command_of_wait(step.execution, opened, node, instance)
        if command is not None:
            step.commands.append(command)


def _granted(step: Step, given: events.Granted) -> None:
    """The lock that a node waits for is its own: it begins (rule 59)."""
    opened = step.index.frames.get(given.frame)
    instance = opened.frame.instances.get(given.node) if opened is not None else None
    if instance is not None and instance.lock == given.key and instance.visit == given.visit:
        return  # granted before
    if (
        opened is None or instance is None or instance.visit != given.visit or instance.state != WAITING
        or instance.wait != "lock" or instance.wait_key != given.key
    ):  # fmt: skip
        return step.emit(events.Unlocked(frame=given.frame, node=given.node, visit=given.visit, key=given.key))
    node = step.index.node(given.frame, given.node)
    locked = events.Locked(frame=given.frame, node=given.node, visit=given.visit, key=given.key)
    step.begin(Place(step, opened, node), locked)


def _continue(step: Step, given: events.Continue) -> None:
    """Nothing of its own: the step goes on where it was cut."""


def after_end(step: Step, given: AnyInput) -> None:
    """A final execution never changes: what is answered, sent or asked now is late, timers are nothing (rules 1, 20, 47)."""
    if isinstance(given, events.Result | events.Complete):
        token, what = given.token, "result" if isinstance(given, events.Result) else "completion"
        step.emit(events.Late(frame=token.frame, node=token.node, visit=token.visit, attempt=token.attempt, what=what))
    elif isinstance(given, events.Operate):
        step.emit(events.Late(frame=given.frame, node=given.node, visit=given.visit, what=given.action))
    elif isinstance(given, events.Signal):
        step.emit(events.Late(node="", what="signal"))
    elif isinstance(given, events.ChildEnded):
        token = given.token
        step.emit(events.Late(frame=token.frame, node=token.node, visit=token.visit, attempt=token.attempt, what="child's end"))


TAKE: dict[type[Any], Callable[[Step, Any], None]] = {
    events.Start: _start,
    events.Result: _result,
    events.Complete: _complete,
    events.Due: _due_input,
    events.Signal: signals.signal,
    events.Arrived: signals.event,
    events.ChildEnded: children.ended,
    events.Granted: _granted,
    events.Operate: operators.operate,
    events.Recovered: _recovered,
    events.Continue: _continue,
}


_ORDER: dict[type[Any], int] = {events.Operate: 0, events.Recovered: 0, events.Start: 0, events.Continue: 1, events.Due: 3}
_RESULTS = 2
_TIMERS_OF_FRAMES = ("timeout", "departure", "scope", "attempt", "cleanup")


def in_order(inputs: list[Any]) -> list[Any]:
    """Sort what has arrived as rule 2 wants it; within a kind the order of arrival stays, timers go by (due, path).

    Before a step that was cut goes on, the timeouts of the workflow and of frames that are due are taken (rule 3). A deadline
    may be a container's, which might go on for ever without it: it is taken before, too, where no answer comes along.
    """
    if len(inputs) < 2:
        return inputs
    early: tuple[str, ...] = ()
    if any(type(given) is events.Continue for given in inputs):
        answered = any(type(given) not in _ORDER for given in inputs)
        early = _TIMERS_OF_FRAMES if answered else (*_TIMERS_OF_FRAMES, "deadline")
    return sorted(inputs, key=lambda given: _rank(given, early))


def _rank(given: Any, early: tuple[str, ...]) -> tuple[Any, ...]:
    kind = type(given)
    if kind is events.Due:
        return (0 if given.kind in early else 3, given.due, given.frame, given.node)
    return (_ORDER.get(kind, _RESULTS), 0, "", "")
