"""The group commit: what a batch writes, in which order, and what happens when part of it may not be written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, NoReturn

import asyncpg
import msgspec

from perdure.ids import ExecutionId
from perdure.store.contract import FIRST_FINAL, Batch, Blob, Committed, Event, Start, Turn
from perdure.store.postgres import tasks
from perdure.store.postgres.complaints import REFUSALS
from perdure.store.postgres.connection import Database, Session
from perdure.store.postgres.events import append_events, awaiting, notify, queue, subscribe, unsubscribe
from perdure.store.postgres.inbox import deliver
from perdure.store.postgres.locks import unlock
from perdure.store.shares import Halving, blob_refused, check_emitters, out_of_step, started_twice, without

_by_execution = attrgetter("execution")
_TURN = ("execution", "epoch", "first_seq", "count", "at", "level", "status", "release", "body")
Homes = dict[ExecutionId, str]


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch. `fresh`: its events that are new in the log; `rings`: another worker wants something of it."""

    committed: Committed
    fresh: Sequence[Event] = ()
    rings: bool = False


async def commit(database: Database, batch: Batch, own: Collection[str]) -> Written:
    """Write a batch; `own` are the workers of this process. Raises ExecutionsRefused, or StoreError and writes nothing."""
    check_emitters(batch)
    if len({start.execution for start in batch.starts}) < len(batch.starts):
        raise started_twice()
    try:
        return await _write(database, batch, own)
    except REFUSALS as refusal:
        await _write_halves(database, batch, own, refusal)


async def save_blobs(session: Session, blobs: Sequence[Blob]) -> int:
    """Write blobs in the transaction of the caller; the bytes."""
    rows = sorted({(blob.tenant, blob.digest): blob for blob in blobs}.values(), key=lambda blob: (blob.tenant, blob.digest))
    await session.run(
        "save_blobs", [b.tenant for b in rows], [b.digest for b in rows], [len(b.body) for b in rows], [b.body for b in rows]
    )
    return sum(len(blob.body) for blob in rows)


# -- one transaction --------------------------------------------------------------------------------------------------
async def _write(database: Database, batch: Batch, own: Collection[str], told: Sequence[Event] = ()) -> Written:
    if batch.turns and _is_simple(batch):
        written = await database.alone(lambda session: _write_at_once(session, batch))
        database.bytes += sum(len(turn.body) for turn in batch.turns)
        return written
    if not any(getattr(batch, name) for name in batch.__struct_fields__):
        return Written(committed=Committed())
    async with database.transaction() as session:
        written = await _write_rows(session, batch, own, told)
    database.bytes += sum(len(turn.body) for turn in batch.turns) + sum(len(each.body) for each in batch.snapshots)
    return written


def _is_simple(batch: Batch) -> bool:
    """Whether one statement writes it all: one turn of each execution; none that is let go and may have been sent something."""
    if (
        batch.blobs or batch.messages or batch.events or batch.snapshots or batch.subscriptions or batch.unsubscriptions
        or batch.unlocks or batch.tasks or batch.task_stops or batch.task_ends
    ):  # fmt: skip
        return False
    new = {start.execution for start in batch.starts}
    moved = {turn.execution: turn for turn in batch.turns}
    if len(moved) < len(batch.turns) or any(start.parent is not None for start in batch.starts):
        return False
    if any(execution not in moved or moved[execution].first_seq != 1 for execution in new):
        return False
    return not any(
        turn.consumed or (turn.release and turn.status < FIRST_FINAL and turn.execution not in new) for turn in batch.turns
    )


async def _write_at_once(session: Session, batch: Batch) -> Written:
    """What is simple, by the shortest statement for it."""
    turns = sorted(batch.turns, key=_by_execution)
    if not batch.starts and all(turn.status < FIRST_FINAL for turn in turns):
        return Written(committed=Committed(fenced=frozenset(await _move_on(session, turns))))
    new = {start.execution for start in batch.starts}
    first = {turn.execution: turn for turn in turns if turn.execution in new}
    others = [turn for turn in turns if turn.execution not in first]
    columns = _columns(others, *_TURN)
    if batch.starts:
        starts = sorted(_first_of_keys(batch.starts), key=_by_execution)
        begun = [first[start.execution] for start in starts]
        columns += _columns(starts, "execution", "tenant", "workflow", "digest", "created", "priority")
        columns.append(["" if turn.release else start.home for start, turn in zip(starts, begun, strict=True)])
        columns += _columns(starts, "key", "fingerprint")
        columns += _columns(begun, "epoch", "count", "at", "level", "status", "wake", "body")
    written = await session.rows("starts_turns_and_ends" if batch.starts else "turns_and_ends", *columns)
    done = {row["execution"] for row in written}
    is_due = any(turn.wake is not None and turn.wake <= turn.at for turn in turns if turn.execution in done)
    return Written(
        committed=Committed(
            fenced=frozenset(turn.execution for turn in others if turn.execution not in done),
            duplicates=frozenset(first.keys() - done),
        ),
        rings=is_due or any(row["unlocked"] for row in written[:1]),
    )


