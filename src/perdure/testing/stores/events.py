"""What the event log promises to those who wait: each new event reaches every subscriber once, with the commit that logs it."""

from __future__ import annotations

import msgspec

from perdure.errors import StoreError
from perdure.ids import ExecutionId
from perdure.store.contract import Batch, Committed, ExecutionsRefused, Message, Store
from perdure.testing.faults import Crash, FaultyStore
from perdure.testing.stores.place import Place, awaited, raised
from perdure.testing.stores.samples import (
    LEVEL,
    NOW,
    SECOND,
    SUCCEEDED,
    WAITING,
    WORKER,
    a_message,
    a_subscription,
    a_turn,
    an_event,
    an_id,
    asleep,
    began,
)


class Events:
    """Promises of `publish`, of `events` with its filters, and of subscriptions."""

    # -- publishing -------------------------------------------------------------------------------------------------------
    @awaited
    async def test_an_event_from_outside_is_logged(self, place: Place) -> None:
        """It comes back as it was given, without an execution and without its notice, in line with those of workflows."""
        store = await place.open()
        (one,) = await began(store)
        await store.commit(Batch(events=[an_event(one, "inside")]))
        outside = an_event(None, "outside", body=b"\x00\xff", notice=b"for subscribers")
        assert await store.publish([outside]) == [True]
        logged = [event for _, event in await store.events()]
        assert logged == [an_event(one, "inside"), an_event(None, "outside", body=b"\x00\xff")]

    @awaited
    async def test_a_published_event_is_known_again(self, place: Place) -> None:
        """Same tenant and id: a repeat, in the same call, in a later one, and of a workflow's own; each is told of."""
        store = await place.open()
        (one,) = await began(store)
        await store.commit(Batch(events=[an_event(one, "e0")]))
        events = [an_event(None, "e0"), an_event(None), an_event(None, body=b"other"), an_event(None, "e2")]
        assert await store.publish(events) == [False, True, False, True]
        assert await store.publish([an_event(None), an_event(None, tenant="acme"), an_event(None, "e3")]) == [False, True, True]
        assert [event.id for _, event in await store.events()] == ["e0", "e1", "e2", "e3"]
        assert (await store.events())[1][1].body == b"{}"
        assert await store.publish([]) == []

    @awaited
    async def test_a_published_event_survives_a_death(self, place: Place) -> None:
        """What `publish` answered with True is in the log and in the inboxes after the restart; before it nothing is."""
        store = await place.open()
        (one,) = await began(store)
        await store.commit(Batch(subscriptions=[a_subscription(one)]))
        for moment, there in (("before", 0), ("after", 1)):
            faulty = FaultyStore(store, die=(1, moment))  # type: ignore[arg-type]  # the loop's moments are literals
            try:
                await faulty.publish([an_event(None)])
            except Crash:
                place.die(store)
            store = await place.open()
            assert (len(await store.events()), len(await store.inbox(one))) == (there, there)
        assert await store.publish([an_event(None)]) == [False]

    @awaited
    async def test_what_cannot_be_published_raises_a_store_error(self, place: Place) -> None:
        """A text that is no Unicode is refused in the words of the family, nothing of the call is logged, the store goes on."""
        store = await place.open()
        await raised(StoreError, store.publish([an_event(None, "good"), an_event(None, subject="\ud800")]))
        assert await store.events() == []
        assert await store.publish([an_event(None, "good")]) == [True]

    @awaited
    async def test_an_event_of_nobody_in_a_batch_is_an_error(self, place: Place) -> None:
        """In a batch an event stands or falls with its execution; one without is the writer's mistake: nothing is written."""
        store = await place.open()
        (one,) = await began(store)
        error = await raised(StoreError, store.commit(Batch(turns=[a_turn(one, first_seq=3)], events=[an_event(None)])))
        assert error.remedy
        assert await store.events() == []
        assert len(await store.journal(one)) == 1

    # -- reading ----------------------------------------------------------------------------------------------------------
    @awaited
    async def test_events_are_read_since_a_time(self, place: Place) -> None:
        """Only those that are not older, in the order of the log however clocks differ, by type and by page."""
        store = await place.open()
        times = [0, 5, 3, 9, 7, 9]
        await store.publish([an_event(None, f"e{at}{n}", at=NOW + at, type="ab"[n % 2]) for n, at in enumerate(times)])

        async def found(**asked: object) -> list[str]:
            return [event.id for _, event in await store.events(**asked)]  # type: ignore[arg-type]  # as each case names them

        assert await found(since=NOW + 5) == ["e51", "e93", "e74", "e95"]
        assert await found(since=NOW + 5, type="b") == ["e51", "e93", "e95"]
        assert await found(since=NOW + 7, type="a") == ["e74"]
        assert await found(since=NOW + 8, type="a") == []
        assert await found(since=NOW + 10) == []
        assert await found(since=NOW + 5, type="c") == []
        assert await found(since=NOW + 5, type="b", tenant="acme") == []
        first = (await store.events(since=NOW + 5, type="b", limit=1))[0]
        assert first[1].id == "e51"
        assert await found(since=NOW + 5, type="b", after=first[0], limit=1) == ["e93"]

    @awaited
    async def test_the_end_of_the_log_is_read(self, place: Place) -> None:
        """The last so many, still in the order of the log, whole or of one type."""
        store = await place.open()
        await store.publish([an_event(None, f"e{number}", type="ab"[number % 2], at=NOW + number) for number in range(6)])
        log = await store.events()
        assert await store.events(latest=True) == log
        assert await store.events(latest=True, limit=2) == log[4:]
        assert await store.events(latest=True, limit=2, type="a") == [log[2], log[4]]
        assert await store.events(latest=True, limit=9, after=log[3][0]) == log[4:]
        assert await store.events(latest=True, limit=9, type="b", since=NOW + 3) == [log[3], log[5]]
        assert await store.events(latest=True, type="c") == []

    # -- those who wait ---------------------------------------------------------------------------------------------------
    @awaited
    async def test_rule_48_an_event_reaches_those_who_wait_for_it(self, place: Place) -> None:
        """Each subscriber of the tenant and type gets the notice; who waits for another type or in another tenant does not."""
        store = await place.open()
        one, two, other = await began(store, 3)
        (foreign,) = await began(store, tenant="acme")
        batch = Batch(
            subscriptions=[
                a_subscription(one),
                a_subscription(two),
                a_subscription(two, "order.lost"),
                a_subscription(other, "order.lost"),
                a_subscription(foreign, tenant="acme"),
            ]
        )
        assert await store.commit(batch) == Committed()
        assert await store.publish([an_event(None, at=NOW + 7, notice=b"paid")]) == [True]
        for each in (one, two):
            assert await _heard(store, each) == [_message(each, at=NOW + 7, body=b"paid")]
        for each in (other, foreign):
            assert await _heard(store, each) == []

    @awaited
    async def test_rule_48_an_event_of_a_step_reaches_those_who_wait_for_it(self, place: Place) -> None:
        """With the commit that logs it, and the message names the execution that emitted it; also itself, when it waits."""
        store = await place.open()
        emitter, waiter = await began(store, 2)
        await store.commit(Batch(subscriptions=[a_subscription(emitter), a_subscription(waiter)]))
        await store.commit(Batch(turns=[a_turn(emitter, first_seq=3)], events=[an_event(emitter, notice=b"paid")]))
        for each in (emitter, waiter):
            assert await _heard(store, each) == [_message(each, body=b"paid", sender=emitter)]

    @awaited
    async def test_rule_48_a_wait_that_begins_in_the_commit_of_an_event_gets_it(self, place: Place) -> None:
        """In one batch waits end, then waits begin, then events are told; who waited only before hears nothing."""
        store = await place.open()
        emitter, begins, ends, renews = await began(store, 4)
        await store.commit(Batch(subscriptions=[a_subscription(ends), a_subscription(renews)]))
        batch = Batch(
            turns=[a_turn(each, first_seq=3) for each in (emitter, begins, ends, renews)],
            events=[an_event(emitter)],
            subscriptions=[a_subscription(begins), a_subscription(renews)],
            unsubscriptions=[a_subscription(ends), a_subscription(renews)],
        )
        assert await store.commit(batch) == Committed()
        assert [len(await store.inbox(each)) for each in (begins, ends, renews)] == [1, 0, 1]

    @awaited
    async def test_a_wait_begins_and_ends_once(self, place: Place) -> None:
        """To begin it again, or to end what never began, changes nothing."""
        store = await place.open()
        one, other = await began(store, 2)
        for _ in range(2):
            await store.commit(Batch(subscriptions=[a_subscription(one), a_subscription(one), a_subscription(other)]))
        await store.publish([an_event(None, "e1")])
        for _ in range(2):
            await store.commit(Batch(unsubscriptions=[a_subscription(one), a_subscription(one, "never")]))
        await store.publish([an_event(None, "e2")])
        assert [arrived.message.key for arrived in await store.inbox(one)] == ["e1"]
        assert [arrived.message.key for arrived in await store.inbox(other)] == ["e1", "e2"]

    @awaited
    async def test_a_repeated_event_tells_nobody(self, place: Place) -> None:
        """Neither who heard it, nor who began to wait since: it is in the log for a while."""
        store = await place.open()
        early, late = await began(store, 2)
        await store.commit(Batch(subscriptions=[a_subscription(early)]))
        await store.publish([an_event(None)])
        (arrived,) = await store.inbox(early)
        await store.commit(
            Batch(turns=[a_turn(early, first_seq=3, consumed=(arrived.position,))], subscriptions=[a_subscription(late)])
        )
        assert await store.publish([an_event(None)]) == [False]
        await store.commit(Batch(turns=[a_turn(late, first_seq=3)], events=[an_event(late)]))
        assert await store.inbox(early) == []
        assert await store.inbox(late) == []

    @awaited
    async def test_a_notice_is_a_message_like_others(self, place: Place) -> None:
        """It counts as accepted: the same source and key by `send` is a repeat, and an event that came so comes only once."""
        store = await place.open()
        (one,) = await began(store)
        await store.commit(Batch(subscriptions=[a_subscription(one)]))
        await store.send([a_message(one, "e1", source="event")])
        await store.publish([an_event(None, "e1"), an_event(None, "e2")])
        assert await store.send([a_message(one, "e2", source="event")]) == [False]
        assert [arrived.message.key for arrived in await store.inbox(one)] == ["e1", "e2"]

    @awaited
    async def test_rule_48_an_event_wakes_who_waits_without_a_home(self, place: Place) -> None:
        """A sleeper that gets an event is due at once, whatever its wake time; one that waits for something else sleeps on."""
        store = await place.open()
        await store.register(WORKER, now=NOW, level=LEVEL)
        called, far, other = [await asleep(store, wake) for wake in (None, NOW + 90 * SECOND, None)]
        await store.commit(Batch(subscriptions=[a_subscription(called), a_subscription(far), a_subscription(other, "never")]))
        assert await store.claim(WORKER, NOW, limit=9, level=LEVEL) == []
        await store.publish([an_event(None)])
        rows = await store.claim(WORKER, NOW, limit=9, level=LEVEL)
        assert {row.execution for row in rows} == {called, far}

    @awaited
    async def test_an_event_in_the_commit_that_releases_wakes(self, place: Place) -> None:
        """Who begins to wait and leaves its home in the commit of an event is not overlooked."""
        store = await place.open()
        emitter, waiter = await began(store, 2)
        batch = Batch(
            turns=[a_turn(waiter, first_seq=3, status=WAITING, release=True), a_turn(emitter, first_seq=3)],
            subscriptions=[a_subscription(waiter)],
            events=[an_event(emitter)],
        )
        await store.commit(batch)
        assert [row.execution for row in await store.claim(WORKER, NOW, limit=9, level=LEVEL)] == [waiter]

    @awaited
    async def test_changed_tells_of_an_event(self, place: Place) -> None:
        """After an event that somebody waits for, of `publish` or of a commit, `changed` says yes once."""
        store = await place.open()
        (one,) = await began(store)
        await store.commit(Batch(subscriptions=[a_subscription(one)]))
        await store.changed()
        await store.publish([an_event(None)])
        assert [await store.changed(), await store.changed()] == [True, False]
        await store.commit(Batch(turns=[a_turn(one, first_seq=3)], events=[an_event(one, "e2")]))
        assert [await store.changed(), await store.changed()] == [True, False]

    # -- who does not wait any more ---------------------------------------------------------------------------------------
    @awaited
    async def test_what_has_ended_hears_nothing(self, place: Place) -> None:
        """Not of an event of the commit that ends it, not of a later one, however its wait was left behind."""
        store = await place.open()
        emitter, ends, ended = await began(store, 3)
        await store.commit(Batch(turns=[a_turn(ended, first_seq=3, status=SUCCEEDED)], subscriptions=[a_subscription(ends)]))
        batch = Batch(
            turns=[a_turn(emitter, first_seq=3), a_turn(ends, first_seq=3, status=SUCCEEDED, release=True)],
            events=[an_event(emitter)],
            subscriptions=[a_subscription(ends), a_subscription(ended)],
        )
        await store.commit(batch)
        await store.publish([an_event(None, "e2")])
        assert [await store.inbox(each) for each in (ends, ended)] == [[], []]

    @awaited
    async def test_many_wait_for_one_event(self, place: Place) -> None:
        """A thousand subscribers, at home or asleep, each get it once, in one transaction."""
        store = await place.open()
        executions = await began(store, 1_000)
        released = [a_turn(each, first_seq=3, status=WAITING, release=True) for each in executions[::2]]
        await store.commit(Batch(turns=released, subscriptions=[a_subscription(each) for each in executions]))
        before = store.usage().transactions
        await store.publish([an_event(None)])
        assert store.usage().transactions - before == 1
        assert len(await store.arrived(WORKER)) == 500
        claimed = await store.claim(WORKER, NOW, limit=1_000, level=LEVEL)
        assert {row.execution for row in claimed} == set(executions[::2])
        assert len(await store.arrived(WORKER)) == 1_000

    # -- who may not write ------------------------------------------------------------------------------------------------
    @awaited
    async def test_a_former_home_begins_and_ends_no_waits(self, place: Place) -> None:
        """A fenced execution's waits stay as they are, and its events tell nobody."""
        store = await place.open()
        waits, lost, kept = await began(store, 3)
        await store.commit(Batch(subscriptions=[a_subscription(waits)]))
        batch = Batch(
            turns=[a_turn(waits, epoch=7, first_seq=3), a_turn(lost, epoch=7, first_seq=3), a_turn(kept, first_seq=3)],
            unsubscriptions=[a_subscription(waits)],
            subscriptions=[a_subscription(lost), a_subscription(kept)],
            events=[an_event(lost, "lost"), an_event(kept, "kept")],
        )
        assert await store.commit(batch) == Committed(fenced=frozenset({waits, lost}))
        for each, keys in ((waits, ["kept"]), (lost, []), (kept, ["kept"])):
            assert [arrived.message.key for arrived in await store.inbox(each)] == keys

    @awaited
    async def test_a_wait_that_cannot_be_stored_refuses_its_execution(self, place: Place) -> None:
        """The guilty one is named; the others begin to wait, and get each other's events of the batch as they should."""
        store = await place.open()
        executions = await began(store, 8)
        (ends,) = await began(store)
        await store.commit(Batch(subscriptions=[a_subscription(ends, f"type-{number}") for number in range(8)]))
        for guilty in range(8):
            count = len(await store.events(limit=1_000))
            seqs = {each: 1 + 2 * len(await store.journal(each)) for each in executions}
            subscriptions = [a_subscription(each, f"type-{guilty}") for each in executions]
            subscriptions[guilty] = msgspec.structs.replace(subscriptions[guilty], type="\ud800")
            batch = Batch(
                turns=[a_turn(each, first_seq=seqs[each]) for each in executions],
                subscriptions=subscriptions,
                unsubscriptions=[a_subscription(ends, f"type-{number}") for number in range(8)],
                events=[an_event(each, f"{guilty}-{n}", type=f"type-{guilty}") for n, each in enumerate(executions)],
            )
            refused = await raised(ExecutionsRefused, store.commit(batch))
            assert set(refused.refused) == {executions[guilty]}
            assert len(await store.events(limit=1_000)) == count + 7
            told = {f"{guilty}-{number}" for number in range(8) if number != guilty}
            for number, each in enumerate(executions):
                heard = {arrived.message.key for arrived in await store.inbox(each)}
                assert {key for key in heard if key.startswith(f"{guilty}-")} == (told if number != guilty else set())
            assert await store.publish([an_event(None, f"after-{guilty}", type=f"type-{guilty}")]) == [True]
            assert f"after-{guilty}" not in {arrived.message.key for arrived in await store.inbox(ends)}

    @awaited
    async def test_who_waits_is_remembered_after_a_death(self, place: Place) -> None:
        """A subscription is as durable as the turn it came with."""
        store = await place.open()
        (one,) = await began(store)
        await store.commit(Batch(turns=[a_turn(one, first_seq=3)], subscriptions=[a_subscription(one)]))
        place.die(store)
        store = await place.open()
        await store.publish([an_event(None)])
        assert len(await store.inbox(one)) == 1

    @awaited
    async def test_a_wait_of_nobody_hears_nothing(self, place: Place) -> None:
        """A subscription of an execution that is not there keeps no event from the others."""
        store = await place.open()
        (one,) = await began(store)
        stranger = an_id()
        await store.commit(Batch(subscriptions=[a_subscription(stranger), a_subscription(one)]))
        assert await store.publish([an_event(None)]) == [True]
        assert len(await store.inbox(one)) == 1
        assert await store.inbox(stranger) == []


def _message(execution: ExecutionId, **changes: object) -> Message:
    return a_message(execution, "e1", **{"source": "event", "body": b"", **changes})


async def _heard(store: Store, execution: ExecutionId) -> list[Message]:
    return [arrived.message for arrived in await store.inbox(execution)]
