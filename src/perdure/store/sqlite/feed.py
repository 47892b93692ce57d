"""The feed: journal rows by position, which grows in the order of commits, since one transaction writes at a time."""

from __future__ import annotations

from typing import Any

from perdure.store.feed import FeedPage, Looked, Selection, Standing, at_end, page, page_of_execution, read_cursor
from perdure.store.sqlite.connection import SQL, Database

STORE = "sqlite"


def read_feed(database: Database, *, after: str, selection: Selection, limit: int, latest: bool) -> FeedPage:
    """The next steps after a cursor. Raises CursorRefused, NotFound."""
    cursor = read_cursor(after, STORE, selection)
    if selection.execution is not None:
        own = {"execution": selection.execution, "after": cursor.last_seq, "limit": limit}
        return page_of_execution(
            cursor, database.all(SQL["feed_of_execution"], own), selection=selection, limit=limit, latest=latest
        )
    asked: dict[str, Any] = {
        "number": cursor.number, "execution": cursor.execution, "removals": cursor.removals, "tenant": selection.tenant,
        "after": cursor.number - 1 if cursor.facts else cursor.number, "limit": 0 if latest else limit,
    }  # fmt: skip
    rows = database.all(SQL["feed"], asked)
    history, last, found, found_seq, reached, removals, gap, *_ = rows[0]
    standing = Standing(
        history=history, end=last or 0, found=(cursor.number, found, found_seq) if found is not None else None, reached=reached,
        removals=removals or 0, gap=bool(gap),
    )  # fmt: skip
    if latest:
        return at_end(cursor, standing)
    looked = [
        Looked(
            number=number, execution=execution, first_seq=first_seq, count=count, at=at, level=level, tenant=tenant, body=body,
            stays=bool(stays),
        )
        for *_, number, execution, first_seq, count, at, level, tenant, body, stays in rows if number is not None
    ]  # fmt: skip
    looked.sort(key=lambda row: row.number)  # they come so, which only an order of the whole would promise
    return page(cursor, standing, looked, selection=selection, limit=limit)