def _columns(rows: Iterable[Start | Turn], *names: str) -> list[list[Any]]:
    return [[getattr(row, name) for row in rows] for name in names]


def _first_of_keys(starts: Iterable[Start]) -> list[Start]:
    """Of several starts with one key only the first."""
    first: dict[tuple[str, str, str], ExecutionId] = {}
    for start in starts:
        first.setdefault((start.tenant, start.workflow, start.key), start.execution)
    return [start for start in starts if not start.key or first[start.tenant, start.workflow, start.key] == start.execution]


async def _write_rows(session: Session, batch: Batch, own: Collection[str], told: Sequence[Event]) -> Written:
    homes = await _meet(session, batch, told)
    fenced, duplicates = await _start_and_move_on(session, batch)
    rest = without(batch, fenced | duplicates) if fenced or duplicates else batch
    rings = await _settle_turns(session, rest.turns)
    if rest.blobs:
        await save_blobs(session, rest.blobs)
    if rest.snapshots:
        await _save_snapshots(session, rest)
    if rest.unlocks:
        rings = await unlock(session, rest.unlocks) > 0 or rings
    if rest.unsubscriptions:
        await unsubscribe(session, rest.unsubscriptions)
    if rest.subscriptions:
        await subscribe(session, rest.subscriptions)
    if rest.tasks or rest.task_stops or rest.task_ends:
        rings = await tasks.write(session, rest) or rings
    ended = sorted({turn.execution for turn in rest.turns if turn.status >= FIRST_FINAL})
    if ended:
        rings = await session.run("end_executions", ended) > 0 or rings
    fresh = await append_events(session, rest.events) if rest.events else []
    heard = [*told, *fresh] if rest.subscriptions else fresh
    if heard:
        await notify(session, heard)
    met: Iterable[ExecutionId] = homes if heard else ()
    if rest.messages:
        met = [*met, *(message.execution for message in await deliver(session, rest.messages))]
    rings = rings or any(homes.get(execution, "") not in own for execution in met)
    return Written(committed=Committed(fenced=frozenset(fenced), duplicates=frozenset(duplicates)), fresh=fresh, rings=rings)


async def _meet(session: Session, batch: Batch, told: Sequence[Event]) -> Homes:
    """Stand in line with all others whom the batch concerns, in the one order: types of events, then executions by id."""
    concerned: set[ExecutionId] = set()
    if batch.events or batch.subscriptions:
        await queue(session, [*batch.events, *told], batch.subscriptions)
        concerned |= await awaiting(session, [*batch.events, *told])
    if batch.messages:
        concerned |= {message.execution for message in batch.messages}
    if not concerned:
        return {}
    concerned |= {turn.execution for turn in batch.turns}
    return {row["execution"]: row["home"] for row in await session.rows("meet", sorted(concerned))}


# -- starts and turns -------------------------------------------------------------------------------------------------
async def _start_and_move_on(session: Session, batch: Batch) -> tuple[set[ExecutionId], set[ExecutionId]]:
    """Write starts and turns; who is fenced, and which starts are duplicates."""
    standings = {turn.execution: (turn.epoch, turn.first_seq - 1) for turn in reversed(batch.turns)}
    new = {start.execution for start in batch.starts}
    standings |= {execution: (epoch, 0) for execution, (epoch, _) in standings.items() if execution in new}
    fenced = out_of_step(batch.turns, standings)
    if any(start.parent is not None for start in batch.starts):
        # Parents first: what they start is written only where they are.
        fenced |= await _write_turns(session, [turn for turn in batch.turns if turn.execution not in new | fenced])
        duplicates = await _write_starts(session, batch.starts, standings, fenced)
        turns = [turn for turn in batch.turns if turn.execution in new - fenced - duplicates]
    else:
        duplicates = await _write_starts(session, batch.starts, standings, fenced)
        turns = [turn for turn in batch.turns if turn.execution not in fenced | duplicates]
    fenced |= await _write_turns(session, turns)
    return fenced - duplicates, duplicates


