"""What retention promises: what has ended goes whole, what goes on stays, and no blob goes that something may name."""

from __future__ import annotations

from perdure.errors import NotFound
from perdure.ids import ExecutionId
from perdure.store.contract import Batch, BlobName, Committed, Store
from perdure.testing.stores.place import Place, awaited, raised
from perdure.testing.stores.samples import (
    NOW,
    OTHER,
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

LATER = NOW + 1_000 * SECOND
LONG = 3_600 * SECOND


class Retention:
    """Promises of `finished`, `remove`, `reclaim`, `forget_events`, `bodies`, `old_blobs`, `drop_blobs` and `lease`."""

    # -- what has ended -----------------------------------------------------------------------------------------------------
    @awaited
    async def test_only_what_ended_before_the_moment_is_found(self, place: Place) -> None:
        """Final and last written before it: neither one that goes on, nor one that ended at the moment itself, or later."""
        store = await place.open()
        ended, at_the_moment, going = await began(store, 3)
        await _end(store, ended, at=NOW + SECOND)
        await _end(store, at_the_moment, at=NOW + 2 * SECOND)
        assert await _found(store, NOW + 2 * SECOND) == [ended]
        assert await _found(store, LATER) == [ended, at_the_moment]
        assert going not in await _found(store, LATER)

    @awaited
    async def test_what_has_ended_is_found_in_pages_oldest_first(self, place: Place) -> None:
        """Each call looks at so many executions and no more, whether they have ended or not, and says where to go on."""
        store = await place.open()
        executions = await began(store, 5)
        for execution in executions[1:4]:
            await _end(store, execution)
        rows, after = await store.finished(LATER, limit=2)
        assert [row.execution for row in rows] == [executions[1]]
        assert after == executions[1]
        rows, after = await store.finished(LATER, after=after, limit=2)
        assert [row.execution for row in rows] == executions[2:4]
        rows, after = await store.finished(LATER, after=after, limit=2)
        assert (rows, after) == ([], None)

    @awaited
    async def test_executions_of_all_tenants_are_found(self, place: Place) -> None:
        """Retention is the installation's: each row says whose it is."""
        store = await place.open()
        (ours,) = await began(store)
        (theirs,) = await began(store, tenant="acme")
        await _end(store, ours)
        await _end(store, theirs)
        rows, _ = await store.finished(LATER)
        assert [(row.execution, row.tenant) for row in rows] == [(ours, "default"), (theirs, "acme")]

    # -- removing -----------------------------------------------------------------------------------------------------------
    @awaited
    async def test_what_is_removed_is_found_by_no_call(self, place: Place) -> None:
        """Row, journal, snapshot, inbox and key are gone at once, whatever is still on the disk."""
        store = await place.open()
        one = await _with_everything(store)
        assert await store.remove([one]) == [one]
        assert await store.row(one) is None
        assert await store.rows() == []
        assert await store.journal(one) == []
        assert await store.snapshot(one) is None
        assert await store.keyed("default", "orders", "k1") is None
        assert await store.finished(LATER) == ([], None)
        await raised(NotFound, store.send([a_message(one, "new")]))

    @awaited
    async def test_what_is_cleared_away_leaves_nothing(self, place: Place) -> None:
        """After `reclaim` has nothing more to do, no body of the execution is in the store."""
        store = await place.open()
        one = await _with_everything(store)
        (other,) = await began(store)
        await store.remove([one])
        assert one not in {execution for execution, _ in await _bodies(store)} or await store.reclaim(100)
        await _reclaimed(store)
        assert {execution for execution, _ in await _bodies(store)} == {other}
        assert await store.inbox(one) == []
        assert len(await store.journal(other)) == 1

    @awaited
    async def test_what_goes_on_cannot_be_removed(self, place: Place) -> None:
        """One that is not final, or not there, is left out; those beside it go all the same."""
        store = await place.open()
        ended, going = await began(store, 2)
        await _end(store, ended)
        assert await store.remove([going, ended, an_id()]) == [ended]
        assert await store.row(going) is not None
        assert len(await store.journal(going)) == 1
        assert await store.remove([ended]) == []
        assert await store.remove([]) == []

    @awaited
    async def test_a_key_is_free_when_its_execution_is_removed(self, place: Place) -> None:
        """Rule 55: a key lives as long as its execution; then the same key starts another one."""
        store = await place.open()
        one = await _with_everything(store)
        again = a_start(an_id(), key="k1", home="")
        assert await store.commit(Batch(starts=[again])) == Committed(duplicates=frozenset([again.execution]))
        await store.remove([one])
        assert await store.commit(Batch(starts=[again])) == Committed()
        keyed = await store.keyed("default", "orders", "k1")
        assert keyed is not None
        assert keyed.execution == again.execution

    @awaited
    async def test_clearing_away_is_done_in_small_pieces(self, place: Place) -> None:
        """However long the journal was, one call clears at most so many rows."""
        store = await place.open()
        (one,) = await began(store)
        for step in range(1, 10):
            await store.commit(Batch(turns=[a_turn(one, first_seq=1 + 2 * step)]))
        await _end(store, one, first_seq=21)
        await store.remove([one])
        counts = []
        while count := await store.reclaim(3):
            counts.append(count)
        assert max(counts) <= 3
        assert {execution for execution, _ in await _bodies(store)} == set()

    @awaited
    async def test_a_death_between_removing_and_clearing_loses_nothing(self, place: Place) -> None:
        """What a dead process has left behind the next one clears away; until then it is as gone as before."""
        store = await place.open()
        one = await _with_everything(store)
        await store.remove([one])
        place.die(store)
        store = await place.open()
        assert await store.row(one) is None
        assert await store.journal(one) == []
        await _reclaimed(store)
        assert await _bodies(store) == []

    # -- events -------------------------------------------------------------------------------------------------------------
    @awaited
    async def test_old_events_go_from_the_beginning_of_the_log(self, place: Place) -> None:
        """At most so many at a time, and only what is older than the moment; positions go on growing."""
        store = await place.open()
        await store.publish([an_event(None, f"e{second}", at=NOW + second * SECOND) for second in range(5)])
        assert await store.forget_events(NOW + 3 * SECOND, limit=2) == 2
        assert await store.forget_events(NOW + 3 * SECOND, limit=2) == 1
        assert await store.forget_events(NOW + 3 * SECOND, limit=2) == 0
        assert [event.id for _, event in await store.events()] == ["e3", "e4"]
        last = (await store.events())[-1][0]
        await store.forget_events(LATER, limit=9)
        assert await store.publish([an_event(None, "e0")]) == [True]
        assert (await store.events())[0][0] > last

    # -- blobs --------------------------------------------------------------------------------------------------------------
    @awaited
    async def test_every_body_that_may_name_a_blob_is_read(self, place: Place) -> None:
        """Messages first, then journals, then events, in pages of any size."""
        store = await place.open()
        (one,) = await began(store)
        await store.send([a_message(one, body=b"sent")])
        await store.publish([an_event(None, body=b"event")])
        wanted = [(one, b"sent"), (one, b"facts"), (None, b"event")]
        for limit in (1, 2, 10):
            assert await _bodies(store, limit=limit) == wanted

    @awaited
    async def test_a_young_blob_is_not_old(self, place: Place) -> None:
        """One that was saved just now may be named by a step that is not written yet: it is neither listed nor dropped."""
        store = await place.open()
        await store.save_blobs([a_blob(b"young")])
        name = BlobName(tenant="default", digest=a_blob(b"young").digest, size=5)
        assert await store.old_blobs(unsaved=LONG) == ([], "")
        assert await store.old_blobs(unsaved=0) == ([name], "")
        assert await store.drop_blobs([name], unsaved=LONG) == []
        assert list(await store.blobs("default", [name.digest])) == [name.digest]

    @awaited
    async def test_an_old_blob_is_dropped_for_its_tenant(self, place: Place) -> None:
        """Another tenant's blob of the same content stays; one that is gone already is not named again."""
        store = await place.open()
        ours, theirs = a_blob(b"same"), a_blob(b"same", tenant="acme")
        await store.save_blobs([ours, theirs])
        name = BlobName(tenant="default", digest=ours.digest, size=4)
        assert await store.drop_blobs([name, name], unsaved=0) == [name]
        assert await store.blobs("default", [ours.digest]) == {}
        assert await store.blobs("acme", [ours.digest]) == {ours.digest: b"same"}
        await store.save_blobs([ours])
        assert await store.blobs("default", [ours.digest]) == {ours.digest: b"same"}

    @awaited
    async def test_old_blobs_are_listed_in_pages(self, place: Place) -> None:
        """Each once, whatever the size of a page."""
        store = await place.open()
        blobs = [a_blob(str(number).encode()) for number in range(5)]
        await store.save_blobs(blobs)
        found, after = [], ""
        while True:
            page, after = await store.old_blobs(unsaved=0, after=after, limit=2)
            found += [name.digest for name in page]
            if not after:
                break
        assert sorted(found) == sorted(blob.digest for blob in blobs)

    # -- who does it --------------------------------------------------------------------------------------------------------
    @awaited
    async def test_a_lease_has_one_holder_until_its_moment(self, place: Place) -> None:
        """Others wait until it is over; the holder may go on, or give it back before."""
        store = await place.open()
        assert await store.lease("prune", WORKER, now=NOW, until=NOW + 10)
        assert not await store.lease("prune", OTHER, now=NOW + 9, until=NOW + 20)
        assert await store.lease("else", OTHER, now=NOW, until=NOW + 10)
        assert await store.lease("prune", WORKER, now=NOW + 9, until=NOW + 20)
        assert not await store.lease("prune", OTHER, now=NOW + 19, until=NOW + 30)
        assert await store.lease("prune", OTHER, now=NOW + 20, until=NOW + 30)
        assert await store.lease("prune", OTHER, now=NOW + 21, until=NOW + 21)
        assert await store.lease("prune", WORKER, now=NOW + 21, until=NOW + 30)

    @awaited
    async def test_the_room_that_is_taken_is_told(self, place: Place) -> None:
        """What is free is part of the whole."""
        space = await (await place.open()).space()
        assert space.total > 0
        assert 0 <= space.free <= space.total


async def _end(store: Store, execution: ExecutionId, *, at: int = NOW + SECOND, first_seq: int = 3) -> None:
    await store.commit(Batch(turns=[a_turn(execution, first_seq=first_seq, at=at, status=SUCCEEDED, release=True)]))


async def _with_everything(store: Store) -> ExecutionId:
    """An execution that has ended, and had all that one can have; one message came too late."""
    (one,) = await began(store, key="k1")
    await store.acquire([a_lock(one)])
    turn = a_turn(one, first_seq=3, status=WAITING)
    await store.commit(Batch(turns=[turn], snapshots=[a_snapshot(one)], subscriptions=[a_subscription(one)]))
    await store.send([a_message(one)])
    await _end(store, one, first_seq=5)
    return one


async def _found(store: Store, before: int) -> list[ExecutionId]:
    rows, after = await store.finished(before)
    assert after is None
    return [row.execution for row in rows]


async def _bodies(store: Store, *, limit: int = 1_000) -> list[tuple[ExecutionId | None, bytes]]:
    found, after = await store.bodies(limit=limit)
    while after:
        page, after = await store.bodies(after=after, limit=limit)
        assert len(page) <= limit
        found += page
    return found


async def _reclaimed(store: Store) -> None:
    while await store.reclaim(1_000):
        pass
