"""The URL of a store: what it may say, what is said of a wrong one, and that a password is shown to nobody."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from perdure.errors import NotFound, Refused, StoreBusy, StoreDamaged, StoreError, StoreFull, StoreReadOnly
from perdure.store.postgres import open_store
from perdure.store.postgres.address import read_address
from perdure.store.postgres.complaints import in_our_words, is_lost
from perdure.testing.stores.place import raised
from perdure.testing.stores.postgres import PostgresPlace

SECRET = "s3cret"


@pytest.mark.parametrize(
    "url, place",
    [
        ("postgresql://host/db", "postgresql://host/db"),
        (f"postgres://ann:{SECRET}@host:5433/db", "postgresql://ann@host:5433/db"),
        (f"postgresql://ann:{SECRET}@one:1,two:2/db?target_session_attrs=any", "postgresql://ann@one:1,two:2/db"),
        (f"postgresql://ann@/db?host=/run/pg&password={SECRET}", "postgresql://ann@/run/pg/db"),
        ("postgresql:///db?host=/run/pg", "postgresql:///run/pg/db"),
    ],
)
def test_an_address_is_read(url: str, place: str) -> None:
    """What is shown has no password; the driver gets all of it but what is ours."""
    address = read_address(url + ("&" if "?" in url else "?") + "pooled=true")
    assert (address.place, address.pooled) == (place, True)
    assert "pooled" not in address.dsn
    assert read_address(url).pooled is False


@pytest.mark.parametrize(
    "url, sentence",
    [
        (f"mysql://ann:{SECRET}@host/db", "begins with postgresql://"),
        (f"postgresql://ann:{SECRET}@host/", "name of a database"),
        (f"postgresql://ann:{SECRET}@host/db?pooled=maybe", "pooled=true or pooled=false"),
        (f"postgresql://ann:{SECRET}@host/db?sslmod=require", "sslmod"),
    ],
)
def test_a_wrong_address_is_refused(url: str, sentence: str) -> None:
    """It says what was expected and how to write it, and keeps the password to itself."""
    with pytest.raises(Refused, match=sentence) as refused:
        read_address(url)
    assert refused.value.remedy
    assert SECRET not in refused.value.message


def test_what_is_wrong_with_a_server_is_said_at_once(postgres_place: PostgresPlace) -> None:
    """No server, no such database, no store in it and none to be made, a server that forgets: each in its own words."""
    url = postgres_place.url

    async def main() -> None:
        busy = await raised(StoreBusy, open_store(f"postgresql://ann:{SECRET}@127.0.0.1:1/db"))
        assert SECRET not in busy.message + busy.remedy
        assert "no such database" in (await raised(NotFound, open_store(url.replace("/test_", "/none_")))).message
        postgres_place.sql("DROP SCHEMA IF EXISTS perdure CASCADE")
        assert (await raised(NotFound, open_store(url, create=False))).remedy
        ((database,),) = postgres_place.sql("SELECT current_database()")
        postgres_place.sql(f"ALTER DATABASE {database} SET synchronous_commit = off")
        try:
            assert "synchronous_commit is off" in (await raised(StoreError, open_store(url))).message
        finally:
            postgres_place.sql(f"ALTER DATABASE {database} RESET synchronous_commit")
        store = await open_store(url)
        await store.close()
        again = await open_store(url, create=False)
        await again.close()

    asyncio.run(main())


def test_a_role_that_may_not_make_the_schema_hears_what_it_lacks(postgres_place: PostgresPlace) -> None:
    """The message names the right, and how to give it."""
    postgres_place.sql("DROP SCHEMA IF EXISTS perdure CASCADE")
    postgres_place.sql("CREATE ROLE guest LOGIN")
    try:
        error = asyncio.run(raised(StoreReadOnly, open_store(postgres_place.url.replace("postgres@", "guest@"))))
        assert "GRANT CREATE" in error.remedy
    finally:
        postgres_place.sql("DROP ROLE guest")


@pytest.mark.parametrize(
    "error, word",
    [
        (asyncpg.LockNotAvailableError("canceling statement due to lock timeout"), StoreBusy),
        (asyncpg.QueryCanceledError("canceling statement due to statement timeout"), StoreBusy),
        (asyncpg.DeadlockDetectedError("deadlock detected"), StoreBusy),
        (asyncpg.SerializationError("could not serialize"), StoreBusy),
        (asyncpg.TooManyConnectionsError("sorry, too many clients already"), StoreBusy),
        (asyncpg.CannotConnectNowError("the database system is starting up"), StoreBusy),
        (asyncpg.AdminShutdownError("terminating connection"), StoreBusy),
        (asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"), StoreBusy),
        (asyncpg.InterfaceError("connection is closed"), StoreBusy),
        (ConnectionRefusedError("refused"), StoreBusy),
        (TimeoutError(), StoreBusy),
        (asyncpg.DiskFullError("could not extend file"), StoreFull),
        (asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"), StoreReadOnly),
        (asyncpg.DataCorruptedError("invalid page in block 3"), StoreDamaged),
        (asyncpg.IndexCorruptedError("index is broken"), StoreDamaged),
        (asyncpg.InternalServerError("cache lookup failed"), StoreError),
        (asyncpg.exceptions.InvalidPasswordError("password authentication failed"), StoreError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_each_complaint_has_its_word_and_a_remedy(error: Exception, word: type[StoreError]) -> None:
    """Whether to try again, to make room, or to call for help is said by the class."""
    said = in_our_words(error, "postgresql://host/db")
    assert type(said) is word
    assert said.remedy
    assert "postgresql://host/db" in said.message


def test_a_standby_is_no_read_only_database() -> None:
    """It says so with the same error; but there is a primary somewhere, so it is worth another try."""
    error = asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction")
    assert type(in_our_words(error, "postgresql://host/db", standby=True)) is StoreBusy
    assert not is_lost(error)
