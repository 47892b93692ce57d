"""Nothing begins in what is left or has lost; what drains keeps its times (rules 13, 19, 30, 31, 36, 38, 43)."""

from __future__ import annotations

from typing import Any

import pytest
from ways import Begin, scope

SIGNAL: dict[str, Any] = {"type": "wait_for_signal", "signal": "go"}


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


# -- what is left ---------------------------------------------------------------------------------------------------------


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
    assert (play.status, play.error.code) == ("failed", "x.first")


def test_rule_43_a_deadline_that_has_passed_stands_when_the_frame_drains(begin: Begin) -> None:
    """Stopped by its deadline, the node has failed in time, whatever happens around it meanwhile."""
    play = begin({"a": {}, "b": {"deadline": "5s"}}, settings={"on_failure": "drain"})
    play.pass_time(5)
    play.fail("a")
    play.stopped("b")
    assert (play.state("b"), play.instance("b").error.code) == ("failed", "timeout.deadline")


# -- going round, and time that is used up ----------------------------------------------------------------------------------


@pytest.mark.parametrize("on_timeout", ["fail", "route"])
def test_rule_36_a_wait_that_times_out_too_often_fails_to_its_error_edge(begin: Begin, on_timeout: str) -> None:
    """`visits.exhausted` is a failure of the source, also where it went back by `timeout`."""
    again = {"from": "w.timeout", "again": True, "max_visits": 1}
    play = begin({"w": {**SIGNAL, "timeout": "4s", "on_timeout": on_timeout, "after": again}, "m": {"after": "w.error"}})
    play.pass_time(4)
    assert (play.instance("w").error.code, play.running()) == ("visits.exhausted", ["m"])


def test_rule_36_without_an_error_edge_it_fails_the_workflow(begin: Begin) -> None:
    """Nobody else is there to take it."""
    again = {"from": "w.timeout", "again": True, "max_visits": 1}
    play = begin({"w": {**SIGNAL, "timeout": "1s", "on_timeout": "route", "after": again}})
    play.pass_time(1)
    assert (play.status, play.error.code) == ("failed", "visits.exhausted")


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
