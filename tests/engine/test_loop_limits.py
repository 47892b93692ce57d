"""What ends a loop before its items do, and what keeps it open: failures, quorums, `until`, limits (rules 27, 28)."""

from __future__ import annotations

from typing import Any

import pytest
from plays import error_of
from ways import Begin, Played, graph, scope

from perdure.engine import events
from perdure.errors import DefinitionRefused
from perdure.testing.rehearsal import plan_of


def loop(count: int, /, body: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A loop over so many items, whose body is one effect `x`, and `k` after it."""
    made = {"type": "loop", "over": list(range(count)), "body": body if body is not None else scope(x={}), **more}
    return {"l": made, "k": {"after": "l"}}


def said(play: Played) -> dict[str, Any]:
    """What the loop gave."""
    output: dict[str, Any] = play.node_output("l")
    return output


# -- tolerate -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tolerate, count, bears", [(0, 5, 0), (1, 5, 1), (2, 5, 2), (9, 5, 5), ("20%", 5, 1), ("39%", 5, 1),
                                                    ("40%", 5, 2), ("99.9%", 5, 4), ("100%", 5, 5), ("50%", 3, 1), ("0%", 5, 0),
                                                    ("${ input }", 5, 3), ("${ '60%' }", 5, 3)])  # fmt: skip
def test_rule_27_so_many_may_fail(begin: Begin, tolerate: Any, count: int, bears: int) -> None:
    """A number, or a share of the items, rounded down; with the next one `on_failure` acts."""
    play = begin(loop(count, tolerate=tolerate), 3)
    for index in range(min(bears + 1, count)):
        assert play.state("l") == "running"
        play.fail(f"l[{index}].x", f"x.{index}")
    if bears >= count:
        assert (play.state("l"), said(play)["counts"]["failed"]) == ("succeeded", count)
    else:
        assert (play.status, error_of(play).code) == ("failed", f"x.{bears}")


def test_rule_27_tolerated_failures_are_told(begin: Begin) -> None:
    """They add nothing to the results, and are no failure of the loop."""
    play = begin(loop(3, tolerate=1, concurrency=3))
    play.fail("l[1].x", "x.1")
    play.succeed("l[0].x", "a")
    play.succeed("l[2].x", "c")
    assert (said(play)["results"], [each["index"] for each in said(play)["failures"]]) == (["a", "c"], [1])


@pytest.mark.parametrize("policy", ["cancel_siblings", "drain", "isolate"])
def test_rule_27_beyond_it_on_failure_acts(begin: Begin, policy: str) -> None:
    """On the one that goes beyond: the others are stopped, drained, or go on."""
    play = begin(loop(6, tolerate=1, concurrency=4, on_failure=policy))
    play.fail("l[0].x", "x.0")
    assert play.state("l[4].x") == "running"
    play.fail("l[1].x", "x.1")
    assert bool(play.instance("l[2].x").stopping) == (policy == "cancel_siblings")
    assert (play.state("l[5].x") == "running") == (policy == "isolate")
    if policy == "cancel_siblings":
        for index in (2, 3, 4):
            play.stopped(f"l[{index}].x")
    else:
        play.fail("l[2].x", "x.2")
        for index in (3, 4, 5) if policy == "isolate" else (3, 4):
            play.succeed(f"l[{index}].x")
    error = error_of(play)
    assert (play.state("l"), error.code, error.node) == ("failed", "x.1", "l[1].x")
    assert [each.code for each in error.also] == (["x.2"] if policy == "isolate" else [])


@pytest.mark.parametrize("policy", ["collect", "ignore"])
def test_rule_27_refused_where_failures_are_handled_anyway(policy: str) -> None:
    """With `collect` or `ignore` there is nothing to tolerate."""
    with pytest.raises(DefinitionRefused) as refused:
        plan_of(graph(loop(3, tolerate=1, on_failure=policy)))
    assert [fault.code for fault in refused.value.faults] == ["loop.tolerate"]


def test_rule_27_a_share_is_refused_where_there_are_no_items() -> None:
    """On a `while`, of which nobody knows how often it runs."""
    with pytest.raises(DefinitionRefused):
        plan_of(graph({"l": {"type": "while", "condition": "${ true }", "tolerate": "10%", "body": scope(x={})}}))
    plan_of(graph({"l": {"type": "while", "condition": "${ true }", "tolerate": 10, "body": scope(x={})}}))


@pytest.mark.parametrize("policy", ["cancel_siblings", "drain", "isolate", "collect", "ignore"])
def test_rule_13_what_a_failed_iteration_does_to_the_others(begin: Begin, policy: str) -> None:
    """`cancel_siblings` stops them, `drain` lets started ones run and starts none, the rest let all go on."""
    play = begin(loop(4, scope(x={}, y={"after": "x"}), concurrency=2, on_failure=policy))
    play.fail("l[0].x", "x.0")
    stops, starts = policy == "cancel_siblings", policy in ("isolate", "collect", "ignore")
    assert (bool(play.instance("l[1].x").stopping), play.state("l[2].x") == "running") == (stops, starts)
    play.succeed("l[1].x")
    assert play.state("l[1].y") == ("skipped" if stops else "running")
    if not stops:
        play.fail("l[1].y", "x.1")
    if starts:
        for index in (2, 3):
            play.succeed(f"l[{index}].x")
            play.succeed(f"l[{index}].y", index)
    assert play.state("l") == ("succeeded" if policy in ("collect", "ignore") else "failed")
    if policy == "ignore":
        assert said(play)["results"] == [2, 3]
    elif policy == "collect":
        assert [each["status"] for each in said(play)["results"][:2]] == ["failed", "failed"]
        assert said(play)["results"][2:] == [2, 3]
    else:
        assert (error_of(play).code, [each.code for each in error_of(play).also]) == (
            "x.0",
            ["x.1"] if policy == "isolate" else [],
        )


# -- need -----------------------------------------------------------------------------------------------------------------


def test_rule_28_without_need_a_loop_has_no_quorum(begin: Begin) -> None:
    """It ends when all iterations have ended."""
    play = begin(loop(3, concurrency=3))
    play.succeed("l[0].x")
    play.succeed("l[2].x")
    assert play.state("l") == "running"
    play.succeed("l[1].x")
    assert play.state("l") == "succeeded"


@pytest.mark.parametrize(
    "need, enough", [("any", 1), (2, 2), ("all", 5), ("50%", 3), ("${ join.success + join.pending == 4 }", 1)]
)
def test_rule_28_with_one_it_ends_when_that_is_met(begin: Begin, need: Any, enough: int) -> None:
    """D is the number of items: those that are in flight have lost, those that have not started never do."""
    play = begin(loop(5, need=need, concurrency=3))
    if need == "${ join.success + join.pending == 4 }":
        play.fail("l[1].x", "x.1")
    else:
        for number in range(enough):
            assert play.state("l") == "running"
            play.succeed(play.running()[-1], number)
    assert play.state("l") == "succeeded"
    assert said(play)["counts"]["total"] == min(5, 2 + max(enough, 1) + (need == "all" and 0))
    assert all(play.instance(node).stopping for node in play.running() if node != "k")


@pytest.mark.parametrize("need, bears", [("any", 4), (2, 3), ("all", 0), ("50%", 2), (4, 1)])
def test_rule_28_it_is_unreachable_when_too_few_are_left(begin: Begin, need: Any, bears: int) -> None:
    """Items that have not started may still come; `all` does not shield, so that its first failure is the loop's."""
    play = begin(loop(5, need=need))
    for index in range(bears):
        play.fail(f"l[{index}].x", f"x.{index}")
        assert play.state("l") == "running"
    play.fail(f"l[{bears}].x", f"x.{bears}")
    assert (play.state("l"), error_of(play).code) == ("failed", "x.0" if need == "all" else "quorum_unreachable")
    if need != "all":
        assert [each.code for each in error_of(play).also] == [f"x.{index}" for index in range(bears + 1)]


def test_rule_28_times_count_as_items(begin: Begin) -> None:
    """Of a `repeat`: D is the number of times."""
    play = begin({"l": {"type": "repeat", "times": 4, "concurrency": 4, "need": "50%", "body": scope(x={})}})
    for index in (3, 1):
        play.succeed(f"l[{index}].x")
    assert play.state("l") == "succeeded"


def test_rule_28_of_a_while_nobody_knows_the_number_until_its_end(begin: Begin) -> None:
    """A number is met when there are so many; a share, or `all`, when the condition is false."""
    body, condition = scope(x={}), "${ index < 3 }"
    play = begin({"l": {"type": "while", "condition": condition, "need": 2, "body": body}})
    for index in range(2):
        play.succeed(f"l[{index}].x")
    assert (play.state("l"), said(play)["counts"]["total"]) == ("succeeded", 2)
    for need, failed, state in (("60%", 1, "succeeded"), ("67%", 1, "failed"), ("all", 0, "succeeded")):
        play = begin({"l": {"type": "while", "condition": condition, "need": need, "body": body}})
        for index in range(3):
            play.fail(f"l[{index}].x") if index < failed else play.succeed(f"l[{index}].x")
        assert play.state("l") == state


def test_rule_28_a_repeat_without_times_is_a_while(begin: Begin) -> None:
    """It goes on until `until`, or until there are enough."""
    play = begin({"l": {"type": "repeat", "until": "${ last == 'end' }", "body": scope(x={})}})
    for said_ in ("a", "b", "end"):
        play.succeed(play.running()[0], said_)
    assert said(play)["results"] == ["a", "b", "end"]
    play = begin({"l": {"type": "repeat", "until": "${ false }", "need": 2, "body": scope(x={})}})
    for _ in range(2):
        play.succeed(play.running()[0])
    assert play.state("l") == "succeeded"


def test_rule_28_count_finished(begin: Begin) -> None:
    """Failed iterations count as well."""
    play = begin(loop(4, need=3, count="finished", concurrency=4, losers="detach"))
    play.fail("l[0].x")
    play.fail("l[1].x")
    play.succeed("l[2].x", 2)
    assert (play.state("l"), said(play)["results"]) == ("succeeded", [2])


def test_rule_28_a_continued_iteration_is_no_success(begin: Begin) -> None:
    """It has ended without one, so that the need may become unreachable."""
    body = scope(x={}, c={"type": "continue", "after": "x", "when": "${ nodes.x == 'next' }"})
    play = begin(loop(3, body, need=2))
    play.succeed("l[0].x", "next")
    assert play.state("l") == "running"
    play.succeed("l[1].x", "next")
    assert (play.state("l"), error_of(play).code) == ("failed", "quorum_unreachable")


# -- until ----------------------------------------------------------------------------------------------------------------


def test_rule_28_until_completes_early(begin: Begin) -> None:
    """Checked after each end: the loop has succeeded, those in flight have lost, and none starts, whatever `losers` says."""
    for losers in ("cancel", "drain", "detach"):
        play = begin(loop(6, until="${ last == 'end' }", concurrency=2, losers=losers))
        play.succeed("l[0].x", "a")
        play.succeed("l[2].x", "end")
        assert (play.state("l"), play.state("k"), play.running()) == ("succeeded", "running", ["k", "l[1].x"])
        assert bool(play.instance("l[1].x").stopping) == (losers == "cancel")
        play.succeed("l[1].x", "late")
        play.succeed("k")
        assert (said(play)["results"], play.status) == (["a", "end"], "succeeded")


def test_rule_28_until_is_checked_after_continue_and_after_a_tolerated_failure(begin: Begin) -> None:
    """Not after one that `on_failure` acts on."""
    body = scope(x={}, c={"type": "continue", "after": "x", "when": "${ nodes.x == 'next' }"})
    play = begin(loop(3, body, until="${ index == 1 }"))
    play.succeed("l[0].x", "next")
    assert play.state("l") == "running"
    play.succeed("l[1].x", "next")
    assert play.state("l") == "succeeded"
    play = begin(loop(3, until="${ state.x.status == 'failed' }", tolerate=1))
    play.fail("l[0].x")
    assert play.state("l") == "succeeded"
    play = begin(loop(3, until="${ state.x.status == 'failed' }"))
    play.fail("l[0].x", "x.0")
    assert (play.state("l"), error_of(play).code) == ("failed", "x.0")


@pytest.mark.parametrize("policy", ["collect", "ignore"])
def test_rule_28_until_is_checked_after_a_failure_that_is_handled(begin: Begin, policy: str) -> None:
    """What `collect` and `ignore` take is within tolerance."""
    play = begin(loop(3, until="${ state.x.status == 'failed' }", on_failure=policy))
    play.fail("l[0].x")
    assert play.state("l") == "succeeded"


@pytest.mark.parametrize("until", ["${ index }", "${ last.missing }"])
def test_rule_28_an_until_that_cannot_be_judged_fails_the_iteration(begin: Begin, until: str) -> None:
    """After whose end it was checked."""
    play = begin(loop(3, until=until))
    play.succeed("l[0].x", {})
    assert (play.state("l"), error_of(play).category, error_of(play).node) == ("failed", "validation", "l[0]")


# -- deadline -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("losers", ["cancel", "drain", "detach"])
def test_rule_28_a_deadline_ends_it_with_what_there_is(begin: Begin, losers: str) -> None:
    """By its `timeout` edge, or as a failure; `losers` says what becomes of the iterations."""
    for edge, state in (("l.timeout", "succeeded"), ("l.error", "failed")):
        play = begin({**loop(4, concurrency=2, deadline="1m", losers=losers), "late": {"after": edge}})
        play.succeed("l[0].x", "a")
        play.pass_time(60)
        assert (play.state("l"), play.state("late"), play.state("k")) == (state, "running", "skipped")
        assert bool(play.instance("l[1].x").stopping) == (losers == "cancel")
        if state == "succeeded":
            assert said(play)["results"] == ["a"]
            assert said(play)["counts"] == {"total": 3, "succeeded": 1, "failed": 0, "continued": 0, "cancelled": 2}
        play.succeed("l[1].x")
        assert (play.state("l[3].x") == "running") == (losers == "detach")


# -- a guard --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [{"type": "loop", "over": [1, 2, 3]}, {"type": "while", "condition": "${ true }"},
                                  {"type": "repeat", "times": 3}, {"type": "repeat", "until": "${ false }"}])  # fmt: skip
