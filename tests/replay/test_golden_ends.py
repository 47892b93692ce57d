"""What an earlier release left running comes to an end today, whichever way the world treats it from there on.

That it ends when all goes well is tested beside the journals (`tests/engine/test_golden.py`); here nothing goes well.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from golden import Golden, journals
from recording import SECOND, Recording

from perdure.engine import events
from perdure.engine.execution import OPEN, PARKED, RUNNING, WAITING, path_of
from perdure.errors import Failure
from perdure.ids import instance_path

FINAL = ("succeeded", "failed", "cancelled", "timed_out")
CUTS_MAX = 5
"""Cuts of one journal: after its first and its last row, and evenly between."""
MOVES_MAX = 2_000
RETRIES_MAX = 3
UNHEARD = 600 * SECOND
"""How long nobody answers: where a condition is looked at every second, time alone ends nothing."""

Move = Callable[[Recording], bool]
Way = tuple[Move, ...]


def cuts(rows: int) -> list[int]:
    """After how many rows an execution is taken over."""
    return sorted({1 + round(step * (rows - 1) / (CUTS_MAX - 1)) for step in range(CUTS_MAX)})


# -- moves: each does one thing and says whether there was anything to do -------------------------------------------------


def resume(play: Recording) -> bool:
    return bool(play.execution.paused_at and play.operate("resume"))


def obey(play: Recording) -> bool:
    """An attempt that was asked to stop has stopped."""
    return next((bool(play.stopped(path)) for path in play.running() if play.instance(path).stopping), False)


def fail_attempt(play: Recording) -> bool:
    error = Failure(code="test.refused", title="the world is unkind", category="business", retryable=False)
    return next((bool(play.take(play.result(path, outcome="failed", error=error))) for path in play.running()), False)


def fail_but_retryable(play: Recording) -> bool:
    return next((bool(play.fail(path, "http.503", retryable=True)) for path in play.running()), False)


def fail_parked(play: Recording) -> bool:
    return next((bool(play.operate("fail", path_of(*found))) for found in play.active(PARKED)), False)


def retry_parked(play: Recording) -> bool:
    """A parked node is tried again, some times; then it is to fail."""
    for frame, instance in play.active(PARKED):
        path = path_of(frame, instance)
        retried = sum(
            isinstance(fact, events.Parked) and instance_path(fact.frame, fact.node, fact.visit) == path for fact in play.facts
        )
        return bool(play.operate("retry" if retried < RETRIES_MAX else "fail", path))
    return False


def end_children(play: Recording) -> bool:
    """A child that is waited for has failed, or ended as it was asked to; one that is not has not started."""
    for frame, instance in play.active(WAITING):
        if instance.wait != "child" or instance.progress is None:
            continue
        token, error = play.token(frame, instance), Failure(code="child.lost", title="it failed", category="technical")
        if not play.index.node(frame.path, instance.node).options["wait"]:
            return bool(play.take(events.Result(token=token, outcome="failed", error=error)))
        status = "cancelled" if instance.stopping else "failed"
        given = events.ChildEnded(
            token=token, child=instance.progress.child, status=status, error=None if instance.stopping else error
        )
        return bool(play.take(given))
    return False


def let_time_pass(play: Recording) -> bool:
    return play.next_time()


def let_nobody_answer(play: Recording) -> bool:
    return play.now < play.ats[0] + UNHEARD and play.next_time()


def fail_waiting(play: Recording) -> bool:
    """What still waits and has no timeout is ended by an operator, who cannot give it what it waits for."""
    for frame, instance in play.active(WAITING):
        if instance.wait == "lock":
            given = events.Granted(frame=frame.path, node=instance.node, visit=instance.visit, key=instance.wait_key)
            return bool(play.take(given))
        if instance.wait == "deferred":
            error = Failure(code="test.refused", title="nobody answers", category="business", retryable=False)
            return bool(play.take(events.Complete(token=play.token(frame, instance), error=error)))
        return bool(play.operate("skip", path_of(frame, instance)))
    return False


def close_loops(play: Recording) -> bool:
    """A loop that takes in more while it runs is told that no more will come."""
    for frame, instance in play.active(OPEN):
        if instance.progress is not None and instance.progress.accepts and not instance.stopping:
            return bool(play.signal("close", path=path_of(frame, instance)))
    return False


def cancel(play: Recording) -> bool:
    root = play.execution.frames[""]
    return root.departure is None and bool(play.operate("cancel"))


def crash(play: Recording) -> bool:
    """A home is lost while attempts run: they are lost too."""
    return bool(play.active(RUNNING)) and bool(play.crash())


REST: Way = (end_children, let_time_pass, close_loops, fail_waiting)
WAYS: dict[str, Way] = {
    "everything fails": (resume, obey, fail_attempt, fail_parked, *REST),
    "everything fails but may be retried": (resume, obey, fail_but_retryable, retry_parked, *REST),
    "it is cancelled": (cancel, resume, obey, fail_attempt, fail_parked, *REST),
    "nobody answers": (
        resume,
        obey,
        let_nobody_answer,
        fail_parked,
        fail_attempt,
        end_children,
        close_loops,
        fail_waiting,
        let_time_pass,
    ),
    "homes are lost again and again": (resume, obey, crash, fail_parked, fail_attempt, *REST),
}


def led_to_its_end(play: Recording, way: Way) -> None:
    """Move after move, the first that there is to be done."""
    for moves in count(1):
        if play.execution.ended:
            return
        assert any(move(play) for move in way), f"nothing can move this execution any more: {play.states()}"
        assert moves < MOVES_MAX, "the execution never ends"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("file", [pytest.param(file, id=file.stem) for file in journals()])
def test_what_was_left_running_ends_whatever_happens(file: Path, way: str) -> None:
    """A home of today takes over after some of its rows and leads it to a final status; all that must always hold has held."""
    kept = Golden(file)
    for rows in cuts(len(kept.rows)):
        play = kept.folded(rows)
        if play.execution.ended:
            continue
        play.take(events.Recovered(crashed=True, worker="next"))
        led_to_its_end(play, WAYS[way])
        assert play.status in FINAL


@pytest.mark.parametrize("file", [pytest.param(file, id=file.stem) for file in journals()])
def test_an_execution_that_was_left_running_can_be_terminated(file: Path) -> None:
    """At once, from wherever it stands."""
    kept = Golden(file)
    for rows in cuts(len(kept.rows)):
        play = kept.folded(rows)
        if not play.execution.ended:
            play.take(events.Recovered(crashed=True, worker="next"))
            if not play.execution.ended:
                play.operate("terminate")
            assert play.status in FINAL


def test_the_cuts_reach_both_ends() -> None:
    """One row, all rows, and what is between, each once."""
    assert cuts(1) == [1]
    assert cuts(3) == [1, 2, 3]
    assert cuts(101) == [1, 26, 51, 76, 101]
