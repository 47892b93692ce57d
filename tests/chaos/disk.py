"""A disk that is full, and one that may only be read: real ones where this user may mount, else by limits and permissions.

Both scenarios go alike: some load; the trouble, in which everybody who comes must say what is wrong and change nothing; then it
is over, everything comes to its end, and the audit looks whether anything is missing.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from crew import KILLED, Crew, Member, Role
from expected import FLOWS
from roles import Place, command, noted, start, work
from storm import Storm, calm, conclude, gathered

DISK_BYTES = 16 << 20
ROOM_BYTES = 400 << 10
"""What is left for the store when the trouble begins: enough to go on for a while and fail in the middle of something."""
LOAD_SECONDS_MAX = 30.0
LOAD_STARTS = 40
NOBODY = 65_534
REFUSED = 2
FULL = ("[store.full]", "Make room")
READ_ONLY = ("[store.read_only]", "Let this user write")
"""The code and the beginning of the remedy that everybody must say."""

Trouble = Callable[[Place, Crew, bool], Iterator[str]]


def disk_full(folder: Path, *, seed: int, mount: bool = True, lives: int) -> Storm:
    """No room in the middle of a load, for so many pairs of a worker and a starter. `mount`: a disk, where this user may."""
    return _scenario(folder, seed, mount, partial(_no_room, lives))


def disk_read_only(folder: Path, *, seed: int, mount: bool = True, lives: int) -> Storm:
    """All processes are killed in the middle of a load, and those that come after them may only read."""
    return _scenario(folder, seed, mount, partial(_no_writing, lives))


def _scenario(folder: Path, seed: int, mount: bool, trouble: Trouble) -> Storm:
    found = Storm(seed)
    began = time.monotonic()
    store = folder / "store"
    store.mkdir(parents=True)
    with mounted(store, wanted=mount) as is_mount, gathered(folder, seed) as (place, crew):
        _load(place, crew)
        found.violations.extend(trouble(place, crew, is_mount))
        found.violations.extend(calm(place, crew))
        found.seconds = time.monotonic() - began
        found.way = "mounted" if is_mount else "limited"
        found.kills = sum(member.code == KILLED for member in crew.members)
        conclude(place, found)
    return found


@contextmanager
def mounted(folder: Path, *, wanted: bool) -> Iterator[bool]:
    """A small disk at `folder`, if this user may mount one; whether there is."""
    size = f"size={DISK_BYTES}"
    tried = ["mount", "-t", "tmpfs", "-o", size, "none", str(folder)]
    allowed = wanted and not os.geteuid() and shutil.which("mount") is not None
    is_mount = allowed and subprocess.run(tried, capture_output=True, check=False).returncode == 0
    try:
        yield is_mount
    finally:
        if is_mount:
            subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def _load(place: Place, crew: Crew) -> None:
    """Two workers and a starter, until enough was started; they go on."""
    for name, role in (("worker", _working(place)), ("worker", _working(place)), ("starter", lambda: start(place, 1))):
        crew.start(name, role)
    until = time.monotonic() + LOAD_SECONDS_MAX
    while len(noted(place.starts)) < LOAD_STARTS:
        if time.monotonic() > until:
            raise TimeoutError(f"Expected {LOAD_STARTS} starts within {LOAD_SECONDS_MAX:g} s.")
        time.sleep(0.01)


def _working(place: Place) -> Role:
    return lambda: work(place)


def _commanding(place: Place, *arguments: str) -> Role:
    return lambda: command(place, *arguments)


# -- no room ---------------------------------------------------------------------------------------------------------------


def _no_room(lives: int, place: Place, crew: Crew, is_mount: bool) -> Iterator[str]:
    present = [member for member in crew.members if member.name in ("worker", "starter")]
    ballast = place.store.parent / "ballast"
    if is_mount:
        _fill(ballast)
    else:  # a limit cannot be put on who is there already
        for member in present:
            member.kill()
            member.wait(60)
        present = []
    # The log has its length ahead of need, so the limit goes by the others: whoever writes meets it in the log as well.
    sizes = [file.stat().st_size for file in place.store.parent.iterdir() if not file.name.endswith("-wal")]
    limit = None if is_mount else max(sizes) + ROOM_BYTES // 4
    seats = [crew.start(name, _limited(limit, role)) for name, role in _comers(place, 0)] + present
    for life in range(1, lives):
        for member in seats:
            yield from _about(member, *FULL)
        seats = [crew.start(name, _limited(limit, role)) for name, role in _comers(place, life)]
    for member in seats:
        yield from _about(member, *FULL)
    for arguments in (("list",), ("verify",)):
        yield from _about_reader(crew.start("reader", _limited(limit, _commanding(place, *arguments))), *FULL)
    ballast.unlink(missing_ok=True)


def _fill(ballast: Path) -> None:
    """Fill the disk but for a little room."""
    free = shutil.disk_usage(ballast.parent).free
    with ballast.open("wb") as file:
        file.write(bytes(max(0, free - ROOM_BYTES)))


def _limited(limit: int | None, role: Role) -> Role:
    """A role for which no file may be larger than `limit`, which the system says as a full disk would be said."""

    def limited() -> int:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        return role()

    return limited


def _comers(place: Place, life: int) -> list[tuple[str, Role]]:
    return [("worker", _working(place)), ("starter", lambda: start(place, 10 + life))]


def _about_reader(member: Member, code: str, remedy: str) -> Iterator[str]:
    """Who only reads may succeed."""
    if member.wait(120):
        yield from _about(member, code, remedy)


def _about(member: Member, code: str, remedy: str) -> Iterator[str]:
    """Who meets the trouble says what is wrong and what to do, and ends with exit code 2."""
    said = f"{member.wait(120)}: {member.said()[-1_500:]}"
    if member.code != REFUSED or code not in member.said() or remedy not in member.said() or "Traceback" in member.said():
        yield f"A {member.name} was to end with 2 and {code}, but ended with {said}"


# -- no writing ------------------------------------------------------------------------------------------------------------


def _no_writing(lives: int, place: Place, crew: Crew, is_mount: bool) -> Iterator[str]:
    for member in crew.members:
        if member.name in ("worker", "starter"):
            member.kill()
            member.wait(60)
    before = _content(place.store.parent)
    with _remounted(place.store.parent) if is_mount else _forbidden(place.store.parent):
        roles = [comer for life in range(lives) for comer in _comers(place, life)]
        for arguments in (("resume",), ("run", str(FLOWS / "walk.yaml"), "--key", "never")):
            roles.append(("command", _commanding(place, *arguments)))
        for arguments in (("list",), ("verify",)):
            roles.append(("reader", _commanding(place, *arguments)))
        for member in [crew.start(name, _powerless(place, role, is_mount)) for name, role in roles]:
            yield from (_about_reader if member.name == "reader" else _about)(member, *READ_ONLY)
    if _content(place.store.parent) != before:
        yield "Files of the store were changed while they could only be read."


def _content(folder: Path) -> dict[str, str]:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@contextmanager
def _remounted(folder: Path) -> Iterator[None]:
    """A disk that is mounted read-only."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True, capture_output=True)


