"""What an execution knew when: its journal folded up to just before a fact, and what an expression's names stood for then."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from perdure.definition.plan import NodePlan, Plan
from perdure.engine import events
from perdure.engine.codec import INLINE_MAX, decode_snapshot, encode_snapshot, encode_value
from perdure.engine.events import AnyFact, AnyInput
from perdure.engine.evolution import evolve
from perdure.engine.execution import Execution, Instance
from perdure.engine.index import FrameIndex, Index, ValuesNeeded
from perdure.engine.machine import Step
from perdure.engine.place import Place
from perdure.expressions import (
    TASK_OPERATIONS,
    TASK_TOUCHED,
    Budget,
    Computed,
    Expression,
    ExpressionError,
    Names,
    Template,
    compile_expression,
    paths_read,
)
from perdure.ids import frame_path, instance_path
from perdure.operations.journal import Journaled

KEPT_EVERY = 20_000
"""Facts after which a folded state is kept, so that who asks for the past need not begin at the beginning."""

Key = tuple[str, str, int]
"""An instance: frame path, node, visit."""

Seen = tuple[str, Any]
"""A name as it is written, and the value that it had."""


class Entry(msgspec.Struct, frozen=True):
    """A fact in its place: its number in the journal, when it was stated, what came in before it in the same step."""

    seq: int
    at: int  # microseconds UTC
    fact: AnyFact
    inputs: list[AnyInput]


class History:
    """An execution's journal, to be asked by instance and by frame.

    `resident`: large values by digest, as far as they are here. What it lacks is in `needs` afterwards: ask again with that.
    """

    def __init__(self, plan: Plan, timeline: Iterable[Journaled], resident: dict[bytes, Any]) -> None:
        self.plan = plan
        self.entries: list[Entry] = []
        self.of: dict[Key, list[Entry]] = {}
        self.frames: dict[str, list[Entry]] = {}  # by frame: what was stated of it as a whole, from its opening on
        self.inside: dict[Key, list[str]] = {}  # by container: its frames, in the order in which they were opened
        self.scopes: dict[str, str] = {"": ""}  # by frame: the scope that it is an activation of
        self.needs: set[bytes] = set()
        self._resident = resident
        self._attempts: dict[Key, int] = {}
        for moment in timeline:
            for number, fact in enumerate(moment.facts, moment.first_seq):
                self._add(Entry(number, moment.at, fact, moment.inputs))
        self._kept: list[tuple[int, bytes]] = []  # states after so many facts, encoded
        self._state = Execution()
        self._thens: dict[int, Then] = {}

    def _add(self, entry: Entry) -> None:
        fact = entry.fact
        self.entries.append(entry)
        if isinstance(fact, events.InstanceFact):
            self.of.setdefault((fact.frame, fact.node, fact.visit), []).append(entry)
            if isinstance(fact, events.Opened):
                self._attempts[fact.frame, fact.node, fact.visit] = fact.attempt
        elif isinstance(fact, events.FrameOpened):
            path = self._opened_path(fact)
            outer = self.scopes[fact.frame]
            name = "body" if fact.index >= 0 else fact.scope
            self.scopes[path] = _compensated(fact) or (f"{outer}.{fact.node}.{name}" if outer else f"{fact.node}.{name}")
            self.frames.setdefault(path, []).append(entry)
            self.inside.setdefault((fact.frame, fact.node, fact.visit), []).append(path)
        elif isinstance(fact, events.FrameClosed | events.Departing):
            self.frames.setdefault(fact.frame, []).append(entry)

    def _opened_path(self, fact: events.FrameOpened) -> str:
        if fact.of:
            return fact.path
        attempt = self._attempts.get((fact.frame, fact.node, fact.visit), 1)
        return frame_path(instance_path(fact.frame, fact.node, fact.visit), attempt, fact.scope, fact.index)

    # -- asking -------------------------------------------------------------------------------------------------------

    def last(self, key: Key, *kinds: type[Any], before: int | None = None) -> Entry | None:
        """The last fact of these kinds about an instance."""
        for entry in reversed(self.of.get(key, ())):
            if isinstance(entry.fact, kinds) and (before is None or entry.seq < before):
                return entry
        return None

    def visits(self, frame: str, node: str) -> list[int]:
        """The visits of a node that have left a trace, in order."""
        return sorted(visit for where, name, visit in self.of if (where, name) == (frame, node))

    def node(self, frame: str, node: str) -> NodePlan | None:
        """The plan of a node of a frame that has ever been there."""
        scope = self.plan.scopes.get(self.scopes.get(frame, "?"))
        return scope.nodes[scope.number[node]] if scope is not None and node in scope.number else None

    # -- the past -----------------------------------------------------------------------------------------------------

    def before(self, seq: int) -> Then:
        """What was true just before this fact, at the moment when it was stated."""
        then = self._thens.get(seq)
        if then is None:
            state = decode_snapshot(encode_snapshot(self._fold(seq - 1)))  # a copy: who asks next moves on
            at = self.entries[min(seq, len(self.entries)) - 1].at if self.entries else 0
            then = self._thens[seq] = Then(self, state, at)
        return then

    def now(self) -> Then:
        """What is true at the end of the journal."""
        return self.before(len(self.entries) + 1)

    def _fold(self, count: int) -> Execution:
        if count < self._state.seq:
            kept = [body for seq, body in self._kept if seq <= count]
            self._state = decode_snapshot(kept[-1]) if kept else Execution()
        state = self._state
        while state.seq < count:
            entry = self.entries[state.seq]
            evolve(state, entry.fact)
            state.at = entry.at
            if state.seq % KEPT_EVERY == 0 and (not self._kept or self._kept[-1][0] < state.seq):
                self._kept.append((state.seq, encode_snapshot(state)))
        return state

    def resident(self) -> dict[bytes, Any]:
        """The large values that are here."""
        return self._resident


def _compensated(fact: events.FrameOpened) -> str:
    """The scope of a compensation: that of the node which it undoes, whatever frame runs it."""
    if not fact.of:
        return ""
    return ".".join(_plain_segments(fact.path))


def _plain_segments(path: str) -> Iterable[str]:
    """`orders[3].hotel#2.compensate` → `orders`, `body`, `hotel`, `compensate`: a frame's path as the path of its scope."""
    for segment in path.split("."):
        name, bracket, _ = segment.partition("[")
        yield name.partition("#")[0].partition("~")[0]
        if bracket:
            yield "body"


