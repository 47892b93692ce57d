"""Access to the database, one at a time: in the loop while the disk is fast, in a thread once its flushes stall the loop.

A hop to a thread and back costs 40 to 110 µs and the fight for the interpreter another third of the throughput, a flush of a
good disk 100 to 200 µs; so the thread pays only where a flush is much slower. The connection is used by one at a time: while
the thread writes, everybody else waits without blocking the loop, and nobody reads what is not committed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from types import TracebackType
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from perdure.store.sqlite.connection import Database

Threaded = Literal["auto", "always", "never"]

FLUSH_SLOW = 0.001
"""Seconds that a flush may stall the loop; beyond, commits go to a thread."""
FLUSHES_JUDGED = 4
"""Flushes that must all be slow, or one of them fast again: one hiccup of a disk proves nothing."""
PROBE_EVERY = 50
"""Of so many commits in the thread one is made in the loop: there alone the flush is timed, without the wait for the thread."""

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


class Access:
    """`async with access:` reads; `await access.run(write, …)` writes."""

    def __init__(self, database: Database, threaded: Threaded) -> None:
        self._database = database
        self._threaded: Threaded = "never" if database.in_memory else threaded
        self._flushes: deque[float] = deque(maxlen=FLUSHES_JUDGED)
        self._numbers = count(1)
        self._thread: ThreadPoolExecutor | None = None
        self._under_way: asyncio.Future[Any] | None = None

    async def __aenter__(self) -> None:
        """Wait until nothing is being written. From here to the next `await` the database belongs to who entered."""
        while self._under_way is not None:
            await asyncio.wait([self._under_way])

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:  # fmt: skip
        """Let no driver's error out."""
        self._database.errors.__exit__(kind, error, traceback)

    async def run(
        self, write: Callable[Concatenate[Database, _Given], _Answer], *given: _Given.args, **named: _Given.kwargs
    ) -> _Answer:  # fmt: skip
        """What `write(database, …)` answers, once it is on disk."""
        async with self:
            if self._is_slow():
                return await self._in_thread(lambda: write(self._database, *given, **named))
            answer = write(self._database, *given, **named)
            self._flushes.append(self._database.flush_seconds)
            return answer

    def stop(self) -> None:
        """Wait for what is being written, and write no more."""
        if self._thread is not None:
            self._thread.shutdown()

    def _is_slow(self) -> bool:
        if self._threaded != "auto":
            return self._threaded == "always"
        if len(self._flushes) < FLUSHES_JUDGED or min(self._flushes) < FLUSH_SLOW:
            return False
        return next(self._numbers) % PROBE_EVERY != 0

    async def _in_thread(self, write: Callable[[], _Answer]) -> _Answer:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="perdure-commit")
        under_way = asyncio.get_running_loop().run_in_executor(self._thread, write)
        self._under_way = under_way
        under_way.add_done_callback(self._written)
        return await asyncio.shield(under_way)  # whoever gives up waiting does not interrupt a transaction

    def _written(self, under_way: asyncio.Future[Any]) -> None:
        self._under_way = None
        if not under_way.cancelled():
            under_way.exception()  # seen, also where nobody waits for it any more
