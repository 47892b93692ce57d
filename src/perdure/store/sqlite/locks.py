"""Named mutexes: one holder for (tenant, key), kept in the store, so that a lock outlives the process that took it."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.ids import ExecutionId
from perdure.store.contract import LockClaim
from perdure.store.sqlite.connection import SQL, Database


def acquire(database: Database, claims: Sequence[LockClaim]) -> list[bool]:
    """Take what is free, in one transaction; True per claim whose (execution, path) holds its lock."""
    if not claims:
        return []
    held = _holders(database, claims)
    # Who waits asks again and again: that must not take the write lock from those who work.
    if any((claim.tenant, claim.key) not in held for claim in claims):
        with database.transaction:
            database.many(
                SQL["take_lock"],
                [{"tenant": c.tenant, "key": c.key, "execution": c.execution, "path": c.path} for c in claims],
            )
            held = _holders(database, claims)
    return [held.get((claim.tenant, claim.key)) == (claim.execution, claim.path) for claim in claims]


def unlock(database: Database, claims: Sequence[LockClaim]) -> None:
    """Let go of what exactly these hold, within the transaction of the caller."""
    database.many(SQL["unlock"], [(claim.tenant, claim.key, claim.execution, claim.path) for claim in claims])


def find_holder(database: Database, tenant: str, key: str) -> tuple[ExecutionId, str] | None:
    """Who holds a lock."""
    row = database.one(SQL["lock"], (tenant, key))
    return (row[2], row[3]) if row else None


def _holders(database: Database, claims: Sequence[LockClaim]) -> dict[tuple[str, str], tuple[ExecutionId, str]]:
    """By (tenant, key), who holds the locks that are claimed."""
    rows = database.many_returning(SQL["lock"], [(claim.tenant, claim.key) for claim in claims])
    return {(tenant, key): (execution, path) for tenant, key, execution, path in rows}
