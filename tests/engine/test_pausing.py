"""Pause and resume: nothing new starts, what comes in is kept, clocks stand still or run on (rule 45)."""

from __future__ import annotations

from typing import Any

import pytest
from recording import Recording
from ways import Begin, Played, scope

from perdure.clock import MICROSECONDS
from perdure.engine import events
from perdure.expressions import format_time

FROZEN, RUNNING = "frozen", "running"


def resume(play: Recording, clocks: str = FROZEN) -> None:
    play.operate("resume", value=play.encoded(clocks))


def test_rule_45_nothing_new_starts(begin: Begin) -> None:
    """A result is recorded; what it makes ready waits until the pause is over."""
    play = begin({"a": {}, "b": {"after": "a"}, "t": {"type": "transform", "after": "a", "to": 1}})
    play.operate("pause")
    play.succeed("a", 7)
    assert play.states() == {"a": "succeeded", "b": "pending", "t": "pending"}
    resume(play)
    assert play.states() == {"a": "succeeded", "b": "running", "t": "succeeded"}


def test_rule_45_no_frame_ends_in_a_pause(begin: Begin) -> None:
    """Neither an iteration, nor the execution itself."""
    play = begin({"l": {"type": "loop", "over": [1, 2], "body": scope(x={})}})
    play.operate("pause")
    play.succeed("l[0].x")
    assert (play.state("l[1].x"), play.status) == ("pending", "")
    resume(play)
    assert play.state("l[1].x") == "running"
    play.operate("pause")
    play.succeed("l[1].x")
    assert play.status == ""
    resume(play)
    assert play.status == "succeeded"


def test_rule_45_a_failure_is_recorded_and_acts_later(begin: Begin) -> None:
    """What it does to its siblings waits as well."""
    play = begin({"a": {}, "b": {}})
    play.operate("pause")
    play.fail("a", "x.y")
    assert (play.state("a"), play.state("b"), play.stops()) == ("failed", "running", [])
    resume(play)
    assert [stop.token.node for stop in play.stops()][:1] == ["b"]


def waits(begin: Begin, **more: Any) -> Played:
    """A relative wait of 10 s, an absolute one of 10 s, paused after 4 s for 100 s."""
    play = begin.new(
        {
            "perdure": 1,
            "name": "w",
            "nodes": {
                "relative": {"type": "delay", "for": "10s"},
                "absolute": {"type": "wait_until", "time": "${ input }"},
                **more,
            },
        }
    )
    play.start(format_time(play.now + 10 * MICROSECONDS))
    play.pass_time(4)
    play.operate("pause")
    play.pass_time(100)
    return play


def test_rule_45_frozen_clocks_shift_what_is_relative(begin: Begin) -> None:
    """Six seconds of the delay are left; the moment of the calendar has passed."""
    play = waits(begin)
    assert play.states() == {"relative": "waiting", "absolute": "waiting"}
    resume(play)
    play.pass_time(0)
    assert play.states() == {"relative": "waiting", "absolute": "succeeded"}
    play.pass_time(5)
    assert play.state("relative") == "waiting"
    play.pass_time(1)
    assert play.status == "succeeded"


def test_rule_45_running_clocks_let_all_fire_that_came_due(begin: Begin) -> None:
    """In the order in which it was due."""
    play = waits(begin, later={"type": "delay", "for": "50s"})
    before = len(play.facts)
    resume(play, RUNNING)
    play.pass_time(0)
    assert [fact.node for fact in play.facts[before:] if isinstance(fact, events.Done)] == ["absolute", "relative", "later"]
    assert play.status == "succeeded"


def test_rule_45_deadlines_timeouts_and_backoffs_stand_still_too(begin: Begin) -> None:
    """Of nodes, containers, scopes and the workflow."""
    retry = {"attempts": 2, "initial": "10s", "jitter": False}
    nodes = {
        "r": {"retry": retry},
        "d": {"type": "wait_for_signal", "signal": "s", "timeout": "20s", "on_timeout": "continue"},
        "t": {"type": "try", "timeout": "30s", "body": {**scope(x={}), "timeout": "25s"}, "catch": {"body": scope(c={})}},
    }
    play = begin(nodes, settings={"timeout": "40s"})
    play.fail("r")
    play.operate("pause")
    play.pass_time(1_000)
    resume(play)
    play.pass_time(9)
    assert play.state("r") == "waiting"
    play.pass_time(1)
    assert play.state("r") == "running"
    play.pass_time(10)
    assert play.state("d") == "succeeded"
    play.pass_time(5)
    assert play.instance("t.body.x").stopping == "the timeout of `t.body` passed"
    play.pass_time(15)
    assert play.frame().departure is not None
    assert play.frame().departure.kind == "timeout"  # type: ignore[union-attr]  # as asserted


@pytest.mark.parametrize("clocks, left", [("frozen", 10), ("running", 4)])
def test_rule_45_a_backoff_that_begins_in_a_pause_has_its_whole_length(begin: Begin, clocks: str, left: int) -> None:
    """The attempt fails in the pause: with frozen clocks its wait begins with the resume, with running ones it has begun."""
    play = begin({"r": {"retry": {"attempts": 2, "initial": "10s", "jitter": False}}})
    play.operate("pause")
    play.pass_time(5)
    play.fail("r")
    play.pass_time(6)
    play.operate("resume", value=play.encoded(clocks))
    play.pass_time(left - 1)
    assert play.state("r") == "waiting"
    play.pass_time(1)
    assert play.state("r") == "running"


def test_rule_45_inputs_are_kept(begin: Begin) -> None:
    """A signal that comes in a pause reaches its waiter, and what follows waits."""
    play = begin({"w": {"type": "wait_for_signal", "signal": "s"}, "b": {"after": "w"}})
    play.operate("pause")
    play.signal("s", 1)
    assert (play.state("w"), play.state("b")) == ("succeeded", "pending")
    resume(play)
    assert play.state("b") == "running"


def test_rule_45_a_cancel_ends_the_pause(begin: Begin) -> None:
    """What cleans up must be able to."""
    play = begin({"t": {"type": "try", "body": scope(x={}), "finally": scope(f={})}})
    play.operate("pause")
    play.operate("cancel")
    play.stopped("t.body.x")
    assert play.state("t.finally.f") == "running"
    play.succeed("t.finally.f")
    assert play.status == "cancelled"


def test_rule_45_a_terminate_ends_it_too(begin: Begin) -> None:
    """At once."""
    play = begin({"a": {}})
    play.operate("pause")
    play.operate("terminate")
    assert play.status == "cancelled"


def test_rule_45_a_second_pause_and_a_resume_without_one_are_late(begin: Begin) -> None:
    """They change nothing; the pause is counted from the first."""
    play = begin({"d": {"type": "delay", "for": "10s"}})
    resume(play)
    play.operate("pause")
    play.pass_time(50)
    play.operate("pause")
    resume(play)
    assert [fact.what for fact in play.facts if isinstance(fact, events.Late)] == ["resume", "pause"]
    play.pass_time(10)
    assert play.status == "succeeded"


def test_rule_45_a_crash_in_a_pause_starts_nothing_anew() -> None:
    """What ran is asked for again when the pause is over."""
    play = Recording({"perdure": 1, "name": "w", "nodes": {"a": {"type": "test.effect"}}})
    play.start()
    play.operate("pause")
    play.commands.clear()
    play.crash()
    assert play.runs() == []
    resume(play)
    assert [run.token.node for run in play.runs()] == ["a"]
    play.succeed("a")
    assert play.status == "succeeded"
