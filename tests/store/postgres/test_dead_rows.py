"""Steps leave no dead rows behind: their rows are rewritten in place, and the table stays as small as it was."""

from __future__ import annotations

import asyncio
import os

import pytest

from perdure.store.contract import Batch
from perdure.store.postgres import open_store
from perdure.testing.stores.postgres import PostgresPlace
from perdure.testing.stores.samples import RUNNING, WAITING, a_turn, began

STEPS = int(os.environ.get("STEPS", "100000"))
EXECUTIONS = 1_000
TOGETHER = 500  # executions that are stepped in one commit


def stat(place: PostgresPlace, column: str) -> int:
    return int(place.sql(f"SELECT {column} FROM pg_stat_user_tables WHERE relname = 'executions'")[0][0])


@pytest.mark.not_replayed("what it writes is no journal")
def test_the_narrow_row_is_rewritten_in_place(postgres_place: PostgresPlace) -> None:
    """After 10^5 steps (`make bloat`: 10^6) of 1,000 executions, and without any vacuum: nearly no update touched an index, few
    dead rows are left, and the table is not larger than four times its first size."""
    place = postgres_place

    async def main() -> None:
        store = await open_store(place.url)
        place.sql("ALTER TABLE perdure.executions SET (autovacuum_enabled = off)")
        place.sql("VACUUM FULL perdure.executions")
        executions = await began(store, EXECUTIONS)
        first_size = size(place)
        updates, in_place = stat(place, "n_tup_upd"), stat(place, "n_tup_hot_upd")
        for number in range(STEPS // TOGETHER):
            part = executions[:TOGETHER] if number % 2 else executions[TOGETHER:]
            first_seq, status = 3 + number // 2 * 2, WAITING if number // 2 % 2 else RUNNING  # another one than before
            turns = [a_turn(each, first_seq=first_seq, status=status) for each in part]
            committed = await store.commit(Batch(turns=turns))
            assert not committed.fenced
        await store.close()
        while stat(place, "n_tup_upd") - updates < STEPS:  # noqa: ASYNC110 - a connection tells what it counted when it ends
            await asyncio.sleep(0)
        updates, in_place = stat(place, "n_tup_upd") - updates, stat(place, "n_tup_hot_upd") - in_place
        dead = stat(place, "n_dead_tup")
        print(f"{updates} updates, {in_place} of them in place, {dead} dead rows, {first_size} bytes grew to {size(place)}")
        assert in_place >= 0.95 * updates
        assert dead <= 20 * EXECUTIONS
        assert size(place) <= 4 * first_size

    try:
        asyncio.run(main())
    finally:
        place.sql("ALTER TABLE perdure.executions RESET (autovacuum_enabled)")


def size(place: PostgresPlace) -> int:
    """Of the table of executions without its indexes, in bytes."""
    return int(place.sql("SELECT pg_relation_size('perdure.executions')")[0][0])
