"""The files of large blobs, by content, in the folder beside the database: durable before any row names them."""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from perdure.errors import StoreDamaged
from perdure.store.contract import Blob

_number = itertools.count()


class BlobFiles:
    """Bodies as files `ab/<hex of the digest>` in `folder`. Its methods wait for the disk: call them from a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts = folder / "part"

    def write(self, blobs: Iterable[Blob]) -> None:
        """Make these durable, the folders' entries too. Those that are there already are only young again. Raises OSError."""
        self._make_folders(self._parts)
        with self._gate(fcntl.LOCK_SH):
            for blob in blobs:
                self._write(blob)

    def unlink(self, loose: Iterable[tuple[bytes, int]]) -> list[bytes]:
        """Remove files that nobody has written since a moment each, microseconds UTC; those that are gone now."""
        gone = []
        with self._gate(fcntl.LOCK_EX):  # who finds a file and counts on it has made it young before, or finds none
            for digest, moment in loose:
                path = self._path(digest)
                try:
                    young = path.stat().st_mtime_ns // 1_000 > moment
                except FileNotFoundError:
                    young = False
                if not young:
                    path.unlink(missing_ok=True)
                    gone.append(digest)
        return gone

    def read(self, wanted: Sequence[tuple[bytes, int]]) -> dict[bytes, bytes]:
        """The bodies of these (digest, size). Raises StoreDamaged when a file is gone, or is not what was written."""
        bodies = {}
        for digest, size in wanted:
            path = self._path(digest)
            try:
                body = path.read_bytes()
            except FileNotFoundError:
                raise _damaged(path, "it is gone") from None
            if len(body) != size:
                raise _damaged(path, f"it has {len(body)} bytes instead of {size}")
            if hashlib.sha256(body).digest() != digest:
                raise _damaged(path, "its content has changed")
            bodies[digest] = body
        return bodies

    def findings(self, wanted: Iterable[tuple[bytes, int]]) -> list[str]:
        """One sentence per file of these (digest, size) that is gone or has another size."""
        found = []
        for digest, size in wanted:
            path = self._path(digest)
            try:
                length = path.stat().st_size
            except FileNotFoundError:
                found.append(f"Expected the blob file {path}, but it is gone.")
                continue
            if length != size:
                found.append(f"Expected {size} bytes in the blob file {path}, but it has {length}.")
        return found

    def sweep(self) -> None:
        """Remove what writers that died left half-written. A living writer holds a lock on its part."""
        try:
            parts = list(self._parts.iterdir())
        except FileNotFoundError:
            return
        for part in parts:
            try:
                descriptor = os.open(part, os.O_RDWR | os.O_CLOEXEC)
            except (FileNotFoundError, PermissionError):
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink(missing_ok=True)
            except BlockingIOError:
                pass
            finally:
                os.close(descriptor)

    def _path(self, digest: bytes) -> Path:
        name = digest.hex()
        return self._folder / name[:2] / name

    @contextmanager
    def _gate(self, kind: int) -> Iterator[None]:
        """Those who write pass together, whoever unlinks passes alone."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)

    def _write(self, blob: Blob) -> None:
        path = self._path(blob.digest)
        if _holds(path, len(blob.body)):
            os.utime(path)
            _flush_folder(path.parent)  # whoever renamed it may not have come to this
            return
        self._make_folders(path.parent)
        part, descriptor = self._open_part(path.name)
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(blob.body)
            os.fsync(descriptor)
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        _flush_folder(path.parent)

    def _open_part(self, name: str) -> tuple[Path, int]:
        while True:
            part = self._parts / f"{name}.{os.getpid()}.{next(_number)}"
            descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                return part, descriptor
            os.close(descriptor)  # a sweep came between the two calls

    def _make_folders(self, folder: Path) -> None:
        for each in (self._parts, folder):
            if each.is_dir():
                continue
            new = [one for one in (each, *each.parents) if not one.exists()]
            each.mkdir(parents=True, exist_ok=True)
            for one in new:
                _flush_folder(one.parent)


def _holds(path: Path, size: int) -> bool:
    """Whether the file is there in its full length: a rename that was lost, or a truncated copy, is written anew."""
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damaged(path: Path, what: str) -> StoreDamaged:
    return StoreDamaged(
        f"Expected the blob file {path} as it was written, but {what}.",
        remedy="Restore the folder of blobs from the same backup as the store.",
    )
