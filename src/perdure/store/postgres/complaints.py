"""What PostgreSQL and its driver complain of, in Perdure's words: who is guilty, and whether trying again makes sense."""

from __future__ import annotations

import asyncio

import asyncpg

from perdure.errors import NotFound, StoreBusy, StoreDamaged, StoreError, StoreFull, StoreReadOnly

# What is said when a row holds what cannot be stored; everything else is about the server, a lock or the way to it.
REFUSALS = (
    asyncpg.DataError,  # the server's
    asyncpg.exceptions.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    OverflowError,
    TypeError,
    ValueError,
)

# The connection is gone, or no good any more: whether the last statement was carried out is not known.
LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.exceptions.TargetServerAttributeNotMatched,
    asyncpg.InternalClientError,
    OSError,
    asyncio.TimeoutError,
    asyncio.IncompleteReadError,
)

# Nothing of the transaction was done, and the same may succeed in a moment.
_AGAIN = (
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.TooManyConnectionsError,
    asyncpg.OutOfMemoryError,
    asyncpg.exceptions.InvalidCachedStatementError,
)
_NOT_LET_IN = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.exceptions.InvalidPasswordError)


def is_lost(error: BaseException) -> bool:
    """Whether the connection, or the server behind it, went away."""
    if isinstance(error, asyncpg.InterfaceError):
        return not isinstance(error, ValueError)  # "connection is closed" and the like; a DataError is a ValueError
    return isinstance(error, LOST)


def may_come(error: BaseException) -> bool:
    """Whether a server that cannot be reached now may be reached in a moment: it starts, fails over, or is full."""
    return is_lost(error) or isinstance(error, asyncpg.TooManyConnectionsError)


def in_our_words(error: BaseException, place: str, *, standby: bool = False) -> StoreError | NotFound:
    """What an error means for a store at `place`, and what to do. `standby`: the server follows another one now."""
    for kinds, word, what, remedy in _WORDS:
        if isinstance(error, kinds):
            if word is StoreReadOnly and standby:
                break
            return word(f"Expected {place} {what}: {error}", remedy=remedy)
    if standby or is_lost(error):
        return StoreBusy(
            f"Expected {place} to answer, but it cannot be reached: {str(error) or type(error).__name__}",
            remedy="Nothing committed is lost. It is tried again; if it lasts, see whether the server runs, and where.",
        )
    return StoreError(f"Expected {place} to answer, but it failed: {error}", remedy="See the message; try again.")


_WORDS: tuple[tuple[tuple[type[BaseException], ...], type[StoreError] | type[NotFound], str, str], ...] = (
    (_AGAIN, StoreBusy, "to do it now, but it could not",
     "It is tried again; if it lasts, see in pg_stat_activity who holds the lock, or what the server is busy with."),
    ((asyncpg.ProtocolViolationError,), StoreError, "to take the settings that a connection begins with, but it does not",
     "Behind a pool such as PgBouncer add pooled=true to the store's URL."),
    ((asyncpg.DiskFullError,), StoreFull, "to have room, but its disk is full",
     "Make room on the server's disk and resume; nothing committed is lost."),
    ((asyncpg.ReadOnlySQLTransactionError,), StoreReadOnly, "to take what is written, but it is read-only",
     "Let this database be written (default_transaction_read_only), or name the primary."),
    ((asyncpg.InsufficientPrivilegeError,), StoreReadOnly, "to allow what a store needs, but it does not",
     "Let this role own the schema `perdure`, or make it with a role that may: GRANT CREATE ON DATABASE … TO …."),
    ((asyncpg.DataCorruptedError, asyncpg.IndexCorruptedError), StoreDamaged, "to be a sound database, but it is not",
     "Stop, keep a copy of the data directory, and restore a backup; `perdure verify` names what is damaged."),
    ((asyncpg.InvalidCatalogNameError,), NotFound, "to be there, but there is no such database",
     "Create the database, or name another; its tables are made by themselves."),
    (_NOT_LET_IN, StoreError, "to let this user in, but it does not",
     "Check the user and the password in the store's URL, or in the file that `passfile` names."),
)  # fmt: skip
