"""All facts (what happened, past tense) and all inputs (what came in): the whole of what a journal holds.

Facts are self-sufficient: the fold never needs a plan (day-one 8). Tags carry a version; a field is never renamed or
reused, new fields are optional with a default, a new meaning is a new tag (day-one 9). Short names are what is stored.
Times are microseconds UTC, durations microseconds, 0 = none. Values are msgpack (`Raw`), or a blob's handle.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from perdure.errors import Failure

NOTHING = Raw(b"\xc0")  # msgpack null. A field is never `Raw | None`: msgspec decodes that as null only


class Token(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt of one node instance: whoever holds it may report its result (day-one 15)."""

    frame: str = field(default="", name="f")
    node: str = field(name="n")
    visit: int = field(default=1, name="v")
    attempt: int = field(default=1, name="a")


# -- facts ---------------------------------------------------------------------------------------------------------------


class Fact(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t"):
    """Something that happened in an execution."""


class Started(Fact, tag="started.1", frozen=True, kw_only=True):
    """The execution began: what it was asked, and the exact definition it is pinned to (day-one 13)."""

    execution: bytes = field(name="x")
    at: int = field(name="at")
    tenant: str = field(default="default", name="tn")
    workflow: str = field(name="w")
    digest: bytes = field(name="d")
    lock: dict[str, int] = field(default_factory=dict, name="l")
    sources: dict[str, str] = field(default_factory=dict, name="so")  # module digests of users' nodes (day-one 10)
    input: Raw = field(default=NOTHING, name="i")
    trigger: Raw = field(default=NOTHING, name="tr")
    priority: int = field(default=3, name="p")
    key: str = field(default="", name="k")
    by: str = field(default="", name="by")
    parent: bytes = field(default=b"", name="pa")  # the execution this one retries or was handed over from
    relation: str = field(default="", name="re")
    attempt: int = field(default=1, name="a")
    timeout_at: int = field(default=0, name="ta")
    soft_timeout_at: int = field(default=0, name="sa")
    children: dict[str, bytes] = field(default_factory=dict, name="ch")  # workflow → the digest it is pinned to (rule 40)
    depth: int = field(default=0, name="de")  # how many parents wait for it
    awaited: Token | None = field(default=None, name="aw")  # what waits for its end, in `parent`


class InstanceFact(Fact, frozen=True, kw_only=True):
    """A fact about one node instance."""

    frame: str = field(default="", name="f")
    node: str = field(name="n")
    visit: int = field(default=1, name="v")


class Scheduled(InstanceFact, tag="scheduled.1", frozen=True, kw_only=True):
    """An attempt may start once this is durable. It is also the intent that `at_most_once` needs (rule 53)."""

    attempt: int = field(default=1, name="a")
    params: Raw = field(default=NOTHING, name="p")  # of the first attempt; a retry keeps them (rule 51)
    generation: int = field(default=0, name="g")
    pure: bool = field(default=False, name="pu")  # an evaluation that outgrew the step's budget (day-one 30)
    ready: int = field(default=0, name="r")
    timeout: int = field(default=0, name="to")
    queue_timeout: int = field(default=0, name="qt")
    heartbeat: int = field(default=0, name="hb")
    grace: int = field(default=0, name="gr")
    deadline_at: int = field(default=0, name="da")


class Retrying(InstanceFact, tag="retrying.1", frozen=True, kw_only=True):
    """An attempt failed and the next one is due; the wait holds no slot (rule 42)."""

    attempt: int = field(default=1, name="a")  # the one that failed
    error: Failure = field(name="e")
    policy: int = field(default=0, name="po")  # which policy of the list counts it
    due: int = field(name="du")
    started: int = field(default=0, name="st")
    finished: int = field(default=0, name="fi")
    paused: int = field(default=0, name="pd")  # microseconds that the pause had lasted in which the attempt failed


class Lost(InstanceFact, tag="lost.1", frozen=True, kw_only=True):
    """The attempt's worker went away without a result. The attempt is repeated and not used up (rule 52)."""

    attempt: int = field(default=1, name="a")
    crashed: bool = field(default=True, name="c")  # False: the worker stopped in good order
    unbegun: bool = field(default=False, name="u")  # that worker never began it; the next home asks for it again


class Waiting(InstanceFact, tag="waiting.1", frozen=True, kw_only=True):
    """The instance waits and holds no slot.

    `kind`: `delay`, `until`, `signal`, `deferred`, `condition`, `event`, `join`, `lock`, `child`.
    `name` and `key` are what it waits for: of a signal, an event's type, a lock's key, a child's workflow and digest.
    """

    kind: str = field(name="k")
    attempt: int = field(default=0, name="a")
    due: int = field(default=0, name="du")  # when the wait ends by itself
    timeout_at: int = field(default=0, name="ta")  # when it gives up
    deadline_at: int = field(default=0, name="da")
    name: str = field(default="", name="nm")
    key: str = field(default="", name="ky")
    every: int = field(default=0, name="ev")  # how often a condition is judged anew
    absolute: bool = field(default=False, name="ab")  # `due` is a moment of the calendar: a pause does not shift it (rule 45)
    child: bytes = field(default=b"", name="ch")  # the execution that is waited for (rule 40)
    params: Raw = field(default=NOTHING, name="p")  # the child's input
    ready: int = field(default=0, name="r")


class Rescheduled(InstanceFact, tag="rescheduled.1", frozen=True, kw_only=True):
    """The end of a wait was moved: by an operator, or to the next time a condition is judged. 0: stays as it is."""

    due: int = field(default=0, name="du")
    timeout_at: int = field(default=0, name="ta")
    by: str = field(default="", name="by")


class Locked(InstanceFact, tag="locked.1", frozen=True, kw_only=True):
    """The instance holds the lock that it waited for, until it is final (rule 59)."""

    key: str = field(name="ky")


class Unlocked(Fact, tag="unlocked.1", frozen=True, kw_only=True):
    """The lock of an instance that became final is free."""

    frame: str = field(default="", name="f")
    node: str = field(name="n")
    visit: int = field(default=1, name="v")
    key: str = field(name="ky")


class Opened(InstanceFact, tag="opened.1", frozen=True, kw_only=True):
    """A container began an attempt. All it was given was evaluated once (rule 24)."""

    attempt: int = field(default=1, name="a")
    items: Raw = field(default=NOTHING, name="i")  # a list
    total: int = field(default=-1, name="tt")  # of items or branches; -1 = not known
    concurrency: int = field(default=0, name="cc")  # 0 = no bound
    tolerate: int = field(default=0, name="tl")
    iterations_max: int = field(default=0, name="im")  # 0 = no bound
    keep: int = field(default=-1, name="ke")  # results of how many iterations; -1 = all
    carry: Raw = field(default=NOTHING, name="ca")
    reduced: Raw = field(default=NOTHING, name="rd")
    accepts: bool = field(default=False, name="ac")  # items may be added (rule 28)
    ready: int = field(default=0, name="r")
    timeout_at: int = field(default=0, name="ta")
    deadline_at: int = field(default=0, name="da")


class Done(InstanceFact, tag="done.1", frozen=True, kw_only=True):
    """The instance succeeded."""

    attempt: int = field(default=0, name="a")  # 0: no attempt was needed (pure, control)
    output: Raw = field(default=NOTHING, name="o")
    ports: tuple[str, ...] = field(default=("out",), name="p")
    started: int = field(default=0, name="st")
    finished: int = field(default=0, name="fi")
    by: str = field(default="", name="by")  # an operator who completed it
    winners: tuple[str, ...] = field(default=(), name="wi")  # of a quorum, in order of arrival (rule 22)


class NodeFailed(InstanceFact, tag="failed.1", frozen=True, kw_only=True):
    """The instance failed for good. `ports`: the handler's edge that goes live; empty = nobody on the node handles it."""

    attempt: int = field(default=0, name="a")
    error: Failure = field(name="e")
    ports: tuple[str, ...] = field(default=(), name="p")
    started: int = field(default=0, name="st")
    finished: int = field(default=0, name="fi")
    shielded: bool = field(default=False, name="sh")  # a join bears it: the frame's policy does not speak (rule 18)


class Skipped(InstanceFact, tag="skipped.1", frozen=True, kw_only=True):
    """The instance will not run. `broken`: because something it depends on failed (rules 4, 5)."""

    cause: str = field(name="c")
    broken: bool = field(default=False, name="b")


class Stopping(InstanceFact, tag="stopping.1", frozen=True, kw_only=True):
    """A running attempt was asked to stop (rule 12). `deadline`: and then it failed in time, rather than was cancelled."""

    cause: str = field(name="c")
    deadline: bool = field(default=False, name="d")
    then: str = field(default="", name="th")  # how it ends then, unless cancelled: `timeout`, `deadline`, `complete`
    cleanup_at: int = field(default=0, name="cl")  # when the budget for cleaning up is used (rule 38)


class NodeCancelled(InstanceFact, tag="cancelled.1", frozen=True, kw_only=True):
    """The instance was cancelled, and why. `unknown`: an at-most-once effect that may have happened (rule 53)."""

    cause: str = field(name="c")
    attempt: int = field(default=0, name="a")
    unknown: bool = field(default=False, name="u")
    started: int = field(default=0, name="st")
    finished: int = field(default=0, name="fi")


class Parked(InstanceFact, tag="parked.1", frozen=True, kw_only=True):
    """The instance waits for an operator (rule 14). `question`: `failure`, or `unknown` (did the effect happen?)."""

    attempt: int = field(default=0, name="a")
    error: Failure = field(name="e")
    question: str = field(default="failure", name="q")


class Unparked(InstanceFact, tag="unparked.1", frozen=True, kw_only=True):
    """An operator retries a parked instance; changed parameters take a new generation of the effect key (rule 50)."""

    by: str = field(default="", name="by")
    params: Raw = field(default=NOTHING, name="p")  # null: unchanged
    generation: int = field(default=0, name="g")


class VariableSet(Fact, tag="set.1", frozen=True, kw_only=True):
    """A variable has a new value, visible at once (rule 49)."""

    frame: str = field(default="", name="f")  # where it is declared
    name: str = field(name="nm")
    value: Raw = field(name="va")
    node: str = field(default="", name="n")  # who wrote it; empty: its declaration
    writer: str = field(default="", name="w")  # the frame of who wrote it
    alone: bool = field(default=False, name="al")  # its declaration says `merge: error`: who wrote it matters


class FrameOpened(Fact, tag="frame.1", frozen=True, kw_only=True):
    """A scope of a container was entered. The frame's path follows from the instance, the scope's name or the index."""

    frame: str = field(default="", name="f")  # where the container is
    node: str = field(name="n")
    visit: int = field(default=1, name="v")
    scope: str = field(name="s")
    index: int = field(default=-1, name="i")  # of an iteration
    timeout_at: int = field(default=0, name="ta")
    path: str = field(default="", name="p")  # of a compensation: that of the instance it undoes
    bound: Raw = field(default=NOTHING, name="b")  # the names a compensation sees
    of: int = field(default=0, name="of")  # which registration it carries out


class FrameClosed(Fact, tag="closed.1", frozen=True, kw_only=True):
    """A frame came to its end: `succeeded`, `failed`, `cancelled`, `continued`, `broken`."""

    frame: str = field(name="f")
    status: str = field(default="succeeded", name="s")
    value: Raw = field(default=NOTHING, name="va")
    error: Failure | None = field(default=None, name="e")
    collects: bool = field(default=False, name="co")  # `value` is one of the loop's results
    carried: bool = field(default=False, name="cd")  # `carry` is the next one
    carry: Raw = field(default=NOTHING, name="ca")
    folds: bool = field(default=False, name="fo")  # `reduced` holds all iterations up to the first that has not ended
    reduced: Raw = field(default=NOTHING, name="rd")
    until: bool = field(default=False, name="un")  # the loop's `until` holds now


class Chunked(Fact, tag="chunked.1", frozen=True, kw_only=True):
    """Results of iterations that have all ended, put away as one value, so that the state stays small (day-one 19)."""

    frame: str = field(default="", name="f")
    node: str = field(name="n")
    visit: int = field(default=1, name="v")
    values: Raw = field(name="va")  # a list
    through: int = field(name="th")  # all iterations below this one


class ItemsAdded(Fact, tag="items.1", frozen=True, kw_only=True):
    """A loop that is open got more items, or was closed (rule 28)."""

    frame: str = field(default="", name="f")
    node: str = field(name="n")
    visit: int = field(default=1, name="v")
    items: Raw = field(default=NOTHING, name="i")
    count: int = field(default=0, name="c")
    closed: bool = field(default=False, name="cl")


class Returning(Fact, tag="again.1", frozen=True, kw_only=True):
    """An `again` edge was taken: its region is being left for a fresh visit (rules 34, 35)."""

    frame: str = field(default="", name="f")
    node: str = field(name="n")
    target: str = field(name="ta")


class Revisited(Fact, tag="revisited.1", frozen=True, kw_only=True):
    """All of the region is final: each of its nodes has one visit more."""

    frame: str = field(default="", name="f")
    node: str = field(name="n")  # the source of the edge
    target: str = field(name="ta")
    nodes: tuple[str, ...] = field(name="ns")
    error: Failure | None = field(default=None, name="e")


class Registered(Fact, tag="registered.1", frozen=True, kw_only=True):
    """A compensation stands ready for a rollback (rule 39)."""

    frame: str = field(default="", name="f")
    node: str = field(name="n")
    visit: int = field(default=1, name="v")
    input: Raw = field(default=NOTHING, name="i")
    names: Raw = field(default=NOTHING, name="na")  # what it reads of the names around it
    replaces: bool = field(default=False, name="re")  # those registered inside: it is a container


class Paused(Fact, tag="paused.1", frozen=True, kw_only=True):
    """Nothing new starts until it is resumed (rule 45)."""

    at: int = field(name="at")
    by: str = field(default="", name="by")


class Resumed(Fact, tag="resumed.1", frozen=True, kw_only=True):
    """The pause is over. `shift`: microseconds by which every relative due time moves."""

    shift: int = field(default=0, name="sh")
    by: str = field(default="", name="by")


class Departing(Fact, tag="departing.1", frozen=True, kw_only=True):
    """A frame is being left (rule 30): `fail`, `drain`, `return`, `cancel`, `timeout`; `break`, `continue`, `exit`; `stop`.

    `stop`: its container is being left or has decided, and takes the frame with it.
    """

    frame: str = field(default="", name="f")
    kind: str = field(name="k")
    cause: str = field(name="c")
    error: Failure | None = field(default=None, name="e")
    value: Raw = field(default=NOTHING, name="va")
    by: str = field(default="", name="by")
    hard: bool = field(default=False, name="h")  # nothing is cleaned up and nothing is waited for
    drained: bool = field(default=False, name="dr")  # it takes the place of a drain, whose error stays
    cleanup_at: int = field(default=0, name="cl")  # when the budget for cleaning up is used (rule 38)


class Detached(Fact, tag="detached.1", frozen=True, kw_only=True):
    """A child that is not waited for, and what becomes of it when this execution ends first (rule 41)."""

    execution: bytes = field(name="x")
    on_parent_close: str = field(default="abandon", name="pc")


class Spawned(Fact, tag="spawned.1", frozen=True, kw_only=True):
    """Another execution is to be started; its id is derived, so that asking twice starts one (rules 40, 44)."""

    execution: bytes = field(name="x")
    relation: str = field(name="r")  # `retry`, `route`, `error`
    workflow: str = field(default="", name="w")  # empty: the same definition
    input: Raw = field(default=NOTHING, name="i")
    attempt: int = field(default=1, name="a")


class SignalKept(Fact, tag="signal.1", frozen=True, kw_only=True):
    """A signal arrived that nobody waits for yet (rule 47)."""

    id: str = field(name="i")
    name: str = field(name="nm")
    key: str = field(default="", name="ky")
    path: str = field(default="", name="pa")
    payload: Raw = field(default=NOTHING, name="va")
    until: int = field(default=0, name="un")  # when it is forgotten; 0 = with the execution


class SignalTaken(Fact, tag="taken.1", frozen=True, kw_only=True):
    """A kept signal went to its waiter."""

    id: str = field(name="i")


class Emitted(Fact, tag="emitted.1", frozen=True, kw_only=True):
    """An event goes into the event log together with this fact."""

    frame: str = field(default="", name="f")
    node: str = field(name="n")
    visit: int = field(default=1, name="v")
    id: str = field(name="i")
    type: str = field(name="ty")
    subject: str = field(default="", name="su")
    data: Raw = field(default=NOTHING, name="va")


class Late(Fact, tag="late.1", frozen=True, kw_only=True):
    """An answer came for something that no longer waits for it; it changes nothing (rule 20, style 7)."""

    frame: str = field(default="", name="f")
    node: str = field(name="n")
    visit: int = field(default=1, name="v")
    attempt: int = field(default=1, name="a")
    what: str = field(default="result", name="w")


class SoftTimedOut(Fact, tag="soft.1", frozen=True, kw_only=True):
    """The workflow's soft timeout passed: for people and alerts, nothing stops."""


class Ended(Fact, tag="ended.1", frozen=True, kw_only=True):
    """The execution came to its one final status."""

    status: str = field(name="s")
    output: Raw = field(default=NOTHING, name="o")
    error: Failure | None = field(default=None, name="e")


# -- inputs --------------------------------------------------------------------------------------------------------------


class Input(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t"):
    """Something that came in from the world; journaled with the facts it caused (day-one 7)."""


class Start(Input, tag="start.1", frozen=True, kw_only=True):
    """Begin. Everything the `Started` fact says and the engine cannot know."""

    execution: bytes = field(name="x")
    tenant: str = field(default="default", name="tn")
    sources: dict[str, str] = field(default_factory=dict, name="so")
    input: Raw = field(default=NOTHING, name="i")
    trigger: Raw = field(default=NOTHING, name="tr")
    priority: int = field(default=0, name="p")  # 0: the workflow's own
    key: str = field(default="", name="k")
    by: str = field(default="", name="by")
    parent: bytes = field(default=b"", name="pa")
    relation: str = field(default="", name="re")
    attempt: int = field(default=1, name="a")
    children: dict[str, bytes] = field(default_factory=dict, name="ch")
    depth: int = field(default=0, name="de")
    awaited: Token | None = field(default=None, name="aw")
    deadline_at: int = field(default=0, name="da")  # handed down by the parent: no timeout of its own reaches beyond it


class Result(Input, tag="result.1", frozen=True, kw_only=True):
    """An attempt ended: `succeeded`, `failed`, `stopped` (asked to), `deferred` (answers later), `lost` (crash).

    In the journal the output of an accepted result stands once only, in the fact: `fact` is that fact's place in the row.
    """

    token: Token = field(name="k")
    outcome: str = field(default="succeeded", name="oc")
    output: Raw = field(default=NOTHING, name="o")
    error: Failure | None = field(default=None, name="e")
    started: int = field(default=0, name="st")
    finished: int = field(default=0, name="fi")
    fact: int = field(default=-1, name="fa")
    crashed: bool = field(default=False, name="c")


class Due(Input, tag="due.1", frozen=True, kw_only=True):
    """A timer's time has come.

    Of an instance: `wait`, `backoff`, `deadline`, `wait_timeout`, `attempt`, `cleanup`. Of a frame: `scope`. Of the execution:
    `timeout`, `soft_timeout`, `departure` (its cleanup budget).
    """

    kind: str = field(name="kd")
    due: int = field(name="du")
    frame: str = field(default="", name="f")
    node: str = field(default="", name="n")
    visit: int = field(default=1, name="v")


class Signal(Input, tag="signal.1", frozen=True, kw_only=True):
    """A signal from outside (rule 47)."""

    id: str = field(name="i")
    name: str = field(name="nm")
    key: str = field(default="", name="ky")
    path: str = field(default="", name="pa")
    payload: Raw = field(default=NOTHING, name="va")
    by: str = field(default="", name="by")
    to_all: bool = field(default=False, name="al")
    ttl: int = field(default=0, name="tt")  # microseconds that it is kept when nobody waits; 0 = with the execution


class Arrived(Input, tag="arrived.1", frozen=True, kw_only=True):
    """An event of the event log that this execution may wait for (rule 48)."""

    id: str = field(name="i")
    type: str = field(name="ty")
    source: str = field(default="", name="so")
    subject: str = field(default="", name="su")
    at: int = field(default=0, name="at")
    data: Raw = field(default=NOTHING, name="va")
    past: bool = field(default=False, name="pt")  # found by looking back: for those who wait for what was before, too


class ChildEnded(Input, tag="child.1", frozen=True, kw_only=True):
    """A child came to its end (rules 40, 41)."""

    token: Token = field(name="k")
    child: bytes = field(name="x")
    status: str = field(name="s")
    output: Raw = field(default=NOTHING, name="o")
    error: Failure | None = field(default=None, name="e")


class Granted(Input, tag="granted.1", frozen=True, kw_only=True):
    """The lock that an instance waits for is its own (rule 59)."""

    frame: str = field(default="", name="f")
    node: str = field(name="n")
    visit: int = field(default=1, name="v")
    key: str = field(name="ky")


class Operate(Input, tag="operate.1", frozen=True, kw_only=True):
    """A person, or a program on a person's behalf, with who and why.

    `cancel`, `terminate`, `pause`, `resume` (`value`: `frozen` or `running` clocks) an execution; `retry`, `complete`, `fail`
    what is parked; `skip`, `reschedule` (`value`: microseconds UTC) what waits.
    """

    action: str = field(name="ac")
    by: str = field(default="", name="by")
    reason: str = field(default="", name="re")
    frame: str = field(default="", name="f")
    node: str = field(default="", name="n")
    visit: int = field(default=1, name="v")
    value: Raw = field(default=NOTHING, name="va")  # null: none was given


class Complete(Input, tag="complete.1", frozen=True, kw_only=True):
    """The answer of a deferred node, by whoever holds its token (day-one 15)."""

    token: Token = field(name="k")
    output: Raw = field(default=NOTHING, name="o")
    error: Failure | None = field(default=None, name="e")
    by: str = field(default="", name="by")


class Recovered(Input, tag="recovered.1", frozen=True, kw_only=True):
    """A new home took the execution over; what was in flight is asked for again (rule 52).

    `kept`: attempts that are not lost with the former home, since other workers carry them out, or have (rule 65).
    """

    crashed: bool = field(default=True, name="c")
    worker: str = field(default="", name="w")
    kept: tuple[Token, ...] = field(default=(), name="k")


class Continue(Input, tag="continue.1", frozen=True, kw_only=True):
    """Go on where the last step was cut (rule 3), or where it lacked a large value (day-one 29)."""


AnyFact = (
    Started | Scheduled | Retrying | Lost | Waiting | Done | NodeFailed | Skipped | Stopping | NodeCancelled | Parked | Unparked
    | VariableSet | Departing | Spawned | SignalKept | SignalTaken | Emitted | Late | SoftTimedOut | Ended
    | Opened | FrameOpened | FrameClosed | Chunked | ItemsAdded | Returning | Revisited | Registered | Rescheduled | Locked
    | Unlocked | Paused | Resumed | Detached
)  # fmt: skip
AnyInput = Start | Result | Due | Signal | Operate | Complete | Recovered | Continue | Arrived | ChildEnded | Granted


class RowBody(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a journal row holds: the inputs a step took and the facts they caused. `cut`: the step was not at rest (rule 3)."""

    inputs: list[AnyInput] = field(default_factory=list, name="i")
    facts: list[AnyFact] = field(default_factory=list, name="f")
    cut: bool = field(default=False, name="c")


def encode(value: Any) -> Raw:
    """A value in the journal's encoding."""
    return Raw(_encode(value))


_encode = msgspec.msgpack.Encoder().encode
