"""Where the PostgreSQL store lives while it is tested: in a database that nobody else uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from perdure.store.contract import Store
from perdure.store.postgres import PostgresStore, open_store

BUSY_TIMEOUT_MS = 50  # a test of a locked store waits this long
LEASE = 60_000_000  # longer than any test: a death is known when the test says so

Sql = Callable[..., list[Any]]
"""Runs SQL in the database as somebody else than the stores, and gives the rows; also called in a running loop."""


_WRITTEN = (
    "executions", "wakes", "keys", "journal", "snapshots", "inbox", "accepted", "definitions", "blobs", "events",
    "subscriptions", "locks", "workers", "leftovers", "leases", "removals", "tasks",
)  # fmt: skip
_FULL = """
CREATE FUNCTION perdure.is_full() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER is_full BEFORE INSERT ON perdure.journal FOR EACH ROW EXECUTE FUNCTION perdure.is_full();
"""


class PostgresPlace:
    """The database at `url`. `sql` runs statements in it, for what befalls a store from outside, always on one connection.

    `spoil` changes some bytes of a file of the server's data behind its back, which takes a server of one's own.
    """

    def __init__(self, url: str, sql: Sql, spoil: Callable[[str], None]) -> None:
        self.url = url
        self.sql = sql
        self.busy_timeout_ms = BUSY_TIMEOUT_MS
        self._spoil = spoil
        self._opened: list[PostgresStore] = []

    async def open(self) -> PostgresStore:
        store = await open_store(self.url, busy_timeout_ms=self.busy_timeout_ms, lease=LEASE)
        self._opened.append(store)
        return store

    def die(self, store: Store) -> None:
        opened = _postgres(store)
        opened.abandon()
        self.sql("UPDATE perdure.workers SET beat = beat - ttl WHERE process = $1", opened.process)

    def outlast(self, worker: str) -> None:
        self.sql("UPDATE perdure.workers SET beat = beat - ttl WHERE worker = $1", worker)

    def opener(self) -> tuple[str, str, dict[str, Any]]:
        return "perdure.store.postgres", "open_store", {"url": self.url}

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._transaction("ISOLATION LEVEL REPEATABLE READ") as run:
            run("SELECT count(*) FROM perdure.journal")
            yield

    @contextmanager
    def locked(self) -> Iterator[None]:
        with self._transaction() as run:
            run(f"LOCK TABLE {', '.join(f'perdure.{table}' for table in _WRITTEN)} IN EXCLUSIVE MODE")
            yield

    @contextmanager
    def full(self, store: Store) -> Iterator[None]:
        # What the server says when its disk is full, where it would say it: when the journal must grow.
        self.sql(_FULL)
        yield
        self.sql("DROP FUNCTION perdure.is_full CASCADE")

    @contextmanager
    def read_only(self) -> Iterator[None]:
        ((database,),) = self.sql("SELECT current_database()")
        self.sql(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        try:
            yield
        finally:
            self.sql(f"ALTER DATABASE {database} RESET default_transaction_read_only")

    def damage(self) -> None:
        ((path,),) = self.sql("SELECT pg_relation_filepath(c.oid) FROM pg_class AS c WHERE c.relname = 'journal_other'")
        self._spoil(path)

    def make_newer(self) -> None:
        self.sql("INSERT INTO perdure.migrations VALUES (9999, 'later', '')")

    @contextmanager
    def _transaction(self, how: str = "") -> Iterator[Sql]:
        self.sql(f"BEGIN {how}")
        try:
            yield self.sql
        finally:
            self.sql("ROLLBACK")

    def abandon(self) -> None:
        """Let go of all stores that were opened here."""
        for store in self._opened:
            store.abandon()


def _postgres(store: Store) -> PostgresStore:
    assert isinstance(store, PostgresStore), f"Expected a PostgresStore, but got {store!r}."
    return store
