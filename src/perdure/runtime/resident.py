"""Large values that are in memory at the moment: a bounded, shared cache over the blob store, by digest."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from perdure.engine.codec import decode_value
from perdure.engine.index import MISSING

RESIDENT_BYTES_MAX = 256 << 20
"""Encoded bytes kept; decoded values weigh some three times that."""


class Resident:
    """Encoded bodies by digest, decoded when first read; the least recently used leave first."""

    def __init__(self, bytes_max: int = RESIDENT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._bodies: OrderedDict[bytes, list[Any]] = OrderedDict()  # digest → [body, value]

    def put(self, digest: bytes, body: bytes) -> None:
        """Keep a body. One larger than the whole cache is kept alone, since somebody needs it now."""
        if digest in self._bodies:
            return
        self._bodies[digest] = [body, MISSING]
        self._bytes += len(body)
        while self._bytes > self._bytes_max and len(self._bodies) > 1:
            _, (gone, _) = self._bodies.popitem(last=False)
            self._bytes -= len(gone)

    def get(self, digest: bytes, default: Any = None) -> Any:
        """The decoded value, or `default`."""
        entry = self._bodies.get(digest)
        if entry is None:
            return default
        self._bodies.move_to_end(digest)
        if entry[1] is MISSING:
            entry[1] = decode_value(entry[0])
        return entry[1]

    def body(self, digest: bytes) -> bytes | None:
        """The encoded body, or None."""
        entry = self._bodies.get(digest)
        return None if entry is None else entry[0]

    def __contains__(self, digest: object) -> bool:
        return digest in self._bodies
