"""An execution in memory: what has arrived for it, where it stands, and what a commit of it carries besides its journal row."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from perdure.engine import events
from perdure.engine.codec import FOLD, encode_snapshot, encode_value
from perdure.engine.events import AnyInput
from perdure.engine.execution import WAITING, Execution
from perdure.engine.index import Index
from perdure.errors import StartConflict
from perdure.ids import ExecutionId, id_text, instance_path
from perdure.runtime.plans import Loaded
from perdure.runtime.postings import Postings
from perdure.runtime.resident import Resident
from perdure.store.contract import STATUS_NUMBER, Batch, Event, KeyedStart, LockClaim, Message, Snapshot, Start, Subscription

SNAPSHOT_BYTES = 512 << 10
"""What 5,000 facts have in the journal, at a hundred bytes each: a snapshot of so many bytes is as much again."""


GIVEN_MAX = 2_000
"""Inputs that a step is given at once, where more are queued: more than one takes before it is cut."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an execution ended. `output` is decoded, `error` the object of RFC 9457, None where there is none."""

    execution: ExecutionId
    status: str
    output: Any = None
    error: dict[str, Any] | None = None


class Hot:
    """An execution in memory. `inputs`: what has arrived and was not stepped yet, each with its inbox position, 0 = none."""

    __slots__ = (
        "_text",
        "armed",
        "blobs",
        "carried",
        "enclosed",
        "epoch",
        "errands",
        "execution",
        "future",
        "id",
        "index",
        "inputs",
        "leaving",
        "loaded",
        "postings",
        "snapshot_seq",
        "snapshot_weight",
        "start",
        "subscribed",
        "tenant",
        "workflow",
        "works",
    )

    def __init__(
        self, execution_id: ExecutionId, tenant: str, workflow: str, loaded: Loaded, epoch: int, resident: Resident
    ) -> None:
        self.id = execution_id
        self._text = ""
        self.tenant = tenant
        self.workflow = workflow
        self.loaded = loaded
        self.works = loaded.works
        self.epoch = epoch
        self.execution = Execution()
        self.index = Index(loaded.plan, resident)
        self.inputs: list[tuple[AnyInput, int]] = []
        self.blobs: dict[bytes, bytes] = {}  # what is named from now on, and not durable yet
        self.carried: tuple[bytes, ...] = ()  # those of them that the turn being written carries
        self.start: Start | None = None  # its row is not written yet
        self.enclosed: Sequence[Message] = ()  # messages for it that its start brings along
        self.future: asyncio.Future[ExecutionId] | None = None  # of whoever starts it
        self.snapshot_seq = 0
        self.snapshot_weight = 1.0  # of the last one: how many times its usual bytes
        self.armed = 0  # the due time that its entry among the home's timers is for
        self.leaving = False  # the turn being written lets it go
        self.errands = 0  # that are being run for it
        self.postings = Postings() if loaded.plan.pooled else None  # what it has left to other workers
        self.subscribed: frozenset[str] = frozenset()  # types of events that the store sends it messages of

    @property
    def text(self) -> str:
        """The id as people read it; most of what only waits never needs it."""
        if not self._text:
            self._text = id_text(self.id)
        return self._text

    def begin_anew(self, execution: Execution, resident: Resident) -> None:
        """Forget the state in memory for one that was folded from the disk."""
        self.execution = execution
        self.index = Index.rebuilt(self.loaded.plan, execution, resident)
        self.subscribed = frozenset(self.index.events)
        if self.postings is not None and not execution.seq:
            self.postings.forget()

    def recover(self, recovered: events.Recovered) -> None:
        """A takeover is stepped before all that has arrived, but for a pause: else what it asks for again would start in it."""
        asked = [(place, given) for place, (given, _) in enumerate(self.inputs) if isinstance(given, events.Operate)]
        after_pause = asked[0][0] + 1 if asked and asked[0][1].action == "pause" else 0
        self.inputs.insert(after_pause, (recovered, 0))

    def due_snapshot(self, facts: int) -> Snapshot | None:
        """A snapshot, where so many facts have passed since the last one; after a heavy one as many times more.

        So all snapshots together have about as many bytes as the journal, however wide the state is: by facts alone, an
        execution of twice the width would write four times as much.
        """
        execution = self.execution
        if execution.ended or execution.seq - self.snapshot_seq < facts * self.snapshot_weight:
            return None
        body = encode_snapshot(execution)
        self.snapshot_seq = execution.seq
        self.snapshot_weight = max(1.0, len(body) / SNAPSHOT_BYTES)
        return Snapshot(execution=self.id, seq=execution.seq, fold=FOLD, body=body)

    def note(self, due: list[events.Due]) -> None:
        """Timers that came due are inputs like others."""
        self.inputs.extend((timer, 0) for timer in due)


