"""Records to fill a store with, each whole and plain, so that a test names only what it is about."""

from __future__ import annotations

import hashlib
from typing import Any

from perdure.ids import ExecutionId, ExecutionIds
from perdure.store.contract import (
    STATUS_NUMBER,
    TENANT,
    Batch,
    Blob,
    Definition,
    Event,
    LockClaim,
    Message,
    Snapshot,
    Start,
    Store,
    Subscription,
    Turn,
)
from perdure.store.tasks import Task, TaskName, TaskReport

NOW = 1_790_000_000_000_000
SECOND = 1_000_000
LEVEL = 1
WORKER = "worker-1"
OTHER = "worker-2"
RUNNING = STATUS_NUMBER["running"]
WAITING = STATUS_NUMBER["waiting"]
SUCCEEDED = STATUS_NUMBER["succeeded"]
FAILED = STATUS_NUMBER["failed"]
CANCELLED = STATUS_NUMBER["cancelled"]

_ids = ExecutionIds(entropy=bytes)


def an_id() -> ExecutionId:
    """An execution's id, larger than all before."""
    return _ids.new(NOW)


def a_start(execution: ExecutionId, **changes: Any) -> Start:
    given: dict[str, Any] = {"tenant": TENANT, "workflow": "orders", "digest": b"d" * 32, "created": NOW, "home": WORKER}
    return Start(execution=execution, **given | changes)


def a_turn(execution: ExecutionId, **changes: Any) -> Turn:
    given: dict[str, Any] = {
        "epoch": 1, "first_seq": 1, "count": 2, "at": NOW, "level": LEVEL, "body": b"facts", "status": RUNNING,
    }  # fmt: skip
    return Turn(execution=execution, **given | changes)


def a_message(execution: ExecutionId, key: str = "m1", **changes: Any) -> Message:
    given: dict[str, Any] = {"source": "signal", "at": NOW, "body": b"hello"}
    return Message(execution=execution, key=key, **given | changes)


def an_event(execution: ExecutionId | None, key: str = "e1", **changes: Any) -> Event:
    """An event of that execution's step, or with None one from outside."""
    given: dict[str, Any] = {
        "tenant": TENANT, "type": "order.paid", "source": "/orders", "subject": "17", "at": NOW, "body": b"{}",
    }  # fmt: skip
    return Event(id=key, execution=execution, **given | changes)


def a_subscription(execution: ExecutionId, type: str = "order.paid", **changes: Any) -> Subscription:
    given: dict[str, Any] = {"tenant": TENANT}
    return Subscription(type=type, execution=execution, **given | changes)


def a_lock(execution: ExecutionId, key: str = "till", path: str = "pay", **changes: Any) -> LockClaim:
    given: dict[str, Any] = {"tenant": TENANT}
    return LockClaim(key=key, execution=execution, path=path, **given | changes)


def a_task(execution: ExecutionId, path: str = "work", **changes: Any) -> Task:
    given: dict[str, Any] = {
        "number": 4, "tenant": TENANT, "needs": "gpu=true", "priority": 3, "at": NOW, "body": b"run",
    }  # fmt: skip
    return Task(execution=execution, path=path, **given | changes)


def a_name(execution: ExecutionId, path: str = "work", number: int = 4) -> TaskName:
    return TaskName(execution=execution, path=path, number=number)


def a_report(execution: ExecutionId, path: str = "work", number: int = 4) -> TaskReport:
    return TaskReport(execution=execution, path=path, number=number, at=NOW, body=b"result")


def a_blob(body: bytes, tenant: str = TENANT) -> Blob:
    return Blob(tenant=tenant, digest=hashlib.sha256(body).digest(), body=body)


def a_snapshot(execution: ExecutionId, seq: int = 2, **changes: Any) -> Snapshot:
    given: dict[str, Any] = {"fold": 1, "body": b"state"}
    return Snapshot(execution=execution, seq=seq, **given | changes)


def a_definition(name: str, text: bytes = b"{}", **changes: Any) -> Definition:
    given: dict[str, Any] = {"tenant": TENANT, "created": NOW, "lock": b"{}", "origin": "orders.yaml"}
    return Definition(name=name, digest=hashlib.sha256(text).digest(), document=text, **given | changes)


async def began(store: Store, count: int = 1, **changes: Any) -> list[ExecutionId]:
    """Executions after their first turn (facts 1 and 2, epoch 1), at home with the first worker, which gets registered."""
    await store.register(WORKER, now=NOW, level=LEVEL)
    executions = [an_id() for _ in range(count)]
    starts = [a_start(execution, **changes) for execution in executions]
    await store.commit(Batch(starts=starts, turns=[a_turn(execution) for execution in executions]))
    return executions


async def asleep(
    store: Store, wake: int | None, *, priority: int = 3, level: int = LEVEL, status: int = WAITING
) -> ExecutionId:
    """An execution that left its home after its first turn, to be looked at again at `wake`."""
    execution = an_id()
    turn = a_turn(execution, level=level, status=status, release=True, wake=wake)
    await store.commit(Batch(starts=[a_start(execution, home="", priority=priority)], turns=[turn]))
    return execution
