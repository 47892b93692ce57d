"""Nothing begins in what is left or has lost; what drains keeps its times (rules 13, 19, 30, 31, 36, 38, 43)."""

from __future__ import annotations

from typing import Any

import pytest
from plays import error_of
from ways import Begin, Played, scope

from perdure.engine import events
from perdure.errors import Failure

SIGNAL: dict[str, Any] = {"type": "wait_for_signal", "signal": "go"}


def failure_of(play: Played, node: str) -> Failure:
    """The failure of a node."""
    error = play.instance(node).error
    assert error is not None
    return error


def branches(**named: Any) -> dict[str, Any]:
    return {"type": "parallel", "branches": named}


# -- losers ---------------------------------------------------------------------------------------------------------------


def test_rule_19_a_branch_inside_a_loser_does_not_begin(begin: Begin) -> None:
    """The quorum is met before the inner parallel has opened its second branch."""
    inner = branches(m=scope(), n=scope(x={}))
    outer = {**branches(l=scope(), r=scope(q=inner), s=scope()), "need": "${ join.success > 1 }"}
    play = begin({"p": outer, "z": {}})
    assert play.running() == ["z"]
    play.succeed("z")
    assert play.status == "succeeded"


def test_rule_19_a_body_inside_a_container_that_lost_to_a_join_does_not_begin(begin: Begin) -> None:
    """The join has fired while the loser had opened its frames, and nothing in them."""
    deep = branches(m=scope(t={"type": "try", "body": scope(x={})}))
    nodes = {
        "w": {},
        "l": {"type": "loop", "over": [1], "body": scope(p=deep)},
        "m": {"type": "loop", "over": [1], "need": "any", "body": scope()},
        "j": {"type": "join", "need": "any", "after": ["l", "m"]},
    }
    play = begin(nodes)
    assert play.running() == ["w"]
    play.succeed("w")
    assert (play.state("l"), play.status) == ("cancelled", "succeeded")


def test_rule_19_a_container_that_was_withdrawn_has_no_losers(begin: Begin) -> None:
    """Whatever `losers` says: its other branches never begin."""
    withdrawn = {**branches(l=scope(c={"type": "cancel", "target": "p"}), r=scope(x={})), "losers": "detach"}
    play = begin({"p": withdrawn, "z": {}})
    assert (play.state("p"), play.running()) == ("cancelled", ["z"])


def test_rule_19_a_loop_that_fails_by_its_policy_has_no_losers(begin: Begin) -> None:
    """`losers: detach` speaks of the end by a quorum or a deadline."""
    loop = {"type": "loop", "over": [1, 2], "losers": "detach", "body": scope(x={})}
    body = {**scope(l=loop, w={}), "on_failure": "isolate"}
    play = begin({"t": {"type": "try", "body": body}})
    play.fail("t.body.l[0].x")
    assert (play.state("t.body.l"), play.running()) == ("failed", ["t.body.w"])


# -- loops that end early -------------------------------------------------------------------------------------------------


def test_rule_29_what_is_in_flight_begins_nothing_after_a_break(begin: Begin) -> None:
    """The inner loop of the second iteration has opened its first; the break in the first iteration is before it."""
    inner = {"type": "repeat", "times": 1, "body": scope(b={"type": "break", "loop": "l"})}
    play = begin({"l": {"type": "loop", "over": [3, 4], "concurrency": 2, "body": scope(r=inner)}})
    assert (play.state("l"), play.state("l[0].r[0].b"), play.state("l[1].r[0].b")) == ("succeeded", "succeeded", "pending")
    assert play.status == "succeeded"


@pytest.mark.parametrize("policy", ["isolate", "drain"])
def test_rule_28_a_failure_stands_where_until_ends_the_loop(begin: Begin, policy: str) -> None:
    """It ends as early as without the failure, and has failed."""
    ends = {"concurrency": 2, "until": "${ last == 'enough' }", "on_failure": policy}
    play = begin({"l": {"type": "loop", "over": [1, 2, 3, 4], "body": scope(x={}), **ends}})
    play.fail("l[0].x", "x.first")
    play.succeed("l[1].x", "enough")
    if policy == "isolate":
        play.stopped("l[2].x")
    assert (play.state("l"), play.instance("l").error.code, play.state("l[3].x")) == ("failed", "x.first", "pending")
    assert play.status == "failed"


# -- what is left ---------------------------------------------------------------------------------------------------------


