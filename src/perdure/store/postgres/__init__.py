"""The distributed store on PostgreSQL: many workers share one database."""

from perdure.store.postgres.store import PostgresStore, open_store

__all__ = ["PostgresStore", "open_store"]