@contextmanager
def _forbidden(folder: Path) -> Iterator[None]:
    """Folder and files that nobody may write, and everybody may reach and read."""
    ours = [each for each in folder.parents if each != Path("/") and each.stat().st_uid == os.getuid()]
    before = {each: each.stat().st_mode for each in (*ours, folder, *folder.rglob("*"))}
    for each in ours:
        each.chmod(0o755)
    for each in (folder, *folder.rglob("*")):
        each.chmod(0o555 if each.is_dir() else 0o444)
    try:
        yield
    finally:
        for each, mode in before.items():
            each.chmod(mode)


def _powerless(place: Place, role: Role, is_mount: bool) -> Role:
    """A role of somebody to whom permissions mean something: to root they mean nothing, so who is root becomes nobody."""

    def powerless() -> int:
        if not is_mount and not os.geteuid():
            _import_all(place)
            os.seteuid(NOBODY)
        return role()

    return powerless


def _import_all(place: Place) -> None:
    """Do it once elsewhere: what is imported late may lie where nobody else may read."""
    asyncio.run(asyncio.to_thread(list))  # as where a large value is read from its file
    elsewhere = Place(place.folder / f"elsewhere-{os.getpid()}", place.receiver, place.seed)
    elsewhere.store.parent.mkdir(parents=True)
    for arguments in (
        ("run", str(FLOWS / "once.yaml"), "--input", '{"receiver": "http://127.0.0.1:9/", "tag": "t", "n": 1}'),
        ("verify",),
    ):
        command(elsewhere, *arguments)
