"""Losses of power: executions of every kind on a disk that forgets; each loss is the beginning of another life.

A life runs in a world where time jumps, over the store's own code and real files. At moments drawn from the seed it is noted
what a loss of power would leave of the files at that instant, and what the world had been told by then. The life that begins
there must find all that was told, go on, and come to the same end.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import apsw
from audit import Audit, History, audited
from expected import Given, planned, signals_for
from power import MERCIES, Disk, PowerFiles
from receiver import Fate, Fates, Receipt, answer_to

from perdure.clock import MICROSECONDS
from perdure.definition import read_definition
from perdure.errors import PerdureError, Refused
from perdure.ids import ExecutionId, id_text
from perdure.nodes import http
from perdure.nodes.work import Context, Failed, Work
from perdure.operations import definitions
from perdure.operations.definitions import Read
from perdure.operations.executions import Executions
from perdure.operations.verification import Verification
from perdure.runtime.plans import Plans, catalog_of
from perdure.store.contract import FIRST_FINAL, Batch, Committed, Store
from perdure.store.sqlite import SqliteStore
from perdure.testing.world import Process, Stuck, World, pass_time

STORE = "store.db"
DARK_SECONDS = 5.0
"""How long the power is away."""
FLOWS_HERE = ("walk", "saga", "patience", "fan", "family", "ask", "once")
"""All but the one with blocking work, which runs in processes."""
SETTINGS = {"evict_after": 150_000, "snapshot_facts": 25, "step_facts_max": 30, "inbox_poll": 50_000}
CHECKPOINT_PAGES = 40
"""So small that the log is carried into the database, and begun anew, all the time; the store's own is 2,000."""
SENTENCES_MAX = 10

_numbers = itertools.count()


Told = dict[tuple[ExecutionId, int], bytes]
"""The journal rows that the store acknowledged, by execution and first fact."""


@dataclass
class Moment:
    """A loss of power: what it left of the files, and what the world knew by then."""

    operation: int
    files: dict[str, bytes]
    history: History
    told: Told
    clock: int


