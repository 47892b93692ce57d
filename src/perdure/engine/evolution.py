"""`evolve`, the only writer of the state: one function a fact, looked up in `REMEMBER`.

Rule: nothing but these functions changes an execution, and they take no decision: they never read a plan, a clock or a setting.
So yesterday's journal folds to yesterday's state, whatever `machine` has learned since (style 2).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any

from perdure.engine import events
from perdure.engine.events import NOTHING, AnyFact
from perdure.engine.execution import (
    BACKOFF,
    CANCELLED,
    FAILED,
    OPEN,
    PARKED,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
    WAITING,
    Compensation,
    Departure,
    DetachedChild,
    Execution,
    Frame,
    FrameEnd,
    Instance,
    KeptSignal,
    Progress,
    Return,
)
from perdure.errors import Failure
from perdure.ids import frame_path, instance_path, is_inside, scope_path

FAILED_ITERATIONS_MAX = 100
"""How many failed iterations a loop names, the first by their end (rule 25)."""

FAILURES_MAX = 20
"""How many failed attempts an instance remembers, the newest; the journal has them all."""


def evolve(execution: Execution, fact: AnyFact) -> None:
    """Remember one fact. The only way an execution changes."""
    execution.seq += 1
    REMEMBER[type(fact)](execution, fact)


def fold(facts: Iterable[AnyFact], execution: Execution | None = None) -> Execution:
    """The state after these facts, from the beginning or from a snapshot."""
    execution = Execution() if execution is None else execution
    for fact in facts:
        evolve(execution, fact)
    return execution


def _of(execution: Execution, fact: Any) -> Instance:
    instances = execution.frames[fact.frame].instances
    instance = instances.get(fact.node)
    if instance is None or instance.visit != fact.visit:
        instance = instances[fact.node] = Instance(node=fact.node, visit=fact.visit)
    return instance


def _started(execution: Execution, fact: events.Started) -> None:
    execution.id, execution.tenant, execution.workflow = fact.execution, fact.tenant, fact.workflow
    execution.started = fact.at
    execution.digest, execution.lock, execution.sources = fact.digest, fact.lock, fact.sources
    execution.input, execution.trigger = fact.input, fact.trigger
    execution.priority, execution.key, execution.by = fact.priority, fact.key, fact.by
    execution.parent, execution.relation, execution.attempt = fact.parent, fact.relation, fact.attempt
    execution.timeout_at, execution.soft_timeout_at = fact.timeout_at, fact.soft_timeout_at
    execution.children, execution.depth, execution.awaited = fact.children, fact.depth, fact.awaited
    execution.frames[""] = Frame(opened=execution.seq)


def _scheduled(execution: Execution, fact: events.Scheduled) -> None:
    instance = _of(execution, fact)
    instance.state, instance.attempt, instance.due = RUNNING, fact.attempt, 0
    instance.stopping, instance.stopping_deadline, instance.then = "", False, ""
    instance.pure = fact.pure
    if fact.attempt == 1:
        instance.params, instance.generation = fact.params, fact.generation
    instance.ready, instance.deadline_at = fact.ready, fact.deadline_at
    instance.timeout, instance.queue_timeout = fact.timeout, fact.queue_timeout
    instance.heartbeat, instance.grace = fact.heartbeat, fact.grace


def _note_failure(instance: Instance, attempt: int, error: Failure, started: int, finished: int) -> None:
    instance.failures.append(
        {"attempt": attempt, "code": error.code, "title": error.title, "started": started, "finished": finished}
    )
    del instance.failures[:-FAILURES_MAX]


def _retrying(execution: Execution, fact: events.Retrying) -> None:
    instance = _of(execution, fact)
    instance.state, instance.due, instance.error, instance.question = BACKOFF, fact.due, fact.error, ""
    instance.stopping, instance.stopping_deadline, instance.then = "", False, ""  # that attempt has stopped
    instance.used[fact.policy] = instance.used.get(fact.policy, 0) + 1
    instance.crashes, instance.paused = 0, fact.paused
    instance.perhaps = instance.perhaps or fact.error.leaves_open
    _note_failure(instance, fact.attempt, fact.error, fact.started, fact.finished)


def _lost(execution: Execution, fact: events.Lost) -> None:
    instance = _of(execution, fact)
    instance.crashes += fact.crashed
    if not fact.unbegun and not instance.unbegun:
        instance.perhaps = True  # it was asked for, and nobody knows how far it came
    instance.unbegun = fact.unbegun
    instance.unasked = not fact.unbegun and execution.paused_at > 0


def _waiting(execution: Execution, fact: events.Waiting) -> None:
    instance = _of(execution, fact)
    instance.by_hand = instance.by_hand or instance.state == PARKED
    instance.state, instance.wait, instance.due = WAITING, fact.kind, fact.due
    instance.wait_timeout_at, instance.wait_name, instance.wait_key = fact.timeout_at, fact.name, fact.key
    if fact.deadline_at:
        instance.deadline_at = fact.deadline_at
    instance.attempt, instance.seq, instance.absolute = fact.attempt, execution.seq, fact.absolute
    if fact.ready:
        instance.ready = fact.ready
    if fact.every or fact.child:
        instance.progress = Progress(every=fact.every, child=fact.child)
        instance.params, instance.stopping = fact.params, ""


def _rescheduled(execution: Execution, fact: events.Rescheduled) -> None:
    instance = _of(execution, fact)
    if fact.due:
        instance.due = fact.due
    if fact.timeout_at:
        instance.wait_timeout_at = fact.timeout_at


def _locked(execution: Execution, fact: events.Locked) -> None:
    instance = _of(execution, fact)
    instance.lock, instance.state = fact.key, 0


def _unlocked(execution: Execution, fact: events.Unlocked) -> None:
    frame = execution.frames.get(fact.frame)
    instance = frame.instances.get(fact.node) if frame is not None else None
    if instance is not None and instance.visit == fact.visit:
        instance.lock = ""


def _finish(execution: Execution, fact: Any, state: int) -> Instance:
    instance = _of(execution, fact)
    instance.state, instance.seq, instance.due, instance.deadline_at = state, execution.seq, 0, 0
    instance.params = NOTHING  # not needed any more; the journal keeps them
    if instance.progress is not None:
        _let_go(execution, instance.progress)
    return instance


def _let_go(execution: Execution, progress: Progress) -> None:
    """A container is final, or begins anew: what was kept for its own parts to read is not needed any more."""
    for path in progress.kept:
        del execution.frames[path]
    progress.kept = []
    progress.results, progress.chunks, progress.ahead, progress.named = {}, [], {}, {}
    progress.timeout_at = progress.cleanup_at = 0


def _done(execution: Execution, fact: events.Done) -> None:
    instance = _finish(execution, fact, SUCCEEDED)
    instance.output, instance.ports, instance.error = fact.output, fact.ports, None
    instance.started, instance.finished = fact.started, fact.finished
    if fact.winners:
        instance.progress = instance.progress or Progress()
        instance.progress.winners = fact.winners


def _failed(execution: Execution, fact: events.NodeFailed) -> None:
    instance = _finish(execution, fact, FAILED)
    instance.error, instance.ports, instance.shielded = fact.error, fact.ports, fact.shielded
    instance.started, instance.finished = fact.started, fact.finished
    if fact.attempt:
        _note_failure(instance, fact.attempt, fact.error, fact.started, fact.finished)


def _skipped(execution: Execution, fact: events.Skipped) -> None:
    instance = _finish(execution, fact, SKIPPED)
    instance.cause, instance.broken = fact.cause, fact.broken


def _stopping(execution: Execution, fact: events.Stopping) -> None:
    instance = _of(execution, fact)
    instance.stopping, instance.stopping_deadline, instance.then = fact.cause, fact.deadline, fact.then
    progress = instance.progress
    if progress is not None:
        progress.cleanup_at, progress.touched = fact.cleanup_at, execution.seq


def _cancelled(execution: Execution, fact: events.NodeCancelled) -> None:
    instance = _finish(execution, fact, CANCELLED)
    instance.cause, instance.unknown = fact.cause, fact.unknown
    instance.started, instance.finished = fact.started, fact.finished


def _parked(execution: Execution, fact: events.Parked) -> None:
    instance = _of(execution, fact)
    instance.state, instance.error, instance.question, instance.due = PARKED, fact.error, fact.question, 0
    instance.stopping, instance.stopping_deadline, instance.then = "", False, ""
    instance.perhaps = instance.perhaps or fact.error.leaves_open


def _unparked(execution: Execution, fact: events.Unparked) -> None:
    instance = _of(execution, fact)
    instance.generation, instance.question, instance.crashes, instance.by_hand = fact.generation, "", 0, True
    if fact.params != NOTHING:
        instance.params = fact.params


def _variable_set(execution: Execution, fact: events.VariableSet) -> None:
    frame = execution.frames[fact.frame]
    frame.variables[fact.name] = fact.value
    if fact.alone:
        frame.writers[fact.name] = (fact.writer, fact.node)


def _departing(execution: Execution, fact: events.Departing) -> None:
    frame = execution.frames[fact.frame]
    cleanup_at = fact.cleanup_at or (frame.departure.cleanup_at if frame.departure is not None else 0)
    broke = frame.departure is not None and frame.departure.kind == "break"
    frame.departure = Departure(
        kind=fact.kind, cause=fact.cause, error=fact.error, value=fact.value, by=fact.by, hard=fact.hard, cleanup_at=cleanup_at,
        drained=fact.drained,
    )  # fmt: skip
    if fact.kind != "drain":
        frame.timeout_at = 0
    frame.returns = []  # nothing starts any more, so nothing goes back
    if fact.kind == "break":
        progress = _progress_of(execution, frame)
        progress.failed_first = progress.failed_first or (not progress.breaks and progress.error is not None)
        progress.breaks.append(frame.index)
        progress.touched = execution.seq
    elif broke:
        _progress_of(execution, frame).breaks.remove(frame.index)


# -- containers ----------------------------------------------------------------------------------------------------------


def _opened(execution: Execution, fact: events.Opened) -> None:
    instance = _of(execution, fact)
    begun = execution.seq
    if instance.progress is not None:
        _let_go(execution, instance.progress)
        begun = instance.progress.begun
    instance.by_hand = instance.by_hand or instance.state == PARKED
    instance.state, instance.attempt, instance.due = OPEN, fact.attempt, 0
    instance.stopping, instance.stopping_deadline, instance.pure = "", False, False
    instance.ready, instance.deadline_at = fact.ready, fact.deadline_at
    instance.progress = Progress(
        items=fact.items, total=fact.total, concurrency=fact.concurrency, tolerate=fact.tolerate,
        iterations_max=fact.iterations_max, keep=fact.keep, carry=fact.carry, reduced=fact.reduced, accepts=fact.accepts,
        timeout_at=fact.timeout_at, touched=execution.seq, begun=begun,
    )  # fmt: skip


def _progress_of(execution: Execution, frame: Frame) -> Progress:
    progress = execution.frames[frame.parent].instances[frame.node].progress
    assert progress is not None, "only a container has frames"
    return progress


def _frame_opened(execution: Execution, fact: events.FrameOpened) -> None:
    outer = execution.frames[fact.frame]
    instance = outer.instances[fact.node]
    if fact.of:
        compensation = _taken(execution, fact.of)
        path, scope = fact.path, compensation.scope
    else:
        path = frame_path(instance_path(fact.frame, fact.node, fact.visit), instance.attempt, fact.scope, fact.index)
        scope = scope_path(outer.scope, fact.node, "body" if fact.index >= 0 else fact.scope)
    frame = execution.frames[path] = Frame(
        path=path, scope=scope, opened=execution.seq, parent=fact.frame, node=fact.node, visit=fact.visit,
        name=fact.scope, index=fact.index, timeout_at=fact.timeout_at, bound=fact.bound, compensates=fact.of,
    )  # fmt: skip
    progress = _progress_of(execution, frame)
    progress.open += 1
    progress.next += 1
    progress.touched = execution.seq


def _taken(execution: Execution, seq: int) -> Compensation:
    """The compensation of this registration, which is carried out now."""
    compensation = execution.compensations.pop(_place_of(execution, seq))
    assert compensation.seq == seq, "what a rollback carries out stands registered"
    return compensation


def _place_of(execution: Execution, seq: int) -> int:
    """Where the compensations begin that this fact registered, or a later one: they stand in the order of the journal."""
    return bisect_left(execution.compensations, seq, key=lambda each: each.seq)


def _frame_closed(execution: Execution, fact: events.FrameClosed) -> None:
    frame = execution.frames[fact.frame]
    progress = _progress_of(execution, frame)
    progress.open -= 1
    progress.touched = execution.seq
    progress.until = progress.until or fact.until
    _count_end(progress, frame.index, fact)
    if frame.index >= 0:
        _keep_result(progress, frame.index, fact)
    else:
        name = frame.path if frame.compensates else frame.name
        progress.named[name] = FrameEnd(status=fact.status, value=fact.value, error=fact.error, seq=execution.seq)
    if _is_read_later(frame) and execution.frames[frame.parent].instances[frame.node].state == OPEN:
        frame.closed, frame.timeout_at = True, 0
        progress.kept.append(frame.path)
    else:
        del execution.frames[fact.frame]


def _is_read_later(frame: Frame) -> bool:
    """The body and the handlers of a `try`: handlers, finally and compensations may read their nodes."""
    return frame.index < 0 and not frame.compensates and (frame.name == "body" or frame.name.startswith("catch"))


def _count_end(progress: Progress, index: int, fact: events.FrameClosed) -> None:
    if fact.status == "succeeded":
        progress.succeeded += 1
        progress.last = fact.value
    elif fact.status == "continued":
        progress.continued += 1
    elif fact.status == "failed" and fact.error is not None:
        progress.failed += 1
        if len(progress.failures) < FAILED_ITERATIONS_MAX:
            progress.failures.append((index, fact.error))
        if progress.failed > progress.tolerate and progress.error is None:
            progress.error = fact.error
    else:
        progress.cancelled += 1


def _keep_result(progress: Progress, index: int, fact: events.FrameClosed) -> None:
    results = progress.results
    if fact.collects:
        results[index] = fact.value
        if 0 < progress.keep < len(results):
            _forget_lowest(progress, index)
    if fact.carried:
        progress.carry = fact.carry
    ahead = progress.ahead
    ahead[index] = True
    while progress.through in ahead:
        if fact.folds:
            results.pop(progress.through, None)
        del ahead[progress.through]
        progress.through += 1
    if fact.folds:
        progress.reduced = fact.reduced


def _forget_lowest(progress: Progress, index: int) -> None:
    """One result too many is kept, now that this iteration's is: that of the lowest goes."""
    if index < progress.lowest:
        del progress.results[index]
        return
    while progress.lowest not in progress.results:
        progress.lowest += 1
    del progress.results[progress.lowest]


