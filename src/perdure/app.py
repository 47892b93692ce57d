"""Settings in, a running system out: the one file that names concrete classes."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from perdure.clock import Clock, ShiftedClock, SystemClock
from perdure.errors import StoreBusy
from perdure.ids import ExecutionId, id_text
from perdure.operations.executions import Executions
from perdure.runtime.attempts import Attempts
from perdure.runtime.home import Home
from perdure.runtime.hot import Outcome
from perdure.runtime.plans import Plans
from perdure.runtime.processes import ProcessPool
from perdure.runtime.retention import Retention
from perdure.runtime.watchdog import Blocked, Watchdog
from perdure.settings import Settings
from perdure.store.contract import FIRST_FINAL, Store
from perdure.store.sqlite import open_store as open_file

log = logging.getLogger("perdure")

HERE_SECONDS = 1.0
"""Whoever waits for an execution of this home looks this often whether it still is: another worker may take it over."""


@dataclass(slots=True, frozen=True, eq=False)
class Engine:
    """A running engine: what one can ask, and the home that carries it out."""

    store: Store
    clock: Clock
    settings: Settings
    home: Home
    executions: Executions

    async def result(self, execution: ExecutionId) -> Outcome:
        """Wait for the end of an execution, wherever it runs.

        One of this home answers as soon as its end is durable; one that somebody else runs is looked at now and then.
        """
        future = self.home.outcome(execution)
        period = self.settings.inbox_poll / 1_000_000
        while True:
            here = self.home.state(execution) is not None
            if not here and (elsewhere := await self._ended(execution)) is not None and not future.done():
                return elsewhere
            done, _ = await asyncio.wait([future], timeout=HERE_SECONDS if here else period)
            if done:
                return future.result()

    async def _ended(self, execution: ExecutionId) -> Outcome | None:
        """How an execution ended, as the store has it; None while it goes on."""
        row = await self.store.row(execution)
        if row is not None and row.status < FIRST_FINAL:
            return None
        shown = await self.executions.show(execution)
        output = await self.executions.value(shown.row, shown.state.output)
        error = shown.state.error.as_value() if shown.state.error is not None else None
        return Outcome(execution=execution, status=shown.state.status, output=output, error=error)


@asynccontextmanager
async def open_engine(
    settings: Settings | None = None, *, clock: Clock | None = None, node_files: tuple[str, ...] = (), adopts: bool = False,
    store: Store | None = None, on_log: Any = None, name: str = "",
) -> AsyncIterator[Engine]:  # fmt: skip
    """An engine on the settings' store, until the context is left; then it stops in good order.

    `adopts`: take over executions that nobody has, and let those leave memory that only wait (a worker does; a single run
    does not). `name`: what the worker's name begins with, instead of the host's.
    `on_log(execution, path, message, level, data)` hears what nodes log while they run.
    """
    settings = settings if settings is not None else Settings.read(os.environ)
    clock = clock if clock is not None else SystemClock()
    own_store = store is None
    if store is None:
        store = await open_store(settings, clock)
    if settings.is_shared:
        clock = ShiftedClock(clock, store.offset)  # all workers judge times by the one clock of the database
    pool = ProcessPool(settings.processes or os.cpu_count() or 1)
    watchdog = Watchdog(_say_blocked, limit=settings.watchdog, clock=clock)
    try:
        plans = Plans(store, files=node_files)

        def attempts(**given: Any) -> Attempts:
            return Attempts(
                clock=clock, pool=pool, watchdog=watchdog, slots=settings.slots, grace=settings.grace,
                payload_max=settings.payload_max, options=settings.nodes, log=on_log or _log_line, **given,
            )  # fmt: skip

        home = Home(
            store=store,
            plans=plans,
            clock=clock,
            settings=settings,
            worker=worker_name(clock, name),
            adopts=adopts,
            attempts=attempts,
        )
        await home.open()
        watchdog.start()
        retention = asyncio.create_task(Retention(store, clock, settings, worker=home.worker).keep(), name="retention")
        _spare_the_collector()
        try:
            if adopts:
                await _take_first(home)
            yield Engine(store, clock, settings, home, Executions(store, clock, home=home, payload_max=settings.payload_max))
        finally:
            watchdog.stop()
            retention.cancel()
            await asyncio.gather(retention, return_exceptions=True)
            await home.close()
    finally:
        await pool.close()
        if own_store:
            await store.close()


async def _take_first(home: Home) -> None:
    """Go on at once with some of what is free; all else follows when the home looks around, a moment later."""
    with suppress(StoreBusy):  # the home's own look tries again
        await home.take_free()


@asynccontextmanager
async def open_client(
    settings: Settings | None = None, *, create: bool = False, node_files: tuple[str, ...] = ()
) -> AsyncIterator[tuple[Store, Executions]]:  # fmt: skip
    """Only what needs no home: start executions for others to run, look at them, signal and cancel them."""
    settings = settings if settings is not None else Settings.read(os.environ)
    store = await open_store(settings, SystemClock(), create=create)
    try:
        plans = Plans(store, files=node_files)
        yield store, Executions(store, SystemClock(), plans=plans, payload_max=settings.payload_max)
    finally:
        await store.close()


async def open_store(settings: Settings, clock: Clock, *, create: bool = True) -> Store:
    """The store that the settings name: a file, or a PostgreSQL database. Raises StoreError, NotFound, Refused (its URL)."""
    busy_timeout_ms = settings.busy_timeout // 1_000
    if not settings.is_shared:
        return await open_file(
            settings.store, create=create, busy_timeout_ms=busy_timeout_ms, threaded=settings.commit_thread, clock=clock
        )
    from perdure.store.postgres import open_store as open_database

    return await open_database(settings.store, create=create, busy_timeout_ms=busy_timeout_ms, lease=settings.lease)


_YOUNG, _OLDEST = 1, 2  # the collector's generations


def _spare_the_collector() -> None:
    """What is loaded by now stays: look at it no more, and at what is new less often. Worth 7 to 40 % of all steps.

    The first time only what is young is looked through before: all of it would take 25 ms of a start, and finds what modules
    left behind while they were loaded. Later there may be a former engine to let go of.
    """
    gc.collect(_OLDEST if gc.get_freeze_count() else _YOUNG)
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def worker_name(clock: Clock, name: str = "") -> str:
    """A name that no other worker has, nor had: where (or what people call it), which process, when."""
    return f"{name or socket.gethostname()}-{os.getpid()}-{clock.now():x}"


def _log_line(execution: ExecutionId, path: str, message: str, level: str, data: dict[str, Any]) -> None:
    log.log(logging.getLevelNamesMapping()[level.upper()], "%s %s: %s %s", id_text(execution), path, message, data or "")


def _say_blocked(blocked: Blocked) -> None:
    log.warning(
        "%s blocked the event loop for %d ms; its type runs in processes from now on. "
        "Blocking work belongs in a plain `def` node. %s",
        f"node {blocked.type} at {blocked.path}" if blocked.type else "something that is no node",
        blocked.microseconds // 1_000,
        " < ".join(reversed(blocked.stack[-3:])),
    )
