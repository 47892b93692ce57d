"""Tasks: attempts that are posted with the turn that asks for them, taken by whoever has the labels, and reported once.

Who writes executions and tasks in one transaction takes the executions first; nobody waits in a circle.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from perdure.errors import StoreError
from perdure.ids import ExecutionId
from perdure.labels import labels_from, satisfies
from perdure.store.contract import Batch, Message
from perdure.store.postgres.claims import dead_among
from perdure.store.postgres.connection import Database, Session
from perdure.store.postgres.inbox import deliver
from perdure.store.postgres.presence import Presence
from perdure.store.tasks import SOURCE, Held, Pool, Task, TaskName, TaskReport


async def write(session: Session, batch: Batch) -> bool:
    """What a batch says of tasks, within the transaction of the caller; whether another worker wants to know."""
    if batch.task_ends:
        await session.run("end_tasks", *_names(batch.task_ends))
    if batch.tasks:
        latest = {(task.execution, task.path): task for task in sorted(batch.tasks, key=lambda task: task.number)}
        rows = [latest[place] for place in sorted(latest)]
        await session.run(
            "post_tasks",
            *_names(rows), [t.tenant for t in rows], [t.needs for t in rows], [t.priority for t in rows], [t.at for t in rows],
            [t.until for t in rows], [t.body for t in rows],
        )  # fmt: skip
        session.count_bytes(sum(len(task.body) for task in rows))
    if batch.task_stops:
        stops = {(stop.execution, stop.path, stop.number): stop for stop in batch.task_stops}
        in_order = [stops[name] for name in sorted(stops)]
        await session.run("stop_tasks", *_names(in_order), [stop.reason or "stop" for stop in in_order])
    return True


async def claim(
    database: Database, presence: Presence, worker: str, labels: Mapping[str, str], now: int, *, limit: int
) -> list[Task]:  # fmt: skip
    """Make `worker` carry tasks out. Most looks find nothing: they write nothing."""
    if worker not in presence.held:
        raise StoreError(
            f"Expected {worker!r} to be registered with this store before it takes tasks, but it is not.",
            remedy="Register the worker first; after `leave` it must register anew.",
        )
    if limit < 1:
        return []
    needs = [row["needs"] for row in await database.all("task_needs")]
    wanted = [each for each in needs if satisfies(labels, labels_from(each))]
    if not wanted:
        return []
    async with database.transaction() as session:
        return _in_line(await session.rows("take_tasks", worker, wanted, now, limit))


async def report(
    database: Database, worker: str, reports: Sequence[TaskReport]
) -> tuple[list[bool], set[str]]:  # fmt: skip
    """Take away what `worker` has, and put its reports into inboxes; which it had, and the homes of the receivers."""
    async with database.transaction() as session:
        met = await session.rows("meet", sorted({each.execution for each in reports}))
        homes = {row["execution"]: row["home"] for row in met}
        in_order = sorted(reports, key=lambda each: (each.execution, each.path, each.number))
        finished = await session.rows("finish_tasks", *_names(in_order), worker)
        gone = {(row["execution"], row["path"], row["number"]) for row in finished}
        accepted = [each for each in reports if (each.execution, each.path, each.number) in gone and each.execution in homes]
        if accepted:
            await deliver(session, [_message(each) for each in accepted])
    answers = [(each.execution, each.path, each.number) in gone for each in reports]
    return answers, {homes[each.execution] for each in accepted}


async def give_back(database: Database, worker: str, names: Sequence[TaskName], due: int) -> None:
    """What `worker` has not begun is for anybody, from `due` on."""
    in_order = sorted(names, key=lambda each: (each.execution, each.path))
    await database.alone(lambda session: session.run("return_tasks", *_names(in_order), worker, due))


async def held(database: Database, worker: str) -> list[Held]:
    """What `worker` has."""
    rows = await database.all("held_tasks", worker)
    return [Held(execution=row["execution"], path=row["path"], number=row["number"], stop=row["stop"]) for row in rows]


async def find(database: Database, executions: Collection[ExecutionId]) -> list[Task]:
    """All tasks of these executions."""
    return _read(await database.all("tasks", sorted(executions))) if executions else []


async def left(database: Database, presence: Presence, executions: Collection[ExecutionId], now: int) -> list[Task]:
    """What nobody will report of; those that nobody knew of yet are marked, so that nobody can."""
    if not executions:
        return []
    judged_until = presence.judged_until()
    found = await database.all("left_tasks", sorted(executions), now, judged_until)
    fresh = [row for row in found if not row["left_as"]]
    if not fresh:
        return _read(found)
    async with database.transaction() as session:
        dead = await dead_among(session, sorted({row["worker"] for row in fresh} - {""}), judged_until)
        await session.run("leave_tasks", *_names(_read(fresh)), dead, now)
    return _read([row for row in await database.all("left_tasks", sorted(executions), now, judged_until) if row["left_as"]])


async def pools(database: Database) -> list[Pool]:
    """What waits, by what it needs."""
    needs = [row["needs"] for row in await database.all("task_needs")]
    rows = await database.all("waiting_tasks", needs) if needs else []
    return [Pool(needs=row["needs"], waiting=row["waiting"], since=row["since"]) for row in rows if row["waiting"]]


def _names(names: Sequence[TaskName]) -> list[list[Any]]:
    return [[each.execution for each in names], [each.path for each in names], [each.number for each in names]]


def _message(report: TaskReport) -> Message:
    return Message(execution=report.execution, source=SOURCE, key=report.key, at=report.at, body=report.body)


def _in_line(rows: Iterable[Any]) -> list[Task]:
    return sorted(_read(rows), key=lambda task: (task.priority, task.at, task.execution, task.path))


def _read(rows: Iterable[Any]) -> list[Task]:
    return [
        Task(
            execution=row["execution"], path=row["path"], number=row["number"], tenant=row["tenant"], needs=row["needs"],
            priority=row["priority"], at=row["at"], until=row["until"], worker=row["worker"], claimed=row["claimed"],
            stop=row["stop"], left=row["left_as"], body=row["body"],
        )
        for row in rows
    ]  # fmt: skip
