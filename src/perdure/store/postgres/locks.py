"""Named mutexes: one holder for (tenant, key), kept in the store, so that a lock outlives the process that took it."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.ids import ExecutionId
from perdure.store.contract import LockClaim
from perdure.store.postgres.connection import Database, Session

Held = dict[tuple[str, str], tuple[ExecutionId, str]]


async def acquire(database: Database, claims: Sequence[LockClaim]) -> list[bool]:
    """Take what is free, in one transaction; True per claim whose (execution, path) holds its lock."""
    held = await database.read(lambda session: _holders(session, claims))
    # Who waits asks again and again: that must write nothing.
    if any((claim.tenant, claim.key) not in held for claim in claims):
        async with database.transaction() as session:
            await _take(session, claims)
            held = await _holders(session, claims)
    return [held.get((claim.tenant, claim.key)) == (claim.execution, claim.path) for claim in claims]


async def unlock(session: Session, claims: Sequence[LockClaim]) -> int:
    """Let go of what exactly these hold, within the transaction of the caller; how many locks are free now."""
    rows = sorted({(claim.tenant, claim.key, claim.execution, claim.path) for claim in claims})
    return await session.run("unlock", *_columns(rows))


async def find_holder(database: Database, tenant: str, key: str) -> tuple[ExecutionId, str] | None:
    """Who holds a lock."""
    row = await database.one("holders", [tenant], [key])
    return (row["execution"], row["path"]) if row else None


async def _take(session: Session, claims: Sequence[LockClaim]) -> None:
    # Their rows are locked: one that ends meanwhile ends after this, and lets go of what it gets here.
    living = await session.rows("may_go_on", sorted({claim.execution for claim in claims}))
    may_go_on = {row["execution"] for row in living}
    first: dict[tuple[str, str], LockClaim] = {}
    for claim in claims:
        if claim.execution in may_go_on:
            first.setdefault((claim.tenant, claim.key), claim)
    if first:
        await session.run("take_locks", *_columns([(*name, first[name].execution, first[name].path) for name in sorted(first)]))


async def _holders(session: Session, claims: Sequence[LockClaim]) -> Held:
    """By (tenant, key), who holds the locks that are claimed."""
    names = sorted({(claim.tenant, claim.key) for claim in claims})
    rows = await session.rows("holders", [tenant for tenant, _ in names], [key for _, key in names])
    return {(row["tenant"], row["key"]): (row["execution"], row["path"]) for row in rows}


def _columns(rows: Sequence[tuple[str, str, ExecutionId, str]]) -> list[list[str] | list[ExecutionId]]:
    return [[row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows], [row[3] for row in rows]]
