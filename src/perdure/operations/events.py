"""The event log from outside: events put into it, for whoever waits for them, and shown."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from perdure.clock import Clock
from perdure.engine.codec import decode_value, encode_value, handle_digest, handle_size
from perdure.engine.events import Arrived
from perdure.engine.names import time_text
from perdure.errors import InputRefused
from perdure.ids import id_text, new_key
from perdure.operations.values import checked, inline_or_handle, refuse_what_is_no_text
from perdure.store.contract import TENANT, Blob, Event, Store

TEXT_BYTES_MAX = 1_024
"""Type, subject, id and source stand in the journal of each execution that waits for the event: data belongs in the data."""


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an event. `new` False: one with this id is in the log already, and nobody hears of it again."""

    id: str
    new: bool


async def emit(
    store: Store,
    clock: Clock,
    type: str,
    data: Any = None,
    *,
    subject: str = "",
    id: str = "",
    source: str = "",
    tenant: str = TENANT,
    payload_max: int = 64 << 20,
) -> Published:
    """Put an event into the log; durable, and on its way to all who wait for its type, when this returns.

    The same `id` twice is one event; none given: a new one. Raises InputRefused, StoreError; nothing is in the log then.
    """
    _refuse_what_is_no_name(type=type, subject=subject, id=id, source=source)
    if not type:
        raise InputRefused("type: Expected the type of the event, but it is empty.", remedy="Name one, such as order.paid.")
    raw, blobs = inline_or_handle(checked(data, "data", payload_max=payload_max))
    if blobs:
        await store.save_blobs([Blob(tenant=tenant, digest=digest, body=body) for digest, body in blobs.items()])
    identity = id or new_key()
    now = clock.now()
    notice = Arrived(id=identity, type=type, source=source, subject=subject, at=now, data=raw)
    event = Event(
        id=identity, tenant=tenant, type=type, source=source, subject=subject, at=now, execution=None, body=bytes(raw),
        notice=encode_value(notice),
    )  # fmt: skip
    (new,) = await store.publish([event])
    return Published(id=identity, new=new)


def event_object(position: int, event: Event) -> dict[str, Any]:
    """An event of the log as a plain object. Large data is `{"$blob": digest, "size": bytes}`, as in a journal."""
    return {
        "position": position, "id": event.id, "type": event.type, "source": event.source, "subject": event.subject,
        "time": time_text(event.at), "execution": id_text(event.execution) if event.execution is not None else None,
        "data": _data(Raw(event.body)),
    }  # fmt: skip


def _data(raw: Raw) -> Any:
    digest = handle_digest(raw)
    return decode_value(raw) if digest is None else {"$blob": digest.hex(), "size": handle_size(raw)}


def _refuse_what_is_no_name(**texts: str) -> None:
    refuse_what_is_no_text(**texts)
    for name, text in texts.items():
        size = len(text.encode())
        if size > TEXT_BYTES_MAX:
            raise InputRefused(
                f"{name}: Expected at most {TEXT_BYTES_MAX:,} bytes, but there are {size:,}.",
                remedy="Put it into the data, which may be large.",
            )
