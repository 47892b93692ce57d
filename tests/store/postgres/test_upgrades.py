"""A database that an earlier release wrote: what is in it is found the new ways too."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from perdure.ids import ExecutionId
from perdure.store.contract import STATUS_NUMBER, Batch, Committed
from perdure.store.postgres import open_store, schema
from perdure.testing.stores.samples import FAILED, LEVEL, NOW, RUNNING, SUCCEEDED, WORKER, a_blob, a_turn, an_id

if TYPE_CHECKING:
    from postgres_server import PostgresServer

COLUMNS = "execution, tenant, workflow, digest, created, updated, priority, status, home, epoch, seq, level, key"


def test_a_database_of_the_first_schema_is_read_on(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Executions, large values and workers that were written before there was a retention are listed, and may go."""
    database = postgres_server.new_database()
    url = postgres_server.url(database)
    known = schema.MIGRATIONS
    runs, failed, done = an_id(), an_id(), an_id()
    blob = a_blob(b"large")

    def as_written_then(execution: ExecutionId, status: int) -> None:
        values = (execution, "default", "orders", b"d" * 32, NOW, NOW, 3, status, "", 1, 2, LEVEL, "")
        marks = ", ".join(f"${number}" for number in range(1, len(values) + 1))
        postgres_server.sql(f"INSERT INTO perdure.executions ({COLUMNS}) VALUES ({marks})", *values, database=database)
        postgres_server.sql(
            "INSERT INTO perdure.journal (execution, at, level, tenant, body, first_seq, count) "
            "VALUES ($1, $2, $3, $4, $5, 1, 2)",
            execution, NOW, LEVEL, "default", b"facts", database=database,
        )  # fmt: skip

    async def create() -> None:
        await (await open_store(url)).close()

    async def read() -> None:
        store = await open_store(url)
        going_on = [number for name, number in STATUS_NUMBER.items() if number < SUCCEEDED]
        assert [row.execution for row in await store.rows(statuses=going_on)] == [runs]
        assert [row.execution for row in await store.rows(statuses=[FAILED])] == [failed]
        assert await store.blobs("default", [blob.digest]) == {blob.digest: b"large"}
        await store.register(WORKER, now=NOW, level=LEVEL)
        assert [row.execution for row in await store.claim(WORKER, NOW, limit=9, level=LEVEL, only=[runs])] == [runs]
        assert await store.commit(Batch(turns=[a_turn(runs, first_seq=3, epoch=2, status=RUNNING)])) == Committed()
        over, _ = await store.finished(NOW + 1)
        assert {row.execution for row in over} == {failed, done}
        assert set(await store.remove([failed, done])) == {failed, done}
        assert await store.check() == []
        await store.close()

    monkeypatch.setattr(schema, "MIGRATIONS", known[:1])
    asyncio.run(create())
    for execution, status in ((runs, RUNNING), (failed, FAILED), (done, SUCCEEDED)):
        as_written_then(execution, status)
    postgres_server.sql(
        "INSERT INTO perdure.blobs (tenant, digest, size, body) VALUES ('default', $1, 5, $2)", blob.digest, b"large",
        database=database,
    )  # fmt: skip
    monkeypatch.setattr(schema, "MIGRATIONS", known)
    asyncio.run(read())
