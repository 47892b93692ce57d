"""Storms on PostgreSQL: four workers on one server, killed, paused, cut off, with wrong clocks; the server is killed too."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from crew import Crew, Member
from database import Database, database
from namespaces import NETWORK, NamespacedWires, are_possible, namespaced
from receiver import address, listening
from roles import Place
from storm import LONGER_MAX, Raging, Storm, calm, complaints, conclude, marked, orphans, prepare, started
from wires import ProxiedWires, proxied

SEATS = ("worker", "worker", "worker", "worker", "starter", "starter", "sender", "command")
WORKERS = SEATS.count("worker")
LEASE = 1_000_000
"""The shortest there is, so that many leases run out in a minute."""
PAUSED_SECONDS = (0.2, 3.5)
"""Mostly longer than the lease: who wakes is dead to the others by then."""
CHANGED_SECONDS = (0.2, 4.0)
"""How long a wire is not as it should be."""
AWAY_SECONDS = (0.0, 2.0)
"""How long a server that was killed stays away."""
UNHEARD_OF = ("Traceback", "is set aside", "the home stops")
"""As in a storm on a file, but for commits that fail: where the server dies they may, if all that was in them comes later."""
AHEAD = (-240.0, -20.0, 45.0, 300.0)
"""Seconds by which the workers' clocks are wrong."""

Kind = Literal["cluster", "network", "skew"]
BLOWS: dict[Kind, dict[str, int]] = {
    "cluster": {"kill": 52, "kill all": 3, "stop": 8, "pause": 20, "restart": 6, "end connections": 11},
    "network": {"kill": 20, "stop": 5, "pause": 5, "change a wire": 70},
    "skew": {"kill": 60, "stop": 10, "pause": 30},
}
"""What befalls somebody, and how often of all times."""


def cluster(folder: Path, kind: Kind, *, seed: int, seconds: float, starts_min: int = 0, hosts: bool = True) -> Storm:
    """Rage on a server of its own for `seconds`, on a slow machine until there were so many starts; then look what is left.

    `hosts`: cut the wires between hosts of their own, where this user may make some; otherwise between proxies.
    """
    found = Storm(seed)
    with _gathered(folder, seed, kind, hosts=hosts) as (place, crew, server, wires):
        found.way = "" if wires is None else "proxies" if isinstance(wires, ProxiedWires) else "hosts"
        began = time.monotonic()

        def enough() -> bool:
            passed = time.monotonic() - began
            return passed > seconds * LONGER_MAX or (passed > seconds and started(place) >= starts_min)

        ClusterRaging(place, crew, found, server, kind, wires).rage(enough)
        found.seconds = time.monotonic() - began
        found.violations.extend(calm(place, crew))
        found.quiet_seconds = time.monotonic() - began - found.seconds
        found.violations.extend(complaints(crew, UNHEARD_OF))
        found.faults["leases_lost"] = sum(member.said().count("lost its lease") for member in crew.members)
        conclude(place, found)
    found.violations.extend(orphans())
    return found


