"""What each kind of input does to an execution: one function an input, looked up in `TAKE`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from perdure.definition.plan import NodePlan
from perdure.engine import events
from perdure.engine.elements import ELEMENTS
from perdure.engine.events import AnyInput
from perdure.engine.execution import BACKOFF, PARKED, RUNNING, WAITING, Departure, Instance
from perdure.engine.failing import ambiguous, fail, look_ahead, lose, stopped, unknown
from perdure.engine.index import TIMER_FIELDS, FrameIndex, Index
from perdure.engine.names import about
from perdure.engine.outstanding import running
from perdure.engine.place import Place, expression_failure
from perdure.errors import Failure
from perdure.expressions import Budget, ExpressionError, Template, parse_duration

if TYPE_CHECKING:
    from perdure.engine.machine import Step

SIGNALS_MAX = 1_000
"""Signals kept for one execution that nobody waits for yet; more change nothing (rule 47)."""


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
        timeout_at = _due(plan.settings.timeout, names)
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
        )
    )
    for name, value in variables:
        step.emit(events.VariableSet(name=name, value=step.encoded(value)))
    if refused is not None:
        step.emit(events.Departing(kind="fail", cause=refused.title, error=refused))


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
    if instance.state == RUNNING:
        return True
    # The late truth answers the question whether the effect happened (rule 53).
    return instance.state == PARKED and instance.question == "unknown" and given.outcome in ("succeeded", "failed")


def _succeeded(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, given: events.Result) -> None:
    token = given.token
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
    if instance.stopping:
        return stopped(step, opened, node, instance, given, error)
    spent: dict[str, Any] = {"started": given.started, "finished": given.finished}
    if node.at_most_once and ambiguous(error):
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
    if node.at_most_once and ambiguous(given.error):
        return unknown(step, opened, node, instance, given.error, finished=step.at)
    fail(step, opened, node, given.error, attempt=token.attempt, finished=step.at)


def _answerable(instance: Instance) -> bool:
    if instance.state == RUNNING:
        return not instance.pure and not instance.stopping
    return instance.state == WAITING and instance.wait == "deferred"


# -- time ----------------------------------------------------------------------------------------------------------------


def _due_input(step: Step, given: events.Due) -> None:
    if given.kind in _WORKFLOW_TIMERS:
        return _WORKFLOW_TIMERS[given.kind](step, given)
    frame = step.execution.frames.get(given.frame)
    instance = frame.instances.get(given.node) if frame is not None else None
    if instance is None or instance.visit != given.visit or TIMER_FIELDS[given.kind](instance) != given.due:
        return  # what came before it in the batch has moved it, or made it nothing
    opened = step.index.frames[given.frame]
    node = step.index.node(given.frame, given.node)
    _NODE_TIMERS[given.kind](step, opened, node, instance)


def _backoff_over(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance) -> None:
    if instance.state == BACKOFF and opened.frame.departure is None:
        step.emit(reattempt(opened, instance))


def reattempt(opened: FrameIndex, instance: Instance) -> events.Scheduled:
    """The next attempt of an effect: its parameters and its key stay (rules 50, 51)."""
    return events.Scheduled(
        frame=opened.frame.path,
        node=instance.node,
        visit=instance.visit,
        attempt=instance.attempt + 1,
        ready=instance.ready,
        timeout=instance.timeout,
        pure=instance.pure,
        queue_timeout=instance.queue_timeout,
        heartbeat=instance.heartbeat,
        grace=instance.grace,
        deadline_at=instance.deadline_at,
        generation=instance.generation,
    )


def _wait_over(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance) -> None:
    if instance.state == WAITING:
        step.emit_all(ELEMENTS[node.type].due(Place(step, opened, node, instance.visit)))


def _wait_timed_out(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance) -> None:
    """A wait ends without what it waited for (rule 46)."""
    if instance.state != WAITING:
        return
    where: dict[str, Any] = {"frame": opened.frame.path, "node": node.id, "visit": instance.visit}
    if instance.wait != "deferred" and node.on_timeout in ("continue", "route"):
        port = "out" if node.on_timeout == "continue" else "timeout"
        output = step.encoded({"timed_out": True})
        return step.emit(events.Done(**where, output=output, ports=(port,), finished=step.at))
    failure = Failure(
        code="timeout" if instance.wait == "deferred" else "timeout.wait", category="timeout",
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
    failure = Failure(code="timeout.deadline", title=cause, category="timeout", retryable=False, cause=instance.error)
    if instance.state == WAITING and instance.wait == "deferred" and node.at_most_once:
        return unknown(step, opened, node, instance, failure, finished=step.at)
    # Its time is over, so there is nothing left to ask an operator for: it is not parked, and no longer parked.
    fail(step, opened, node, failure, attempt=instance.attempt, finished=step.at, may_retry=False, may_park=False)


_NODE_TIMERS: dict[str, Callable[[Step, FrameIndex, NodePlan, Instance], None]] = {
    "wait": _wait_over,
    "backoff": _backoff_over,
    "wait_timeout": _wait_timed_out,
    "deadline": _deadline_passed,
}


def _workflow_timed_out(step: Step, given: events.Due) -> None:
    root = step.index.frames.get("")
    if root is None or step.execution.ended:
        return
    cause = "the workflow's timeout passed"
    hard = step.index.plan.settings.on_timeout == "terminate"
    if root.frame.departure is not None:
        return _end_drain(step, root.frame.departure, cause, hard=hard)
    failure = Failure(code="timeout.workflow", title=cause, category="timeout", retryable=False)
    step.emit(events.Departing(kind="timeout", cause=cause, error=failure, hard=hard))


def _soft_timeout_passed(step: Step, given: events.Due) -> None:
    if step.execution.soft_timeout_at:
        step.emit(events.SoftTimedOut())


_WORKFLOW_TIMERS: dict[str, Callable[[Step, events.Due], None]] = {
    "timeout": _workflow_timed_out,
    "soft_timeout": _soft_timeout_passed,
}


# -- signals -------------------------------------------------------------------------------------------------------------


def _signal(step: Step, given: events.Signal) -> None:
    """A signal goes to exactly one waiter, the oldest that fits; else it is kept (rule 47)."""
    waiter = _oldest_waiter(step, given)
    if waiter is None and len(step.execution.signals) >= SIGNALS_MAX:
        return step.emit(events.Late(node=given.name, what="signal beyond the limit"))
    if waiter is None:
        return step.emit(events.SignalKept(id=given.id, name=given.name, key=given.key, path=given.path, payload=given.payload))
    opened, instance = waiter
    step.emit(
        events.Done(
            frame=opened.frame.path,
            node=instance.node,
            visit=instance.visit,
            output=given.payload,
            finished=step.at,
            by=given.by,
        )
    )


def _oldest_waiter(step: Step, given: events.Signal) -> tuple[FrameIndex, Instance] | None:
    found: list[tuple[int, FrameIndex, Instance]] = []
    for opened in step.index.frames.values():
        for instance in opened.frame.instances.values():
            if instance.state == WAITING and instance.wait == "signal" and _fits(opened, instance, given):
                found.append((instance.seq, opened, instance))
    if not found:
        return None
    _, opened, instance = min(found, key=lambda entry: entry[0])
    return opened, instance


def _fits(opened: FrameIndex, instance: Instance, given: events.Signal) -> bool:
    if instance.wait_name != given.name or instance.wait_key != given.key:
        return False
    path = f"{opened.frame.path}.{instance.node}" if opened.frame.path else instance.node
    return not given.path or given.path == path


# -- operators -----------------------------------------------------------------------------------------------------------


def _operate(step: Step, given: events.Operate) -> None:
    if given.action in ("cancel", "terminate"):
        return _cancel_execution(step, given)
    frame = step.execution.frames.get(given.frame)
    instance = frame.instances.get(given.node) if frame is not None else None
    if instance is None or instance.visit != given.visit or instance.state != PARKED:
        return step.emit(events.Late(frame=given.frame, node=given.node, visit=given.visit, what=given.action))
    opened = step.index.frames[given.frame]
    _ON_PARKED[given.action](step, opened, step.index.node(given.frame, given.node), instance, given)


def _cancel_execution(step: Step, given: events.Operate) -> None:
    root = step.index.frames.get("")
    if root is None or step.execution.ended:
        return
    hard = given.action == "terminate"
    who = f" by {given.by}" if given.by else ""
    why = f": {given.reason}" if given.reason else ""
    cause = f"cancelled{who}{why}"
    standing = root.frame.departure
    if standing is not None and (standing.hard or not hard):
        return _end_drain(step, standing, cause, by=given.by)  # else a second cancel changes nothing (rule 38)
    step.emit(events.Departing(kind="cancel", cause=cause, by=given.by, hard=hard))


def _end_drain(step: Step, standing: Departure, cause: str, *, by: str = "", hard: bool = False) -> None:
    """What still ran to its own end in a draining execution is stopped; the status stays that of the first departure (31)."""
    if standing.kind == "drain":
        step.emit(events.Departing(kind="fail", cause=cause, error=standing.error, by=by, hard=hard))


def _retry_parked(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, given: events.Operate) -> None:
    """Try it again: with the same input under the same effect key, with changed input under a new one (rule 50)."""
    generation = instance.generation + (given.value != events.NOTHING)
    where: dict[str, Any] = {"frame": opened.frame.path, "node": instance.node, "visit": instance.visit}
    if not instance.attempt:  # a pure or control node, or wrong parameters: there was no attempt, and it is entered again
        place = Place(step, opened, node, instance.visit)
        if given.value != events.NOTHING:
            place.given = given.value
        return step.enter(place)
    step.emit(events.Unparked(**where, by=given.by, params=given.value, generation=generation))
    again = reattempt(opened, instance)
    if 0 < again.deadline_at <= step.at:  # a question was answered after the deadline: as much time again
        again = msgspec.structs.replace(again, ready=step.at, deadline_at=step.at + again.deadline_at - again.ready)
    step.emit(again)


def _complete_parked(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, given: events.Operate) -> None:
    step.emit(
        events.Done(
            frame=opened.frame.path,
            node=instance.node,
            visit=instance.visit,
            attempt=instance.attempt,
            output=given.value,
            finished=step.at,
            by=given.by,
        )
    )


def _fail_parked(step: Step, opened: FrameIndex, node: NodePlan, instance: Instance, given: events.Operate) -> None:
    error = instance.error if instance.error is not None else Failure(code="node.failed", title=given.reason)
    fail(step, opened, node, error, attempt=instance.attempt, finished=step.at, may_retry=False, may_park=False)


_ON_PARKED: dict[str, Callable[[Step, FrameIndex, NodePlan, Instance, events.Operate], None]] = {
    "retry": _retry_parked,
    "complete": _complete_parked,
    "fail": _fail_parked,
}


# -- the home ------------------------------------------------------------------------------------------------------------


def _recovered(step: Step, given: events.Recovered) -> None:
    """Another home takes over: every attempt under way is lost, and asked for again (rule 52)."""
    lost = list(running(step.execution, step.index))
    for opened, node, _ in lost:
        look_ahead(step, opened, node)
    for opened, node, instance in lost:
        lose(step, opened, node, instance, crashed=given.crashed)


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


TAKE: dict[type[Any], Callable[[Step, Any], None]] = {
    events.Start: _start,
    events.Result: _result,
    events.Complete: _complete,
    events.Due: _due_input,
    events.Signal: _signal,
    events.Operate: _operate,
    events.Recovered: _recovered,
    events.Continue: _continue,
}


_ORDER: dict[type[Any], int] = {events.Operate: 0, events.Recovered: 0, events.Start: 0, events.Continue: 1, events.Due: 3}
_RESULTS = 2


def in_order(inputs: list[Any]) -> list[Any]:
    """Sort what has arrived as rule 2 wants it; within a kind the order of arrival stays, timers go by (due, path).

    Before a step that was cut goes on, the workflow's timeout is taken, if it is due (rule 3).
    """
    if len(inputs) < 2:
        return inputs
    cut = any(type(given) is events.Continue for given in inputs)
    return sorted(inputs, key=lambda given: _rank(given, cut))


def _rank(given: Any, cut: bool) -> tuple[Any, ...]:
    kind = type(given)
    if kind is events.Due:
        return (0 if cut and given.kind == "timeout" else 3, given.due, given.frame, given.node)
    return (_ORDER.get(kind, _RESULTS), 0, "", "")
