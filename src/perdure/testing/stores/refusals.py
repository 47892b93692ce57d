"""What happens when a row cannot be stored: the guilty execution is named, all others are durable."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from perdure.errors import StoreError
from perdure.store.contract import Batch, Committed, ExecutionsRefused, Store, Turn
from perdure.testing.stores.place import Place, awaited, raised
from perdure.testing.stores.samples import NOW, a_blob, a_message, a_snapshot, a_start, a_turn, an_event, an_id, began

TOO_LARGE = 1 << 64
POISONS: dict[str, Callable[[Turn], Turn]] = {
    "a number beyond 64 bits": lambda turn: msgspec.structs.replace(turn, at=TOO_LARGE),
    "a text where bytes belong": lambda turn: msgspec.structs.replace(turn, body="text"),
    "a message that is not there": lambda turn: msgspec.structs.replace(turn, consumed=(1 << 40,)),
}


class Refusals:
    """Promises of `commit` about rows that the database refuses."""

    @awaited
    async def test_a_poisoned_turn_harms_nobody_else(self, place: Place) -> None:
        """Whatever is wrong with one execution's turn, it alone is refused and named; all others are written."""
        store = await place.open()
        for what, poison in POISONS.items():
            executions = await began(store, 9)
            turns = [a_turn(each, first_seq=3) for each in executions]
            turns[4] = poison(turns[4])
            refused = await _refused(
                store, Batch(turns=turns, events=[an_event(each, what + str(each)) for each in executions])
            )
            assert set(refused.refused) == {executions[4]}, what
            assert refused.committed == Committed()
            assert [len(await store.journal(each)) for each in executions] == [2, 2, 2, 2, 1, 2, 2, 2, 2], what
            row = await store.row(executions[4])
            assert row is not None
            assert row.seq == 2, what
            assert executions[4] not in [event.execution for _, event in await store.events(limit=1_000)]

    @awaited
    async def test_several_poisoned_executions_are_all_named(self, place: Place) -> None:
        """Every guilty execution is found, with the reason for each, also when all are guilty."""
        store = await place.open()
        executions = await began(store, 7)
        for guilty in ({0}, {6}, {1, 2, 5}, set(range(7))):
            first_seq = 1 + 2 * len(await store.journal(executions[3]))
            turns = []
            for number, each in enumerate(executions):
                seq = 1 + 2 * len(await store.journal(each))
                turns.append(a_turn(each, first_seq=seq, at=TOO_LARGE if number in guilty else NOW))
            refused = await _refused(store, Batch(turns=turns))
            assert set(refused.refused) == {executions[number] for number in guilty}
            assert all(refused.refused.values())
            assert len(await store.journal(executions[3])) == first_seq // 2 + (3 not in guilty)

    @awaited
    async def test_fenced_and_duplicates_are_told_beside_the_refused(self, place: Place) -> None:
        """A batch may hold all of it at once: who is refused, who is fenced, who is a duplicate, and who is written."""
        store = await place.open()
        poisoned, fenced, kept = await began(store, 3)
        await began(store, key="k")
        duplicate, new = an_id(), an_id()
        batch = Batch(
            starts=[a_start(duplicate, key="k"), a_start(new, key="k2")],
            turns=[
                a_turn(poisoned, first_seq=3, at=TOO_LARGE),
                a_turn(fenced, epoch=9, first_seq=3),
                a_turn(kept, first_seq=3),
                a_turn(duplicate),
                a_turn(new),
            ],
        )
        refused = await _refused(store, batch)
        assert set(refused.refused) == {poisoned}
        assert refused.committed == Committed(fenced=frozenset({fenced}), duplicates=frozenset({duplicate}))
        assert [len(await store.journal(each)) for each in (poisoned, fenced, kept, duplicate, new)] == [1, 1, 2, 0, 1]

    @awaited
    async def test_all_that_a_refused_execution_writes_stays_out(self, place: Place) -> None:
        """Its messages, children, events and snapshot stand or fall with its turn."""
        store = await place.open()
        poisoned, receiver = await began(store, 2)
        child = an_id()
        batch = Batch(
            starts=[a_start(child, home="", parent=poisoned)],
            turns=[a_turn(receiver, first_seq=3), a_turn(poisoned, first_seq=3, at=TOO_LARGE)],
            messages=[a_message(receiver, sender=poisoned), a_message(receiver, "free")],
            events=[an_event(poisoned)],
            snapshots=[a_snapshot(poisoned)],
        )
        refused = await _refused(store, batch)
        assert set(refused.refused) == {poisoned}
        assert await store.row(child) is None
        assert [arrived.message.key for arrived in await store.inbox(receiver)] == ["free"]
        assert await store.events() == []
        assert await store.snapshot(poisoned) is None
        assert len(await store.journal(receiver)) == 2

    @awaited
    async def test_a_poisoned_message_falls_on_its_sender(self, place: Place) -> None:
        """A message that cannot be stored refuses the execution that sends it; the receiver's own turn is written."""
        store = await place.open()
        sender, receiver = await began(store, 2)
        batch = Batch(
            turns=[a_turn(sender, first_seq=3), a_turn(receiver, first_seq=3)],
            messages=[a_message(receiver, "\ud800", sender=sender)],
        )
        refused = await _refused(store, batch)
        assert set(refused.refused) == {sender}
        assert len(await store.journal(sender)) == 1
        assert len(await store.journal(receiver)) == 2

    @awaited
    async def test_blobs_are_kept_when_a_turn_is_refused(self, place: Place) -> None:
        """The large values that the others name are durable, whoever is refused."""
        store = await place.open()
        poisoned, kept = await began(store, 2)
        blob = a_blob(b"named by the other")
        turns = [a_turn(poisoned, first_seq=3, at=TOO_LARGE), a_turn(kept, first_seq=3)]
        await _refused(store, Batch(turns=turns, blobs=[blob]))
        assert await store.blobs("default", [blob.digest]) == {blob.digest: blob.body}

    @awaited
    async def test_a_poisoned_blob_fails_the_batch(self, place: Place) -> None:
        """Who names a blob is not known, so a batch with one that cannot be stored writes nothing."""
        store = await place.open()
        (one,) = await began(store)
        bad = msgspec.structs.replace(a_blob(b"x"), tenant="\ud800")
        error = await raised(StoreError, store.commit(Batch(turns=[a_turn(one, first_seq=3)], blobs=[bad])))
        assert not isinstance(error, ExecutionsRefused)
        assert len(await store.journal(one)) == 1
        assert await store.commit(Batch(turns=[a_turn(one, first_seq=3)])) == Committed()

    @awaited
    async def test_what_cannot_be_sent_raises_a_store_error(self, place: Place) -> None:
        """A text that is no Unicode is refused by `send` in the words of the family, and the store goes on."""
        store = await place.open()
        (one,) = await began(store)
        await raised(StoreError, store.send([a_message(one, "good"), a_message(one, "\udfff")]))
        assert await store.send([a_message(one, "good")]) == [True]


async def _refused(store: Store, batch: Batch) -> ExecutionsRefused:
    refused = await raised(ExecutionsRefused, store.commit(batch))
    assert refused.refused, "Expected the refused executions to be named, but none is."
    return refused