@contextmanager
def _gathered(
    folder: Path, seed: int, kind: Kind, *, hosts: bool
) -> Iterator[tuple[Place, Crew, Database, ProxiedWires | NamespacedWires | None]]:
    """A place with a server, a receiver and the saved workflows; for a storm of the network also the wires of the workers."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(marked(seed))
        wires: ProxiedWires | NamespacedWires | None = None
        receivers = [stack.enter_context(listening())]
        given: dict[str, Any] = {}
        if kind == "network" and hosts and are_possible():
            wires = stack.enter_context(namespaced(WORKERS))
            for number in range(WORKERS):
                with wires.visiting(number):  # which is there on every host
                    receivers.append(stack.enter_context(listening(receivers[0].getsockname()[1])))
            given = {"options": {"listen_addresses": "*"}, "network": NETWORK, "before": wires.enter_server}
        crew = stack.enter_context(Crew(folder / "logs"))
        server = stack.enter_context(database(crew, folder / "server", **given))
        if wires is not None:
            wires.database = server.name
        elif kind == "network":
            wires = stack.enter_context(proxied(crew, WORKERS, Path(server.sockets), server.name, seed))
        flows = "clock" if kind == "skew" else "all"
        place = Place(folder, address(receivers[0]), seed, url=server.url, lease=LEASE, flows=flows)
        prepare(place, crew, receivers)
        yield place, crew, server, wires


@dataclass(frozen=True)
class Ailment:
    """What somebody has until a time, and how it is ended."""

    until: float
    heal: Callable[[], None]


class ClusterRaging(Raging):
    """Who rages on PostgreSQL: it can pause processes, and kill the server or its connections."""

    seats = SEATS
    pause_seconds = (0.0, 0.7)

    def __init__(
        self, place: Place, crew: Crew, found: Storm, server: Database, kind: Kind, wires: ProxiedWires | NamespacedWires | None
    ) -> None:
        super().__init__(place, crew, found)
        self._server = server
        self._kind = kind
        self._wires = wires
        self._ailments: list[Ailment] = []
        self._blows: dict[str, Callable[[], None]] = {
            "kill": lambda: self._blow(self._chance.choice(self._living), signal.SIGKILL),
            "kill all": self._kill_all,
            "stop": lambda: self._blow(self._chance.choice(self._living), signal.SIGTERM),
            "pause": self._pause,
            "restart": self._restart,
            "end connections": self._end_connections,
            "change a wire": self._change_wire,
        }

    def rage(self, enough: Callable[[], bool]) -> None:
        super().rage(enough)
        for ailment in self._ailments:
            ailment.heal()

    def _strike(self) -> None:
        now = time.monotonic()
        for ailment in [each for each in self._ailments if each.until < now]:
            ailment.heal()
            self._ailments.remove(ailment)
        weights = BLOWS[self._kind]
        self._blows[self._chance.choices(list(weights), list(weights.values()))[0]]()

    def _place_of(self, number: int) -> Place:
        wires = self._wires
        if number >= WORKERS:
            return self._place
        if wires is not None:
            return replace(self._place, url=wires.url(number), enter=lambda: wires.enter(number))
        return replace(self._place, ahead=AHEAD[number]) if self._kind == "skew" else self._place

    def _is_excused(self, member: Member) -> bool:
        """Who comes while the server is away may say so and leave; a home that stops for that is complained of all the same."""
        return super()._is_excused(member) or (member.code == 2 and "cannot be reached" in member.said())

    # -- blows ----------------------------------------------------------------------------------------------------------

    def _kill_all(self) -> None:
        for member in self._living:
            self._blow(member, signal.SIGKILL)

    def _pause(self) -> None:
        """One does nothing for a while, and wakes as if nothing had happened."""
        member = self._living[self._chance.randrange(WORKERS)]
        if member.ended() is None:
            member.kill(signal.SIGSTOP)
            self._found.faults["pauses"] += 1
            self._lasts(self._chance.uniform(*PAUSED_SECONDS), lambda: member.kill(signal.SIGCONT))

    def _restart(self) -> None:
        self._server.kill()
        time.sleep(self._chance.uniform(*AWAY_SECONDS))
        self._server.start()
        self._found.faults["restarts"] += 1

    def _end_connections(self) -> None:
        self._found.faults["connections_ended"] += self._server.end_connections(self._chance.choice((1, 2, 3)))

    def _change_wire(self) -> None:
        wires = self._wires
        assert wires is not None, "only a storm of the network changes wires"
        number, way = self._chance.randrange(WORKERS), self._chance.choice(wires.ways)
        wires.change(number, way)
        self._found.faults[f"wires_{way}"] += 1
        self._lasts(self._chance.uniform(*CHANGED_SECONDS), lambda: wires.change(number, "open"))

    def _lasts(self, seconds: float, heal: Callable[[], None]) -> None:
        self._ailments.append(Ailment(time.monotonic() + seconds, heal))