def test_rule_28_max_iterations_is_a_guard(begin: Begin, made: dict[str, Any]) -> None:
    """A loop that would go beyond it fails with `loop.max_iterations`, category business, after what runs has ended."""
    play = begin({"l": {**made, "max_iterations": 2, "body": scope(x={})}, "mend": {"after": "l.error"}})
    play.succeed("l[0].x")
    play.succeed("l[1].x")
    error = play.instance("l").error
    assert (play.state("l"), play.state("mend")) == ("failed", "running")
    assert error is not None
    assert (error.code, error.category, error.node) == ("loop.max_iterations", "business", "l")


def test_rule_28_the_guard_stops_what_is_in_flight(begin: Begin) -> None:
    """The loop has failed when they have ended."""
    play = begin(loop(5, concurrency=3, max_iterations=2))
    assert [play.state(f"l[{index}].x") for index in range(3)] == ["running", "running", "pending"]
    assert all(play.instance(f"l[{index}].x").stopping for index in range(2))
    play.stopped("l[0].x")
    assert play.state("l") == "running"
    play.stopped("l[1].x")
    assert (play.state("l"), error_of(play).code) == ("failed", "loop.max_iterations")


def test_rule_28_as_many_as_the_guard_allows_are_fine(begin: Begin) -> None:
    """It is a bound, and not one too many."""
    play = begin(loop(2, max_iterations=2))
    play.succeed("l[0].x")
    play.succeed("l[1].x")
    assert play.state("l") == "succeeded"


