"""Why one instance is as it is: each thing that happened to it, in order, with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from perdure.definition.plan import NodePlan, RetryPolicy
from perdure.engine import events
from perdure.engine.codec import decode_value, handle_digest
from perdure.engine.events import AnyInput
from perdure.engine.execution import BACKOFF, FINAL, OPEN, PARKED, RUNNING, STATE_NAMES, WAITING, Instance
from perdure.engine.iterations import loop_names
from perdure.engine.quorums import has_need
from perdure.expressions import Budget, ExpressionError, WithLocals
from perdure.ids import ExecutionId, id_text, instance_path
from perdure.operations.causes import breaking, cancelled, failure, handler_seen, left, skipped
from perdure.operations.evidence import Entry, Key, Then
from perdure.operations.paths import split_path
from perdure.operations.progress import ITERATED, ended, frames_of, progress_words
from perdure.operations.reasons import Case, Reason, decision, ended_words, error_words, join_words, listed, resolved, source_of
from perdure.operations.waits import child_of, command_for, condition_of, ends_at, gives_up_at, wait_words

TOLD_MAX = 20
"""Of an instance with a longer history the newest so many reasons are told, and the first."""


def instance_reasons(case: Case, key: Key, node: NodePlan) -> list[Reason]:
    """Why it ran, waited, failed, was skipped or cancelled; empty where it has left no trace."""
    entries = case.history.of.get(key, [])
    if not entries:
        return []
    found = list(_beginning(case, entries[0], key, node))
    for entry in entries:
        found += _TOLD.get(type(entry.fact), _nothing)(case, entry, key, node)
    if node.type == "try":
        found = sorted([*found, *_handled(case, key, node)], key=lambda reason: reason.fact)
    found += _undone(case, key)
    found += _present(case, key, node)
    if len(found) > TOLD_MAX + 1:
        between = Reason(kind="more", sentence=f"… {len(found) - TOLD_MAX} earlier ones: `perdure show` tells them")
        found = [found[0], between, *found[-TOLD_MAX + 1 :]]
    return found


# -- why it began ----------------------------------------------------------------------------------------------------------


def _beginning(case: Case, entry: Entry, key: Key, node: NodePlan) -> Iterator[Reason]:
    """What it came after, by which edges; nothing for one that never ran."""
    frame, _, visit = key
    if visit > 1:
        yield from went_back(case, key, node)
    if isinstance(entry.fact, events.Skipped | events.NodeCancelled):
        return
    then = case.history.before(entry.seq)
    opened = then.opened(frame)
    if opened is None:
        return
    if not node.incoming:
        if visit == 1:
            where = f"`{frame}`" if frame else "the workflow"
            yield case.reason("ran", f"began with {where}: it has no `after`", entry)
    elif node.type != "join":
        came, chosen = [], []
        for edge in node.incoming:
            instance, how = resolved(opened, edge)
            if how != "live" or instance is None:
                continue
            source = opened.scope.nodes[edge.source]
            came.append(f"edge `{edge.entry}` ({ended_words(instance, source)})")
            done = case.history.last((frame, source.id, instance.visit), events.Done, events.NodeFailed, before=entry.seq)
            decided = decision(case, done, source) if done is not None and source.type in ("condition", "switch") else None
            chosen += [decided] if decided is not None else []
        yield case.reason("ran", f"ran after: {', '.join(came)}", entry, because=tuple(chosen))
    if node.when is not None and not _is_about_when(entry):
        yield case.reason("when", f"`when` held: {source_of(node.when)}", entry, seen=then.seen_by(frame, node, node.when))


def _is_about_when(entry: Entry) -> bool:
    """Is the failure that of `when` itself?"""
    fact = entry.fact
    return isinstance(fact, events.NodeFailed) and not fact.attempt and "`when`" in f"{fact.error.title}{fact.error.detail}"


def went_back(case: Case, key: Key, node: NodePlan) -> Iterator[Reason]:
    """The `again` edge that gave it this visit (rules 34, 35)."""
    frame, name, visit = key
    seen = 1
    for entry in case.history.entries:
        fact = entry.fact
        if not isinstance(fact, events.Revisited) or fact.frame != frame or name not in fact.nodes:
            continue
        seen += 1
        if seen == visit:
            source = case.history.node(frame, fact.node)
            again = source.again if source is not None else ()
            edge = next((each for each in again if _target(case, frame, each.target) == fact.target), None)
            words = f"`{edge.entry}` again" if edge is not None else f"`{fact.node}` again"
            limit = f" of {edge.visits_max}" if edge is not None and fact.target == name else ""
            at = f", to `{fact.target}`" if fact.target != name else ""
            chosen = _decided_before(case, frame, source, entry.seq)
            yield case.reason("went_back", f"went back: {words}{at} (visit {visit}{limit})", entry, because=chosen)
            return


def _target(case: Case, frame: str, number: int) -> str:
    scope = case.history.plan.scopes[case.history.scopes[frame]]
    return scope.nodes[number].id


def _decided_before(case: Case, frame: str, source: NodePlan | None, before: int) -> tuple[Reason, ...]:
    """What the source of an `again` edge decided."""
    if source is None:
        return ()
    for visit in reversed(case.history.visits(frame, source.id)):
        found = case.history.last((frame, source.id, visit), events.Done, events.NodeFailed, before=before)
        if found is not None:
            if isinstance(found.fact, events.NodeFailed):
                return (failure(case, found),)
            chosen = decision(case, found, source)
            return (chosen,) if chosen is not None else ()
    return ()


# -- what happened to it ---------------------------------------------------------------------------------------------------

Told = Callable[[Case, Entry, Key, NodePlan], list[Reason]]


def _nothing(case: Case, entry: Entry, key: Key, node: NodePlan) -> list[Reason]:
    return []


def _scheduled(case: Case, entry: Entry, key: Key, node: NodePlan) -> list[Reason]:
    fact = entry.fact
    assert isinstance(fact, events.Scheduled)
    return [case.reason("retry", f"attempt {fact.attempt} began", entry)] if fact.attempt > 1 else []


def _lost(case: Case, entry: Entry, key: Key, node: NodePlan) -> list[Reason]:
    fact = entry.fact
    assert isinstance(fact, events.Lost)
    how = "its worker died" if fact.crashed else "its worker stopped"
    return [case.reason("lost", f"{how} during attempt {fact.attempt}, which was not used up by that", entry)]


def _retrying(case: Case, entry: Entry, key: Key, node: NodePlan) -> list[Reason]:
    fact = entry.fact
    assert isinstance(fact, events.Retrying)
    policy = node.retry[fact.policy] if fact.policy < len(node.retry) else None
    of = _attempts(case, entry, key, node, policy)
    next_ = f"next at {case.moment(fact.due)} by policy {fact.policy + 1}"
    sentence = f"attempt {fact.attempt}{of} failed: {error_words(fact.error)}; {next_}"
    return [case.reason("retry", f"retry: {sentence}", entry)]


def _attempts(case: Case, entry: Entry, key: Key, node: NodePlan, policy: RetryPolicy | None) -> str:
    place = case.history.before(entry.seq).place(key[0], node)
    if policy is None or place is None:
        return ""
    try:
        return f" of {policy.attempts.evaluate(place.names(), Budget())}"
    except (ExpressionError, KeyError):
        return ""


def _stopping(case: Case, entry: Entry, key: Key, node: NodePlan) -> list[Reason]:
    fact = entry.fact
    assert isinstance(fact, events.Stopping)
    why = left(case, case.history.before(entry.seq), key[0], fact.cause)
    return [case.reason("stopping", f"was asked to stop: {fact.cause}", entry, because=why)]


def _locked(case: Case, entry: Entry, key: Key, node: NodePlan) -> list[Reason]:
    fact = entry.fact
    assert isinstance(fact, events.Locked)
    began = case.history.last(key, events.Waiting, before=entry.seq)
    since = f", which it waited for since {case.moment(began.at)}" if began is not None else ""
    return [case.reason("locked", f"got the lock `{fact.key}`{since}", entry)]


def _rescheduled(case: Case, entry: Entry, key: Key, node: NodePlan) -> list[Reason]:
    fact = entry.fact
    assert isinstance(fact, events.Rescheduled)
    given = _control(entry, key)
    if given is None:
        return []  # a condition is judged again now and then
    to = fact.due or fact.timeout_at
    return [case.reason("operator", f"its end was moved to {case.moment(to)}{_who(given)}", entry)]


def _parked(case: Case, entry: Entry, key: Key, node: NodePlan) -> list[Reason]:
    fact = entry.fact
    assert isinstance(fact, events.Parked)
    asked = "nobody handles it, and `park` asks people first"
    if fact.question == "unknown":
        asked = "nobody can say whether its effect happened"
    why = _why_failed(case, entry, fact)
    return [case.reason("parked", f"parked: {error_words(fact.error)}; {asked}", entry, because=why)]


def _why_failed(case: Case, entry: Entry, fact: events.Parked) -> tuple[Reason, ...]:
    """The failure inside of a container that is parked."""
    path = instance_path(fact.frame, fact.node, fact.visit)
    if fact.error.node in ("", path):
        return ()
    found = case.history.last(split_path(fact.error.node), events.NodeFailed, before=entry.seq)
    return (failure(case, found),) if found is not None else ()


def _unparked(case: Case, entry: Entry, key: Key, node: NodePlan) -> list[Reason]:
    fact = entry.fact
    assert isinstance(fact, events.Unparked)
    given = _control(entry, key)
    others = ", with other parameters and so a new effect key" if fact.params != events.NOTHING else ""
    return [case.reason("operator", f"was retried{_who(given) if given is not None else ''}{others}", entry)]


def _opened(case: Case, entry: Entry, key: Key, node: NodePlan) -> list[Reason]:
    fact = entry.fact
    assert isinstance(fact, events.Opened)
    if node.type not in ITERATED:
        return []
    times = _iterations(fact.total) if fact.total >= 0 else "as many iterations as it takes"
    at_once = f", {fact.concurrency} at a time" if fact.concurrency != 1 else ""
    again = f" (attempt {fact.attempt})" if fact.attempt > 1 else ""
    return [case.reason("ran", f"set out for {times}{at_once}{again}", entry)]


def _failed(case: Case, entry: Entry, key: Key, node: NodePlan) -> list[Reason]:
    return [failure(case, entry)]


def _skipped(case: Case, entry: Entry, key: Key, node: NodePlan) -> list[Reason]:
    return [skipped(case, entry)]


def _cancelled(case: Case, entry: Entry, key: Key, node: NodePlan) -> list[Reason]:
    told = cancelled(case, entry)
    asked = case.history.last(key, events.Stopping, before=entry.seq)
    return [told if asked is None else msgspec.structs.replace(told, because=())]  # that was told when it was asked to stop


# -- how it succeeded ------------------------------------------------------------------------------------------------------


def _done(case: Case, entry: Entry, key: Key, node: NodePlan) -> list[Reason]:
    fact = entry.fact
    assert isinstance(fact, events.Done)
    chosen = decision(case, entry, node)
    ended_by = _ended_by(case, entry, key, node)
    found = [chosen] if chosen is not None else []
    if ended_by is not None:
        found.append(ended_by)
    if node.type in ITERATED:
        found += _loop_end(case, entry, key, node)
    elif node.type == "parallel":
        found += _parallel_end(case, entry, fact, key, node)
    if not found:
        attempt = f" at attempt {fact.attempt}" if fact.attempt > 1 else ""
        found.append(case.reason("succeeded", f"succeeded{attempt}{_ports(fact)}", entry))
    return found


def _ports(fact: events.Done) -> str:
    ports = [port for port in fact.ports if port != "out"]
    return f", and left by {listed(ports)}" if ports else ""


def _ended_by(case: Case, entry: Entry, key: Key, node: NodePlan) -> Reason | None:
    """What came from outside and ended it: a signal, an event, a child, an operator, time."""
    fact = entry.fact
    assert isinstance(fact, events.Done)
    began = case.history.last(key, events.Waiting, before=entry.seq)
    waited = began.fact if began is not None and isinstance(began.fact, events.Waiting) else None
    control = _control(entry, key)
    if control is not None and control.action in ("skip", "complete"):
        what = "was skipped" if control.action == "skip" else "was completed"
        return case.reason("operator", f"{what}{_who(control)}", entry)
    for given in entry.inputs:
        sentence = _by_input(case, given, key, waited, fact)
        if sentence:
            return case.reason("ended", sentence, entry)
    before = case.history.entries[entry.seq - 2].fact if entry.seq > 1 else None
    if isinstance(before, events.SignalTaken):
        return case.reason("ended", "took a signal that had come before", entry)
    condition = condition_of(node)
    if condition is not None:
        seen = case.history.before(entry.seq).seen_by(key[0], node, condition)
        return case.reason("ended", f"its condition held: {source_of(condition)}", entry, seen=seen)
    return None


def _by_input(case: Case, given: AnyInput, key: Key, waited: events.Waiting | None, fact: events.Done) -> str:
    """How an input that came in the same step ended it; empty where it was another one."""
    if isinstance(given, events.Due) and (given.frame, given.node, given.visit) == key:
        return {
            "wait": "its time came",
            "wait_timeout": f"gave up: what it waited for did not come in time{_ports(fact)}",
            "deadline": f"its deadline passed{_ports(fact)}, with what there was",
        }.get(given.kind, "")
    if waited is None:
        return ""
    if isinstance(given, events.Signal) and waited.kind == "signal" and (given.name, given.key) == (waited.name, waited.key):
        return f"the signal `{given.name}` came{f' from {given.by}' if given.by else ''}"
    if isinstance(given, events.Arrived) and waited.kind == "event" and given.type == waited.name:
        return f"the event `{given.type}` came, with the id {given.id}{f', from {given.source}' if given.source else ''}"
    if isinstance(given, events.ChildEnded) and (given.token.frame, given.token.node, given.token.visit) == key:
        return f"its child {id_text(ExecutionId(given.child))} {given.status.replace('_', ' ')}"
    if isinstance(given, events.Complete) and (given.token.frame, given.token.node, given.token.visit) == key:
        return f"was answered{f' by {given.by}' if given.by else ''}"
    return ""


def _parallel_end(case: Case, entry: Entry, fact: events.Done, key: Key, node: NodePlan) -> list[Reason]:
    """Which branches a `parallel` had when it ended, and how many it needs."""
    instance = case.history.before(entry.seq).instance(key[0], key[1])
    if instance is None or instance.progress is None:
        return []
    need = node.options.get("need", source_of(node.keys.get("need")))
    won = f", which {listed(fact.winners)} made" if fact.winners else ""
    return [case.reason("ended", f"ended: {progress_words(instance, node.type)}; needs {need}{won}", entry)]


def _loop_end(case: Case, entry: Entry, key: Key, node: NodePlan) -> list[Reason]:
    """Why a loop came to its end."""
    then = case.history.before(entry.seq)
    place = then.place(key[0], node)
    instance = then.instance(key[0], key[1])
    if place is None or instance is None or instance.progress is None:
        return []
    progress = instance.progress
    if progress.broken_by is not None:
        broke = breaking(case, then, key)
        return [case.reason("ended", f"ended: iteration {progress.broken_by} broke it", entry, because=broke)]
    if progress.until:
        return [_until(case, entry, key, node)]
    if node.type == "while":
        seen = then.seen(node.keys["condition"], loop_names(place, progress.next))
        asked = source_of(node.keys["condition"])
        return [case.reason("ended", f"ended after {_iterations(ended(progress))}: {asked} is false", entry, seen=seen)]
    quorum = " with its quorum" if has_need(node) else ""
    return [case.reason("ended", f"ended{quorum}: {progress_words(instance, node.type)}", entry)]


def _iterations(count: int) -> str:
    return f"{count} iteration{'' if count == 1 else 's'}"


def _until(case: Case, entry: Entry, key: Key, node: NodePlan) -> Reason:
    """The iteration after which `until` held, with the values it saw."""
    path = instance_path(*key)
    for other in reversed(case.history.entries[: entry.seq - 1]):
        fact = other.fact
        if isinstance(fact, events.FrameClosed) and fact.until and fact.frame.startswith(path):
            then = case.history.before(other.seq)
            opened = then.opened(fact.frame)
            seen: tuple[tuple[str, Any], ...] = ()
            if opened is not None and opened.scope.nodes and handle_digest(fact.value) is None:
                inner = then.place(fact.frame, opened.scope.nodes[0])
                assert inner is not None
                seen = then.seen(node.keys["until"], WithLocals(inner.names(), {"last": decode_value(fact.value)}))
            return case.reason("ended", f"ended early, after `{fact.frame}`: {source_of(node.keys['until'])}", other, seen=seen)
    return case.reason("ended", f"ended early: {source_of(node.keys['until'])}", entry)


def _control(entry: Entry, key: Key) -> events.Operate | None:
    """What an operator asked of this instance in the same step."""
    found = (given for given in entry.inputs if isinstance(given, events.Operate))
    return next((given for given in found if (given.frame, given.node, given.visit) == key), None)


def _who(given: events.Operate) -> str:
    return f"{f' by {given.by}' if given.by else ''}{f': {given.reason}' if given.reason else ''}"


def _handled(case: Case, key: Key, node: NodePlan) -> Iterator[Reason]:
    """The handlers of a `try` that ran, and what they took; and its `finally`."""
    body = ""
    for path in case.history.inside.get(key, ()):
        entry = case.history.frames[path][0]
        fact = entry.fact
        assert isinstance(fact, events.FrameOpened)
        if fact.scope == "body":
            body = path
        elif fact.scope == "finally":
            yield case.reason("cleans_up", f"`{path}` runs, whatever happened", entry)
        else:
            yield _caught(case, key, node, entry, path, body)


def _caught(case: Case, key: Key, node: NodePlan, entry: Entry, path: str, body: str) -> Reason:
    caught = node.handlers[int(path.rpartition(".catch")[2])]
    ends = [each.fact for each in case.history.frames[body] if isinstance(each.fact, events.FrameClosed)]
    error = ends[-1].error if ends else None
    if error is None:
        return case.reason("caught", f"`{path}` runs", entry)
    root = case.history.last(split_path(error.node), events.NodeFailed, before=entry.seq)
    on = f", on {', '.join(caught.on)}" if caught.on else ""
    when = f", when {source_of(caught.when)}" if caught.when is not None else ""
    seen = handler_seen(case, entry, key[0], body, key[1], caught, error)
    because = (failure(case, root),) if root is not None else ()
    return case.reason("caught", f"`{path}` takes {error_words(error)}{on}{when}", entry, seen=seen, because=because)


def _undone(case: Case, key: Key) -> Iterator[Reason]:
    """The rollback that undid it."""
    frame = f"{instance_path(*key)}.compensate"
    for entry in case.history.frames.get(frame, ()):
        fact = entry.fact
        if isinstance(fact, events.FrameOpened):
            by = instance_path(fact.frame, fact.node, fact.visit)
            yield case.reason("rolled_back", f"rolled back: `{by}` runs what it has under `compensate`", entry)
        elif isinstance(fact, events.FrameClosed):
            error = f": {error_words(fact.error)}" if fact.error is not None else ""
            yield case.reason("rolled_back", f"its compensation {fact.status}{error}", entry)


# -- how it stands ---------------------------------------------------------------------------------------------------------


def _present(case: Case, key: Key, node: NodePlan) -> Iterator[Reason]:
    """What it waits for, or does, now; nothing for what is final."""
    now = case.history.now()
    instance = now.instance(key[0], key[1])
    if instance is None or instance.visit != key[2] or instance.state >= FINAL:
        return
    if now.execution.ended:
        yield case.reason("ended", "the execution ended without waiting for it")
        return
    yield standing(case, now, key, node, instance)


def standing(case: Case, now: Then, key: Key, node: NodePlan, instance: Instance) -> Reason:
    """What an active instance waits for, or does."""
    path = instance_path(*key)
    if instance.state == PARKED:
        title = error_words(instance.error) if instance.error is not None else ""
        return case.reason(
            "parked",
            f"is parked: {title}; decide with `retry`, `complete` or `fail`",
            remedy=command_for(instance, case.execution, path),
        )
    if instance.state == BACKOFF:
        sentence = f"waits for attempt {instance.attempt + 1}, at {case.moment(instance.due)}"
        return case.reason("waits", sentence, remedy=f"perdure skip {case.execution} {path}")
    if instance.state == WAITING:
        return _waits(case, now, key, node, instance)
    if instance.state == OPEN:
        words = progress_words(instance, node.type, frames_of(now.execution, key[0], key[1]))
        return case.reason("runs", f"is running{f': {words}' if words else ''}", because=tuple(_inside(case, now, key)))
    running = f"runs attempt {instance.attempt}" if instance.state == RUNNING else f"is {STATE_NAMES[instance.state]}"
    if now.execution.paused_at and isinstance(case.history.of[key][-1].fact, events.Lost):
        running = f"repeats attempt {instance.attempt} when the pause is over"
    stopping = f", and was asked to stop: {instance.stopping}" if instance.stopping else ""
    task = case.tasks.get(path) if instance.state == RUNNING else None
    if task is not None and not task.worker:
        return case.reason("waits", f"{task.words}{stopping}", remedy=task.remedy)
    return case.reason("runs", f"{running}{f' {task.words}' if task is not None else ''}{stopping}")


def _inside(case: Case, now: Then, key: Key) -> Iterator[Reason]:
    """What is active inside of a container, a few of it."""
    shown = 0
    for frame in now.execution.frames.values():
        if (frame.parent, frame.node, frame.visit) != key or frame.closed:
            continue
        for instance in frame.instances.values():
            inner = case.history.node(frame.path, instance.node)
            if instance.final or inner is None:
                continue
            if shown == TOLD_MAX:
                yield Reason(kind="more", sentence="… and more: `perdure show` lists them")
                return
            shown += 1
            told = standing(case, now, (frame.path, instance.node, instance.visit), inner, instance)
            path = instance_path(frame.path, instance.node, instance.visit)
            yield case.reason(told.kind, f"`{path}` {told.sentence}", remedy=told.remedy, because=told.because)


def _waits(case: Case, now: Then, key: Key, node: NodePlan, instance: Instance) -> Reason:
    path = instance_path(*key)
    began = case.history.last(key, events.Waiting)
    words = wait_words(instance, node)
    holder = case.holders.get(instance.wait_key) if instance.wait == "lock" else None
    if holder is not None:
        words += f", held by {' '.join(holder)}"
    if instance.wait == "join":
        words = f"for more of its branches: {join_words(now, key[0], node)}"
    since = f" since {case.moment(began.at)}" if began is not None else ""
    ends, limit = ends_at(instance), gives_up_at(instance)
    until = f", until {case.moment(ends)}" if ends else ""
    gives_up = f", gives up at {case.moment(limit)}" if limit else ""
    stopping = f"; was asked to stop: {instance.stopping}" if instance.stopping else ""
    seen = now.seen_by(key[0], node, condition_of(node)) if instance.wait == "condition" else ()
    remedy = command_for(instance, case.execution, path)
    if instance.wait == "event" and "where" in node.keys:
        words += f" where {source_of(node.keys['where'])}"
    if instance.wait == "child" and instance.progress is not None:
        remedy = f"perdure why {id_text(child_of(instance))}"
    if holder is not None:
        remedy = f"perdure why {' '.join(holder)}"
    sentence = " ".join(filter(None, ("waits", words))) + since + until + gives_up + stopping
    return case.reason("waits", sentence, began, seen=seen, remedy=remedy)


_TOLD: dict[type[Any], Told] = {
    events.Scheduled: _scheduled,
    events.Lost: _lost,
    events.Retrying: _retrying,
    events.Stopping: _stopping,
    events.Locked: _locked,
    events.Rescheduled: _rescheduled,
    events.Parked: _parked,
    events.Unparked: _unparked,
    events.Opened: _opened,
    events.Done: _done,
    events.NodeFailed: _failed,
    events.Skipped: _skipped,
    events.NodeCancelled: _cancelled,
}
