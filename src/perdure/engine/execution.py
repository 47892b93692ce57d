"""What is true now: an execution, its frames and node instances; and `evolve`, their only writer.

Rule: nothing but the functions of `REMEMBER` changes these objects, and they take no decision: they never read a plan, a
clock or a setting. So yesterday's journal folds to yesterday's state, whatever `machine` has learned since (style 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from msgspec import Raw, Struct, field

from perdure.engine import events
from perdure.engine.events import NOTHING, AnyFact, Token
from perdure.errors import Failure
from perdure.ids import instance_path

# The states of a node instance (rule 1). Numbers stay; the order says: active below FINAL, final from there on.
RUNNING, WAITING, BACKOFF, PARKED = 1, 2, 3, 4
SUCCEEDED, FAILED, CANCELLED, SKIPPED = 10, 11, 12, 13
FINAL = SUCCEEDED
STATE_NAMES = {
    0: "pending", RUNNING: "running", WAITING: "waiting", BACKOFF: "waiting", PARKED: "parked",
    SUCCEEDED: "succeeded", FAILED: "failed", CANCELLED: "cancelled", SKIPPED: "skipped",
}  # fmt: skip


class Instance(Struct, kw_only=True, omit_defaults=True):
    """A node instance: (frame path, node, visit). A node without one is pending."""

    node: str
    visit: int = 1
    state: int = 0
    attempt: int = 0
    ports: tuple[str, ...] = ()
    output: Raw = NOTHING
    error: Failure | None = None
    cause: str = ""
    broken: bool = False
    unknown: bool = False
    pure: bool = False
    params: Raw = NOTHING
    generation: int = 0
    crashes: int = 0
    used: dict[int, int] = field(default_factory=dict)  # attempts counted by each retry policy
    failures: list[dict[str, Any]] = field(default_factory=list)  # one per failed attempt, newest last, bounded
    question: str = ""
    stopping: str = ""
    stopping_deadline: bool = False
    wait: str = ""
    wait_name: str = ""
    wait_key: str = ""
    due: int = 0
    wait_timeout_at: int = 0
    deadline_at: int = 0
    timeout: int = 0
    queue_timeout: int = 0
    heartbeat: int = 0
    grace: int = 0
    ready: int = 0
    started: int = 0
    finished: int = 0
    seq: int = (
        0  # of the fact that made it final, the moment its edges resolved; while it waits, of the fact that began the wait
    )

    @property
    def final(self) -> bool:
        return self.state >= FINAL


class Departure(Struct, kw_only=True, omit_defaults=True):
    """Why and how a frame is being left."""

    kind: str
    cause: str
    error: Failure | None = None
    value: Raw = NOTHING
    by: str = ""
    hard: bool = False


class Frame(Struct, kw_only=True, omit_defaults=True):
    """One activation of a scope."""

    path: str = ""
    scope: str = ""
    opened: int = 0  # seq of the fact that opened it
    instances: dict[str, Instance] = field(default_factory=dict)
    variables: dict[str, Raw] = field(default_factory=dict)
    departure: Departure | None = None


class KeptSignal(Struct, kw_only=True, omit_defaults=True):
    """A signal that nobody waits for yet."""

    id: str
    name: str
    key: str = ""
    path: str = ""
    payload: Raw = NOTHING


class Execution(Struct, kw_only=True, omit_defaults=True):
    """One run, pinned to one definition: the fold of its journal."""

    id: bytes = b""
    tenant: str = "default"
    workflow: str = ""
    digest: bytes = b""
    lock: dict[str, int] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    input: Raw = NOTHING
    trigger: Raw = NOTHING
    priority: int = 3
    key: str = ""
    by: str = ""
    parent: bytes = b""
    relation: str = ""
    attempt: int = 1
    started: int = 0
    timeout_at: int = 0
    soft_timeout_at: int = 0
    seq: int = 0
    at: int = 0
    frames: dict[str, Frame] = field(default_factory=dict)
    signals: list[KeptSignal] = field(default_factory=list)
    status: str = ""  # only the final one is remembered; the others follow from the instances
    output: Raw = NOTHING
    error: Failure | None = None

    @property
    def ended(self) -> bool:
        return self.status != ""

    def instance(self, token: Token) -> Instance | None:
        """The instance a token speaks of, whatever its attempt; None where its frame or visit is gone."""
        frame = self.frames.get(token.frame)
        found = frame.instances.get(token.node) if frame is not None else None
        return found if found is not None and found.visit == token.visit else None

    def instances(self) -> Iterator[tuple[Frame, Instance]]:
        """All instances of all open frames."""
        for frame in self.frames.values():
            for instance in frame.instances.values():
                yield frame, instance


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
    execution.frames[""] = Frame(opened=execution.seq)


def _scheduled(execution: Execution, fact: events.Scheduled) -> None:
    instance = _of(execution, fact)
    instance.state, instance.attempt, instance.due = RUNNING, fact.attempt, 0
    instance.stopping, instance.stopping_deadline = "", False
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
    instance.used[fact.policy] = instance.used.get(fact.policy, 0) + 1
    instance.crashes = 0
    _note_failure(instance, fact.attempt, fact.error, fact.started, fact.finished)


def _lost(execution: Execution, fact: events.Lost) -> None:
    _of(execution, fact).crashes += fact.crashed


def _waiting(execution: Execution, fact: events.Waiting) -> None:
    instance = _of(execution, fact)
    instance.state, instance.wait, instance.due = WAITING, fact.kind, fact.due
    instance.wait_timeout_at, instance.wait_name, instance.wait_key = fact.timeout_at, fact.name, fact.key
    if fact.deadline_at:
        instance.deadline_at = fact.deadline_at
    instance.attempt, instance.seq = fact.attempt, execution.seq


def _finish(execution: Execution, fact: Any, state: int) -> Instance:
    instance = _of(execution, fact)
    instance.state, instance.seq, instance.due, instance.deadline_at = state, execution.seq, 0, 0
    instance.params = NOTHING  # not needed any more; the journal keeps them
    return instance


def _done(execution: Execution, fact: events.Done) -> None:
    instance = _finish(execution, fact, SUCCEEDED)
    instance.output, instance.ports, instance.error = fact.output, fact.ports, None
    instance.started, instance.finished = fact.started, fact.finished


def _failed(execution: Execution, fact: events.NodeFailed) -> None:
    instance = _finish(execution, fact, FAILED)
    instance.error, instance.ports = fact.error, fact.ports
    instance.started, instance.finished = fact.started, fact.finished
    if fact.attempt:
        _note_failure(instance, fact.attempt, fact.error, fact.started, fact.finished)


def _skipped(execution: Execution, fact: events.Skipped) -> None:
    instance = _finish(execution, fact, SKIPPED)
    instance.cause, instance.broken = fact.cause, fact.broken


def _stopping(execution: Execution, fact: events.Stopping) -> None:
    instance = _of(execution, fact)
    instance.stopping, instance.stopping_deadline = fact.cause, fact.deadline


def _cancelled(execution: Execution, fact: events.NodeCancelled) -> None:
    instance = _finish(execution, fact, CANCELLED)
    instance.cause, instance.unknown = fact.cause, fact.unknown
    instance.started, instance.finished = fact.started, fact.finished


def _parked(execution: Execution, fact: events.Parked) -> None:
    instance = _of(execution, fact)
    instance.state, instance.error, instance.question, instance.due = PARKED, fact.error, fact.question, 0


def _unparked(execution: Execution, fact: events.Unparked) -> None:
    instance = _of(execution, fact)
    instance.generation, instance.question, instance.crashes = fact.generation, "", 0
    if fact.params != NOTHING:
        instance.params = fact.params


def _variable_set(execution: Execution, fact: events.VariableSet) -> None:
    execution.frames[fact.frame].variables[fact.name] = fact.value


def _departing(execution: Execution, fact: events.Departing) -> None:
    execution.frames[fact.frame].departure = Departure(
        kind=fact.kind, cause=fact.cause, error=fact.error, value=fact.value, by=fact.by, hard=fact.hard
    )


def _signal_kept(execution: Execution, fact: events.SignalKept) -> None:
    execution.signals.append(KeptSignal(id=fact.id, name=fact.name, key=fact.key, path=fact.path, payload=fact.payload))


def _signal_taken(execution: Execution, fact: events.SignalTaken) -> None:
    execution.signals = [kept for kept in execution.signals if kept.id != fact.id]


def _soft_timed_out(execution: Execution, fact: events.SoftTimedOut) -> None:
    execution.soft_timeout_at = 0


def _ended(execution: Execution, fact: events.Ended) -> None:
    execution.status, execution.output, execution.error = fact.status, fact.output, fact.error
    execution.timeout_at = execution.soft_timeout_at = 0


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
}


def path_of(frame: Frame, instance: Instance) -> str:
    """The path of an instance, as people and keys know it."""
    return instance_path(frame.path, instance.node, instance.visit)
