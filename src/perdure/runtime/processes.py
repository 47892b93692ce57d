"""A pool of processes for work that must be killable: blocking nodes, sandboxed code, heavy evaluations.

    main process ── guard ── worker, worker, …          (process_guard, process_worker)

A call that is cancelled returns only when its process, and all that this process started, are gone: a timeout really stops the
work. What a worker leaves behind when it ends by itself is killed as well. When the main process dies, by whatever means, the
guard kills everything. Linux: elsewhere processes that fled into a session of their own may escape.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from perdure.clock import MICROSECONDS, SystemClock
from perdure.errors import Failure
from perdure.ids import ExecutionIds, id_text
from perdure.nodes.work import Deferred, Failed, HeartbeatSink, LogSink
from perdure.runtime.frames import Frames, FrameTooLarge, frame

GRACE = 1 * MICROSECONDS  # time that a stopped node has to leave by itself, where the caller names none
CALLS_MAX = 1_000  # then a worker is replaced, so that what users' code leaks stays bounded
CLOSE_SECONDS_MAX = 15
POOL_VARIABLE = "_PERDURE_POOL"  # marks everything that descends from a pool, should the guard itself be killed
OUR_VARIABLES = "PERDURE_"  # settings and secrets of the installation: no business of users' code

_GUARD = "import sys; sys.path[:] = {path!r}; from perdure.runtime.process_guard import main; main({descriptor}, {parent})"


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Bounds of one call. `memory`: bytes above what the interpreter holds; `cpu`: seconds of computing. 0 = unbounded."""

    memory: int = 0
    cpu: int = 0


class ProcessDied(Failed):
    """The process that ran a node ended by itself. `exit`: its exit status, or minus the number of the signal that ended it."""

    def __init__(self, exit: int, *, code: str = "node.process_died") -> None:
        self.exit = exit
        name = _signal_name(exit)
        how = f"was killed by {name}" if name else f"ended with status {exit}"
        super().__init__(
            code,
            f"Expected the node to return, but its process {how}",
            detail="SIGKILL from outside is most often the kernel, out of memory." if exit == -signal.SIGKILL else "",
            retryable=False if code != "node.process_died" else None,
            ambiguous=True,
            data={"exit": exit, "signal": name},
        )


class ProcessPool:
    """Runs at most `size` calls at the same time, each in a process of its own; the others wait in order.

    Use it inside one event loop, as `async with ProcessPool(4) as pool`, or with `close` at the end.
    """

    def __init__(self, size: int, *, calls_max: int = CALLS_MAX) -> None:
        if size < 1:
            raise ValueError(f"Expected a pool of at least one process, but got {size}.")
        self.size = size
        self._calls_max = calls_max
        self._slots = asyncio.Semaphore(size)
        self._guard: _Guard | None = None
        self._idle: list[_Process] = []
        self._busy: set[_Process] = set()
        self._calls = 0
        self._closed = False

    async def __aenter__(self) -> ProcessPool:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def start(self, warm: int | None = None) -> None:
        """Have processes ready before the first call: all of them, or `warm`. Not needed, but the first callers wait less."""
        wanted = self.size if warm is None else min(warm, self.size)
        while len(self._idle) + len(self._busy) < wanted:
            self._idle.append(self._spawn())
        for process in list(self._idle):
            await process.ready

    async def run(
        self,
        reference: str,
        params: Any,
        context_fields: dict[str, Any] | None,
        *,
        on_log: LogSink | None = None,
        on_heartbeat: HeartbeatSink | None = None,
        grace: int = GRACE,
        limits: Limits | None = None,
    ) -> Any:
        """Run the function behind `reference` (`Work.reference`) and return its output, or a `Deferred`.

        `context_fields`: what `Context.fields` gives; None calls the function with `params` alone. `grace`: microseconds
        between asking and killing when this call is cancelled. Raises Failed (a node's own, `node.exception`,
        `output.invalid`, …) and ProcessDied. A cancelled call raises CancelledError once everything it started is gone.
        """
        async with self._slots:
            self._calls += 1
            message = {
                "call": self._calls,
                "reference": reference,
                "params": params,
                "context": context_fields,
                "attempt": _attempt_text(context_fields),
                "limits": msgspec.to_builtins(limits) if limits is not None else {},
            }
            data = _sendable(message)
            process = self._take()
            try:
                answer = await process.call(self._calls, data, on_log, on_heartbeat)
            except ProcessDied as died:
                self._busy.discard(process)
                if limits is not None and limits.cpu and died.exit == -signal.SIGXCPU:
                    raise ProcessDied(died.exit, code="node.cpu_limit") from None
                raise
            except BaseException:
                await self._kill(process, grace)
                self._busy.discard(process)
                self._replace()
                raise
            self._busy.discard(process)
            self._put_back(process, spent=bool(message["limits"]))
        return _value_of(answer)

    async def evaluate(self, reference: str, payload: Any) -> Any:
        """Call a pure function `package.module:function` with the payload, in a process, and return its value (day-one 30)."""
        return await self.run(reference, payload, None, grace=0)

    async def close(self) -> None:
        """Kill what is running and end all processes. Calls in flight raise ProcessDied."""
        self._closed = True
        self._idle.clear()
        if self._guard is not None:
            await self._guard.close()
            self._guard = None

    # -- processes ----------------------------------------------------------------------------------------------------
    def _take(self) -> _Process:
        """An idle process that lives, else a new one. It need not be up yet: calls wait in its socket."""
        process = None
        while self._idle and process is None:
            candidate = self._idle.pop()
            process = candidate if candidate.usable else None
        process = process or self._spawn()
        self._busy.add(process)
        return process

    def _put_back(self, process: _Process, *, spent: bool) -> None:
        if not spent and process.calls < self._calls_max and process.usable and not self._closed:
            self._idle.append(process)
            return
        if self._guard is not None:
            self._guard.kill(process, 0)
        self._replace()

    def _replace(self) -> None:
        """Start a process in the place of one that is gone, so that the next call does not wait for it."""
        if not self._closed and len(self._idle) + len(self._busy) < self.size:
            self._idle.append(self._spawn())

    async def _kill(self, process: _Process, grace: int) -> None:
        """Kill, and wait until nothing is left. A second cancel changes nothing: there is nothing to do but wait."""
        if self._guard is None or process.gone.done():
            return
        self._guard.kill(process, grace)
        while not process.gone.done():
            try:
                await asyncio.shield(process.gone)
            except asyncio.CancelledError:
                continue

    def _spawn(self) -> _Process:
        if self._closed:
            raise Failed("node.pool_closed", "Expected an open pool of processes, but it is closed")
        if self._guard is None or self._guard.lost:
            self._guard = _Guard()
        return self._guard.spawn()


