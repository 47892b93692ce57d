"""Is what is stored as it was written: everything is read once, so that the server's checksums meet what has changed."""

from __future__ import annotations

from perdure.errors import StoreDamaged
from perdure.store.postgres.connection import Database, Session

_COLUMNS = {  # all that a table keeps out of line is read too, by its length
    "executions": "digest", "wakes": "tenant", "keys": "fingerprint", "journal": "body", "snapshots": "body", "inbox": "body",
    "accepted": "key", "definitions": "document", "blobs": "body", "events": "body", "subscriptions": "type", "locks": "path",
    "workers": "host", "leftovers": "tenant", "leases": "holder",
}  # fmt: skip


async def findings(database: Database) -> list[str]:
    """One sentence per table that cannot be read, and one for large values that are not what they were."""
    found = []
    for table, column in _COLUMNS.items():

        async def read(session: Session, table: str = table, column: str = column) -> None:
            await session.connection.execute(f"SELECT sum(length({column} || {column})) FROM perdure.{table}")

        try:
            await database.read(read)
        except StoreDamaged as damage:
            found.append(f"{table}: {damage.message}")
    if not found and (spoiled := (await database.one("damaged_blobs"))["count"]):
        found.append(f"Expected every large value to be what its digest says, but {spoiled} are not.")
    return found
