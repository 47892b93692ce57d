"""Why: of a node why it ran, was skipped, cancelled, waits or failed; of an execution why it stands where it stands.

Told from the plan and the journal alone: the journal is folded up to just before the fact in question, and what an expression
read then is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from perdure.definition.plan import NodePlan
from perdure.engine import events
from perdure.engine.codec import decode_value
from perdure.engine.execution import OPEN, PARKED, STATE_NAMES, WAITING, Execution
from perdure.engine.names import time_text
from perdure.errors import PerdureError, StoreDamaged
from perdure.ids import ExecutionId, id_text, instance_path
from perdure.operations.causes import failure, left
from perdure.operations.evidence import Entry, History, Key, Then
from perdure.operations.executions import Executions, Shown
from perdure.operations.instances import instance_reasons, standing
from perdure.operations.paths import Named, named, split_path
from perdure.operations.pools import standing_of
from perdure.operations.reasons import Case, Reason, ended_words, error_words, join_words, resolved
from perdure.store.contract import STATUSES, Store

ACTIVE_MAX = 20
"""Of what an execution waits for, or does, so much is told."""
ROUNDS_MAX = 8
"""How often it is asked again with the large values that were lacking."""

_STATES: dict[type[Any], str] = {
    events.Done: "succeeded", events.NodeFailed: "failed", events.Skipped: "skipped", events.NodeCancelled: "cancelled",
}  # fmt: skip


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why something is as it is. `path`: of a node or a frame; empty: the execution as a whole."""

    execution: str
    path: str
    state: str
    reasons: tuple[Reason, ...]


async def explain(
    executions: Executions, store: Store, execution: ExecutionId, path: str = "", *, moment: Callable[[int], str] = time_text
) -> Explanation:
    """Why the node or frame at a path, or the execution, is as it is. Raises NotFound for another path, StoreDamaged."""
    shown = await executions.show(execution)
    plan = await executions.plan(shown.row)
    holders = await _holders(store, shown)
    tasks = await standing_of(store, execution, moment) if plan.pooled and not shown.state.ended else {}
    resident: dict[bytes, Any] = {}
    rounds = 0
    while True:
        try:
            case = Case(History(plan, shown.timeline, resident), id_text(execution), moment, holders, tasks)
            found = explained(case, path, status=shown.status)
        except PerdureError:
            raise
        except Exception as error:  # a journal that folds may still speak of what its definition does not have
            raise StoreDamaged(
                f"The journal of {id_text(execution)} cannot be explained: {type(error).__name__}: {error}",
                remedy="`perdure verify --deep` tells whether it is damaged; if it is sound, this is a fault of Perdure.",
            ) from error
        rounds += 1
        bodies = await store.blobs(shown.row.tenant, list(case.history.needs - resident.keys()))
        if not bodies or rounds == ROUNDS_MAX:
            return found
        resident.update((digest, decode_value(body)) for digest, body in bodies.items())


async def _holders(store: Store, shown: Shown) -> dict[str, tuple[str, str]]:
    """Who holds the locks that the execution waits for."""
    found: dict[str, tuple[str, str]] = {}
    for _, instance in shown.state.instances():
        if instance.state == WAITING and instance.wait == "lock":
            holder = await store.holder(shown.row.tenant, instance.wait_key)
            if holder is not None:
                found[instance.wait_key] = (id_text(holder[0]), holder[1])
    return found


def explained(case: Case, path: str = "", *, status: str = "") -> Explanation:
    """The explanation from a case alone. `status`: what the execution's row says. Raises NotFound."""
    if not path:
        return _of_execution(case, status)
    found = named(case.history.plan, path)
    return _of_node(case, found, found.node) if found.node is not None else _of_frame(case, found)


def explanation_object(explanation: Explanation) -> dict[str, Any]:
    """An explanation as a plain object."""
    return {
        "execution": explanation.execution, "node": explanation.path or None, "state": explanation.state,
        "reasons": [_reason_object(reason) for reason in explanation.reasons],
    }  # fmt: skip


