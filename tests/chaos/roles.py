"""What the processes of a storm do: carry out, start, signal, resume and watch executions of one store."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from expected import Given, planned, signals_for

from perdure.app import Engine, open_client, open_engine
from perdure.cli.commands import run_command_line
from perdure.cli.exits import refuse, say
from perdure.cli.logs import log_to_stderr
from perdure.clock import MICROSECONDS, SystemClock
from perdure.errors import PerdureError, Refused
from perdure.ids import ExecutionId, id_from_text, id_text
from perdure.operations.definitions import Read, read_file
from perdure.operations.executions import Executions
from perdure.settings import Settings
from perdure.store.contract import FIRST_FINAL, Store

LOOK_SECONDS = 0.1
NOBODY = ExecutionId(bytes(16))
UNFINISHED_MAX = 120
"""Starters rest while so many executions have not ended, so that the quiet phase stays short."""
BATCH = 4
STANDSTILL_SECONDS = 40.0
"""A quiet phase in which nothing is written for so long will not end any more."""


@dataclass(frozen=True)
class Place:
    """Where a storm takes place: the store, what was acknowledged of starts and signals, the receiver's address, the seed.

    `url`: of a database, where the store is no file. `lease`: of its workers, in microseconds. `ahead`: seconds by which the
    clock of whoever is there is wrong. `flows`: what is started. `enter`: what its process does first, to be where it is.
    """

    folder: Path
    receiver: str
    seed: int
    url: str = ""
    lease: int = 1_000_000
    ahead: float = 0.0
    flows: str = "all"
    enter: Callable[[], None] = lambda: None

    @property
    def store(self) -> Path:
        return self.folder / "store" / "perdure.db"

    @property
    def starts(self) -> Path:
        return self.folder / "starts"

    @property
    def signals(self) -> Path:
        return self.folder / "signals"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger"

    def settings(self) -> Settings:
        """Small numbers, so that executions leave memory, are kept as snapshots and cut in the middle all the time."""
        return Settings(
            store=self.address, processes=1, evict_after=150_000, snapshot_facts=25, step_facts_max=30, lease=self.lease
        )

    @property
    def address(self) -> str:
        """What the store is opened with."""
        return self.url or str(self.store)

    def planned(self, number: int) -> Given:
        """Execution `number` of this storm."""
        return planned(self.seed, number, self.flows)


def note(file: Path, **line: object) -> None:
    """Write down, in one write, that something was acknowledged."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, json.dumps(line).encode() + b"\n")
    os.close(descriptor)


