"""Counts how often SQLite asks the disk to flush, with a thin layer between SQLite and the operating system."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import apsw

SYSTEM = "unix"  # SQLite's own layer, which ours lies upon


class Count:
    """Flushes so far."""

    def __init__(self) -> None:
        self.flushes = 0


@contextmanager
def counted() -> Iterator[Count]:
    """Every database opened inside goes through the counting layer."""
    count = Count()

    class File(apsw.VFSFile):  # type: ignore[misc]
        def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
            count.flushes += 1
            super().xSync(flags)

    class Layer(apsw.VFS):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__("counting", SYSTEM, makedefault=True)

        def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802 - SQLite's name
            return File(SYSTEM, name, flags)

    layer = Layer()
    try:
        yield count
    finally:
        layer.unregister()
