"""An execution in memory, and what a commit carries besides its journal row: status, events, executions it starts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from perdure.engine import events
from perdure.engine.codec import encode_value
from perdure.engine.events import AnyInput
from perdure.engine.execution import Execution
from perdure.engine.index import Index
from perdure.ids import ExecutionId, id_text
from perdure.runtime.plans import Loaded
from perdure.runtime.resident import Resident
from perdure.store.contract import STATUS_NUMBER, Batch, Event, Message, Start


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an execution ended. `output` is decoded, `error` the object of RFC 9457, None where there is none."""

    execution: ExecutionId
    status: str
    output: Any = None
    error: dict[str, Any] | None = None


class Hot:
    """An execution in memory. `inputs`: what has arrived and was not stepped yet, each with its inbox position, 0 = none."""

    __slots__ = (
        "armed",
        "blobs",
        "epoch",
        "execution",
        "future",
        "id",
        "index",
        "inputs",
        "leaving",
        "loaded",
        "snapshot_seq",
        "start",
        "tenant",
        "text",
        "workflow",
        "works",
    )

    def __init__(
        self, execution_id: ExecutionId, tenant: str, workflow: str, loaded: Loaded, epoch: int, resident: Resident
    ) -> None:
        self.id = execution_id
        self.text = id_text(execution_id)
        self.tenant = tenant
        self.workflow = workflow
        self.loaded = loaded
        self.works = loaded.works
        self.epoch = epoch
        self.execution = Execution()
        self.index = Index(loaded.plan, resident)
        self.inputs: list[tuple[AnyInput, int]] = []
        self.blobs: dict[bytes, bytes] = {}
        self.start: Start | None = None  # its row is not written yet
        self.future: asyncio.Future[ExecutionId] | None = None  # of whoever starts it
        self.snapshot_seq = 0
        self.armed = 0  # the due time that its entry among the home's timers is for
        self.leaving = False  # the turn being written lets it go

    def begin_anew(self, execution: Execution, resident: Resident) -> None:
        """Forget the state in memory for one that was folded from the disk."""
        self.execution = execution
        self.index = Index.rebuilt(self.loaded.plan, execution, resident)

    def note(self, due: list[events.Due]) -> None:
        """Timers that came due are inputs like others."""
        self.inputs.extend((timer, 0) for timer in due)


def settle(futures: Iterable[asyncio.Future[Outcome]], hot: Hot, output: Any) -> None:
    execution = hot.execution
    error = execution.error.as_value() if execution.error is not None else None
    outcome = Outcome(execution=hot.id, status=execution.status, output=output, error=error)
    for future in futures:
        if not future.done():
            future.set_result(outcome)


def status_number(execution: Execution, index: Index) -> int:
    """What the execution's row says (rule 1)."""
    if execution.ended:
        return STATUS_NUMBER[execution.status]
    root = execution.frames.get("")
    if root is None:
        return STATUS_NUMBER["queued"]
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
        )
    )


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
}
"""Facts whose consequence outside the execution is written in the same commit."""