@dataclass
class Blackouts:
    """Figures and violations of a series of losses of power."""

    losses: int = 0
    operations: int = 0
    flushes: int = 0
    lost: int = 0
    executions: int = 0
    results: int = 0
    received: int = 0
    repeated: int = 0
    violations: list[str] = field(default_factory=list)

    def add(self, other: Blackouts) -> None:
        """Count another series as well."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


def blackouts(
    folder: Path, *, seed: int, losses: int, executions: int = 8, generations: int = 1, synchronous: str = "FULL"
) -> Blackouts:
    """Lose power about `losses` times in a life, and live on after each; `generations`: in one of those again, and so on."""
    found = Blackouts()
    chance = random.Random(f"{seed} power")
    whole = Life(folder / "counted", seed, executions, synchronous)  # to know how many operations a life has
    found.violations += whole.live()
    moment: Moment | None = None
    share = losses / max(1, whole.disk.operations)
    for generation in range(generations):
        life = Life(folder / f"life-{generation}", seed, executions, synchronous, moment, chance=chance, share=share)
        found.violations += [f"Seed {seed}, life {generation}: {sentence}" for sentence in life.live()[:SENTENCES_MAX]]
        found.operations += life.disk.operations
        found.flushes += life.disk.flushes
        for number, each in enumerate(life.moments):
            after = Life(folder / f"after-{generation}-{number}", seed, executions, synchronous, each)
            sentences = after.live()
            where = f"Seed {seed}, power lost before operation {each.operation} of life {generation}"
            found.violations += [f"{where}: {sentence}" for sentence in sentences[:SENTENCES_MAX]]
            found.losses += 1
            found.lost += after.lost + after.audit.lost
            found.executions += after.audit.executions
            found.results += after.audit.results
            found.received += after.audit.received
            found.repeated += after.audit.repeated
        if not life.moments:
            break
        moment = chance.choice(life.moments)
    return found


class Life:
    """One life over a disk that forgets, from what an earlier loss of power left (`begin`) to the end of all executions."""

    def __init__(
        self, folder: Path, seed: int, executions: int, synchronous: str, begin: Moment | None = None, *,
        chance: random.Random | None = None, share: float = 0.0,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.seed = seed
        self.synchronous = synchronous
        self.disk = Disk(self._before)
        self._files = PowerFiles(f"power-{next(_numbers)}", self.disk)
        self.moments: list[Moment] = []
        self.audit = Audit()
        self.lost = 0  # of what was acknowledged, as far as the store could be opened
        self.history = _copied(begin.history) if begin is not None else History(seed)
        self.told = dict(begin.told) if begin is not None else {}
        self._begin = begin
        self._plan = list(itertools.islice(_planned(seed), executions))
        self._chance = chance
        self._share = share
        works = {"http": Work(spec=http.SPEC, run=self._take, blocking=False, reference="chaos:http")}
        self._fates = Fates(seed, self.history.receipts)
        self._world = World(place=self, works=works, **SETTINGS)

    def live(self) -> list[str]:
        """Live to the end of all executions; the violations."""
        self.folder.mkdir(parents=True)
        try:
            if self._begin is not None and (lost := self._restore(self._begin)):
                self.lost = len(lost)
                return lost
            self._world.live(self._carry_out)
            return self.judge(self.history)
        except (PerdureError, apsw.Error, Stuck) as error:
            return [f"Expected life to go on, but {type(error).__name__}: {error}"]

    def judge(self, history: History) -> list[str]:
        """The store as it is now, held against what the world outside knows, and against itself."""
        return self._world.look(lambda store: self._judge(store, history))

    # -- where the store lies: what a world asks of a place ------------------------------------------------------------------

    async def open(self) -> Store:
        connection = apsw.Connection(str(self.folder / STORE), vfs=self._files.name)
        try:
            store = _Telling.on(connection, synchronous=self.synchronous)
            connection.pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        except BaseException:
            connection.close()
            raise
        store.told = self.told
        return store

    def die(self, store: Store) -> None:
        assert isinstance(store, SqliteStore)
        store.abandon()
        store.connection.close()

    # -- the loss of power ----------------------------------------------------------------------------------------------------

    def _before(self, operation: int) -> None:
        """Something is about to be written: it may be that the power is lost now."""
        if self._chance is None or self._chance.random() >= self._share:
            return
        files = {
            Path(file).name: content for file, content in self.disk.left(self._chance.choice(MERCIES), self._chance).items()
        }
        folder = self.folder / f"{STORE}.blobs"
        # Large values are files that are flushed by themselves, before anything names them.
        files |= {str(file.relative_to(self.folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        self.moments.append(Moment(operation, files, _copied(self.history), dict(self.told), self._world.clock.now()))

    def _restore(self, begin: Moment) -> list[str]:
        """The power comes back: what is left is on the disk, and it is some time later. Gives what is lost."""
        for name, content in begin.files.items():
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        self._world.clock.jump((begin.clock - self._world.clock.now()) / MICROSECONDS + DARK_SECONDS)
        return self._world.look(self._find_lost)

    async def _find_lost(self, store: Store) -> list[str]:
        """What the world was told and the store does not know any more, before anybody goes on."""
        lost = await store.check()
        known: Told = {}
        for execution in {execution for execution, _ in self.told}:
            known |= {(execution, row.first_seq): row.body for row in await store.journal(execution)}
        lost += [
            f"Fact {first} of {id_text(execution)} was committed, but is lost."
            for (execution, first), body in self.told.items()
            if known.get((execution, first)) != body
        ]
        begun = {id_text(execution) for execution, _ in known}
        lost += [f"{text} was acknowledged, but is lost." for _, text in self.history.starts if text not in begun]
        return lost

    # -- what happens in a life -------------------------------------------------------------------------------------------

    async def _carry_out(self, process: Process) -> None:
        """Save the workflows, start all, signal those that ask, and wait for every end: the same in every life."""
        for read in map(self._read, FLOWS_HERE):
            await definitions.save(process.store, process.home.plans, self._world.clock, read)
        ends = []
        for number, given in self._plan:
            execution = await process.start(self._read(given.flow), given.input("http://receiver/"), key=given.tag)
            self.history.starts.append((number, id_text(execution)))
            ends.append(asyncio.ensure_future(process.result(execution)))
            await pass_time(0.05)
            if given.flow == "ask":
                await self._signal(process, execution, given)
        await asyncio.gather(*ends)
        while await process.store.rows(statuses=range(FIRST_FINAL)):  # children that nobody waits for
            await pass_time(0.1)

    async def _signal(self, process: Process, execution: ExecutionId, given: Given) -> None:
        for name, key, payload in signals_for(given):
            try:
                await process.executions.signal(execution, name, payload, key=key, id=f"{name}-{given.tag}")
            except Refused as refused:
                if refused.code != "execution.ended":
                    raise
            self.history.signals.append((given.tag, name))

    async def _take(self, params: dict[str, Any], context: Context) -> dict[str, Any]:
        """The receiver of this world, in the place of `http`: as slow and unreliable as the other one."""
        body = params["json"]
        fate, seconds = self._fates.draw(context.key, body["deed"])
        self.history.receipts.append(Receipt(context.key, body["tag"], body["deed"], body["at"], fate))
        await asyncio.sleep(seconds)
        if fate == "done":
            return {"status": 200, "body": answer_to(body)}
        raise _failure(fate)

    def _read(self, flow: str) -> Read:
        works = self._world.works()
        file = Given(flow, "", 0).file
        checked = read_definition(file.read_bytes(), source=str(file), catalog=catalog_of(works))
        return Read(checked, works, "")

    async def _judge(self, store: Store, history: History) -> list[str]:
        self.audit = await audited(Executions(store, self._world.clock), history)
        plans = Plans(store, works=lambda origin, files: self._world.works())
        found = [finding.sentence async for finding in Verification(store, deep=True, plans=plans).findings()]
        return [*self.audit.told(), *found]


class _Telling(SqliteStore):
    """The store's own code, which remembers what it acknowledged."""

    told: Told

    async def commit(self, batch: Batch) -> Committed:
        committed = await super().commit(batch)
        for turn in batch.turns:
            if turn.count and turn.execution not in committed.fenced | committed.duplicates:
                self.told[turn.execution, turn.first_seq] = turn.body
        return committed


def _copied(history: History) -> History:
    return History(history.seed, list(history.starts), list(history.signals), list(history.receipts))


def _failure(fate: Fate) -> Failed:
    """What `http` says when it meets such a fate."""
    if fate == "refused":
        return Failed("http.503", "come back later")
    if fate == "cut":
        return Failed("http.cut", "cut off", ambiguous=True)
    return Failed("http.409", "never", category="business", retryable=False)


def _planned(seed: int) -> Iterator[tuple[int, Given]]:
    """What is planned for a seed, by number, without what takes a process."""
    for number in itertools.count():
        given = planned(seed, number)
        if given.flow in FLOWS_HERE:
            yield number, given