def _chunked(execution: Execution, fact: events.Chunked) -> None:
    progress = execution.frames[fact.frame].instances[fact.node].progress
    assert progress is not None, "only a loop has results"
    for index in range(progress.chunked, fact.through):
        progress.results.pop(index, None)
    progress.chunks.append(fact.values)
    progress.chunked = fact.through


def _items_added(execution: Execution, fact: events.ItemsAdded) -> None:
    progress = execution.frames[fact.frame].instances[fact.node].progress
    assert progress is not None, "only a loop has items"
    progress.touched = execution.seq
    if fact.count:
        progress.added.append((fact.items, fact.count))
        progress.total += fact.count
    progress.accepts = progress.accepts and not fact.closed


def _returning(execution: Execution, fact: events.Returning) -> None:
    execution.frames[fact.frame].returns.append(Return(source=fact.node, target=fact.target))


def _revisited(execution: Execution, fact: events.Revisited) -> None:
    frame = execution.frames[fact.frame]
    frame.returns = [each for each in frame.returns if (each.source, each.target) != (fact.node, fact.target)]
    for node in fact.nodes:
        instance = frame.instances.pop(node, None)
        if instance is not None and instance.state == SUCCEEDED:
            frame.previous[node] = instance.output
        frame.visits[node] = frame.visit_of(node) + 1
        frame.returned.pop(node, None)
    if fact.error is not None:
        frame.returned[fact.target] = fact.error


