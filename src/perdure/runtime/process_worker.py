"""The process that runs one node at a time for a pool: it waits for a call, runs it, answers, and waits again.

What most nodes need is imported before it reports that it is ready, so that no attempt's timeout pays for it. It dies when its
guard dies. SIGTERM while it runs a node raises `Stopped` in it, so that `finally` and `with` get their chance within the grace;
whoever ignores that is killed.
"""

from __future__ import annotations

import ctypes
import importlib
import io
import os
import resource
import signal
import socket
import sys
import threading
from typing import Any

from perdure.runtime.frames import FrameTooLarge, frame, receive

CONNECTION = 3  # the descriptor on which a worker finds its pool
ATTEMPT_VARIABLE = "_PERDURE_ATTEMPT"  # what a child process belongs to, for people who look into /proc
PRELOADED = ("perdure.expressions", "perdure.nodes.decorator", "perdure.nodes.outcome", "asyncio")
LOG_LINES_MAX = 1_000  # per call; what is printed in a loop must not fill the journal
LOG_LINE_CHARACTERS_MAX = 8_000

NOT_SENDABLE = (TypeError, OverflowError, UnicodeEncodeError, RecursionError)  # what msgpack raises for what it cannot hold

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


class Stopped(BaseException):
    """Raised in a running node that was cancelled or timed out. It is no Exception, so that `except Exception` lets it by."""


def main(guard: int) -> None:
    """Serve the pool on descriptor 3 until it closes. `guard`: the process id of the parent that must stay alive."""
    tie_to_parent(guard, signal.SIGKILL)
    connection = socket.socket(fileno=CONNECTION)
    os.set_inheritable(CONNECTION, False)
    for module in PRELOADED:
        importlib.import_module(module)
    worker = _Worker(connection)
    signal.signal(signal.SIGTERM, worker.stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker.serve()


def tie_to_parent(parent: int, death_signal: int) -> None:
    """Linux: get `death_signal` when the parent dies, and adopt the orphans among our descendants. Elsewhere: nothing."""
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if os.getppid() != parent:  # it died before we could ask
        os._exit(1)


class _Worker:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()  # a node may log and beat from threads of its own
        self._call = 0  # the number of the call that runs, 0 = none
        self._lines = 0
        self._stopping = False

    def serve(self) -> None:
        self._send(frame(["ready", os.getpid()]))
        while True:
            try:
                call = receive(self._connection)
            except (EOFError, OSError):
                os._exit(0)
            self._lines = 0
            self._call = call["call"]
            try:
                answer = self._run(call)
            except Stopped:
                os._exit(0)
            self._call = 0
            if self._stopping:
                os._exit(0)
            self._send(answer)
            if call["limits"]:
                os._exit(0)  # a limit cannot be lifted again

    def stop(self, number: int, stack: Any) -> None:
        """SIGTERM: leave what runs by an exception, or leave at once."""
        self._stopping = True
        if not self._call:
            os._exit(0)
        raise Stopped

    def _run(self, call: dict[str, Any]) -> bytes:
        """The answer to a call, as it is sent: done, deferred or failed. Only `Stopped` comes out of it."""
        number: int = call["call"]
        try:
            value = self._perform(call)
            if type(value).__name__ == "Deferred":
                return frame(["deferred", number, value.token])
            return frame(["done", number, value])
        except Stopped:
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit of users' code is a failure like others
            failure = _failure_of(error, call["limits"])
            try:
                return frame(["failed", number, failure])
            except (FrameTooLarge, *NOT_SENDABLE):  # its data cannot be sent; the code still decides
                return frame(["failed", number, {"code": failure.code, "title": _utf8(failure.title)}])

    def _perform(self, call: dict[str, Any]) -> Any:
        os.environ[ATTEMPT_VARIABLE] = call["attempt"]
        if call["limits"]:
            _limit(call["limits"])
        from perdure.nodes.outcome import checked_output
        from perdure.nodes.reference import WORK_ATTRIBUTE, resolve

        target = resolve(call["reference"])
        output = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = _Lines(self, "info", "stdout"), _Lines(self, "warning", "stderr")
        try:
            if call["context"] is None:
                return checked_output(target(call["params"]))
            work = getattr(target, WORK_ATTRIBUTE, None)
            value = (target if work is None else work.run)(call["params"], self._context(call["context"]))
            if hasattr(value, "__await__"):
                value = _awaited(value)
            return checked_output(value)
        finally:
            for stream in (sys.stdout, sys.stderr):
                if isinstance(stream, _Lines):
                    stream.finish()
            sys.stdout, sys.stderr = output

    def _context(self, fields: dict[str, Any]) -> Any:
        from perdure.nodes.work import Context

        return Context(**fields, on_log=self.log, on_heartbeat=self._beat)

    def _beat(self, details: Any) -> None:
        self._send(frame(["beat", self._call, details]))

    def log(self, message: str, level: str, data: dict[str, Any]) -> None:
        """Send a line of the log; beyond the bound only one more, which says so."""
        self._lines += 1
        if self._lines > LOG_LINES_MAX + 1:
            return
        if self._lines == LOG_LINES_MAX + 1:
            message, level, data = f"More than {LOG_LINES_MAX} lines of log: the rest is left out.", "warning", {}
        self._send(frame(["log", self._call, _utf8(message)[:LOG_LINE_CHARACTERS_MAX], level, data]))

    def _send(self, data: bytes) -> None:
        with self._sending:
            try:
                self._connection.sendall(data)
            except OSError:
                os._exit(0)  # nobody is there to hear it


def _failure_of(error: BaseException, limits: dict[str, int]) -> Any:
    from perdure.errors import Failure, Refused
    from perdure.nodes.outcome import failure_of

    if isinstance(error, Refused):
        return Failure(code=error.code, title=error.message, detail=error.remedy, retryable=False)
    if isinstance(error, FrameTooLarge):
        return Failure(code="output.too_large", title=str(error), category="validation", retryable=False, ambiguous=True)
    if isinstance(error, MemoryError) and limits.get("memory"):
        return Failure(
            code="node.memory_limit",
            title=f"Expected the node to need at most {limits['memory']} bytes, but it needs more",
            retryable=False,
            ambiguous=True,
        )
    return failure_of(error)


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _awaited(value: Any) -> Any:
    import asyncio

    async def wait() -> Any:
        return await value

    return asyncio.run(wait())


def _limit(limits: dict[str, int]) -> None:
    """Bound this process: `memory` in bytes above what the interpreter holds already, `cpu` in seconds."""
    if memory := limits.get("memory"):
        with open("/proc/self/statm", encoding="ascii") as statm:
            held = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + memory, held + memory))
    if cpu := limits.get("cpu"):
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = int(used.ru_utime + used.ru_stime) + cpu
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class _Lines(io.TextIOBase):
    """A stream whose lines go to the log."""

    def __init__(self, worker: _Worker, level: str, source: str) -> None:
        self._worker = worker
        self._level = level
        self._source = source
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._worker.log(line, self._level, {"source": self._source})
        if len(self._rest) > LOG_LINE_CHARACTERS_MAX:
            self.finish()
        return len(text)

    def finish(self) -> None:
        if self._rest:
            self._worker.log(self._rest, self._level, {"source": self._source})
            self._rest = ""
