"""A PostgreSQL server in a process of its own, told what to do line by line: whoever forks has no threads, and it has some."""

from __future__ import annotations

import json
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from crew import Crew

sys.path.insert(0, str(Path(__file__).parents[1]))  # the server is that of all tests

from postgres_server import PostgresServer

OPTIONS = {"max_connections": "200"}
"""Connections of processes that were killed are given back only when the server notices."""
_END = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'perdure'"


class Database:
    """The server as whoever rages sees it. `url` is that of its only database, reached without a network."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire.makefile("rw")
        self.url = str(self._ask("start"))

    @property
    def name(self) -> str:
        """The name of that database."""
        return self.url.partition("@/")[2].partition("?")[0]

    @property
    def sockets(self) -> str:
        """The folder in which the server listens."""
        return self.url.partition("host=")[2]

    def kill(self) -> None:
        """What the loss of power does to it."""
        self._ask("kill")

    def start(self) -> None:
        """Start it again, and wait until it answers."""
        self._ask("start")

    def end_connections(self, share: int = 1) -> int:
        """End every connection of a store, or one of so many; how many there were."""
        ((count,),) = self.sql(f"{_END} AND pid % {share} = 0")
        return int(count)

    def bury(self, pid: int) -> None:
        """Let the lease of a process that was killed run out at once."""
        self.sql(f"UPDATE perdure.workers SET beat = 0 WHERE pid = {pid}")

    def sql(self, sql: str) -> list[list[Any]]:
        """Run SQL as somebody who has nothing to do with the store; rows of texts."""
        rows = self._ask("sql", sql)
        assert isinstance(rows, list)
        return rows

    def remove(self) -> None:
        """Stop it, and leave nothing of it behind."""
        self._ask("remove")

    def _ask(self, what: str, sql: str = "") -> Any:
        self._wire.write(json.dumps([what, sql]) + "\n")
        self._wire.flush()
        line = self._wire.readline()
        assert line, "Expected an answer of the process that has the server, but it has ended; see its log."
        answer = json.loads(line)
        assert "error" not in answer, answer.get("error")
        return answer["said"]


@contextmanager
def database(
    crew: Crew, folder: Path, *, options: Mapping[str, str] = MappingProxyType({}), network: str = "",
    before: Callable[[], None] = lambda: None,
) -> Iterator[Database]:  # fmt: skip
    """A server that runs until the context is left. `network`: who is let in by TCP; `before`: called where it will run."""
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def serve() -> int:
            before()
            return _serve(theirs, folder, {**OPTIONS, **options}, network)

        crew.start("server", serve)
        found = Database(ours)
        try:
            yield found
        finally:
            found.remove()


def _serve(wire: socket.socket, folder: Path, options: Mapping[str, str], network: str) -> int:
    """What the process that has the server does, until it is to remove it."""
    server = PostgresServer(folder, options=options, network=network)
    name = ""
    with wire.makefile("rw") as lines:
        for line in lines:
            what, sql = json.loads(line)
            try:
                if what == "start":
                    server.start()
                    name = name or server.new_database()
                    said: Any = server.url(name)
                elif what == "sql":
                    said = [row if isinstance(row, str) else [*map(str, row)] for row in server.sql(sql, database=name)]
                else:
                    said = getattr(server, what)()
                answer = {"said": said}
            except Exception:  # noqa: BLE001 - whoever asked must hear of it
                answer = {"error": traceback.format_exc()}
            lines.write(json.dumps(answer) + "\n")
            lines.flush()
            if what == "remove":
                return 0
    server.remove()
    return 0
