"""The suite for stores, run on each: the embedded one in a file, with its writes in a thread, in memory, and PostgreSQL."""

from __future__ import annotations

import pytest

from perdure.testing.stores import SharedStoreSuite, StoreSuite
from perdure.testing.stores.postgres import PostgresPlace
from perdure.testing.stores.sqlite import FilePlace, MemoryPlace


class TestInAFile(SharedStoreSuite):
    """The embedded store in a file."""

    @pytest.fixture
    def place(self, file_place: FilePlace) -> FilePlace:
        return file_place


class TestInAThread(StoreSuite):
    """The embedded store in a file, with a thread that waits for the disk."""

    @pytest.fixture
    def place(self, file_place: FilePlace) -> FilePlace:
        file_place.threaded = "always"
        return file_place


class TestInMemory(StoreSuite):
    """The embedded store in memory."""

    @pytest.fixture
    def place(self) -> MemoryPlace:
        return MemoryPlace()


class TestInPostgres(SharedStoreSuite):
    """PostgreSQL."""

    @pytest.fixture
    def place(self, postgres_place: PostgresPlace) -> PostgresPlace:
        return postgres_place