def foremost(inputs: list[tuple[AnyInput, int]]) -> tuple[list[tuple[AnyInput, int]], list[tuple[AnyInput, int]]]:
    """What the next step is given of what has arrived, and what waits for the one after it.

    A step is cut after so many facts, so of a long queue of answers it takes the first and leaves the rest; to put all of them
    in order for each step would cost the square of the queue. What is given is what would come first in any case: with timers
    anywhere, or an operator further back, that is found out by looking at all.
    """
    if len(inputs) <= GIVEN_MAX:
        return inputs, []
    front, back = inputs[:GIVEN_MAX], inputs[GIVEN_MAX:]
    if any(type(given) is events.Due for given, _ in front) or any(type(given) in _OUT_OF_TURN for given, _ in back):
        return inputs, []
    return front, back


_OUT_OF_TURN = frozenset((events.Due, events.Operate, events.Recovered, events.Start, events.Continue))
"""Inputs that do not simply come one after another (rule 2)."""


def settle(futures: Iterable[asyncio.Future[Outcome]], hot: Hot, output: Any) -> None:
    execution = hot.execution
    error = execution.error.as_value() if execution.error is not None else None
    outcome = Outcome(execution=hot.id, status=execution.status, output=output, error=error)
    for future in futures:
        if not future.done():
            future.set_result(outcome)


def refuse(futures: Iterable[asyncio.Future[Any] | None], error: BaseException) -> None:
    """Tell those who still wait why they wait in vain."""
    for future in futures:
        if future is not None and not future.done():
            future.set_exception(error)


def tell_start(hot: Hot, keyed: KeyedStart | None) -> None:
    """Tell whoever asked for a start which execution it is, unless they have given up; `keyed`: who had the key before."""
    future, start = hot.future, hot.start
    assert future is not None, "a start that is answered was asked for"
    if future.done():
        return
    if keyed is None:
        future.set_result(hot.id)  # it is this one, also where the same id was started before
    elif start is not None and keyed.fingerprint != start.fingerprint:
        future.set_exception(start_conflict(start.key, keyed.execution))
    else:
        future.set_result(keyed.execution)


def tell_started(hot: Hot) -> None:
    """Its start is durable: whoever asked for it hears that, if anybody did."""
    if hot.future is not None:
        tell_start(hot, None)
        hot.future = None


def start_conflict(key: str, execution: ExecutionId) -> StartConflict:
    """The key of this start stands for another request (rule 55)."""
    return StartConflict(
        f"The idempotency key {key!r} started {id_text(execution)} before, with another payload.",
        remedy="Use a new key for a new request; repeat a request with exactly its first payload.",
    )


def status_number(execution: Execution, index: Index) -> int:
    """What the execution's row says (rule 1)."""
    if execution.ended:
        return STATUS_NUMBER[execution.status]
    root = execution.frames.get("")
    if root is None:
        return STATUS_NUMBER["queued"]
    if execution.paused_at:
        return STATUS_NUMBER["paused"]
    if root.departure is not None:
        return STATUS_NUMBER["closing"]
    if index.running or index.ready:
        return STATUS_NUMBER["running"]
    if index.waiting:
        return STATUS_NUMBER["waiting"]
    return STATUS_NUMBER["parked"] if index.parked else STATUS_NUMBER["running"]


