"""Where the PostgreSQL store lives while it is tested: in a database that nobody else uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure.store.contract import Store
from perdure.store.postgres import PostgresStore, open_store

BUSY_TIMEOUT_MS = 50  # a test of a locked store waits this long
LEASE = 60_000_000  # longer than any test: a death is known when the test says so

Sql = Callable[..., list[Any]]
"""Runs SQL in the database as somebody else than the stores, and gives the rows; also called in a running loop."""


class PostgresPlace:
    """The database at `url`. `sql` runs statements in it, for what befalls a store from outside."""

    def __init__(self, url: str, sql: Sql) -> None:
        self.url = url
        self.sql = sql
        self._opened: list[PostgresStore] = []

    async def open(self) -> PostgresStore:
        store = await open_store(self.url, busy_timeout_ms=BUSY_TIMEOUT_MS, lease=LEASE)
        self._opened.append(store)
        return store

    def die(self, store: Store) -> None:
        opened = _postgres(store)
        opened.abandon()
        self.sql("UPDATE perdure.workers SET beat = beat - ttl WHERE process = $1", opened.process)

    def outlast(self, worker: str) -> None:
        self.sql("UPDATE perdure.workers SET beat = beat - ttl WHERE worker = $1", worker)

    def abandon(self) -> None:
        """Let go of all stores that were opened here."""
        for store in self._opened:
            store.abandon()


def _postgres(store: Store) -> PostgresStore:
    assert isinstance(store, PostgresStore), f"Expected a PostgresStore, but got {store!r}."
    return store
