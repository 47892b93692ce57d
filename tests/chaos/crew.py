"""Processes that are forked, watched and killed: each a real one with a log of its own, quick to start, since all is imported.

Whoever forks must have no thread, no event loop and no open store of its own.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

KILLED = -signal.SIGKILL
BROKEN = 70
_PARENT_DIES = 1  # PR_SET_PDEATHSIG

Role = Callable[[], int]
"""What a process does; its exit code."""


@dataclass
class Member:
    """A process: its role, its id, its log, and its exit code once it has ended (negative: the signal that ended it)."""

    name: str
    pid: int
    log: Path
    code: int | None = None

    def said(self) -> str:
        """What it wrote to its log; nothing, if it was killed before it could."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def kill(self, blow: int = signal.SIGKILL) -> None:
        """Send it a signal, if it has not ended."""
        if self.ended() is None:
            os.kill(self.pid, blow)

    def ended(self) -> int | None:
        """Its exit code; None while it lives."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def wait(self, seconds: float) -> int:
        """Wait for its end. Raises TimeoutError."""
        until = time.monotonic() + seconds
        while (code := self.ended()) is None:
            if time.monotonic() > until:
                raise TimeoutError(f"Expected {self.name} to end within {seconds:g} s, but it did not:\n{self.said()[-2_000:]}")
            time.sleep(0.005)
        return code


@dataclass
class Crew:
    """Processes with their logs in `folder`. Leaving the context kills those that still live."""

    folder: Path
    members: list[Member] = field(default_factory=list)

    def __enter__(self) -> Crew:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.kill()
        for member in self.members:
            member.wait(60)

    def start(self, name: str, role: Role) -> Member:
        """A process that carries out `role`. It is killed when its parent dies."""
        log = self.folder / f"{len(self.members)}-{name}.log"
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if not pid:
            _live(role, log, parent)
        member = Member(name, pid, log)
        self.members.append(member)
        return member


def _live(role: Role, log: Path, parent: int) -> None:
    """The whole life of a forked process; never returns."""
    code = BROKEN
    try:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PARENT_DIES, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(BROKEN)
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        code = role()
    except BaseException:  # noqa: BLE001 - the last one who can say something
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