def test_rule_28_until_is_checked_after_a_failure_that_a_quorum_only_counts(begin: Begin) -> None:
    """Nobody makes anything of the failure, so the iteration has ended like another."""
    loop = {"type": "loop", "over": [1, 2, 3], "need": 2, "until": "${ index > 0 }", "body": scope(x={})}
    play = begin({"l": loop})
    play.fail("l[0].x")
    assert play.running() == ["l[1].x"]
    play.fail("l[1].x")
    assert (play.running(), play.state("l"), play.status) == ([], "succeeded", "succeeded")


def test_rule_28_the_guard_of_a_loop_comes_before_its_quorum(begin: Begin) -> None:
    """The iterations that it stops are missing to the quorum then, which is not what went wrong."""
    loop = {"type": "loop", "over": [1, 2, 3], "concurrency": 3, "need": 2, "max_iterations": 2, "body": scope(x={})}
    play = begin({"l": loop})
    assert play.running() == ["l[0].x", "l[1].x"]
    for index in (0, 1):
        play.stopped(f"l[{index}].x")
    assert error_of(play).code == "loop.max_iterations"


def test_rule_37_a_try_that_is_left_before_its_body_began_cleans_up_nothing(begin: Begin) -> None:
    """The return comes from a branch that was there first."""
    late = {"type": "try", "body": scope(x={}), "finally": scope(y={})}
    play = begin({
        "a": {"type": "try", "body": scope(l={"type": "loop", "over": [1], "body": scope(t=late)})},
        "b": branches(l=scope(t={"type": "try", "body": scope(r={"type": "return", "value": 1})})),
    })  # fmt: skip
    assert (play.running(), play.status, play.output) == ([], "succeeded", 1)
    assert play.state("a.body.l[0].t") == "cancelled"


def test_rule_15_an_expression_is_judged_after_what_was_ready_before(begin: Begin) -> None:
    """The loop that became ready with the first of two edges begins before the second decides the join."""
    play = begin({
        "a": {},
        "b": {"type": "transform", "to": 1, "after": "a.error"},
        "j": {"type": "join", "need": "${ join.success > 1 }", "after": ["a.error", "b.error"]},
        "l": {"type": "loop", "over": [1], "body": scope(x={}), "after": "a.error"},
    })  # fmt: skip
    play.fail("a")
    assert (play.state("j"), play.state("l"), play.status) == ("failed", "cancelled", "failed")


def test_rule_30_no_compensation_begins_in_an_iteration_that_is_left(begin: Begin) -> None:
    """`continue` closes the iteration before the rollback inside it had its turn."""
    back = branches(m=scope(y={"type": "try", "body": scope(back={"type": "rollback", "of": "b"})}))
    leaves = branches(m=scope(), n=scope(go={"type": "continue"}))
    play = begin(
        {
            "b": {"compensate": scope(u={})},
            "l": {"type": "loop", "over": [1], "after": "b", "body": scope(t=back, d=leaves)},
        }
    )
    play.succeed("b")
    assert (play.running(), play.status) == ([], "succeeded")


@pytest.mark.parametrize("end", ["stopped", "failed", "succeeded"])
def test_rule_30_an_attempt_that_is_completed_succeeds_when_it_has_stopped(begin: Begin, end: str) -> None:
    """Without an output, unless it still brought one; and what comes after it runs."""
    play = begin(
        {"e": {}, "go": {}, "c": {"type": "cancel", "after": "go", "target": "e", "mode": "complete"}, "k": {"after": "e"}}
    )
    play.succeed("go")
    assert (play.state("e"), bool(play.instance("e").stopping)) == ("running", True)
    {"stopped": play.stopped, "failed": play.fail, "succeeded": lambda node: play.succeed(node, 7)}[end]("e")
    assert (play.state("e"), play.node_output("e"), play.running()) == ("succeeded", 7 if end == "succeeded" else None, ["k"])


def test_rule_30_what_leaves_the_frame_cancels_what_was_to_complete(begin: Begin) -> None:
    """The sibling's failure reaches further than the wish to complete."""
    play = begin({"e": {}, "go": {}, "x": {}, "c": {"type": "cancel", "after": "go", "target": "e", "mode": "complete"}})
    play.succeed("go")
    play.fail("x")
    play.stopped("e")
    assert (play.state("e"), play.status) == ("cancelled", "failed")


# -- what drains ----------------------------------------------------------------------------------------------------------


def test_rule_13_a_join_that_counts_fires_in_a_frame_that_drains(begin: Begin) -> None:
    """It has begun with its first arrival, and its deadline with it; what comes after it does not start."""
    join = {"type": "join", "need": 2, "deadline": "8s", "after": ["a", "b"]}
    play = begin({"a": {}, "b": {}, "c": {}, "j": join, "k": {"after": "j"}}, settings={"on_failure": "drain"})
    play.succeed("a")
    play.fail("c")
    play.succeed("b")
    assert (play.state("j"), play.state("k"), play.status) == ("succeeded", "skipped", "failed")


