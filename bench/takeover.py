"""One of two workers on PostgreSQL killed with SIGKILL: how soon the other one goes on with what it had, and what is lost."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.crew import LOOK_SECONDS, WAIT_SECONDS_MAX, Crew, crew
from perdure.settings import Settings

HEARTBEATS_A_LEASE = 3  # a worker is heard of so often within its lease (docs/guide/postgresql.md)
LEASE_SECONDS = Settings.model_fields["lease"].default / 1e6
LEASE_SECONDS_MIN = 1.0


class Takeover(NamedTuple):
    """Seconds from the kill until the first, half and all of what the dead worker had began an effect elsewhere; executions it
    had; executions lost; results recorded twice.
    """

    first: float
    half: float
    last: float
    had: int
    lost: int
    twice: int


def measure(
    url: str, folder: Path, *, executions: int = 800, length: int = 10, seconds: float = 1.0, lease: float = LEASE_SECONDS
) -> Takeover:
    """One kill and one takeover, on the empty database at `url`; `seconds`: how long an effect waits."""
    with crew(url, folder, slots=executions, lease=lease) as workers:
        asyncio.run(workers.begin(0, length=length, seconds=seconds))  # makes the store
        workers.start(2)
        asyncio.run(workers.begin(executions, length=length, seconds=seconds))
        victim = _busiest(workers, executions)
        killed = time.monotonic()
        victim.kill()
        victim.wait()
        lost, twice = asyncio.run(workers.to_the_end())
        resumed = sorted(_resumed(workers, victim.pid, killed))
    if not resumed:
        raise RuntimeError("Expected the dead worker to leave something to do, but it had done everything.")
    return Takeover(resumed[0], resumed[len(resumed) // 2], resumed[-1], len(resumed), lost, twice)


def _busiest(workers: Crew, executions: int) -> subprocess.Popen[str]:
    """The worker that has begun more executions, as soon as all have begun."""
    until = time.monotonic() + WAIT_SECONDS_MAX
    had: Counter[int] = Counter()
    while time.monotonic() < until:
        had = Counter(process for process, _ in {(entry.process, entry.execution) for entry in workers.entries()})
        if had.total() >= executions:
            return max(workers.processes, key=lambda worker: had[worker.pid])
        workers.check()
        time.sleep(LOOK_SECONDS)
    raise RuntimeError(f"Expected {executions} executions to begin, but {had.total()} did:\n{workers.last_words()}")


def _resumed(workers: Crew, dead: int, killed: float) -> Iterator[float]:
    """Seconds from the kill until each execution of the dead worker began an effect elsewhere."""
    had: set[str] = set()
    for entry in workers.entries():
        if entry.process == dead:
            had.add(entry.execution)
        elif entry.begins and entry.execution in had:
            had.remove(entry.execution)
            yield entry.at - killed