# -- open loops -----------------------------------------------------------------------------------------------------------


def opened(begin: Begin, **more: Any) -> Played:
    return begin(loop(1, open=True, result="${ [item, nodes.x] }", **more))


def test_rule_28_items_are_added_by_signal_until_it_is_closed(begin: Begin) -> None:
    """`add` with the loop's path brings a list, `close` closes it; without that it waits for more."""
    play = opened(begin)
    play.succeed("l[0].x", 1)
    assert (play.state("l"), play.running(), play.index.next_due(play.execution)) == ("running", [], None)
    play.signal("add", ["b", "c"], path="l")
    assert play.running() == ["l[1].x"]
    play.signal("add", ["d"], path="l")
    play.succeed("l[1].x", 2)
    play.succeed("l[2].x", 3)
    play.signal("close", path="l")
    assert play.state("l") == "running"
    play.succeed("l[3].x", 4)
    assert said(play)["results"] == [[0, 1], ["b", 2], ["c", 3], ["d", 4]]


def test_rule_28_one_that_is_closed_with_nothing_left_ends(begin: Begin) -> None:
    """At once."""
    play = opened(begin)
    play.succeed("l[0].x")
    play.signal("close", path="l")
    assert (play.state("l"), play.state("k")) == ("succeeded", "running")


