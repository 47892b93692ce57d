"""The group commit: what a batch writes, in which order, and what happens when part of it may not be written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import apsw

from perdure.ids import ExecutionId
from perdure.store.contract import FIRST_FINAL, Batch, Blob, Committed, Event, Message, Start, Turn
from perdure.store.shares import Halving, blob_refused, check_emitters, out_of_step, started_twice, without
from perdure.store.sqlite import tasks
from perdure.store.sqlite.connection import REFUSALS, SQL, Database
from perdure.store.sqlite.events import append_events, notify, subscribe, unsubscribe
from perdure.store.sqlite.inbox import deliver
from perdure.store.sqlite.locks import unlock

BLOB_ROW_BYTES_MAX = 256 << 10  # larger bodies are files: a page cache and a log are no place for them


_STATUS = 7  # where the status stands in the first row of an execution


class _Displaced(Exception):
    """Fewer rows were written than meant: an epoch moved on, or a key or an id is taken."""


def commit(database: Database, batch: Batch) -> Committed:
    """Write a batch (its large blobs are files already). Raises ExecutionsRefused, or the driver's error and writes nothing."""
    check_emitters(batch)
    try:
        try:
            committed, _ = _write(database, batch)
        except REFUSALS as refusal:
            _write_halves(database, batch, refusal)
    except BaseException:
        # Memory must not know what the disk does not.
        _forget_tenants(database, (start.execution for start in batch.starts))
        raise
    _forget_tenants(database, (turn.execution for turn in batch.turns if turn.release))
    if committed.fenced or committed.duplicates:
        _forget_tenants(database, committed.fenced | committed.duplicates)
    return committed


def save_blobs(database: Database, blobs: Iterable[Blob]) -> None:
    """Write blobs in the transaction of the caller: small ones with their bodies, large ones as the names of their files."""
    rows = [
        (blob.tenant, blob.digest, len(blob.body), None if is_file(database, len(blob.body)) else blob.body) for blob in blobs
    ]
    database.many(SQL["save_blob"], rows)
    database.bytes += sum(size for _, _, size, _ in rows)


def save_blobs_alone(database: Database, blobs: Iterable[Blob]) -> None:
    """Write blobs in a transaction of their own."""
    with database.transaction:
        save_blobs(database, blobs)


def is_file(database: Database, size: int) -> bool:
    """Whether a blob of `size` bytes lies beside the database and not in it."""
    return size > BLOB_ROW_BYTES_MAX and not database.in_memory


# -- one transaction --------------------------------------------------------------------------------------------------
def _write(database: Database, batch: Batch, told: Sequence[Event] = ()) -> tuple[Committed, list[Event]]:
    """Write a batch, or what others leave of it; what became of it, and the events that are new in the log.

    `told`: events of the same batch that were written ahead, which who begins to wait here gets too.
    """
    try:
        with database.transaction:
            return Committed(), _write_rows(database, batch, told)
    except _Displaced:
        pass
    # Under the lock nobody can move an epoch between finding out who was displaced and writing the rest.
    with database.transaction:
        fenced, duplicates = _find_displaced(database, batch)
        try:
            fresh = _write_rows(database, without(batch, fenced | duplicates), told)
        except _Displaced:
            raise started_twice() from None
    return Committed(fenced=fenced, duplicates=duplicates), fresh


def _write_rows(database: Database, batch: Batch, told: Sequence[Event]) -> list[Event]:
    first_turns = _start(database, batch.starts, batch.turns) if batch.starts else {}
    if batch.turns:
        _move_on(database, batch.turns, first_turns)
    if batch.blobs:
        save_blobs(database, batch.blobs)
    if batch.snapshots:
        _save_snapshots(database, batch)
    if batch.unlocks:
        unlock(database, batch.unlocks)
    if batch.unsubscriptions:
        unsubscribe(database, batch.unsubscriptions)
    if batch.subscriptions:
        subscribe(database, batch.subscriptions)
    if batch.tasks or batch.task_stops or batch.task_ends:
        tasks.write(database, batch)
    ended = [turn for turn in batch.turns if turn.status >= FIRST_FINAL]
    if ended:
        _end(database, ended)
    fresh = _emit(database, batch.events) if batch.events else []
    heard = [*told, *fresh] if batch.subscriptions else fresh
    if heard:
        notify(database, heard)
    if batch.messages:
        _deliver(database, batch.messages)
    return fresh