def _registered(execution: Execution, fact: events.Registered) -> None:
    frame = execution.frames[fact.frame]
    instance = frame.instances[fact.node]
    if fact.replaces:
        inside = instance_path(fact.frame, fact.node, fact.visit)
        begun = _place_of(execution, instance.progress.begun if instance.progress is not None else 0)
        standing = [each for each in execution.compensations[begun:] if not is_inside(each.frame, inside)]
        execution.compensations[begun:] = standing
    execution.compensations.append(
        Compensation(
            frame=fact.frame, node=fact.node, visit=fact.visit, scope=scope_path(frame.scope, fact.node, "compensate"),
            input=fact.input, output=instance.output, names=fact.names, seq=execution.seq,
        )
    )  # fmt: skip


# -- pauses --------------------------------------------------------------------------------------------------------------


def _paused(execution: Execution, fact: events.Paused) -> None:
    execution.paused_at = fact.at


def _resumed(execution: Execution, fact: events.Resumed) -> None:
    execution.paused_at = 0
    shift = fact.shift
    if shift:
        _shift_all(execution, shift)
    for _, instance in execution.instances():
        instance.unasked, instance.paused = False, 0


def _shift_all(execution: Execution, shift: int) -> None:
    """Every relative time moves by the pause; one that was set in it by what was left of it (rule 45)."""
    for name in ("timeout_at", "soft_timeout_at"):
        _shift(execution, name, shift)
    for frame in execution.frames.values():
        _shift(frame, "timeout_at", shift)
        if frame.departure is not None:
            _shift(frame.departure, "cleanup_at", shift)
        for instance in frame.instances.values():
            _shift_instance(instance, shift)


