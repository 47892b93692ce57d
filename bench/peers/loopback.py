"""Servers on free ports of this machine alone, started and stopped by a runner, and a client that costs them little.

Only the standard library is imported here, since runners use this inside their engine's own environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
UP_SECONDS_MAX = 90
IDLE_SECONDS_MAX = 1  # Node.js closes what was idle for 5 s, and might do so just as the next request is under way
NOWHERE = "http://127.0.0.1:9"  # the discard port: whatever would go to another machine ends here
QUIET = {"HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE, "NO_PROXY": "127.0.0.1,localhost", "DO_NOT_TRACK": "1"}


def free_ports(count: int) -> list[int]:
    """Different ports that nothing listens on now."""
    probes = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@contextmanager
def data_folder(name: str) -> Iterator[Path]:
    """A folder for an engine's data, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=f"peer-{name}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def server(command: list[str], environ: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server that runs until the end of the block, with all the processes that it starts."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env={**os.environ, **QUIET, **environ}, stdout=out, stderr=out, cwd=log.parent, start_new_session=True
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=5)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


async def until_up(client: Client, path: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Returns when the server answers the path with success."""
    for _ in range(UP_SECONDS_MAX * 10):
        if process.poll() is not None:
            break
        try:
            await client.get(path)
            return
        except (OSError, Refused, asyncio.IncompleteReadError):
            await asyncio.sleep(0.1)
    raise RuntimeError(f"Expected {process.args!r} to answer {path}, but it does not. Its last words:\n{last_words(log)}")


def last_words(log: Path) -> str:
    """The end of a server's log."""
    return log.read_text(errors="replace")[-2_000:]


class Refused(RuntimeError):
    """The server answered with something other than success; the message has the status and the beginning of the body."""


class Client:
    """HTTP/1.1 over connections that are kept: as little work as possible, so that the engine gets the machine."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def get(self, path: str) -> bytes:
        return await self._ask(f"GET {path} HTTP/1.1\r\nHost: localhost:{self._port}\r\n\r\n".encode())

    async def post(self, path: str, body: Any) -> bytes:
        """The body of the answer; `Refused` where it is no success. Without a body (None) nothing is sent."""
        content = b"" if body is None else json.dumps(body).encode()
        kind = "" if body is None else "Content-Type: application/json\r\n"
        head = f"POST {path} HTTP/1.1\r\nHost: localhost:{self._port}\r\n{kind}Content-Length: {len(content)}\r\n\r\n"
        return await self._ask(head.encode() + content)

    async def _ask(self, request: bytes) -> bytes:
        reader, writer = await self._connection()
        try:
            writer.write(request)
            status, body = await _answer(reader)
        except BaseException:
            writer.close()
            raise
        self._idle.append((time.monotonic(), reader, writer))
        if not 200 <= status < 300:
            raise Refused(f"{status}: {body[:300]!r}")
        return body

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            since, reader, writer = self._idle.pop()
            if time.monotonic() - since < IDLE_SECONDS_MAX and not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(HOST, self._port)

    def close(self) -> None:
        for *_, writer in self._idle:
            writer.close()
        self._idle.clear()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head.split(b" ", 2)[1])
    if b"\r\ntransfer-encoding: chunked" in head:
        return status, await _chunks(reader)
    _, found, rest = head.partition(b"\r\ncontent-length:")
    return status, await reader.readexactly(int(rest.split(b"\r\n", 1)[0])) if found else b""


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int(await reader.readline(), 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
    await reader.readline()
    return b"".join(parts)


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Client]:
    """A client of the server at that port of this machine."""
    opened = Client(port)
    try:
        yield opened
    finally:
        opened.close()
