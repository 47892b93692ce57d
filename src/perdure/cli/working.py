"""`worker` and `workers`: carry out whatever is due until it is told to stop; and who does so."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from typing import Any

from perdure import __version__
from perdure.app import Engine, open_engine
from perdure.cli import exits
from perdure.cli.following import store_option
from perdure.cli.health import answering, read_place
from perdure.cli.interruption import leave, left_over
from perdure.cli.pools import none_with
from perdure.cli.reading import client, settings
from perdure.cli.wording import duration_text, json_line
from perdure.clock import SystemClock
from perdure.engine.names import time_text
from perdure.errors import PerdureError
from perdure.labels import labels_text
from perdure.operations.pools import takers
from perdure.runtime.pulse import Pulse
from perdure.settings import Settings
from perdure.store.contract import Load, Worker

# -- worker --------------------------------------------------------------------------------------------------------------


def worker(
    store: str | None, *, slots: int | None, nodes: tuple[str, ...], name: str, health: str, labels: str | None, json: bool
) -> int:  # fmt: skip
    """Be a worker until SIGTERM or Ctrl-C; the exit code."""
    found = settings(store, slots=slots, labels=labels)
    place = read_place(health) if health else None
    return asyncio.run(Shift(found, nodes=nodes, name=name, place=place, json=json).work())


class Shift:
    """What one worker does from its start until it has drained. `place`: host and port where its health is asked for."""

    def __init__(
        self, settings: Settings, *, nodes: tuple[str, ...], name: str, place: tuple[str, int] | None, json: bool
    ) -> None:
        self._settings = settings
        self._nodes = nodes
        self._name = name
        self._place = place
        self._json = json
        self._stopped = False
        self._worker = ""

    async def work(self) -> int:
        """Work; the exit code. Raises PerdureError where it cannot begin."""
        loop = asyncio.get_running_loop()
        for number, code in ((signal.SIGINT, exits.INTERRUPTED), (signal.SIGTERM, exits.TERMINATED)):
            loop.add_signal_handler(number, self._stop, code)
        async with AsyncExitStack() as stack:
            engine = await stack.enter_async_context(
                open_engine(self._settings, node_files=self._nodes, adopts=True, name=self._name)
            )
            code = await self._until_stopped(engine, stack)
        self._say("drained", "drained: others may go on with what was here" if code == exits.SUCCEEDED else "stopped")
        if await left_over():
            leave(code)
        return code

    def _stop(self, code: int) -> None:
        if self._stopped:
            leave(code)
        self._stopped = True

    async def _until_stopped(self, engine: Engine, stack: AsyncExitStack) -> int:
        self._worker = engine.home.worker
        pulse = Pulse(engine.store, engine.home, engine.clock, version=__version__)
        try:
            if self._place is not None:
                await stack.enter_async_context(answering(self._place, pulse))
            await pulse.report()
            slots, labels = self._settings.slots, self._settings.labels
            also = f" and {labels_text(labels)}" if labels else ""
            about = {"pid": os.getpid(), "slots": slots, "labels": labels, "version": __version__}
            self._say("ready", f"ready, with {slots:,} slots{also}", **about)
            while not self._stopped:
                await pulse.beat()
                self._tell_taken_over(engine)
            await self._drain(engine, pulse)
        except PerdureError as error:
            exits.refuse(error)
            return exits.FAILED
        return exits.SUCCEEDED

    async def _drain(self, engine: Engine, pulse: Pulse) -> None:
        running = engine.home.load().running
        self._say("draining", f"draining: {running} effects have their grace; once more to leave at once", running=running)
        draining = asyncio.ensure_future(engine.home.drain())
        await asyncio.sleep(0)  # it has begun
        await pulse.report()
        await draining

    def _tell_taken_over(self, engine: Engine) -> None:
        taken, self._worker = engine.home.taken_over, engine.home.worker
        for dead, count in taken.items():
            if count:
                self._say("took_over", f"took over {count} executions of {dead}", executions=count, of=dead)
        taken.clear()

    def _say(self, event: str, sentence: str, **about: Any) -> None:
        if self._json:
            print(json_line({"event": event, "worker": self._worker, **about}), flush=True)
        else:
            exits.say(f"{self._worker}: {sentence}")


# -- workers -------------------------------------------------------------------------------------------------------------


def workers(store: str | None, *, json: bool) -> int:
    """Who is known as a worker, those first that live."""

    async def work() -> int:
        async with client(store) as (opened, _):
            found, pools = await opened.workers(), await opened.pools()
        now = SystemClock().now()
        for each in sorted(found, key=lambda worker: (not worker.alive, worker.worker)):
            print(json_line(worker_object(each)) if json else _line(each, now))
        if not found and not json:
            exits.say("no workers")
        for pool in pools:
            if not takers(found, pool.needs):
                what = "1 effect waits" if pool.waiting == 1 else f"{pool.waiting} effects wait"
                exits.say(none_with(pool.needs, what, store_option(store)))
        return exits.SUCCEEDED

    return asyncio.run(work())


def worker_object(worker: Worker) -> dict[str, Any]:
    """A line of `workers --json`."""
    load = worker.load or Load()
    return {
        "worker": worker.worker, "alive": worker.alive, "state": _state(worker), "host": worker.host, "pid": worker.pid,
        "started": time_text(worker.started), "heard": time_text(worker.heard) if worker.heard else None,
        "version": load.version or None, "level": worker.level, "executions": load.executions, "running": load.running,
        "queued": load.queued, "slots": load.slots or None, "labels": dict(worker.labels), "lag_us": load.lag,
    }  # fmt: skip


def _state(worker: Worker) -> str:
    if not worker.alive:
        return "dead"
    return worker.load.state if worker.load is not None else "single run"


def _line(worker: Worker, now: int) -> str:
    load = worker.load
    heard = f"heard {duration_text(max(0, now - worker.heard))} ago" if worker.heard else ""
    about = f"level {worker.level}  {worker.host} {worker.pid}  {heard}".rstrip()
    if worker.labels:
        about = f"{labels_text(worker.labels)}  {about}"
    if load is None:
        return f"{worker.worker}  {_state(worker)}  {about}"
    work = f"{load.running}/{load.slots} slots, {load.queued} queued, {load.executions} executions"
    return f"{worker.worker}  {_state(worker)}  {work}, lag {duration_text(load.lag)}  {load.version}  {about}"
