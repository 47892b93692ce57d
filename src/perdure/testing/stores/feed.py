"""What the feed promises: every step once, those of an execution in order, wherever a reader stops and whoever writes."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from typing import Any

from perdure.errors import NotFound
from perdure.ids import ExecutionId
from perdure.store.contract import Batch, Store
from perdure.store.feed import CursorRefused, FeedRow, within
from perdure.testing.stores.place import Place, SharedPlace, awaited, raised
from perdure.testing.stores.samples import NOW, SECOND, SUCCEEDED, a_start, a_turn, an_id, began

# What another process does: it opens the store and writes steps of some executions in turns, as fast as it can.
_WRITER = """
import asyncio, importlib, json, sys
from perdure.ids import ExecutionIds
from perdure.store.contract import Batch
from perdure.testing.stores.samples import NOW, a_start, a_turn

async def main():
    module, function, arguments = json.loads(sys.argv[1])
    store = await getattr(importlib.import_module(module), function)(**arguments)
    ids = ExecutionIds()
    executions = [ids.new(NOW) for _ in range(int(sys.argv[2]))]
    for step in range(int(sys.argv[3])):
        for execution in executions:
            starts = [a_start(execution, home="")] if not step else []
            await store.commit(Batch(starts=starts, turns=[a_turn(execution, epoch=0, first_seq=1 + 2 * step)]))
    await store.close()
    print(" ".join(execution.hex() for execution in executions))

