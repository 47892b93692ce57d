"""A cluster before your eyes: PostgreSQL, four workers, some hundred orders, and one worker killed in the midst of them.

In the end it says who went on with what the dead one had, whether the shop's ledger adds up, and what
`perdure verify --deep` finds; 0 when all is as it should be. Nothing of it is left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import books
from shop import Shop, Trouble

from perdure.app import open_client
from perdure.engine import events
from perdure.ids import ExecutionId
from perdure.operations.definitions import Read, read_file
from perdure.operations.executions import Executions
from perdure.settings import Settings
from perdure.store.contract import FIRST_FINAL, STATUSES, Row, Store
from postgres_server import PostgresServer

ORDER = Path(__file__).resolve().parents[2] / "examples" / "orders" / "order.yaml"
LEASE = "2s"
SLOTS = 100  # of each worker
SECONDS_MAX = 300  # then something is wrong, however slow the machine
LOOK_SECONDS = 0.1
KILL_AFTER = 0.25  # of the orders
TROUBLE = Trouble(seed=7, slow=0.05, flaky=0.05)


@dataclass
class Takeover:
    """What became of the executions that the killed worker had."""

    worker: str
    done_before: int  # orders that had ended when it was killed
    killed: int  # microseconds UTC
    held: list[ExecutionId]


# -- the actors -----------------------------------------------------------------------------------------------------------


def open_for_business(orders: int) -> list[str]:
    """Give the shop so many customers with an order each, and what they order; the numbers of the orders."""
    skus = ("lamp", "chair", "rug")
    names = [f"C-{number}" for number in range(1, orders + 1)]
    for number, name in enumerate(names):
        customer = {
            "id": f"customer-{name}",
            "name": name,
            "tier": ("gold", "basic")[number % 2],
            "card": "good",
            "country": "DE",
        }
        books.ORDERS[name] = {
            "id": name,
            "customer": customer,
            "lines": [{"sku": skus[number % 3], "quantity": 1 + number % 2}],
        }
    books.STOCK.update(dict.fromkeys(skus, 2 * orders))
    return names


class Crew:
    """The worker processes of a store."""

    def __init__(self, url: str, folder: Path) -> None:
        self.processes: dict[str, asyncio.subprocess.Process] = {}  # by what their names begin with
        self._url = url
        self._folder = folder

    async def start(self, name: str) -> None:
        """Start one more worker; it is ready when it says so."""
        with (self._folder / f"{name}.log").open("wb") as log:
            self.processes[name] = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "perdure", "worker", "--name", name, "--slots", str(SLOTS), "--json", cwd=self._folder,
                stdout=log, stderr=log, env={**os.environ, "PERDURE_STORE": self._url, "PERDURE_LEASE": LEASE},
            )  # fmt: skip

    async def kill(self, worker: str) -> None:
        """What no process can prepare for."""
        process = self.processes.pop(_begin(worker))
        process.send_signal(signal.SIGKILL)
        await process.wait()

    async def drain(self) -> list[int]:
        """Stop them all in good order; their exit codes."""
        living = [process for process in self.processes.values() if process.returncode is None]
        for process in living:
            process.send_signal(signal.SIGTERM)
        return [await process.wait() for process in self.processes.values()]

    def check(self) -> None:
        """Raises AssertionError when one has ended by itself."""
        for name, process in self.processes.items():
            assert process.returncode is None, f"{name} ended by itself:\n{(self._folder / f'{name}.log').read_text()}"


def _begin(worker: str) -> str:
    """What a worker's name begins with: `w3` of `w3-4711-6616ca2caab65`."""
    return worker.partition("-")[0]


# -- the run --------------------------------------------------------------------------------------------------------------


class Cluster:
    """One run over one store."""

    def __init__(self, store: Store, executions: Executions, crew: Crew, shop: Shop) -> None:
        self._store = store
        self._executions = executions
        self._crew = crew
        self._shop = shop

    async def gather(self, workers: int) -> None:
        """Start so many workers, and wait until all are there."""
        for number in range(workers):
            await self._crew.start(f"w{number + 1}")
        while len(await self._living()) < workers:
            self._crew.check()
            await asyncio.sleep(LOOK_SECONDS)

    async def start(self, read: Read, orders: Sequence[str]) -> None:
        """Start an execution for each order; no worker is asked."""
        for order in orders:
            await self._executions.start(read, {"shop": self._shop.url, "order": order}, key=order)

    async def kill_one(self, orders: int) -> Takeover:
        """When some of the orders are through, kill the worker that has the most to do."""
        while (done := await self._ended()) < KILL_AFTER * orders:
            self._crew.check()
            await asyncio.sleep(LOOK_SECONDS)
        homes = Counter(row.home for row in await self._rows() if row.home)
        (worker, _), *_ = homes.most_common(1) or [(min(await self._living()), 0)]
        await self._crew.kill(worker)
        killed = time.time_ns() // 1_000
        return Takeover(worker, done, killed, [row.execution for row in await self._rows() if row.home == worker])

    async def to_the_end(self) -> list[Row]:
        """Wait until every execution has ended; their rows."""
        rows = await self._rows()
        while any(row.status < FIRST_FINAL for row in rows):
            self._crew.check()
            await asyncio.sleep(LOOK_SECONDS)
            rows = await self._rows()
        return rows

    async def successors(self, takeover: Takeover) -> list[tuple[str, int]]:
        """Who went on with each of the executions that were taken over, and how long after the death, in microseconds."""
        found = []
        for execution in takeover.held:
            async for moment in self._executions.moments(execution):
                claimed = [given for given in moment.inputs if isinstance(given, events.Recovered) and given.crashed]
                if claimed and moment.at >= takeover.killed:
                    found.append((_begin(claimed[0].worker), moment.at - takeover.killed))
                    break
        return sorted(found, key=lambda each: each[1])

    async def _living(self) -> list[str]:
        return [worker.worker for worker in await self._store.workers() if worker.alive]

    async def _rows(self) -> list[Row]:
        return await self._store.rows(limit=100_000)

    async def _ended(self) -> int:
        return sum(row.workflow == "order" and row.status >= FIRST_FINAL for row in await self._rows())