def test_rule_28_what_is_added_after_it_is_closed_is_late(begin: Begin) -> None:
    """Journaled, and nothing more; so is what is added while it stops."""
    play = opened(begin)
    play.signal("close", path="l")
    assert play.kinds(play.signal("add", [5], path="l"))[0] == "Late l"
    assert play.execution.signals == []
    play = opened(begin)
    play.operate("cancel")
    assert play.kinds(play.signal("add", [5], path="l"))[0] == "Late l"


def test_rule_28_what_is_no_list_is_one_item(begin: Begin) -> None:
    """One item may be added by itself."""
    play = opened(begin, concurrency=9)
    play.signal("add", {"n": 1}, path="l")
    play.signal("add", [], path="l")
    assert play.running() == ["l[0].x", "l[1].x"]


def test_rule_28_signals_for_other_loops_and_names_are_signals(begin: Begin) -> None:
    """Without the path of an open loop they go where signals go: to a waiter, or are kept."""
    wait = {"type": "wait_for_signal", "signal": "add"}
    play = begin({"w": wait, "l": {"type": "loop", "over": [1], "body": scope(x={})}, "o": loop(1, open=True)["l"]})
    play.signal("add", "for the wait")
    assert play.state("w") == "succeeded"
    play.signal("add", [1], path="l")
    play.signal("other", [1], path="o")
    assert [(kept.name, kept.path) for kept in play.execution.signals] == [("add", "l"), ("other", "o")]
    assert play.running() == ["l[0].x", "o[0].x"]


