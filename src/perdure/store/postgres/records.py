"""What is read row by row: executions, journals, snapshots, definitions, blobs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from perdure.errors import StoreDamaged
from perdure.ids import ExecutionId
from perdure.store.contract import FIRST_FINAL, Definition, JournalRow, KeyedStart, Row, Snapshot
from perdure.store.postgres.connection import Database

_AFTER_EVERY_ID = b"\xff" * 17
_ANY_STATUS = -1  # as a bit mask
_LINE = 0x50455253  # who saves definitions goes one after another


def read_row(row: Any) -> Row:
    """The record of a row of `executions`, with its wake time."""
    execution, tenant, workflow, digest, created, updated, priority, status, home, epoch, seq, level, wake, key = row
    return Row(
        execution=execution, tenant=tenant, workflow=workflow, digest=digest, created=created, updated=updated,
        priority=priority, status=status, home=home, epoch=epoch, seq=seq, level=level, wake=wake, key=key,
    )  # fmt: skip


async def find_row(database: Database, execution: ExecutionId) -> Row | None:
    row = await database.one("row", execution)
    return read_row(row) if row else None


async def find_rows(
    database: Database,
    *,
    tenant: str,
    workflow: str | None,
    statuses: Sequence[int] | None,
    before: ExecutionId | None,
    limit: int,
) -> list[Row]:
    mask = _ANY_STATUS if statuses is None else sum(1 << status for status in set(statuses))
    asked = (tenant, mask, before or _AFTER_EVERY_ID, limit)
    if statuses is not None and all(status < FIRST_FINAL for status in statuses):
        rows = await database.all("unfinished_rows", *asked, workflow)
    elif statuses is not None and all(status > FIRST_FINAL for status in statuses):
        rows = await database.all("unsuccessful_rows", *asked, workflow)
    elif workflow is None:
        rows = await database.all("rows", *asked)
    else:
        rows = await database.all("rows_of_workflow", *asked, workflow)
    return [read_row(row) for row in rows]


async def find_keyed(database: Database, tenant: str, workflow: str, key: str) -> KeyedStart | None:
    row = await database.one("keyed", tenant, workflow, key)
    return KeyedStart(execution=row["execution"], fingerprint=row["fingerprint"]) if row else None


async def read_journal(database: Database, execution: ExecutionId, *, after: int, limit: int) -> list[JournalRow]:
    return [
        JournalRow(execution=execution, first_seq=first_seq, count=count, at=at, level=level, body=body)
        for first_seq, count, at, level, body in await database.all("journal", execution, after, limit)
    ]


async def find_snapshot(database: Database, execution: ExecutionId) -> Snapshot | None:
    row = await database.one("snapshot", execution)
    return Snapshot(execution=execution, seq=row["seq"], fold=row["fold"], body=row["body"]) if row else None


async def save_definition(database: Database, each: Definition) -> None:
    values = (each.tenant, each.digest, each.name, each.created, each.document, each.lock, each.origin, _LINE)
    await database.alone(lambda session: session.run("save_definition", *values))
    database.bytes += len(each.document) + len(each.lock)


async def find_definition(database: Database, digest: bytes, *, tenant: str) -> Definition | None:
    row = await database.one("definition", tenant, digest)
    return _read_definition(row) if row else None


async def find_definitions(database: Database, name: str, *, tenant: str) -> list[Definition]:
    return [_read_definition(row) for row in await database.all("definitions", tenant, name)]


async def find_definitions_since(database: Database, position: int, limit: int) -> list[tuple[int, Definition]]:
    rows = await database.all("definitions_since", position, limit)
    return [(row["number"], _read_definition(tuple(row)[1:])) for row in rows]


async def read_blobs(database: Database, tenant: str, digests: Sequence[bytes]) -> dict[bytes, bytes]:
    """Those that are there. Raises StoreDamaged where one is not what its digest says."""
    bodies = {row["digest"]: row["body"] for row in await database.all("blobs", tenant, list(digests))}
    for digest, body in bodies.items():
        if hashlib.sha256(body).digest() != digest:
            raise StoreDamaged(
                f"Expected the blob {digest.hex()} as it was written, but its content has changed.",
                remedy="Restore the store from a backup; `perdure verify` names every damaged row.",
            )
    return bodies


def _read_definition(row: Any) -> Definition:
    digest, tenant, name, created, document, lock, origin = row
    return Definition(digest=digest, tenant=tenant, name=name, created=created, document=document, lock=lock, origin=origin)