def test_rule_31_the_timeout_of_a_scope_that_drains_is_a_later_departure(begin: Begin) -> None:
    """What the drain lets run is asked to stop; the error that began the drain stays."""
    body = {**scope(a={}, b={}), "on_failure": "drain", "timeout": "3s"}
    play = begin({"l": {"type": "loop", "over": [1], "body": body}})
    play.fail("l[0].a", "x.first")
    assert not play.instance("l[0].b").stopping
    play.pass_time(3)
    assert play.instance("l[0].b").stopping
    play.stopped("l[0].b")
    assert (play.status, error_of(play).code) == ("failed", "x.first")


def test_rule_43_a_deadline_that_has_passed_stands_when_the_frame_drains(begin: Begin) -> None:
    """Stopped by its deadline, the node has failed in time, whatever happens around it meanwhile."""
    play = begin({"a": {}, "b": {"deadline": "5s"}}, settings={"on_failure": "drain"})
    play.pass_time(5)
    play.fail("a")
    play.stopped("b")
    assert (play.state("b"), failure_of(play, "b").code) == ("failed", "timeout.deadline")


# -- going round, and time that is used up ----------------------------------------------------------------------------------


@pytest.mark.parametrize("then", ["fail", "complete"])
def test_rule_36_people_are_asked_where_the_error_edge_leads_back_too_often(begin: Begin, then: str) -> None:
    """Nobody else takes it: the edge that would is the one that is used up."""
    play = begin({"a": {"park": True, "after": [{"from": "a.error", "again": True, "max_visits": 2}]}})
    play.fail("a")
    play.fail("a")
    assert play.state("a") == "parked"
    play.operate(then, "a#2")
    assert play.status == ("failed" if then == "fail" else "succeeded")
    if then == "fail":
        assert error_of(play).code == "visits.exhausted"


def test_rule_36_a_deadline_that_was_the_last_visit_is_asked_about_by_nobody(begin: Begin) -> None:
    """Parked, its deadline would fall due again at once, for ever."""
    node = {"deadline": "2s", "park": True, "after": [{"from": "a.timeout", "again": True, "max_visits": 2}]}
    play = begin({"a": node})
    for _ in range(2):
        play.pass_time(2)
        play.stopped("a" if play.running() == ["a"] else "a#2")
    assert (play.status, error_of(play).code) == ("failed", "visits.exhausted")


@pytest.mark.parametrize("on_timeout", ["fail", "route"])
def test_rule_36_a_wait_that_times_out_too_often_fails_to_its_error_edge(begin: Begin, on_timeout: str) -> None:
    """`visits.exhausted` is a failure of the source, also where it went back by `timeout`."""
    again = {"from": "w.timeout", "again": True, "max_visits": 1}
    play = begin({"w": {**SIGNAL, "timeout": "4s", "on_timeout": on_timeout, "after": again}, "m": {"after": "w.error"}})
    play.pass_time(4)
    assert (failure_of(play, "w").code, play.running()) == ("visits.exhausted", ["m"])


def test_rule_36_without_an_error_edge_it_fails_the_workflow(begin: Begin) -> None:
    """Nobody else is there to take it."""
    again = {"from": "w.timeout", "again": True, "max_visits": 1}
    play = begin({"w": {**SIGNAL, "timeout": "1s", "on_timeout": "route", "after": again}})
    play.pass_time(1)
    assert (play.status, error_of(play).code) == ("failed", "visits.exhausted")


@pytest.mark.parametrize("then", ["retry", "park"])
def test_rule_38_a_budget_is_used_up_once(begin: Begin, then: str) -> None:
    """The container is then tried again or asked about, and its budget is no timer any more."""
    cleans = {"type": "try", "body": scope(), "finally": scope(x={})}
    what = {"retry": {"attempts": 2, "initial": "9s", "jitter": False}} if then == "retry" else {"park": True}
    play = begin(
        {"n": {"type": "loop", "over": [1], "timeout": "1s", "body": scope(t=cleans), **what}}, settings={"cleanup": "3s"}
    )
    play.pass_time(4)
    assert play.state("n") == ("waiting" if then == "retry" else "parked")
    play.pass_time(1)
    assert play.state("n") == ("waiting" if then == "retry" else "parked")


# -- departures that meet -------------------------------------------------------------------------------------------------


