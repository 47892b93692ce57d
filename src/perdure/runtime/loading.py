"""Executions as the store has them: folded from the newest snapshot that this fold can read, and what came after."""

from __future__ import annotations

import msgspec

from perdure.engine.codec import FOLD, decode_row, decode_snapshot
from perdure.engine.evolution import evolve
from perdure.engine.execution import Execution
from perdure.errors import NotFound, StoreDamaged
from perdure.ids import ExecutionId, id_text
from perdure.store.contract import Row, Store

JOURNAL_PAGE = 2_000


async def folded(store: Store, execution_id: ExecutionId) -> tuple[Execution, int]:
    """The state of an execution, and the fact at which the snapshot stood that it was folded from, 0 = none.

    Raises StoreDamaged, msgspec errors or KeyError where what is stored cannot be read.
    """
    execution = Execution()
    snapshot = await store.snapshot(execution_id)
    if snapshot is not None and snapshot.fold == FOLD:
        try:
            execution = decode_snapshot(snapshot.body)
        except msgspec.DecodeError:
            execution = Execution()  # a snapshot is only a cache: when in doubt, fold
    stood_at = execution.seq
    while True:
        rows = await store.journal(execution_id, after=execution.seq, limit=JOURNAL_PAGE)
        for row in rows:
            for fact in decode_row(row.body).facts:
                evolve(execution, fact)
            execution.at = row.at
        if len(rows) < JOURNAL_PAGE:
            return execution, stood_at


async def check_end(store: Store, execution: Execution, row: Row) -> None:
    """Raise StoreDamaged where a journal does not end where its row says: whatever is stepped then would be fenced for ever."""
    if execution.seq == row.seq:
        return
    now = await store.row(row.execution)
    if now is not None and (now.epoch, now.seq) != (row.epoch, row.seq):
        return  # somebody else goes on with it, and the fence will say so
    raise StoreDamaged(
        f"Expected the journal of {id_text(row.execution)} to end at fact {row.seq}, as its row says, "
        f"but it ends at {execution.seq}.",
        remedy="`perdure verify` names what is damaged; restore the store from a backup.",
    )


async def definition_of(store: Store, row: Row) -> bytes:
    """The digest of an execution's definition. One asked for by the workflow's name is pinned once it has started.

    Raises NotFound where there is no workflow of that name.
    """
    if row.digest:
        return row.digest
    if row.seq:
        execution = Execution()
        for journaled in await store.journal(row.execution, limit=1):
            for fact in decode_row(journaled.body).facts:
                evolve(execution, fact)
        return execution.digest
    saved = await store.definitions(row.workflow, tenant=row.tenant)
    if not saved:
        raise NotFound(f"The store has no workflow {row.workflow!r} to start.", remedy="Run it once, which saves it.")
    return saved[0].digest
