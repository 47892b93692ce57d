"""A witness of all that becomes durable: it folds every committed step for itself, and says what must never be.

The witness stands where the store is: it sees what was written, by whom, and in which order, whatever the process that wrote
it makes of that afterwards. What it finds is raised as `Violation`, in the process that did it, and kept in `violations`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NoReturn

from perdure.engine import events
from perdure.engine.codec import decode_row
from perdure.engine.events import AnyFact, RowBody
from perdure.engine.evolution import evolve
from perdure.engine.execution import CANCELLED, FAILED, SKIPPED, STATE_NAMES, SUCCEEDED, Execution, Frame
from perdure.ids import ExecutionId, id_text, instance_path
from perdure.store.contract import Batch, Committed, JournalRow, Row, Turn

SHIELDED = (".finally", ".compensate")
"""Scopes that go on in a frame that is being left (rule 38)."""

Key = tuple[str, str, int]  # frame, node, visit


class Violation(AssertionError):
    """Something happened that must never happen."""


class Observed:
    """One execution as the witness knows it: its rows, its state folded from them, what was durable when."""

    def __init__(self, execution: ExecutionId, digest: bytes) -> None:
        self.id = execution
        self.digest = digest
        self.state = Execution()
        self.rows: list[JournalRow] = []
        self.bodies: list[RowBody] = []
        self.epoch = 0
        self.worker = ""  # who committed last
        self.home = ""  # who took it over last
        self.finals: dict[Key, int] = {}
        self.scheduled: set[tuple[str, int]] = set()  # path and attempt
        self.keys: dict[str, str] = {}  # path by effect key
        self.children: dict[bytes, tuple[str, int]] = {}  # by id: the path and attempt that waits for it
        self.signals: set[str] = set()
        self.consumed: set[int] = set()
        self.touched: set[Key] = set()  # by the facts of the last step

    def outcomes(self) -> Counter[tuple[str, str]]:
        """Every instance that has become final: path and state."""
        return Counter((instance_path(*key), STATE_NAMES[state]) for key, state in self.finals.items())


class Witness:
    """Everything that was committed to one store."""

    def __init__(self) -> None:
        self.executions: dict[ExecutionId, Observed] = {}
        self._by_text: dict[str, Observed] = {}
        self.blobs: dict[bytes, bytes] = {}
        self.violations: list[str] = []

    # -- what is committed --------------------------------------------------------------------------------------------

    def committed(self, batch: Batch, answer: Committed, worker: str, latest: int) -> None:
        """A transaction is durable. `latest`: what the worker's clock has shown at most, microseconds. Raises Violation."""
        left_out = answer.fenced | answer.duplicates
        for blob in batch.blobs:
            self.blobs[blob.digest] = blob.body
        for start in batch.starts:
            if start.execution not in left_out and start.execution not in self.executions:
                seen = self.executions[start.execution] = Observed(start.execution, start.digest)
                self._by_text[id_text(start.execution)] = seen
        for turn in batch.turns:
            if turn.execution not in left_out:
                self._turn(self.executions[turn.execution], turn, worker, latest)

    def claimed(self, rows: Iterable[Row], worker: str) -> None:
        """A worker has taken these over: whoever had them before writes no more."""
        for row in rows:
            seen = self.executions[row.execution]
            seen.home, seen.epoch = worker, max(seen.epoch, row.epoch)

    def _turn(self, seen: Observed, turn: Turn, worker: str, latest: int) -> None:
        if seen.home and worker != seen.home:
            self.violate(seen, f"{worker} wrote after {seen.home} had taken it over")
        if turn.epoch < seen.epoch:
            self.violate(seen, f"a home of epoch {turn.epoch} wrote after one of epoch {seen.epoch}")
        seen.epoch, seen.worker = turn.epoch, worker
        again = seen.consumed.intersection(turn.consumed)
        if again:
            self.violate(seen, f"messages were taken in twice: {sorted(again)}")
        seen.consumed.update(turn.consumed)
        if not turn.count:
            return
        if turn.first_seq != seen.state.seq + 1:
            self.violate(seen, f"fact {turn.first_seq} was written after fact {seen.state.seq}")
        body = decode_row(turn.body)
        if len(body.facts) != turn.count:
            self.violate(seen, f"a row of {turn.count} facts holds {len(body.facts)}")
        if turn.at > max(latest, seen.rows[-1].at if seen.rows else 0):
            self.violate(seen, f"a step at {turn.at} was taken before its time, at {latest}")
        self._inputs(seen, body, turn.at)
        seen.touched = set()
        for fact in body.facts:
            self._fact(seen, fact)
            evolve(seen.state, fact)
        seen.state.at = turn.at
        seen.bodies.append(body)
        seen.rows.append(
            JournalRow(
                execution=seen.id, first_seq=turn.first_seq, count=turn.count, at=turn.at, level=turn.level, body=turn.body
            )
        )  # fmt: skip

    def _inputs(self, seen: Observed, body: RowBody, at: int) -> None:
        if seen.rows and at < seen.rows[-1].at:
            self.violate(seen, f"time ran back from {seen.rows[-1].at} to {at}")
        for given in body.inputs:
            if isinstance(given, events.Due) and given.due > at:
                self.violate(seen, f"the {given.kind} of `{given.node}` that is due at {given.due} fired at {at}")
            elif isinstance(given, events.Signal):
                if given.id in seen.signals:
                    self.violate(seen, f"the signal {given.id} was taken in twice")
                seen.signals.add(given.id)

    # -- facts --------------------------------------------------------------------------------------------------------

    def _fact(self, seen: Observed, fact: AnyFact) -> None:
        if seen.state.ended and not isinstance(fact, events.Late):
            self.violate(seen, f"{type(fact).__name__} was written after the end")
        if not isinstance(fact, events.InstanceFact):
            return
        key = (fact.frame, fact.node, fact.visit)
        seen.touched.add(key)
        if isinstance(fact, events.Scheduled | events.Opened | events.Waiting):
            self._begins(seen, fact, key)
        if isinstance(fact, events.Waiting) and fact.child:
            waits = seen.children.setdefault(fact.child, (instance_path(*key), fact.attempt))
            if waits != (instance_path(*key), fact.attempt):
                self.violate(seen, f"attempt {fact.attempt} of `{instance_path(*key)}` waits for the child of {waits}")
        if isinstance(fact, events.Scheduled):
            seen.scheduled.add((instance_path(*key), fact.attempt))
        state = _ENDS.get(type(fact))
        if state is not None:
            if key in seen.finals:
                self.violate(seen, f"`{instance_path(*key)}` ended twice, as {STATE_NAMES[seen.finals[key]]} first")
            seen.finals[key] = state

    def _begins(self, seen: Observed, fact: events.Scheduled | events.Opened | events.Waiting, key: Key) -> None:
        path = instance_path(*key)
        if key in seen.finals:
            self.violate(seen, f"`{path}` was {STATE_NAMES[seen.finals[key]]} and began again")
        if seen.state.paused_at:
            self.violate(seen, f"`{path}` began in a pause")
        frame = seen.state.frames.get(fact.frame)
        if frame is None or frame.closed:
            self.violate(seen, f"`{path}` began in a frame that is not open")
        elif _is_left(seen.state, frame):
            self.violate(seen, f"`{path}` began in a frame that is being left")

    # -- what happens outside -----------------------------------------------------------------------------------------

    def effect(self, execution: str, path: str, attempt: int, key: str, worker: str) -> Observed:
        """An effect begins, as the world outside sees it; of which execution. Raises Violation."""
        seen = self._by_text.get(execution)
        if seen is None:
            raise Violation(f"An effect began in {execution}, whose start was not durable.")
        if (path, attempt) not in seen.scheduled:
            self.violate(seen, f"attempt {attempt} of `{path}` began before it was durable")
        if seen.keys.setdefault(key, path) != path:
            self.violate(seen, f"the effects of `{path}` and `{seen.keys[key]}` have one key")
        if worker == seen.worker and seen.state.ended:
            self.violate(seen, f"attempt {attempt} of `{path}` began after the end of the execution")
        return seen

    def home_of(self, execution: str) -> str:
        """The worker that has taken an execution over last; "" where it is still with whoever started it."""
        return self._by_text[execution].home

    def lives(self, execution: ExecutionId, state: Execution) -> None:
        """A home shows a state that it believes durable. Raises Violation when the journal folds to another."""
        seen = self.executions[execution]
        seen.state.at = state.at  # a step that led to nothing was at a later time, and is in no journal
        if state != seen.state:
            self.violate(seen, "the state in memory is not what the journal folds to")

    def violate(self, seen: Observed, sentence: str) -> NoReturn:
        """Keep what was found, and raise it."""
        self.break_off(f"{id_text(seen.id)}: {sentence}")

    def break_off(self, sentence: str) -> NoReturn:
        """Keep what was found of no execution in particular, and raise it."""
        self.violations.append(sentence)
        raise Violation(sentence)

    def compare(self, execution: ExecutionId, rows: Iterable[JournalRow]) -> None:
        """The journal on disk is what was committed. Raises Violation."""
        seen = self.executions[execution]
        stored = list(rows)
        if stored != seen.rows:
            self.violate(seen, f"{len(seen.rows)} rows were committed, and {len(stored)} others are stored")


def _is_left(state: Execution, frame: Frame) -> bool:
    here: Frame | None = frame
    while here is not None:
        departure = here.departure
        if departure is not None and departure.kind != "drain":
            return True
        if here.scope.endswith(SHIELDED):
            return False
        here = state.frames.get(here.parent) if here.path else None
    return False


_ENDS: dict[type[Any], int] = {
    events.Done: SUCCEEDED, events.NodeFailed: FAILED, events.NodeCancelled: CANCELLED, events.Skipped: SKIPPED,
}  # fmt: skip
