"""A worker killed with SIGKILL in the middle of many executions: how soon the next one goes on, what is lost, what runs twice.

`python -m bench.recovery DB LEDGER COUNT` is the worker: it starts COUNT executions (0: takes over what is there) and ends when
all have ended. Each effect appends its key to the ledger in one write, so the ledger is an independent witness.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from perdure.app import open_client, open_engine
from perdure.operations.definitions import read_file
from perdure.settings import Settings

HERE = Path(__file__).parent
LENGTH = 10


class Recovery(NamedTuple):
    """Seconds from process start to first effect; executions lost; results recorded twice; effects run again."""

    first_effect: float
    lost: int
    twice: int
    again: int


def measure(folder: Path, *, executions: int = 1_000) -> Recovery:
    """One kill and one recovery."""
    folder.mkdir(parents=True, exist_ok=True)
    database, ledger = folder / "recovery.db", folder / "ledger"
    ledger.touch()
    worker = _worker(database, ledger, executions)
    wanted = random.Random(executions).randint(executions * 2, executions * 5)
    while _lines(ledger) < wanted:
        if worker.poll() is not None:
            raise RuntimeError("the worker ended before it could be killed")
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    before = ledger.stat().st_size
    begin = time.perf_counter()
    second = _worker(database, ledger, 0)
    while ledger.stat().st_size == before:
        if second.poll() is not None:
            raise RuntimeError("the second worker ended without an effect")
    first_effect = time.perf_counter() - begin
    if second.wait() != 0:
        raise RuntimeError("the second worker failed")
    return Recovery(first_effect, *asyncio.run(_audit(database, ledger)))


def _worker(database: Path, ledger: Path, executions: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bench.recovery", str(database), str(ledger), str(executions)]
    return subprocess.Popen(command, cwd=HERE.parent)


def _lines(ledger: Path) -> int:
    return ledger.stat().st_size // LEDGER_LINE


LEDGER_LINE = 30  # `p1_`, 26 characters, a line feed


async def _audit(database: Path, ledger: Path) -> tuple[int, int, int]:
    from bench.crew import audited  # here, since what the worker imports is a part of what is measured

    async with open_client(Settings(store=str(database))) as (_, known):
        lost, twice = await audited(known)
    keys = ledger.read_bytes().split()  # noqa: ASYNC240 - nothing else runs in this loop
    return lost, twice, len(keys) - len(set(keys))


async def _work(database: str, ledger: str, executions: int) -> None:
    definition = read_file(HERE / "recovery.yaml")
    settings = Settings(store=database, slots=2_000)
    async with open_engine(settings, adopts=executions == 0, node_files=()) as engine:
        if executions:
            begun = await asyncio.gather(*(engine.executions.start(definition, {"ledger": ledger}) for _ in range(executions)))
            waiting: Any = [engine.home.outcome(start.execution) for start in begun]
            await asyncio.gather(*waiting)
            return
        rows = await engine.executions.list(statuses=["queued", "running", "waiting"], limit=100_000)
        await asyncio.gather(*(engine.result(row.execution) for row in rows))


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    os._exit(0)
