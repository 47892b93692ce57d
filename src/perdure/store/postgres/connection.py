"""Connections to PostgreSQL: lent one by one, found again when the server comes back, in transactions, counted."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from perdure.clock import Clock, SystemClock
from perdure.errors import PerdureError, Refused, StoreError
from perdure.store import queries
from perdure.store.postgres.address import REMEDY, Address
from perdure.store.postgres.complaints import REFUSALS, in_our_words, is_lost, may_come

log = logging.getLogger("perdure.store")

SQL = queries.load("perdure.store.postgres")

CONNECTIONS_MAX = 4  # one writes; the others read, claim and send. More would only stand in line at the same two disks
CONNECT_SECONDS = 10
ANSWER_SECONDS = 60  # a server that acknowledges what it is asked, and does not answer it for longer, is taken for lost
SILENCE_MS_MIN = 500
BACK_SECONDS = 60  # a server that restarts or fails over is waited for this long before `store.busy`
QUESTIONS_MAX = 3  # times that one is asked whose connection is lost each time
AGAIN_SECONDS = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)  # between tries to reach it; the last again and again

# A plan made while a table was empty reads it whole for ever after, and a plan made anew each time costs more than the
# statement: so plans are made once, always by the indexes, and never compiled.
PLANS = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "jit": "off"}

Answer = TypeVar("Answer")


class Session:
    """A connection, lent to one caller."""

    __slots__ = ("_database", "connection")

    def __init__(self, database: Database, connection: asyncpg.Connection) -> None:
        self._database = database
        self.connection = connection

    async def rows(self, name: str, *arguments: Any) -> list[Any]:
        """All rows that a query answers with."""
        self._database.statements += 1
        return await self.connection.fetch(SQL[name], *arguments)

    async def row(self, name: str, *arguments: Any) -> Any:
        """The first row of a query that gives at most one."""
        rows = await self.rows(name, *arguments)
        return rows[0] if rows else None

    async def run(self, name: str, *arguments: Any) -> int:
        """Run a statement; how many rows it wrote."""
        self._database.statements += 1
        status = await self.connection.execute(SQL[name], *arguments)
        written = int(status.rpartition(" ")[2])
        self._database.rows_written += written
        return written

    def count_bytes(self, size: int) -> None:
        """So many bytes of bodies were written."""
        self._database.bytes += size


class Database:
    """The database at an address. `busy_ms`: how long a lock is waited for; `patient`: a server that is away is waited for.

    `idle_ms`: how long the server keeps a transaction of which nothing is heard, with the rows that it has locked; and for a
    third of it (a heartbeat) a server is believed to be there that does not even acknowledge what is sent to it.
    """

    def __init__(self, address: Address, *, busy_ms: int, patient: bool = True, idle_ms: int = ANSWER_SECONDS * 1_000) -> None:
        self.address = address
        self.place = address.place
        self.clock: Clock = SystemClock()
        self.transactions = 0
        self.statements = 0
        self.rows_written = 0
        self.bytes = 0
        self._patient = patient
        self._silence_ms = max(SILENCE_MS_MIN, idle_ms // 3)
        self._settings = {
            **PLANS,
            "lock_timeout": str(busy_ms),
            # Who vanishes in the midst of a transaction must not keep the rows it has locked.
            "idle_in_transaction_session_timeout": str(idle_ms),
            "default_transaction_isolation": "read committed",
            "application_name": "perdure",
        }
        self._begin = "BEGIN ISOLATION LEVEL READ COMMITTED"
        if address.pooled:
            # Nothing is kept in a connection that the next transaction may not have: each begins with what it needs.
            names = [*PLANS, "lock_timeout", "idle_in_transaction_session_timeout"]
            self._begin += "".join(f"; SET LOCAL {name} = '{self._settings[name]}'" for name in names)
        self._idle: list[asyncpg.Connection] = []
        self._lent: set[asyncpg.Connection] = set()
        self._places = asyncio.Semaphore(CONNECTIONS_MAX)
        self._closed = False

    # -- using it -----------------------------------------------------------------------------------------------------
    async def read(self, ask: Callable[[Session], Awaitable[Answer]]) -> Answer:
        """The answer to a question that writes nothing; asked again where the connection was lost over it."""
        for tries_left in reversed(range(QUESTIONS_MAX)):
            try:
                async with self._translated(asks_again=tries_left > 0), self._session() as session:
                    if not self.address.pooled:
                        return await ask(session)
                    async with self._begun(session):
                        return await ask(session)
            except _Lost:
                continue
        raise AssertionError("the last question is answered, or fails")

    async def all(self, name: str, *arguments: Any) -> list[Any]:
        """All rows of a query that writes nothing."""
        return await self.read(lambda session: session.rows(name, *arguments))

    async def one(self, name: str, *arguments: Any) -> Any:
        """The first row of a query that writes nothing and gives at most one."""
        return await self.read(lambda session: session.row(name, *arguments))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """All that is written within it is on disk when it is left, or none of it.

        Raises StoreBusy also where the answer to the COMMIT was lost: then it is not known which of both.
        """
        async with self._translated(), self._session() as session, self._begun(session):
            yield session
        self.transactions += 1

    async def alone(self, write: Callable[[Session], Awaitable[Answer]]) -> Answer:
        """Run one statement that is a transaction by itself, without a way to the server for its begin and one for its end."""
        if self.address.pooled:
            async with self.transaction() as session:
                return await write(session)
        async with self._translated(), self._session() as session:
            answer = await write(session)
        self.transactions += 1
        return answer

    async def close(self) -> None:
        """Answer no more. What is under way fails."""
        self.abandon()
        await asyncio.sleep(0)  # the driver's own callbacks

    def abandon(self) -> None:
        """What the death of the process does to its connections."""
        self._closed = True
        for connection in (*self._idle, *self._lent):
            cut(connection)
        self._idle.clear()

    @property
    def is_closed(self) -> bool:
        return self._closed

    # -- connections --------------------------------------------------------------------------------------------------
    async def try_to_connect(self) -> None:
        """Raises what is wrong with the address, the server or the user, at once."""
        async with self._translated():
            try:
                self._idle.append(await self.connect())
            except asyncpg.exceptions.ClientConfigurationError as error:
                raise Refused(f"Expected a URL that the driver understands, but {error}.", remedy=REMEDY) from error

    async def connect(self, *, patient: bool = False) -> asyncpg.Connection:
        """A new connection. `patient`: wait for a server that restarts or fails over. Raises the driver's errors."""
        begun = self.clock.monotonic()
        waits = iter(AGAIN_SECONDS)
        pause = 0.0
        while True:
            self._check_open()
            try:
                return await self._connect()
            except Exception as error:
                if not patient or not may_come(error) or self.clock.monotonic() - begun > BACK_SECONDS:
                    raise
                if not pause:
                    log.warning("%s cannot be reached, and is waited for: %s", self.place, str(error) or type(error).__name__)
            pause = next(waits, pause)
            await asyncio.sleep(pause)

    async def _connect(self) -> asyncpg.Connection:
        given: dict[str, Any] = {"timeout": CONNECT_SECONDS, "command_timeout": ANSWER_SECONDS}
        if self.address.pooled:
            given |= {"statement_cache_size": 0}
        else:
            given |= {"server_settings": self._settings, "max_cached_statement_lifetime": 0}
        if "target_session_attrs" not in self.address.dsn:
            given["target_session_attrs"] = "primary"  # of several hosts, the one that can be written
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(self.address.dsn, **given)
        _limit_silence(connection, self._silence_ms)
        return connection

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Session]:
        self._check_open()
        async with self._places:
            connection = await self._lend()
            self._lent.add(connection)
            try:
                yield Session(self, connection)
            except BaseException as error:
                self._lent.discard(connection)
                if _leaves_it_usable(error) and not connection.is_closed() and not self._closed:
                    self._idle.append(connection)
                else:
                    connection.terminate()
                if is_lost(error):
                    self._drop_idle()
                raise
            self._lent.discard(connection)
            if self._closed:
                connection.terminate()
            else:
                self._idle.append(connection)

    async def _lend(self) -> asyncpg.Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self.connect(patient=self._patient)

    def _drop_idle(self) -> None:
        """Where one connection was lost the others are not trusted either: the server may have restarted."""
        for connection in self._idle:
            connection.terminate()
        self._idle.clear()

    @asynccontextmanager
    async def _begun(self, session: Session) -> AsyncIterator[None]:
        connection = session.connection
        self.statements += 2
        await connection.execute(self._begin)
        try:
            yield
        except BaseException as error:
            if _leaves_it_usable(error) and not connection.is_closed():
                await connection.execute("ROLLBACK")
            raise
        await connection.execute("COMMIT")

    # -- errors -------------------------------------------------------------------------------------------------------
    @asynccontextmanager
    async def _translated(self, *, asks_again: bool = False) -> AsyncIterator[None]:
        """Let no error of the driver out but refusals. `asks_again`: the caller does, where the connection was lost."""
        try:
            yield
        except (PerdureError, *REFUSALS):
            raise
        except Exception as error:
            self._check_open()
            if asks_again and is_lost(error) and not isinstance(error, TimeoutError):
                raise _Lost from error
            raise in_our_words(error, self.place, standby=await self._is_standby(error)) from error

    async def _is_standby(self, error: BaseException) -> bool:
        """Whether a server that refuses to be written does so because it follows another one now: then there is another."""
        if not isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            return False
        self._drop_idle()
        try:
            connection = await self._connect()
        except Exception as found:  # noqa: BLE001 - none is found that can be written: that is what was asked
            return may_come(found)
        connection.terminate()
        return False

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"Expected the store at {self.place} to be open, but it is closed.", remedy="Open it again.")


def _limit_silence(connection: Any, milliseconds: int) -> None:
    """Have the kernel, where it can, end a connection over a network whose other end acknowledges nothing for so long."""
    over = connection._transport.get_extra_info("socket")  # the driver has no other way to it
    if over is None or over.family not in (socket.AF_INET, socket.AF_INET6):
        return
    over.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    seconds = max(1, milliseconds // 1_000)
    for name, limit in (("KEEPIDLE", seconds), ("KEEPINTVL", seconds), ("KEEPCNT", 1), ("USER_TIMEOUT", milliseconds)):
        option = getattr(socket, f"TCP_{name}", None)
        if option is not None:
            over.setsockopt(socket.IPPROTO_TCP, option, limit)


def cut(connection: asyncpg.Connection) -> None:
    """Cut a connection off, without a word to the server."""
    try:
        connection.terminate()
    except RuntimeError:
        return  # its loop has ended, and took it along


class _Lost(Exception):
    """The connection went away over a question."""


def _leaves_it_usable(error: BaseException) -> bool:
    """Whether a connection can be used on after this error; after a cancellation nobody knows what it is at."""
    return isinstance(error, Exception) and not is_lost(error)