def _reason_object(reason: Reason) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": reason.kind, "sentence": reason.sentence}
    if reason.fact:
        found |= {"fact": reason.fact, "at": time_text(reason.at)}
    if reason.seen:
        found["values"] = dict(reason.seen)
    if reason.remedy:
        found["remedy"] = reason.remedy
    if reason.because:
        found["because"] = [_reason_object(each) for each in reason.because]
    return found


# -- a node ----------------------------------------------------------------------------------------------------------------


def _of_node(case: Case, found: Named, node: NodePlan) -> Explanation:
    history = case.history
    visits = history.visits(found.frame, node.id)
    visit = found.visit or (visits[-1] if visits else _present_visit(history, found.frame, node.id))
    key: Key = (found.frame, node.id, visit)
    reasons = instance_reasons(case, key, node)
    return Explanation(
        execution=case.execution, path=instance_path(*key), state=_state(history, key),
        reasons=tuple(reasons or _pending(case, found, key, node)),
    )  # fmt: skip


def _present_visit(history: History, frame: str, node: str) -> int:
    opened = history.now().execution.frames.get(frame)
    return opened.visit_of(node) if opened is not None else 1


def _state(history: History, key: Key) -> str:
    last = history.last(key, *_STATES)
    if last is not None:
        return _STATES[type(last.fact)]
    instance = history.now().instance(key[0], key[1])
    return STATE_NAMES[instance.state] if instance is not None and instance.visit == key[2] else "pending"


def _pending(case: Case, found: Named, key: Key, node: NodePlan) -> Iterator[Reason]:
    """Why a node has not begun."""
    now = case.history.now()
    if key[0] not in case.history.scopes:
        yield from _not_entered(case, found)
        return
    if now.execution.ended or key[0] not in now.execution.frames:
        yield case.reason("pending", f"{_END_WORDS.get(now.execution.status, 'its frame was given up')} before it began")
        return
    opened = now.opened(key[0])
    if now.execution.paused_at:
        yield _paused(case, now)
    if opened is not None and node.type == "join":
        yield case.reason("pending", f"waits for its branches: {join_words(now, key[0], node)}")
    elif opened is not None:
        for edge in node.incoming:
            source = opened.scope.nodes[edge.source]
            instance, how = resolved(opened, edge)
            if how:
                yield case.reason("edge", f"edge `{edge.entry}` is {how}: {ended_words(instance, source) if instance else ''}")
            else:
                doing = STATE_NAMES[instance.state] if instance is not None else "pending"
                yield case.reason("pending", f"waits for `{source.id}`, which is {doing}")
    visit = opened.frame.visit_of(node.id) if opened is not None else 1
    if key[2] > visit:
        yield case.reason("pending", f"there was no visit {key[2]}: the present one is {visit}")


def _not_entered(case: Case, found: Named) -> Iterator[Reason]:
    """The frame of a node is not there: it was never entered, or has left no trace of the node."""
    if found.holder is None:
        return
    container = instance_path(*found.holder)
    node = case.history.node(found.holder[0], found.holder[1])
    because: tuple[Reason, ...] = ()
    if node is not None:
        told = instance_reasons(case, found.holder, node)
        because = tuple(case.reason(each.kind, f"`{container}` {each.sentence}", because=each.because) for each in told[-1:])
    yield case.reason("pending", f"has not begun: `{found.frame}` was not entered", because=because)


# -- a frame ---------------------------------------------------------------------------------------------------------------


