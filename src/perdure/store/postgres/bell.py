"""Hearing of other workers' writes: a connection that listens, and one ring at most for each commit that concerns others."""

from __future__ import annotations

import asyncio

import asyncpg

from perdure.store.postgres.complaints import is_lost
from perdure.store.postgres.connection import Database, cut

CHANNEL = "perdure"
POLL_SECONDS = 0.05  # where nobody can listen
ANSWER_SECONDS = 10


class Bell:
    """Whether something was left for the homes of this process. `name`: who rings, so that one does not hear oneself.

    Behind a pool nothing can be heard, since a connection is somebody else's after each transaction: then it says yes.
    """

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name
        self._rang = True  # what came before one listened
        self._heard: asyncio.Event | None = None
        self._connection: asyncpg.Connection | None = None
        self._one_by_one = asyncio.Lock()

    async def changed(self) -> bool:
        """Whether it rang since this was last asked."""
        await self._listen()
        async with self._one_by_one:
            await self._hear()
        rang, self._rang = self._rang, self._database.address.pooled
        if self._heard is not None and not self._rang:
            self._heard.clear()
        return rang

    async def wait(self, seconds: float) -> bool:
        """Sleep until it rings, but no longer than this; whether it rang."""
        if self._database.address.pooled:
            await asyncio.sleep(min(seconds, POLL_SECONDS))
            return True
        await self._listen()
        if self._rang:
            return True
        if self._heard is None:
            self._heard = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                await self._heard.wait()
        except TimeoutError:
            return False
        return True

    def note(self) -> None:
        """It rings here."""
        self._rang = True
        if self._heard is not None:
            self._heard.set()

    async def ring(self) -> None:
        """Tell the others, in a transaction of its own: within another it would hold up every commit of the server."""
        await self._database.all("ring", self._name)

    def abandon(self) -> None:
        """Hear nothing more."""
        if self._connection is not None:
            cut(self._connection)

    async def _listen(self) -> None:
        if self._database.address.pooled or (self._connection is not None and not self._connection.is_closed()):
            return
        async with self._one_by_one:
            if self._connection is not None and not self._connection.is_closed():
                return
            self.note()  # while nobody listened it may have rung
            try:
                connection = await self._database.connect()
                await connection.add_listener(CHANNEL, self._on_ring)
            except Exception as error:
                if not is_lost(error):
                    raise
                return
            connection.add_termination_listener(lambda _connection: self.note())
            self._connection = connection

    async def _hear(self) -> None:
        """What was told before this question was asked is heard before it is answered."""
        if self._connection is None or self._rang:
            return
        try:
            await self._connection.execute("SELECT 1", timeout=ANSWER_SECONDS)
        except Exception as error:
            if not is_lost(error):
                raise
            self._lose()

    def _on_ring(self, _connection: object, _pid: int, _channel: str, name: object) -> None:
        if name != self._name:
            self.note()

    def _lose(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection = None
        self.note()