def _start(database: Database, starts: list[Start], turns: list[Turn]) -> dict[ExecutionId, Turn]:
    """Write the rows of new executions as their first turns leave them, so that these need no fence; those turns."""
    first_turns = {turn.execution: turn for turn in reversed(turns)}
    if any(start.execution in first_turns and first_turns[start.execution].first_seq != 1 for start in starts):
        raise _Displaced
    keyed = [(s.tenant, s.workflow, s.key, s.execution, s.fingerprint) for s in starts if s.key]
    if keyed and database.many(SQL["take_keys"], keyed) != len(keyed):
        raise _Displaced
    rows = [_first_row(start, first_turns.get(start.execution)) for start in starts]
    if database.many(SQL["start"], rows) != len(rows):
        raise _Displaced
    database.many(SQL["begin"], [(row[0], row[1]) for row in rows if row[_STATUS] < FIRST_FINAL])
    for start in starts:
        database.remember_tenant(start.execution, start.tenant)
    return {start.execution: first_turns[start.execution] for start in starts if start.execution in first_turns}


def _first_row(start: Start, turn: Turn | None) -> tuple[Any, ...]:
    if turn is None:
        updated, status, home, epoch, seq, level = start.created, 0, start.home, 0, 0, 0
    else:
        updated, status, epoch, seq, level = turn.at, turn.status, turn.epoch, turn.first_seq + turn.count - 1, turn.level
        home = "" if turn.release else start.home
    return (
        start.execution, start.tenant, start.workflow, start.digest, start.created, updated, start.priority, status, home,
        epoch, seq, level, start.key,
    )  # fmt: skip


def _move_on(database: Database, turns: list[Turn], first_turns: Mapping[ExecutionId, Turn]) -> None:
    going_on = [turn for turn in turns if first_turns.get(turn.execution) is not turn] if first_turns else turns
    _fence(database, SQL["fence"], [turn for turn in going_on if not turn.release])
    _fence(database, SQL["fence_and_release"], [turn for turn in going_on if turn.release])
    tenants = _tenants(database, turns)
    rows = [(t.execution, t.first_seq, t.count, t.at, t.level, tenants[t.execution], t.body) for t in turns if t.count]
    database.many(SQL["append"], rows)
    database.bytes += sum(len(row[6]) for row in rows)
    consumed = [(position, t.execution) for t in turns if t.consumed for position in t.consumed]
    if consumed and database.many(SQL["consume"], consumed) != len(consumed):
        raise apsw.ConstraintError("a message that the step consumed is not in the inbox any more")
    released = [t for t in turns if t.release]
    if released:
        _note_wakes(database, released)


def _fence(database: Database, sql: str, turns: list[Turn]) -> None:
    rows = [(t.first_seq + t.count - 1, t.status, t.level, t.at, t.execution, t.epoch, t.first_seq - 1) for t in turns]
    if rows and database.many(sql, rows) != len(rows):
        raise _Displaced


def _note_wakes(database: Database, turns: list[Turn]) -> None:
    database.many(SQL["forget_wake"], [(t.execution,) for t in turns if t.wake is None])
    database.many(SQL["remember_wake"], [{"execution": t.execution, "wake": t.wake, "at": t.at} for t in turns])


def _save_snapshots(database: Database, batch: Batch) -> None:
    tenants = database.find_tenants(each.execution for each in batch.snapshots)
    if len(tenants) < len({each.execution for each in batch.snapshots}):
        raise apsw.ConstraintError("a snapshot is of an execution that does not exist")
    database.many(
        SQL["save_snapshot"],
        [(each.execution, tenants[each.execution], each.seq, each.fold, each.body) for each in batch.snapshots],
    )
    database.bytes += sum(len(each.body) for each in batch.snapshots)


