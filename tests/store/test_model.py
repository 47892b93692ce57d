"""The store against a model of a few dictionaries: random calls by seed, and after each both say the same."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import pytest

from perdure.ids import ExecutionId
from perdure.store.contract import FIRST_FINAL, Batch, Event, LockClaim, Message, Start, Store, Turn
from perdure.testing.stores import Place
from perdure.testing.stores.samples import (
    LEVEL,
    NOW,
    RUNNING,
    SUCCEEDED,
    WAITING,
    a_lock,
    a_message,
    a_start,
    a_subscription,
    a_turn,
    an_event,
    an_id,
)
from perdure.testing.stores.sqlite import MemoryPlace

SEEDS = range(15)
CALLS = 60
WORKERS = ("w1", "w2", "w3")
TYPES = ("paid", "sent")
KEYS = ("till", "dock", "gate")
PATHS = ("a", "b")


@dataclass
class Known:
    """What the model knows of an execution."""

    key: str
    priority: int
    home: str
    epoch: int = 1
    seq: int = 2
    status: int = RUNNING
    wake: int | None = None
    freed: bool = False  # by a worker that left: due at once
    inbox: list[tuple[str, str]] = field(default_factory=list)  # sources and keys of messages
    accepted: set[tuple[str, str]] = field(default_factory=set)
    awaits: set[str] = field(default_factory=set)  # types of events

    @property
    def final(self) -> bool:
        return self.status >= FIRST_FINAL


class Play:
    """A store and its model, side by side. `living`: the workers that are alive; `epochs`: what each home believes."""

    def __init__(self, seed: int, place: Place, store: Store) -> None:
        self.chance = random.Random(seed)
        self.place = place
        self.store = store
        self.known: dict[ExecutionId, Known] = {}
        self.living: set[str] = set()
        self.epochs: dict[ExecutionId, int] = {}  # a home that went away believes in its old one
        self.seen: dict[int, tuple[str, str]] = {}  # messages by their positions
        self.log: dict[str, tuple[str, int]] = {}  # events by id: their types and times
        self.held: dict[str, tuple[ExecutionId, str]] = {}  # locks by key
        self.cursor = ""
        self.fed: dict[ExecutionId, int] = {}  # the last facts that the feed told
        self.now = NOW
        self.count = 0

    async def call(self) -> None:
        """One random call, and the comparison."""
        self.now += self.chance.randrange(3)
        deeds = (
            self.commit, self.commit, self.commit, self.send, self.publish, self.acquire, self.claim, self.claim, self.register,
            self.leave, self.die,
        )  # fmt: skip
        await self.chance.choice(deeds)()
        await self.compare()

    def some(self, most: int) -> list[ExecutionId]:
        return self.chance.sample(sorted(self.known), min(len(self.known), self.chance.randrange(most + 1)))

    def number(self) -> str:
        self.count += 1
        return f"{self.count}"

    # -- calls ------------------------------------------------------------------------------------------------------------
    async def register(self) -> None:
        worker = self.chance.choice(WORKERS)
        await self.store.register(worker, now=self.now, level=LEVEL)
        if worker not in self.living:
            self.free(worker)
            self.living.add(worker)

    async def leave(self) -> None:
        if self.chance.random() < 0.5:
            return
        worker = self.chance.choice(WORKERS)
        await self.store.leave(worker)
        if worker in self.living:
            self.free(worker)
            self.living.discard(worker)

    async def die(self) -> None:
        if self.chance.random() < 0.7:
            return
        self.place.die(self.store)
        self.store = await self.place.open()
        self.living.clear()

    def free(self, worker: str) -> None:
        for each in self.known.values():
            if each.home == worker:
                each.home, each.freed = "", not each.final

    async def send(self) -> None:
        messages = [a_message(each, f"{self.chance.randrange(4)}", at=self.now) for each in self.some(4)]
        answers = await self.store.send(messages)
        assert answers == [self.accept(message.execution, message) for message in messages]

    def accept(self, execution: ExecutionId, message: Message) -> bool:
        known = self.known[execution]
        identity = (message.source, message.key)
        if identity in known.accepted:
            return False
        known.accepted.add(identity)
        known.inbox.append(identity)
        return True

    async def publish(self) -> None:
        events = [self.event(None) for _ in range(self.chance.randrange(3))]
        answers = await self.store.publish(events)
        assert answers == [self.hear(event) for event in events]

    def event(self, execution: ExecutionId | None) -> Event:
        id_ = self.number() if self.chance.random() < 0.8 else self.chance.choice(sorted(self.log) or ["0"])
        return an_event(execution, id_, type=self.chance.choice(TYPES), at=self.now, notice=id_.encode())

    def hear(self, event: Event) -> bool:
        if event.id in self.log:
            return False
        self.log[event.id] = (event.type, event.at)
        for execution, known in self.known.items():
            if event.type in known.awaits and not known.final:
                self.accept(execution, a_message(execution, event.id, source="event"))
        return True

    async def acquire(self) -> None:
        claims = [self.lock(execution) for execution in self.some(5)]
        expected = []
        for claim in claims:
            if claim.key not in self.held and not self.known[claim.execution].final:
                self.held[claim.key] = (claim.execution, claim.path)
            expected.append(self.held.get(claim.key) == (claim.execution, claim.path))
        assert await self.store.acquire(claims) == expected

    def lock(self, execution: ExecutionId) -> LockClaim:
        return a_lock(execution, self.chance.choice(KEYS), self.chance.choice(PATHS))

    async def claim(self) -> None:
        if not self.living:
            return
        worker, limit = self.chance.choice(sorted(self.living)), self.chance.randrange(1, 5)
        only = self.some(4) if self.chance.random() < 0.3 else None
        rows = await self.store.claim(worker, self.now, limit=limit, level=LEVEL, only=only)
        allowed = {id_ for id_, known in self.known.items() if self.may_be_claimed(id_, known, only)}
        assert {row.execution for row in rows} <= allowed
        assert len(rows) == min(limit, len(allowed))
        priorities = [row.priority for row in rows]
        if only is None:
            assert priorities == sorted(self.known[each].priority for each in allowed)[:limit]
        for row in rows:
            known = self.known[row.execution]
            assert row.home == known.home  # the former one
            known.home, known.epoch, known.wake, known.freed = worker, known.epoch + 1, None, False
            assert row.epoch == known.epoch
            if self.chance.random() < 0.9:  # else the new home is slow, and the old one still believes in itself
                self.epochs[row.execution] = known.epoch

    def may_be_claimed(self, id_: ExecutionId, known: Known, only: list[ExecutionId] | None) -> bool:
        if known.final or known.home in self.living:
            return False
        if only is not None:
            return id_ in only
        due = known.wake is not None and known.wake <= self.now
        return known.home != "" or known.freed or due or bool(known.inbox)

    async def commit(self) -> None:
        starts, turns = self.new(), []
        turns += [a_turn(start.execution, at=self.now) for start in starts]
        for id_ in self.some(5):
            turns.append(await self.turn(id_))
        messages = [
            a_message(
                each, f"{self.chance.randrange(4)}", source="child", sender=self.chance.choice(turns).execution, at=self.now
            )
            for each in self.some(2)
            if turns
        ]
        movers = [turn.execution for turn in turns]
        batch = Batch(
            starts=starts, turns=turns, messages=messages,
            events=[self.event(each) for each in movers if self.chance.random() < 0.2],
            subscriptions=[a_subscription(each, kind) for each in movers for kind in TYPES if self.chance.random() < 0.3],
            unsubscriptions=[a_subscription(each, kind) for each in movers for kind in TYPES if self.chance.random() < 0.3],
            unlocks=[self.lock(each) for each in movers if self.chance.random() < 0.5],
        )  # fmt: skip
        committed = await self.store.commit(batch)

        duplicates, fenced = set(), set()
        for start in starts:
            if start.key and start.key in [known.key for known in self.known.values()]:
                duplicates.add(start.execution)
            else:
                self.known[start.execution] = Known(start.key, start.priority, start.home)
                self.epochs[start.execution] = 1
        for turn in turns[len(starts) :]:
            if turn.epoch != self.known[turn.execution].epoch:
                fenced.add(turn.execution)
        assert (set(committed.fenced), set(committed.duplicates)) == (fenced, duplicates)
        for turn in turns[len(starts) :]:
            if turn.execution not in fenced:
                self.apply(turn)
        self.settle(batch, fenced | duplicates)
        for message in messages:
            if message.sender not in fenced | duplicates:
                self.accept(message.execution, message)

    def settle(self, batch: Batch, left_out: set[ExecutionId]) -> None:
        """Locks are let go, waits end, waits begin, executions end, and then events are heard."""
        for claim in batch.unlocks:
            if claim.execution not in left_out and self.held.get(claim.key) == (claim.execution, claim.path):
                del self.held[claim.key]
        for ended in batch.unsubscriptions:
            if ended.execution not in left_out:
                self.known[ended.execution].awaits.discard(ended.type)
        for begun in batch.subscriptions:
            if begun.execution not in left_out:
                self.known[begun.execution].awaits.add(begun.type)
        self.held = {key: holder for key, holder in self.held.items() if not self.known[holder[0]].final}
        for event in batch.events:
            if event.execution not in left_out:
                self.hear(event)

    def new(self) -> list[Start]:
        return [
            a_start(
                an_id(), home=self.chance.choice(WORKERS), priority=self.chance.randrange(1, 6),
                key=self.chance.choice(("", "a", "b", self.number())), created=self.now,
            )
            for _ in range(self.chance.randrange(3))
        ]  # fmt: skip

    async def turn(self, id_: ExecutionId) -> Turn:
        known = self.known[id_]
        epoch = self.epochs[id_]
        inbox = await self.store.inbox(id_)
        self.seen |= {arrived.position: (arrived.message.source, arrived.message.key) for arrived in inbox}
        taken = tuple(each.position for each in inbox if self.chance.random() < 0.5) if epoch == known.epoch else ()
        status = known.status if known.final else self.chance.choice((RUNNING, WAITING, WAITING, SUCCEEDED))
        wake = self.chance.choice((None, self.now + self.chance.randrange(20)))
        release = known.home == "" or self.chance.random() < 0.5  # who writes after leaving leaves again
        count = self.chance.randrange(3)
        return a_turn(
            id_, epoch=epoch, first_seq=known.seq + 1, count=count, at=self.now, status=status, consumed=taken, release=release,
            wake=wake if release and status < FIRST_FINAL else None,
        )  # fmt: skip

    def apply(self, turn: Turn) -> None:
        known = self.known[turn.execution]
        known.seq += turn.count
        known.status = turn.status
        for position in turn.consumed:
            known.inbox.remove(self.seen[position])
        if turn.release:
            known.home, known.wake, known.freed = "", turn.wake, False

    # -- the comparison ---------------------------------------------------------------------------------------------------
    async def read_on(self) -> None:
        """Read the feed on from where it was read before, some steps at a time."""
        is_over = False
        while not is_over:
            page = await self.store.feed(after=self.cursor, limit=self.chance.choice((1, 2, 5)))
            for step in page.rows:
                assert step.first_seq == self.fed.get(step.execution, 0) + 1
                self.fed[step.execution] = step.first_seq + step.count - 1
            self.cursor, is_over = page.cursor, not page.more

    async def compare(self) -> None:
        rows = {row.execution: row for row in await self.store.rows(limit=1_000)}
        assert set(rows) == set(self.known)
        for id_, known in self.known.items():
            row = rows[id_]
            assert (row.epoch, row.seq, row.status) == (known.epoch, known.seq, known.status)
            if not known.final or known.home in self.living:  # what is final loses its dead home when that is forgotten
                assert row.home == known.home
            found = [arrived.message for arrived in await self.store.inbox(id_)]
            assert [(message.source, message.key) for message in found] == known.inbox
            assert sum(step.count for step in await self.store.journal(id_)) == known.seq
        await self.read_on()
        assert self.fed == {id_: known.seq for id_, known in self.known.items()}
        log = {event.id: (event.type, event.at) for _, event in await self.store.events(limit=1_000)}
        assert list(log.items()) == list(self.log.items())
        since, wanted = self.now - self.chance.randrange(9), self.chance.choice(TYPES)
        recent = [event.id for _, event in await self.store.events(type=wanted, since=since, limit=1_000)]
        assert recent == [id_ for id_, (kind, at) in self.log.items() if kind == wanted and at >= since]
        assert {key: await self.store.holder("default", key) for key in KEYS} == {key: self.held.get(key) for key in KEYS}
        alive = {worker.worker for worker in await self.store.workers() if worker.alive}
        assert alive == self.living


@pytest.fixture(params=["memory", "postgres"])
def place(request: pytest.FixtureRequest) -> Place:
    """Where the store lives."""
    return MemoryPlace() if request.param == "memory" else request.getfixturevalue("postgres_place")


@pytest.mark.parametrize("seed", SEEDS)
def test_the_store_does_what_the_model_does(seed: int, place: Place) -> None:
    """After each of many random calls, store and model agree on rows, journals, feed, inboxes, events, locks and workers."""

    async def play() -> None:
        both = Play(seed, place, await place.open())
        for _ in range(CALLS):
            await both.call()

    asyncio.run(play())
