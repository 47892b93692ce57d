"""Deliberate breakages of the product, each of which the simulation must find: what a mistake in it would look like."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import Any
from unittest.mock import patch

from perdure.clock import ShiftedClock
from perdure.engine import edges, events, failing, inputs, machine, operators, signals, timers
from perdure.engine.commands import Run
from perdure.engine.elements import subworkflow
from perdure.engine.index import Index
from perdure.engine.machine import Step
from perdure.operations import executions
from perdure.runtime import gathering, hot
from perdure.runtime.attempts import Attempts
from perdure.runtime.home import Home
from perdure.runtime.hot import Hot
from perdure.store.postgres import presence
from perdure.store.postgres.presence import Lease, Presence
from perdure.store.sqlite.connection import SQL

Breakage = Callable[[], AbstractContextManager[Any]]


# -- the store, and who may write to it ---------------------------------------------------------------------------------------


def _no_fence() -> AbstractContextManager[Any]:
    """A home that lost an execution goes on writing it."""
    fences = ("fence", "fence_and_release")
    unfenced = {name: SQL[name].replace("epoch = ? AND seq = ?", "? IS NOT NULL AND ? IS NOT NULL") for name in fences}
    assert all(unfenced[name] != SQL[name] for name in fences)
    return patch.dict(SQL, unfenced)


def _messages_come_twice() -> AbstractContextManager[Any]:
    """The inbox takes a repeat for something new."""
    numbers, message = count(), executions.Message
    return patch.object(executions, "Message", lambda **given: message(**{**given, "key": f"{given['key']} {next(numbers)}"}))


def _starts_come_twice() -> AbstractContextManager[Any]:
    """The idempotency key of a start is forgotten."""
    start = executions.Start
    return patch.object(executions, "Start", lambda **given: start(**{**given, "key": "", "fingerprint": b""}))


# -- the home -----------------------------------------------------------------------------------------------------------------


def _effects_before_facts() -> AbstractContextManager[Any]:
    """An effect begins before its start is durable."""
    step = gathering.Gathering.step

    def hasty(self: gathering.Gathering, hot: Any) -> None:
        step(self, hot)
        taken: Home = self._keep.__self__  # type: ignore[attr-defined]  # whose turn it is
        for command in self.stepped[-1].done.commands:
            if isinstance(command, Run):
                taken.attempts.carry_out(hot, command)

    return patch.object(gathering.Gathering, "step", hasty)


def _answers_before_facts() -> AbstractContextManager[Any]:
    """A start is acknowledged before it is durable."""
    start = Home.start

    async def hasty(self: Home, given: Any, *rest: Any) -> Any:
        task = asyncio.ensure_future(start(self, given, *rest))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return given.execution

    return patch.object(Home, "start", hasty)


def _messages_stay() -> AbstractContextManager[Any]:
    """What a step has taken in stays in the inbox."""
    turn = gathering.Turn
    return patch.object(gathering, "Turn", lambda **given: turn(**{**given, "consumed": ()}))


def _no_wake() -> AbstractContextManager[Any]:
    """What leaves memory until its time comes is never woken."""
    turn = gathering.Turn
    return patch.object(gathering, "Turn", lambda **given: turn(**{**given, "wake": None}))


def _wrong_snapshot() -> AbstractContextManager[Any]:
    """A snapshot says that it stands one fact earlier than it does."""
    snapshot = hot.Snapshot
    return patch.object(hot, "Snapshot", lambda **given: snapshot(**{**given, "seq": given["seq"] - 1}))


def _results_are_dropped() -> AbstractContextManager[Any]:
    """A result that comes while a turn is being written is lost."""
    deliver = Home.deliver

    def deaf(self: Home, execution: Any, given: Any, position: int = 0) -> bool:
        return True if self._turns.under_way and isinstance(given, events.Result) else deliver(self, execution, given, position)

    return patch.object(Home, "deliver", deaf)


def _no_takeover() -> AbstractContextManager[Any]:
    """A home that takes an execution over does not ask for what was in flight."""
    return patch.object(Hot, "recover", lambda self, recovered: None)


def _memory_runs_away() -> AbstractContextManager[Any]:
    """The state in memory is not what the journal folds to."""
    evolve = machine.evolve

    def forgetful(execution: Any, fact: Any) -> None:
        evolve(execution, fact)
        if isinstance(fact, events.SignalKept):
            execution.signals.pop()

    return patch.object(machine, "evolve", forgetful)


# -- leases -------------------------------------------------------------------------------------------------------------------


def _no_self_fencing() -> AbstractContextManager[Any]:
    """A worker starts effects whether its lease holds or not."""
    return patch.object(Lease, "holds", lambda self: True)


def _asked_once() -> AbstractContextManager[Any]:
    """Whether the lease holds is asked when an effect is let through, and not again when it begins."""
    return patch.object(Attempts, "_check_lease", lambda self: None)


def _no_margin() -> AbstractContextManager[Any]:
    """A worker trusts its lease until the very end, by a clock that may go slower."""
    return patch.object(presence, "MARGIN", 0)


def _leased_from_the_answer() -> AbstractContextManager[Any]:
    """A lease is taken to begin when the answer to the heartbeat comes, however long that took."""
    renew = Lease.renew
    return patch.object(Lease, "renew", lambda self, sent, beat: renew(self, self._clock.monotonic(), beat))


def _registered_from_the_answer() -> AbstractContextManager[Any]:
    """The first lease is taken to begin when the worker hears of it."""
    begin = Lease.begin
    return patch.object(Lease, "begin", lambda self, sent, beat: begin(self, self._clock.monotonic(), beat))


def _times_of_the_machine() -> AbstractContextManager[Any]:
    """Times are judged by the machine's own clock."""
    return patch.object(ShiftedClock, "now", lambda self: self._clock.now())


