"""The feed as facts: each once, with a cursor of its own, whatever the sizes of steps and portions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from perdure.engine import events
from perdure.engine.codec import LEVEL, encode_row
from perdure.errors import StoreDamaged, StoreTooNew
from perdure.ids import ExecutionId, id_text
from perdure.operations.feed import Portion, feed_object, lag_object, portion
from perdure.operations.journal import fact_object
from perdure.store.contract import Batch, Store
from perdure.store.feed import FeedLag
from perdure.testing.stores.place import raised
from perdure.testing.stores.samples import SECOND, a_start, a_turn, an_id
from perdure.testing.stores.sqlite import MemoryPlace

NOON = 1_790_164_800_000_000  # 2026-09-23T12:00:00Z


def in_store(work: Callable[[Store], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        await work(await MemoryPlace().open())

    asyncio.run(main())


def steps_of(execution: ExecutionId, counts: list[int]) -> list[Any]:
    """Turns with so many facts each, whose nodes are named by their numbers."""
    turns, seq = [], 1
    for count in counts:
        facts = [events.Scheduled(node=f"n{number}") for number in range(seq, seq + count)]
        turns.append(a_turn(execution, epoch=0, first_seq=seq, count=count, at=NOON, body=encode_row([], facts, False)))
        seq += count
    return turns


async def written(store: Store, counts: list[int]) -> ExecutionId:
    execution = an_id()
    await store.commit(Batch(starts=[a_start(execution, home="")], turns=steps_of(execution, counts)))
    return execution


async def read(store: Store, *, after: str = "", limit: int = 0, **given: Any) -> list[Any]:
    """All facts from a cursor on, in portions."""
    found: list[Any] = []
    while True:
        got = await portion(store, after=after, limit=limit, **given)
        assert not limit or len(got.facts) <= limit
        found += got.facts
        after = got.cursor
        if not got.more:
            return found


def names(facts: list[Any]) -> list[tuple[ExecutionId, int, str]]:
    return [(each.execution, each.seq, each.fact.node) for each in facts]


def test_rule_63_every_fact_comes_once_from_any_cursor() -> None:
    """In portions of any size, within a step as between two, in the feed of all and in that of one execution."""

    async def work(store: Store) -> None:
        one, other = await written(store, [3, 1, 2]), await written(store, [4])
        wanted = [(one, seq, f"n{seq}") for seq in range(1, 7)]
        selections: list[tuple[dict[str, Any], list[Any]]] = [
            ({}, [*wanted, *((other, seq, f"n{seq}") for seq in range(1, 5))]),
            ({"execution": one}, wanted),
        ]
        for given, expected in selections:
            for limit in (0, 1, 2, 3, 4, 100):
                assert names(await read(store, limit=limit, **given)) == expected
            for number, fact in enumerate(await read(store, **given), 1):
                assert names(await read(store, after=fact.cursor, limit=2, **given)) == expected[number:]

    in_store(work)


def test_a_portion_that_ends_with_the_last_fact_has_no_more() -> None:
    """Whether it was cut by its limit or by the end of the store."""

    async def work(store: Store) -> None:
        await written(store, [2, 2])
        for limit, more in ((1, True), (3, True), (5, False)):
            assert (await portion(store, limit=limit)).more is more
        last = await portion(store, limit=4)
        assert len(last.facts) == 4
        assert (await portion(store, after=last.cursor)) == Portion(facts=[], cursor=last.cursor, gap=False, more=False)

    in_store(work)


def test_a_fact_is_told_as_by_run_with_its_number_and_cursor() -> None:
    """Its own fields, none of which bears a name that the line needs."""

    async def work(store: Store) -> None:
        one = await written(store, [1])
        (fact,) = (await portion(store)).facts
        assert feed_object(fact) == {
            "at": "2026-09-23T12:00:00Z", "execution": id_text(one), "seq": 1, "fact": "scheduled", "node": "n1",
            "cursor": fact.cursor,
        }  # fmt: skip
        assert list(feed_object(fact))[-1] == "cursor"
        assert fact_object(fact.fact) == {"fact": "scheduled", "node": "n1"}

    in_store(work)


@pytest.mark.parametrize("kind", msgspec.inspect.type_info(events.AnyFact).types, ids=lambda kind: kind.cls.__name__)  # type: ignore[attr-defined]
def test_no_fact_has_a_field_that_the_line_needs(kind: Any) -> None:
    """What a line says of every fact stands beside what the fact says itself."""
    assert not {field.name for field in kind.fields} & {"seq", "cursor", "gap"}


def test_rule_62_what_only_a_newer_release_reads_is_not_passed_over() -> None:
    """The reader hears of it, and where to go on; so with a step that is damaged."""

    async def work(store: Store) -> None:
        one = await written(store, [1])
        await store.commit(Batch(turns=[a_turn(one, epoch=0, first_seq=2, level=LEVEL + 1)]))
        before = await portion(store)
        assert (names(before.facts), before.more) == ([(one, 1, "n1")], True)
        error = await raised(StoreTooNew, portion(store, after=before.cursor))
        assert "level" in error.message
        await store.commit(Batch(starts=[a_start(two := an_id(), home="")], turns=[a_turn(two, epoch=0, body=b"\xc1")]))
        damaged = await raised(StoreDamaged, portion(store, execution=two))
        assert id_text(two) in damaged.message

    in_store(work)


def test_the_lag_is_told_as_an_object() -> None:
    """Nothing, a transaction that nothing waits for, and one that something does."""
    assert lag_object(None) == {"lag_us": 0, "waits_since": None, "transaction": None}
    idle = FeedLag(now=NOON, waits=None, began=None, who="process 7", pid=7)
    assert lag_object(idle) == {"lag_us": 0, "waits_since": None, "transaction": {"began": None, "pid": 7, "who": "process 7"}}
    waits = FeedLag(now=NOON, waits=NOON - 5 * SECOND, began=NOON - 9 * SECOND, who="prepared as x", pid=0)
    assert lag_object(waits) == {
        "lag_us": 5 * SECOND, "waits_since": "2026-09-23T11:59:55Z",
        "transaction": {"began": "2026-09-23T11:59:51Z", "pid": None, "who": "prepared as x"},
    }  # fmt: skip
