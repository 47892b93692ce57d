"""Workers and what they are the home of: registering, leaving, and claiming what has no living home."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping, Sequence

import apsw
import msgspec

from perdure.errors import StoreError
from perdure.ids import ExecutionId
from perdure.labels import labels_from, labels_text
from perdure.store.contract import Load, Row, Worker, read_load
from perdure.store.sqlite.connection import SQL, Database
from perdure.store.sqlite.presence import Presence
from perdure.store.sqlite.records import read_row

PRIORITIES = range(1, 6)


def register(
    database: Database, presence: Presence, worker: str, *, now: int, level: int, labels: Mapping[str, str]
) -> None:  # fmt: skip
    """Become known as a home, and let go what an earlier process of that name held."""
    new = not presence.holds(worker)
    try:
        with database.transaction:
            presence.hold(worker)
            if new:
                _free(database, worker)
            database.all(SQL["save_worker"], (worker, socket.gethostname(), os.getpid(), now, level, labels_text(labels)))
    except BaseException:
        if new and presence.holds(worker):
            presence.let_go(worker)
        raise


def leave(database: Database, presence: Presence, worker: str) -> None:
    """No longer a home: what it held is due at once, for anybody. A worker that is not registered here is left alone."""
    if not presence.holds(worker):
        return
    with database.transaction:
        _free(database, worker)
        database.all(SQL["drop_worker"], (worker,))
    database.tenants.clear()
    presence.let_go(worker)


def workers(database: Database, presence: Presence) -> list[Worker]:
    """All known workers, the dead ones too, until a claim has taken over what they held."""
    return [
        Worker(
            worker=worker, host=host, pid=pid, started=started, level=level, alive=presence.alive(worker), heard=heard,
            load=read_load(load), labels=labels_from(labels),
        )
        for worker, host, pid, started, level, heard, load, labels in database.all(SQL["workers"])
    ]  # fmt: skip


def report(database: Database, presence: Presence, worker: str, load: Load, *, now: int) -> None:
    """Keep what a worker is doing, if it is one here."""
    if presence.holds(worker):
        with database.transaction:
            database.all(SQL["save_load"], (msgspec.json.encode(load).decode(), now, worker))


def claim(
    database: Database, presence: Presence, worker: str, now: int, *, limit: int, level: int, only: Sequence[ExecutionId] | None
) -> list[Row]:
    """Make `worker` the home of what may be claimed, in one transaction."""
    if not presence.holds(worker):
        raise StoreError(
            f"Expected {worker!r} to be registered with this store before it claims, but it is not.",
            remedy="Register the worker first; after `leave` it must register anew.",
        )
    # Most polls find nothing: they must not take the write lock from those who work.
    if not _claimable(database, presence, now, limit, level, only) and not _dead_workers(database, presence):
        return []
    with database.transaction:
        taken = _claimable(database, presence, now, limit, level, only)
        rows = _take(database, worker, taken) if taken else []
        _forget_dead(database, presence)
    for row in rows:
        database.remember_tenant(row.execution, row.tenant)
    return rows


def _claimable(
    database: Database, presence: Presence, now: int, limit: int, level: int, only: Sequence[ExecutionId] | None
) -> list[ExecutionId]:
    if limit < 1:
        return []
    if only is not None:
        return _wanted(database, presence, only, level)[:limit]
    dead = [home for (home,) in database.all(SQL["homes"]) if not presence.alive(home)]
    if not dead and database.one(SQL["any_waiting"], {"now": now}) == (0,):
        return []
    found: dict[ExecutionId, None] = {}
    for priority in PRIORITIES:
        rest = limit - len(found)
        asked = {"priority": priority, "level": level, "limit": rest}
        waiting = database.all(SQL["due"], {**asked, "now": now}) + database.all(SQL["called"], asked)
        for home in dead:
            waiting += database.all(SQL["orphaned"], {**asked, "home": home})
        # One may be both due and called.
        found |= dict.fromkeys(list(dict.fromkeys(execution for _, execution in sorted(waiting)))[:rest])
        if len(found) >= limit:
            break
    return list(found)


def _wanted(database: Database, presence: Presence, only: Sequence[ExecutionId], level: int) -> list[ExecutionId]:
    if not only:
        return []
    rows = database.all(SQL["wanted"], {"only": apsw.carray(tuple(only)), "level": level})
    living = {home for *_, home in rows if home and presence.alive(home)}
    return [execution for _, _, execution, home in sorted(rows) if home not in living]


def _take(database: Database, worker: str, executions: list[ExecutionId]) -> list[Row]:
    rows = {row[0]: read_row(row) for row in database.all(SQL["rows_to_take"], (apsw.carray(tuple(executions)),))}
    database.many(SQL["take"], [(worker, execution) for execution in executions])
    database.many(SQL["forget_wake"], [(execution,) for execution in executions])
    return [rows[execution] for execution in executions]


def _dead_workers(database: Database, presence: Presence) -> list[str]:
    return [worker for worker, *_ in database.all(SQL["workers"]) if not presence.alive(worker)]


def _forget_dead(database: Database, presence: Presence) -> None:
    """Clean up after the dead whose executions have all been taken over."""
    gone = [worker for worker in _dead_workers(database, presence) if database.one(SQL["is_home"], {"home": worker}) == (0,)]
    _drop(database, gone)
    for worker in gone:
        presence.remove(worker)


def _drop(database: Database, gone: Iterable[str]) -> None:
    names = [(worker,) for worker in gone]
    database.many(SQL["free"], names)  # final ones, which nobody needs to take over
    database.many(SQL["drop_worker"], names)


def _free(database: Database, worker: str) -> None:
    database.all(SQL["free_wakes"], {"home": worker})
    database.all(SQL["free"], (worker,))
