"""Messages into inboxes: accepted once, kept until a step consumes them, and a homeless receiver is made due."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perdure.errors import NotFound
from perdure.ids import ExecutionId, id_text
from perdure.store.contract import Arrived, Message
from perdure.store.postgres.connection import Database, Session


async def send(database: Database, messages: Sequence[Message]) -> tuple[list[bool], dict[ExecutionId, str]]:
    """Put messages into inboxes in a transaction of their own; True per new one, and the homes of the receivers.

    Raises NotFound, and then none is sent.
    """
    async with database.transaction() as session:
        met = await session.rows("meet", sorted({message.execution for message in messages}))
        homes = {row["execution"]: row["home"] for row in met}
        unknown = [message.execution for message in messages if message.execution not in homes]
        if unknown:
            names = ", ".join(id_text(execution) for execution in dict.fromkeys(unknown[:3]))
            raise NotFound(
                f"Expected to send to executions of {database.place}, but it has no {names}.",
                remedy="Check the id, and that the store is the one you mean; nothing was sent.",
            )
        new = await deliver(session, messages)
    fresh = {id(message) for message in new}
    return [id(message) in fresh for message in messages], homes


async def deliver(session: Session, messages: Sequence[Message]) -> list[Message]:
    """The same within the transaction of the caller, whose receivers are locked; those that are new. To nobody: dropped."""
    first: dict[tuple[ExecutionId, str, str], Message] = {}
    for message in messages:
        first.setdefault((message.execution, message.source, message.key), message)
    given = sorted(first)
    accepted = await session.rows(
        "accept", [each for each, _, _ in given], [source for _, source, _ in given], [key for *_, key in given],
        [first[identity].at for identity in given],
    )  # fmt: skip
    fresh = {(row["execution"], row["source"], row["key"]) for row in accepted}
    new = [message for identity, message in first.items() if identity in fresh]
    if not new:
        return []
    await session.run(
        "put", [m.execution for m in new], [m.source for m in new], [m.key for m in new], [m.at for m in new],
        [m.sender for m in new], [m.body for m in new],
    )  # fmt: skip
    earliest: dict[ExecutionId, int] = {}
    for message in new:
        earliest[message.execution] = min(message.at, earliest.get(message.execution, message.at))
    roused = sorted(earliest)
    await session.run("rouse", roused, [earliest[execution] for execution in roused])
    session.count_bytes(sum(len(message.body) for message in new))
    return new


async def arrived(database: Database, worker: str, *, limit: int, after: int) -> list[Arrived]:
    """Messages for executions whose home is `worker`."""
    return [_read(row) for row in await database.all("arrived", worker, after, limit)]


async def inbox(database: Database, execution: ExecutionId, *, limit: int) -> list[Arrived]:
    """Messages for one execution."""
    return [_read(row) for row in await database.all("inbox", execution, limit)]


def _read(row: Any) -> Arrived:
    position, execution, source, key, at, body, sender = row
    message = Message(execution=execution, source=source, key=key, at=at, body=body, sender=sender)
    return Arrived(position=position, message=message)