def test_rule_31_the_error_of_a_finally_goes_to_the_furthest_departure(begin: Begin) -> None:
    """Its frame was left by an error, and then the workflow by another: that is what it takes the place of."""
    tried = {"type": "try", "body": scope(), "finally": scope(x={})}
    body = scope(t=tried, d={"type": "delay", "for": "1s"}, f={"type": "fail", "code": "x.in", "after": "d"})
    play = begin({"l": {"type": "loop", "over": [1], "body": body}, "s": {}})
    play.pass_time(1)
    play.fail("s", "y.second")
    play.fail("l[0].t.finally.x", "x.cleanup")
    error = error_of(play)
    assert (error.code, error.cause.code if error.cause else None) == ("x.cleanup", "y.second")


@pytest.mark.parametrize("leave", ["return", "cancel", "timeout"])
def test_rule_31_the_error_of_a_drain_stays_whatever_a_finally_throws(begin: Begin, leave: str) -> None:
    """A later departure takes the place of the drain, and the error of a `finally` that of no drain's."""
    tried = {"type": "try", "body": scope(x={}, r={"type": "return", "after": "x"}), "finally": scope(f={})}
    play = begin({"t": tried, "bad": {}}, settings={"on_failure": "drain", "timeout": "1h"})
    play.fail("bad", "x.meant")
    if leave == "return":
        play.succeed("t.body.x")
    else:
        play.operate("cancel") if leave == "cancel" else play.pass_time(3_600)
        play.stopped("t.body.x")
    play.fail("t.finally.f", "y.cleanup")
    assert (play.status, error_of(play).code) == ("failed", "x.meant")


def test_rule_35_nothing_goes_back_in_a_frame_that_is_left(begin: Begin) -> None:
    """A node that cancels the container around it is not visited again."""
    stop = {"type": "cancel", "target": "l", "after": {"from": "c", "again": True, "max_visits": 3}}
    play = begin({"l": {"type": "loop", "over": [4], "body": scope(c=stop)}})
    assert (play.state("l"), play.status) == ("cancelled", "succeeded")
    assert all(not isinstance(fact, events.Revisited) for fact in play.facts)


@pytest.mark.parametrize("many", ["loop", "parallel"])
def test_rule_13_a_failure_comes_before_what_a_drain_kept_from_starting(begin: Begin, many: str) -> None:
    """Under `isolate` the container has failed with it, though not all of it could begin."""
    kinds: dict[str, dict[str, Any]] = {
        "loop": {"over": [1, 2], "body": scope(x={})},
        "parallel": {"branches": {"u": scope(x={}), "v": scope(y={})}, "concurrency": 1},
    }
    inside = "m[0].x" if many == "loop" else "m.u.x"
    play = begin({"m": {"type": many, "on_failure": "isolate", **kinds[many]}, "a": {}}, settings={"on_failure": "drain"})
    play.fail("a", "x.first")
    play.fail(inside, "x.second")
    assert (play.state("m"), failure_of(play, "m").code) == ("failed", "x.second")
    assert [each.code for each in error_of(play).also] == ["x.second"]


# -- parked ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", ["timeout", "output"])
def test_rule_14_a_container_is_asked_about_its_frames_as_such(begin: Begin, fails: str) -> None:
    """The timeout of a scope, or an error in its output, is nobody's inside it: so the container parks, and may be retried."""
    body = (
        {**scope(w={"type": "delay", "for": "10s"}), "timeout": "1s"}
        if fails == "timeout"
        else {**scope(), "output": "${ input.no }"}
    )
    play = begin({"l": {"type": "loop", "over": [1], "body": body}}, {}, settings={"park": True})
    play.pass_time(1)
    assert play.state("l") == "parked"
    play.operate("retry", "l")
    assert play.instance("l").attempt == 2


def test_rule_14_a_quorum_parks_by_the_setting_of_the_workflow(begin: Begin) -> None:
    """It is the container's own failure; what is left of it is cancelled before."""
    wait = {"type": "delay", "for": "1h"}
    split = {**branches(u=scope(w=wait), v=scope(f={"type": "fail", "code": "y.meant"})), "need": 2}
    play = begin({"p": split}, settings={"park": True})
    assert (play.state("p"), play.state("p.u.w"), play.index.next_due(play.execution)) == ("parked", "cancelled", None)


def test_rule_28_an_open_loop_in_a_frame_that_drains_takes_no_more(begin: Begin) -> None:
    """Nothing could begin any more: it is cancelled when what has begun has ended."""
    opened = {"type": "loop", "over": [1], "open": True, "body": scope(x={})}
    play = begin({"l": opened, "a": {}}, settings={"on_failure": "drain"})
    play.fail("a", "x.first")
    play.succeed("l[0].x")
    assert (play.state("l"), play.status) == ("cancelled", "failed")