def _of_frame(case: Case, found: Named) -> Explanation:
    """Why a frame, an iteration for one, is as it is."""
    entries = case.history.frames.get(found.frame, [])
    if not entries:
        missing = tuple(_not_entered(case, found))
        return Explanation(execution=case.execution, path=found.frame, state="pending", reasons=missing)
    reasons: list[Reason] = []
    state = "running"
    for entry in entries:
        fact = entry.fact
        if isinstance(fact, events.FrameOpened):
            reasons.append(case.reason("ran", f"was entered by `{instance_path(fact.frame, fact.node, fact.visit)}`", entry))
        elif isinstance(fact, events.Departing):
            then = case.history.before(entry.seq + 1)
            why = left(case, then, found.frame, fact.cause)
            reasons.append(case.reason("left", f"was left: {fact.cause}", entry, because=why))
        elif isinstance(fact, events.FrameClosed):
            state = fact.status
            error = f": {error_words(fact.error)}" if fact.error is not None else ""
            inner = case.history.last(split_path(fact.error.node), events.NodeFailed) if fact.error is not None else None
            because = (failure(case, inner),) if inner is not None and not reasons[-1].because else ()
            reasons.append(case.reason("ended", f"ended: {fact.status}{error}", entry, because=because))
    if state == "running":
        now = case.history.now()
        frame = now.execution.frames.get(found.frame)
        active = [each for each in _active(case, now) if frame is not None and each[0][0] == found.frame]
        reasons += [_standing(case, now, key, node) for key, node in active[:ACTIVE_MAX]]
    return Explanation(execution=case.execution, path=found.frame, state=state, reasons=tuple(reasons))


# -- the execution ---------------------------------------------------------------------------------------------------------


def _of_execution(case: Case, status: str) -> Explanation:
    history = case.history
    if not history.entries:
        queued = case.reason("queued", "no process has begun with it", remedy=f"perdure resume {case.execution}")
        return Explanation(execution=case.execution, path="", state=status or STATUSES[0], reasons=(queued,))
    now = history.now()
    reasons = tuple(_how_it_ended(case) if now.execution.ended else _how_it_stands(case, now))
    return Explanation(execution=case.execution, path="", state=now.execution.status or status, reasons=reasons)


def _how_it_ended(case: Case) -> Iterator[Reason]:
    """From the root cause outwards."""
    entry = next(each for each in reversed(case.history.entries) if isinstance(each.fact, events.Ended))
    fact = entry.fact
    assert isinstance(fact, events.Ended)
    departures = [each for each in case.history.frames.get("", ()) if isinstance(each.fact, events.Departing)]
    if fact.error is not None:
        yield from _root_outwards(case, fact)
    for departure in departures:
        left_by = departure.fact
        assert isinstance(left_by, events.Departing)
        if left_by.kind not in ("fail", "drain") or fact.error is None:
            told = left(case, case.history.before(departure.seq + 1), "", left_by.cause)
            yield case.reason("left", f"was left: {left_by.cause}", departure, because=_others(told, left_by.cause))
            if left_by.kind == "timeout":
                yield from _under_way(case, departure)
    yield case.reason("ended", _END_WORDS[fact.status], entry)
    for other in case.history.entries:
        if isinstance(other.fact, events.Spawned):
            child = id_text(ExecutionId(other.fact.execution))
            about = {"retry": "to try it again", "route": "in its place", "error": "for its failure"}[other.fact.relation]
            yield case.reason("started", f"{child} was started {about}", other, remedy=f"perdure why {child}")


_END_WORDS = {
    "succeeded": "the execution succeeded", "failed": "the execution failed", "cancelled": "the execution was cancelled",
    "timed_out": "the execution timed out",
}  # fmt: skip


def _others(told: tuple[Reason, ...], cause: str) -> tuple[Reason, ...]:
    """Without what only says the cause again."""
    return tuple(each for each in told if cause not in each.sentence or each.seen or each.because)


def _root_outwards(case: Case, ended: events.Ended) -> Iterator[Reason]:
    """The failure at the root, then each container that failed with it."""
    assert ended.error is not None
    found = _outermost(case, ended)
    if found is None:
        yield case.reason("failed", error_words(ended.error))
        return
    chain = [failure(case, found)]
    while chain[-1].because and chain[-1].because[0].kind == "failed" and len(chain[-1].because) == 1:
        chain.append(chain[-1].because[0])
    for number, reason in enumerate(reversed(chain)):
        yield reason if not number else msgspec.structs.replace(reason, because=())
    said = {sentence.partition(" failed")[0] for reason in chain for sentence in _sentences(reason)}
    for other in ended.error.also:
        if f"`{other.node}`" not in said:
            yield case.reason("also", f"also failed: `{other.node}`: {error_words(other)}")


def _sentences(reason: Reason) -> Iterator[str]:
    yield reason.sentence
    for inner in reason.because:
        yield from _sentences(inner)


