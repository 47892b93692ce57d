"""The feed: journal rows by the transactions that wrote them, up to the oldest one that is still open anywhere in the server.

A transaction has its number from its first write on and commits when it likes, so rows with small numbers appear after rows
with larger ones. Below the oldest number still at work none appears any more; up to there, and no further, readers go.
"""

from __future__ import annotations

from perdure.store.feed import FeedLag, FeedPage, Looked, Selection, Standing, at_end, page, page_of_execution, read_cursor
from perdure.store.postgres.connection import Database

STORE = "postgresql"


async def read_feed(database: Database, *, after: str, selection: Selection, limit: int, latest: bool) -> FeedPage:
    """The next steps after a cursor. Raises CursorRefused, NotFound."""
    cursor = read_cursor(after, STORE, selection)
    if selection.execution is not None:
        own = await database.all("feed_of_execution", selection.execution, cursor.last_seq, limit)
        return page_of_execution(cursor, [tuple(row) for row in own], selection=selection, limit=limit, latest=latest)
    rows = await database.all(
        "feed", str(cursor.number), cursor.execution, cursor.last_seq, 0 if latest else limit, cursor.removals,
        selection.tenant, cursor.first_seq,
    )  # fmt: skip
    history, horizon, found, reached, removals, gap, *_ = rows[0]
    standing = Standing(
        history=history, end=int(horizon) - 1, reached=reached, removals=removals or 0, gap=gap,
        found=(int(found), cursor.execution, cursor.first_seq) if found is not None else None,
    )  # fmt: skip
    if latest:
        return at_end(cursor, standing)
    looked = [
        Looked(
            number=int(xid), execution=execution, first_seq=first_seq, count=count, at=at, level=level, tenant=tenant,
            body=body, stays=stays,
        )
        for *_, xid, execution, first_seq, count, at, level, tenant, body, stays in map(tuple, rows) if xid is not None
    ]  # fmt: skip
    return page(cursor, standing, looked, selection=selection, limit=limit)


async def find_lag(database: Database) -> FeedLag | None:
    """Who holds the feed up, if anybody does."""
    row = await database.one("feed_lag")
    if row is None:
        return None
    prepared = f"prepared as {row['prepared']}" if row["prepared"] is not None else ""
    about = (f"process {row['pid']}" if row["pid"] else "", prepared, row["state"])
    named = (f"{what} {row[what]}" for what in ("user", "database", "application") if row[what])
    return FeedLag(
        now=row["now"], waits=row["waits"], began=row["began"], who=", ".join((*filter(None, about), *named)), pid=row["pid"]
    )
