"""What an execution is made of: frames, instances in them, departures that leave them; and where each of them is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from perdure.definition.graph import Entry, Node, Scope
from perdure.errors import Failure
from perdure.ids import instance_path

FINAL = frozenset({"succeeded", "failed", "cancelled", "skipped"})


class Wrong(Exception):
    """Something in a definition that comes out as a failure: an expression, a duration, a value of the wrong kind."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


@dataclass(eq=False)
class Departure:
    """A way of leaving a frame, or all frames of one container, with everything inside (rules 30, 31, 38)."""

    kind: str  # break, continue, return, exit, error, cancel, complete, timeout
    target: Frame | Instance
    cause: str
    failure: Failure | None = None
    value: Any = None
    cleanup_at: int | None = None  # when the time for cleaning up is over

    @property
    def reach(self) -> int:
        """How far out it goes: less is further."""
        return self.target.depth


@dataclass(eq=False)
class Return:
    """An `again` edge that was taken and waits until everything it sets back is final (rule 35)."""

    entry: Entry
    region: list[Node]
    error: Failure | None


@dataclass(eq=False)
class Frame:
    """One activation of a scope (rule 1). `outer` and `holder` are what its expressions see around it."""

    path: str
    scope: Scope
    parent: Instance | None  # the container that waits for its end
    outer: Frame | None
    holder: Instance | None  # the node it belongs to: its container, or what it compensates
    attempt: int = 1
    index: int = -1  # of an iteration
    bound: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    writes: dict[str, list[Instance]] = field(default_factory=dict)  # who wrote each variable so far
    instances: dict[str, Instance] = field(default_factory=dict)
    past: list[Instance] = field(default_factory=list)  # earlier visits
    returns: list[Return] = field(default_factory=list)
    departure: Departure | None = None
    drain: Failure | None = None
    unhandled: list[Failure] = field(default_factory=list)
    timeout_at: int | None = None
    outcome: str = ""  # succeeded, failed, continued, cancelled; "" while it goes on
    value: Any = None
    error: Failure | None = None

    @property
    def depth(self) -> int:
        return 0 if self.parent is None else self.parent.depth + 1

    @property
    def ended(self) -> bool:
        return self.outcome != ""

    @property
    def open(self) -> bool:
        """Whether nodes may start in it."""
        return not self.ended and self.departure is None and self.drain is None

    @property
    def kind(self) -> str:
        return self.scope.kind


@dataclass(eq=False)
class Instance:
    """A node in a frame, by visit (rule 1)."""

    frame: Frame
    node: Node
    visit: int = 1
    state: str = "pending"
    waits_for: str = ""  # of one that waits: end, signal, event, condition, child, backoff
    attempt: int = 0  # how many attempts have begun
    turn: int = 0  # when it became ready, as a number that grows
    seen: int = 0  # of a join: edges that had resolved when its turn was given, and were not looked at
    began: int = 0  # the same kind of number: when it started, waited, ended
    waited: int = 0
    finished: int = 0
    started_at: int | None = None
    finished_at: int | None = None
    output: Any = None
    error: Failure | None = None
    ports: tuple[str, ...] = ()  # that are live
    others: str = "dead"  # how the rest of its ports is resolved, but for those of errors
    cause: str = ""
    broken: Failure | None = None  # of one that was skipped: what it depends on that failed
    led_back: Return | None = None
    # effects and children
    params: Any = None
    stopping: str = ""  # why its attempt was asked to stop
    completes: bool = False  # and then it succeeds
    takes_too_long: bool = False  # or it was its own timeout, for which it fails
    by_deadline: bool = False  # whether that was its deadline
    last_failure: Failure | None = None
    retries: dict[int, int] = field(default_factory=dict)  # used, by policy
    no_retry: bool = False
    crashes: int = 0  # of the worker of the present attempt
    unasked: bool = False  # lost in the present pause, and not asked for again before it is over
    # limits
    due: int | None = None  # end of a wait or backoff
    timeout_at: int | None = None
    deadline_at: int | None = None
    every_at: int | None = None
    let_go_at: int | None = None  # of a child that was asked to stop
    limits: dict[str, int] = field(default_factory=dict)
    # waits
    wait_name: str = ""
    wait_key: str | None = None
    # containers and joins
    leaving: Departure | None = None
    draining: bool = False  # starts no more frames
    quorum_met: bool = False  # ended by rule 19: what is left are losers
    arrived: list[Entry] = field(default_factory=list)
    winners: list[str] = field(default_factory=list)
    look: int = 0  # when it was marked to be looked at; 0: nothing is new
    memory: Any = None  # what a container has to remember of this attempt
    fixed: dict[str, Any] = field(default_factory=dict)  # what it evaluated once, on entry

    @property
    def path(self) -> str:
        return instance_path(self.frame.path, self.node.id, self.visit)

    @property
    def depth(self) -> int:
        return self.frame.depth + 1

    @property
    def final(self) -> bool:
        return self.state in FINAL

    @property
    def raw(self) -> Mapping[str, Any]:
        return self.node.raw


@dataclass(eq=False)
class Registration:
    """A compensation that may be run: of which instance, and with what names it was registered (rule 39)."""

    instance: Instance
    remembered: Instance  # a copy, in copies of the frames around it
    params: Any
    output: Any
    done: bool = False


@dataclass(eq=False)
class Signal:
    """A signal as it arrived."""

    name: str
    payload: Any
    key: str | None
    path: str
    number: int  # when


class World:
    """One execution with everything that has happened to it."""

    def __init__(self, document: Mapping[str, Any], root: Scope, input: Any, at: int) -> None:
        self.document = document
        self.root = root
        self.input = input
        self.at = at
        self.started_at = at
        self.frames: list[Frame] = []  # every one, in the order of their opening
        self.status = ""
        self.output: Any = None
        self.error: Failure | None = None
        self.timeout_at: int | None = None
        self.soft_timeout_at: int | None = None
        self.signals: list[Signal] = []
        self.events: list[Mapping[str, Any]] = []
        self.registrations: list[Registration] = []
        self.given_up: set[str] = set()  # paths of nodes that a person let fail
        self.departures: list[Departure] = []  # every one, in the order of the journal
        self.paused_at: int | None = None
        self.kept: list[tuple[int, Any]] = []  # results of a pause: when, and what to do
        self._number = 0

    @property
    def settings(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.document.get("settings") or {}
        return found

    @property
    def ended(self) -> bool:
        return self.status != ""

    def tick(self) -> int:
        """The next number of the order in which things happen."""
        self._number += 1
        return self._number

    def instances(self) -> Iterator[Instance]:
        """Every instance there ever was, earlier visits too."""
        for frame in self.frames:
            yield from frame.past
            yield from frame.instances.values()

    def present(self) -> Iterator[Instance]:
        """The instances of the latest visits in frames that have not ended."""
        for frame in self.frames:
            if not frame.ended:
                yield from list(frame.instances.values())

    def frames_of(self, instance: Instance) -> list[Frame]:
        """All frames of a container, of all its attempts."""
        return [frame for frame in self.frames if frame.parent is instance]

    def active_frames(self, instance: Instance) -> list[Frame]:
        """The frames of a container that have not ended."""
        return [frame for frame in self.frames_of(instance) if not frame.ended]

    def find(self, path: str) -> Instance:
        """The instance at a path. Raises KeyError."""
        for instance in self.instances():
            if instance.path == path:
                return instance
        raise KeyError(path)
