"""Runs the workloads on Restate: its server and the process that serves the handlers, called through the server's ingress."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

from bench.peers.engines import ENVIRONMENTS, ROOT
from bench.peers.loopback import HOST, Client, client, data_folder, free_ports, server, until_up
from bench.peers.measures import report

PACKAGES = ENVIRONMENTS / "restate" / "node_modules" / "@restatedev"
SERVER = PACKAGES / "restate-server"

# The settings for production of Restate's page "Serving" (Python SDK); one worker, since the server needs the other core.
HYPERCORN = """\
bind = "{host}:{port}"
h2_max_concurrent_streams = 2147483647
keep_alive_max_requests = 2147483647
keep_alive_timeout = 2147483647
workers = 1
loglevel = "ERROR"
"""


class Restate:
    """Calls handlers through the ingress and waits for their answer."""

    version = f"{json.loads((SERVER / 'package.json').read_text())['version']}, SDK {version('restate_sdk')}"

    def __init__(self, ingress: Client, processes: list[int]) -> None:
        self._ingress = ingress
        self._processes = processes
        self.shapes = {shape: partial(self._call, handler) for shape, handler in _HANDLERS.items()}

    async def _call(self, handler: str, size: int) -> None:
        await self._ingress.post(f"/bench/{handler}", size)

    async def sleep(self) -> None:
        await self._ingress.post("/bench/sleeper/send", None)

    async def asleep(self, count: int) -> None:
        """The ingress answers when the invocation is durable."""

    def processes(self) -> list[int]:
        return self._processes


_HANDLERS = {"chain": "chain", "fan": "fan", "loop": "chain"}


def _binary() -> Path:
    found = sorted(PACKAGES.glob("restate-server-*/bin/restate-server"))
    if not found:
        raise RuntimeError("Expected the server in the npm package of this platform, but there is none. Run bench/peers/setup.")
    return found[0]


def _environ(folder: Path, ingress: int, admin: int, node: int) -> dict[str, str]:
    return {
        "RESTATE_BASE_DIR": str(folder / "data"),
        "RESTATE_INGRESS__BIND_PORT": str(ingress),
        "RESTATE_ADMIN__BIND_PORT": str(admin),
        "RESTATE_BIND_PORT": str(node),
        "RESTATE_BIND_IP": HOST,
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "warn",
    }


@asynccontextmanager
async def opened(engine: str) -> AsyncIterator[Restate]:
    ingress, admin, node, handlers = free_ports(4)
    with data_folder("restate") as folder:
        settings = folder / "hypercorn.toml"
        settings.write_text(HYPERCORN.format(host=HOST, port=handlers))
        serve = [sys.executable, "-m", "hypercorn", "--config", str(settings), "bench.peers.restate.services:app"]
        environ = _environ(folder, ingress, admin, node)
        with (
            server(serve, {"PYTHONPATH": str(ROOT)}, folder / "handlers.log") as serving,
            server([str(_binary()), "--no-logo"], environ, folder / "server.log") as running,
        ):
            async with client(admin) as control, client(ingress) as calls:
                await until_up(control, "/health", running, folder / "server.log")
                await control.post("/deployments", {"uri": f"http://{HOST}:{handlers}"})
                yield Restate(calls, [running.pid, serving.pid])


if __name__ == "__main__":
    report(opened)
