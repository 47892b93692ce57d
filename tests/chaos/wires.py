"""Wires between workers and a server that can be cut, made slow, or fall silent: proxies, which run wherever TCP does.

What is silent says nothing, not even that a connection was closed: to both ends the other one is there, and does not answer.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from crew import Crew
from receiver import listening

Way = Literal["open", "cut", "silent", "deaf", "slow", "forgotten"]
"""How a wire is. `cut`: connections are reset and refused; `deaf`: answers do not arrive; `forgotten`: the connections there
are fall silent for ever, new ones are as ever (a router that was changed)."""
SLOW_SECONDS = (0.02, 0.15)
BYTES = 65_536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time to linger: the other end is told that the connection is gone


class ProxiedWires:
    """A wire for each worker, which leads through a process that reads and writes what it is to carry.

    `ways`: how it can be; `url`: by which a worker reaches the database; `enter`: what a worker's process does first.
    """

    ways: Sequence[Way] = ("cut", "silent", "deaf", "slow", "forgotten")

    def __init__(self, ports: Sequence[int], database: str, ask: socket.socket) -> None:
        self._ports = ports
        self._database = database
        self._ask = ask.makefile("rw")

    def url(self, number: int) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._ports[number]}/{self._database}"

    def enter(self, number: int) -> None:
        """It is in the same network as all."""

    def change(self, number: int, way: Way) -> None:
        self._ask.write(json.dumps([number, way]) + "\n")
        self._ask.flush()
        assert self._ask.readline(), "Expected the wires to change, but their process has ended; see its log."


@contextmanager
def proxied(crew: Crew, count: int, sockets: Path, database: str, seed: int) -> Iterator[ProxiedWires]:
    """So many wires to the server that listens in the folder `sockets`."""
    ours, theirs = socket.socketpair()
    with ExitStack() as stack:
        stack.enter_context(ours)
        stack.enter_context(theirs)
        servers = [stack.enter_context(listening()) for _ in range(count)]
        ports = [server.getsockname()[1] for server in servers]
        crew.start("wires", lambda: _carry(theirs, servers, sockets / ".s.PGSQL.5432", seed))
        for server in servers:
            server.close()
        yield ProxiedWires(ports, database, ours)


def _carry(asked: socket.socket, servers: Sequence[socket.socket], target: Path, seed: int) -> int:
    async def live() -> None:
        wires = [Wire(target, random.Random(f"{seed} wire {number}")) for number in range(len(servers))]
        listeners = [
            await asyncio.start_server(wire.converse, sock=server) for wire, server in zip(wires, servers, strict=True)
        ]
        asked.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=asked)
        while line := await reader.readline():
            number, way = json.loads(line)
            wires[number].change(way)
            writer.write(line)
        for listener in listeners:
            listener.close()

    asyncio.run(live())
    return 0


class Wire:
    """One wire, and the conversations on it."""

    def __init__(self, target: Path, chance: random.Random) -> None:
        self._target = target
        self._chance = chance
        self._way: Way = "open"
        self._changed = asyncio.Event()
        self._conversations: list[Conversation] = []

    def change(self, way: Way) -> None:
        self._way = way
        self._changed.set()
        self._changed = asyncio.Event()
        for conversation in self._conversations:
            if way == "cut":
                conversation.reset()
            elif way == "forgotten":
                conversation.forgotten = True
            elif way == "open" and conversation.forgotten:
                conversation.reset()  # long after: the server notices at last that nobody is there

    async def converse(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Carry what one connection has to say, both ways, until one end has closed it."""
        conversation = Conversation([writer])
        self._conversations.append(conversation)
        try:
            if not await self._may_pass(conversation, answers=False):
                return
            there, back = await asyncio.open_unix_connection(str(self._target))
            conversation.ends.append(back)
            await asyncio.gather(
                self._pump(conversation, reader, back, answers=False), self._pump(conversation, there, writer, answers=True)
            )
        except OSError:
            pass  # the server is away, or one end is gone
        finally:
            self._conversations.remove(conversation)
            conversation.reset()

    async def _pump(self, conversation: Conversation, reader: StreamReader, writer: StreamWriter, *, answers: bool) -> None:
        while True:
            data = await reader.read(BYTES)
            if not await self._may_pass(conversation, answers=answers):
                return
            if not data:
                return conversation.reset()
            writer.write(data)
            await writer.drain()

    async def _may_pass(self, conversation: Conversation, *, answers: bool) -> bool:
        """Wait until something may pass; False where nothing ever will."""
        while not conversation.is_reset and (
            conversation.forgotten or self._way == "silent" or (self._way == "deaf" and answers)
        ):
            await self._changed.wait()
        if self._way == "slow":
            await asyncio.sleep(self._chance.uniform(*SLOW_SECONDS))
        if self._way == "cut":
            conversation.reset()
        return not conversation.is_reset


class Conversation:
    """A connection and its continuation to the server."""

    def __init__(self, ends: list[StreamWriter]) -> None:
        self.ends = ends
        self.forgotten = False
        self.is_reset = False

    def reset(self) -> None:
        """Tell both ends that it is over, and not what there was to say still."""
        self.is_reset = True
        for end in self.ends:
            connection = end.get_extra_info("socket")
            if connection is not None and connection.family != socket.AF_UNIX and connection.fileno() >= 0:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.transport.abort()
