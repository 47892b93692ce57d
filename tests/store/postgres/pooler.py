"""What stands between a store and PostgreSQL: a pool in transaction mode, as strict as one can be, that can also cut the wire.

A client's next transaction always runs on another connection to the server than the one before, so that whatever a store would
keep in a connection is missed at once. Start-up parameters that a pool does not know are refused, as PgBouncer does.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from pathlib import Path
from typing import Any

CANCEL, SSL = 80877102, 80877103
KNOWN = {"user", "database", "client_encoding", "application_name"}
IDLE, CUT = b"I", b"-"

Watch = Callable[[str, bytes, bytes], bool]
"""Sees each message, ("client" or "server", its kind, its body), before it goes on; True cuts the client's connection there."""


class Server:
    """A connection to PostgreSQL that clients are lent."""

    def __init__(self, reader: StreamReader, writer: StreamWriter, greeting: bytes) -> None:
        self.reader = reader
        self.writer = writer
        self.ready: asyncio.Queue[bytes] = asyncio.Queue()
        self.greeting = greeting  # what a client hears that connects: parameters, and that all is well


class Pooler:
    """Listens in `folder`; `url` of it is that of the server's database, by way of the pool. `watch` may be set at any time."""

    def __init__(self, folder: Path, sockets: Path, user: str, database: str) -> None:
        self.url = f"postgresql://{user}@/{database}?host={folder}&pooled=true"
        self.plain_url = f"postgresql://{user}@/{database}?host={folder}"
        self.watch: Watch = lambda side, kind, body: False
        self.lent = 0
        self._server_path = str(sockets / ".s.PGSQL.5432")
        self._path = str(folder / ".s.PGSQL.5432")
        self._hello = {"user": user, "database": database}
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._call(self._listen())

    def close(self) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _call(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _listen(self) -> None:
        self._servers = asyncio.Queue[Server]()
        for _ in range(6):  # always another one: in the order in which they are given back
            self._servers.put_nowait(await self._connect())
        self._listening = await asyncio.start_unix_server(self._serve, self._path)

    async def _stop(self) -> None:
        self._listening.close()
        while not self._servers.empty():
            self._servers.get_nowait().writer.close()

    async def _connect(self) -> Server:
        reader, writer = await asyncio.open_unix_connection(self._server_path)
        pairs = b"".join(text.encode() + b"\0" for pair in self._hello.items() for text in pair) + b"\0"
        writer.write(struct.pack("!ii", 8 + len(pairs), 196608) + pairs)
        greeting = b""
        while True:
            kind, body = await _message(reader)
            greeting += _packed(kind, body)
            if kind == b"Z":
                return Server(reader, writer, greeting)

    # -- a client -----------------------------------------------------------------------------------------------------
    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        server: Server | None = None
        pump: asyncio.Task[None] | None = None
        try:
            if not await self._greet(reader, writer):
                return
            while True:
                kind, body = await _message(reader)
                if kind == b"X" or self.watch("client", kind, body):
                    return
                if server is None:
                    server = await self._servers.get()
                    self.lent += 1
                    pump = asyncio.create_task(self._pump(server, writer))
                server.writer.write(_packed(kind, body))
                if kind in (b"S", b"Q") and await server.ready.get() == IDLE:
                    assert pump is not None
                    pump.cancel()
                    self._servers.put_nowait(server)
                    server = None
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            if server is not None and pump is not None:  # a transaction that nobody will end: the server rolls it back
                pump.cancel()
                server.writer.close()
                self._servers.put_nowait(await self._connect())
            writer.close()

    async def _greet(self, reader: StreamReader, writer: StreamWriter) -> bool:
        (size, code) = struct.unpack("!ii", await reader.readexactly(8))
        if code == SSL:
            writer.write(b"N")
            (size, code) = struct.unpack("!ii", await reader.readexactly(8))
        if code == CANCEL:
            return False
        texts = (await reader.readexactly(size - 8)).rstrip(b"\0").split(b"\0")
        unknown = {name.decode() for name in texts[::2]} - KNOWN
        if unknown:
            body = b"SFATAL\0C08P01\0M" + f"unsupported startup parameter: {', '.join(sorted(unknown))}".encode() + b"\0\0"
            writer.write(_packed(b"E", body))
            return False
        server = await self._servers.get()
        writer.write(server.greeting)
        self._servers.put_nowait(server)
        return True

    async def _pump(self, server: Server, writer: StreamWriter) -> None:
        """Pass on what the server says; whenever it is ready for more, say in which state it is."""
        while True:
            kind, body = await _message(server.reader)
            if self.watch("server", kind, body):
                writer.close()
                server.ready.put_nowait(CUT)
                return
            writer.write(_packed(kind, body))
            if kind == b"Z":
                server.ready.put_nowait(body)


async def _message(reader: StreamReader) -> tuple[bytes, bytes]:
    kind = await reader.readexactly(1)
    (size,) = struct.unpack("!i", await reader.readexactly(4))
    return kind, await reader.readexactly(size - 4)


def _packed(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body
