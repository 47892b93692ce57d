"""Everything that is stored, held against everything else: journals, rows, snapshots, definitions, large values, the engine."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import msgspec

from perdure.definition import digest_of, restore
from perdure.engine.codec import FOLD, LEVEL, decode_row, decode_snapshot, decode_value, encode_snapshot
from perdure.engine.events import RowBody
from perdure.engine.evolution import evolve
from perdure.engine.execution import BACKOFF, PARKED, RUNNING, WAITING, Execution
from perdure.engine.replay import Recorded, Replay
from perdure.errors import PerdureError
from perdure.ids import ExecutionId
from perdure.operations.journal import handles_of, values_of
from perdure.runtime.plans import Plans
from perdure.store.contract import STATUSES, JournalRow, Row, Snapshot, Store

PAGE = 1_000
BLOBS_AT_ONCE = 50


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that does not fit. `execution` None: the store as a whole."""

    execution: ExecutionId | None
    sentence: str


class Unreadable(Exception):
    """The rest of a journal cannot be judged; the message is the finding."""


class Verification:
    """One verification of one store, which others may be writing to meanwhile; the counters grow while `findings` is read.

    `deep`: step the inputs of every journal again and compare the facts. It needs the node types (`node_files` names more,
    `plans` knows them) and holds all large values of one execution in memory.
    """

    def __init__(
        self, store: Store, *, deep: bool = False, node_files: tuple[str, ...] = (), plans: Plans | None = None
    ) -> None:
        self._store = store
        self._deep = deep
        self._plans = plans if plans is not None else Plans(store, files=node_files)
        self._definitions: dict[tuple[str, bytes], str] = {}
        self.executions = self.facts = self.blobs = self.found = 0

    async def findings(self) -> AsyncIterator[Finding]:
        """Every finding, as it is found. Reads in pages: a large store needs no more memory than a small one."""
        async for execution, sentence in self._all():
            self.found += 1
            yield Finding(execution=execution, sentence=sentence)

    async def _all(self) -> AsyncIterator[tuple[ExecutionId | None, str]]:
        for sentence in await self._store.check():
            yield None, sentence
        before: ExecutionId | None = None
        while True:
            try:
                rows = await self._store.rows(before=before, limit=PAGE)
            except PerdureError as error:
                yield None, f"the executions cannot be listed: {error.message}"
                return
            for row in rows:
                self.executions += 1
                async for sentence in self._execution(row.execution):
                    yield row.execution, sentence
            if len(rows) < PAGE:
                return
            before = rows[-1].execution

    async def _execution(self, execution: ExecutionId) -> AsyncIterator[str]:
        try:
            snapshot = await self._store.snapshot(execution)
            row = await self._store.row(execution)  # after the snapshot: so it is never the older of the two
            if row is None:
                return
            async for sentence in self._row(row, snapshot):
                yield sentence
        except PerdureError as error:
            yield error.message

    async def _row(self, row: Row, snapshot: Snapshot | None) -> AsyncIterator[str]:
        if row.level > LEVEL:
            yield f"it was written at level {row.level}; this Perdure reads up to {LEVEL}"
            return
        folded = Folded(snapshot)
        stepped = Stepping(self._store, self._plans, row) if self._deep else None
        try:
            async for journaled in self._journal(row):
                recorded = folded.take(journaled)
                self.facts += len(recorded.body.facts)
                if stepped is not None and (sentence := await stepped.take(recorded, folded.state)):
                    yield sentence
        except Unreadable as unreadable:
            yield str(unreadable)
            return
        for sentence in folded.against(row):
            yield sentence
        if await self._goes_on(row, folded.state.seq):
            yield f"its row stands at fact {row.seq}, and its journal goes on after that"
        if sentence := await self._definition(row.tenant, folded.state.digest or row.digest):
            yield sentence
        async for sentence in self._large_values(row, folded.handles):
            yield sentence

    async def _journal(self, row: Row) -> AsyncIterator[JournalRow]:
        """The journal as far as the row says; whoever runs the execution may be writing on."""
        after = 0
        while after < row.seq:
            rows = await self._store.journal(row.execution, after=after, limit=PAGE)
            for journaled in rows:
                if journaled.first_seq > row.seq:
                    return
                yield journaled
                after = journaled.first_seq
            if len(rows) < PAGE:
                return

    async def _goes_on(self, row: Row, seq: int) -> bool:
        if not await self._store.journal(row.execution, after=seq, limit=1):
            return False
        now = await self._store.row(row.execution)
        return now is not None and now.seq == row.seq  # else it was only written to meanwhile

    async def _definition(self, tenant: str, digest: bytes) -> str:
        if digest and (tenant, digest) not in self._definitions:
            self._definitions[tenant, digest] = await self._look_at_definition(tenant, digest)
        return self._definitions.get((tenant, digest), "")

    async def _look_at_definition(self, tenant: str, digest: bytes) -> str:
        saved = await self._store.definition(digest, tenant=tenant)
        if saved is None:
            return f"its definition {digest.hex()[:12]} is missing from the store"
        try:
            sound = digest_of(restore(saved.document)) == digest
        except Exception:  # noqa: BLE001 - whatever is wrong with the bytes, they are not what was saved
            sound = False
        return "" if sound else f"its definition {digest.hex()[:12]} is not what was saved under this digest"

    async def _large_values(self, row: Row, handles: dict[bytes, int]) -> AsyncIterator[str]:
        self.blobs += len(handles)
        digests = list(handles)
        for start in range(0, len(digests), BLOBS_AT_ONCE):
            wanted = digests[start : start + BLOBS_AT_ONCE]
            try:
                bodies = await self._store.blobs(row.tenant, wanted)
            except PerdureError:  # one of them is damaged: which, and are the others sound?
                async for sentence in self._one_by_one(row.tenant, wanted, handles):
                    yield sentence
            else:
                for sentence in _unsound(bodies, wanted, handles):
                    yield sentence

    async def _one_by_one(self, tenant: str, digests: list[bytes], handles: dict[bytes, int]) -> AsyncIterator[str]:
        for digest in digests:
            try:
                bodies = await self._store.blobs(tenant, [digest])
            except PerdureError as error:
                yield error.message
                continue
            for sentence in _unsound(bodies, [digest], handles):
                yield sentence


