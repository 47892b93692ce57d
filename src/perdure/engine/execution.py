"""What is true now: an execution, its frames, its node instances. `evolution.py` alone writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Raw, Struct, field

from perdure.engine.events import NOTHING, Token
from perdure.errors import Failure
from perdure.ids import instance_path

# The states of a node instance (rule 1). Numbers stay; the order says: active below FINAL, final from there on.
RUNNING, WAITING, BACKOFF, PARKED, OPEN = 1, 2, 3, 4, 5  # OPEN: a container that is running
SUCCEEDED, FAILED, CANCELLED, SKIPPED = 10, 11, 12, 13
FINAL = SUCCEEDED
STATE_NAMES = {
    0: "pending", RUNNING: "running", WAITING: "waiting", BACKOFF: "waiting", PARKED: "parked", OPEN: "running",
    SUCCEEDED: "succeeded", FAILED: "failed", CANCELLED: "cancelled", SKIPPED: "skipped",
}  # fmt: skip


class FrameEnd(Struct, kw_only=True, omit_defaults=True):
    """How a frame with a name ended. `seq`: of the fact that closed it."""

    status: str
    value: Raw = NOTHING
    error: Failure | None = None
    seq: int = 0


class Progress(Struct, kw_only=True, omit_defaults=True):
    """How far a container has come, or whatever else takes more than an attempt: a join, a child, a condition."""

    items: Raw = NOTHING
    added: list[tuple[Raw, int]] = field(default_factory=list)  # lists of items that came later, with their lengths
    accepts: bool = False
    total: int = -1
    concurrency: int = 0
    tolerate: int = 0
    iterations_max: int = 0
    keep: int = -1
    next: int = 0  # the iteration or branch that opens next
    open: int = 0  # frames
    succeeded: int = 0
    failed: int = 0
    continued: int = 0
    cancelled: int = 0
    through: int = 0  # all iterations below this one have ended
    ahead: dict[int, bool] = field(default_factory=dict)  # those above it that have
    results: dict[int, Raw] = field(default_factory=dict)  # by iteration, as far as they are not put away or folded
    lowest: int = 0  # where only the last are kept: no iteration below this one is among them
    chunks: list[Raw] = field(default_factory=list)  # lists of results that were put away
    chunked: int = 0  # the results of all iterations below this one are in there
    reduced: Raw = NOTHING
    carry: Raw = NOTHING
    last: Raw = NOTHING
    failures: list[tuple[int, Failure]] = field(default_factory=list)
    error: Failure | None = None  # of the first failure that is not tolerated
    breaks: list[int] = field(default_factory=list)  # iterations that broke it
    failed_first: bool = False  # a failure that is not tolerated came before any break
    until: bool = False
    named: dict[str, FrameEnd] = field(default_factory=dict)  # how frames with a name ended
    kept: list[str] = field(default_factory=list)  # frames that have ended and may still be read
    winners: tuple[str, ...] = ()
    timeout_at: int = 0
    cleanup_at: int = 0
    child: bytes = b""
    every: int = 0
    touched: int = 0  # seq of the last fact that may let it go on
    begun: int = 0  # seq of the fact that began its first attempt; 0 in states that were kept before this was remembered

    @property
    def broken_by(self) -> int | None:
        """The lowest iteration that broke the loop (rule 29)."""
        return min(self.breaks, default=None)


class Instance(Struct, kw_only=True, omit_defaults=True):
    """A node instance: (frame path, node, visit). A node without one is pending."""

    node: str
    visit: int = 1
    state: int = 0
    attempt: int = 0
    ports: tuple[str, ...] = ()
    output: Raw = NOTHING
    error: Failure | None = None
    cause: str = ""
    broken: bool = False
    unknown: bool = False
    pure: bool = False
    params: Raw = NOTHING
    generation: int = 0
    crashes: int = 0
    paused: int = 0  # of a backoff that began in this pause: how long that had lasted, microseconds
    unasked: bool = False  # it was lost in a pause, and is asked for again when that is over
    unbegun: bool = False  # a worker that stops has never begun it, and whoever takes over asks for it again
    used: dict[int, int] = field(default_factory=dict)  # attempts counted by each retry policy
    failures: list[dict[str, Any]] = field(default_factory=list)  # one per failed attempt, newest last, bounded
    question: str = ""
    stopping: str = ""
    stopping_deadline: bool = False
    by_hand: bool = False  # its attempt was asked for by an operator, and is the last (rule 14)
    then: str = ""  # how it ends when it has stopped, unless cancelled: `complete`, `timeout`, `deadline`
    wait: str = ""
    wait_name: str = ""
    wait_key: str = ""
    due: int = 0
    wait_timeout_at: int = 0
    deadline_at: int = 0
    timeout: int = 0
    queue_timeout: int = 0
    heartbeat: int = 0
    grace: int = 0
    ready: int = 0
    started: int = 0
    finished: int = 0
    seq: int = (
        0  # of the fact that made it final, the moment its edges resolved; while it waits, of the fact that began the wait
    )
    absolute: bool = False  # its due time is a moment of the calendar
    lock: str = ""  # the key of the lock it holds
    shielded: bool = False  # a join bears its failure
    perhaps: bool = False  # an attempt that is over may have happened, though it brought no result
    progress: Progress | None = None

    @property
    def final(self) -> bool:
        return self.state >= FINAL


class Departure(Struct, kw_only=True, omit_defaults=True):
    """Why and how a frame is being left."""

    kind: str
    cause: str
    error: Failure | None = None
    value: Raw = NOTHING
    by: str = ""
    hard: bool = False
    drained: bool = False
    cleanup_at: int = 0


class Return(Struct, kw_only=True, omit_defaults=True):
    """An `again` edge that was taken, while its region is being left."""

    source: str
    target: str


class Frame(Struct, kw_only=True, omit_defaults=True):
    """One activation of a scope."""

    path: str = ""
    scope: str = ""
    opened: int = 0  # seq of the fact that opened it
    instances: dict[str, Instance] = field(default_factory=dict)
    variables: dict[str, Raw] = field(default_factory=dict)
    departure: Departure | None = None
    parent: str = ""  # path of the frame around it
    node: str = ""  # its container there; empty: it is the workflow's own
    visit: int = 1
    name: str = ""  # of its scope, as paths have it
    index: int = -1  # of its iteration
    timeout_at: int = 0
    closed: bool = False  # it has ended and is kept for those who read it
    bound: Raw = NOTHING  # the names that a compensation sees
    compensates: int = 0  # the registration that it carries out
    visits: dict[str, int] = field(default_factory=dict)  # of nodes that were visited again
    previous: dict[str, Raw] = field(default_factory=dict)  # outputs of earlier visits
    returned: dict[str, Failure] = field(default_factory=dict)  # targets, by the failure that led back to them
    returns: list[Return] = field(default_factory=list)
    writers: dict[str, tuple[str, str]] = field(default_factory=dict)  # frame and node that wrote a `merge: error` variable

    def visit_of(self, node: str) -> int:
        """The present visit of a node."""
        return self.visits.get(node, 1) if self.visits else 1


class Compensation(Struct, kw_only=True, omit_defaults=True):
    """What undoes a node that has succeeded, until a rollback runs it (rule 39). `seq`: of the fact that registered it."""

    frame: str
    node: str
    visit: int = 1
    scope: str = ""
    input: Raw = NOTHING
    output: Raw = NOTHING
    names: Raw = NOTHING
    seq: int = 0


class DetachedChild(Struct, kw_only=True, omit_defaults=True):
    """A child that nobody waits for, and what becomes of it when its parent ends first."""

    execution: bytes
    on_parent_close: str


class KeptSignal(Struct, kw_only=True, omit_defaults=True):
    """A signal that nobody waits for yet."""

    id: str
    name: str
    key: str = ""
    path: str = ""
    payload: Raw = NOTHING
    until: int = 0  # microseconds UTC when it is forgotten, 0 = with the execution


class Execution(Struct, kw_only=True, omit_defaults=True):
    """One run, pinned to one definition: the fold of its journal."""

    id: bytes = b""
    tenant: str = "default"
    workflow: str = ""
    digest: bytes = b""
    lock: dict[str, int] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    input: Raw = NOTHING
    trigger: Raw = NOTHING
    priority: int = 3
    key: str = ""
    by: str = ""
    parent: bytes = b""
    relation: str = ""
    attempt: int = 1
    children: dict[str, bytes] = field(default_factory=dict)
    depth: int = 0
    awaited: Token | None = None
    started: int = 0
    timeout_at: int = 0
    soft_timeout_at: int = 0
    paused_at: int = 0
    seq: int = 0
    at: int = 0
    frames: dict[str, Frame] = field(default_factory=dict)
    signals: list[KeptSignal] = field(default_factory=list)
    compensations: list[Compensation] = field(default_factory=list)
    detached: list[DetachedChild] = field(default_factory=list)
    status: str = ""  # only the final one is remembered; the others follow from the instances
    output: Raw = NOTHING
    error: Failure | None = None

    @property
    def ended(self) -> bool:
        return self.status != ""

    def instance(self, token: Token) -> Instance | None:
        """The instance a token speaks of, whatever its attempt; None where its frame or visit is gone."""
        frame = self.frames.get(token.frame)
        found = frame.instances.get(token.node) if frame is not None else None
        return found if found is not None and found.visit == token.visit else None

    def instances(self) -> Iterator[tuple[Frame, Instance]]:
        """All instances of all open frames."""
        for frame in self.frames.values():
            for instance in frame.instances.values():
                yield frame, instance


def path_of(frame: Frame, instance: Instance) -> str:
    """The path of an instance, as people and keys know it."""
    return instance_path(frame.path, instance.node, instance.visit)