asyncio.run(main())
"""

PAGES_MAX = 1_000
Step = tuple[ExecutionId, int]


class Feed:
    """Promises of `feed` and `feed_lag` that one process can see."""

    # -- reading ------------------------------------------------------------------------------------------------------------
    @awaited
    async def test_rule_62_every_step_comes_once_and_whole(self, place: Place) -> None:
        """With all that its journal row says, and its tenant."""
        store = await place.open()
        (ours,) = await began(store)
        (theirs,) = await began(store, tenant="acme")
        await store.commit(Batch(turns=[a_turn(ours, first_seq=3, count=1, at=NOW + SECOND, body=b"more")]))
        page = await store.feed()
        assert [_step(row) for row in page.rows if row.execution == ours] == [(ours, 1), (ours, 3)]
        assert {(row.execution, row.tenant) for row in page.rows} == {(ours, "default"), (theirs, "acme")}
        (last,) = [row for row in page.rows if row.first_seq == 3]
        assert (last.count, last.at, last.level, last.body, last.passed) == (1, NOW + SECOND, 1, b"more", 0)
        assert (page.gap, page.more) == (False, False)
        assert (await store.feed(after=page.cursor)).rows == []

    @awaited
    async def test_an_empty_page_has_a_cursor_that_goes_on(self, place: Place) -> None:
        """Before the first step as after the last one; nothing is in the feed by mere reading."""
        store = await place.open()
        empty = await store.feed()
        assert (empty.rows, empty.more, empty.gap) == ([], False, False)
        again = await store.feed(after=empty.cursor)
        (one,) = await began(store)
        assert [_step(row) for row in (await store.feed(after=again.cursor)).rows] == [(one, 1)]
        assert [_step(row) for row in (await store.feed(after=empty.cursor)).rows] == [(one, 1)]

    @awaited
    async def test_rule_63_resuming_at_any_cut_gives_the_same_sequence(self, place: Place) -> None:
        """In pages of any size, from any cursor of any row: what follows is always the same."""
        store = await place.open()
        await _written(store, executions=5, steps=4)
        whole = await _read(store)
        assert len(whole) == len({_step(row) for row in whole}) == 20
        assert _in_order(whole)
        for limit in (1, 2, 3, 7, 20):
            assert [_step(row) for row in await _read(store, limit=limit)] == [_step(row) for row in whole]
        for number, row in enumerate(whole, 1):
            rest = await _read(store, after=row.cursor, limit=3)
            assert [_step(each) for each in rest] == [_step(each) for each in whole[number:]]

    @awaited
    async def test_a_reader_may_stop_within_a_step(self, place: Place) -> None:
        """Then the step comes again, with how many of its facts were passed; and its cursor goes on after all of it."""
        store = await place.open()
        (one,) = await began(store)
        await store.commit(Batch(turns=[a_turn(one, first_seq=3, count=3), a_turn(one, first_seq=6)]))
        selections: list[dict[str, Any]] = [{}, {"execution": one}]
        for given in selections:
            whole = await _read(store, **given)
            page = await store.feed(after=within(whole[1].cursor, 2), **given)
            assert [(_step(row), row.passed) for row in page.rows] == [((one, 3), 2), ((one, 6), 0)]
            (row,) = (await store.feed(after=within(whole[1].cursor, 2), limit=1, **given)).rows
            assert (row.passed, row.cursor) == (2, whole[1].cursor)

    @awaited
    async def test_the_end_is_where_only_what_is_new_comes(self, place: Place) -> None:
        """`latest` gives the cursor behind all that is there."""
        store = await place.open()
        selections: list[dict[str, Any]] = [{}, {"tenant": "default"}]
        new = an_id()
        for given in selections:
            nothing = await store.feed(latest=True, **given)
            await _written(store, executions=2, steps=2)
            assert len(await _read(store, after=nothing.cursor, **given)) == 4
            end = await store.feed(latest=True, **given)
            assert (end.rows, end.gap) == ([], False)
            (new,) = await began(store)
            assert [_step(row) for row in await _read(store, after=end.cursor, **given)] == [(new, 1)]
        end = await store.feed(execution=new, latest=True)
        await store.commit(Batch(turns=[a_turn(new, first_seq=3)]))
        assert [_step(row) for row in await _read(store, after=end.cursor, execution=new)] == [(new, 3)]

    @awaited
    async def test_nothing_holds_a_quiet_feed_up(self, place: Place) -> None:
        """No transaction is open, so there is nothing to tell."""
        store = await place.open()
        await began(store)
        assert await store.feed_lag() is None

    # -- selections ---------------------------------------------------------------------------------------------------------
    @awaited
    async def test_a_tenant_sees_what_is_its_own(self, place: Place) -> None:
        """A page looks at so many steps, whosever they are, and its cursor goes on where nothing matched too."""
        store = await place.open()
        for number in range(6):
            await began(store, tenant="acme" if number % 3 == 2 else "default")
        page = await store.feed(tenant="acme", limit=2)
        assert (page.rows, page.more) == ([], True)
        assert {row.tenant for row in await _read(store, tenant="acme", limit=2)} == {"acme"}
        assert len(await _read(store, tenant="acme", limit=2)) == 2
        assert len(await _read(store, tenant="default", limit=1)) == 4
        assert await _read(store, tenant="nobody") == []

    @awaited
    async def test_an_execution_has_a_feed_of_its_own(self, place: Place) -> None:
        """Only its steps, in order, in pages; one of another tenant, or none, is not there."""
        store = await place.open()
        executions = await _written(store, executions=3, steps=4)
        for limit in (1, 3, 100):
            rows = await _read(store, execution=executions[1], limit=limit)
            assert [_step(row) for row in rows] == [(executions[1], first_seq) for first_seq in (1, 3, 5, 7)]
        assert len(await _read(store, execution=executions[1], tenant="default")) == 4
        await raised(NotFound, store.feed(execution=an_id()))
        await raised(NotFound, store.feed(execution=executions[1], tenant="acme"))

    # -- cursors ------------------------------------------------------------------------------------------------------------
    @awaited
    async def test_a_cursor_that_is_none_is_refused(self, place: Place) -> None:
        """Any other text, one that was cut short, one with a letter changed: told with a remedy."""
        store = await place.open()
        await _written(store, executions=1, steps=2)
        good = (await store.feed(limit=1)).cursor
        other = "B" if good[-5] == "A" else "A"
        changed = good[:-5] + other + good[-4:]
        for text in ("x", "f1_", "f1_é", "f1_AAAA", good[:-1], good[:20], good[3:], changed, f"{good}=", f" {good}"):
            error = await raised(CursorRefused, store.feed(after=text))
            assert error.code == "feed.cursor"
            assert "execution and seq" in error.remedy

    @awaited
    async def test_rule_63_a_cursor_of_another_selection_is_refused(self, place: Place) -> None:
        """It would mean something else there."""
        store = await place.open()
        one, two = await _written(store, executions=2, steps=1)
        selections: list[dict[str, Any]] = [{}, {"tenant": "default"}, {"tenant": ""}, {"execution": one}, {"execution": two}]
        for given, asked in itertools.permutations(selections, 2):
            cursor = (await store.feed(**given)).cursor
            error = await raised(CursorRefused, store.feed(after=cursor, **asked))
            assert "another selection" in error.message

    @awaited
    async def test_a_cursor_holds_for_every_store_on_the_same_data(self, place: Place) -> None:
        """Also after the process that gave it has died."""
        store = await place.open()
        (one,) = await began(store)
        cursor = (await store.feed()).cursor
        place.die(store)
        again = await place.open()
        assert (await again.feed(after=cursor)).rows == []
        (two,) = await began(again)
        assert [_step(row) for row in (await again.feed(after=cursor)).rows] == [(two, 1)]
        assert one != two

    # -- removing -----------------------------------------------------------------------------------------------------------
    @awaited
    async def test_rule_64_what_was_removed_is_told_as_a_gap(self, place: Place) -> None:
        """Once, to whoever had not read it; neither to those who had, nor to those who begin; cleared away or not."""
        store = await place.open()
        first, ended, last = await _written(store, executions=3, steps=2, end=1)
        whole = await _read(store)
        before, past = whole[0].cursor, whole[-1].cursor
        position = [_step(row) for row in whole].index((ended, 3))
        read, half_read = whole[position].cursor, within(whole[position].cursor, 1)
        await store.remove([ended])
        for _ in range(2):
            page = await store.feed(after=before)
            assert page.gap
            assert {row.execution for row in page.rows} == {first, last}
            assert not (await store.feed(after=page.cursor)).gap
            assert not (await store.feed(after=past)).gap
            assert not (await store.feed(after=read)).gap
            assert (await store.feed(after=half_read)).gap
            assert not (await store.feed()).gap
            assert {_step(row) for row in await _read(store)} == {_step(row) for row in whole if row.execution != ended}
            while await store.reclaim(100):
                pass

    @awaited
    async def test_a_gap_is_told_of_removals_since_the_cursor_was_given(self, place: Place) -> None:
        """One who was told, or began later, is told again of what goes after that, wherever it lay."""
        store = await place.open()
        early, late, _ = await _written(store, executions=3, steps=3, end=2)
        beginning = (await store.feed(limit=1)).cursor
        await store.remove([late])
        told = await store.feed(after=beginning, limit=1)
        assert told.gap
        assert not (await store.feed(after=told.cursor)).gap
        await store.remove([early])  # its last step lies before that of the other, and beyond both cursors
        assert (await store.feed(after=told.cursor)).gap
        assert (await store.feed(after=beginning)).gap

    @awaited
    async def test_a_gap_of_another_tenant_is_none(self, place: Place) -> None:
        """Who reads what is of one tenant has missed nothing when another's goes."""
        store = await place.open()
        await began(store)
        ended = an_id()
        await store.commit(
            Batch(
                starts=[a_start(ended, tenant="acme", home="")],
                turns=[a_turn(ended, epoch=0), a_turn(ended, epoch=0, first_seq=3, status=SUCCEEDED, release=True)],
            )
        )
        cursors = {tenant: (await store.feed(tenant=tenant, limit=1)).cursor for tenant in ("default", "acme", None)}
        await store.remove([ended])
        gaps = {tenant: (await store.feed(after=cursor, tenant=tenant)).gap for tenant, cursor in cursors.items()}
        assert gaps == {"default": False, "acme": True, None: True}

    @awaited
    async def test_rule_64_an_execution_that_was_removed_has_no_feed(self, place: Place) -> None:
        """Its reader hears so, and does not wait for ever."""
        store = await place.open()
        (ended,) = await _written(store, executions=1, steps=2, end=1)
        cursor = (await store.feed(execution=ended, limit=1)).cursor
        await store.remove([ended])
        error = await raised(NotFound, store.feed(after=cursor, execution=ended))
        assert "retention" in error.message

    @awaited
    async def test_what_comes_after_all_was_removed_is_not_missed(self, place: Place) -> None:
        """A store that gives the places of what went to what comes would have its readers pass it over."""
        store = await place.open()
        for _ in range(3):
            await _written(store, executions=2, steps=3, end=2)
            whole = await _read(store)
            cursor = whole[-1].cursor
            await store.remove(list({row.execution for row in whole}))
            while await store.reclaim(2):
                assert (await store.feed(after=cursor)).rows == []
            assert await _read(store) == []
            (new,) = await began(store)
            for after in (cursor, ""):
                assert [_step(row) for row in await _read(store, after=after)] == [(new, 1)]
            await store.commit(Batch(turns=[a_turn(new, first_seq=3, status=SUCCEEDED, release=True)]))
            await store.remove([new])