def _late_answers_tell_the_time() -> AbstractContextManager[Any]:
    """The clocks are compared by the middle of a heartbeat, however long it took."""

    def compare(self: Lease, before: int, beat: int) -> None:
        self.offset = beat - (before + self._clock.now()) // 2

    return patch.object(Lease, "compare", compare)


def _epoch_stays() -> AbstractContextManager[Any]:
    """A takeover does not move the epoch on."""
    kept = SQL["take"].replace("epoch = epoch + 1", "epoch = epoch + 0")
    assert kept != SQL["take"]
    return patch.dict(SQL, take=kept)


def _lost_keeps_its_attempts() -> AbstractContextManager[Any]:
    """A worker that was taken for dead lives on, with the effects that it was about to begin."""
    return patch.object(Attempts, "abandon", lambda self, execution: None)


def _loss_goes_unnoticed() -> AbstractContextManager[Any]:
    """A worker that was taken for dead goes on under its old name."""
    return patch.object(Presence, "lost", False)


def _lost_start_is_not_answered() -> AbstractContextManager[Any]:
    """A start whose answer was lost, and whose execution others have taken over meanwhile, is never acknowledged."""
    lose = Home._lose

    def quietly(self: Home, hot: Hot) -> None:
        hot.future = None
        lose(self, hot)

    return patch.object(Home, "_lose", quietly)


# -- the engine ---------------------------------------------------------------------------------------------------------------


def _losers_fail_their_frame() -> AbstractContextManager[Any]:
    """A branch that a quorum does not need any more fails its frame all the same."""
    return patch.object(failing, "is_shielded", lambda opened, node: False)


def _broken_is_dead() -> AbstractContextManager[Any]:
    """What depends on a failure is taken for what was not chosen."""
    return patch.object(edges, "BROKEN", edges.DEAD)


@contextmanager
def _batch_differs() -> Iterator[None]:
    """What follows from several inputs is only looked at after the last."""
    take, settle = gathering.step, Step.settle
    inputs_of_step: list[int] = [0]

    def all_at_once(execution: Any, index: Any, given: Any, at: int, **limits: Any) -> Any:
        inputs_of_step[0] = len(given)
        return take(execution, index, given, at, **limits)

    def late(self: Step) -> bool:
        return True if len(self.taken) < inputs_of_step[0] else settle(self)

    with patch.object(gathering, "step", all_at_once), patch.object(Step, "settle", late):
        yield
        inputs_of_step[0] = 0


