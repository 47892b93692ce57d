"""What is read row by row: executions, journals, snapshots, definitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perdure.ids import ExecutionId
from perdure.store.contract import FIRST_FINAL, Definition, JournalRow, KeyedStart, Row, Snapshot
from perdure.store.sqlite.connection import SQL, Database

_AFTER_EVERY_ID = b"\xff" * 17
_ANY_STATUS = -1  # as a bit mask


def read_row(row: tuple[Any, ...]) -> Row:
    """The record of a row of `executions`, with its wake time."""
    execution, tenant, workflow, digest, created, updated, priority, status, home, epoch, seq, level, wake, key = row
    return Row(
        execution=execution, tenant=tenant, workflow=workflow, digest=digest, created=created, updated=updated,
        priority=priority, status=status, home=home, epoch=epoch, seq=seq, level=level, wake=wake, key=key,
    )  # fmt: skip


def find_row(database: Database, execution: ExecutionId) -> Row | None:
    row = database.one(SQL["row"], (execution,))
    return read_row(row) if row else None


def find_rows(
    database: Database,
    *,
    tenant: str,
    workflow: str | None,
    statuses: Sequence[int] | None,
    before: ExecutionId | None,
    limit: int,
) -> list[Row]:
    mask = _ANY_STATUS if statuses is None else sum(1 << status for status in set(statuses))
    asked: dict[str, Any] = {"tenant": tenant, "statuses": mask, "before": before or _AFTER_EVERY_ID, "limit": limit}
    asked["workflow"] = workflow
    if statuses is not None and all(status < FIRST_FINAL for status in statuses):
        rows = database.all(SQL["unfinished_rows"], asked)
    elif statuses is not None and all(status > FIRST_FINAL for status in statuses):
        rows = database.all(SQL["unsuccessful_rows"], asked)
    elif workflow is None:
        rows = database.all(SQL["rows"], asked)
    else:
        rows = database.all(SQL["rows_of_workflow"], asked)
    return [read_row(row) for row in rows]


def find_keyed(database: Database, tenant: str, workflow: str, key: str) -> KeyedStart | None:
    row = database.one(SQL["keyed"], (tenant, workflow, key))
    return KeyedStart(execution=row[0], fingerprint=row[1]) if row else None


def read_journal(database: Database, execution: ExecutionId, *, after: int, limit: int) -> list[JournalRow]:
    return [
        JournalRow(execution=execution, first_seq=first_seq, count=count, at=at, level=level, body=body)
        for execution, first_seq, count, at, level, body in database.all(
            SQL["journal"], {"execution": execution, "after": after, "limit": limit}
        )
    ]


def find_snapshot(database: Database, execution: ExecutionId) -> Snapshot | None:
    row = database.one(SQL["snapshot"], (execution,))
    return Snapshot(execution=row[0], seq=row[1], fold=row[2], body=row[3]) if row else None


def save_definition(database: Database, each: Definition) -> None:
    values = (each.tenant, each.digest, each.name, each.created, each.document, each.lock, each.origin)
    with database.transaction:
        database.many(SQL["save_definition"], [values])
    database.bytes += len(each.document) + len(each.lock)


def find_definition(database: Database, digest: bytes, *, tenant: str) -> Definition | None:
    row = database.one(SQL["definition"], (tenant, digest))
    return _read_definition(row) if row else None


def find_definitions(database: Database, name: str, *, tenant: str) -> list[Definition]:
    return [_read_definition(row) for row in database.all(SQL["definitions"], (tenant, name))]


def find_definitions_since(database: Database, position: int, limit: int) -> list[tuple[int, Definition]]:
    return [(row[0], _read_definition(row[1:])) for row in database.all(SQL["definitions_since"], (position, limit))]


def _read_definition(row: tuple[Any, ...]) -> Definition:
    digest, tenant, name, created, document, lock, origin = row
    return Definition(digest=digest, tenant=tenant, name=name, created=created, document=document, lock=lock, origin=origin)
