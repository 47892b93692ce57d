"""Waits: for a time, a condition, a signal, an event; skipped, moved, timed out (rules 46, 47, 48)."""

from __future__ import annotations

from typing import Any

import pytest
from recording import Recording
from ways import Begin, scope

from perdure.clock import MICROSECONDS
from perdure.engine import events
from perdure.engine.commands import Look
from perdure.expressions import format_time

SIGNAL: dict[str, Any] = {"type": "wait_for_signal", "signal": "ok"}


def arrives(play: Recording, type: str, data: Any = None, *, past: bool = False, id: str = "e") -> None:
    """An event of the event log."""
    play.take(events.Arrived(id=id, type=type, source="test", at=play.now, data=play.encoded(data), past=past))


def late(play: Recording) -> list[str]:
    return [fact.what for fact in play.facts if isinstance(fact, events.Late)]


# -- operators (46) --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "node",
    [
        {"type": "delay", "for": "1h"},
        SIGNAL,
        {"type": "wait_for_event", "event": "e"},
        {"type": "wait_for_condition", "condition": "${ false }"},
    ],
    ids=lambda node: node["type"],
)
def test_rule_46_an_operator_skips_a_wait(begin: Begin, node: dict[str, Any]) -> None:
    """It ends by `out` with `{skipped: true}`."""
    play = begin({"w": node, "b": {"after": "w"}})
    play.operate("skip", "w")
    assert play.node_output("w") == {"skipped": True}
    assert play.state("b") == "running"


def test_rule_46_a_skipped_backoff_is_tried_at_once(begin: Begin) -> None:
    """The next attempt starts; nothing is skipped but the time."""
    play = begin({"a": {"retry": {"attempts": 2, "initial": "1h", "jitter": False}}})
    play.fail("a")
    play.operate("skip", "a")
    play.pass_time(0)
    assert play.state("a") == "running"
    assert play.instance("a").attempt == 2


def test_rule_46_a_wait_is_moved(begin: Begin) -> None:
    """When it ends by itself, else its timeout; sooner or later."""
    play = begin({"d": {"type": "delay", "for": "1h"}, "s": {**SIGNAL, "timeout": "1h", "on_timeout": "continue"}})
    play.operate("reschedule", "d", value=play.encoded(play.now + 10 * MICROSECONDS))
    play.operate("reschedule", "s", value=play.encoded(play.now + 7_200 * MICROSECONDS))
    play.pass_time(10)
    assert play.states() == {"d": "succeeded", "s": "waiting"}
    play.pass_time(3_600)
    assert play.state("s") == "waiting"
    play.pass_time(3_600)
    assert play.node_output("s") == {"timed_out": True}


def test_rule_46_what_does_not_wait_cannot_be_skipped(begin: Begin) -> None:
    """Nor can a child, a lock or a join: what they wait for is the work itself."""
    play = begin(
        {
            "a": {},
            "sub": {"type": "subworkflow", "workflow": "c"},
            "locked": {"lock": "k"},
            "j": {"type": "join", "after": ["a", "sub"], "deadline": "1h"},
        }
    )
    for node in ("a", "sub", "locked"):
        play.operate("skip", node)
    assert late(play) == ["skip"] * 3


# -- signals (47) ----------------------------------------------------------------------------------------------------------


def test_rule_47_to_all_reaches_all_that_wait_now(begin: Begin) -> None:
    """Worked graph 12: one signal goes to the oldest; `to: all` frees the rest; a third is kept."""
    nodes = {"l": {"type": "loop", "over": [1, 2, 3], "concurrency": 3, "body": scope(w=SIGNAL), "result": "${ nodes.w }"}}
    play = begin(nodes)
    play.signal("ok", "one")
    assert [play.state(f"l[{number}].w") for number in range(3)] == ["succeeded", "waiting", "waiting"]
    play.signal("ok", "all", to_all=True)
    assert play.status == "succeeded"
    assert play.node_output("l")["results"] == ["one", "all", "all"]


def test_rule_47_to_all_is_not_kept(begin: Begin) -> None:
    """Who begins to wait afterwards does not see it."""
    play = begin({"a": {}, "w": {**SIGNAL, "after": "a"}})
    play.signal("ok", to_all=True)
    play.succeed("a")
    assert play.state("w") == "waiting"
    assert late(play) == ["signal to all"]


def test_rule_47_a_signal_is_kept_for_its_time(begin: Begin) -> None:
    """The first has lapsed when somebody waits, the second has not."""
    play = begin({"a": {}, "w": {**SIGNAL, "after": "a"}})
    play.signal("ok", "short", ttl=10 * MICROSECONDS)
    play.signal("ok", "long", ttl=100 * MICROSECONDS)
    play.pass_time(20)
    play.succeed("a")
    assert play.node_output("w") == "long"


def test_rule_47_without_a_buffer_an_early_signal_is_not_for_this_wait(begin: Begin) -> None:
    """It stays for another that takes it."""
    play = begin({"a": {}, "now": {**SIGNAL, "after": "a", "buffer": False}, "any": {**SIGNAL, "after": "now"}})
    play.signal("ok", "early")
    play.succeed("a")
    assert play.state("now") == "waiting"
    play.signal("ok", "in time")
    assert play.node_output("now") == "in time"
    assert play.node_output("any") == "early"


def test_rule_47_a_path_names_a_wait_in_a_frame(begin: Begin) -> None:
    """Not the oldest, but the one that is meant."""
    play = begin({"l": {"type": "loop", "over": [1, 2], "concurrency": 2, "body": scope(w=SIGNAL)}})
    play.signal("ok", 7, path="l[1].w")
    assert (play.state("l[0].w"), play.state("l[1].w")) == ("waiting", "succeeded")


