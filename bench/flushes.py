"""Counts what SQLite asks of the disk, with a thin layer between SQLite and the operating system."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import apsw

SYSTEM = "unix"  # SQLite's own layer, which ours lies upon
PAGE_BYTES = 4_096  # what is shorter in a log is the header of a page


class Count:
    """Flushes so far, and the pages written to write-ahead logs."""

    def __init__(self) -> None:
        self.flushes = 0
        self.log_pages = 0


@contextmanager
def counted(*, performed: bool = True) -> Iterator[Count]:
    """Every database opened inside goes through the counting layer. Flushes are counted alone unless `performed`."""
    count = Count()

    class File(apsw.VFSFile):  # type: ignore[misc]
        def __init__(self, name: Any, flags: list[int]) -> None:
            super().__init__(SYSTEM, name, flags)
            path = name.filename() if isinstance(name, apsw.URIFilename) else name
            self._is_log = path is not None and path.endswith("-wal")

        def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
            count.flushes += 1
            if performed:
                super().xSync(flags)

        def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 - SQLite's name
            count.log_pages += self._is_log and len(data) >= PAGE_BYTES
            super().xWrite(data, offset)

    class Layer(apsw.VFS):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__("counting", SYSTEM, makedefault=True)

        def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802 - SQLite's name
            return File(name, flags)

    layer = Layer()
    try:
        yield count
    finally:
        layer.unregister()
