"""The feed as facts: what happened in all executions, or in one, read on from a cursor; each fact once, with its own cursor."""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.engine.codec import LEVEL, decode_row
from perdure.engine.events import AnyFact
from perdure.engine.names import time_text
from perdure.errors import StoreError, StoreTooNew
from perdure.ids import ExecutionId, id_text
from perdure.operations.executions import damaged
from perdure.operations.journal import fact_object
from perdure.store.contract import Store
from perdure.store.feed import FeedLag, FeedRow, within

STEPS = 100
"""Steps that are looked at for one portion, whosever they are: each may come to a megabyte, and all are in memory at once."""


class FeedFact(msgspec.Struct, frozen=True, kw_only=True):
    """One fact. `at`: microseconds UTC. `cursor`: to go on after it."""

    execution: ExecutionId
    tenant: str
    seq: int
    at: int
    fact: AnyFact
    cursor: str


class Portion(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader gets at once. `cursor`: to go on after it, also where it is empty. `more`: there is more at once.

    `gap`: before its first fact some are missing, which were pruned before this reader had read them.
    """

    facts: list[FeedFact]
    cursor: str
    gap: bool
    more: bool


async def portion(
    store: Store, *, after: str = "", tenant: str | None = None, execution: ExecutionId | None = None, limit: int = 0,
    latest: bool = False,
) -> Portion:  # fmt: skip
    """The next facts after a cursor, `limit` of them at most (0: a good many); from the beginning without a cursor.

    `latest`: none, but the cursor behind all of them. Raises CursorRefused, NotFound (no such execution, or no more),
    and StoreTooNew or StoreDamaged where the next step cannot be read: what is before it is given first.
    """
    steps = min(limit, STEPS) if limit else STEPS
    page = await store.feed(after=after, tenant=tenant, execution=execution, limit=steps, latest=latest)
    found: list[FeedFact] = []
    for row in page.rows:
        try:
            found += _facts(row)
        except StoreError:
            if not found:
                raise
            return Portion(facts=found, cursor=found[-1].cursor, gap=page.gap, more=True)  # it is told of with the next one
        if limit and len(found) >= limit:
            cut = len(found) > limit or row.cursor != page.cursor
            del found[limit:]
            return Portion(facts=found, cursor=found[-1].cursor if cut else page.cursor, gap=page.gap, more=cut or page.more)
    return Portion(facts=found, cursor=page.cursor, gap=page.gap, more=page.more)


def feed_object(given: FeedFact) -> dict[str, Any]:
    """A fact as a plain object: as `run --json` has it, with its number in its execution and the cursor to go on after it."""
    return {
        "at": time_text(given.at), "execution": id_text(given.execution), "seq": given.seq, **fact_object(given.fact),
        "cursor": given.cursor,
    }  # fmt: skip


def lag_object(lag: FeedLag | None) -> dict[str, Any]:
    """What holds the feed up as a plain object. `lag_us`: for how long the oldest step waits that is on disk; 0: none does."""
    if lag is None:
        return {"lag_us": 0, "waits_since": None, "transaction": None}
    began = time_text(lag.began) if lag.began is not None else None
    return {
        "lag_us": lag_of(lag), "waits_since": time_text(lag.waits) if lag.waits is not None else None,
        "transaction": {"began": began, "pid": lag.pid or None, "who": lag.who},
    }  # fmt: skip


def lag_of(lag: FeedLag) -> int:
    """For how long the oldest step waits, in microseconds; 0 where none does."""
    return max(1, lag.now - lag.waits) if lag.waits is not None else 0


def _facts(row: FeedRow) -> list[FeedFact]:
    """The facts of a step that its reader had not passed."""
    if row.level > LEVEL:
        raise StoreTooNew(
            f"{id_text(row.execution)} was written at level {row.level}; this Perdure reads up to {LEVEL}.",
            remedy="Upgrade this installation, and go on after the last cursor.",
        )
    try:
        facts = decode_row(row.body).facts
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise damaged(row.execution, error, row.first_seq) from error
    return [
        FeedFact(
            execution=row.execution, tenant=row.tenant, seq=row.first_seq + number - 1, at=row.at, fact=fact,
            cursor=within(row.cursor, number) if number < row.count else row.cursor,
        )
        for number, fact in enumerate(facts, 1) if number > row.passed
    ]  # fmt: skip