@asynccontextmanager
async def crew_of(url: str, folder: Path) -> AsyncIterator[Crew]:
    """Workers that are gone when the context is left, whatever happens."""
    crew = Crew(url, folder)
    try:
        yield crew
    finally:
        for process in crew.processes.values():
            if process.returncode is None:
                process.kill()
            await process.wait()


async def show(url: str, folder: Path, *, orders: int, workers: int) -> bool:
    """The whole run; whether all was as it should be."""
    names = open_for_business(orders)
    read = read_file(ORDER)
    with Shop(TROUBLE) as shop:
        async with open_client(Settings(store=url), create=True) as (store, executions), crew_of(url, folder) as crew:
            cluster = Cluster(store, executions, crew, shop)
            begun = time.monotonic()
            await cluster.gather(workers)
            say(begun, f"{workers} workers are there, with {SLOTS} slots each.")
            starting = asyncio.create_task(cluster.start(read, names))
            takeover = await cluster.kill_one(orders)
            say(begun, f"{takeover.done_before} orders are through. {_begin(takeover.worker)} was killed (SIGKILL) over "
                       f"{len(takeover.held)} executions.")  # fmt: skip
            await starting
            say(begun, f"All {orders} orders are started, for whoever takes them.")
            rows = await cluster.to_the_end()
            successors = await cluster.successors(takeover)
            say(begun, told_of(successors, len(takeover.held)))
            ends = Counter(STATUSES[row.status] for row in rows)
            say(
                begun, f"{len(rows)} executions have ended: {', '.join(f'{count} {status}' for status, count in ends.items())}."
            )
            codes = await crew.drain()
            say(begun, f"{len(codes)} workers have drained, with the exit codes {sorted(set(codes))}.")
        ledger = shop.ledger()
    print(f"\nThe shop says: {books.told(ledger)}")
    sound = await verified(url, folder)
    return sound and not books.faults(ledger) and ends == {"succeeded": len(rows)} and not any(codes)


def told_of(successors: list[tuple[str, int]], held: int) -> str:
    """Who went on with what the dead worker had."""
    if not successors:
        return f"Its {held} executions had not begun, and were begun elsewhere."
    shares = Counter(worker for worker, _ in successors)
    first, last = successors[0][1] / 1e6, successors[-1][1] / 1e6
    by = ", ".join(f"{count} at {worker}" for worker, count in sorted(shares.items()))
    rest = f"; {held - len(successors)} had not begun" if held > len(successors) else ""
    times = f"the first {first:.1f} s after the death, the last {last:.1f} s"
    return f"{len(successors)} of them went on elsewhere ({by}), {times}{rest}."


async def verified(url: str, folder: Path) -> bool:
    """Whether everything in the store fits, stepped again from the beginning."""
    print("$ perdure verify --deep", flush=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "perdure", "verify", "--deep", cwd=folder, env={**os.environ, "PERDURE_STORE": url}
    )
    return await process.wait() == 0


def say(begun: float, sentence: str) -> None:
    print(f"{time.monotonic() - begun:6.1f} s  {sentence}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cluster", description="Workers that share a PostgreSQL, and the death of one.")
    parser.add_argument("--orders", type=int, default=200, help="how many orders are fulfilled (default: 200)")
    parser.add_argument("--workers", type=int, default=4, help="how many workers there are (default: 4)")
    given = parser.parse_args(arguments)
    server = PostgresServer()
    try:
        print("PostgreSQL starts, in a folder of its own.", flush=True)
        server.start()
        with tempfile.TemporaryDirectory(prefix="perdure-cluster-") as folder:
            work: Any = show(server.url(server.new_database()), Path(folder), orders=given.orders, workers=given.workers)
            good = asyncio.run(asyncio.wait_for(work, SECONDS_MAX))
    finally:
        server.remove()
    print("\nAll is as it should be." if good else "\nSomething is not as it should be.")
    return 0 if good else 1
