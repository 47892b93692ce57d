"""What most commits hold goes to the server in one statement, and a large batch costs no more a row than a small one."""

from __future__ import annotations

import asyncio

import pytest

from perdure.store.contract import Batch, Start, Turn
from perdure.store.postgres import open_store
from perdure.store.postgres.connection import SQL
from perdure.testing.stores.postgres import PostgresPlace
from perdure.testing.stores.samples import NOW, SUCCEEDED, WAITING, a_message, a_start, a_turn, an_id, began

STATEMENTS = 3
"""Of a transaction of several: its begin, its end, and at least one between."""


def begins(count: int, **changes: object) -> tuple[list[Start], list[Turn]]:
    ids = [an_id() for _ in range(count)]
    return [a_start(each) for each in ids], [a_turn(each, **changes) for each in ids]


def test_starts_turns_and_ends_are_one_statement(postgres_place: PostgresPlace) -> None:
    """Begin, go on, wait from the first turn, end: one way to the server each, and all of them together too."""

    async def main() -> None:
        store = await open_store(postgres_place.url)
        one, other, third = await began(store, 3)
        starts, turns = begins(3)
        sleepers, naps = begins(3, status=WAITING, release=True, wake=NOW + 1)
        later, more = begins(2)
        batches = [
            Batch(starts=starts, turns=turns),
            Batch(starts=sleepers, turns=naps),
            Batch(turns=[a_turn(one, first_seq=3)]),
            Batch(turns=[a_turn(other, first_seq=3), a_turn(third, first_seq=3)]),
            Batch(turns=[a_turn(other, first_seq=5, status=SUCCEEDED, release=True)]),
            Batch(starts=later, turns=[*more, a_turn(one, first_seq=5), a_turn(third, first_seq=5, status=SUCCEEDED)]),
        ]
        for batch in batches:
            before = store.usage().statements
            await store.commit(batch)
            assert store.usage().statements - before == 1, batch
        (new,), first = begins(1)
        before = store.usage().statements
        await store.commit(Batch(starts=[new], turns=first, messages=[a_message(one)]))
        assert store.usage().statements - before > STATEMENTS  # who is sent something is met first
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("name, columns", [("turns", 9), ("turns_and_ends", 9), ("starts_turns_and_ends", 25)])
def test_no_row_of_a_large_batch_is_compared_with_all_others(postgres_place: PostgresPlace, name: str, columns: int) -> None:
    """Plans are made as if a batch had one row: a join by comparing would be as good then, and cost the square later."""

    async def main() -> None:
        await postgres_place.open()
        postgres_place.sql("SET enable_seqscan = off")
        plan = [line for (line,) in postgres_place.sql(f"EXPLAIN {SQL[name]}", *([] for _ in range(columns)))]
        assert not [line for line in plan if "Join Filter" in line or "Seq Scan" in line], "\n".join(plan)
        assert any("Index" in line for line in plan)

    asyncio.run(main())
