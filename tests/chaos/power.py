"""A SQLite file system that forgets at the loss of power what was never flushed, in whole, in part, or torn at a sector.

SQLite reads and writes ordinary files through it. Beside them it keeps what is durable: a write becomes that when its file is
flushed, and not before. What a loss of power leaves can be asked for at any moment, so one life gives as many losses as wanted.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import apsw

SECTOR_BYTES = 512
KEPT = (
    apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
)  # fmt: skip
"""Files whose content must outlive the power. The index of the log (-shm) is not among them: SQLite makes it anew."""

Mercy = Literal["none", "prefix", "sectors"]
"""What a loss of power leaves of unflushed writes: none, the first ones and a part of the next, or any of their sectors."""
MERCIES: tuple[Mercy, ...] = ("none", "prefix", "sectors")


class Unflushed(NamedTuple):
    """Something that was done to a file and may be forgotten: bytes at a place, a new length, or (neither) its removal."""

    file: str
    offset: int = 0
    data: bytes = b""
    length: int | None = None
    removed: bool = False


class Disk:
    """What is durable of the files of a folder, and what is on its way there. `before` is told of each operation, by number."""

    def __init__(self, before: Callable[[int], None] = lambda number: None) -> None:
        self._before = before
        self._durable: dict[str, bytes] = {}
        self._unflushed: list[Unflushed] = []
        self.operations = 0
        self.flushes = 0

    def meet(self, file: str) -> None:
        """A file is opened: what it holds by now was there before the power came."""
        path = Path(file)
        if file not in self._durable and path.exists() and not any(each.file == file for each in self._unflushed):
            self._durable[file] = path.read_bytes()

    def change(self, what: Unflushed) -> None:
        """Something is about to be done that may be forgotten."""
        self._count()
        self._unflushed.append(what)

    def flush(self, file: str) -> None:
        """A file is about to become durable as it is. With the first flush of a new one SQLite flushes its folder as well."""
        self._count()
        self.flushes += 1
        if file not in self._durable:
            self._flush_folder()
        mine = [each for each in self._unflushed if each.file == file]
        self._unflushed = [each for each in self._unflushed if each.file != file]
        content = _applied(self._durable.get(file), mine)
        if content is None:
            self._durable.pop(file, None)
        else:
            self._durable[file] = content

    def _flush_folder(self) -> None:
        """What was removed does not come back."""
        for file in {each.file for each in self._unflushed if each.removed}:
            mine = [each for each in self._unflushed if each.file == file]
            last = max(number for number, each in enumerate(mine) if each.removed)
            self._durable.pop(file, None)
            self._unflushed = [each for each in self._unflushed if each.file != file] + mine[last + 1 :]

    def left(self, mercy: Mercy, chance: random.Random) -> dict[str, bytes]:
        """The files as they are found when the power comes back."""
        kept = _spared(self._unflushed, mercy, chance)
        found = {}
        for file in dict.fromkeys([*self._durable, *(each.file for each in kept)]):
            content = _applied(self._durable.get(file), [each for each in kept if each.file == file])
            if content is not None:
                found[file] = content
        return found

    def _count(self) -> None:
        self.operations += 1
        self._before(self.operations)


def _spared(unflushed: list[Unflushed], mercy: Mercy, chance: random.Random) -> list[Unflushed]:
    if mercy == "none":
        return []
    sectors = [part for each in unflushed for part in _sectors(each)]
    if mercy == "prefix":
        return sectors[: chance.randrange(len(sectors) + 1)]
    share = chance.random()
    return [part for part in sectors if chance.random() < share]


def _sectors(what: Unflushed) -> list[Unflushed]:
    """A write in parts of which a disk writes each in whole or not at all."""
    if not what.data:
        return [what]
    parts, start = [], 0
    while start < len(what.data):
        end = min(len(what.data), start + SECTOR_BYTES - (what.offset + start) % SECTOR_BYTES)
        parts.append(what._replace(offset=what.offset + start, data=what.data[start:end]))
        start = end
    return parts


def _applied(content: bytes | None, changes: list[Unflushed]) -> bytes | None:
    """A file after these changes; None: there is none."""
    found = None if content is None else bytearray(content)
    for each in changes:
        if each.removed:
            found = None
            continue
        if found is None:
            found = bytearray()
        if each.length is not None:
            del found[each.length :]
            found.extend(bytes(each.length - len(found)))
        else:
            found.extend(bytes(max(0, each.offset - len(found))))
            found[each.offset : each.offset + len(each.data)] = each.data
    return None if found is None else bytes(found)


class PowerFiles(apsw.VFS):
    """The file system `name`, whose files tell `disk` of every write and flush."""

    def __init__(self, name: str, disk: Disk) -> None:
        self.name = name
        self._disk = disk
        super().__init__(name=name, base="")

    def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802 - SQLite's name
        file = name.filename() if isinstance(name, apsw.URIFilename) else name
        if file is None or not flags[0] & KEPT:
            return apsw.VFSFile("", name, flags)
        self._disk.meet(file)
        return _PowerFile(name, flags, file, self._disk)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - as above
        self._disk.change(Unflushed(filename, removed=True))
        super().xDelete(filename, syncdir)
        if syncdir:
            self._disk.flush(filename)


class _PowerFile(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int], file: str, disk: Disk) -> None:
        self._file = file
        self._disk = disk
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - as above
        self._disk.change(Unflushed(self._file, offset=offset, data=bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - as above
        self._disk.change(Unflushed(self._file, length=newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 - as above
        super().xSync(flags)
        self._disk.flush(self._file)
