"""The process that owns the processes of a pool: it starts them, kills them with all that they started, and outlives nobody.

Workers are children of the guard, and orphans come to it (child subreaper), so that whatever a node started can be found: what
is a child of the guard and no worker is a stray, left behind by a worker that ended. When the pool's own process dies, even by
kill -9, its socket closes, and the guard kills everything and ends.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from typing import Any

import psutil

from perdure.clock import MICROSECONDS, Clock, SystemClock
from perdure.runtime.frames import Frames, frame
from perdure.runtime.process_worker import CONNECTION, tie_to_parent

KILL_SECONDS_MAX = 10.0  # SIGKILL takes milliseconds; beyond this a process hangs in the kernel, and waiting is in vain
CLOCK: Clock = SystemClock()
WORKER = "import sys; sys.path[:] = {path!r}; from perdure.runtime.process_worker import main; main({guard})"


def main(descriptor: int, parent: int) -> None:
    """Serve the pool on this descriptor until it closes or `parent` dies."""
    control = socket.socket(fileno=descriptor)
    os.set_inheritable(descriptor, False)
    wakeup, alarm = socket.socketpair()
    wakeup.setblocking(False)
    alarm.setblocking(False)
    signal.set_wakeup_fd(alarm.fileno(), warn_on_full_buffer=False)
    guard = _Guard(control)
    signal.signal(signal.SIGCHLD, lambda number, stack: None)
    signal.signal(signal.SIGTERM, lambda number, stack: guard.end())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tie_to_parent(parent, signal.SIGTERM)
    guard.serve(wakeup)


class _Guarded:
    """A worker: its number in the pool, its process, and when its grace is over (None: it is not being killed)."""

    __slots__ = ("due", "number", "process")

    def __init__(self, number: int, process: psutil.Process) -> None:
        self.number = number
        self.process = process
        self.due: float | None = None


class _Guard:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._workers: dict[int, _Guarded] = {}  # by process id
        self._frames = Frames()
        self._descriptors: list[int] = []

    def serve(self, wakeup: socket.socket) -> None:
        while True:
            readable, _, _ = select.select([self._control, wakeup], [], [], self._patience())
            if wakeup in readable:
                wakeup.recv(4_096)
            if self._control in readable:
                self._take_orders()
            self._reap()
            now = CLOCK.monotonic()
            for guarded in [one for one in self._workers.values() if one.due is not None and one.due <= now]:
                guarded.due = now + KILL_SECONDS_MAX
                _kill_tree(guarded.process)

    def end(self) -> None:
        """The pool is gone: nothing of it may go on."""
        for guarded in self._workers.values():
            _kill_tree(guarded.process)
        self._workers.clear()
        self._kill_strays()
        os._exit(0)

    def _patience(self) -> float | None:
        dues = [guarded.due for guarded in self._workers.values() if guarded.due is not None]
        return max(0.0, min(dues) - CLOCK.monotonic()) if dues else None

    def _take_orders(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, 65_536, 16)
        except OSError:
            data, descriptors = b"", []
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)  # a second copy in the worker would hide that it hung up
        self._descriptors += descriptors
        if not data:
            self.end()
        for order in self._frames.feed(data):
            if order[0] == "spawn":
                self._spawn(order[1])
            else:
                self._kill(order[1], order[2])

    def _spawn(self, number: int) -> None:
        """Start a worker with our own environment and import folders, which the pool chose for it."""
        descriptor = self._descriptors.pop(0)
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, 2, 1),  # what is printed past Python must not mix with the pool's own output
            (os.POSIX_SPAWN_DUP2, descriptor, CONNECTION),
        ]
        if descriptor == CONNECTION:  # dup2 onto itself would leave it to close on exec
            os.set_inheritable(descriptor, True)
            actions.pop()
        code = WORKER.format(path=sys.path, guard=os.getpid())
        try:
            process = os.posix_spawn(
                sys.executable, [sys.executable, "-c", code], os.environ, file_actions=actions, setsid=True,
                setsigdef=[signal.SIGINT, signal.SIGTERM],
            )  # fmt: skip
        except OSError as error:  # no more processes or memory: the pool must hear it, the other workers go on
            self._report(["exited", number, error.errno or 1, []])
            return
        finally:
            os.close(descriptor)
        self._workers[process] = _Guarded(number, psutil.Process(process))
        self._report(["spawned", number, process])

    def _kill(self, number: int, grace: int) -> None:
        """First ask (SIGTERM to all of the tree), after the grace (microseconds) kill."""
        for guarded in self._workers.values():
            if guarded.number == number:
                if grace:
                    for process in [guarded.process, *_descendants(guarded.process)]:
                        _signal(process, signal.SIGTERM)
                due = CLOCK.monotonic() + grace / MICROSECONDS
                guarded.due = due if guarded.due is None else min(guarded.due, due)

    def _reap(self) -> None:
        """Bury the dead. A worker is reported only when nothing that it started is left."""
        ended = []
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not process:
                break
            if guarded := self._workers.pop(process, None):
                ended.append((guarded.number, os.waitstatus_to_exitcode(status)))
        if ended:
            left = self._kill_strays()
            for number, code in ended:
                self._report(["exited", number, code, left])

    def _kill_strays(self) -> list[int]:
        """Kill all our children that are no workers, until none is left. Returns those that would not die in time."""
        give_up = CLOCK.monotonic() + KILL_SECONDS_MAX
        while strays := [child for child in psutil.Process().children() if child.pid not in self._workers]:
            for stray in strays:
                _kill_tree(stray)
            for stray in strays:
                try:
                    os.waitpid(stray.pid, 0 if CLOCK.monotonic() < give_up and _dies(stray, give_up) else os.WNOHANG)
                except ChildProcessError:
                    continue
            if CLOCK.monotonic() > give_up:
                return [stray.pid for stray in strays]
        return []

    def _report(self, message: list[Any]) -> None:
        try:
            self._control.sendall(frame(message))
        except OSError:
            self.end()


def _dies(process: psutil.Process, give_up: float) -> bool:
    """Whether the process is dead (a zombie that waits for us) before the time is over."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except (OSError, AttributeError):
        return False
    try:
        return bool(select.select([descriptor], [], [], max(0.0, give_up - CLOCK.monotonic()))[0])
    finally:
        os.close(descriptor)


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = process.children(recursive=True)
    except psutil.Error:
        return []
    return found


def _kill_tree(process: psutil.Process) -> None:
    """Kill a process and all below it. All are stopped first, so that none can start another while we look."""
    _signal(process, signal.SIGSTOP)
    known: set[psutil.Process] = set()
    while new := set(_descendants(process)) - known:
        for descendant in new:
            _signal(descendant, signal.SIGSTOP)
        known |= new
    for victim in (*known, process):
        _signal(victim, signal.SIGKILL)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        os.kill(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return
