"""Where the embedded store lives while it is tested: in memory, or in a file of a folder of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw

from perdure.store.contract import Store
from perdure.store.sqlite import SqliteStore, open_store
from perdure.store.sqlite.access import Threaded

BUSY_TIMEOUT_MS = 10  # a test of a locked store waits this long
_NOBODY = 65_534
_PAGE_BYTES = 4_096
_PAGES_MAX = 0xFFFF_FFFE


class MemoryPlace:
    """A connection to memory, which survives the deaths of the stores over it."""

    def __init__(self) -> None:
        self.connection = apsw.Connection(":memory:")

    async def open(self) -> SqliteStore:
        return SqliteStore.on(self.connection)

    def die(self, store: Store) -> None:
        sqlite_of(store).abandon()


class FilePlace:
    """A file in `folder`, which other users must be able to enter, for the tests that run as one who may not write."""

    def __init__(self, folder: Path, *, threaded: Threaded = "never") -> None:
        self.threaded = threaded
        self.folder = folder
        self.path = folder / "store.db"

    async def open(self) -> SqliteStore:
        return await open_store(self.path, busy_timeout_ms=BUSY_TIMEOUT_MS, threaded=self.threaded)

    def die(self, store: Store) -> None:
        sqlite_of(store).abandon()

    def opener(self) -> tuple[str, str, dict[str, Any]]:
        return "perdure.store.sqlite", "open_store", {"path": str(self.path)}

    def outlast(self, worker: str) -> None:
        """The lock on its file went with it."""

    @contextmanager
    def reading(self) -> Iterator[None]:
        with closing(apsw.Connection(str(self.path))) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM journal").fetchall()
            yield

    @contextmanager
    def locked(self) -> Iterator[None]:
        with closing(apsw.Connection(str(self.path))) as writer:
            writer.execute("BEGIN IMMEDIATE")
            yield

    @contextmanager
    def full(self, store: Store) -> Iterator[None]:
        connection = sqlite_of(store).connection
        pages = connection.pragma("page_count")
        connection.pragma("max_page_count", pages + 1)
        yield
        connection.pragma("max_page_count", _PAGES_MAX)

    @contextmanager
    def read_only(self) -> Iterator[None]:
        self.path.chmod(0o444)
        self.folder.chmod(0o555)
        superuser = os.geteuid() == 0  # to whom permissions mean nothing
        if superuser:
            os.seteuid(_NOBODY)
        try:
            yield
        finally:
            if superuser:
                os.seteuid(0)
            self.folder.chmod(0o755)
            self.path.chmod(0o644)

    def damage(self) -> None:
        size = self.path.stat().st_size
        with self.path.open("r+b") as file:
            # The first page stays: it is the middle of a disk that goes bad, not the name of the file.
            file.seek(size // 2 // _PAGE_BYTES * _PAGE_BYTES)
            file.write(b"\xa5" * 4 * _PAGE_BYTES)

    def make_newer(self) -> None:
        with closing(apsw.Connection(str(self.path))) as connection:
            connection.pragma("user_version", 9_999)


def sqlite_of(store: Store) -> SqliteStore:
    assert isinstance(store, SqliteStore), f"Expected a SqliteStore, but got {store!r}."
    return store
