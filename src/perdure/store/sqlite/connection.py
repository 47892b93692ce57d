"""One connection to a SQLite file: its settings, its transactions, its counters, and its errors in Perdure's words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import apsw

from perdure.clock import Clock, SystemClock
from perdure.errors import NotFound, StoreBusy, StoreDamaged, StoreError, StoreFull, StoreReadOnly, StoreTooNew
from perdure.ids import ExecutionId
from perdure.store import migrations, queries

APPLICATION_ID = 0x50455244  # "PERD" in the header of the file: `file` and we tell a store from any other database by it
BUSY_TIMEOUT_MS = 5_000
CACHE_KIB = 32 << 10  # the tops of the trees of some millions of executions
CHECKPOINT_PAGES = 2_000  # 8 MB; 1,000 and 10,000 differ by 4 %, and a longer log makes a slower opening after a crash
LOG_BYTES = 32 + CHECKPOINT_PAGES * (24 + 4_096)  # what the log comes to until a checkpoint lets it begin anew
ROOM_BYTES_MIN = 256 << 20  # with less room on the disk nothing is taken ahead of need
WAL_BYTES_MAX = 64 << 20  # a log that one huge commit blew up shrinks again
SWITCHES_MAX = 100  # tries to turn the log on while others do the same; each waits for the lock
SYNCHRONOUS = ("FULL", "EXTRA", "NORMAL", "OFF")
TENANTS_MAX = 200_000  # hot executions whose tenant is kept in memory
MEMORY = ":memory:"

SQL = queries.load("perdure.store.sqlite")
MIGRATIONS = migrations.load("perdure.store.sqlite")

# What the database says when a row holds what it cannot store; everything else is about the disk, the lock or the file.
REFUSALS = (
    apsw.ConstraintError,
    apsw.MismatchError,
    apsw.RangeError,
    apsw.TooBigError,
    OverflowError,
    TypeError,
    ValueError,
)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


def connect(path: str, *, create: bool, busy_timeout_ms: int) -> apsw.Connection:
    """A connection to the file at `path` or to memory. Raises NotFound when it is missing and may not be created."""
    if path != MEMORY and not create and not Path(path).exists():
        raise NotFound(
            f"Expected a store at {path}, but there is no such file.", remedy="Check the path, or let the store be created."
        )
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    try:
        connection = apsw.Connection(path, flags=flags, statementcachesize=128)
        connection.set_busy_timeout(busy_timeout_ms)
    except apsw.Error as error:
        raise in_our_words(error, path) from error
    return connection


def in_our_words(error: BaseException, place: str, system_errno: int = 0) -> StoreError:
    """The StoreError that says what a driver's or the system's error means for a store at `place`, and what to do."""
    if isinstance(error, OSError):
        system_errno = error.errno or 0
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return StoreBusy(
            f"Expected the lock on {place} within the busy timeout, but another process kept it.",
            remedy="Try again; if it lasts, find the process that writes to the file, or raise the busy timeout.",
        )
    if isinstance(error, apsw.FullError) or system_errno in _FULL:
        return StoreFull(
            f"Expected room to write to {place}, but there is no space left.",
            remedy="Make room on the disk (or raise the quota) and resume; nothing committed is lost.",
        )
    if isinstance(error, apsw.CorruptError | apsw.NotADBError | apsw.FormatError):
        return StoreDamaged(
            f"Expected {place} to be a sound SQLite database, but it is not: {error}",
            remedy="Stop, keep a copy of all its files, and restore a backup; `perdure verify` names what is damaged.",
        )
    if isinstance(error, apsw.ReadOnlyError | apsw.CantOpenError | apsw.PermissionsError) or system_errno in _READ_ONLY:
        return StoreReadOnly(
            f"Expected to open and write {place}, but it cannot be: {error}",
            remedy="Let this user write the file and its folder (the log lies beside it), and check that the folder exists.",
        )
    return StoreError(f"Expected {place} to answer, but it failed: {error}", remedy="See the message; try again.")


class Database:
    """A connection with our settings and an up-to-date schema, at `place` (a path, or `:memory:`)."""

    def __init__(self, connection: apsw.Connection, *, synchronous: str = "FULL", clock: Clock | None = None) -> None:
        if synchronous not in SYNCHRONOUS:
            raise ValueError(f"Expected synchronous to be one of {', '.join(SYNCHRONOUS)}, but got {synchronous!r}.")
        self.connection = connection
        self.clock = clock if clock is not None else SystemClock()
        self.place = connection.filename or MEMORY
        self.in_memory = not connection.filename
        self.errors = _Errors(self)
        self.transaction = _Transaction(self)
        self.transactions = 0
        self.statements = 0
        self.rows = 0
        self.bytes = 0
        self._changes_before = connection.total_changes()
        self.flush_seconds = 0.0  # that the last commit took to reach the disk
        # The tenants of hot executions, so that their rows can bear it without a look-up: dropped when they leave.
        self.tenants: dict[ExecutionId, str] = {}
        self._cursor = connection.cursor()
        with self.errors:
            self._check_application()
            self._configure(synchronous)
            self._migrate()
        self._changes_before = connection.total_changes()
        self.transactions = self.statements = self.rows = self.bytes = 0

    # -- statements -----------------------------------------------------------------------------------------------------
    def all(self, sql: str, bindings: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query: fetched at once, so that no snapshot stays open and stops the checkpoints."""
        self.statements += 1
        return self._cursor.execute(sql, bindings).fetchall()

    def one(self, sql: str, bindings: Sequence[Any] | Mapping[str, Any] = ()) -> tuple[Any, ...] | None:
        """The first row of a query that gives at most one."""
        rows = self.all(sql, bindings)
        return rows[0] if rows else None

    def many(self, sql: str, rows: Iterable[Sequence[Any] | Mapping[str, Any]]) -> int:
        """Run a statement once per row of bindings; how many rows of the database it changed."""
        self.statements += 1
        before = self.connection.total_changes()
        self._cursor.executemany(sql, rows)
        return self.connection.total_changes() - before

    def many_returning(self, sql: str, rows: Iterable[Sequence[Any] | Mapping[str, Any]]) -> list[tuple[Any, ...]]:
        """Run a statement once per row of bindings; all rows that it answers with."""
        self.statements += 1
        return self._cursor.executemany(sql, rows).fetchall()

    def number(self, sql: str) -> int:
        """The one number that a query gives."""
        value = self._cursor.execute(sql).fetchall()[0][0]
        assert isinstance(value, int), f"Expected a number from {sql}, but got {value!r}."
        return value

    def commit(self) -> None:
        """Write the transaction and wait until it is on disk. Counted here: whoever asks may not disturb the next."""
        began = self.clock.monotonic()
        self._cursor.execute("COMMIT")
        self.flush_seconds = self.clock.monotonic() - began
        self.transactions += 1
        self.rows = self.connection.total_changes() - self._changes_before

    def remember_tenant(self, execution: ExecutionId, tenant: str) -> None:
        """Keep the tenant of a hot execution at hand."""
        if len(self.tenants) >= TENANTS_MAX:
            self.tenants.clear()
        self.tenants[execution] = tenant

    def find_tenants(self, executions: Iterable[ExecutionId]) -> dict[ExecutionId, str]:
        """The tenants of those of `executions` that exist."""
        wanted = tuple(dict.fromkeys(executions))
        return dict(self.all(SQL["tenants"], (apsw.carray(wanted),))) if wanted else {}

    def lengthen_log(self) -> None:
        """Give the log its full length at once: a flush of a file that grows costs half as much again as one that does not.

        Zeros are no frames, so SQLite takes them for the end of the log; appended, they never fall on a frame of another
        process. That they cannot be written is no reason not to work.
        """
        if self.in_memory:
            return
        try:
            log = os.open(self.connection.filename_wal, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError:
            return
        try:
            missing = LOG_BYTES - os.fstat(log).st_size
            disk = os.fstatvfs(log)
            if missing > 0 and disk.f_bavail * disk.f_frsize > ROOM_BYTES_MIN:
                os.write(log, bytes(missing))
        except OSError:
            pass
        finally:
            os.close(log)

    def close(self) -> None:
        """Answer no more; the connection stays open for whoever opened it."""
        self._cursor.close(True)
        self.transaction.close()

    # -- opening ----------------------------------------------------------------------------------------------------------
    def _check_application(self) -> None:
        """A file that holds something else is left alone: nothing is migrated into another application's tables."""
        application = self.number("PRAGMA application_id")
        if application == APPLICATION_ID:
            return
        tables = self.number("SELECT count(*) FROM sqlite_schema")
        # Asked once more, since another process may have made the store between the two questions.
        if application or (tables and self.number("PRAGMA application_id") != APPLICATION_ID):
            raise StoreError(
                f"Expected {self.place} to be a Perdure store or an empty file, but it is another application's database.",
                remedy="Name another path.",
            )

    def _configure(self, synchronous: str) -> None:
        run = self._cursor.execute
        if not self.in_memory:
            self._write_ahead()
        run(f"PRAGMA synchronous = {synchronous}")
        run(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        run(f"PRAGMA journal_size_limit = {WAL_BYTES_MAX}")
        run(f"PRAGMA cache_size = -{CACHE_KIB}")
        run("PRAGMA foreign_keys = OFF")
        run("PRAGMA temp_store = MEMORY")
        run("PRAGMA fullfsync = ON")  # macOS: F_FULLFSYNC, without which a flush stops at the drive's own memory
        run("PRAGMA checkpoint_fullfsync = ON")

    def _write_ahead(self) -> None:
        """Turn the write-ahead log on. Of several who make a store at once one does, and the others wait for it."""
        run = self._cursor.execute
        for _ in range(SWITCHES_MAX):
            mode = run("PRAGMA journal_mode").fetchall()[0][0]
            if mode == "wal":
                return
            run("PRAGMA page_size = 4096")
            run("PRAGMA auto_vacuum = INCREMENTAL")  # only before there is a table: decision 0033
            try:
                mode = run("PRAGMA journal_mode = WAL").fetchall()[0][0]
            except apsw.BusyError:
                # The switch does not wait by itself, since two that wait for each other would never end; this does.
                with self.transaction:
                    continue
            if mode != "wal":
                raise StoreReadOnly(
                    f"Expected a write-ahead log beside {self.place}, but its file system allows none.",
                    remedy="Put the store on a local disk; network file systems do not work.",
                )
        raise apsw.BusyError("the write-ahead log could not be turned on")

    def _migrate(self) -> None:
        version = self.number("PRAGMA user_version")
        if version > len(MIGRATIONS):
            # Before anything of it is read: even the table of migrations may look different there.
            raise StoreTooNew(
                f"Expected {self.place} to have at most schema {len(MIGRATIONS)}, but it has schema {version}, "
                "written by a newer Perdure.",
                remedy="Upgrade this installation, or open the store with the one that wrote it.",
            )
        if not migrations.missing(MIGRATIONS, self._applied(), self.place):
            return
        with self.transaction:
            # Another process may have been first: look again, under the lock.
            for migration in migrations.missing(MIGRATIONS, self._applied(), self.place):
                self._apply(migration)

    def _applied(self) -> dict[int, str]:
        if not self.number("SELECT count(*) FROM sqlite_schema WHERE name = 'migrations'"):
            return {}
        return dict(self.all("SELECT number, checksum FROM migrations"))

    def _apply(self, migration: migrations.Migration) -> None:
        run = self._cursor.execute
        if migration.number == 1:
            run(f"PRAGMA application_id = {APPLICATION_ID}")
            run("CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL) STRICT")
        run(migration.sql)
        run("INSERT INTO migrations VALUES (?, ?, ?)", (migration.number, migration.name, migration.checksum))
        run(f"PRAGMA user_version = {migration.number}")


class _Transaction:
    """`with database.transaction:` writes all of it or none. It never awaits, so one per connection is enough."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cursor = database.connection.cursor()
        self._execute = self._cursor.execute

    def __enter__(self) -> None:
        self._execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._database.statements += 2
        if error is None:
            try:
                return self._database.commit()
            except BaseException:
                self._roll_back()
                raise
        self._roll_back()

    def close(self) -> None:
        self._cursor.close(True)

    def _roll_back(self) -> None:
        # A full disk or a broken one has rolled back by itself already.
        if self._database.connection.in_transaction:
            self._execute("ROLLBACK")


class _Errors:
    """`with database.errors:` lets no driver's error out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if isinstance(error, apsw.ConnectionClosedError | apsw.CursorClosedError):
            raise StoreError(
                f"Expected the store at {self._database.place} to be open, but it is closed.", remedy="Open it again."
            ) from error
        if isinstance(error, OverflowError | UnicodeError):
            raise StoreError(
                f"Expected texts in Unicode and numbers of 64 bits, but the database cannot store a value: {error}",
                remedy="Change the value; nothing was written.",
            ) from error
        if isinstance(error, apsw.Error | OSError):
            self._raise(error)

    def _raise(self, error: BaseException) -> NoReturn:
        try:
            system_errno = self._database.connection.system_errno if isinstance(error, apsw.IOError) else 0
        except apsw.ConnectionClosedError:
            system_errno = 0
        raise in_our_words(error, self._database.place, system_errno) from error