class SharedFeed:
    """And while several write at once."""

    @awaited
    async def test_rule_62_readers_miss_nothing_of_several_writers(self, place: SharedPlace) -> None:
        """Three stores write as they can, readers read on as they can: at the end each has had the same, in the same order."""
        writers = [await place.open() for _ in range(3)]
        readers = [await place.open() for _ in range(2)]
        done = asyncio.Event()

        async def write(store: Store) -> list[ExecutionId]:
            executions = [an_id() for _ in range(4)]
            for step in range(12):
                for execution in executions:
                    starts = [a_start(execution, home="")] if not step else []
                    await store.commit(Batch(starts=starts, turns=[a_turn(execution, epoch=0, first_seq=1 + 2 * step)]))
                    await asyncio.sleep(0)
            return executions

        async def read(store: Store, limit: int) -> list[Step]:
            found: list[Step] = []
            cursor, last = "", False
            while True:
                page = await store.feed(after=cursor, limit=limit)
                found += [_step(row) for row in page.rows]
                assert not page.gap
                cursor = page.cursor
                if not page.more:
                    if last:
                        return found
                    last = done.is_set()
                await asyncio.sleep(0)

        reading = [asyncio.ensure_future(read(store, limit)) for store, limit in zip(readers, (5, 1_000), strict=True)]
        written = await asyncio.gather(*(write(store) for store in writers))
        done.set()
        expected = {(execution, 1 + 2 * step) for executions in written for execution in executions for step in range(12)}
        sequences = await asyncio.gather(*reading)
        assert sequences[0] == sequences[1]
        assert len(sequences[0]) == len(expected)
        assert set(sequences[0]) == expected
        for executions in written:
            for execution in executions:
                assert [seq for each, seq in sequences[0] if each == execution] == [1 + 2 * step for step in range(12)]

    @awaited
    async def test_readers_miss_nothing_of_other_processes(self, place: SharedPlace) -> None:
        """Two processes write; the sequence that was read meanwhile is the one that is read at the end."""
        store = await place.open()
        arguments = (json.dumps(place.opener()), "5", "20")
        writers = [
            await asyncio.create_subprocess_exec(sys.executable, "-c", _WRITER, *arguments, stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        ended = asyncio.gather(*(writer.communicate() for writer in writers))
        found, cursor, is_last = [], "", False
        while True:
            page = await store.feed(after=cursor, limit=7)
            found += [_step(row) for row in page.rows]
            cursor = page.cursor
            if not page.more and is_last:
                break
            is_last = ended.done()
            await asyncio.sleep(0)
        executions = [ExecutionId(bytes.fromhex(text)) for said, _ in ended.result() for text in said.decode().split()]
        assert len(executions) == 10
        assert found == [_step(row) for row in await _read(store)]
        for execution in executions:
            assert [seq for each, seq in found if each == execution] == [1 + 2 * step for step in range(20)]
        assert len(found) == 200


def _step(row: FeedRow) -> Step:
    return row.execution, row.first_seq


def _in_order(rows: list[FeedRow]) -> bool:
    """Are the steps of each execution in their order?"""
    seqs: dict[ExecutionId, list[int]] = {}
    for row in rows:
        seqs.setdefault(row.execution, []).append(row.first_seq)
    return all(found == sorted(found) for found in seqs.values())


async def _written(store: Store, *, executions: int, steps: int, end: int = 0) -> list[ExecutionId]:
    """Executions without a home that took so many steps by turns, two facts each; `end` of them have ended."""
    found = [an_id() for _ in range(executions)]
    starts = [a_start(each, home="") for each in found]
    await store.commit(Batch(starts=starts, turns=[a_turn(each, epoch=0) for each in found]))
    ending = found[-1 - end : -1] if executions > end else found
    for step in range(1, steps):
        last = step == steps - 1
        for each in found:
            changes: dict[str, Any] = {"status": SUCCEEDED, "release": True} if last and end and each in ending else {}
            await store.commit(Batch(turns=[a_turn(each, epoch=0, first_seq=1 + 2 * step, **changes)]))
    return found


async def _read(store: Store, *, after: str = "", limit: int = 1_000, **given: Any) -> list[FeedRow]:
    """All rows from a cursor on, page by page."""
    found: list[FeedRow] = []
    for _ in range(PAGES_MAX):
        page = await store.feed(after=after, limit=limit, **given)
        assert len(page.rows) <= limit
        found += page.rows
        after = page.cursor
        if not page.more:
            return found
    raise AssertionError("Expected the feed to have an end, but it goes on.")
