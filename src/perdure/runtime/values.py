"""The large values of a home's executions: those in memory, and the way to those that are not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from perdure.engine.codec import decode_value, handle_digest
from perdure.errors import Refused
from perdure.runtime.patience import patiently
from perdure.runtime.resident import Resident
from perdure.store.contract import Blob, Store


class Values:
    """Reads and keeps them by digest."""

    def __init__(self, store: Store, resident: Resident) -> None:
        self._store = store
        self._resident = resident

    async def read(self, tenant: str, raw: Any) -> Any:
        """A value as the journal has it, decoded, wherever its bytes lie."""
        digest = handle_digest(raw)
        return decode_value(raw if digest is None else await self.body(tenant, digest))

    async def body(self, tenant: str, digest: bytes) -> bytes:
        """A large value, encoded. Raises Refused where the store has lost it."""
        body = self._resident.body(digest)
        if body is None:
            found = await self._store.blobs(tenant, [digest])
            if digest not in found:
                raise Refused("A large value is gone from the store.", code="store.damaged")
            body = found[digest]
            self._resident.put(digest, body)
        return body

    async def fetch(self, tenant: str, digests: Collection[bytes]) -> int:
        """Bring values into memory; how many of them the store has lost."""
        found = await patiently(lambda: self._store.blobs(tenant, list(digests)))
        self.keep(found)
        return len(set(digests) - found.keys())

    async def save_ahead(self, tenant: str, blobs: Mapping[bytes, bytes]) -> None:
        """Make values durable before the step that names them."""
        rows = [Blob(tenant=tenant, digest=digest, body=body) for digest, body in blobs.items()]
        await patiently(lambda: self._store.save_blobs(rows))
        self.keep(blobs)

    def keep(self, blobs: Mapping[bytes, bytes]) -> None:
        """Hold values in memory, as long as there is room."""
        for digest, body in blobs.items():
            self._resident.put(digest, body)
