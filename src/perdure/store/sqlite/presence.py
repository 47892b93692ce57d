"""Who is alive: a worker holds a lock on its file for as long as its process lives, so that a death is known at once."""

from __future__ import annotations

import fcntl
import os
import weakref
from pathlib import Path
from urllib.parse import quote

from perdure.errors import StoreError

_NAME_BYTES_MAX = 200  # quoted, with `.lock`, it must fit a file's name

# A child that was forked shares its parent's locks and would keep the parent's workers alive after the parent's death.
_in_this_process: weakref.WeakSet[Presence] = weakref.WeakSet()


class Presence:
    """The workers of one store, and which of them live. `folder` holds their lock files; None: all of them are in here."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}  # worker → descriptor of its locked file, -1 without one
        _in_this_process.add(self)

    def holds(self, worker: str) -> bool:
        """Whether `worker` was registered here."""
        return worker in self._held

    def alive(self, worker: str) -> bool:
        """Whether the process of `worker` lives, wherever it is."""
        if worker in self._held:
            return True
        if self._folder is None:
            return False
        try:
            descriptor = os.open(self._path(worker), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except PermissionError:
            return True  # not ours to judge: another user's worker keeps its executions
        try:
            # Shared, so that two who ask at the same time do not take each other for the holder.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def hold(self, worker: str) -> None:
        """Keep `worker` alive from now on. Call it under the store's write lock, so that nobody else takes the name."""
        if worker in self._held:
            return
        if not worker or len(quote(worker, safe="")) > _NAME_BYTES_MAX:
            raise StoreError(
                f"Expected a worker id of 1 to {_NAME_BYTES_MAX} characters, but got {worker!r}.", remedy="Choose another."
            )
        if self.alive(worker):
            raise StoreError(
                f"Expected the worker id {worker!r} to be free, but a living process has it.", remedy="Choose another."
            )
        self._held[worker] = self._lock(worker)

    def let_go(self, worker: str) -> None:
        """`worker` is no longer alive by this process; its file goes."""
        self.remove(worker)
        descriptor = self._held.pop(worker, -1)
        if descriptor >= 0:
            os.close(descriptor)

    def remove(self, worker: str) -> None:
        """Drop the file of a worker that is dead, or is about to be."""
        if self._folder is not None:
            self._path(worker).unlink(missing_ok=True)

    def abandon(self) -> None:
        """Let go of every lock as the death of the process does: the files stay."""
        for descriptor in self._held.values():
            if descriptor >= 0:
                os.close(descriptor)
        self._held.clear()

    def _lock(self, worker: str) -> int:
        if self._folder is None:
            return -1
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(worker)
        new = path.with_name(f"{path.name}.new")
        descriptor = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Locked first and named afterwards: under its name the file is never seen unlocked.
            os.replace(new, path)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _path(self, worker: str) -> Path:
        assert self._folder is not None, "Expected a folder of locks, but this store is in memory."
        return self._folder / f"{quote(worker, safe='')}.lock"


def _after_fork() -> None:
    for presence in list(_in_this_process):
        presence.abandon()


os.register_at_fork(after_in_child=_after_fork)
