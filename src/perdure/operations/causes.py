"""Why something came to nothing: what failed and who bore it, why a node was skipped or cancelled, why a frame was left."""

from __future__ import annotations

import re

import msgspec

from perdure.definition.plan import CatchPort, Edge, NodePlan
from perdure.engine import events
from perdure.engine.edges import BROKEN
from perdure.engine.execution import CANCELLED, FAILED, SKIPPED, Instance
from perdure.engine.index import FrameIndex
from perdure.engine.joins import failed_before
from perdure.engine.names import FrameNames
from perdure.engine.retry import matches, retryable
from perdure.errors import Failure
from perdure.ids import instance_path
from perdure.operations.evidence import Entry, Key, Seen, Then
from perdure.operations.paths import split_path
from perdure.operations.progress import ITERATED
from perdure.operations.reasons import (
    Case,
    Reason,
    case_reason,
    cases_of,
    decision,
    ended_words,
    error_words,
    join_words,
    resolved,
    source_of,
)

DEPTH_MAX = 40
"""So deep reasons may lie in one another: deeper than paths are."""

_NAMED = re.compile(r"`([A-Za-z_]\w*)`")
_BELOW = re.compile(r"(?:~\d+)?(?:\[\d+\]|\.[A-Za-z_]\w*)\.[A-Za-z_]\w*(?:#\d+)?")
_CHILD = re.compile(r"\bex_[0-9a-z]{26}\b")


# -- failures --------------------------------------------------------------------------------------------------------------


def failure(case: Case, entry: Entry, depth: int = 0) -> Reason:
    """How an instance failed, who took that, and what lies at its root."""
    fact = entry.fact
    assert isinstance(fact, events.NodeFailed), "asked of a failure"
    node = case.history.node(fact.frame, fact.node)
    path = instance_path(fact.frame, fact.node, fact.visit)
    attempts = f" after {fact.attempt} attempts" if fact.attempt > 1 else ""
    inner = _inner(case, entry, fact, depth)
    where = f"{_frame_words(case, fact)}: " if inner is not None else ""
    if node is not None and node.type == "join":
        where = f"{join_words(case.history.before(entry.seq), fact.frame, node)}: "
    retried = _not_retried(case, entry, fact, node) if node is not None else ""
    sentence = f"`{path}` failed{attempts}: {where}{error_words(fact.error)}{retried}{_taken(case, fact, node)}"
    because = (inner,) if inner is not None else tuple(_causes(case, fact.error))
    caught = next((each for each in node.catch if each.port in fact.ports), None) if node is not None else None
    seen = handler_seen(case, entry, fact.frame, fact.frame, fact.node, caught, fact.error) if caught is not None else ()
    return case.reason("failed", sentence, entry, because=because, remedy=_child_of(fact.error), seen=seen)


def handler_seen(
    case: Case, entry: Entry, frame: str, where: str, node: str, caught: CatchPort, error: Failure
) -> tuple[Seen, ...]:  # fmt: skip
    """What the `when` of a handler saw, in the frame `where`, when a failure was offered to it."""
    then = case.history.before(entry.seq)
    opened, plan = then.opened(where), case.history.node(frame, node)
    place = then.place(frame, plan) if plan is not None else None
    if opened is None or place is None:
        return ()
    return then.seen(
        caught.when, FrameNames(then.execution, then.index, opened, then.at, place.path, {"error": error.as_value()})
    )  # fmt: skip


def _not_retried(case: Case, entry: Entry, fact: events.NodeFailed, node: NodePlan) -> str:
    """Why a node with policies was not tried again."""
    if not node.retry or not fact.attempt:
        return ""
    if fact.error.retryable is False:
        return ", which is never to be retried"
    instance = case.history.before(entry.seq).instance(fact.frame, fact.node)
    for number, policy in enumerate(node.retry):
        if policy.not_on and matches(policy.not_on, fact.error):
            continue
        if matches(policy.on, fact.error) if policy.on else retryable(fact.error):
            used = instance.used.get(number, 0) + 1 if instance is not None else fact.attempt
            return f", and policy {number + 1} is used up after {used} attempts"
    return ", which no policy retries"


def _taken(case: Case, fact: events.NodeFailed, node: NodePlan | None) -> str:
    """Who takes the failure (rule 11)."""
    if fact.ports:
        caught = [each for each in (node.catch if node is not None else ()) if each.port == fact.ports[0]]
        return f"; its `{'catch' if caught else fact.ports[0]}` edge takes it{f' by `{fact.ports[0]}`' if caught else ''}"
    if fact.shielded:
        return "; a join bears it"
    scope = case.history.plan.scopes.get(case.history.scopes.get(fact.frame, "?"))
    return f" (no edge for it; on_failure: {scope.on_failure})" if scope is not None else ""


