"""What messages promise: each is accepted once for as long as its receiver lives, in order, and lost by nobody."""

from __future__ import annotations

from perdure.errors import NotFound
from perdure.ids import id_text
from perdure.store.contract import Batch, Committed
from perdure.testing.stores.place import Place, awaited, raised
from perdure.testing.stores.samples import (
    LEVEL,
    NOW,
    OTHER,
    WORKER,
    a_message,
    a_start,
    a_turn,
    an_id,
    began,
)


class Inboxes:
    """Promises of `send`, `arrived`, `inbox`, `changed`, and of messages in a batch."""

    @awaited
    async def test_a_message_arrives_as_it_was_sent(self, place: Place) -> None:
        """Every field of a message comes back, also an empty body and one of any bytes."""
        store = await place.open()
        one, sender = await began(store, 2)
        messages = [
            a_message(one, "k1", body=b""),
            a_message(one, "k2", source="operator", at=NOW + 7, body=bytes(range(256)), sender=sender),
        ]
        assert await store.send(messages) == [True, True]
        assert [arrived.message for arrived in await store.inbox(one)] == messages

    @awaited
    async def test_a_repeat_is_known(self, place: Place) -> None:
        """Same receiver, source and key: a repeat, in the same call and in a later one, whatever its body says."""
        store = await place.open()
        (one,) = await began(store)
        assert await store.send([a_message(one), a_message(one, body=b"other"), a_message(one, "m2")]) == [True, False, True]
        assert await store.send([a_message(one), a_message(one, "m3")]) == [False, True]
        assert [arrived.message.key for arrived in await store.inbox(one)] == ["m1", "m2", "m3"]
        assert (await store.inbox(one))[0].message.body == b"hello"

    @awaited
    async def test_another_source_or_receiver_is_no_repeat(self, place: Place) -> None:
        """A key counts per receiver and source."""
        store = await place.open()
        one, other = await began(store, 2)
        messages = [a_message(one), a_message(one, source="child"), a_message(other)]
        assert await store.send(messages) == [True, True, True]

    @awaited
    async def test_a_repeat_is_known_after_the_original_was_consumed(self, place: Place) -> None:
        """The memory of a message outlives its row: a late repeat by `send` or in a batch does not arrive again."""
        store = await place.open()
        one, sender = await began(store, 2)
        await store.send([a_message(one)])
        (arrived,) = await store.inbox(one)
        await store.commit(Batch(turns=[a_turn(one, first_seq=3, consumed=(arrived.position,))]))
        assert await store.inbox(one) == []
        assert await store.send([a_message(one)]) == [False]
        await store.commit(Batch(turns=[a_turn(sender, first_seq=3)], messages=[a_message(one, sender=sender)]))
        assert await store.inbox(one) == []

    @awaited
    async def test_sending_to_nobody_sends_nothing(self, place: Place) -> None:
        """An unknown receiver raises NotFound with its id, and none of the call's messages arrives."""
        store = await place.open()
        (one,) = await began(store)
        stranger = an_id()
        found = await raised(NotFound, store.send([a_message(one), a_message(stranger)]))
        assert id_text(stranger) in found.message
        assert id_text(one) not in found.message
        assert await store.inbox(one) == []
        assert await store.send([a_message(one)]) == [True]
        assert await store.send([]) == []

    @awaited
    async def test_a_batch_drops_messages_to_nobody(self, place: Place) -> None:
        """A receiver that is not there must not fail the commits of those who are."""
        store = await place.open()
        one, sender = await began(store, 2)
        stranger = an_id()
        messages = [a_message(stranger, sender=sender), a_message(one, sender=sender)]
        assert await store.commit(Batch(turns=[a_turn(sender, first_seq=3)], messages=messages)) == Committed()
        assert len(await store.inbox(one)) == 1
        assert await store.inbox(stranger) == []

    @awaited
    async def test_a_batch_may_start_a_receiver(self, place: Place) -> None:
        """Signal-with-start is one commit: the execution and its first message, or neither."""
        store = await place.open()
        one = an_id()
        await store.commit(Batch(starts=[a_start(one)], turns=[a_turn(one)], messages=[a_message(one)]))
        assert len(await store.inbox(one)) == 1

    @awaited
    async def test_messages_page_in_order(self, place: Place) -> None:
        """Positions grow, are never given twice, and page on with `after` and `limit`."""
        store = await place.open()
        one, other = await began(store, 2)
        await store.send([a_message(each, f"{number}") for number in range(5) for each in (one, other)])
        everything = await store.arrived(WORKER)
        positions = [arrived.position for arrived in everything]
        assert positions == sorted(set(positions))
        assert [arrived.message.key for arrived in everything] == ["0", "0", "1", "1", "2", "2", "3", "3", "4", "4"]
        assert await store.arrived(WORKER, limit=3) == everything[:3]
        assert await store.arrived(WORKER, limit=3, after=positions[2]) == everything[3:6]
        assert [arrived.message.key for arrived in await store.inbox(one, limit=2)] == ["0", "1"]

    @awaited
    async def test_a_position_is_never_given_twice(self, place: Place) -> None:
        """Also after the newest message was consumed: a home that pages by position would miss the next one."""
        store = await place.open()
        (one,) = await began(store)
        seen = []
        for number in range(3):
            await store.send([a_message(one, f"{number}")])
            (arrived,) = await store.inbox(one)
            seen.append(arrived.position)
            await store.commit(Batch(turns=[a_turn(one, first_seq=3 + 2 * number, consumed=(arrived.position,))]))
        assert seen == sorted(set(seen))

    @awaited
    async def test_a_home_sees_its_own_messages_only(self, place: Place) -> None:
        """`arrived` is for what the worker is the home of; the homeless and the others' are not in it."""
        store = await place.open()
        mine, released = await began(store, 2)
        theirs = an_id()
        await store.register(OTHER, now=NOW, level=LEVEL)
        await store.commit(
            Batch(starts=[a_start(theirs, home=OTHER)], turns=[a_turn(theirs), a_turn(released, first_seq=3, release=True)])
        )
        await store.send([a_message(mine), a_message(theirs), a_message(released)])
        assert [arrived.message.execution for arrived in await store.arrived(WORKER)] == [mine]
        assert [arrived.message.execution for arrived in await store.arrived(OTHER)] == [theirs]
        assert await store.arrived("nobody") == []
        assert await store.arrived("") == []

    @awaited
    async def test_one_step_may_consume_several(self, place: Place) -> None:
        """All positions that a turn names are gone with it, and no other."""
        store = await place.open()
        one, other = await began(store, 2)
        await store.send([a_message(one, "1"), a_message(one, "2"), a_message(one, "3"), a_message(other, "4")])
        positions = tuple(arrived.position for arrived in await store.inbox(one))
        await store.commit(Batch(turns=[a_turn(one, first_seq=3, consumed=positions[:2])]))
        assert [arrived.message.key for arrived in await store.inbox(one)] == ["3"]
        assert len(await store.inbox(other)) == 1

    @awaited
    async def test_messages_survive_a_death(self, place: Place) -> None:
        """What `send` answered with True is there after the restart, and still known as sent."""
        store = await place.open()
        (one,) = await began(store)
        await store.send([a_message(one)])
        place.die(store)
        store = await place.open()
        assert len(await store.inbox(one)) == 1
        assert await store.send([a_message(one)]) == [False]

    @awaited
    async def test_changed_tells_of_a_message(self, place: Place) -> None:
        """After `send`, `changed` says yes once; when nothing was sent since, no."""
        store = await place.open()
        (one,) = await began(store)
        await store.changed()
        assert await store.changed() is False
        await store.send([a_message(one)])
        assert await store.changed() is True
        assert await store.changed() is False

    @awaited
    async def test_a_sleeper_is_woken_by_a_message(self, place: Place) -> None:
        """Waiting for a change ends with one, at once where there was one, and takes nothing from what `changed` says."""
        store = await place.open()
        (one,) = await began(store)
        await store.changed()
        assert await store.wait_changed(0.01) is False
        await store.send([a_message(one)])
        assert await store.wait_changed(60) is True
        assert await store.changed() is True
        assert await store.wait_changed(0) is False