# -- conditions (48) -------------------------------------------------------------------------------------------------------


def test_rule_48_a_condition_is_judged_when_what_it_reads_has_changed(begin: Begin) -> None:
    """By a variable, by a node of its scope, in whatever frame the change comes from."""
    nodes = {
        "w": {"type": "wait_for_condition", "condition": "${ vars.n >= 2 and nodes.a == 'go' }"},
        "a": {},
        "l": {"type": "loop", "over": [1, 2], "body": scope(x={}, s={"type": "set_variable", "after": "x", "set": {"n": 1}})},
    }
    play = begin(nodes, vars={"n": {"value": 0, "merge": "sum"}})
    play.succeed("l[0].x")
    play.succeed("a", "go")
    assert play.state("w") == "waiting"
    play.succeed("l[1].x")
    assert play.state("w") == "succeeded"
    assert play.node_output("w") is None


def test_rule_48_a_condition_that_holds_on_entry_waits_for_nothing(begin: Begin) -> None:
    """It is judged at once."""
    play = begin({"w": {"type": "wait_for_condition", "condition": "${ true }"}})
    assert play.status == "succeeded"


def test_rule_48_every_judges_it_anew(begin: Begin) -> None:
    """Time alone can make it true."""
    play = begin.new(
        {
            "perdure": 1,
            "name": "w",
            "nodes": {"w": {"type": "wait_for_condition", "condition": "${ now() >= input }", "every": "10s"}},
        }
    )
    play.start(format_time(play.now + 25 * MICROSECONDS))
    play.pass_time(29)
    assert play.state("w") == "waiting"
    play.pass_time(1)
    assert play.state("w") == "succeeded"


def test_rule_48_a_condition_that_cannot_be_evaluated_fails_the_node(begin: Begin) -> None:
    """Later as well as on entry."""
    play = begin({"a": {}, "w": {"type": "wait_for_condition", "condition": "${ nodes.a != null and nodes.a.missing }"}})
    play.succeed("a", {})
    assert play.error is not None
    assert play.error.code == "expression.missing"


def test_rule_46_a_condition_that_never_holds_times_out(begin: Begin) -> None:
    """Like any wait."""
    play = begin(
        {
            "w": {"type": "wait_for_condition", "condition": "${ false }", "timeout": "1m", "on_timeout": "route"},
            "b": {"after": "w.timeout"},
        }
    )
    play.pass_time(60)
    assert play.state("b") == "running"


# -- events (48) -----------------------------------------------------------------------------------------------------------


def test_rule_48_an_event_that_fits_ends_the_wait(begin: Begin) -> None:
    """`where` judges; one that cannot be judged does not match."""
    play = begin({"w": {"type": "wait_for_event", "event": "paid", "where": "${ event.data.order == 7 }"}})
    arrives(play, "other", {"order": 7})
    arrives(play, "paid", {"order": 8})
    arrives(play, "paid", {"no": 1})
    assert play.state("w") == "waiting"
    arrives(play, "paid", {"order": 7}, id="e-1")
    told = play.node_output("w")
    assert (told["id"], told["type"], told["source"], told["data"]) == ("e-1", "paid", "test", {"order": 7})
    assert told["time"] == format_time(play.now)


def test_rule_48_every_wait_that_it_fits_gets_it(begin: Begin) -> None:
    """Unlike a signal."""
    play = begin({"a": {"type": "wait_for_event", "event": "e"}, "b": {"type": "wait_for_event", "event": "e"}})
    arrives(play, "e")
    assert play.status == "succeeded"


def test_rule_48_since_the_execution_looks_back(begin: Begin) -> None:
    """The wish names the start; what is found there is for such waits alone."""
    play = begin(
        {
            "back": {"type": "wait_for_event", "event": "e", "since": "execution"},
            "now": {"type": "wait_for_event", "event": "e"},
        }
    )
    looks = {(command.type, command.since) for command in play.commands if isinstance(command, Look)}
    assert looks == {("e", play.execution.started)}
    arrives(play, "e", past=True)
    assert play.states() == {"back": "succeeded", "now": "waiting"}


# -- a time ----------------------------------------------------------------------------------------------------------------


def test_rule_48_wait_until_ends_at_its_moment(begin: Begin) -> None:
    """Neither before, nor after a retry of anything else."""
    play = begin.new({"perdure": 1, "name": "w", "nodes": {"w": {"type": "wait_until", "time": "${ input }"}}})
    play.start(format_time(play.now + 30 * MICROSECONDS))
    play.pass_time(29)
    assert play.state("w") == "waiting"
    play.pass_time(1)
    assert play.status == "succeeded"


@pytest.mark.parametrize("time", ["tomorrow", 7, None])
def test_rule_48_what_is_no_time_fails_the_node(begin: Begin, time: Any) -> None:
    """With category validation, so nothing is retried."""
    play = begin({"w": {"type": "wait_until", "time": "${ input }"}}, time)
    assert play.error is not None
    assert (play.error.code, play.error.category) == ("time.invalid", "validation")


def test_rule_48_a_condition_sees_that_another_iteration_has_ended(begin: Begin) -> None:
    """`last` is a name that changes, too."""
    wait = {"type": "wait_for_condition", "when": "${ index == 1 }", "condition": "${ last != null }"}
    body = scope(x={"when": "${ index == 0 }"}, w=wait)
    play = begin({"l": {"type": "loop", "over": [1, 2], "concurrency": 2, "body": body, "result": "${ index }"}})
    assert play.state("l[1].w") == "waiting"
    play.succeed("l[0].x")
    assert play.status == "succeeded"
