"""Runs the workloads on absurd: its tables and functions in PostgreSQL, its workers, and who starts tasks and awaits them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from importlib.metadata import version
from itertools import cycle
from typing import Any

import psycopg
from absurdctl import BUNDLED_SCHEMA_SQL
from bench.peers.absurd.tasks import QUEUE
from bench.peers.absurd.tasks import opened as client
from bench.peers.engines import ROOT
from bench.peers.loopback import data_folder, last_words, server
from bench.peers.measures import report

from bench import STORE

WORKERS = 2  # processes, which is how its documentation would have a Python worker scaled; more than cores are not faster
CLIENTS = 4  # connections over which tasks are started; each waits for its own commits
LOOK_SECONDS = 0.005
UP_SECONDS_MAX = 30
ENDED = f"SELECT task_id, state FROM absurd.t_{QUEUE} WHERE task_id = ANY(%s) AND state IN ('completed', 'failed', 'cancelled')"
ASLEEP = f"SELECT count(*) FROM absurd.t_{QUEUE} WHERE state = 'sleeping'"


class Absurd:
    """Starts tasks and looks for their ends, for all of them at once and more often than the SDK would for each."""

    version = f"{version('absurd-sdk')}"

    def __init__(self, clients: list[Any], looking: psycopg.AsyncConnection[Any], processes: list[int]) -> None:
        self._clients = cycle(clients)
        self._looking = looking
        self._processes = [os.getpid(), *processes]
        self._awaited: dict[Any, asyncio.Future[None]] = {}
        self.shapes = {shape: partial(self._run, task) for shape, task in _TASKS.items()}

    async def _run(self, task: str, size: int) -> None:
        spawned = await next(self._clients).spawn(task, size)
        self._awaited[spawned["task_id"]] = ended = asyncio.get_running_loop().create_future()
        await ended

    async def look(self) -> None:
        """Tells those who wait when their task has ended, until it is cancelled."""
        while True:
            if self._awaited:
                rows = await (await self._looking.execute(ENDED, (list(self._awaited),))).fetchall()
                for task, state in rows:
                    ended = self._awaited.pop(task)
                    if state == "completed":
                        ended.set_result(None)
                    else:
                        ended.set_exception(RuntimeError(f"a task has {state}"))
            await asyncio.sleep(LOOK_SECONDS)

    async def sleep(self) -> None:
        await next(self._clients).spawn("sleeper", None)

    async def asleep(self, count: int) -> None:
        """A worker has taken each of them, and laid it down again with its time."""
        asleep = 0
        while asleep < count:
            await asyncio.sleep(LOOK_SECONDS)
            ((asleep,),) = await (await self._looking.execute(ASLEEP)).fetchall()

    def processes(self) -> list[int]:
        return self._processes


_TASKS = {"chain": "chain", "fan": "fan", "loop": "chain"}


@asynccontextmanager
async def opened(engine: str) -> AsyncIterator[Absurd]:
    url = os.environ[STORE]
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(data_folder("absurd"))
        looking = await psycopg.AsyncConnection.connect(url, autocommit=True)
        stack.push_async_callback(looking.close)
        await looking.execute(BUNDLED_SCHEMA_SQL)
        clients = [client(url) for _ in range(CLIENTS)]
        for each in clients:
            stack.push_async_callback(each.close)
        await clients[0].create_queue(QUEUE)
        workers = []
        for number in range(WORKERS):
            command = [sys.executable, "-m", "bench.peers.absurd.tasks", url, f"w{number}"]
            workers.append(stack.enter_context(server(command, {"PYTHONPATH": str(ROOT)}, folder / f"{number}.log")))
        peer = Absurd(clients, looking, [worker.pid for worker in workers])
        watch = asyncio.create_task(peer.look())
        try:
            async with asyncio.timeout(UP_SECONDS_MAX):
                await peer.shapes["chain"](1)
        except TimeoutError:
            raise RuntimeError(f"Expected a worker to run a task. Its last words:\n{last_words(folder / '0.log')}") from None
        yield peer
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch


if __name__ == "__main__":
    report(opened)
