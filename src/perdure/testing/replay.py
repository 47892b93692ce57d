"""A second reading of all that homes commit: every journal is folded anew and stepped again, and must come to the same.

    reading = SecondReading()
    with reading.watching():
        ...  # whatever runs executions through homes of this process
    assert reading.differences() == []

It reads what the store was given, so what a home made of it afterwards is no excuse: the rows as they became durable, the
state that the home showed right then, and the plan that it had.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec

from perdure.definition.plan import Plan
from perdure.engine.codec import decode_row, decode_value, encode_row, encode_snapshot
from perdure.engine.events import AnyFact
from perdure.engine.evolution import evolve
from perdure.engine.execution import Execution
from perdure.engine.machine import Stepped
from perdure.engine.replay import Recorded, Replay
from perdure.ids import ExecutionId, id_text
from perdure.operations.journal import handles_of
from perdure.operations.verification import Verification
from perdure.runtime.home import Home
from perdure.runtime.resident import Resident
from perdure.store.contract import Batch, Committed, ExecutionsRefused, JournalRow, Store
from perdure.store.postgres import PostgresStore
from perdure.store.sqlite import SqliteStore, open_store
from perdure.testing.faults import FaultyStore
from perdure.testing.rehearsal import Rehearsal

FACTS_MAX = 20_000
"""Facts of one execution that are read a second time; what comes after them is left out, and said to be."""
STATES_EACH_MAX = 500
"""Up to this many facts the state after every step is compared; after that once in each eighth that a journal grows by."""
PAGE = 2_000


class Row(msgspec.Struct, frozen=True):
    """A journal row as it became durable. `elsewhere`: it was written by who knows which release."""

    first_seq: int
    at: int
    body: bytes
    elsewhere: bool = False


class Values:
    """Large values by digest, decoded when a step asks for them."""

    def __init__(self, bodies: dict[bytes, bytes]) -> None:
        self.bodies = bodies

    def get(self, digest: bytes, default: Any, /) -> Any:
        body = self.bodies.get(digest)
        return default if body is None else decode_value(body)


class Reader:
    """Reads one execution again, row by row. `states`: what was shown, encoded, by the fact it stood at."""

    def __init__(self, plan: Plan, values: Values, states: Mapping[int, bytes]) -> None:
        self.state = Execution()
        self._replay = Replay(plan, values)
        self._states = states

    def take(self, row: Row) -> str:
        """Fold a row and step it; a sentence where it comes to anything else than it did, and then no more may be taken."""
        try:
            body = decode_row(row.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return f"the row at fact {row.first_seq} cannot be read: {error}"
        if row.first_seq != self.state.seq + 1:
            return f"fact {row.first_seq} was written after fact {self.state.seq}"
        if not row.elsewhere and encode_row(body.inputs, body.facts, body.cut) != row.body:
            return f"the row at fact {row.first_seq} is not encoded as it was written"
        for fact in body.facts:
            evolve(self.state, fact)
        self.state.at = row.at
        shown = self._states.get(self.state.seq)
        if shown is not None and shown != encode_snapshot(self.state):
            return f"at fact {self.state.seq} the journal folds to another state than its home had"
        return self._replay.take(Recorded(first_seq=row.first_seq, at=row.at, body=body))


class Transcript:
    """What was written of one execution, and the states that its homes showed."""

    def __init__(self, execution: bytes) -> None:
        self.execution = execution
        self.plan: Plan | None = None
        self.rows: list[Row] = []
        self.seq = 0
        self.states: dict[int, bytes] = {}
        self.shortened = False
        self.unseen = False  # somebody else wrote in between: nothing can be said any more
        self.broken = ""
        self._state_due = 0

    def append(self, row: Row, count: int) -> None:
        """A row became durable."""
        self.seq = row.first_seq + count - 1
        if self.seq > FACTS_MAX and self.rows:
            self.shortened = True
        else:
            self.rows.append(row)

    def show(self, state: Execution) -> None:
        """This is the state of whoever wrote the last row. Raises nothing: what does not fit is told by `difference`."""
        if state.seq != self.seq:
            self.broken = self.broken or f"a home stands at fact {state.seq} when its journal stands at {self.seq}"
        elif not self.shortened and (state.seq >= self._state_due or state.ended):
            self.states[state.seq] = encode_snapshot(state)
            self._state_due = state.seq + (1 if state.seq < STATES_EACH_MAX else state.seq >> 3)

    def difference(self, plan: Plan, values: Values) -> str:
        """Read all rows again; a sentence where they come to anything else than they did, else nothing."""
        reader = Reader(plan, values, self.states)
        return self.broken or next((sentence for row in self.rows if (sentence := reader.take(row))), "")


class Rehearsed:
    """A rehearsal, read again while it goes: what a test has bent for it may be straight again when the test is over."""

    def __init__(self, play: Rehearsal) -> None:
        self.play = play  # kept alive, so that its id stays its own
        self.turns = 0
        self.sentence = ""
        self.shortened = False
        self._reader = Reader(play.plan, Values(play.bodies), {})  # it compares its states itself
        before = play.rows[:-1]
        ats = getattr(play, "ats", [])
        self.unseen = len(ats) != len(before) and bool(before)
        for body, at in zip(before, ats, strict=False):
            self._take(Row(self._reader.state.seq + 1, at, body, elsewhere=True))

    def stepped(self) -> None:
        """It wrote another row."""
        self._take(Row(self._reader.state.seq + 1, self.play.now, self.play.rows[-1]))

    def _take(self, row: Row) -> None:
        if self.sentence or self.unseen or self.shortened:
            return
        self.turns += 1
        self.sentence = self._reader.take(row)
        self.shortened = self._reader.state.seq >= FACTS_MAX


class SecondReading:
    """Everything that was written while it watched. `executions`, `turns`, `shortened`, `unseen` count what was read again.

    `shortened`: executions of which only the first `FACTS_MAX` facts were read. `unseen`: those whose beginning was written
    where it could not be seen, and that nobody folded here.
    """

    def __init__(self) -> None:
        self.executions = self.turns = self.shortened = self.unseen = 0
        self.paused = False
        self._transcripts: dict[tuple[Any, bytes], Transcript] = {}
        self._latest: dict[bytes, Transcript] = {}
        self._rehearsed: dict[int, Rehearsed] = {}
        self._over: list[Transcript] = []
        self._values = Values({})

    @contextmanager
    def watching(self) -> Iterator[None]:
        """See what is committed in this process, by whatever home and store, and what is rehearsed."""
        patches: list[tuple[type[Any], str, Callable[[Any], Any]]] = [
            (Home, "__init__", self._of_home), (Home, "take", self._of_take), (Resident, "put", self._of_put),
            (SqliteStore, "commit", self._of_commit), (PostgresStore, "commit", self._of_commit),
            (Rehearsal, "_step", self._of_rehearsal),
        ]  # fmt: skip
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in patches]
        for owner, name, wrapped in patches:
            setattr(owner, name, wrapped(getattr(owner, name)))
        try:
            yield
        finally:
            for owner, name, original in before:
                setattr(owner, name, original)

    def differences(self) -> list[str]:
        """Read all that was written since the last time: a sentence for each execution that comes out otherwise."""
        found = []
        for transcript in (*self._over, *self._transcripts.values()):
            if transcript.plan is None or not transcript.rows:
                continue  # no home ever showed it: what tests of stores write is no journal
            self._count(transcript, len(transcript.rows))
            if not transcript.unseen and (sentence := transcript.difference(transcript.plan, self._values)):
                found.append(f"{id_text(ExecutionId(transcript.execution))}: {sentence}")
        for rehearsed in self._rehearsed.values():
            self._count(rehearsed, rehearsed.turns)
            if rehearsed.sentence:
                found.append(f"a rehearsal of {rehearsed.play.plan.name}: {rehearsed.sentence}")
        self.forget()
        return found

    def _count(self, read: Transcript | Rehearsed, turns: int) -> None:
        if read.unseen:
            self.unseen += 1
            return
        self.executions += 1
        self.turns += turns
        self.shortened += read.shortened

    def forget(self) -> None:
        """What was written so far is not read again."""
        self._transcripts, self._latest, self._rehearsed, self._over = {}, {}, {}, []
        self._values = Values({})

    # -- what is seen -------------------------------------------------------------------------------------------------

    def committed(self, store: Store, batch: Batch, answer: Committed, refused: Collection[ExecutionId] = ()) -> None:
        """A transaction is durable."""
        place = place_of(store)
        left_out = {*answer.fenced, *answer.duplicates, *refused}
        for turn in batch.turns:
            if not turn.count or turn.execution in left_out:
                continue
            key = place, turn.execution
            transcript = self._transcripts.get(key)
            if transcript is None or turn.first_seq == 1:
                self._over += [transcript] if transcript is not None else []
                transcript = self._transcripts[key] = Transcript(turn.execution)
            if turn.first_seq != transcript.seq + 1:
                transcript.unseen = True
            transcript.append(Row(turn.first_seq, turn.at, turn.body), turn.count)
            self._latest[turn.execution] = transcript

    def shown(self, home: Home, execution: ExecutionId) -> None:
        """A home says that a step of this execution is durable: now its state may be seen."""
        state, transcript = home.state(execution), self._latest.get(execution)
        if state is None or transcript is None:
            return
        if transcript.plan is None:
            loaded = home.plans.kept(state.digest, {})
            transcript.plan = loaded.plan if loaded is not None else None
        transcript.show(state)

    async def taken(self, store: Store, home: Home, executions: Iterable[ExecutionId]) -> None:
        """A home goes on with executions: what was written of them where nobody saw it is read from the store."""
        place = place_of(store)
        for execution in executions:
            state, transcript = home.state(execution), self._transcripts.get((place, execution))
            if state is None or (transcript is not None and transcript.seq == state.seq and not transcript.unseen):
                continue
            read = Transcript(execution)
            while rows := await store.journal(execution, after=read.seq, limit=PAGE):
                for row in rows:
                    read.append(Row(row.first_seq, row.at, row.body, elsewhere=True), row.count)
                await self._keep_values(store, state.tenant, rows)
            self._transcripts[place, execution] = self._latest[execution] = read

    async def _keep_values(self, store: Store, tenant: str, rows: Iterable[JournalRow]) -> None:
        bodies = [decode_row(row.body) for row in rows]
        digests = [digest for body in bodies for digest in handles_of((*body.inputs, *body.facts))]
        self._values.bodies |= await store.blobs(tenant, digests)

    def rehearsed(self, play: Rehearsal, done: Stepped) -> None:
        """A rehearsal took a step."""
        if done.facts:
            known = self._rehearsed.get(id(play)) or self._rehearsed.setdefault(id(play), Rehearsed(play))
            known.stepped()

    # -- where it is seen ---------------------------------------------------------------------------------------------

    def _of_home(self, original: Callable[..., None]) -> Callable[..., None]:
        def init(home: Home, **given: Any) -> None:
            original(home, **given)
            there = weakref.ref(home)

            def durable(execution: ExecutionId, at: int, facts: list[AnyFact]) -> None:
                here = there()
                if here is not None and not self.paused:
                    self.shown(here, execution)

            home.observe(durable)

        return init

    def _of_take(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def take(home: Home, *args: Any, **given: Any) -> Any:
            executions = await original(home, *args, **given)
            if executions and not self.paused:
                with _around(home._store):  # a world's time stands still meanwhile: else it jumps over what is waited for
                    await self.taken(_innermost(home._store), home, executions)
            return executions

        return take

    def _of_commit(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def commit(store: SqliteStore | PostgresStore, batch: Batch) -> Committed:
            try:
                answer: Committed = await original(store, batch)
            except ExecutionsRefused as refused:
                if not self.paused:
                    self.committed(store, batch, refused.committed, refused.refused)
                raise
            if not self.paused:
                self.committed(store, batch, answer)
            return answer

        return commit

    def _of_put(self, original: Callable[..., None]) -> Callable[..., None]:
        def put(resident: Resident, digest: bytes, body: bytes) -> None:
            original(resident, digest, body)
            if not self.paused:
                self._values.bodies[digest] = body

        return put

    def _of_rehearsal(self, original: Callable[..., Stepped]) -> Callable[..., Stepped]:
        def stepped(play: Rehearsal, inputs: Any) -> Stepped:
            done = original(play, inputs)
            if not self.paused:
                self.rehearsed(play, done)
            return done

        return stepped


def place_of(store: Store) -> Any:
    """What outlives a store that is opened again: its file, or the connection to its memory."""
    inner = _innermost(store)
    if not isinstance(inner, SqliteStore):
        return inner.place if isinstance(inner, PostgresStore) else id(inner)
    return inner.place if inner.place != ":memory:" else inner.connection


def _around(store: Any) -> AbstractContextManager[object]:
    """What each call by way of this store is made in."""
    return store.around() if isinstance(store, FaultyStore) else nullcontext()


def _innermost(store: Any) -> Any:
    """The store under all that is wrapped around it."""
    while not isinstance(store, SqliteStore | PostgresStore) and hasattr(store, "store"):
        store = store.store
    return store


async def findings_in(path: Path, *, node_files: tuple[str, ...] = ()) -> list[str]:
    """What `perdure verify --deep` would say about a store's file, for one that other processes have written."""
    store = await open_store(path)
    try:
        return [finding.sentence async for finding in Verification(store, deep=True, node_files=node_files).findings()]
    finally:
        await store.close()
