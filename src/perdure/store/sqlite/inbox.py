"""Messages into inboxes: accepted once, kept until a step consumes them, and a homeless receiver is made due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perdure.errors import NotFound
from perdure.ids import ExecutionId, id_text
from perdure.store.contract import Arrived, Message
from perdure.store.sqlite.connection import SQL, Database


def send(database: Database, messages: Sequence[Message]) -> list[bool]:
    """Put messages into inboxes in a transaction of their own; True per new one. Raises NotFound, and then none is sent."""
    if not messages:
        return []
    with database.transaction:
        tenants = database.find_tenants(message.execution for message in messages)
        unknown = [message.execution for message in messages if message.execution not in tenants]
        if unknown:
            names = ", ".join(id_text(execution) for execution in dict.fromkeys(unknown[:3]))
            raise NotFound(
                f"Expected to send to executions of {database.place}, but it has no {names}.",
                remedy="Check the id, and that the store is the one you mean; nothing was sent.",
            )
        return deliver(database, messages, tenants)


def deliver(database: Database, messages: Sequence[Message], tenants: Mapping[ExecutionId, str]) -> list[bool]:
    """The same within the transaction of the caller; every receiver's tenant is known."""
    fresh = set(
        database.many_returning(
            SQL["accept"],
            [(each.execution, each.source, each.key, tenants[each.execution], each.at) for each in messages],
        )
    )
    new = []
    answers = []
    for each in messages:
        identity = (each.execution, each.source, each.key)
        answers.append(identity in fresh)
        if identity in fresh:
            fresh.remove(identity)  # the second of two alike in one call is a repeat
            new.append(each)
    database.many(
        SQL["put"],
        [(each.execution, tenants[each.execution], each.source, each.key, each.sender, each.at, each.body) for each in new],
    )
    database.many(SQL["rouse"], [{"execution": each.execution, "at": each.at} for each in new])
    database.bytes += sum(len(each.body) for each in new)
    return answers


def arrived(database: Database, worker: str, *, limit: int, after: int) -> list[Arrived]:
    """Messages for executions whose home is `worker`."""
    return [_read(*row) for row in database.all(SQL["arrived"], (after, worker, limit))]


def inbox(database: Database, execution: ExecutionId, *, limit: int) -> list[Arrived]:
    """Messages for one execution."""
    return [_read(*row) for row in database.all(SQL["inbox"], (execution, limit))]


def _read(
    position: int, execution: ExecutionId, source: str, key: str, at: int, body: bytes, sender: ExecutionId | None
) -> Arrived:
    message = Message(execution=execution, source=source, key=key, at=at, body=body, sender=sender)
    return Arrived(position=position, message=message)
