"""Runs the workloads on Prefect: flows and tasks of this process, their states kept by a server of its own on SQLite."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.peers.engines import TEXT_BYTES
from bench.peers.loopback import HOST, client, data_folder, free_ports, server, until_up
from bench.peers.measures import report

TEXT = "x" * TEXT_BYTES


def _environ(folder: Path, port: int) -> dict[str, str]:
    return {
        "PREFECT_HOME": str(folder),
        "PREFECT_API_URL": f"http://{HOST}:{port}/api",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "ERROR",
    }


class Prefect:
    """Imports Prefect when it is made, since Prefect reads its settings from the environment as it is imported."""

    version = version("prefect")

    def __init__(self) -> None:
        from prefect import flow, task

        @task
        async def step(number: int) -> str:
            return TEXT

        @flow
        async def chain(size: int) -> str:
            for number in range(size):
                await step(number)
            return "done"

        @flow
        async def fan(size: int) -> str:
            await asyncio.gather(*(step(number) for number in range(size)))
            return "met"

        self.shapes: dict[str, Any] = {"chain": chain, "fan": fan, "loop": chain}


@asynccontextmanager
async def opened(engine: str) -> AsyncIterator[Prefect]:
    (port,) = free_ports(1)
    with data_folder("prefect") as folder:
        environ = _environ(folder, port)
        os.environ.update(environ)
        log = folder / "server.log"
        start = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port), "--no-ui"]
        with server(start, environ, log) as running:
            async with client(port) as asks:
                await until_up(asks, "/api/health", running, log)
            yield Prefect()


if __name__ == "__main__":
    report(opened)
