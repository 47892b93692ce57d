"""What is kept and read: executions, journals, snapshots, definitions, blobs, events."""

from __future__ import annotations

import msgspec

from perdure.errors import StoreError
from perdure.store.contract import FIRST_FINAL, Batch, Committed
from perdure.testing.stores.place import Place, awaited, raised
from perdure.testing.stores.samples import (
    CANCELLED,
    FAILED,
    NOW,
    RUNNING,
    SUCCEEDED,
    a_blob,
    a_definition,
    a_message,
    a_snapshot,
    a_start,
    a_turn,
    an_event,
    an_id,
    began,
)

MEGABYTE = 1 << 20


class Records:
    """Promises of `row`, `rows`, `keyed`, `journal`, `snapshot`, and of definitions, blobs and events."""

    # -- executions ---------------------------------------------------------------------------------------------------
    @awaited
    async def test_what_is_not_there_is_none(self, place: Place) -> None:
        """Reading what was never written gives nothing, and no error."""
        store = await place.open()
        one = an_id()
        assert await store.row(one) is None
        assert await store.snapshot(one) is None
        assert await store.keyed("default", "orders", "k") is None
        assert await store.definition(b"d" * 32) is None
        assert await store.journal(one) == []
        assert await store.inbox(one) == []
        assert await store.rows() == []
        assert await store.definitions("orders") == []
        assert await store.events() == []
        assert await store.blobs("default", [b"d" * 32]) == {}
        assert await store.blobs("default", []) == {}
        assert await store.workers() == []

    @awaited
    async def test_executions_are_listed_newest_first(self, place: Place) -> None:
        """`limit` and `before` page through them without a gap or a repeat."""
        store = await place.open()
        executions = await began(store, 5)
        newest_first = executions[::-1]
        assert [row.execution for row in await store.rows()] == newest_first
        assert [row.execution for row in await store.rows(limit=2)] == newest_first[:2]
        assert [row.execution for row in await store.rows(limit=2, before=newest_first[1])] == newest_first[2:4]
        assert await store.rows(before=newest_first[-1]) == []
        assert (await store.rows())[0] == await store.row(newest_first[0])

    @awaited
    async def test_executions_are_listed_by_tenant_workflow_and_status(self, place: Place) -> None:
        """Each filter alone, and together; a tenant sees its own only."""
        store = await place.open()
        (plain,) = await began(store)
        (returned,) = await began(store, workflow="returns")
        (foreign,) = await began(store, tenant="acme")
        await store.commit(Batch(turns=[a_turn(returned, first_seq=3, status=SUCCEEDED)]))

        assert [row.execution for row in await store.rows()] == [returned, plain]
        assert [row.execution for row in await store.rows(tenant="acme")] == [foreign]
        assert [row.execution for row in await store.rows(workflow="returns")] == [returned]
        assert [row.execution for row in await store.rows(statuses=[SUCCEEDED])] == [returned]
        assert [row.execution for row in await store.rows(statuses=[RUNNING, SUCCEEDED])] == [returned, plain]
        assert await store.rows(statuses=[]) == []
        assert await store.rows(workflow="returns", statuses=[RUNNING]) == []
        assert await store.rows(workflow="returns", tenant="acme") == []
        assert await store.rows(workflow="returns", before=returned) == []

    @awaited
    async def test_what_has_not_ended_is_found_among_all_that_has(self, place: Place) -> None:
        """From its start to its end, in the commit of its end no more; one that ends in its first turn never; in pages."""
        store = await place.open()
        open_ones = await began(store, 4)
        at_once = an_id()
        ended = a_turn(at_once, epoch=0, status=SUCCEEDED, release=True)
        await store.commit(Batch(starts=[a_start(at_once, home=""), a_start(queued := an_id(), home="")], turns=[ended]))
        await store.commit(Batch(turns=[a_turn(open_ones[1], first_seq=3, status=SUCCEEDED)]))
        expected = [queued, open_ones[3], open_ones[2], open_ones[0]]
        statuses = range(FIRST_FINAL)
        assert [row.execution for row in await store.rows(statuses=statuses)] == expected
        assert [row.execution for row in await store.rows(statuses=statuses, limit=2)] == expected[:2]
        assert [row.execution for row in await store.rows(statuses=statuses, before=expected[1])] == expected[2:]
        assert [row.execution for row in await store.rows(statuses=[RUNNING])] == expected[1:]
        assert await store.rows(statuses=statuses, tenant="acme") == []

    @awaited
    async def test_what_ended_without_success_is_found_among_all_that_has(self, place: Place) -> None:
        """By status and workflow, until it is removed; a commit that is refused or fenced adds nothing."""
        store = await place.open()
        failed, cancelled, going, good = await began(store, 4)
        (other,) = await began(store, workflow="returns")
        ends = [(failed, FAILED), (cancelled, CANCELLED), (other, FAILED), (good, SUCCEEDED)]
        await store.commit(Batch(turns=[a_turn(execution, first_seq=3, status=status) for execution, status in ends]))
        await store.commit(Batch(turns=[a_turn(going, first_seq=3, epoch=7, status=FAILED)]))
        assert [row.execution for row in await store.rows(statuses=[FAILED])] == [other, failed]
        assert [row.execution for row in await store.rows(statuses=[FAILED, CANCELLED])] == [other, cancelled, failed]
        assert [row.execution for row in await store.rows(statuses=[FAILED, RUNNING])] == [other, going, failed]
        assert [row.execution for row in await store.rows(statuses=[FAILED], workflow="returns")] == [other]
        await store.remove([failed])
        assert [row.execution for row in await store.rows(statuses=[FAILED])] == [other]

    # -- journal and snapshots ----------------------------------------------------------------------------------------
    @awaited
    async def test_a_journal_pages_in_order(self, place: Place) -> None:
        """Rows come by their first fact; `after` leaves out those that are known, `limit` cuts."""
        store = await place.open()
        one, other = await began(store, 2)
        for first_seq in range(3, 13, 2):
            await store.commit(Batch(turns=[a_turn(one, first_seq=first_seq, body=b"%d" % first_seq)]))
        await store.commit(Batch(turns=[a_turn(other, first_seq=3)]))
        assert [row.first_seq for row in await store.journal(one)] == [1, 3, 5, 7, 9, 11]
        assert [row.first_seq for row in await store.journal(one, after=4)] == [5, 7, 9, 11]
        assert [row.first_seq for row in await store.journal(one, after=3, limit=2)] == [5, 7]
        assert await store.journal(one, after=11) == []
        assert [row.body for row in await store.journal(one, after=10)] == [b"11"]

    @awaited
    async def test_a_journal_takes_any_bytes(self, place: Place) -> None:
        """Bodies are bytes the store never reads: empty, zeros, no text at all, a megabyte."""
        store = await place.open()
        (one,) = await began(store)
        bodies = [b"", b"\0" * 10, bytes(range(256)), b"\xff\xfe" * (MEGABYTE // 2)]
        for number, body in enumerate(bodies):
            await store.commit(Batch(turns=[a_turn(one, first_seq=3 + 2 * number, body=body)]))
        assert [row.body for row in await store.journal(one, after=1)] == bodies

    @awaited
    async def test_a_snapshot_replaces_the_one_before(self, place: Place) -> None:
        """There is one snapshot per execution, the latest that was written."""
        store = await place.open()
        one, other = await began(store, 2)
        await store.commit(Batch(snapshots=[a_snapshot(one, 2), a_snapshot(other, 2, body=b"other")]))
        newer = a_snapshot(one, 9, fold=2, body=b"newer")
        await store.commit(Batch(snapshots=[newer]))
        assert await store.snapshot(one) == newer
        assert await store.snapshot(other) == a_snapshot(other, 2, body=b"other")

    # -- definitions --------------------------------------------------------------------------------------------------
    @awaited
    async def test_a_definition_is_saved_once(self, place: Place) -> None:
        """Saved again under its digest, it stays as it was first."""
        store = await place.open()
        first = a_definition("orders", b'{"a": 1}')
        await store.save_definition(first)
        await store.save_definition(msgspec.structs.replace(first, created=NOW + 1, origin="elsewhere.yaml"))
        assert await store.definition(first.digest) == first
        assert await store.definitions("orders") == [first]

    @awaited
    async def test_definitions_are_listed_newest_first(self, place: Place) -> None:
        """By their time, those of one time by the order of saving; other names are not among them."""
        store = await place.open()
        old = a_definition("orders", b"1", created=NOW)
        new = a_definition("orders", b"2", created=NOW + 2)
        between, after = a_definition("orders", b"3", created=NOW + 1), a_definition("orders", b"4", created=NOW + 1)
        for each in (old, new, between, after, a_definition("returns", b"5")):
            await store.save_definition(each)
        assert await store.definitions("orders") == [new, after, between, old]

    @awaited
    async def test_all_definitions_are_read_in_the_order_of_saving(self, place: Place) -> None:
        """Of all names and tenants, in pages, each with the position to go on from."""
        store = await place.open()
        saved = [a_definition("a", b"1"), a_definition("b", b"2", tenant="acme"), a_definition("a", b"3")]
        for definition in saved:
            await store.save_definition(definition)
        page = await store.definitions_since(0, limit=2)
        assert [definition for _, definition in page] == saved[:2]
        assert [definition for _, definition in await store.definitions_since(page[-1][0])] == saved[2:]

    @awaited
    async def test_definitions_of_tenants_are_apart(self, place: Place) -> None:
        """The same document belongs to each tenant on its own."""
        store = await place.open()
        ours, theirs = a_definition("orders"), a_definition("orders", tenant="acme", origin="acme.yaml")
        await store.save_definition(theirs)
        assert await store.definition(ours.digest) is None
        assert await store.definitions("orders") == []
        await store.save_definition(ours)
        assert await store.definition(ours.digest) == ours
        assert await store.definition(ours.digest, tenant="acme") == theirs
        assert await store.definitions("orders", tenant="acme") == [theirs]

    # -- blobs --------------------------------------------------------------------------------------------------------
    @awaited
    async def test_blobs_of_every_size_come_back(self, place: Place) -> None:
        """Empty, small and large ones, on their own and in a batch, saved once or twice; the missing are left out."""
        store = await place.open()
        blobs = [a_blob(b"x" * size) for size in (0, 1, 4_096, MEGABYTE // 4, MEGABYTE // 4 + 1, 2 * MEGABYTE)]
        await store.save_blobs(blobs[:3] + blobs[-1:])
        await store.save_blobs(blobs[:2])
        (one,) = await began(store)
        assert await store.commit(Batch(turns=[a_turn(one, first_seq=3)], blobs=blobs)) == Committed()
        wanted = [blob.digest for blob in blobs]
        assert await store.blobs("default", [*wanted, b"?" * 32]) == {blob.digest: blob.body for blob in blobs}
        assert await store.check() == []

    @awaited
    async def test_blobs_survive_a_death(self, place: Place) -> None:
        """What `save_blobs` returned from is durable ahead of the step that names it."""
        store = await place.open()
        blobs = [a_blob(b"small"), a_blob(b"large" * MEGABYTE)]
        await store.save_blobs(blobs)
        place.die(store)
        store = await place.open()
        found = await store.blobs("default", [blob.digest for blob in blobs])
        assert found == {blob.digest: blob.body for blob in blobs}

    @awaited
    async def test_blobs_of_tenants_are_apart(self, place: Place) -> None:
        """A tenant does not get what another saved, large or small, though both may save the same."""
        store = await place.open()
        for body in (b"small", b"large" * MEGABYTE):
            theirs, ours = a_blob(body, "acme"), a_blob(body)
            await store.save_blobs([theirs])
            assert await store.blobs("default", [ours.digest]) == {}
            await store.save_blobs([ours])
            assert await store.blobs("default", [ours.digest]) == {ours.digest: body}
            assert await store.blobs("acme", [ours.digest]) == {ours.digest: body}

    # -- events -------------------------------------------------------------------------------------------------------
    @awaited
    async def test_events_are_a_log(self, place: Place) -> None:
        """In the order of their commits, with growing positions to page by, whole, and by type when asked."""
        store = await place.open()
        (one,) = await began(store)
        events = [an_event(one, f"e{number}", type="a" if number % 2 else "b", at=NOW - number) for number in range(6)]
        for event in events:
            await store.commit(Batch(events=[event]))
        log = await store.events()
        positions = [position for position, _ in log]
        assert [event for _, event in log] == events
        assert positions == sorted(set(positions))
        assert await store.events(after=positions[1], limit=2) == log[2:4]
        assert [event.id for _, event in await store.events(type="a")] == ["e1", "e3", "e5"]
        assert [event.id for _, event in await store.events(type="a", after=positions[1], limit=1)] == ["e3"]
        assert await store.events(type="c") == []

    @awaited
    async def test_an_event_is_logged_once(self, place: Place) -> None:
        """A repeat of an id is dropped, in one batch and in a later one; another tenant's is its own."""
        store = await place.open()
        one, other = await began(store, 2)
        await store.commit(Batch(events=[an_event(one), an_event(other)]))
        assert await store.commit(Batch(turns=[a_turn(one, first_seq=3)], events=[an_event(one, body=b"again")])) == Committed()
        await store.commit(Batch(events=[an_event(one, tenant="acme")]))
        assert [event for _, event in await store.events()] == [an_event(one)]
        assert [event for _, event in await store.events(tenant="acme")] == [an_event(one, tenant="acme")]
        assert len(await store.journal(one)) == 2

    # -- care ---------------------------------------------------------------------------------------------------------
    @awaited
    async def test_a_sound_store_has_no_findings(self, place: Place) -> None:
        """The check of a store that was written in every way finds nothing."""
        store = await place.open()
        (one,) = await began(store, key="k")
        await store.save_definition(a_definition("orders"))
        await store.commit(Batch(snapshots=[a_snapshot(one)], events=[an_event(one)], blobs=[a_blob(b"x" * MEGABYTE)]))
        assert await store.check() == []

    @awaited
    async def test_a_closed_store_says_so(self, place: Place) -> None:
        """After `close` reads and writes raise StoreError; closing again does no harm."""
        store = await place.open()
        await store.close()
        await store.close()
        one = an_id()
        for call in (
            store.row(one),
            store.commit(Batch(starts=[a_start(one)], turns=[a_turn(one)])),
            store.send([a_message(one)]),
            store.workers(),
            store.changed(),
            store.blobs("default", [b"d" * 32]),
            store.check(),
        ):
            assert "closed" in (await raised(StoreError, call)).message