def _carry_event(hot: Hot, fact: events.Emitted, at: int, batch: Batch) -> None:
    batch.events.append(
        Event(
            id=fact.id,
            tenant=hot.tenant,
            type=fact.type,
            source=f"/executions/{id_text(hot.id)}",
            subject=fact.subject,
            at=at,
            execution=hot.id,
            body=bytes(fact.data),
            notice=notice_of(fact.id, fact.type, f"/executions/{id_text(hot.id)}", fact.subject, at, fact.data),
        )
    )


def notice_of(id: str, type: str, source: str, subject: str, at: int, data: Raw) -> bytes:
    """The message that those get who wait for an event: the input they step."""
    return encode_value(events.Arrived(id=id, type=type, source=source, subject=subject, at=at, data=data))


def _carry_end(hot: Hot, fact: events.Ended, at: int, batch: Batch) -> None:
    """Whoever waits for the end is told; children that nobody waits for any more are asked to end too (rule 41)."""
    execution = hot.execution
    if execution.awaited is not None:
        given = events.ChildEnded(
            token=execution.awaited, child=hot.id, status=fact.status, output=fact.output, error=fact.error
        )
        batch.messages.append(
            Message(
                execution=ExecutionId(execution.parent), source="child", key=hot.text, at=at, body=encode_value(given),
                sender=hot.id,
            )
        )  # fmt: skip
    for child, action in _left_behind(hot):
        order = events.Operate(action=action, by=f"execution:{hot.text}", reason="its parent has ended")
        batch.messages.append(
            Message(
                execution=child, source="operator", key="parent:end", at=at, body=encode_value(order), sender=hot.id
            )
        )  # fmt: skip


def _left_behind(hot: Hot) -> Iterator[tuple[ExecutionId, str]]:
    for detached in hot.execution.detached:
        yield ExecutionId(detached.execution), detached.on_parent_close
    for frame, instance in hot.execution.instances():
        if instance.state == WAITING and instance.wait == "child" and instance.progress is not None:
            node = hot.index.node(frame.path, instance.node)
            if node.options["wait"] and node.options["on_cancel"] == "cancel":
                yield ExecutionId(instance.progress.child), "terminate"


def _carry_unlocked(hot: Hot, fact: events.Unlocked, at: int, batch: Batch) -> None:
    path = instance_path(fact.frame, fact.node, fact.visit)
    batch.unlocks.append(LockClaim(tenant=hot.tenant, key=fact.key, execution=hot.id, path=path))


def carry_subscriptions(hot: Hot, batch: Batch) -> None:
    """What the execution waits for now, and what no longer, by types of events."""
    if not hot.subscribed and not hot.index.events:
        return
    wanted = frozenset(hot.index.events) if not hot.execution.ended else frozenset()
    if wanted == hot.subscribed:
        return
    batch.subscriptions += [Subscription(tenant=hot.tenant, type=each, execution=hot.id) for each in wanted - hot.subscribed]
    batch.unsubscriptions += [Subscription(tenant=hot.tenant, type=each, execution=hot.id) for each in hot.subscribed - wanted]
    hot.subscribed = wanted


def _carry_spawned(hot: Hot, fact: events.Spawned, at: int, batch: Batch) -> None:
    """Another execution starts: its row and its first message go with the commit that asks for it."""
    child = ExecutionId(fact.execution)
    given = events.Start(
        execution=child, tenant=hot.tenant, input=fact.input, by=f"execution:{id_text(hot.id)}", parent=hot.id,
        relation=fact.relation, attempt=fact.attempt,
    )  # fmt: skip
    batch.starts.append(
        Start(
            execution=child,
            tenant=hot.tenant,
            workflow=fact.workflow or hot.workflow,
            digest=hot.execution.digest if not fact.workflow else b"",
            created=at,
            priority=hot.execution.priority,
            parent=hot.id,
        )
    )
    batch.messages.append(Message(execution=child, source="start", key="start", at=at, body=encode_value(given), sender=hot.id))


CARRIED_BY_COMMIT: dict[type[Any], Callable[[Hot, Any, int, Batch], None]] = {
    events.Emitted: _carry_event,
    events.Spawned: _carry_spawned,
    events.Ended: _carry_end,
    events.Unlocked: _carry_unlocked,
}
"""Facts whose consequence outside the execution is written in the same commit."""
