"""Events from outside: what is put into the log, what those who wait for it are told, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from perdure.clock import Clock
from perdure.engine.codec import INLINE_MAX, decode_value, handle_digest
from perdure.engine.events import AnyInput, Arrived
from perdure.errors import InputRefused
from perdure.operations.events import TEXT_BYTES_MAX, Published, emit, event_object
from perdure.store.contract import Batch, Store
from perdure.store.sqlite import open_store
from perdure.testing.stores.samples import NOW, a_subscription, an_event, began
from perdure.testing.world import JumpingClock


def emitted(*arguments: Any, **given: Any) -> tuple[Published, Store]:
    """An event put into a store of its own."""

    async def put() -> tuple[Published, Store]:
        store = await open_store(":memory:")
        return await emit(store, a_clock(), *arguments, **given), store

    return asyncio.run(put())


def a_clock() -> Clock:
    return JumpingClock(NOW)


def test_an_event_is_logged_with_all_that_was_said() -> None:
    """Type, data, subject, id, source, tenant, and the time of the clock; no execution emitted it."""
    given = {"subject": "A-17", "id": "e1", "source": "/shop", "tenant": "acme"}
    published, store = emitted("order.paid", {"by": "Ada"}, **given)
    assert published == Published(id="e1", new=True)
    ((position, event),) = asyncio.run(store.events(tenant="acme"))
    assert event_object(position, event) == {
        "position": 1, "id": "e1", "type": "order.paid", "source": "/shop", "subject": "A-17", "time": "2026-09-21T14:13:20Z",
        "execution": None, "data": {"by": "Ada"},
    }  # fmt: skip


def test_an_event_without_an_id_gets_one() -> None:
    """Twice without an id are two events; the id is told."""

    async def twice() -> None:
        store = await open_store(":memory:")
        published = [await emit(store, a_clock(), "order.paid") for _ in range(2)]
        assert [each.new for each in published] == [True, True]
        assert [event.id for _, event in await store.events()] == [each.id for each in published]
        assert len({each.id for each in published}) == 2

    asyncio.run(twice())


def test_the_same_id_is_one_event() -> None:
    """The second is told to be a repeat, whatever else it says; in another tenant it is another event."""

    async def repeat() -> None:
        store = await open_store(":memory:")
        first = await emit(store, a_clock(), "order.paid", 1, id="e1")
        again = await emit(store, a_clock(), "order.lost", "x" * 2_000, id="e1")
        other = await emit(store, a_clock(), "order.paid", 3, id="e1", tenant="acme")
        assert [first.new, again.new, other.new] == [True, False, True]
        assert [event.body for _, event in await store.events()] == [b"\x01"]

    asyncio.run(repeat())


def test_rule_48_who_waits_is_told_the_whole_event() -> None:
    """The message in the inbox is the engine's input, with all that an expression may ask of the event."""

    async def tell() -> None:
        store = await open_store(":memory:")
        (one,) = await began(store)
        await store.commit(Batch(subscriptions=[a_subscription(one, "order.paid")]))
        await emit(store, a_clock(), "order.paid", {"n": 1}, subject="A-17", id="e1", source="/shop")
        ((message),) = [arrived.message for arrived in await store.inbox(one)]
        assert (message.source, message.key, message.at, message.sender) == ("event", "e1", NOW, None)
        given = msgspec.msgpack.decode(message.body, type=AnyInput)
        assert isinstance(given, Arrived)
        assert (given.id, given.type, given.source, given.subject, given.at) == ("e1", "order.paid", "/shop", "A-17", NOW)
        assert decode_value(given.data) == {"n": 1}

    asyncio.run(tell())


def test_large_data_goes_by_the_blob_store() -> None:
    """Log and notice name it by its digest, the blob is there; a byte less stands inline."""

    async def put(size: int) -> tuple[Any, Store]:
        store = await open_store(":memory:")
        (one,) = await began(store)
        await store.commit(Batch(subscriptions=[a_subscription(one, "large")]))
        await emit(store, a_clock(), "large", "x" * size)
        ((_, event),) = await store.events()
        (arrived,) = await store.inbox(one)
        given = msgspec.msgpack.decode(arrived.message.body, type=AnyInput)
        assert isinstance(given, Arrived)
        assert bytes(given.data) == event.body
        return event, store

    header = 3  # of a text of 256 bytes and more
    event, _ = asyncio.run(put(INLINE_MAX - header))
    assert event_object(7, event)["data"] == "x" * (INLINE_MAX - header)
    event, store = asyncio.run(put(INLINE_MAX - header + 1))
    digest = handle_digest(event.body)
    assert digest is not None
    assert event_object(7, event)["data"] == {"$blob": digest.hex(), "size": INLINE_MAX + 1}
    assert decode_value(asyncio.run(store.blobs("default", [digest]))[digest]) == "x" * (INLINE_MAX - header + 1)


def test_an_event_of_a_workflow_names_its_execution() -> None:
    """As text, like everywhere."""

    async def show() -> dict[str, Any]:
        store = await open_store(":memory:")
        (one,) = await began(store)
        return event_object(3, an_event(one, body=b"\xc0"))

    assert asyncio.run(show())["execution"].startswith("ex_")


@pytest.mark.parametrize(
    "arguments, given, said",
    [
        (("",), {}, r"^type: Expected the type of the event, but it is empty"),
        (("x\ud800",), {}, r"^type: Expected a text in UTF-8"),
        (("x",), {"subject": "\ud800"}, r"^subject: "),
        (("x",), {"id": "\ud800"}, r"^id: "),
        (("x",), {"source": "\ud800"}, r"^source: "),
        (("é" * (TEXT_BYTES_MAX // 2 + 1),), {}, r"^type: Expected at most 1,024 bytes, but there are 1,026"),
        (("x",), {"subject": "x" * (TEXT_BYTES_MAX + 1)}, r"^subject: Expected at most 1,024 bytes, but there are 1,025"),
        (("x", float("nan")), {}, r"^data: "),
        (("x", {"a": [1, {"b": 1 << 63}]}), {}, r"^data\.a\[1\]\.b: "),
        (("x", object()), {}, r"^data: "),
        (("x", "x" * 99), {"payload_max": 100}, r"^data: Expected at most 100 bytes, but there are 101"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_its_name(arguments: tuple[Any, ...], given: dict[str, Any], said: str) -> None:
    """Nothing is in the log then, and the remedy says what to do."""

    async def put() -> None:
        store = await open_store(":memory:")
        with pytest.raises(InputRefused, match=said) as refused:
            await emit(store, a_clock(), *arguments, **given)
        assert refused.value.remedy
        assert await store.events() == []

    asyncio.run(put())


def test_texts_up_to_the_limit_are_kept() -> None:
    """A byte below the limit is no different from a short one."""
    published, store = emitted("x" * TEXT_BYTES_MAX, subject="y" * TEXT_BYTES_MAX, id="z" * TEXT_BYTES_MAX)
    ((_, event),) = asyncio.run(store.events(type="x" * TEXT_BYTES_MAX))
    assert (event.id, event.subject) == (published.id, "y" * TEXT_BYTES_MAX)