def _inner(case: Case, entry: Entry, fact: events.NodeFailed, depth: int) -> Reason | None:
    """The failure inside of a container that became its own: of the node in its own frame, or of that where it began."""
    path = instance_path(fact.frame, fact.node, fact.visit)
    if fact.error.node in ("", path) or depth >= DEPTH_MAX:
        return None
    below = _BELOW.match(fact.error.node.removeprefix(path)) if fact.error.node.startswith(path) else None
    for inner in (f"{path}{below[0]}" if below is not None else "", fact.error.node):
        found = case.history.last(split_path(inner), events.NodeFailed, before=entry.seq) if inner else None
        if found is not None:
            return failure(case, found, depth + 1)
    return None


def _frame_words(case: Case, fact: events.NodeFailed) -> str:
    """In which frame of the container it failed."""
    path = instance_path(fact.frame, fact.node, fact.visit)
    rest = fact.error.node.removeprefix(path)
    node = case.history.node(fact.frame, fact.node)
    rest = re.sub(r"\A~\d+", "", rest)
    if node is not None and node.type in ITERATED and rest.startswith("["):
        return f"iteration {rest[1:].partition(']')[0]} failed"
    return f"`{rest.removeprefix('.').partition('.')[0]}` failed" if rest.startswith(".") else f"`{fact.error.node}` failed"


def _causes(case: Case, error: Failure) -> list[Reason]:
    """What a failure names as its cause, and what failed beside it."""
    found: list[Reason] = []
    if error.code.startswith("expression.") and error.detail:
        found.append(case.reason("place", " ".join(error.detail.split())))
    if error.cause is not None and (error.cause.code, error.cause.title) != (error.code, error.title):
        found.append(case.reason("cause", f"the cause: {error_words(error.cause)}", remedy=_child_of(error.cause)))
    for other in error.also:
        entry = case.history.last(split_path(other.node), events.NodeFailed) if other.node else None
        found.append(failure(case, entry) if entry is not None else case.reason("cause", f"also: {error_words(other)}"))
    return found


def _child_of(error: Failure) -> str:
    """A failure of a child is explained by the child: the command that does so."""
    child = _CHILD.search(f"{error.detail} {error.title}")
    return f"perdure why {child[0]}" if child is not None else ""


# -- skipped ---------------------------------------------------------------------------------------------------------------


def skipped(case: Case, entry: Entry) -> Reason:
    """Why a node will not run."""
    fact = entry.fact
    assert isinstance(fact, events.Skipped), "asked of what was skipped"
    then, node = case.history.before(entry.seq), case.history.node(fact.frame, fact.node)
    opened = then.opened(fact.frame)
    if node is None or opened is None:
        return case.reason("skipped", f"skipped: {fact.cause}", entry)
    if fact.broken:
        return _broken(case, entry, then, opened, node)
    if node.when is not None and fact.cause.startswith("`when` is false"):
        seen = then.seen_by(fact.frame, node, node.when)
        return case.reason("skipped", f"skipped: `when` is false: {source_of(node.when)}", entry, seen=seen)
    dead = [edge for edge in node.incoming if resolved(opened, edge)[1] == "dead"]
    if dead and fact.cause == "no incoming edge was taken":
        because = tuple(_dead(case, entry, opened, edge) for edge in dead)
        if len(because) == 1:
            only = because[0]
            return case.reason("skipped", f"skipped: {only.sentence}", entry, seen=only.seen, because=only.because)
        return case.reason("skipped", "skipped: none of its edges was taken", entry, because=because)
    return case.reason("skipped", f"skipped: {fact.cause}", entry, because=left(case, then, fact.frame, fact.cause))


def _broken(case: Case, entry: Entry, then: Then, opened: FrameIndex, node: NodePlan) -> Reason:
    fact = entry.fact
    assert isinstance(fact, events.Skipped)
    edge = next((edge for edge in node.incoming if resolved(opened, edge)[1] == BROKEN), None)
    root = failed_before(opened, edge, {}) if edge is not None else None
    if edge is None or root is None:
        return case.reason("skipped", f"skipped: broken, {fact.cause}", entry)
    found = case.history.last((fact.frame, root.node, root.visit), events.NodeFailed, before=entry.seq)
    because = failure(case, found).because if found is not None else ()
    title = error_words(root.error) if root.error is not None else ""
    path = instance_path(fact.frame, root.node, root.visit)
    sentence = f"skipped: broken, `{path}` failed: {title} (no edge for it; on_failure: {opened.scope.on_failure})"
    return case.reason("skipped", sentence, entry, because=because)