class Then:
    """What was true at one moment."""

    def __init__(self, history: History, execution: Execution, at: int) -> None:
        self._history = history
        self.execution = execution
        self.at = at
        self._index: Index | None = None

    @property
    def index(self) -> Index:
        if self._index is None:
            self._index = Index.rebuilt(self._history.plan, self.execution, self._history.resident())
        return self._index

    def opened(self, frame: str) -> FrameIndex | None:
        """A frame that was there."""
        return self.index.frames.get(frame)

    def instance(self, frame: str, node: str) -> Instance | None:
        opened = self.execution.frames.get(frame)
        return opened.instances.get(node) if opened is not None else None

    def place(self, frame: str, node: NodePlan) -> Place | None:
        """The node at that moment, with all that its expressions saw."""
        opened = self.opened(frame)
        return Place(Step(self.execution, self.index, self.at, 0), opened, node) if opened is not None else None

    def seen(self, template: Template | Expression | None, names: Names | None) -> tuple[Seen, ...]:
        """What the names of an expression stood for; those that had no value are left out."""
        expression = template.expression if isinstance(template, Computed) else template
        if names is None or not isinstance(expression, Expression):
            return ()
        found: list[Seen] = []
        for text in paths_read(expression):
            held, value = self.value(compile_expression(text), names)
            if held:
                found.append((text, shown(value)))
        return tuple(found)

    def seen_by(self, frame: str, node: NodePlan, template: Template | Expression | None) -> tuple[Seen, ...]:
        """The same for an expression of a node, with the names that this node sees."""
        place = self.place(frame, node)
        return self.seen(template, place.names()) if place is not None else ()

    def value(self, template: Template | Expression, names: Names) -> tuple[bool, Any]:
        """Whether an expression had a value, and which."""
        try:
            return True, template.evaluate(names, Budget(TASK_OPERATIONS, TASK_TOUCHED))
        except ValuesNeeded as lacking:
            self._history.needs |= lacking.digests
        except (ExpressionError, KeyError):
            pass  # it had none; that this was so is told by the fact that followed
        return False, None


def shown(value: Any) -> Any:
    """A value as an explanation has it: a large one by its size alone."""
    size = len(encode_value(value))
    return value if size <= INLINE_MAX else {"$size": size}
