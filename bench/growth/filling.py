"""Fills a store with executions that have ended: the rows of one that really ran, under ids and times of their own."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from bench import definitions
from bench.workloads import engine, read
from perdure.ids import ExecutionId, ExecutionIds
from perdure.store.contract import Batch, JournalRow, Row, Start, Store, Turn

AT_ONCE = 200
SPACING = 20_000
"""Microseconds between one beginning and the next: a million of them are six hours."""


class Template(msgspec.Struct, frozen=True):
    """An execution that ran: its row and its journal."""

    row: Row
    journal: list[JournalRow]


async def template(folder: Any, *, length: int = 2) -> Template:
    """Run one execution on a store of its own, and read what became durable of it."""
    async with engine(folder) as opened:
        begun = await opened.executions.start(read(definitions.chain(length, 100)), None)
        await opened.home.outcome(begun.execution)
        row = await opened.store.row(begun.execution)
        assert row is not None
        return Template(row, await opened.store.journal(begun.execution))


async def fill(store: Store, ran: Template, count: int, *, until: int) -> None:
    """Write `count` executions that ended before `until`, microseconds UTC, through ordinary commits."""
    ids = ExecutionIds(lambda size: hashlib.sha256(str(until).encode()).digest()[:size])
    for first in range(0, count, AT_ONCE):
        batch = Batch()
        for number in range(first, min(first + AT_ONCE, count)):
            at = until - (count - number) * SPACING
            _one(batch, ran, ids.new(at), at)
        await store.commit(batch)


def _one(batch: Batch, ran: Template, execution: ExecutionId, at: int) -> None:
    row = ran.row
    batch.starts.append(
        Start(
            execution=execution, tenant=row.tenant, workflow=row.workflow, digest=row.digest, created=at,
            priority=row.priority, key=f"key-{execution.hex()}", fingerprint=bytes(32), home="filler",
        )
    )  # fmt: skip
    for step in ran.journal:
        last = step is ran.journal[-1]
        batch.turns.append(
            Turn(
                execution=execution, epoch=0, first_seq=step.first_seq, count=step.count, at=at + step.at - row.created,
                level=step.level, body=step.body.replace(row.execution, execution), status=row.status if last else 1,
                release=last,
            )
        )  # fmt: skip
