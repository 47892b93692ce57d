"""The event log and who waits for it: what is new in the log reaches its subscribers in the same transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from perdure.ids import ExecutionId
from perdure.store.contract import Event, Subscription
from perdure.store.sqlite.connection import SQL, Database

_FROM_OUTSIDE = b""  # where the id of the emitting execution stands


def publish(database: Database, events: Sequence[Event]) -> list[bool]:
    """Append events in a transaction of their own and tell their subscribers; True per new one."""
    if not events:
        return []
    with database.transaction:
        answers = append_events(database, events)
        notify(database, [event for event, new in zip(events, answers, strict=True) if new])
    return answers


def append_events(database: Database, events: Sequence[Event]) -> list[bool]:
    """Append events within the transaction of the caller; True per new one."""
    fresh = set(
        database.many_returning(
            SQL["emit"],
            [(e.tenant, e.id, e.type, e.source, e.subject, e.at, e.execution or _FROM_OUTSIDE, e.body) for e in events],
        )
    )
    answers = []
    for event in events:
        identity = (event.tenant, event.id)
        answers.append(identity in fresh)
        fresh.discard(identity)  # the second of two alike in one call is a repeat
    database.bytes += sum(len(event.body) for event, new in zip(events, answers, strict=True) if new)
    return answers


def notify(database: Database, events: Sequence[Event]) -> None:
    """Send the notices of events that are in the log to all who wait for their types, within the transaction of the caller.

    Whoever got an event already does not get it again. Subscribers are never read: for one or for ten thousand of them the
    statements are the same.
    """
    types = list(dict.fromkeys((event.tenant, event.type) for event in events))
    awaited = set(database.many_returning(SQL["awaited"], [{"tenant": tenant, "type": name} for tenant, name in types]))
    if not awaited:
        return
    heard = [event for event in events if (event.tenant, event.type) in awaited]
    notices = [
        {"tenant": e.tenant, "type": e.type, "id": e.id, "sender": e.execution, "at": e.at, "notice": e.notice} for e in heard
    ]
    database.many(SQL["notify"], notices)
    database.many(SQL["rouse_notified"], notices)
    database.many(SQL["accept_notified"], notices)
    database.bytes += sum(len(event.notice) for event in heard)


def subscribe(database: Database, subscriptions: Iterable[Subscription]) -> None:
    """Executions begin to wait; those that do already go on."""
    database.many(SQL["subscribe"], [(each.tenant, each.type, each.execution) for each in subscriptions])


def unsubscribe(database: Database, subscriptions: Iterable[Subscription]) -> None:
    """Executions wait no more; those that never did are left alone."""
    database.many(SQL["unsubscribe"], [(each.tenant, each.type, each.execution) for each in subscriptions])


def read_events(
    database: Database, *, tenant: str, type: str | None, after: int, since: int, limit: int, latest: bool
) -> list[tuple[int, Event]]:
    """Events in the order of the log, each with its position: the first beyond `after`, or the last."""
    if since and type is not None and not after and not latest:
        # What is older is skipped at one go, however long the log is; whoever pages on is beyond it already.
        (first,) = database.one(SQL["first_event_since"], (tenant, type, since)) or (None,)
        if first is None:
            return []
        after = first - 1
    asked: dict[str, str | int] = {"tenant": tenant, "after": after, "since": since, "limit": limit}
    if type is not None:
        asked["type"] = type
        rows = database.all(SQL["latest_events_of_type"] if latest else SQL["events_of_type"], asked)
    else:
        rows = database.all(SQL["latest_events"] if latest else SQL["events"], asked)
    if latest:
        rows.reverse()
    return [(row[0], _read_event(row[1:])) for row in rows]


def _read_event(row: tuple[Any, ...]) -> Event:
    key, tenant, kind, source, subject, at, execution, body = row
    emitter = ExecutionId(execution) if execution != _FROM_OUTSIDE else None
    return Event(id=key, tenant=tenant, type=kind, source=source, subject=subject, at=at, execution=emitter, body=body)