class Folded:
    """One execution's journal, folded as far as it was taken in, and what was noticed meanwhile."""

    def __init__(self, snapshot: Snapshot | None) -> None:
        self.state = Execution()
        self.handles: dict[bytes, int] = {}  # large values that the journal names: digest → bytes
        self._cut = False
        self._snapshot = snapshot if snapshot is not None and snapshot.fold == FOLD else None  # another fold's is no truth
        self._noticed: list[str] = []

    def take(self, journaled: JournalRow) -> Recorded:
        """Fold one row. Raises Unreadable where nothing can be said about the journal from here on."""
        state, first = self.state, journaled.first_seq
        if first != state.seq + 1:
            raise Unreadable(f"facts {state.seq + 1} to {first - 1} are missing from the journal")
        body = _decoded(journaled)
        if len(body.facts) != journaled.count:
            self._noticed.append(f"the journal row at fact {first} says {journaled.count} facts and holds {len(body.facts)}")
        if journaled.at < state.at:
            self._noticed.append(f"the step at fact {first} is dated before the one before it")
        try:
            for fact in body.facts:
                evolve(state, fact)
        except Exception as error:  # whatever the fold cannot take is a finding
            raise Unreadable(f"the facts from {first} on do not fold: {type(error).__name__}: {error}") from error
        state.at, self._cut = journaled.at, body.cut
        self.handles |= handles_of((*body.inputs, *body.facts))
        if unreadable := _unreadable(body):
            self._noticed.append(f"the journal row at fact {first} holds a value that cannot be read: {unreadable}")
        self._compare_snapshot()
        return Recorded(first_seq=first, at=journaled.at, body=body)

    def against(self, row: Row) -> Iterator[str]:
        """All that was noticed, and what the row says otherwise than the journal."""
        yield from self._noticed
        state = self.state
        if self._snapshot is not None:
            yield f"the snapshot stands at fact {self._snapshot.seq}, where no step ends"
        if row.seq != state.seq:
            yield f"its row stands at fact {row.seq}, its journal at {state.seq}"
        if STATUSES[row.status] != self._status():
            yield f"its row says {STATUSES[row.status]}, its journal {self._status()}"
        if not state.seq:
            return
        for name in ("tenant", "workflow", "key", "digest"):
            told, folded = getattr(row, name), getattr(state, name)
            if told != folded and (told or name != "digest"):  # one that was started by its workflow's name has none in its row
                yield f"its row names the {name} {_shown(told)}, its journal {_shown(folded)}"

    def _status(self) -> str:
        """What a row says of this state (rule 1)."""
        state = self.state
        if state.ended:
            return state.status
        if not state.frames:
            return STATUSES[0]
        if state.paused_at:
            return "paused"
        if state.frames[""].departure is not None:
            return "closing"
        active = {instance.state for _, instance in state.instances()}
        if self._cut or RUNNING in active:
            return "running"
        if active & {WAITING, BACKOFF}:
            return "waiting"
        return "parked" if PARKED in active else "running"

    def _compare_snapshot(self) -> None:
        snapshot = self._snapshot
        if snapshot is None or snapshot.seq != self.state.seq:
            return
        self._snapshot = None
        try:
            same = encode_snapshot(decode_snapshot(snapshot.body)) == encode_snapshot(self.state)
        except msgspec.DecodeError:
            same = False
        if not same:
            self._noticed.append(f"the snapshot at fact {snapshot.seq} is not what the journal folds to")


