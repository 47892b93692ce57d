"""What a store must do: the one seam between Perdure and a database, as records and one protocol of small nouns.

Every store passes the same suite (`perdure.testing.stores`). Times are microseconds UTC; bodies are bytes the store never
reads. All methods are coroutines, so that a distributed store may wait; the embedded one answers without suspending.

Errors: the `StoreError` family of `perdure.errors`, never a driver's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from perdure.errors import StoreError
from perdure.ids import ExecutionId, id_text
from perdure.store.feed import FeedLag, FeedPage
from perdure.store.tasks import Task, TaskName, TaskStop, TaskStore

TENANT = "default"

# How an execution's row tells its state to those who do not fold its journal. Numbers never change.
STATUSES = (
    "queued", "running", "waiting", "paused", "parked", "closing",  # may go on
    "succeeded", "failed", "cancelled", "timed_out",  # final
)  # fmt: skip
STATUS_NUMBER = {name: number for number, name in enumerate(STATUSES)}
FIRST_FINAL = STATUS_NUMBER["succeeded"]


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """A new execution's row, written together with its first turn. `key` and `fingerprint`: rule 55; key "" = none.

    `home` is the worker that starts it and keeps it; "" when nobody does, then its first turn releases it with a wake time.
    Its epoch is that of its first turn in the batch (0 without one). `priority`: 1 (first) to 5. `parent` is the execution
    whose step starts it, None when it comes from outside: then it is written only if that execution's turn is.
    """

    execution: ExecutionId
    tenant: str
    workflow: str
    digest: bytes
    created: int
    priority: int = 3
    key: str = ""
    fingerprint: bytes = b""
    home: str = ""
    parent: ExecutionId | None = None


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One step of one execution: its journal row and what its narrow row says afterwards.

    `count` facts from `first_seq` on; `last_seq = first_seq + count - 1` is the new seq of the execution's row. A turn of
    count 0 writes no journal row (it only releases, or consumes). `release`: the execution leaves its home; then `wake` is
    when it must be looked at again (None: only when a message comes) and the epoch stays as it is.
    """

    execution: ExecutionId
    epoch: int
    first_seq: int
    count: int
    at: int
    level: int
    body: bytes
    status: int
    consumed: tuple[int, ...] = ()  # positions of inbox rows that this step took in
    release: bool = False
    wake: int | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Something for an execution, deduplicated by (execution, source, key) for as long as the execution lives.

    `source` is the kind of sender (`signal`, `operator`, `child`, `callback`, `event`), `key` its id there. `sender` is the
    execution whose step sends it, None when it comes from outside: in a batch it is written only if that execution's turn is.
    """

    execution: ExecutionId
    source: str
    key: str
    at: int
    body: bytes
    sender: ExecutionId | None = None


class Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """A message as its receiver finds it. `position` orders the inbox and is what a turn names as consumed."""

    position: int
    message: Message


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the durable event log. `id` is unique per tenant; a repeat is dropped.

    `execution` is the one whose step emitted it, None when it comes from outside. `notice` is the body of the message that
    subscribers get; the log does not keep it.
    """

    id: str
    tenant: str
    type: str
    source: str
    subject: str
    at: int
    execution: ExecutionId | None
    body: bytes
    notice: bytes = b""


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """An execution waits for events of a type. It lasts until it is taken back or the execution has ended."""

    tenant: str
    type: str
    execution: ExecutionId