class _Process(asyncio.Protocol):
    """A worker as the pool sees it. `gone` is set when it and all it started are dead; `ready` when it can take a call."""

    def __init__(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.pid = 0
        self.calls = 0
        self.gone: asyncio.Future[int] = loop.create_future()
        self.ready: asyncio.Future[None] = loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._outbox: list[bytes] = []
        self._frames = Frames()
        self._disconnected = False
        self._call = 0
        self._answer: asyncio.Future[list[Any]] | None = None
        self._on_log: LogSink | None = None
        self._on_heartbeat: HeartbeatSink | None = None
        self.on_broken: Callable[[_Process], None] = lambda process: None

    @property
    def usable(self) -> bool:
        return not self.gone.done() and not self._disconnected

    async def call(self, number: int, data: bytes, on_log: LogSink | None, on_heartbeat: HeartbeatSink | None) -> list[Any]:
        """Send a call and wait for its answer. Raises ProcessDied."""
        self._call, self._on_log, self._on_heartbeat = number, on_log, on_heartbeat
        self._answer = asyncio.get_running_loop().create_future()
        self.calls += 1
        if self._transport is None:
            self._outbox.append(data)
        else:
            self._transport.write(data)
        try:
            return await self._answer
        finally:
            self._call, self._answer, self._on_log, self._on_heartbeat = 0, None, None, None

    def exited(self, code: int) -> None:
        """The guard reports the end. What it had sent before is still on its way: the socket closes last."""
        if not self.gone.done():
            self.gone.set_result(code)
        if not self.ready.done():
            self.ready.set_result(None)
        self._settle()

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        for data in self._outbox:
            transport.write(data)
        self._outbox.clear()

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._frames.feed(data):
                self._take_in(message)
        except (FrameTooLarge, msgspec.DecodeError):
            self.on_broken(self)  # a worker never sends such a thing: users' code wrote into its socket

    def connection_lost(self, error: Exception | None) -> None:
        self._disconnected = True
        if not self.gone.done():
            self.on_broken(self)  # users' code may have closed the socket, and run on
        self._settle()

    def _take_in(self, message: list[Any]) -> None:
        kind = message[0]
        if kind == "ready":
            self.pid = message[1]
            if not self.ready.done():
                self.ready.set_result(None)
        elif message[1] != self._call or self._answer is None:
            return  # a late word of a call that is over
        elif kind == "log" and self._on_log is not None:
            self._on_log(*message[2:])
        elif kind == "beat" and self._on_heartbeat is not None:
            self._on_heartbeat(message[2])
        elif kind in {"done", "failed", "deferred"} and not self._answer.done():
            self._answer.set_result(message)

    def _settle(self) -> None:
        if self.gone.done() and self._disconnected and self._answer is not None and not self._answer.done():
            self._answer.set_exception(ProcessDied(self.gone.result()))


class _Guard:
    """The pool's end of the guard: orders go there (with descriptors), ends of processes come back."""

    def __init__(self) -> None:
        self.lost = False
        self._loop = asyncio.get_running_loop()
        self._processes: dict[int, _Process] = {}
        self._frames = Frames()
        self._number = 0
        self._mark = id_text(ExecutionIds().new(SystemClock().now()))
        self._control, theirs = socket.socketpair()
        path = [os.path.abspath(folder) for folder in sys.path]
        code = _GUARD.format(path=path, descriptor=theirs.fileno(), parent=os.getpid())
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            env=_environment(self._mark),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=2,
            start_new_session=True,
        )
        theirs.close()
        self._control.setblocking(False)
        self._loop.add_reader(self._control.fileno(), self._listen)

    def spawn(self) -> _Process:
        """Order a new worker; its socket can be written to at once."""
        self._number += 1
        process = _Process(self._number)
        process.on_broken = lambda broken: self.kill(broken, 0)
        self._processes[self._number] = process
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        connecting = self._loop.create_task(self._connect(process, ours))
        process.gone.add_done_callback(lambda gone: connecting.cancel() if not connecting.done() else None)
        self._order(["spawn", self._number], theirs)
        theirs.close()
        return process

    def kill(self, process: _Process, grace: int) -> None:
        """Order the end of a worker and of all it started; `process.gone` tells when it is so."""
        if not self.lost and not process.gone.done():
            self._order(["kill", process.number, grace])

    async def close(self) -> None:
        """Let the guard end everything, and wait for it."""
        self._hang_up()
        try:
            await asyncio.to_thread(self._process.wait, CLOSE_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        self._bury_all()

    @staticmethod
    async def _connect(process: _Process, ours: socket.socket) -> None:
        await asyncio.get_running_loop().create_connection(lambda: process, sock=ours)

    def _order(self, message: list[Any], descriptor: socket.socket | None = None) -> None:
        """Orders are a few bytes to a process that does nothing but listen, so they are never held up."""
        try:
            if descriptor is None:
                self._control.sendall(frame(message))
            else:
                socket.send_fds(self._control, [frame(message)], [descriptor.fileno()])
        except OSError:
            self._loop.call_soon(self._listen)

    def _listen(self) -> None:
        if self.lost:
            return
        try:
            data = self._control.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose()
            return
        for message in self._frames.feed(data):
            if message[0] == "spawned":
                self._processes[message[1]].pid = message[2]
            else:
                self._exited(message[1], message[2], message[3])

    def _exited(self, number: int, code: int, left: list[int]) -> None:
        if left:
            self._loop.call_exception_handler({"message": f"Processes {left} did not die of SIGKILL; they hang in the kernel."})
        self._processes.pop(number).exited(code)

    def _lose(self) -> None:
        """The guard itself was killed. Its workers die with it; what they started is found by its mark."""
        self._hang_up()
        self._process.wait()
        sweeping = self._loop.run_in_executor(None, _sweep, self._mark)
        sweeping.add_done_callback(lambda done: self._bury_all())

    def _hang_up(self) -> None:
        if not self.lost:
            self.lost = True
            self._loop.remove_reader(self._control.fileno())
            self._control.close()

    def _bury_all(self) -> None:
        for process in list(self._processes.values()):
            process.exited(-signal.SIGKILL)
        self._processes.clear()


def _sweep(mark: str) -> None:
    """Kill whatever carries the mark in its environment, until nothing does."""
    import psutil  # here, since most who run workflows never have a process to sweep up

    for _ in range(100):
        marked = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(POOL_VARIABLE) == mark and process.status() != psutil.STATUS_ZOMBIE:
                    process.kill()
                    marked.append(process)
            except psutil.Error:
                continue
        if not marked:
            return
        psutil.wait_procs(marked, timeout=1)


def _environment(mark: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OUR_VARIABLES)}
    return {**kept, POOL_VARIABLE: mark}


def _attempt_text(context_fields: dict[str, Any] | None) -> str:
    if context_fields is None:
        return ""
    return f"{context_fields.get('execution', '')}:{context_fields.get('path', '')}:{context_fields.get('attempt', '')}"


def _sendable(message: dict[str, Any]) -> bytes:
    try:
        return frame(message)
    except (FrameTooLarge, TypeError, OverflowError, UnicodeEncodeError) as error:
        raise Failed("params.invalid", str(error), category="validation", retryable=False) from None


def _value_of(answer: list[Any]) -> Any:
    kind, _, content = answer
    if kind == "done":
        return content
    if kind == "deferred":
        return Deferred(content)
    raise Failed.of(msgspec.convert(content, Failure))


def _signal_name(exit: int) -> str:
    if exit >= 0:
        return ""
    try:
        return signal.Signals(-exit).name
    except ValueError:
        return f"signal {-exit}"