def _shift_instance(instance: Instance, shift: int) -> None:
    if not instance.absolute:
        _shift(instance, "due", shift - instance.paused)
    _shift(instance, "wait_timeout_at", shift)
    _shift(instance, "deadline_at", shift)
    if instance.progress is not None:
        _shift(instance.progress, "timeout_at", shift)
        _shift(instance.progress, "cleanup_at", shift)


def _shift(record: Any, name: str, by: int) -> None:
    if moment := getattr(record, name):
        setattr(record, name, moment + by)


# -- signals, children, the end --------------------------------------------------------------------------------------------


def _detached(execution: Execution, fact: events.Detached) -> None:
    if fact.on_parent_close != "abandon":
        execution.detached.append(DetachedChild(execution=fact.execution, on_parent_close=fact.on_parent_close))


def _signal_kept(execution: Execution, fact: events.SignalKept) -> None:
    execution.signals.append(
        KeptSignal(id=fact.id, name=fact.name, key=fact.key, path=fact.path, payload=fact.payload, until=fact.until)
    )


def _signal_taken(execution: Execution, fact: events.SignalTaken) -> None:
    execution.signals = [kept for kept in execution.signals if kept.id != fact.id]


def _soft_timed_out(execution: Execution, fact: events.SoftTimedOut) -> None:
    execution.soft_timeout_at = 0


