"""What the tests of the PostgreSQL store share: a pool in transaction mode before the server."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perdure.testing.stores.postgres import PostgresPlace

sys.path.insert(0, str(Path(__file__).parent))  # the pool is a module beside the tests, not part of the product

if TYPE_CHECKING:
    from pooler import Pooler

    from postgres_server import PostgresServer


@pytest.fixture
def pooler(postgres_server: PostgresServer, postgres_place: PostgresPlace) -> Iterator[Pooler]:
    """A pool before the database of the place."""
    from pooler import Pooler

    ((database,),) = postgres_place.sql("SELECT current_database()")
    with tempfile.TemporaryDirectory(prefix="pool-") as folder:
        pooler = Pooler(Path(folder), postgres_server.sockets, "postgres", database)
        yield pooler
        postgres_place.abandon()
        pooler.close()


@pytest.fixture
def pooled_place(pooler: Pooler, postgres_place: PostgresPlace) -> PostgresPlace:
    """The place by way of the pool."""
    postgres_place.url = pooler.url
    return postgres_place
