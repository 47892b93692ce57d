"""The embedded store: everything durable in one SQLite file."""

from perdure.store.sqlite.store import SqliteStore, open_store

__all__ = ["SqliteStore", "open_store"]