def _dead(case: Case, entry: Entry, opened: FrameIndex, edge: Edge) -> Reason:
    """Why an edge was not taken: from its source, or from what kept that from running."""
    behind: list[str] = []
    here = edge
    while True:
        source = opened.scope.nodes[here.source]
        instance = opened.instance(source)
        if instance is None or instance.state != SKIPPED or instance.cause != "no incoming edge was taken":
            break
        behind.append(source.id)
        dead = [inner for inner in source.incoming if resolved(opened, inner)[1] == "dead"]
        if not dead:
            break
        here = dead[0]
    because = _source_reasons(case, entry, opened.frame.path, source, here, instance)
    end = _end(instance, source, told=bool(because))
    name = f"edge `{edge.entry}` is dead"
    if behind:
        more = (
            f", and so {f'was `{behind[1]}`' if len(behind) == 2 else f'were {len(behind) - 1}'} before it"
            if len(behind) > 1
            else ""
        )
        via = f": `{behind[0]}` was skipped{more}"
        first = case.reason("edge", f"edge `{here.entry}` to `{behind[-1]}` is dead: {end}", because=because)
        return case.reason("edge", f"{name}{via}", because=(first,))
    return case.reason("edge", f"{name}: {end}", because=because)


def _end(instance: Instance | None, source: NodePlan, *, told: bool) -> str:
    """How the source of a dead edge ended; why, unless that is told below."""
    if instance is None:
        return f"`{source.id}` has not run"
    if instance.state in (SKIPPED, CANCELLED):
        why = "" if told or not instance.cause else f": {' '.join(instance.cause.split())}"
        return f"`{source.id}` was {'skipped' if instance.state == SKIPPED else 'cancelled'}{why}"
    if instance.state == FAILED and not instance.ports:
        return f"`{source.id}` failed, and this is an edge for failures that it did not leave by"
    return ended_words(instance, source)


def _source_reasons(
    case: Case, entry: Entry, frame: str, source: NodePlan, edge: Edge, instance: Instance | None
) -> tuple[Reason, ...]:
    """Why the source of a dead edge ended as it did."""
    if instance is None:
        return ()
    key: Key = (frame, source.id, instance.visit)
    found = case.history.last(key, events.Done, events.Skipped, events.NodeFailed, events.NodeCancelled, before=entry.seq)
    if found is None:
        return ()
    chosen = decision(case, found, source)
    if chosen is not None:
        asked = edge.port in cases_of(source) and isinstance(found.fact, events.Done)
        return (chosen, case_reason(case, found, source, edge.port)) if asked else (chosen,)
    if isinstance(found.fact, events.NodeFailed):
        return (failure(case, found),)
    if isinstance(found.fact, events.Skipped | events.NodeCancelled):
        told = skipped(case, found) if isinstance(found.fact, events.Skipped) else cancelled(case, found)
        return (msgspec.structs.replace(told, sentence=f"`{instance_path(*key)}` was {told.sentence}"),)
    return ()


# -- cancelled -------------------------------------------------------------------------------------------------------------


def cancelled(case: Case, entry: Entry) -> Reason:
    """Why a node was cancelled."""
    fact = entry.fact
    assert isinstance(fact, events.NodeCancelled), "asked of what was cancelled"
    then = case.history.before(entry.seq)
    unknown = "; nobody can say whether its effect happened" if fact.unknown else ""
    sentence = fact.cause if fact.cause.startswith("cancelled") else f"cancelled: {fact.cause}"
    return case.reason("cancelled", f"{sentence}{unknown}", entry, because=left(case, then, fact.frame, fact.cause))


def left(case: Case, then: Then, frame: str, cause: str, depth: int = 0) -> tuple[Reason, ...]:
    """What made a frame be left, or one of its nodes be withdrawn, for a cause that was given."""
    if depth >= DEPTH_MAX:
        return ()
    opened = then.opened(frame)
    departure = _departure(case, then, frame)
    if departure is not None and isinstance(departure.fact, events.Departing):
        return _departed(case, then, departure, departure.fact, opened, cause, depth)
    withdrawn = _by_sibling(case, then, frame, cause, opened)
    if withdrawn:
        return withdrawn
    if opened is not None and opened.outer is not None and opened.container is not None:
        return _by_container(case, then, opened, cause, depth)
    return ()


def _departure(case: Case, then: Then, frame: str) -> Entry | None:
    """The last statement that this frame is being left, at that moment."""
    found = case.history.frames.get(frame, ())
    departing = (each for each in reversed(found) if isinstance(each.fact, events.Departing))
    return next((each for each in departing if each.seq <= then.execution.seq), None)


