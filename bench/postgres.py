"""The PostgreSQL that the benchmarks run on: started by them on a free port of this machine alone, gone with them.

Every engine gets the same settings, which a small server of one's own might have, and every one a server that has just begun.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from bench import STORE

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))  # the server of the tests is a server, too

from postgres_server import _SERVERS_VERSION, USER, PostgresServer, _package  # noqa: E402 - after the path

HOST = "127.0.0.1"
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",  # no checkpoint in the midst of a measurement
    "max_connections": "100",
}
_numbers = itertools.count(1)


class BenchServer(PostgresServer):
    """One that listens on a port, as peers expect."""

    def __init__(self) -> None:
        with socket.create_server((HOST, 0)) as probe:
            self.port = probe.getsockname()[1]
        super().__init__(options={**SETTINGS, "listen_addresses": HOST, "port": str(self.port)})

    def url(self, database: str = USER) -> str:
        return f"postgresql://{USER}@{HOST}:{self.port}/{database}"

    def processes(self) -> list[int]:
        """The server and all that it has started and that still runs."""
        assert self._process is not None
        return [self._process.pid, *self._children()]


@contextmanager
def server() -> Iterator[BenchServer]:
    """A server with nothing in it, until the end of the block."""
    made = BenchServer()
    try:
        made.start()
        yield made
    finally:
        made.remove()


@contextmanager
def empty_store(url: str) -> Iterator[str]:
    """The URL of a new database on the server of `url`; until the end of the block it is what workloads run on."""
    made = new_database(url)
    before = os.environ.get(STORE)
    os.environ[STORE] = made
    try:
        yield made
    finally:
        if before is None:
            del os.environ[STORE]
        else:
            os.environ[STORE] = before


def new_database(url: str) -> str:
    """The URL of an empty database beside that of `url`, which must be allowed to make one."""
    name = f"bench_{os.getpid()}_{next(_numbers)}"

    async def make() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()

    asyncio.run(make())
    return f"{url.rpartition('/')[0]}/{name}"


def release() -> str:
    """Such as `18.4`: what the server's own program says."""
    program = _package() / _SERVERS_VERSION / "bin" / "postgres"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return said.split()[-1]


def told() -> str:
    """The settings, for whoever reads a table."""
    return ", ".join(f"{name}={value}" for name, value in SETTINGS.items())