async def _write_starts(
    session: Session, starts: list[Start], standings: dict[ExecutionId, tuple[int, int]], fenced: set[ExecutionId]
) -> set[ExecutionId]:
    """Write starts, each after its parent; which are duplicates. Adds to `fenced` those whose parents are left out."""
    duplicates: set[ExecutionId] = set()
    waiting = list(starts)
    while waiting:
        later = {start.execution for start in waiting}
        wave = [start for start in waiting if start.parent not in later] or waiting
        waiting = [start for start in waiting if start not in wave]
        fenced |= {start.execution for start in wave if start.parent in fenced or start.parent in duplicates}
        given = [start for start in wave if start.execution not in fenced]
        duplicates |= await _start(session, given, standings)
    return duplicates


async def _start(session: Session, starts: list[Start], standings: dict[ExecutionId, tuple[int, int]]) -> set[ExecutionId]:
    if not starts:
        return set()
    rows = _first_of_keys(starts)
    rows.sort(key=_by_execution)
    added = await session.rows(
        "start",
        [s.execution for s in rows], [s.tenant for s in rows], [s.workflow for s in rows], [s.digest for s in rows],
        [s.created for s in rows], [s.priority for s in rows], [s.home for s in rows],
        [standings.get(s.execution, (0, 0))[0] for s in rows], [s.key for s in rows], [s.fingerprint for s in rows],
    )  # fmt: skip
    return {start.execution for start in starts} - {row["execution"] for row in added}


async def _write_turns(session: Session, turns: list[Turn]) -> set[ExecutionId]:
    """Write turns, several of one execution after each other; who is fenced."""
    fenced: set[ExecutionId] = set()
    for together in _rounds(turns):
        left = [turn for turn in together if turn.execution not in fenced]
        fenced |= await _move_on(session, sorted(left, key=_by_execution))
    return fenced


def _rounds(turns: list[Turn]) -> Iterator[list[Turn]]:
    """The first turns of all executions, their second ones, and so on."""
    while turns:
        first: dict[ExecutionId, Turn] = {}
        for turn in turns:
            first.setdefault(turn.execution, turn)
        yield list(first.values())
        turns = [turn for turn in turns if first[turn.execution] is not turn] if len(first) < len(turns) else []


async def _move_on(session: Session, turns: list[Turn]) -> set[ExecutionId]:
    """Write turns, in the order of their executions and one of each; who is fenced."""
    if not turns:
        return set()
    if len(turns) == 1:
        moved = await session.rows("turn", *(column[0] for column in _columns(turns, *_TURN)))
    else:
        moved = await session.rows("turns", *_columns(turns, *_TURN))
    if len(moved) == len(turns):
        return set()
    return {turn.execution for turn in turns} - {row["execution"] for row in moved}


# -- what goes with a turn --------------------------------------------------------------------------------------------
async def _settle_turns(session: Session, turns: list[Turn]) -> bool:
    """Take consumed messages out, and let released executions go; whether one of them is due at once."""
    consumed = sorted((turn.execution, position) for turn in turns for position in turn.consumed)
    if consumed:
        gone = await session.run("consume", [each for each, _ in consumed], [position for _, position in consumed])
        if gone != len(consumed):
            raise asyncpg.IntegrityConstraintViolationError("a message that the step consumed is not in the inbox any more")
    last = {turn.execution: turn for turn in turns if turn.release and turn.status < FIRST_FINAL}
    if not last:
        return False
    released = sorted(last.values(), key=_by_execution)
    asleep = [turn.execution for turn in released if turn.wake is None]
    if asleep:
        await session.run("forget_wakes", asleep)
    noted = await session.rows(
        "remember_wakes", [t.execution for t in released], [t.wake for t in released], [t.at for t in released]
    )
    now = max(turn.at for turn in released)
    return any(row["due"] <= now for row in noted)


async def _save_snapshots(session: Session, batch: Batch) -> None:
    latest = {each.execution: each for each in batch.snapshots}
    rows = sorted(latest.values(), key=_by_execution)
    kept = await session.run(
        "save_snapshots", [s.execution for s in rows], [s.seq for s in rows], [s.fold for s in rows], [s.body for s in rows]
    )
    if kept != len(rows):
        raise asyncpg.IntegrityConstraintViolationError("a snapshot is of an execution that does not exist")


# -- when a row is poison -----------------------------------------------------------------------------------------------
async def _write_halves(database: Database, batch: Batch, own: Collection[str], refusal: BaseException) -> NoReturn:
    if batch.blobs:
        try:
            async with database.transaction() as session:
                await save_blobs(session, batch.blobs)
        except REFUSALS as error:
            raise blob_refused(error) from error
    halving = Halving(batch, refusal)
    for part in halving.parts():
        try:
            written = await _write(database, part, own, halving.told)
        except REFUSALS as error:
            halving.refused(error)
        else:
            halving.written(written.committed, written.fresh)
    raise halving.outcome()
