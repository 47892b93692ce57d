"""The event log and who waits for it: what is new in the log reaches its subscribers in the same transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from perdure.ids import ExecutionId
from perdure.store.contract import Event, Subscription
from perdure.store.postgres.connection import Database, Session

_FROM_OUTSIDE = b""  # where the id of the emitting execution stands


async def publish(database: Database, events: Sequence[Event]) -> tuple[list[bool], list[str]]:
    """Append events in a transaction of their own and tell their subscribers; True per new one, and the subscribers' homes."""
    async with database.transaction() as session:
        await queue(session, events, ())
        met = await session.rows("meet", sorted(await awaiting(session, events)))
        new = await append_events(session, events)
        if new:
            await notify(session, new)
    fresh = {id(event) for event in new}
    return [id(event) in fresh for event in events], [row["home"] for row in met] if new else []


async def queue(session: Session, events: Iterable[Event], subscriptions: Iterable[Subscription]) -> None:
    """Stand in line for types of events: who appends one after another, who begins to wait together, the two apart."""
    written = {_type_number(event.tenant, event.type) for event in events}
    read = {_type_number(each.tenant, each.type) for each in subscriptions} - written
    # By number over both, so that two who stand in several lines cannot wait for each other.
    for number in sorted(written | read):
        await session.rows("queue_writers" if number in written else "queue_readers", [number])


async def awaiting(session: Session, events: Sequence[Event]) -> set[ExecutionId]:
    """The executions that wait for events of these types."""
    types = sorted({(event.tenant, event.type) for event in events})
    if not types:
        return set()
    rows = await session.rows("subscribers", [tenant for tenant, _ in types], [name for _, name in types])
    return {row["execution"] for row in rows}


async def append_events(session: Session, events: Sequence[Event]) -> list[Event]:
    """Append events within the transaction of the caller; those that are new."""
    first: dict[tuple[str, str], Event] = {}
    for event in events:
        first.setdefault((event.tenant, event.id), event)
    given = list(first.values())
    added = await session.rows(
        "emit", [e.tenant for e in given], [e.id for e in given], [e.type for e in given], [e.source for e in given],
        [e.subject for e in given], [e.at for e in given], [e.execution or _FROM_OUTSIDE for e in given],
        [e.body for e in given],
    )  # fmt: skip
    new = [first[row["tenant"], row["id"]] for row in added]
    session.count_bytes(sum(len(event.body) for event in new))
    return new


async def notify(session: Session, events: Sequence[Event]) -> None:
    """Send the notices of events that are in the log to all who wait for their types, within the transaction of the caller.

    Whoever got an event already does not get it again. For one subscriber or for ten thousand the statements are the same.
    """
    tenants, types = [e.tenant for e in events], [e.type for e in events]
    ids, times = [e.id for e in events], [e.at for e in events]
    told = await session.run("notify", tenants, types, ids, times, [e.execution for e in events], [e.notice for e in events])
    if told:
        await session.run("rouse_notified", tenants, types, ids, times)
        await session.run("accept_notified", tenants, types, ids, times)
        session.count_bytes(sum(len(event.notice) for event in events))


async def subscribe(session: Session, subscriptions: Sequence[Subscription]) -> None:
    """Executions begin to wait; those that do already go on."""
    await session.run("subscribe", *_columns(subscriptions))


async def unsubscribe(session: Session, subscriptions: Sequence[Subscription]) -> None:
    """Executions wait no more; those that never did are left alone."""
    await session.run("unsubscribe", *_columns(subscriptions))


async def read_events(
    database: Database, *, tenant: str, type: str | None, after: int, since: int, limit: int, latest: bool
) -> list[tuple[int, Event]]:
    """Events in the order of the log, each with its position: the first beyond `after`, or the last."""
    if since and type is not None and not after and not latest:
        # What is older is skipped at one go, however long the log is; whoever pages on is beyond it already.
        first = (await database.one("first_event_since", tenant, type, since))["position"]
        if first is None:
            return []
        after = first - 1
    if type is not None:
        name = "latest_events_of_type" if latest else "events_of_type"
        rows = await database.all(name, tenant, after, since, limit, type)
    else:
        rows = await database.all("latest_events" if latest else "events", tenant, after, since, limit)
    if latest:
        rows.reverse()
    return [(row["position"], _read_event(row)) for row in rows]


def _columns(subscriptions: Sequence[Subscription]) -> tuple[list[str], list[str], list[ExecutionId]]:
    rows = sorted({(each.tenant, each.type, each.execution) for each in subscriptions})
    return [tenant for tenant, _, _ in rows], [name for _, name, _ in rows], [execution for *_, execution in rows]


def _type_number(tenant: str, name: str) -> int:
    """A type of events as a number of 64 bits; two that share one only wait for each other."""
    digest = hashlib.sha256(b"\0".join((tenant.encode(errors="replace"), name.encode(errors="replace")))).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _read_event(row: Any) -> Event:
    _, key, tenant, kind, source, subject, at, execution, body = row
    emitter = ExecutionId(execution) if execution != _FROM_OUTSIDE else None
    return Event(id=key, tenant=tenant, type=kind, source=source, subject=subject, at=at, execution=emitter, body=body)