def test_rule_28_an_open_loop_in_a_loop_has_its_own_path(begin: Begin) -> None:
    """Each iteration's is another one."""
    inner = {"type": "loop", "over": [], "open": True, "body": scope(x={"with": {"item": "${ part }"}}), "as": "part"}
    play = begin({"l": {"type": "loop", "over": [1, 2], "concurrency": 2, "body": scope(m=inner)}})
    play.signal("add", ["a"], path="l[1].m")
    assert play.running() == ["l[1].m[0].x"]
    play.signal("close", path="l[0].m")
    assert (play.state("l[0].m"), play.state("l[1].m")) == ("succeeded", "running")


def test_rule_28_a_quorum_of_an_open_loop_waits_for_its_close(begin: Begin) -> None:
    """As long as items may come, a share of them is not known, nor that a number cannot be reached."""
    play = opened(begin, need=2, concurrency=5)
    play.fail("l[0].x", "x.0")
    assert play.state("l") == "running"
    play.signal("add", ["b", "c"], path="l")
    play.succeed("l[1].x")
    play.succeed("l[2].x")
    assert play.state("l") == "succeeded"
    play = opened(begin, need="50%", concurrency=5)
    play.succeed("l[0].x")
    assert play.state("l") == "running"
    play.signal("close", path="l")
    assert play.state("l") == "succeeded"
    play = opened(begin, need=2)
    play.succeed("l[0].x")
    play.signal("close", path="l")
    assert (play.state("l"), error_of(play).code) == ("failed", "quorum_unreachable")


def test_rule_28_a_retry_of_an_open_loop_keeps_what_was_added(begin: Begin) -> None:
    """And whether it is closed."""
    play = opened(begin, retry={"attempts": 2, "initial": "1s", "jitter": False}, concurrency=3)
    play.signal("add", ["b"], path="l")
    play.signal("close", path="l")
    play.fail("l[0].x")
    play.stopped("l[1].x")
    play.pass_time(1)
    play.succeed("l~2[0].x", 1)
    play.succeed("l~2[1].x", 2)
    assert said(play)["results"] == [[0, 1], ["b", 2]]


def test_added_items_are_in_the_journal(begin: Begin) -> None:
    """With how many they are."""
    play = opened(begin)
    play.signal("add", ["b", "c"], path="l")
    play.signal("close", path="l")
    added = [(fact.count, fact.closed) for fact in play.facts if isinstance(fact, events.ItemsAdded)]
    assert added == [(2, False), (0, True)]