class LockClaim(msgspec.Struct, frozen=True, kw_only=True):
    """An instance, named by (execution, path), wants a named mutex, or gives it back. One holder for (tenant, key)."""

    tenant: str
    key: str
    execution: ExecutionId
    path: str


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """A large value under its SHA-256 digest over `body` (day-one 20)."""

    tenant: str
    digest: bytes
    body: bytes


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A cache of a folded state: right up to and including fact `seq`, readable by the fold of version `fold` only."""

    execution: ExecutionId
    seq: int
    fold: int
    body: bytes


class Batch(msgspec.Struct, kw_only=True):
    """All that one transaction writes. Blobs it names must be among `blobs` or already durable.

    Unsubscriptions take effect before subscriptions, and those before events: an execution that begins to wait in the commit of
    an event gets it. Both are idempotent. `unlocks` let go of what exactly this (execution, path) holds, and of nothing else.

    `task_ends` go first, `task_stops` last; both concern exactly the tasks they name. `tasks` take the place of older ones of
    their paths.
    """

    starts: list[Start] = msgspec.field(default_factory=list)
    turns: list[Turn] = msgspec.field(default_factory=list)
    blobs: list[Blob] = msgspec.field(default_factory=list)
    messages: list[Message] = msgspec.field(default_factory=list)
    events: list[Event] = msgspec.field(default_factory=list)
    snapshots: list[Snapshot] = msgspec.field(default_factory=list)
    subscriptions: list[Subscription] = msgspec.field(default_factory=list)
    unsubscriptions: list[Subscription] = msgspec.field(default_factory=list)
    unlocks: list[LockClaim] = msgspec.field(default_factory=list)
    tasks: list[Task] = msgspec.field(default_factory=list)
    task_stops: list[TaskStop] = msgspec.field(default_factory=list)
    task_ends: list[TaskName] = msgspec.field(default_factory=list)


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch. All that is named in neither field is durable.

    `fenced`: executions whose epoch moved on (someone else is their home now), or whose turn does not follow on their last fact
    (an earlier commit was written though its answer was lost); nothing of theirs was written. Fold them again, or forget them.
    `duplicates`: starts whose (tenant, workflow, key), or whose id, was taken meanwhile; nothing of theirs was written.
    """

    fenced: frozenset[ExecutionId] = frozenset()
    duplicates: frozenset[ExecutionId] = frozenset()


class ExecutionsRefused(StoreError):
    """The database refused what these executions wrote, each alone; all others of the batch are durable.

    `refused`: the sentence of the database per execution; nothing of theirs was written, so park them. `committed`: what
    became of the others.
    """

    code = "store.executions_refused"

    def __init__(self, refused: Mapping[ExecutionId, str], committed: Committed) -> None:
        self.refused = dict(refused)
        self.committed = committed
        execution, reason = next(iter(self.refused.items()))
        more = f" (and {len(self.refused) - 1} more)" if len(self.refused) > 1 else ""
        super().__init__(
            f"Expected every row of the batch to be storable, but the database refused {id_text(execution)}{more}: {reason}",
            remedy="Park the execution and look at its last step; all others were written.",
        )


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An execution's narrow row."""

    execution: ExecutionId
    tenant: str
    workflow: str
    digest: bytes
    created: int
    updated: int
    priority: int
    status: int
    home: str  # worker id, "" = nobody's
    epoch: int
    seq: int
    level: int
    wake: int | None
    key: str


class JournalRow(msgspec.Struct, frozen=True, kw_only=True):
    """One step as it was journaled."""

    execution: ExecutionId
    first_seq: int
    count: int
    at: int
    level: int
    body: bytes


class KeyedStart(msgspec.Struct, frozen=True, kw_only=True):
    """What an idempotency key stands for."""

    execution: ExecutionId
    fingerprint: bytes


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """A definition as saved: canonical JSON with its `ui:` parts, and the lock it was saved with (JSON)."""

    digest: bytes
    tenant: str
    name: str
    created: int
    document: bytes
    lock: bytes
    origin: str = ""  # where it came from, for people: a file's path


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is doing, as it last said. `lag`: microseconds by which its event loop came late at most, since before.

    `running` attempts have one of the `slots`, `queued` ones wait; `executions` are at home with it. `state`: `ready`, or
    `draining` when it takes nothing more.
    """

    version: str = ""
    state: str = "ready"
    slots: int = 0
    running: int = 0
    queued: int = 0
    executions: int = 0
    lag: int = 0


def read_load(text: str) -> Load | None:
    """A load as a store keeps it, as JSON; None where there is none, or one that only a newer release reads."""
    try:
        return msgspec.json.decode(text, type=Load) if text else None
    except msgspec.MsgspecError:
        return None


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A process that is a home for executions. `alive` is judged by the store (embedded: the lock it holds on a file; else: its
    lease). `heard`: microseconds UTC, when it was last heard of; 0: it has said nothing since it became known. `labels`: what
    it has that others may not.
    """

    worker: str
    host: str
    pid: int
    started: int
    level: int
    alive: bool
    heard: int = 0
    load: Load | None = None
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)