class Stepping:
    """Steps an execution's inputs again while its journal is read, up to the first difference."""

    def __init__(self, store: Store, plans: Plans, row: Row) -> None:
        self._store = store
        self._plans = plans
        self._tenant = row.tenant
        self._resident: dict[bytes, Any] = {}
        self._replay: Replay | None = None
        self._over = False

    async def take(self, recorded: Recorded, state: Execution) -> str:
        """Step one row; a sentence where it comes out otherwise, or cannot be stepped. After that nothing more."""
        if self._over:
            return ""
        try:
            if self._replay is None:
                self._replay = Replay((await self._plans.get(state.digest)).plan, self._resident)
            await self._fetch(handles_of((*recorded.body.inputs, *recorded.body.facts)))
        except (PerdureError, ValueError) as error:
            sentence = f"it cannot be stepped again: {error}"
        else:
            sentence = self._replay.take(recorded)
        self._over = bool(sentence)
        return sentence

    async def _fetch(self, handles: Iterable[bytes]) -> None:
        """Bring the large values that a row names into memory; one that is missing is found when it is needed."""
        wanted = [digest for digest in handles if digest not in self._resident]
        for start in range(0, len(wanted), BLOBS_AT_ONCE):
            bodies = await self._store.blobs(self._tenant, wanted[start : start + BLOBS_AT_ONCE])
            self._resident.update((digest, decode_value(body)) for digest, body in bodies.items())


def _decoded(journaled: JournalRow) -> RowBody:
    first = journaled.first_seq
    if journaled.level > LEVEL:
        raise Unreadable(
            f"the journal row at fact {first} was written at level {journaled.level}; this Perdure reads up to {LEVEL}"
        )
    try:
        return decode_row(journaled.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable(f"the journal row at fact {first} cannot be read: {error}") from error


def _unreadable(body: RowBody) -> str:
    """What is wrong with the first value that stands in a row and is none."""
    try:
        for raw in values_of((*body.inputs, *body.facts)):
            decode_value(raw)
    except (msgspec.MsgspecError, ValueError) as error:
        return str(error)
    return ""


def _unsound(bodies: dict[bytes, bytes], wanted: Iterable[bytes], handles: dict[bytes, int]) -> Iterator[str]:
    for digest in wanted:
        body = bodies.get(digest)
        if body is None:
            yield f"the large value {digest.hex()[:12]} that the journal names is missing"
        elif len(body) != handles[digest] or hashlib.sha256(body).digest() != digest:
            yield f"the large value {digest.hex()[:12]} is not what was stored under this digest"


def _shown(value: str | bytes) -> str:
    return value.hex()[:12] if isinstance(value, bytes) else repr(value)
