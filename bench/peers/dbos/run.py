"""Runs the workloads on DBOS: workflows and steps are decorated functions of this process, a database holds what they did."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from bench.peers.engines import ENGINES, TEXT_BYTES
from bench.peers.loopback import data_folder
from bench.peers.measures import report
from dbos import DBOS

from bench import STORE

TEXT = "x" * TEXT_BYTES
MONTH_SECONDS = 30 * 86_400


@DBOS.step()
async def step(number: int) -> str:
    return TEXT


@DBOS.workflow()
async def chain(size: int) -> str:
    for number in range(size):
        await step(number)
    return "done"


@DBOS.workflow()
async def fan(size: int) -> str:
    await asyncio.gather(*(step(number) for number in range(size)))
    return "met"


@DBOS.workflow()
async def sleeper() -> None:
    await DBOS.sleep_async(MONTH_SECONDS)


class Dbos:
    """Calls a workflow where its result is awaited: starting it apart and polling for its result is slower."""

    version = version("dbos")
    shapes = {"chain": chain, "fan": fan, "loop": chain}

    async def sleep(self) -> None:
        await DBOS.start_workflow_async(sleeper)

    async def asleep(self, count: int) -> None:
        """`start_workflow_async` returns when the workflow is recorded."""

    def processes(self) -> list[int]:
        return [os.getpid()]


@asynccontextmanager
async def opened(engine: str) -> AsyncIterator[Dbos]:
    with data_folder("dbos") as folder:
        url = os.environ[STORE] if ENGINES[engine].on_postgres else _file(folder / "dbos.sqlite")
        DBOS(config={"name": "peer", "system_database_url": url, "log_level": "ERROR"})
        DBOS.launch()
        yield Dbos()


def _file(database: Path) -> str:
    with sqlite3.connect(database) as made:
        made.execute("PRAGMA journal_mode=WAL")  # a property of the file: all connections of DBOS follow it
    made.close()
    return f"sqlite:///{database}"


if __name__ == "__main__":
    report(opened)
