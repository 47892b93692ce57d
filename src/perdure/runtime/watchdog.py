"""A thread that watches the event loop, and names the node that blocks it (day-one 31).

A blocked loop cannot time anything out, not even the node that blocks it: for the attempt that is blocking right now nothing
can be done from inside the process. What can be done is done: it is named, with its stack, and from then on its type runs in
the pool of processes, where the next attempt can be killed. The lease lives on a thread of its own and is not affected.

Code that holds the interpreter's lock without ever letting go (one long call into C) blocks this thread too; it is named as
soon as the call returns.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable

import msgspec

from perdure.clock import MICROSECONDS, Clock, SystemClock
from perdure.nodes.outcome import short_path

TASK_PREFIX = "node:"  # the tasks of nodes are called `node:<type>:<path>`
STACK_FRAMES_MAX = 12


class Blocked(msgspec.Struct, frozen=True, kw_only=True):
    """The loop stood still. `type` and `path` are those of the node that held it, "" when it was not a node.

    `microseconds`: how long it had stood still when it was noticed. `stack`: innermost call last, a line each.
    """

    type: str
    path: str
    microseconds: int
    stack: tuple[str, ...]


def attempt_name(type: str, path: str) -> str:
    """How the task of a node must be called for the watchdog to know it."""
    return f"{TASK_PREFIX}{type}:{path}"


class Watchdog:
    """Watches the loop it is started in. `on_blocked` is called once per blockage, in the watchdog's own thread.

    `limit`: microseconds that the loop may stand still. `blocking_types` grows by each type that was caught.
    """

    def __init__(
        self, on_blocked: Callable[[Blocked], None] | None = None, *, limit: int = MICROSECONDS, clock: Clock | None = None
    ) -> None:
        if limit < 1:
            raise ValueError(f"Expected a limit in microseconds, but got {limit}.")
        self.blocking_types: set[str] = set()
        self._on_blocked = on_blocked
        self._limit = limit
        self._clock = clock or SystemClock()
        self._period = limit / MICROSECONDS / 4
        self._beat = 0.0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch the running loop."""
        assert self._thread is None, "A watchdog is started once."
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._turn()
        self._thread = threading.Thread(target=self._watch, name="perdure-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopping.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._thread is not None:
            self._thread.join()

    def _turn(self) -> None:
        """The loop's sign of life."""
        assert self._loop is not None
        self._beat = self._clock.monotonic()
        self._timer = self._loop.call_later(self._period, self._turn)

    def _watch(self) -> None:
        reported: tuple[float, str] = (0.0, "")  # each task is reported once for each beat that it kept from following
        while not self._stopping.wait(self._period):
            beat = self._beat
            still = int((self._clock.monotonic() - beat) * MICROSECONDS)
            if still < self._limit or self._loop is None:
                continue
            task = asyncio.current_task(self._loop)
            name = task.get_name() if task is not None else ""
            if reported != (beat, name):  # in one turn of the loop, one task may have been slow and another one block
                reported = (beat, name)
                self._report(name, still)

    def _report(self, name: str, still: int) -> None:
        frame = sys._current_frames().get(self._loop_thread)
        node_type, path = _node_of(name)
        lines = traceback.extract_stack(frame)[-STACK_FRAMES_MAX:] if frame is not None else []
        stack = tuple(f"{short_path(line.filename)}, line {line.lineno}, in {line.name}: {line.line}" for line in lines)
        if node_type:
            self.blocking_types.add(node_type)
        if self._on_blocked is not None:
            self._on_blocked(Blocked(type=node_type, path=path, microseconds=still, stack=stack))


def _node_of(name: str) -> tuple[str, str]:
    if not name.startswith(TASK_PREFIX):
        return "", ""
    node_type, _, path = name.removeprefix(TASK_PREFIX).partition(":")
    return node_type, path