def _budget_renewed() -> AbstractContextManager[Any]:
    """The time for cleaning up begins anew when it is over."""
    over = timers.FRAME_TIMERS["departure"]
    return patch.dict(timers.FRAME_TIMERS, {"departure": lambda frame: (due := over(frame)) and due + 60_000_000})


def _child_used_again() -> AbstractContextManager[Any]:
    """The retry of a sub-workflow finds the child that has failed."""
    child_id = subworkflow.child_id
    return patch.object(subworkflow, "child_id", lambda at, parent, path, visit, attempt: child_id(0, parent, path, visit, 1))


def _timers_early() -> AbstractContextManager[Any]:
    """A timer fires three seconds before its time."""
    take_due = Index.take_due
    return patch.object(Index, "take_due", lambda self, execution, now: take_due(self, execution, now + 3_000_000))


def _left_frames_go_on() -> AbstractContextManager[Any]:
    """A branch that was cancelled starts its next node."""

    def may_start(self: Step, opened: Any, node: Any) -> bool:
        return node.id not in opened.frame.instances and node.index not in opened.resetting

    return patch.object(Step, "_may_start", may_start)


def _signal_to_two() -> AbstractContextManager[Any]:
    """A signal is given to two that wait for it."""
    deliver = signals._deliver

    def generous(step: Any, opened: Any, instance: Any, given: Any) -> None:
        deliver(step, opened, instance, given)
        for other in signals._waiters(step, given)[:1]:
            deliver(step, *other, given)

    return patch.object(signals, "_deliver", generous)


def _lost_stays_lost() -> AbstractContextManager[Any]:
    """An attempt that its worker gave back is not asked for again."""
    return patch.object(inputs, "lose", lambda *given, **named: None)


def _no_pause() -> AbstractContextManager[Any]:
    """A pause is accepted, and nothing pauses."""
    return patch.dict(operators._ON_EXECUTION, {"pause": lambda step, given: None})


def _retries_for_ever() -> AbstractContextManager[Any]:
    """A policy grants one attempt more than it says."""
    next_try = failing.next_try

    def generous(node: Any, instance: Any, failure: Any, *rest: Any) -> Any:
        found = next_try(node, instance, failure, *rest)
        if found is None and node.retry and not instance.used and failure.category == "business":
            return 0, rest[0] + 1_000_000
        return found

    return patch.object(failing, "next_try", generous)


BREAKAGES: Mapping[str, Breakage] = {
    "no fence": _no_fence,
    "messages come twice": _messages_come_twice,
    "starts come twice": _starts_come_twice,
    "effects before facts": _effects_before_facts,
    "answers before facts": _answers_before_facts,
    "messages stay": _messages_stay,
    "lost wake-up": _no_wake,
    "wrong snapshot": _wrong_snapshot,
    "results are dropped": _results_are_dropped,
    "no takeover": _no_takeover,
    "memory runs away": _memory_runs_away,
    "no self-fencing": _no_self_fencing,
    "asked once": _asked_once,
    "no margin": _no_margin,
    "leased from the answer": _leased_from_the_answer,
    "registered from the answer": _registered_from_the_answer,
    "times of the machine": _times_of_the_machine,
    "late answers tell the time": _late_answers_tell_the_time,
    "epoch stays": _epoch_stays,
    "the lost keep their attempts": _lost_keeps_its_attempts,
    "loss goes unnoticed": _loss_goes_unnoticed,
    "lost start is not answered": _lost_start_is_not_answered,
    "losers fail their frame": _losers_fail_their_frame,
    "broken is dead": _broken_is_dead,
    "batch differs": _batch_differs,
    "budget renewed": _budget_renewed,
    "child used again": _child_used_again,
    "timers early": _timers_early,
    "left frames go on": _left_frames_go_on,
    "signal to two": _signal_to_two,
    "lost stays lost": _lost_stays_lost,
    "no pause": _no_pause,
    "retries for ever": _retries_for_ever,
}
