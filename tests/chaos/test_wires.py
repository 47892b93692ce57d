"""The wires of a storm: what passes them, what does not, and what either end hears of it."""

from __future__ import annotations

import asyncio
import random
import socket
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from wires import Way, Wire

from perdure.store.postgres import open_store
from perdure.testing.stores.postgres import PostgresPlace
from postgres_server import USER, PostgresServer

TURNS = 50


@asynccontextmanager
async def connected(folder: Path) -> AsyncIterator[tuple[Wire, StreamReader, StreamWriter]]:
    """A wire to a server that gives back what it is told, and a connection over it that has been used."""
    target = folder / "s"

    async def echo(reader: StreamReader, writer: StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    wire = Wire(target, random.Random(1))
    async with await asyncio.start_unix_server(echo, target), await asyncio.start_server(wire.converse, "127.0.0.1") as proxy:
        reader, writer = await asyncio.open_connection(*proxy.sockets[0].getsockname())
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        yield wire, reader, writer
        wire.change("cut")
        writer.close()


async def nothing_comes(reading: asyncio.Future[bytes]) -> bool:
    """Whether nothing is heard, though everybody had time to say something."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
    return not reading.done()


def test_a_cut_is_heard_at_once(tmp_path: Path) -> None:
    """The connection is reset, and a new one is as well."""

    async def main() -> None:
        async with connected(tmp_path) as (wire, reader, _):
            wire.change("cut")
            with pytest.raises(ConnectionResetError):
                await reader.read(5)

    asyncio.run(main())


@pytest.mark.parametrize("way", ["silent", "deaf"])
def test_silence_is_heard_by_nobody_and_what_was_said_arrives_afterwards(way: Way, tmp_path: Path) -> None:
    """Neither data nor an end; when the wire is open again it goes on as if nothing had been."""

    async def main() -> None:
        async with connected(tmp_path) as (wire, reader, writer):
            wire.change(way)
            writer.write(b"there?")
            reading = asyncio.ensure_future(reader.readexactly(6))
            assert await nothing_comes(reading)
            wire.change("open")
            assert await reading == b"there?"

    asyncio.run(main())


def test_a_forgotten_connection_stays_silent_while_new_ones_are_heard(tmp_path: Path) -> None:
    """Until somebody notices; then it is reset."""

    async def main() -> None:
        async with connected(tmp_path) as (wire, reader, writer):
            wire.change("forgotten")
            writer.write(b"there?")
            reading = asyncio.ensure_future(reader.readexactly(6))
            assert await nothing_comes(reading)
            other, beside = await asyncio.open_connection(*writer.get_extra_info("peername"))
            beside.write(b"new")
            assert await other.readexactly(3) == b"new"
            beside.close()
            assert not reading.done()
            wire.change("open")
            with pytest.raises(ConnectionResetError):
                await reading

    asyncio.run(main())


def test_a_store_gives_up_a_connection_over_which_nothing_is_acknowledged(
    postgres_server: PostgresServer, postgres_place: PostgresPlace
) -> None:
    """Over a network the kernel is told to end one after a third of a lease; what is silent would be waited for a minute."""

    async def main() -> None:
        wire = Wire(postgres_server.sockets / ".s.PGSQL.5432", random.Random(1))
        async with await asyncio.start_server(wire.converse, "127.0.0.1") as proxy:
            database = postgres_place.url.partition("@/")[2].partition("?")[0]
            host, port = proxy.sockets[0].getsockname()
            store = await open_store(f"postgresql://{USER}@{host}:{port}/{database}", lease=30_000_000)
            (connection,) = store._database._idle
            over = connection._transport.get_extra_info("socket")
            assert over.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            if sys.platform == "linux":
                assert over.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
            await store.close()

    asyncio.run(main())