def _ended(execution: Execution, fact: events.Ended) -> None:
    execution.status, execution.output, execution.error = fact.status, fact.output, fact.error
    execution.timeout_at = execution.soft_timeout_at = execution.paused_at = 0


def _nothing(execution: Execution, fact: AnyFact) -> None:
    """Kept for the timeline; the state does not change."""


REMEMBER: dict[type[Any], Callable[[Execution, Any], None]] = {
    events.Started: _started,
    events.Scheduled: _scheduled,
    events.Retrying: _retrying,
    events.Lost: _lost,
    events.Waiting: _waiting,
    events.Done: _done,
    events.NodeFailed: _failed,
    events.Skipped: _skipped,
    events.Stopping: _stopping,
    events.NodeCancelled: _cancelled,
    events.Parked: _parked,
    events.Unparked: _unparked,
    events.VariableSet: _variable_set,
    events.Departing: _departing,
    events.Spawned: _nothing,
    events.SignalKept: _signal_kept,
    events.SignalTaken: _signal_taken,
    events.Emitted: _nothing,
    events.Late: _nothing,
    events.SoftTimedOut: _soft_timed_out,
    events.Ended: _ended,
    events.Opened: _opened,
    events.FrameOpened: _frame_opened,
    events.FrameClosed: _frame_closed,
    events.Chunked: _chunked,
    events.ItemsAdded: _items_added,
    events.Returning: _returning,
    events.Revisited: _revisited,
    events.Registered: _registered,
    events.Rescheduled: _rescheduled,
    events.Locked: _locked,
    events.Unlocked: _unlocked,
    events.Paused: _paused,
    events.Resumed: _resumed,
    events.Detached: _detached,
}
