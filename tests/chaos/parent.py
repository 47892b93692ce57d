"""A hot parent: an execution with very many children on PostgreSQL, whose worker is killed half-way; time and memory."""

from __future__ import annotations

import resource
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from crew import Crew, Member
from database import Database, database
from expected import FLOWS
from roles import Place, command, definition, in_engine, note, noted
from storm import UNHEARD_OF, complaints, marked, orphans

from perdure.app import Engine

LEASE = 600_000_000
SECONDS_MAX = 3_600.0
LOOK_SECONDS = 0.05
FILES = ("raise", "child")


@dataclass
class Raised:
    """What it took to raise the children. Memory: the most that a worker had, in bytes; `cpu`: of both workers, in seconds."""

    children: int
    seconds: float = 0.0
    takeover_seconds: float = 0.0
    cpu_seconds: float = 0.0
    memory_first: int = 0
    memory_second: int = 0
    violations: list[str] = field(default_factory=list)


def raised(folder: Path, *, children: int) -> Raised:
    """Have a worker begin with a parent of so many, kill it when half of them are there, and have another one go on."""
    found = Raised(children)
    with marked(children), Crew(folder / "logs") as crew, database(crew, folder / "server") as server:
        place = Place(folder, "", 0, url=server.url, lease=LEASE)
        for flow in FILES:
            definition(flow)
        saved = crew.start("save", lambda: command(place, "check", "--save", *(str(FLOWS / f"{flow}.yaml") for flow in FILES)))
        if saved.wait(60):
            raise RuntimeError(saved.said())
        began = time.monotonic()
        _half(found, server, crew.start("first", lambda: _raise(place, children)))
        killed = time.monotonic()
        before = _count(server)
        second = crew.start("second", lambda: _raise(place, children))
        while second.ended() is None and _count(server) <= before:
            time.sleep(LOOK_SECONDS)
        found.takeover_seconds = time.monotonic() - killed
        if second.wait(SECONDS_MAX):
            found.violations.append(f"The second worker ended with {second.code}: {second.said()[-2_000:]}")
        found.seconds = time.monotonic() - began
        _conclude(found, place, server)
        found.violations.extend(complaints(crew, UNHEARD_OF))
    found.violations.extend(orphans())
    return found


def _half(found: Raised, server: Database, first: Member) -> None:
    """Kill the first worker when half of the children are there."""
    while _count(server) < found.children // 2:
        assert first.ended() is None, f"Expected to kill a worker, but it had ended: {first.said()[-2_000:]}"
        time.sleep(LOOK_SECONDS)
    process = psutil.Process(first.pid)
    first.kill(signal.SIGSTOP)
    spent = process.cpu_times()
    found.cpu_seconds += spent.user + spent.system
    found.memory_first = _peak(first.pid)
    first.kill()
    first.wait(60)
    server.bury(first.pid)


def _raise(place: Place, children: int) -> int:
    """Start the parent, or go on with it, and wait for its end."""

    async def main(engine: Engine) -> None:
        begun = await engine.executions.start(definition("raise"), {"n": children}, key="parent")
        outcome = await engine.result(begun.execution)
        used = resource.getrusage(resource.RUSAGE_SELF)
        note(
            place.starts, status=outcome.status, output=outcome.output, cpu=used.ru_utime + used.ru_stime, memory=used.ru_maxrss
        )

    return in_engine(place, main, adopts=True)


def _conclude(found: Raised, place: Place, server: Database) -> None:
    for line in noted(place.starts):
        found.cpu_seconds += float(str(line["cpu"]))
        found.memory_second = int(str(line["memory"])) << 10
        if (line["status"], line["output"]) != ("succeeded", found.children):
            found.violations.append(f"The parent ended {line['status']} with {line['output']}, not with {found.children}.")
    ((ended, all_),) = server.sql(
        "SELECT count(*) FILTER (WHERE status >= 6), count(*) FROM perdure.executions WHERE workflow = 'child'"
    )
    if {int(ended), int(all_)} != {found.children}:
        found.violations.append(f"Of {found.children} children {all_} were started, and {ended} have ended.")


def _count(server: Database) -> int:
    """How many children there are."""
    ((count,),) = server.sql("SELECT count(*) FROM perdure.executions WHERE workflow = 'child'")
    return int(count)


def _peak(pid: int) -> int:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10