def _departed(
    case: Case, then: Then, entry: Entry, fact: events.Departing, opened: FrameIndex | None, cause: str, depth: int
) -> tuple[Reason, ...]:  # fmt: skip
    where = f"`{fact.frame}`" if fact.frame else "the workflow"
    if fact.kind in ("fail", "drain") and fact.error is not None:
        key = split_path(fact.error.node)
        found = case.history.last(key, events.NodeFailed, before=entry.seq + 1)
        if found is not None:
            return (failure(case, found),)
        return (case.reason("left", f"{where} was left: {error_words(fact.error)}", entry),)
    if fact.kind in ("return", "break", "continue", "exit"):
        return (_by_node(case, entry, fact),)
    if fact.kind == "stop" and opened is not None and opened.outer is not None:
        return _by_container(case, then, opened, fact.cause, depth)
    if fact.cause == cause:
        return ()  # there is nothing more to say of it
    by = f" by {fact.by}" if fact.by and fact.by not in fact.cause else ""
    return (case.reason("left", f"{where} was left: {fact.cause}{by}", entry),)


def _by_node(case: Case, entry: Entry, fact: events.Departing) -> Reason:
    """A `return`, `break`, `continue` or `exit`: which node, and why it ran."""
    named = _NAMED.search(fact.cause)
    leaver = _last_done(case, named[1], entry.seq) if named is not None else None
    seen: tuple[tuple[str, object], ...] = ()
    condition = ""
    if leaver is not None and isinstance(leaver.fact, events.Done):
        node = case.history.node(leaver.fact.frame, leaver.fact.node)
        if node is not None and node.when is not None:
            condition = f", since {source_of(node.when)}"
            seen = case.history.before(leaver.seq).seen_by(leaver.fact.frame, node, node.when)
    frame = leaver.fact.frame if leaver is not None and isinstance(leaver.fact, events.Done) else ""
    return case.reason("left", f"{fact.cause}{f' in `{frame}`' if frame else ''}{condition}", entry, seen=seen)


def _last_done(case: Case, node: str, before: int) -> Entry | None:
    """The node of this name, in whatever frame, that was done last: a departure is stated right after what caused it."""
    for entry in reversed(case.history.entries[: before - 1]):
        if isinstance(entry.fact, events.Done) and entry.fact.node == node:
            return entry
    return None


def _by_sibling(case: Case, then: Then, frame: str, cause: str, opened: FrameIndex | None) -> tuple[Reason, ...]:
    """A join that had its branches, a `cancel` node, an `again` edge: the sibling that a cause begins with."""
    named = _NAMED.match(cause)
    if named is None or opened is None or named[1] not in opened.scope.number:
        return ()
    node, instance = opened.scope.nodes[opened.scope.number[named[1]]], opened.frame.instances.get(named[1])
    if instance is None:
        return ()
    key: Key = (frame, node.id, instance.visit)
    found = case.history.last(key, events.Done, events.NodeFailed, before=then.execution.seq + 1)
    if found is None:
        return ()
    if isinstance(found.fact, events.NodeFailed):
        return (failure(case, found),)
    chosen = decision(case, found, node)
    return (chosen,) if chosen is not None else (case.reason("ran", f"`{node.id}` ran", found),)


def _by_container(case: Case, then: Then, opened: FrameIndex, cause: str, depth: int) -> tuple[Reason, ...]:
    """The container took its frames with it: since it was asked to, or had decided."""
    frame, outer = opened.frame, opened.outer
    assert outer is not None
    key: Key = (frame.parent, frame.node, frame.visit)
    asked = case.history.last(key, events.Stopping, before=then.execution.seq + 1)
    if asked is not None and isinstance(asked.fact, events.Stopping):
        why = left(case, case.history.before(asked.seq), frame.parent, asked.fact.cause, depth + 1)
        return why or (case.reason("left", f"`{instance_path(*key)}` was asked to stop: {asked.fact.cause}", asked),)
    container = outer.frame.instances.get(frame.node)
    progress = container.progress if container is not None else None
    if progress is None:
        return ()
    broke = breaking(case, then, key)
    if broke:
        return broke
    failed = [each for each in (progress.error,) if each is not None and each.node]
    if failed and "failed" in cause:
        found = case.history.last(split_path(failed[0].node), events.NodeFailed, before=then.execution.seq + 1)
        return (failure(case, found),) if found is not None else ()
    done = case.history.last(key, events.Done, before=then.execution.seq + 1)
    return (case.reason("ran", f"`{instance_path(*key)}` had ended", done),) if done is not None else ()


def breaking(case: Case, then: Then, key: Key) -> tuple[Reason, ...]:
    """Which node of which iteration broke a loop."""
    for entry in reversed(case.history.entries[: then.execution.seq]):
        fact = entry.fact
        if isinstance(fact, events.Departing) and fact.kind == "break":
            opened = next((each.fact for each in case.history.frames.get(fact.frame, ())), None)
            if isinstance(opened, events.FrameOpened) and (opened.frame, opened.node, opened.visit) == key:
                return (_by_node(case, entry, fact),)
    return ()
