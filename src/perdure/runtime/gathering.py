"""What one turn of a home gathers for its commit: each execution that something arrived for, stepped once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from perdure.clock import Clock
from perdure.engine import events
from perdure.engine.codec import encode_row
from perdure.engine.commands import Evaluate, Run
from perdure.engine.events import AnyInput
from perdure.engine.inputs import in_order
from perdure.engine.levels import INTRODUCED, OLDEST, level_of
from perdure.engine.machine import Stepped, step
from perdure.ids import ExecutionId
from perdure.runtime.hot import CARRIED_BY_COMMIT, Hot, carry_subscriptions, foremost, status_number
from perdure.runtime.postings import Postings
from perdure.settings import Settings
from perdure.store.contract import Batch, Blob, Turn


class SteppedHot(NamedTuple):
    """An execution that was stepped: what it came to, and all that it was given, each with its inbox position, 0 = none."""

    hot: Hot
    done: Stepped
    taking: list[tuple[AnyInput, int]]


class Gathering:
    """One turn. Its `batch` is committed as a whole; until then what was `stepped` is known to nobody."""

    def __init__(
        self, *, clock: Clock, settings: Settings, adopts: bool, writes: int,
        drains: Callable[[ExecutionId], bool] | None,
        keep: Callable[[Hot, dict[bytes, bytes]], None], overflows: bool = False,
    ) -> None:  # fmt: skip
        self.batch = Batch()
        self.stepped: list[SteppedHot] = []
        self.held: list[SteppedHot] = []  # what would write more than every worker reads; nothing of it is in the batch
        self._of: set[ExecutionId] = set()
        self._bytes = 0
        self._clock = clock
        self._settings = settings
        self._adopts = adopts
        self._writes = writes  # the newest level that every worker reads
        self._drains = drains  # of a worker that stops: is an execution to be let go as it is, for others to go on with?
        self._overflows = overflows  # has this worker more to do than others, so that what is new is for anybody?
        self._keep = keep  # large values that are named from now on

    def __contains__(self, execution: ExecutionId) -> bool:
        return execution in self._of

    def is_empty(self) -> bool:
        """Was nothing stepped?"""
        return not self._of

    def is_full(self) -> bool:
        """Has it come to as many bytes as one commit may have?"""
        return self._bytes > self._settings.commit_bytes_max

    def step(self, hot: Hot) -> None:
        """Step an execution with all that has arrived for it, and add what the commit must write of it."""
        self._of.add(hot.id)
        taking, hot.inputs = foremost(hot.inputs)
        execution, batch = hot.execution, self.batch
        inputs = [given for given, _ in taking]
        if len(taking) > 1:
            position_of = {id(given): position for given, position in taking}
            inputs = in_order(inputs)
            taking = [(given, position_of[id(given)]) for given in inputs]
        at = self._moment(hot, inputs)
        first = execution.seq + 1
        done = step(execution, hot.index, inputs, at, facts_max=self._settings.step_facts_max)
        taken = len(done.taken)
        if taken < len(taking):
            hot.inputs[:0] = taking[taken:]
        consumed = tuple([position for _, position in taking[:taken] if position])
        hot.carried = ()
        level = level_of(done.taken, done.facts) if INTRODUCED else OLDEST
        if level > self._writes:
            self.held.append(SteppedHot(hot, done, taking))
            return
        self.stepped.append(SteppedHot(hot, done, taking))
        due = hot.index.next_due(execution) if done.at_rest else None
        release = hot.leaving = self._may_leave(hot, done, due, at)
        if self._drains is not None and not release and self._drains(hot.id) and self._may_be_handed_on(hot, done):
            release, due = True, at
            hot.leaving = True
        posts = (hot.postings is not None or self._overflows) and self._post(hot, done, taking[:taken], at)
        if not done.facts and not consumed and not release and not posts:
            return
        body = encode_row(done.taken, done.facts, not done.at_rest) if done.facts else b""
        self._bytes += len(body)
        for fact in done.facts:
            follow = CARRIED_BY_COMMIT.get(type(fact))
            if follow is not None:
                follow(hot, fact, at, batch)
        carry_subscriptions(hot, batch)
        if hot.start is not None:
            batch.starts.append(hot.start)
            batch.messages.extend(hot.enclosed)
        batch.turns.append(
            Turn(
                execution=hot.id, epoch=hot.epoch, first_seq=first, count=len(done.facts), at=at, level=level, body=body,
                status=status_number(execution, hot.index), consumed=consumed, release=release,
                wake=due if release and not execution.ended else None,
            )
        )  # fmt: skip
        self._add_values(hot, done)

    def _post(self, hot: Hot, done: Stepped, taken: list[tuple[AnyInput, int]], at: int) -> bool:
        """What the execution leaves to other workers; whether anything of that is written."""
        if hot.postings is None:
            if not any(type(command) is Run for command in done.commands):
                return False
            hot.postings = Postings()
        return hot.postings.carry(hot, done, taken, at, self.batch, self._settings.labels, overflows=self._overflows)

    def _moment(self, hot: Hot, inputs: list[AnyInput]) -> int:
        """Now, but never before the execution's last step or a timer that rang (day-one 11)."""
        at = max(hot.execution.at, self._clock.now())
        for given in inputs:
            if type(given) is events.Due and given.due > at:
                at = given.due
        return at

    def _add_values(self, hot: Hot, done: Stepped) -> None:
        """Large values that are not durable yet, and now and then the state as it is."""
        batch = self.batch
        if done.blobs:
            self._keep(hot, done.blobs)
        hot.carried = tuple(hot.blobs)
        if hot.blobs:
            batch.blobs.extend(Blob(tenant=hot.tenant, digest=digest, body=blob) for digest, blob in hot.blobs.items())
        if done.at_rest and (snapshot := hot.due_snapshot(self._settings.snapshot_facts)) is not None:
            batch.snapshots.append(snapshot)

    def _may_leave(self, hot: Hot, done: Stepped, due: int | None, at: int) -> bool:
        """Ended, or only waiting for long enough: then it is a row with a wake time, not memory."""
        if hot.execution.ended:
            return True
        if not done.at_rest or hot.inputs or hot.index.running or hot.errands or done.commands or not self._adopts:
            return False
        return due is None or due - at > self._settings.evict_after

    def _may_be_handed_on(self, hot: Hot, done: Stepped) -> bool:
        """Can somebody else go on with it at once, since nothing of it is under way here?"""
        if not done.at_rest or done.needs or hot.inputs or hot.errands:
            return False
        return all(
            isinstance(command, Evaluate) or (isinstance(command, Run) and not command.at_most_once)  # which is given back
            for command in done.commands
        )