class BlobName(msgspec.Struct, frozen=True, kw_only=True):
    """A blob without its body. `size`: bytes."""

    tenant: str
    digest: bytes
    size: int


class Space(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that the store takes up beside its blob files, and how many of them it has free for what comes next.

    `free`: 0 where the database does not tell.
    """

    total: int
    free: int


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Counters since the store was opened, for benchmarks and the guard on costs."""

    transactions: int
    statements: int
    rows: int
    bytes: int


class Store(TaskStore, Protocol):
    """A durable store. Made by its module's `open_store`; closed by `close`."""

    # -- the writer ---------------------------------------------------------------------------------------------------
    @property
    def commits_apart(self) -> bool:
        """Does a commit leave the loop to others while it is waited for? Then they have something to do meanwhile."""
        ...

    async def commit(self, batch: Batch) -> Committed:
        """Write all of it in one transaction that is on disk when this returns, or none of it (raises StoreError).

        Left out, and named in the answer: what belongs to a fenced execution or a duplicate start, which is its turns,
        snapshots, events, subscriptions, unlocks, tasks, the messages it sends and the children it starts (named as fenced).
        Messages to unknown executions are dropped, repeats of messages and events too. Each position in `consumed` must be in
        the execution's inbox still. Each event names the execution whose step emitted it; those from outside go by `publish`.

        A new event reaches its subscribers in this transaction: each execution that is not final gets a message with source
        `event`, the event's id as its key, and the event's notice as its body, accepted once like any other. An execution whose
        status becomes final loses its subscriptions and its locks in this transaction.

        Where the way to a server is lost over it, StoreBusy is raised though all of it may be written: fold the executions
        again before the next turn. A turn that is sent twice is fenced, since it does not follow on the last fact any more.

        The one exception to all or nothing: rows that the database refuses for what they hold (a text that is no Unicode, a
        number beyond 64 bits, a consumed position that is gone). Then the batch is halved, by execution, until the guilty ones
        stand alone; all others are committed, in several transactions, and ExecutionsRefused names the guilty. A blob that
        is refused fails the batch as a whole. Should the disk fail between the halves, the first ones stay written: after
        any StoreError the writer folds its executions again.
        """
        ...

    # -- executions ---------------------------------------------------------------------------------------------------
    async def row(self, execution: ExecutionId) -> Row | None: ...

    async def rows(
        self,
        *,
        tenant: str = TENANT,
        workflow: str | None = None,
        statuses: Sequence[int] | None = None,
        before: ExecutionId | None = None,
        limit: int = 100,
    ) -> list[Row]:
        """Executions, newest first. `before` pages on."""
        ...

    async def claim(
        self, worker: str, now: int, *, limit: int, level: int, only: Sequence[ExecutionId] | None = None
    ) -> list[Row]:
        """Make `worker` the home of executions that have none or whose home is dead: epoch + 1, wake cleared.

        Without `only`: those whose home is dead, whose wake time has come, or that have messages waiting; by priority, then
        wake time. With `only`: exactly these, if nobody living has them and they are not final. Never one of a newer level.
        The rows are as they are after the claim, but that `home` names the former home, which is dead: "" when it had none,
        since the last one released it or left. What an earlier claim took whose answer was lost comes with the next one.
        Raises StoreError when `worker` was not registered here.
        """
        ...

    async def keyed(self, tenant: str, workflow: str, key: str) -> KeyedStart | None: ...

    # -- journal ------------------------------------------------------------------------------------------------------
    async def journal(self, execution: ExecutionId, *, after: int = 0, limit: int = 10_000) -> list[JournalRow]:
        """Rows with first_seq > after, in order; none of an execution that was removed."""
        ...

    async def snapshot(self, execution: ExecutionId) -> Snapshot | None: ...

    # -- feed ---------------------------------------------------------------------------------------------------------
    async def feed(
        self,
        *,
        after: str = "",
        tenant: str | None = None,
        execution: ExecutionId | None = None,
        limit: int = 1_000,
        latest: bool = False,
    ) -> FeedPage:
        """Look at the next `limit` steps of the store after a cursor, from the beginning without one; those of the selection.

        Nothing that a cursor has passed appears later: no step is left out since it was committed late, none comes twice, and
        those of one execution come in their order, where each of its commits began after the one before had ended. Between
        executions nothing is promised but that every reader sees the same order. What was removed does not come, and is told
        as a gap where it was removed since the cursor was given. With `latest` no row, but the cursor behind all of them.

        Raises CursorRefused where the cursor is of another store, selection or history; NotFound where there is no such
        execution, or no more.
        """
        ...

    async def feed_lag(self) -> FeedLag | None:
        """The oldest open transaction that keeps what is on disk from being read in the feed; None where nothing can."""
        ...

    # -- inbox --------------------------------------------------------------------------------------------------------
    async def send(self, messages: Sequence[Message]) -> list[bool]:
        """Put messages into inboxes; True per message that is new, False per repeat. Unknown executions raise NotFound."""
        ...

    async def arrived(self, worker: str, *, limit: int = 1_000, after: int = 0) -> list[Arrived]:
        """Messages (position > after, in order) for executions whose home is `worker`."""
        ...

    async def inbox(self, execution: ExecutionId, *, limit: int = 1_000) -> list[Arrived]: ...

    # -- definitions --------------------------------------------------------------------------------------------------
    async def save_definition(self, definition: Definition) -> None:
        """Idempotent: a digest already there stays as it is."""
        ...

    async def definition(self, digest: bytes, *, tenant: str = TENANT) -> Definition | None: ...

    async def definitions(self, name: str, *, tenant: str = TENANT) -> list[Definition]:
        """All with this name, newest first."""
        ...

    async def definitions_since(self, position: int, *, limit: int = 100) -> list[tuple[int, Definition]]:
        """The next ones of all tenants in the order in which they were saved, each with its position; from 0 on all."""
        ...

    # -- blobs --------------------------------------------------------------------------------------------------------
    async def save_blobs(self, blobs: Sequence[Blob]) -> None:
        """Make blobs durable on their own, ahead of the step that names them. Idempotent.

        To save one that is there already, here or in a commit, makes it young again for `old_blobs`.
        """
        ...

    async def blobs(self, tenant: str, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those that are there."""
        ...

    # -- events -------------------------------------------------------------------------------------------------------
    async def publish(self, events: Sequence[Event]) -> list[bool]:
        """Append events from outside, in a transaction of their own, and tell their subscribers; True per event that is new."""
        ...

    async def events(
        self,
        *,
        tenant: str = TENANT,
        type: str | None = None,
        after: int = 0,
        since: int = 0,
        limit: int = 100,
        latest: bool = False,
    ) -> list[tuple[int, Event]]:
        """Events in the order of the log, each with its position; `since`: only those whose `at` is not before it.

        The first `limit` beyond position `after`, or with `latest` the last `limit` of them.
        """
        ...

    # -- locks --------------------------------------------------------------------------------------------------------
    async def acquire(self, claims: Sequence[LockClaim]) -> list[bool]:
        """Take free locks, in one transaction; True where exactly this (execution, path) holds it now, or held it already.

        False where another holds it; of several claims to one lock the first in the list wins. False also where the execution
        is final or unknown: nobody would ever give the lock back.
        """
        ...

    async def holder(self, tenant: str, key: str) -> tuple[ExecutionId, str] | None:
        """The (execution, path) that holds a lock."""
        ...

    # -- workers ------------------------------------------------------------------------------------------------------
    async def register(self, worker: str, *, now: int, level: int, labels: Mapping[str, str] | None = None) -> None:
        """Become known as a home with these labels; from now on this process is alive until it dies or calls `leave`.

        What an earlier process of the same name still held goes free. Raises StoreError while a living process has the name.
        """
        ...

    async def leave(self, worker: str) -> None:
        """No longer a home. Executions still held go free for others."""
        ...

    async def workers(self) -> list[Worker]: ...

    async def report(self, worker: str, load: Load, *, now: int) -> None:
        """Say what a worker of this process is doing, for people. It may be written later, with others, or not at all."""
        ...

    def leased(self) -> bool:
        """Cheap: may this process still start effects for its workers (day-one 23)? It keeps its own time, and asks nobody.

        False where others may take it for dead by now; what it commits is fenced then. Where a death is known at once,
        always True.
        """
        ...

    def lost(self) -> bool:
        """Cheap: have others taken a worker of this process for dead, for good? What it had is theirs. `register` under another
        name makes the process alive again, and forgets the dead one.
        """
        ...

    def offset(self) -> int:
        """Microseconds by which the store's clock is ahead of this process's; 0 where they share one."""
        ...

    async def changed(self) -> bool:
        """Cheap: has another process, or this one by `send`, `publish` or a commit, left something for a home since this was
        last asked: a message, an execution that is free, a lock that was let go? (May say yes when in doubt.)
        """
        ...

    async def wait_changed(self, seconds: float) -> bool:
        """Sleep until `changed` may say yes, but no longer than this; whether it may. What `changed` says stays as it is."""
        ...

    # -- retention ----------------------------------------------------------------------------------------------------
    async def finished(
        self, before: int, *, after: ExecutionId | None = None, limit: int = 1_000
    ) -> tuple[list[Row], ExecutionId | None]:
        """Looks at the next `limit` executions of all tenants that began before `before`, oldest first; those that had ended.

        Had ended: they are final and their `updated` is before `before`. The second answer is what to go on after; None when
        all have been looked at. One call looks at no more rows than `limit`, whatever it finds.
        """
        ...

    async def remove(self, executions: Sequence[ExecutionId]) -> list[ExecutionId]:
        """Remove executions with everything of theirs, their idempotency keys too, in one transaction; those that are gone now.

        One that is not final, or not there, is left out. What is removed is found by no call from now on, and its key may
        start another one. The rows themselves may stay on the disk until `reclaim`: a store that keeps journals in partitions
        drops a partition when nothing living is in it.
        """
        ...

    async def reclaim(self, limit: int) -> int:
        """Clear away what `remove` has left behind, then give free room back to the disk, in one short transaction.

        At most `limit` rows, or pages of that room; how many it were, 0 when nothing is left to do now. A partition of history
        counts as one row. A part of the store stays free for what comes next.
        """
        ...

    async def forget_events(self, before: int, *, limit: int) -> int:
        """Drop from the beginning of the log at most `limit` events whose `at` is before `before`; how many they were.

        0 when the log begins with younger ones. The id of an event that is dropped is new again.
        """
        ...

    async def bodies(self, *, after: str = "", limit: int = 1_000) -> tuple[list[tuple[ExecutionId | None, bytes]], str]:
        """Every body in which a blob may be named, in pages of at most `limit`, each with its execution (an event's: None).

        Messages come before journals. The second answer is what to go on after, "" when all have been read. What is written
        meanwhile may be missing.
        """
        ...

    async def old_blobs(self, *, unsaved: int, after: str = "", limit: int = 1_000) -> tuple[list[BlobName], str]:
        """Blobs that nobody has saved, not even once more, for `unsaved` microseconds, in pages as `bodies` gives them."""
        ...

    async def drop_blobs(self, blobs: Sequence[BlobName], *, unsaved: int) -> list[BlobName]:
        """Drop blobs that nobody has saved for `unsaved` microseconds, judged once more; those that are gone now."""
        ...

    async def lease(self, name: str, holder: str, *, now: int, until: int) -> bool:
        """Have a chore alone, or go on having it, until `until`; False while another holder has it beyond `now`.

        With `until` not after `now` the holder gives it back.
        """
        ...

    async def space(self) -> Space: ...

    # -- care ---------------------------------------------------------------------------------------------------------
    def usage(self) -> Usage: ...

    async def check(self) -> list[str]:
        """The database's own integrity check; one sentence per finding, none when sound."""
        ...

    async def close(self) -> None: ...