def _outermost(case: Case, ended: events.Ended) -> Entry | None:
    """The failure of a node of the workflow's own scope that the execution failed with."""
    assert ended.error is not None
    for entry in reversed(case.history.entries):
        fact = entry.fact
        if isinstance(fact, events.NodeFailed) and not fact.frame and fact.error.node == ended.error.node and not fact.ports:
            return entry
    return case.history.last(split_path(ended.error.node), events.NodeFailed) if ended.error.node else None


def _under_way(case: Case, departure: Entry) -> Iterator[Reason]:
    """What was still going on when the time was over."""
    then = case.history.before(departure.seq)
    for key, node in _active(case, then)[:ACTIVE_MAX]:
        told = _standing(case, then, key, node)
        yield case.reason("then", f"at that time {told.sentence}")


# -- where it stands -------------------------------------------------------------------------------------------------------


def _how_it_stands(case: Case, now: Then) -> Iterator[Reason]:
    state = now.execution
    if state.paused_at:
        yield _paused(case, now)
    departure = state.frames[""].departure
    if departure is not None:
        yield case.reason("left", f"is being left: {departure.cause}", because=left(case, now, "", departure.cause))
    active = _active(case, now)
    for key, node in active[:ACTIVE_MAX]:
        yield _standing(case, now, key, node)
    if len(active) > ACTIVE_MAX:
        yield case.reason("more", f"… and {len(active) - ACTIVE_MAX} more nodes: `perdure show {case.execution}` lists them")
    for signal in state.signals[:ACTIVE_MAX]:
        key_words = f" with key {signal.key}" if signal.key else ""
        path_words = f" for `{signal.path}`" if signal.path else ""
        yield case.reason("kept", f"keeps the signal `{signal.name}`{key_words}{path_words}, which nobody waits for")
    if departure is None:
        yield from _failed_so_far(case, state)


def _active(case: Case, then: Then) -> list[tuple[Key, NodePlan]]:
    """What waits, runs or is parked, in the order of the frames; containers by what is active in them, if anything is."""
    found: list[tuple[Key, NodePlan]] = []
    holding = {(frame.parent, frame.node) for frame in then.execution.frames.values() if not frame.closed}
    for frame, instance in then.execution.instances():
        node = case.history.node(frame.path, instance.node)
        if node is None or instance.final or (instance.state == OPEN and (frame.path, instance.node) in holding):
            continue
        found.append(((frame.path, instance.node, instance.visit), node))
    return sorted(found, key=lambda each: _is_parked(then, each[0]), reverse=True)


def _is_parked(then: Then, key: Key) -> bool:
    instance = then.instance(key[0], key[1])
    return instance is not None and instance.state == PARKED


def _standing(case: Case, then: Then, key: Key, node: NodePlan) -> Reason:
    instance = then.instance(key[0], key[1])
    assert instance is not None, "what is active is there"
    told = standing(case, then, key, node, instance)
    return msgspec.structs.replace(told, sentence=f"`{instance_path(*key)}` {told.sentence}")


def _paused(case: Case, now: Then) -> Reason:
    entry = next(each for each in reversed(case.history.entries) if isinstance(each.fact, events.Paused))
    asked = [given for given in entry.inputs if isinstance(given, events.Operate) and given.action == "pause"]
    who = f" by {asked[-1].by}" if asked and asked[-1].by else ""
    why = f": {asked[-1].reason}" if asked and asked[-1].reason else ""
    sentence = f"is paused since {case.moment(now.execution.paused_at)}{who}{why}"
    return case.reason("paused", sentence, entry, remedy=f"perdure unpause {case.execution}")


def _failed_so_far(case: Case, state: Execution) -> Iterator[Reason]:
    """Failures of the workflow's own scope that nobody handled, while the rest goes on."""
    for frame, instance in state.instances():
        if instance.error is not None and STATE_NAMES[instance.state] == "failed" and not instance.ports and not frame.path:
            entry = case.history.last((frame.path, instance.node, instance.visit), events.NodeFailed)
            if entry is not None:
                yield failure(case, entry)