def noted(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


# -- who carries out ------------------------------------------------------------------------------------------------------


def work(place: Place) -> int:
    """A worker: takes over what nobody has, until it is told to stop, its home fails, or its lease does not hold any more."""

    async def main(engine: Engine) -> None:
        ending = engine.home.outcome(NOBODY)  # which never comes; a home that fails says so to all that wait
        held = time.monotonic()
        while time.monotonic() - held < place.lease / MICROSECONDS:  # shortly without one it is not lost yet
            if (await asyncio.wait([ending], timeout=LOOK_SECONDS))[0]:
                ending.result()
            held = time.monotonic() if engine.store.leased() else held

    return in_engine(place, main, adopts=True)


def command(place: Place, *arguments: str) -> int:
    """The command line, in this process."""
    begin(place)
    os.environ["PERDURE_LEASE"] = f"{place.lease}us"
    return run_command_line([*arguments, "--store", place.address])


def begin(place: Place) -> None:
    """Have this process be where it is to be, and all of it read the clock of a machine that has a wrong one."""
    place.enter()
    if place.ahead:
        SystemClock.now = lambda self: time.time_ns() // 1_000 + round(place.ahead * MICROSECONDS)  # type: ignore[method-assign]


# -- who starts ------------------------------------------------------------------------------------------------------------


def start(place: Place, life: int) -> int:
    """A starter: goes on where starts were acknowledged last, a few before that again, and writes down each answer."""
    chance = random.Random(f"{place.seed} starter {life}")

    async def main(engine: Engine) -> None:
        number = max((int(str(line["number"])) + 1 for line in noted(place.starts)), default=0)
        number = max(0, number - chance.randrange(12))
        while True:
            if len(await engine.store.rows(statuses=range(FIRST_FINAL), limit=UNFINISHED_MAX)) == UNFINISHED_MAX:
                await asyncio.sleep(0.05)
                continue
            await asyncio.gather(*(_start(engine, place, each) for each in range(number, number + BATCH)))
            number += BATCH
            await asyncio.sleep(chance.random() * 0.1)

    return in_engine(place, main, adopts=False)


def start_again(place: Place, count: int) -> int:
    """Start each of the first `count` once more, all of which were started before unless their starter was killed."""

    async def main(engine: Engine) -> None:
        for first in range(0, count, BATCH * 4):
            await asyncio.gather(*(_start(engine, place, each) for each in range(first, min(first + BATCH * 4, count))))

    return in_engine(place, main, adopts=False)


async def _start(engine: Engine, place: Place, number: int) -> None:
    given = place.planned(number)
    begun = await engine.executions.start(definition(given.flow), given.input(place.receiver), key=given.tag)
    note(place.starts, number=number, execution=id_text(begun.execution), existing=begun.existing)


@functools.cache
def definition(flow: str) -> Read:
    """A workflow, read and checked."""
    return read_file(Given(flow, "", 0).file)


def start_by_command(place: Place, number: int) -> int:
    """`perdure run --key`: it starts one execution, or finds it, and follows it to its end."""
    given = place.planned(number)
    return command(place, "run", str(given.file), "--key", given.tag, "--input", json.dumps(given.input(place.receiver)))


# -- who signals -----------------------------------------------------------------------------------------------------------


def send(place: Place, life: int, *, until_all: bool = False) -> int:
    """A sender: signals what was started and asks; some by the command line, some again. `until_all`: and then it ends."""
    chance = random.Random(f"{place.seed} sender {life}")

    async def main() -> None:
        while True:
            missing = _unsent(place)
            async with open_client(place.settings()) as (_, executions):
                for given, execution, name in missing if not until_all else [*missing, *missing]:
                    await _send(executions, place, given, execution, name)
                    if chance.random() < 0.1:
                        await _send(executions, place, given, execution, name)
            if until_all:
                return
            await asyncio.sleep(0.02)

    if not until_all and life % 2:
        return _send_by_command(place)
    return _said(lambda: asyncio.run(main()))


def _unsent(place: Place) -> list[tuple[Given, str, str]]:
    """The signals that no sender has had an answer for: whose, which execution, their names."""
    sent = {(line["tag"], line["name"]) for line in noted(place.signals)}
    found = {}
    for line in noted(place.starts):
        given = place.planned(int(str(line["number"])))
        if given.flow == "ask":
            for name, _, _ in signals_for(given):
                if (given.tag, name) not in sent:
                    found[given.tag, name] = (given, str(line["execution"]), name)
    return list(found.values())


async def _send(executions: Executions, place: Place, given: Given, execution: str, name: str) -> None:
    key, payload = next((key, payload) for each, key, payload in signals_for(given) if each == name)
    try:
        new = await executions.signal(id_from_text(execution), name, payload, key=key, id=f"{name}-{given.tag}")
    except Refused as refused:
        if refused.code != "execution.ended":  # it has had both, and the answer of one was lost with its sender
            raise
        new = False
    note(place.signals, tag=given.tag, name=name, new=new)


def _send_by_command(place: Place) -> int:
    while True:
        for given, execution, name in _unsent(place):
            key, payload = next((key, payload) for each, key, payload in signals_for(given) if each == name)
            code = command(
                place, "signal", execution, name, "--key", key, "--payload", json.dumps(payload), "--id", f"{name}-{given.tag}"
            )
            if code == 0:
                note(place.signals, tag=given.tag, name=name, new=None)
        time.sleep(0.02)


# -- who watches -----------------------------------------------------------------------------------------------------------


def watch(place: Place) -> int:
    """Wait until every execution has ended; 1, and said which have not, where nothing moves any more."""

    async def main() -> int:
        async with open_client(place.settings()) as (store, _):
            return await _watch(store)

    return asyncio.run(main())


async def _watch(store: Store) -> int:
    seen: list[tuple[ExecutionId, int]] = []
    moved = time.monotonic()
    while rows := await store.rows(statuses=range(FIRST_FINAL), limit=1_000):
        now = [(row.execution, row.seq) for row in rows]
        if now != seen:
            seen, moved = now, time.monotonic()
        if time.monotonic() - moved > STANDSTILL_SECONDS:
            for row in rows:
                say(f"{id_text(row.execution)} ({row.workflow}) stands still at fact {row.seq}; its home: {row.home or 'none'}")
            return 1
        await asyncio.sleep(0.05)
    return 0


# -- how they end ----------------------------------------------------------------------------------------------------------


def in_engine(place: Place, main: Callable[[Engine], Awaitable[None]], *, adopts: bool) -> int:
    """Run `main` with an engine, until it ends or SIGTERM comes: then the engine stops in good order."""

    async def live() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            async with open_engine(place.settings(), adopts=adopts) as engine:
                try:
                    await main(engine)
                except asyncio.CancelledError:
                    task.uncancel()
        except asyncio.CancelledError:
            return  # asked to leave while it was still coming

    log_to_stderr(verbose=False)
    begin(place)
    return _said(lambda: asyncio.run(live()))


def _said(run: Callable[[], None]) -> int:
    """What the command line does with an error: a sentence, what to do, its code, and exit code 2."""
    try:
        run()
    except PerdureError as error:
        return refuse(error)
    return 0
