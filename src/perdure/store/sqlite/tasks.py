"""Tasks: attempts that are posted with the turn that asks for them, taken by whoever has the labels, and reported once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import apsw

from perdure.errors import StoreError
from perdure.ids import ExecutionId
from perdure.labels import labels_from, satisfies
from perdure.store.contract import Batch, Message
from perdure.store.sqlite.connection import SQL, Database
from perdure.store.sqlite.inbox import deliver
from perdure.store.sqlite.presence import Presence
from perdure.store.tasks import SOURCE, Held, Pool, Task, TaskName, TaskReport


def write(database: Database, batch: Batch) -> None:
    """What a batch says of tasks, within the transaction of the caller."""
    if batch.task_ends:
        database.many(SQL["end_task"], [(each.execution, each.path, each.number) for each in batch.task_ends])
    if batch.tasks:
        rows = [(t.execution, t.path, t.number, t.tenant, t.needs, t.priority, t.at, t.until, t.body) for t in batch.tasks]
        database.many(SQL["post_task"], rows)
        database.bytes += sum(len(task.body) for task in batch.tasks)
    if batch.task_stops:
        database.many(
            SQL["stop_task"], [(each.reason or "stop", each.execution, each.path, each.number) for each in batch.task_stops]
        )


def claim(
    database: Database, presence: Presence, worker: str, labels: Mapping[str, str], now: int, *, limit: int
) -> list[Task]:  # fmt: skip
    """Make `worker` carry tasks out, in one transaction. Most looks find nothing: they must not take the write lock."""
    if not presence.holds(worker):
        raise StoreError(
            f"Expected {worker!r} to be registered with this store before it takes tasks, but it is not.",
            remedy="Register the worker first; after `leave` it must register anew.",
        )
    if limit < 1 or not _to_begin(database, labels, now, limit):
        return []
    with database.transaction:
        taken = _to_begin(database, labels, now, limit)
        database.many(SQL["take_task"], [(worker, now, task.execution, task.path) for task in taken])
    return taken


def report(database: Database, worker: str, reports: Sequence[TaskReport]) -> list[bool]:
    """Take away what `worker` has, and put its reports into inboxes."""
    if not reports:
        return []
    with database.transaction:
        gone = set(
            database.many_returning(
                SQL["finish_task"], [(each.execution, each.path, each.number, worker) for each in reports]
            )
        )  # fmt: skip
        accepted = [each for each in reports if (each.execution, each.path, each.number) in gone]
        tenants = database.find_tenants(each.execution for each in accepted)
        deliver(database, [_message(each) for each in accepted if each.execution in tenants], tenants)
    return [(each.execution, each.path, each.number) in gone for each in reports]


def give_back(database: Database, worker: str, names: Sequence[TaskName], due: int) -> None:
    """What `worker` has not begun is for anybody, from `due` on."""
    if names:
        with database.transaction:
            database.many(SQL["return_task"], [(due, each.execution, each.path, each.number, worker) for each in names])


def held(database: Database, worker: str) -> list[Held]:
    """What `worker` has."""
    rows = database.all(SQL["held_tasks"], (worker,))
    return [Held(execution=execution, path=path, number=number, stop=stop) for execution, path, number, stop in sorted(rows)]


def find(database: Database, executions: Collection[ExecutionId]) -> list[Task]:
    """All tasks of these executions."""
    return _read(database.all(SQL["tasks"], (apsw.carray(tuple(executions)),))) if executions else []


def left(database: Database, presence: Presence, executions: Collection[ExecutionId], now: int) -> list[Task]:
    """What nobody will report of; those that nobody knew of yet are marked, so that nobody can."""
    if not executions:
        return []
    found = _left(database, presence, executions, now)
    if any(not task.left for task in found):
        with database.transaction:
            found = _left(database, presence, executions, now)
            marks = [(_why(task), task.execution, task.path) for task in found if not task.left]
            database.many(SQL["leave_task"], marks)
        found = _left(database, presence, executions, now)
    return found


def pools(database: Database) -> list[Pool]:
    """What waits, by what it needs."""
    counted = [(needs, *database.all(SQL["waiting_tasks"], (needs,))[0]) for needs in _needs(database)]
    return [Pool(needs=needs, waiting=waiting, since=since) for needs, waiting, since in counted if waiting]


def _to_begin(database: Database, labels: Mapping[str, str], now: int, limit: int) -> list[Task]:
    found: list[Task] = []
    for needs in _needs(database):
        if satisfies(labels, labels_from(needs)):
            asked = {"needs": needs, "now": now, "limit": limit}
            found += _read(database.all(SQL["tasks_to_begin"], asked))
    return sorted(found, key=lambda task: (task.priority, task.at, task.execution, task.path))[:limit]


def _needs(database: Database) -> list[str]:
    return [needs for (needs,) in database.all(SQL["task_needs"])]


def _left(database: Database, presence: Presence, executions: Collection[ExecutionId], now: int) -> list[Task]:
    dead = [worker for (worker,) in database.all(SQL["task_workers"]) if not presence.alive(worker)]
    asked = {"executions": apsw.carray(tuple(executions)), "now": now, "dead": apsw.carray(tuple(dead) or ("",))}
    return _read(database.all(SQL["left_tasks"], asked))


def _why(task: Task) -> str:
    if task.worker:
        return "lost"
    return "stopped" if task.stop else "expired"


def _message(report: TaskReport) -> Message:
    return Message(execution=report.execution, source=SOURCE, key=report.key, at=report.at, body=report.body)


def _read(rows: Iterable[tuple[Any, ...]]) -> list[Task]:
    found = [
        Task(
            execution=execution, path=path, number=number, tenant=tenant, needs=needs, priority=priority, at=at, until=until,
            worker=worker, claimed=claimed, stop=stop, left=left_as, body=body,
        )
        for execution, path, number, tenant, needs, priority, at, until, worker, claimed, stop, left_as, body in rows
    ]  # fmt: skip
    return sorted(found, key=lambda task: (task.execution, task.path))