def _end(database: Database, ended: list[Turn]) -> None:
    """An execution that has ended is no longer among the unfinished, waits for no event and holds no lock."""
    executions = apsw.carray(tuple(turn.execution for turn in ended))
    without_success = [turn.execution for turn in ended if turn.status > FIRST_FINAL]
    if without_success:
        tenants = database.find_tenants(without_success)
        database.many(SQL["end_without_success"], list(tenants.items()))
    database.all(SQL["end"], (executions,))
    database.all(SQL["end_subscriptions"], (executions,))
    database.all(SQL["end_locks"], (executions,))


def _emit(database: Database, events: list[Event]) -> list[Event]:
    return [event for event, new in zip(events, append_events(database, events), strict=True) if new]


def _deliver(database: Database, messages: list[Message]) -> None:
    tenants = database.find_tenants(message.execution for message in messages)
    known = [message for message in messages if message.execution in tenants]
    deliver(database, known, tenants)


def _tenants(database: Database, turns: list[Turn]) -> dict[ExecutionId, str]:
    tenants = database.tenants
    strangers = [turn.execution for turn in turns if turn.execution not in tenants]
    if strangers:
        for execution, tenant in database.find_tenants(strangers).items():
            database.remember_tenant(execution, tenant)
        if any(turn.execution not in tenants for turn in turns):  # the memory was full and began anew
            return database.find_tenants(turn.execution for turn in turns)
    return tenants


def _forget_tenants(database: Database, executions: Iterable[ExecutionId]) -> None:
    for execution in executions:
        database.tenants.pop(execution, None)


# -- when others were first ---------------------------------------------------------------------------------------------
def _find_displaced(database: Database, batch: Batch) -> tuple[frozenset[ExecutionId], frozenset[ExecutionId]]:
    """Who is fenced, and which starts are duplicates of others (in the database, or earlier in the batch)."""
    standings = _standings(database, [start.execution for start in batch.starts] + [turn.execution for turn in batch.turns])
    keys = [(start.tenant, start.workflow, start.key) for start in batch.starts if start.key]
    taken = {tuple(row[2:]) for row in database.many_returning(SQL["keyed"], keys)}
    there = set(standings)
    new = {start.execution for start in batch.starts} - there
    standings |= {turn.execution: (turn.epoch, 0) for turn in reversed(batch.turns) if turn.execution in new}
    fenced = out_of_step(batch.turns, standings)
    duplicates: set[ExecutionId] = set()
    for start in batch.starts:
        key = (start.tenant, start.workflow, start.key)
        if start.execution in there or key in taken:
            duplicates.add(start.execution)
        elif start.parent in fenced or start.parent in duplicates:
            fenced.add(start.execution)
        elif start.key:
            taken.add(key)
    return frozenset(fenced - duplicates), frozenset(duplicates)


def _standings(database: Database, executions: list[ExecutionId]) -> dict[ExecutionId, tuple[int, int]]:
    """Epoch and last fact of those of these executions that exist."""
    wanted = tuple(dict.fromkeys(executions))
    return {execution: (epoch, seq) for execution, epoch, seq in database.all(SQL["standings"], (apsw.carray(wanted),))}


# -- when a row is poison -----------------------------------------------------------------------------------------------
def _write_halves(database: Database, batch: Batch, refusal: BaseException) -> NoReturn:
    _write_blobs_alone(database, batch.blobs)
    halving = Halving(batch, refusal)
    for part in halving.parts():
        try:
            committed, fresh = _write(database, part, halving.told)
        except REFUSALS as error:
            halving.refused(error)
        else:
            halving.written(committed, fresh)
    raise halving.outcome()


def _write_blobs_alone(database: Database, blobs: list[Blob]) -> None:
    try:
        save_blobs_alone(database, blobs)
    except REFUSALS as refusal:
        raise blob_refused(refusal) from refusal
