"""What became of a commit that raised: a server may have written it, and only its answer was lost on the way."""

from __future__ import annotations

from typing import Literal

from perdure.engine.events import AnyInput
from perdure.ids import ExecutionId
from perdure.store.contract import FIRST_FINAL, Batch, Row, Store, Turn

MESSAGES_MAX = 10_000
Fate = Literal["written", "undone", "lost"]
"""`written`: what is in memory is on disk; `undone`: the turn may be made again; `lost`: somebody else has it now."""


async def fates(store: Store, batch: Batch, worker: str) -> dict[ExecutionId, Fate]:
    """The fate of each execution that has a turn in a batch, by its row. One by one: a batch may have been written in parts."""
    last = {turn.execution: turn for turn in batch.turns}
    new = {start.execution for start in batch.starts}
    return {
        execution: _fate(turn, await store.row(execution), worker, new=execution in new) for execution, turn in last.items()
    }


def _fate(turn: Turn, row: Row | None, worker: str, *, new: bool) -> Fate:
    if row is None:
        return "undone" if new else "lost"
    if row.epoch != turn.epoch:
        return "lost"
    if turn.count and row.seq == turn.first_seq + turn.count - 1:
        return "written"
    if row.home == worker:
        return "undone"  # also where nothing but messages was taken in, which the inbox tells
    return "written" if turn.release and not turn.count else "lost"


async def left_with(store: Store, execution: ExecutionId, worker: str) -> Row | None:
    """The row of an execution whose turn was fenced, where this worker is its home all the same: then nobody else goes on."""
    row = await store.row(execution)
    return row if row is not None and row.home == worker and row.status < FIRST_FINAL else None


async def still_waiting(store: Store, execution: ExecutionId, given: list[tuple[AnyInput, int]]) -> list[tuple[AnyInput, int]]:
    """What of these inputs may be stepped again: not a message that is out of the inbox, since then a step has taken it in."""
    if not any(position for _, position in given):
        return given
    page = [arrived.position for arrived in await store.inbox(execution, limit=MESSAGES_MAX)]
    seen_up_to = page[-1] if len(page) == MESSAGES_MAX else max(position for _, position in given)
    waiting = {0, *page}
    return [(each, position) for each, position in given if position in waiting or position > seen_up_to]
