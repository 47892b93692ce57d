"""A storm: workers, starters, senders and commands on one store, killed at random moments; then a quiet phase and an audit."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
from audit import Audit, audit
from crew import KILLED, Crew, Member
from expected import FLOWS, WEIGHTS
from receiver import address, listening, receive
from roles import Place, command, definition, noted, send, start, start_again, start_by_command, watch, work

ALL_FLOWS = (*WEIGHTS, "clock")
MARK = "CHAOS_STORM"
"""A variable that all processes of a storm inherit, and by which those are found that outlived it."""
LONGER_MAX = 5
"""So many times longer than it should a storm may take, where the machine is busy with something else."""
QUIET_SECONDS_MAX = 240.0
ORPHANS_SECONDS_MAX = 20.0
PAUSE_SECONDS = (0.0, 0.25)
"""Between two blows: so that processes die young, while they open the store, and older, in the middle of their work."""
SEATS = ("worker", "worker", "starter", "starter", "sender", "command")
"""Who is alive at any moment. Each is replaced as soon as it has ended."""
SURVIVES = (0, KILLED, -signal.SIGTERM)
"""Exit codes in a storm: who is asked to leave before it listens ends by the signal."""
SURVIVES_A_COMMAND = (*SURVIVES, 1, 2, 3, 4, 143)
"""Exit codes of a command in a storm: what it follows may fail, or be run elsewhere; but it never breaks."""


UNHEARD_OF = ("Traceback", "is set aside", "the home stops", "executions failed")
"""Words of the log that mean a fault of ours: an execution that was given up, a home that ended, a commit that failed."""
QUIET_LEASE = 6_000_000
"""When nobody is killed any more nobody is to be taken for dead either, however busy the machine is."""


@dataclass
class Storm:
    """What a storm did, and what the audit found after it."""

    seed: int
    kills: int = 0
    stops: int = 0
    seconds: float = 0.0
    quiet_seconds: float = 0.0
    starts: int = 0
    repeated_starts: int = 0
    signals: int = 0
    way: str = ""  # how the trouble was made, where there is more than one
    faults: Counter[str] = field(default_factory=Counter)  # others than kills, by name
    audit: Audit = field(default_factory=Audit)

    @property
    def violations(self) -> list[str]:
        return self.audit.violations


def storm(folder: Path, *, seed: int, seconds: float, kills_min: int = 0, starts_min: int = 0) -> Storm:
    """Rage for `seconds`, on a slow machine until there were so many kills and starts; then be quiet, and look what is left."""
    found = Storm(seed)
    with gathered(folder, seed) as (place, crew):
        began = time.monotonic()

        def enough() -> bool:
            passed = time.monotonic() - began
            return passed > seconds * LONGER_MAX or (
                passed > seconds and found.kills >= kills_min and started(place) >= starts_min
            )

        Raging(place, crew, found).rage(enough)
        found.seconds = time.monotonic() - began
        found.violations.extend(calm(place, crew))
        found.quiet_seconds = time.monotonic() - began - found.seconds
    found.violations.extend(complaints(crew))
    found.violations.extend(orphans())
    conclude(place, found)
    return found


@contextmanager
def gathered(folder: Path, seed: int) -> Iterator[tuple[Place, Crew]]:
    """A place with a receiver and the saved workflows, and a crew beside it. All of them have gone in the end."""
    (folder / "store").mkdir(parents=True, exist_ok=True)
    with marked(seed), Crew(folder / "logs") as crew, listening() as server:
        place = Place(folder, address(server), seed)
        prepare(place, crew, [server])
        yield place, crew


@contextmanager
def marked(seed: int) -> Iterator[None]:
    """Whatever is started in it can be told from all else on this machine."""
    os.environ[MARK] = f"{os.getpid()}-{seed}"
    try:
        yield
    finally:
        del os.environ[MARK]


def prepare(place: Place, crew: Crew, servers: Sequence[socket.socket]) -> None:
    """Start the receiver on these sockets, and save the workflows."""
    for flow in ALL_FLOWS:
        definition(flow)  # read once for all that are forked
    crew.start("receiver", lambda: receive(servers, place.ledger, place.seed))
    for server in servers:
        server.close()
    saved = crew.start("save", lambda: command(place, "check", "--save", *(f"{FLOWS / flow}.yaml" for flow in ALL_FLOWS)))
    if saved.wait(60):
        raise RuntimeError(saved.said())


class Raging:
    """The seats of a storm, who sits on them, and whoever kills them."""

    seats: tuple[str, ...] = SEATS
    pause_seconds = PAUSE_SECONDS

    def __init__(self, place: Place, crew: Crew, found: Storm) -> None:
        self._place = place
        self._crew = crew
        self._found = found
        self._chance = random.Random(f"{place.seed} killer")
        self._lives = 0
        self._living: list[Member] = []

    def rage(self, enough: Callable[[], bool]) -> None:
        self._living = [self._seat(number) for number in range(len(self.seats))]
        while not enough():
            time.sleep(self._chance.uniform(*self.pause_seconds))
            for number, member in enumerate(self._living):
                if member.ended() is not None:
                    self._living[number] = self._seat(number)
            self._strike()
        for member in self._living:
            self._blow(member, signal.SIGKILL)
            member.wait(60)
        self._found.violations.extend(
            f"A {member.name} ended by itself with {member.code}, and said: {member.said()[-500:]}"
            for member in self._crew.members
            if not self._is_excused(member)
        )

    def _is_excused(self, member: Member) -> bool:
        """Whether it still lives, or has ended as one may in a storm."""
        return member.code in (None, *(SURVIVES_A_COMMAND if member.name == "command" else SURVIVES))

    def _strike(self) -> None:
        """Mostly one dies; now and then all do; now and then one is only asked to leave."""
        drawn = self._chance.random()
        if drawn < 0.05:
            for member in self._living:
                self._blow(member, signal.SIGKILL)
        else:
            self._blow(self._chance.choice(self._living), signal.SIGTERM if drawn > 0.93 else signal.SIGKILL)

    def _blow(self, member: Member, blow: int) -> None:
        if member.ended() is None:
            member.kill(blow)
            if blow == signal.SIGKILL:
                self._found.kills += 1
            else:
                self._found.stops += 1

    def _place_of(self, number: int) -> Place:
        """The storm as it is for whoever sits on this seat."""
        return self._place

    def _seat(self, number: int) -> Member:
        self._lives += 1
        name, place, life = self.seats[number], self._place_of(number), self._lives
        if name == "worker":
            return self._crew.start(name, lambda: work(place))
        if name == "starter":
            return self._crew.start(name, lambda: start(place, life))
        if name == "sender":
            return self._crew.start(name, lambda: send(place, life))
        drawn = self._chance.random()
        if drawn < 0.2:
            return self._crew.start("verify", lambda: command(place, "verify"))  # which finds nothing, also in between
        if drawn < 0.5:
            return self._crew.start(name, lambda: command(place, "resume", "--no-wait"))
        which = max(0, started(place) + self._chance.randrange(-8, 4))
        return self._crew.start(name, lambda: start_by_command(place, which))


def started(place: Place) -> int:
    """One more than the highest number whose start was acknowledged."""
    return max((int(str(line["number"])) + 1 for line in noted(place.starts)), default=0)


def calm(place: Place, crew: Crew) -> list[str]:
    """Nobody is killed any more: start all once more, send all signals once more, and let everything come to its end."""
    place = replace(place, lease=QUIET_LEASE)
    workers = [crew.start("worker", lambda: work(place)) for _ in range(2)]
    count = started(place) + 4  # beyond what was acknowledged, a start may have come through all the same
    found = []
    for name, role in (
        ("start-again", lambda: start_again(place, count)),
        ("send-again", lambda: send(place, 0, until_all=True)),
        ("watch", lambda: watch(place)),
    ):
        member = crew.start(name, role)
        if member.wait(QUIET_SECONDS_MAX):
            found.append(f"In the quiet phase {name} ended with {member.code}: {member.said()[-2_000:]}")
    for worker in workers:
        worker.kill(signal.SIGTERM)
    for worker in workers:
        if worker.wait(60):
            found.append(f"A worker in the quiet phase ended with {worker.code}: {worker.said()[-2_000:]}")
    return found


def conclude(place: Place, found: Storm) -> None:
    """The audit and `perdure verify --deep`, once nobody writes any more."""
    with Crew(place.folder / "logs-of-verify") as crew:
        verified = crew.start("verify", lambda: command(place, "verify", "--deep"))
        if verified.wait(QUIET_SECONDS_MAX):
            found.violations.append(f"`perdure verify --deep` ended with {verified.code}: {verified.said()[-3_000:]}")
    lines = noted(place.starts)
    found.starts = len({line["number"] for line in lines})
    found.repeated_starts = len(lines) - found.starts
    found.signals = len({(line["tag"], line["name"]) for line in noted(place.signals)})
    before = found.violations
    found.audit = asyncio.run(audit(place))
    found.audit.violations[:0] = before


def complaints(crew: Crew, unheard_of: Sequence[str] = UNHEARD_OF) -> list[str]:
    """What nobody may say in a storm, since none of it is a kill's fault."""
    return [
        f"A {member.name} said “{words}”: {member.said()[-1_500:]}"
        for member in crew.members
        for words in unheard_of
        if words in member.said()
    ]


def orphans() -> list[str]:
    """Processes of the storm that outlived it: blocking work must die with its worker."""
    mark = f"{os.getpid()}-"
    until = time.monotonic() + ORPHANS_SECONDS_MAX
    while found := [process for process in psutil.process_iter() if _is_marked(process, mark)]:
        if time.monotonic() > until:
            return [f"Process {process.pid} outlived its worker." for process in found]
        time.sleep(0.05)
    return []


def _is_marked(process: psutil.Process, mark: str) -> bool:
    try:
        return (
            process.pid != os.getpid()
            and process.environ().get(MARK, "").startswith(mark)
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.Error:
        return False
