"""What goes when its time is over: finished executions, old events, large values that nothing names; and the room they took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from perdure.ids import ExecutionId
from perdure.store.contract import BlobName, Row, Space
from perdure.store.sqlite.connection import SQL, Database
from perdure.store.sqlite.records import read_row

LEFTOVERS_MAX = 100  # executions whose rows are cleared away in one transaction
FREE_SHARE = 5  # this part of the file stays free for what comes next: it would only be taken from the disk again
FILES_MAX = 100  # files that are unlinked at once

_AT_ONCE = (
    SQL["remove_snapshots"], SQL["remove_wakes"], SQL["remove_unsuccessful"], SQL["end_subscriptions"], SQL["end_locks"],
    SQL["remove_tasks"],
)  # fmt: skip
_LITTLE_BY_LITTLE = (SQL["clear_inbox"], SQL["clear_accepted"])
_BODIES = {"inbox": SQL["bodies_of_inbox"], "journal": SQL["bodies_of_journal"], "events": SQL["bodies_of_events"]}
_FIRST = ExecutionId(b"")


def look_for_finished(
    database: Database, before: int, *, after: ExecutionId | None, limit: int
) -> tuple[list[Row], ExecutionId | None]:
    """Of the next executions those that had ended before a time, and what to go on after."""
    bound = max(0, before // 1_000 + 1).to_bytes(6, "big")  # ids begin with the milliseconds of their start
    asked = {"before": before, "after": after or _FIRST, "bound": bound, "limit": limit}
    rows = database.all(SQL["look_for_finished"], asked)
    found = [read_row(row[1:]) for row in rows if row[0]]
    return found, rows[-1][1] if len(rows) == limit else None


def remove(database: Database, executions: Sequence[ExecutionId]) -> list[ExecutionId]:
    """Remove what is final of these; their journals are left behind for `clear`."""
    if not executions:
        return []
    with database.transaction:
        removed = database.all(SQL["remove"], (apsw.carray(tuple(executions)),))
        if not removed:
            return []
        ids = apsw.carray(tuple(row[0] for row in removed))
        for query in _AT_ONCE:
            database.all(query, (ids,))
        keyed = [(tenant, workflow, key, execution) for execution, tenant, workflow, key in removed if key]
        database.many(SQL["remove_key"], keyed)
        database.many(SQL["leave_behind"], [(execution, tenant) for execution, tenant, *_ in removed])
        _note_removals(database, tuple(row[0] for row in removed))
    return [row[0] for row in removed]


def _note_removals(database: Database, executions: tuple[bytes, ...]) -> None:
    """Note, for whoever reads the feed, up to where in it something is missing now."""
    last: dict[str, int] = {}
    for tenant, position in database.all(SQL["last_positions"], (apsw.carray(executions),)):
        last[tenant] = max(position, last.get(tenant, 0))
    noted = database.many_returning(SQL["note_removal"], list(last.items()))
    database.many(SQL["forget_removals"], noted)


def clear(database: Database, limit: int) -> int:
    """Clear away at most `limit` rows that removed executions have left behind; how many."""
    if not database.all(SQL["leftovers"], (1,)):
        return 0
    with database.transaction:
        executions = tuple(execution for (execution,) in database.all(SQL["leftovers"], (LEFTOVERS_MAX,)))
        done = _clear_journal(database, executions, limit)
        for query in _LITTLE_BY_LITTLE:
            if done >= limit:
                return done
            done += database.many(query, [(apsw.carray(executions), limit - done)])
        if done >= limit:
            return done
        return done + database.many(SQL["cleared"], [(apsw.carray(executions),)])


def _clear_journal(database: Database, executions: tuple[bytes, ...], limit: int) -> int:
    """Clear away journal rows. The database gives the position after the last row's to the next one: should the last row go,
    its position is kept, or a reader of the feed who is past it would miss what comes.
    """
    ((last,),) = database.all(SQL["last_position"])
    done = database.many(SQL["clear_journal"], [(apsw.carray(executions), limit)])
    if done:
        database.all(SQL["keep_position"], {"last": last})
        database.all(SQL["forget_positions"])
    return done


def give_back(database: Database, pages: int) -> int:
    """Give at most `pages` free pages back to the disk, but for those that stay for what comes next; how many."""
    free, total = database.number("PRAGMA freelist_count"), database.number("PRAGMA page_count")
    spare = min(pages, free - total // FREE_SHARE)
    if spare <= 0 or database.number("PRAGMA auto_vacuum") != 2:  # a file of an earlier release keeps them
        return 0
    with database.transaction:
        database.all(f"PRAGMA incremental_vacuum({spare})")
    return free - database.number("PRAGMA freelist_count")


def space(database: Database) -> Space:
    """What the file takes up, and what of it is free."""
    page = database.number("PRAGMA page_size")
    total, free = database.number("PRAGMA page_count"), database.number("PRAGMA freelist_count")
    return Space(total=total * page, free=free * page)


def forget_events(database: Database, before: int, limit: int) -> int:
    """Drop old events from the beginning of the log."""
    with database.transaction:
        return database.many(SQL["forget_events"], [{"before": before, "limit": limit}])


# -- large values -----------------------------------------------------------------------------------------------------


def bodies(database: Database, after: str, limit: int) -> tuple[list[tuple[ExecutionId | None, bytes]], str]:
    """A page of everything that may name large values: messages, then journals, then events."""
    table, _, position = (after or "inbox:0").partition(":")
    rows = database.all(_BODIES[table], (int(position), limit))
    found = [(ExecutionId(execution) if execution is not None else None, body) for _, execution, body in rows]
    if len(rows) == limit:
        return found, f"{table}:{rows[-1][0]}"
    tables = [*_BODIES, ""]
    following = tables[tables.index(table) + 1]
    return found, following and f"{following}:0"


def old_blobs(database: Database, unsaved: int, after: str, limit: int) -> tuple[list[BlobName], str]:
    """A page of the large values that nobody has saved for so long."""
    saved, _, number = (after or "-1:0").rpartition(":")
    asked = {"saved": int(saved), "number": int(number), "unsaved": unsaved, "limit": limit}
    rows = database.all(SQL["old_blobs"], asked)
    found = [BlobName(tenant=tenant, digest=digest, size=size) for _, _, tenant, digest, size in rows]
    return found, f"{rows[-1][0]}:{rows[-1][1]}" if len(rows) == limit else ""


def drop_blobs(database: Database, blobs: Sequence[BlobName], unsaved: int) -> list[BlobName]:
    """Drop the rows of large values; those that are files are noted as loose, for `unlink_loose`."""
    with database.transaction:
        rows = database.many_returning(SQL["drop_blob"], [(blob.tenant, blob.digest, unsaved) for blob in blobs])
        files = [(digest, unsaved) for _, digest, _, is_file in rows if is_file]
        if files:
            database.many(SQL["loosen"], files)
    return [BlobName(tenant=tenant, digest=digest, size=size) for tenant, digest, size, _ in rows]


def loose_files(database: Database) -> list[tuple[bytes, int]]:
    """Files that no row names: digest, and the moment before which they must have been written to go."""
    rows: list[tuple[Any, ...]] = database.all(SQL["loose_files"], (FILES_MAX,))
    return [(digest, moment) for digest, moment in rows]


def forget_files(database: Database, digests: Sequence[bytes]) -> None:
    """Files are gone, or have a row again."""
    with database.transaction:
        database.many(SQL["forget_file"], [(digest,) for digest in digests])
        database.all(SQL["forget_named_files"])


# -- who does it ------------------------------------------------------------------------------------------------------


def lease(database: Database, name: str, holder: str, now: int, until: int) -> bool:
    """Have a chore alone until a moment."""
    with database.transaction:
        return database.many(SQL["lease"], [{"name": name, "holder": holder, "now": now, "until": until}]) == 1
