"""Both sides of work that is done elsewhere: what a home has left to others, and what its worker carries out for theirs."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from typing import Any

from perdure.clock import MICROSECONDS, Clock
from perdure.engine.codec import encode_value
from perdure.engine.commands import Stop
from perdure.engine.events import AnyInput, Result, Token
from perdure.errors import PerdureError, StoreBusy
from perdure.ids import ExecutionId, id_text
from perdure.nodes.work import Work
from perdure.runtime.attempts import Attempts, Ended
from perdure.runtime.hot import Hot
from perdure.runtime.patience import patiently
from perdure.runtime.plans import Plans
from perdure.runtime.postings import Postings, asked_by
from perdure.settings import Settings
from perdure.store.contract import Blob, Load, Row, Store
from perdure.store.tasks import Task, TaskName, TaskReport

log = logging.getLogger("perdure.home")

LOOK_SECONDS = 0.25
"""How often a home looks whether anybody still carries out what it left to others, and a worker whether it still shall."""

CLAIM_MOST = 50
"""Tasks that a worker takes at once, and never more than half of its free slots: so those with more of them take more."""

REPORTS_MOST = 100
LACKING_FIRST, LACKING_MOST = 2 * MICROSECONDS, 60 * MICROSECONDS
"""How long a task whose node type a worker lacks is left to others: twice as long each time."""

Name = tuple[ExecutionId, str, int]


class Guest:
    """A task that this worker carries out: what its attempt knows of the execution, which is at home elsewhere."""

    __slots__ = ("id", "name", "tenant", "text", "token", "workflow", "works")

    def __init__(self, task: Task, token: Token, workflow: str, works: Mapping[str, Work]) -> None:
        # Apart from the execution's own, should it come to be at home here.
        self.id = ExecutionId(task.execution + task.key.encode())
        self.name: Name = (task.execution, task.path, task.number)
        self.text = id_text(task.execution)
        self.tenant = task.tenant
        self.token = token
        self.workflow = workflow
        self.works: Mapping[str, Work] = works


class Elsewhere:
    """Of one home. `takes`: does its worker carry out tasks of others, as long as it is not `closing`?"""

    def __init__(
        self, *, store: Store, plans: Plans, clock: Clock, settings: Settings, takes: bool,
        attempts: Attempts, deliver: Callable[[ExecutionId, AnyInput], bool],
        background: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:  # fmt: skip
        self.worker = ""
        self.more = False  # is there more to be had, as far as is known?
        self._store = store
        self._plans = plans
        self._clock = clock
        self._labels = settings.labels
        self._takes = takes
        self._overflow = settings.overflow
        self._others_have_room = False
        self._attempts = attempts
        self._deliver = deliver
        self._background = background
        self._guests: dict[ExecutionId, Guest] = {}
        self._outbox: list[tuple[Guest, Ended]] = []
        self._lacking: Counter[Name] = Counter()
        self._one_by_one = asyncio.Lock()
        self._flushing = False
        self._doubtful = False  # may it have taken what it does not know of, since an answer was lost?
        self._looked = float("-inf")
        self._find: Callable[[ExecutionId], Hot | None] = lambda execution: None

    async def register(self, worker: str, *, level: int) -> None:
        """Become known with what this worker has. What it carried out under a former name is others' by now."""
        await self._store.register(worker, now=self._clock.now(), level=level, labels=self._labels)
        self.worker = worker
        for guest in self._guests.values():
            self._attempts.abandon(guest.id)
        self._guests.clear()
        self._outbox.clear()

    async def look(self, hots: Collection[Hot], find: Callable[[ExecutionId], Hot | None], *, changed: bool) -> None:
        """One look at both sides: now and then, and when something may have `changed`. `find`: what is at home here."""
        self._find = find
        now = self._clock.monotonic()
        due = now - self._looked >= LOOK_SECONDS
        if due:
            self._looked = now
            await self._report_for_others(hots, find)
            await self._look_for_room()
        if (self._guests or self._doubtful) and (due or changed):
            await self._watch()
        if self._outbox:
            await self._flush()
        if self._takes and (due or changed or self.more):
            await self._claim()

    # -- what others carry out for us ---------------------------------------------------------------------------------

    async def left_by(self, rows: Collection[Row]) -> dict[ExecutionId, list[Task]]:
        """What the former homes of executions have left to others."""
        found: dict[ExecutionId, list[Task]] = {row.execution: [] for row in rows}
        for task in await patiently(lambda: self._store.tasks(list(found))) if rows else ():
            found[task.execution].append(task)
        return found

    async def read(self, hot: Hot, tasks: list[Task] | None) -> None:
        """What an execution that was folded has left to others; asked for where it is not known."""
        if hot.postings is None and tasks:
            hot.postings = Postings()
        if hot.postings is not None:
            hot.postings.read(await self._store.tasks([hot.id]) if tasks is None else tasks)

    def overflows(self) -> bool:
        """Has this worker more to do than it has room for, while others have room?"""
        return self._others_have_room and self._attempts.queued > self._overflow

    async def _look_for_room(self) -> None:
        """Ask who has room, while more waits here than may."""
        self._others_have_room = False
        if self._takes and self._overflow and self._attempts.queued > self._overflow:
            others = [each for each in await self._store.workers() if each.alive and each.worker != self.worker]
            self._others_have_room = any(_has_room(each.load) for each in others)

    def kept(self, hot: Hot) -> tuple[Token, ...]:
        """The attempts that go on though the execution has another home: those of tasks, and those whose reports are here."""
        tokens = hot.postings.tokens if hot.postings is not None else ()
        return (*tokens, *(given.token for given, position in hot.inputs if position and type(given) is Result))

    async def _report_for_others(self, hots: Iterable[Hot], find: Callable[[ExecutionId], Hot | None]) -> None:
        watched = {hot.id: hot for hot in hots if hot.postings}
        if not watched:
            return
        for task in await self._store.left_tasks(list(watched), self._clock.now()):
            hot = watched[task.execution]
            if find(hot.id) is hot and hot.postings is not None:
                result = hot.postings.given_up(task, self._clock.now())
                if result is not None:
                    self._deliver(hot.id, result)

    # -- what we carry out for others ---------------------------------------------------------------------------------

    def stop_taking(self) -> None:
        """Begin nothing more for others."""
        self._takes, self.more = False, False

    def ended(self, guest_id: ExecutionId, ended: Ended) -> None:
        """An attempt for another home has ended: its report goes there."""
        guest = self._guests.pop(guest_id, None)
        if guest is not None:
            self._outbox.append((guest, ended))
            if not self._flushing:
                self._flushing = True
                self._background(self._flush_and_go_on())

    async def _flush_and_go_on(self) -> None:
        try:
            while self._outbox:
                await asyncio.sleep(0)  # what ends in the same turn of the loop goes along
                await self._flush()
                if self._takes:
                    await self._claim()
        except StoreBusy as busy:
            log.warning("the store is busy: %s", busy.message)  # the next look tries again
        finally:
            self._flushing = False

    async def _flush(self) -> None:
        """Report what has ended: large outputs first, so that the reports may name them."""
        async with self._one_by_one:
            while self._outbox:
                reports = self._outbox[:REPORTS_MOST]
                blobs = [
                    Blob(tenant=guest.tenant, digest=digest, body=body)
                    for guest, ended in reports
                    for digest, body in ended.blobs.items()
                ]
                if blobs:
                    await patiently(lambda blobs=blobs: self._store.save_blobs(blobs))  # type: ignore[misc]  # bound at once
                given = [_report(guest, ended.result) for guest, ended in reports]
                await patiently(lambda given=given: self._store.report_tasks(self.worker, given))  # type: ignore[misc]  # as above
                sent = {id(ended) for _, ended in reports}
                self._outbox = [each for each in self._outbox if id(each[1]) not in sent]

    async def _watch(self) -> None:
        """Stop what shall stop, let go of what is another's by now, and give back what a lost answer has left with us."""
        async with self._one_by_one:
            held = {(each.execution, each.path, each.number): each.stop for each in await self._store.held_tasks(self.worker)}
            ours = {guest.name for guest in self._guests.values()} | {guest.name for guest, _ in self._outbox}
            for guest in list(self._guests.values()):
                if guest.name not in held:
                    del self._guests[guest.id]
                    self._attempts.abandon(guest.id)
                elif held[guest.name]:
                    self._attempts.carry_out(guest, Stop(token=guest.token, reason=held[guest.name]))
            await self._give_back([name for name in held if name not in ours])
            self._doubtful = False

    async def _claim(self) -> None:
        """Take tasks for which there are free slots."""
        async with self._one_by_one:
            limit = min(CLAIM_MOST, (self._attempts.room + 1) // 2)
            if limit < 1 or not self._takes or not self._store.leased():
                self.more = False
                return
            self._doubtful = True
            tasks = await self._store.claim_tasks(self.worker, self._labels, self._clock.now(), limit=limit)
            self.more = len(tasks) == limit
            self._doubtful = any([not await self._is_dealt_with(task) for task in tasks])

    async def _is_dealt_with(self, task: Task) -> bool:
        """Begin a task, or give it back; False where our own home is about to end it, so that it is looked at again."""
        asked = asked_by(task)
        name = (task.execution, task.path, task.number)
        try:
            works = (await self._plans.get(asked.digest)).works
        except StoreBusy:
            await self._give_back([name])
            return True
        except PerdureError as error:
            await self._lack(task, name, error.message)
            return True
        wanted = await self._is_wanted(task, asked.run.token)
        if asked.run.type not in works:
            await self._lack(task, name, f"it has no node type {asked.run.type!r}")
        elif not self._takes:  # it was told to stop while this was read
            await self._give_back([name])
        elif not wanted:
            return False
        else:
            guest = Guest(task, asked.run.token, asked.workflow, works)
            self._guests[guest.id] = guest
            self._attempts.carry_out(guest, asked.run)
        return True

    async def _is_wanted(self, task: Task, token: Token) -> bool:
        """Does our own home still want the task, if the execution is there? One that it has lost unawares is others' to say."""
        hot = self._find(task.execution)
        if hot is None or (hot.postings is not None and hot.postings.has(token, task.number)):
            return True
        row = await self._store.row(task.execution)
        return row is not None and (row.home != self.worker or row.epoch != hot.epoch)

    async def _lack(self, task: Task, name: Name, why: str) -> None:
        """Another worker may have what this one lacks."""
        self._lacking[name] += 1
        wait = min(LACKING_MOST, LACKING_FIRST * 2 ** min(self._lacking[name] - 1, 10))
        log.error("cannot carry out %s of %s: %s", task.path, id_text(task.execution), why)
        await self._give_back([name], wait=wait)

    async def _give_back(self, names: list[Name], *, wait: int = 0) -> None:
        if names:
            given = [TaskName(execution=execution, path=path, number=number) for execution, path, number in names]
            due = self._clock.now() + wait
            await patiently(lambda: self._store.return_tasks(self.worker, given, due=due))


def _has_room(load: Load | None) -> bool:
    return load is not None and load.state == "ready" and load.running + load.queued < load.slots


def _report(guest: Guest, result: Result) -> TaskReport:
    execution, path, number = guest.name
    return TaskReport(execution=execution, path=path, number=number, at=result.finished, body=encode_value(result))
