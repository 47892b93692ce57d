"""What a commit promises: all or nothing, the fence, and starts that happen once."""

from __future__ import annotations

from typing import Any

from perdure.errors import StoreError, StoreFull
from perdure.store.contract import Batch, Committed, KeyedStart
from perdure.testing.faults import Crash, FaultyStore
from perdure.testing.stores.place import Place, awaited, raised
from perdure.testing.stores.samples import (
    FAILED,
    LEVEL,
    NOW,
    RUNNING,
    SECOND,
    SUCCEEDED,
    WAITING,
    WORKER,
    a_blob,
    a_lock,
    a_message,
    a_snapshot,
    a_start,
    a_subscription,
    a_turn,
    an_event,
    an_id,
    began,
)


class Commits:
    """Promises of `commit`."""

    @awaited
    async def test_a_batch_is_written_whole(self, place: Place) -> None:
        """After a commit everything in the batch can be read back as it was given."""
        store = await place.open()
        (receiver,) = await began(store)
        one = an_id()
        start = a_start(one, key="order-17", fingerprint=b"f", priority=2)
        turn = a_turn(one, count=3, at=NOW + 5, body=b"three facts")
        message = a_message(receiver, sender=one)
        blob, event, snapshot = a_blob(b"large"), an_event(one), a_snapshot(one, 3)
        committed = await store.commit(
            Batch(starts=[start], turns=[turn], blobs=[blob], messages=[message], events=[event], snapshots=[snapshot])
        )
        assert committed == Committed()
        row = await store.row(one)
        assert row is not None
        assert (row.execution, row.tenant, row.workflow, row.digest) == (one, "default", "orders", b"d" * 32)
        assert (row.created, row.updated, row.priority, row.status) == (NOW, NOW + 5, 2, RUNNING)
        assert (row.home, row.epoch, row.seq, row.level, row.wake, row.key) == (WORKER, 1, 3, LEVEL, None, "order-17")
        (journaled,) = await store.journal(one)
        assert (journaled.execution, journaled.first_seq, journaled.count) == (one, 1, 3)
        assert (journaled.at, journaled.level, journaled.body) == (NOW + 5, LEVEL, b"three facts")
        assert await store.keyed("default", "orders", "order-17") == KeyedStart(execution=one, fingerprint=b"f")
        assert await store.blobs("default", [blob.digest]) == {blob.digest: b"large"}
        assert [arrived.message for arrived in await store.inbox(receiver)] == [message]
        assert [found for _, found in await store.events()] == [event]
        assert await store.snapshot(one) == snapshot

    @awaited
    async def test_what_begins_goes_on_and_ends_is_one_commit(self, place: Place) -> None:
        """New executions that run, wait and have ended already; others that go on, end and are fenced; a key that is taken."""
        store = await place.open()
        on, ends, fenced = await began(store, 3)
        keyed = an_id()
        await store.commit(Batch(starts=[a_start(keyed, key="order-17", fingerprint=b"f")], turns=[a_turn(keyed)]))
        await store.commit(Batch(subscriptions=[a_subscription(ends)]))
        assert await store.acquire([a_lock(ends), a_lock(on, "other")]) == [True, True]
        runs, waits, rests, over, late = (an_id() for _ in range(5))
        committed = await store.commit(
            Batch(
                starts=[
                    a_start(runs, key="order-18", fingerprint=b"g"), a_start(waits), a_start(rests), a_start(over),
                    a_start(late, key="order-17", fingerprint=b"f"),
                ],
                turns=[
                    a_turn(late), a_turn(on, first_seq=3, count=1), a_turn(runs, count=5, at=NOW + 1),
                    a_turn(waits, status=WAITING, release=True, wake=NOW + SECOND),
                    a_turn(rests, status=WAITING, release=True), a_turn(over, status=SUCCEEDED, release=True),
                    a_turn(ends, first_seq=3, status=FAILED, release=True), a_turn(fenced, first_seq=3, epoch=7),
                ],
            )
        )  # fmt: skip
        assert committed == Committed(fenced=frozenset((fenced,)), duplicates=frozenset((late,)))
        rows = {row.execution: row for row in await store.rows()}
        assert {each: (row.status, row.home, row.seq, row.wake) for each, row in rows.items()} == {
            on: (RUNNING, WORKER, 3, None), ends: (FAILED, "", 4, None), fenced: (RUNNING, WORKER, 2, None),
            keyed: (RUNNING, WORKER, 2, None), runs: (RUNNING, WORKER, 5, None), waits: (WAITING, "", 2, NOW + SECOND),
            rests: (WAITING, "", 2, None), over: (SUCCEEDED, "", 2, None),
        }  # fmt: skip
        for execution, row in rows.items():
            assert sum(step.count for step in await store.journal(execution)) == row.seq
        assert await store.keyed("default", "orders", "order-18") == KeyedStart(execution=runs, fingerprint=b"g")
        assert await store.holder("default", "till") is None
        assert await store.holder("default", "other") == (on, "pay")
        assert await store.publish([an_event(None)]) == [True]
        assert await store.inbox(ends) == []  # it waits for nothing more
        assert [row.execution for row in await store.claim(WORKER, NOW + SECOND, limit=9, level=LEVEL)] == [waits]

    @awaited
    async def test_an_empty_batch_is_nothing(self, place: Place) -> None:
        """A batch without anything commits."""
        assert await (await place.open()).commit(Batch()) == Committed()

    @awaited
    async def test_a_death_leaves_all_or_nothing(self, place: Place) -> None:
        """Dead before the commit: nothing of the batch is there after the restart. Dead after it: all of it is."""
        store = await place.open()
        await began(store)
        for moment, there in (("before", False), ("after", True)):
            one = an_id()
            batch = Batch(
                starts=[a_start(one, key=f"key-{moment}")], turns=[a_turn(one)], events=[an_event(one, moment)],
                snapshots=[a_snapshot(one)],
            )  # fmt: skip
            faulty = FaultyStore(store, die=(1, moment))  # type: ignore[arg-type]  # the loop's moments are literals
            try:
                await faulty.commit(batch)
            except Crash:
                place.die(store)
            store = await place.open()
            found = [
                await store.row(one) is not None,
                len(await store.journal(one)) == 1,
                await store.keyed("default", "orders", f"key-{moment}") is not None,
                await store.snapshot(one) is not None,
                moment in [event.id for _, event in await store.events()],
            ]
            assert found == [there] * 5
            assert faulty.dead

    @awaited
    async def test_a_commit_that_failed_can_be_made_again(self, place: Place) -> None:
        """A commit that raised has written nothing, and the same batch can be committed afterwards."""
        store = await place.open()
        (one,) = await began(store)
        faulty = FaultyStore(store, refuse={1: StoreFull("Expected room, but there is none.")})
        batch = Batch(turns=[a_turn(one, first_seq=3)])
        await raised(StoreFull, faulty.commit(batch))
        assert len(await store.journal(one)) == 1
        assert await faulty.commit(batch) == Committed()
        assert [row.first_seq for row in await store.journal(one)] == [1, 3]

    @awaited
    async def test_several_turns_of_one_execution_apply_in_order(self, place: Place) -> None:
        """A batch may hold several turns of one execution; the row says what the last one says."""
        store = await place.open()
        (one,) = await began(store)
        turns = [a_turn(one, first_seq=3, count=4), a_turn(one, first_seq=7, count=1, status=SUCCEEDED, at=NOW + SECOND)]
        assert await store.commit(Batch(turns=turns)) == Committed()
        row = await store.row(one)
        assert row is not None
        assert (row.seq, row.status, row.updated) == (7, SUCCEEDED, NOW + SECOND)
        assert [each.first_seq for each in await store.journal(one)] == [1, 3, 7]

    @awaited
    async def test_a_turn_without_facts_writes_no_journal_row(self, place: Place) -> None:
        """A turn of count 0 changes the row and leaves the journal alone."""
        store = await place.open()
        (one,) = await began(store)
        await store.commit(Batch(turns=[a_turn(one, first_seq=3, count=0, body=b"", status=SUCCEEDED, release=True)]))
        row = await store.row(one)
        assert row is not None
        assert (row.seq, row.status, row.home) == (2, SUCCEEDED, "")
        assert len(await store.journal(one)) == 1

    @awaited
    async def test_the_level_never_sinks(self, place: Place) -> None:
        """An execution's level is the highest of its rows: who cannot read one of them cannot fold it."""
        store = await place.open()
        (one,) = await began(store)
        await store.commit(Batch(turns=[a_turn(one, first_seq=3, level=4), a_turn(one, first_seq=5, level=2)]))
        row = await store.row(one)
        assert row is not None
        assert row.level == 4
        assert [each.level for each in await store.journal(one)] == [LEVEL, 4, 2]

    # -- the fence --------------------------------------------------------------------------------------------------------
    @awaited
    async def test_a_former_home_writes_nothing(self, place: Place) -> None:
        """What a batch holds of an execution whose epoch moved on is left out, all of it; the others' is written."""
        store = await place.open()
        lost, kept, receiver = await began(store, 3)
        position = await _waiting(store, lost)
        batch = Batch(
            turns=[
                a_turn(lost, epoch=0, first_seq=3, consumed=(position,), release=True),
                a_turn(kept, first_seq=3, body=b"kept"),
            ],
            events=[an_event(lost, "lost"), an_event(kept, "kept")],
            snapshots=[a_snapshot(lost), a_snapshot(kept)],
            messages=[a_message(receiver, "lost", sender=lost), a_message(receiver, "kept", sender=kept)],
        )
        assert await store.commit(batch) == Committed(fenced=frozenset({lost}))
        row = await store.row(lost)
        assert row is not None
        assert (row.seq, row.home) == (2, WORKER)
        assert len(await store.journal(lost)) == 1
        assert await store.snapshot(lost) is None
        assert [arrived.position for arrived in await store.inbox(lost)] == [position]
        assert [each.body for each in await store.journal(kept)] == [b"facts", b"kept"]
        assert await store.snapshot(kept) == a_snapshot(kept)
        assert [arrived.message.key for arrived in await store.inbox(receiver)] == ["kept"]
        assert [event.id for _, event in await store.events()] == ["kept"]

    @awaited
    async def test_a_turn_that_is_sent_twice_is_written_once(self, place: Place) -> None:
        """Whoever lost the answer to a commit and sends it again is fenced: its turn does not follow on the last fact."""
        store = await place.open()
        (one,) = await began(store)
        turn = a_turn(one, first_seq=3, body=b"once")
        assert await store.commit(Batch(turns=[turn])) == Committed()
        assert await store.commit(Batch(turns=[turn], events=[an_event(one)])) == Committed(fenced=frozenset({one}))
        assert [each.body for each in await store.journal(one)] == [b"facts", b"once"]
        assert await store.events() == []

    @awaited
    async def test_no_journal_has_a_gap(self, place: Place) -> None:
        """A turn that leaves out facts is fenced with all of its execution: alone, after a good one, and as the first one."""
        store = await place.open()
        one, two, kept = await began(store, 3)
        late = an_id()
        turns = [a_turn(one, first_seq=4), a_turn(two, first_seq=3), a_turn(two, first_seq=6), a_turn(kept, first_seq=3)]
        batch = Batch(starts=[a_start(late, key="k")], turns=[*turns, a_turn(late, first_seq=2)])
        assert await store.commit(batch) == Committed(fenced=frozenset({one, two, late}))
        assert [len(await store.journal(each)) for each in (one, two, kept, late)] == [1, 1, 2, 0]
        assert await store.row(late) is None
        assert await store.keyed("default", "orders", "k") is None

    @awaited
    async def test_many_former_homes_in_one_batch(self, place: Place) -> None:
        """Of a batch with many fenced executions in it, exactly the others are written."""
        store = await place.open()
        executions = await began(store, 40)
        turns = [a_turn(each, first_seq=3, epoch=number % 3) for number, each in enumerate(executions)]
        fenced = {each for number, each in enumerate(executions) if number % 3 != 1}
        assert await store.commit(Batch(turns=turns)) == Committed(fenced=frozenset(fenced))
        for each in executions:
            assert len(await store.journal(each)) == (1 if each in fenced else 2)

    @awaited
    async def test_a_turn_of_an_unknown_execution_is_fenced(self, place: Place) -> None:
        """Nobody is at home with an execution that is not there."""
        store = await place.open()
        (one,) = await began(store)
        stranger = an_id()
        committed = await store.commit(Batch(turns=[a_turn(stranger), a_turn(one, first_seq=3)]))
        assert committed == Committed(fenced=frozenset({stranger}))
        assert await store.journal(stranger) == []
        assert len(await store.journal(one)) == 2

    @awaited
    async def test_a_former_home_starts_no_children(self, place: Place) -> None:
        """A child whose parent is fenced is not started, and is named; a child of another parent is."""
        store = await place.open()
        lost, kept = await began(store, 2)
        no, yes = an_id(), an_id()
        batch = Batch(
            starts=[a_start(no, home="", parent=lost), a_start(yes, home="", parent=kept)],
            turns=[a_turn(lost, epoch=7, first_seq=3), a_turn(kept, first_seq=3)],
            messages=[a_message(no, sender=lost), a_message(yes, sender=kept)],
        )
        assert await store.commit(batch) == Committed(fenced=frozenset({lost, no}))
        assert await store.row(no) is None
        assert await store.row(yes) is not None
        assert len(await store.inbox(yes)) == 1

    # -- starts -----------------------------------------------------------------------------------------------------------
    @awaited
    async def test_rule_55_a_key_starts_one_execution(self, place: Place) -> None:
        """A second start with the same tenant, workflow and key is a duplicate and leaves nothing; the others start."""
        store = await place.open()
        (first,) = await began(store, key="order-17", fingerprint=b"first")
        second, other = an_id(), an_id()
        batch = Batch(
            starts=[a_start(second, key="order-17", fingerprint=b"second"), a_start(other, key="order-18")],
            turns=[a_turn(second), a_turn(other)],
            events=[an_event(second)],
            snapshots=[a_snapshot(second)],
            messages=[a_message(first, sender=second)],
        )
        assert await store.commit(batch) == Committed(duplicates=frozenset({second}))
        assert await store.row(second) is None
        assert await store.journal(second) == []
        assert await store.snapshot(second) is None
        assert await store.inbox(first) == []
        assert await store.events() == []
        assert await store.row(other) is not None
        assert await store.keyed("default", "orders", "order-17") == KeyedStart(execution=first, fingerprint=b"first")

    @awaited
    async def test_rule_55_keys_are_apart_by_tenant_and_workflow(self, place: Place) -> None:
        """The same key in another tenant or for another workflow is another key."""
        store = await place.open()
        await began(store, key="k")
        others: list[dict[str, Any]] = [{"tenant": "acme"}, {"workflow": "returns"}]
        for changes in others:
            one = an_id()
            assert await store.commit(Batch(starts=[a_start(one, key="k", **changes)], turns=[a_turn(one)])) == Committed()
        assert await store.keyed("acme", "orders", "k") != await store.keyed("default", "orders", "k")
        assert await store.keyed("acme", "returns", "k") is None

    @awaited
    async def test_rule_55_of_two_in_one_batch_the_first_starts(self, place: Place) -> None:
        """Two starts with one key in one batch: the first is started, the second is a duplicate."""
        store = await place.open()
        first, second = an_id(), an_id()
        batch = Batch(starts=[a_start(first, key="k"), a_start(second, key="k")], turns=[a_turn(first), a_turn(second)])
        assert await store.commit(batch) == Committed(duplicates=frozenset({second}))
        assert await store.row(first) is not None
        assert await store.row(second) is None

    @awaited
    async def test_starts_without_a_key_are_never_duplicates(self, place: Place) -> None:
        """No key is no key: any number of executions starts without one."""
        store = await place.open()
        executions = await began(store, 5)
        assert len(await store.rows()) == len(executions)

    @awaited
    async def test_rule_40_an_id_starts_one_execution(self, place: Place) -> None:
        """A child's start that is sent again is a duplicate; the child and its first message stay as they are."""
        store = await place.open()
        (parent,) = await began(store)
        child = an_id()
        for number in range(2):
            batch = Batch(
                starts=[a_start(child, home="", parent=parent)],
                turns=[a_turn(parent, first_seq=3 + 2 * number)],
                messages=[a_message(child, "start", source="start", sender=parent)],
            )
            duplicates = {child} if number else set()
            assert await store.commit(batch) == Committed(duplicates=frozenset(duplicates))
        assert len(await store.inbox(child)) == 1
        assert len(await store.journal(parent)) == 3

    @awaited
    async def test_a_start_twice_in_one_batch_is_an_error(self, place: Place) -> None:
        """Two starts of one id in a batch are the writer's mistake: nothing is written, and the store goes on."""
        store = await place.open()
        one = an_id()
        error = await raised(StoreError, store.commit(Batch(starts=[a_start(one), a_start(one)], turns=[a_turn(one)])))
        assert "twice" in error.message
        assert await store.row(one) is None
        assert await store.commit(Batch(starts=[a_start(one)], turns=[a_turn(one)])) == Committed()

    @awaited
    async def test_a_start_without_a_turn_waits_for_its_first_message(self, place: Place) -> None:
        """A child is a row of nobody's, at epoch 0 and fact 0, until it is claimed for the message that came with it."""
        store = await place.open()
        (parent,) = await began(store)
        child = an_id()
        await store.commit(
            Batch(starts=[a_start(child, home="", parent=parent)], messages=[a_message(child, "start", sender=parent)])
        )
        row = await store.row(child)
        assert row is not None
        assert (row.home, row.epoch, row.seq, row.status) == ("", 0, 0, 0)
        assert [each.execution for each in await store.claim(WORKER, NOW, limit=9, level=LEVEL)] == [child]

    @awaited
    async def test_usage_counts_what_was_written(self, place: Place) -> None:
        """A commit is one transaction; rows and bytes grow with what it holds, statements with its kinds and not its size."""
        store = await place.open()
        first, *others = await began(store, 51)
        before = store.usage()
        await store.commit(Batch(turns=[a_turn(first, first_seq=3, body=b"x" * 10)]))
        one = store.usage()
        await store.commit(Batch(turns=[a_turn(each, first_seq=3, body=b"x" * 10) for each in others]))
        fifty = store.usage()
        assert (one.transactions - before.transactions, fifty.transactions - one.transactions) == (1, 1)
        assert (one.bytes - before.bytes, fifty.bytes - one.bytes) == (10, 500)
        assert fifty.rows - one.rows == 50 * (one.rows - before.rows)
        assert fifty.statements - one.statements == one.statements - before.statements


async def _waiting(store: Any, execution: Any) -> int:
    """The position of a message that waits for `execution`."""
    await store.send([a_message(execution, "waiting")])
    (arrived,) = await store.inbox(execution)
    return int(arrived.position)
