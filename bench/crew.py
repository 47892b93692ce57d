"""Worker processes on one PostgreSQL, and the ledger in which their effects say when they begin and end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench import definitions, workloads
from perdure.app import open_client
from perdure.engine.events import Done
from perdure.operations.executions import Executions
from perdure.settings import Settings
from perdure.store.contract import FIRST_FINAL

STARTS_AT_ONCE = 500
LOOK_SECONDS = 0.02
WAIT_SECONDS_MAX = 300


class Entry(NamedTuple):
    """An effect of an execution begins or ends in a process; seconds of a clock that all processes share."""

    process: int
    execution: str
    begins: bool
    at: float


class Crew:
    """The workers of the store at `url`. `lease`: seconds; what they write lies in the folder."""

    def __init__(self, url: str, folder: Path, *, slots: int, lease: float = 6.0) -> None:
        self.processes: list[subprocess.Popen[str]] = []
        self.ledger = folder / "ledger"
        self.ledger.touch()
        self._url = url
        self._folder = folder
        self._slots = slots
        self._environ = {**os.environ, "PERDURE_STORE": url, "PERDURE_LEASE": f"{lease * 1_000:.0f}ms"}

    def start(self, count: int) -> None:
        """Start so many more; returns when all are ready. Raises RuntimeError where one is not."""
        command = [sys.executable, "-m", "perdure", "worker", "--json", "--nodes", str(workloads.NODES)]
        started = []
        for _ in range(count):
            with (self._folder / f"w{len(self.processes)}.log").open("w") as log:
                worker = subprocess.Popen(
                    [*command, "--slots", str(self._slots), "--name", f"w{len(self.processes)}"], cwd=self._folder,
                    env=self._environ, stdout=subprocess.PIPE, stderr=log, text=True,
                )  # fmt: skip
            started.append(worker)
            self.processes.append(worker)
        for worker in started:
            assert worker.stdout is not None
            said = worker.stdout.readline()
            if not said or json.loads(said)["event"] != "ready":
                raise RuntimeError(f"Expected a worker to be ready, but it said {said!r}. Its last words:\n{self.last_words()}")

    def check(self) -> None:
        """Raises RuntimeError where one has ended that was not killed."""
        for worker in self.processes:
            if worker.poll() not in (None, -signal.SIGKILL):
                raise RuntimeError(f"a worker ended with {worker.returncode}. Last words:\n{self.last_words()}")

    def last_words(self) -> str:
        """The ends of their logs."""
        return "\n".join(log.read_text(errors="replace")[-1_000:] for log in sorted(self._folder.glob("w*.log")))

    def entries(self) -> list[Entry]:
        """The whole ledger so far, in the order of time."""
        found = []
        for line in self.ledger.read_bytes().rpartition(b"\n")[0].splitlines():
            process, execution, what, at = line.decode().split()
            found.append(Entry(int(process), execution, what == "begins", int(at) / 1e9))
        return sorted(found, key=lambda entry: entry.at)

    def lines(self) -> int:
        """How many entries there are, roughly: by the ledger's size."""
        size = self.ledger.stat().st_size
        if not size:
            return 0
        with self.ledger.open("rb") as file:
            return size // len(file.readline())

    async def begin(self, executions: int, *, length: int, seconds: float) -> None:
        """Start so many executions, of so many effects each, for whoever takes them."""
        definition = workloads.read(definitions.stamped(length, str(self.ledger), seconds))
        settings = Settings(store=self._url)
        async with open_client(settings, create=True, node_files=(str(workloads.NODES),)) as (_, known):
            for first in range(0, executions, STARTS_AT_ONCE):
                some = min(STARTS_AT_ONCE, executions - first)
                await asyncio.gather(*(known.start(definition, None) for _ in range(some)))

    async def to_the_end(self) -> tuple[int, int]:
        """Wait until nothing is left to do; executions that did not succeed, and results that are recorded twice."""
        async with open_client(Settings(store=self._url)) as (store, known):
            until = time.monotonic() + WAIT_SECONDS_MAX
            while await store.rows(statuses=range(FIRST_FINAL), limit=1):
                self.check()
                if time.monotonic() > until:
                    raise RuntimeError(f"not all executions have ended within {WAIT_SECONDS_MAX} s:\n{self.last_words()}")
                await asyncio.sleep(LOOK_SECONDS)
            return await audited(known)


async def audited(known: Executions) -> tuple[int, int]:
    """Of all executions of a store: how many did not succeed, and how many results are recorded more than once."""
    ended = twice = 0
    rows = await known.list(limit=1_000_000)
    for row in rows:
        shown = await known.show(row.execution)
        ended += shown.state.status == "succeeded"
        done = Counter(fact.node for moment in shown.timeline for fact in moment.facts if isinstance(fact, Done))
        twice += sum(count - 1 for count in done.values())
    return len(rows) - ended, twice


@contextmanager
def crew(url: str, folder: Path, *, slots: int, lease: float = 6.0) -> Iterator[Crew]:
    """Workers that are gone when the block is left, whatever happens."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Crew(url, folder, slots=slots, lease=lease)
    try:
        yield made
    finally:
        for worker in made.processes:
            worker.kill()
            worker.wait()
            if worker.stdout is not None:
                worker.stdout.close()
