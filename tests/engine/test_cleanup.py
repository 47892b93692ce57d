"""The time for cleaning up: when it begins, who shares it, and what becomes of what is not done in time (rule 38)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from plays import definition, error_of, perform, running
from ways import Begin, Played, scope, worked_graph


@pytest.mark.parametrize("row", worked_graph(9), ids=lambda row: row["row"])
def test_rule_38_in_worked_graph_9(begin: Begin, row: dict[str, Any]) -> None:
    """Worked graph 9: a cancel, a second one, and the workflow's timeout, all while finally runs."""
    perform(begin.new(definition(row)), row["play"])


def tried(body: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The try `t`, which cleans up with `f`."""
    return {"t": {"type": "try", "body": scope(body or {"x": {}}), "finally": scope(f={}), **more}}


# -- how long, and from when ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, seconds",
    [({}, 60), ({"cleanup": "10s"}, 10), ({"cleanup": "${ input.time }"}, 7), ({"cleanup": "${ input.none }"}, 60)],
)  # fmt: skip
def test_rule_38_the_budget_is_a_minute_unless_written(begin: Begin, settings: dict[str, Any], seconds: int) -> None:
    """`settings.cleanup`, which may be an expression; one that cannot be evaluated gives the minute."""
    play = begin(tried(), {"time": "7s"}, settings=settings)
    play.operate("cancel")
    play.stopped("t.body.x")
    play.pass_time(seconds - 1)
    assert (running(play), play.status) == (["t.finally.f"], "")
    play.pass_time(1)
    assert (play.status, error_of(play).code) == ("cancelled", "cleanup.exhausted")


def test_rule_38_the_budget_begins_with_the_departure(begin: Begin) -> None:
    """Not with finally: what the attempts take to stop is part of it."""
    play = begin(tried(), settings={"cleanup": "10s"})
    play.pass_time(100)
    play.operate("cancel")
    play.pass_time(9)
    assert play.status == ""
    play.pass_time(1)
    assert (play.status, play.state("t.body.x")) == ("cancelled", "running")
    assert error_of(play).data == {"undone": ["t.body.x"]}


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
def test_rule_38_the_budget_comes_after_the_timeout(begin: Begin, limit: str) -> None:
    """And not out of it: a try has its whole time, then the whole budget."""
    limits: dict[str, Any] = {limit: "30s", "cleanup": "10s"}
    play = begin(tried(**limits), settings={"cleanup": "1h"})
    play.pass_time(30)
    play.stopped("t.body.x")
    play.pass_time(9)
    assert running(play) == ["t.finally.f"]
    play.pass_time(1)
    assert (play.state("t"), running(play)) == ("failed", [])


def test_rule_38_the_workflows_timeout_comes_before_its_budget(begin: Begin) -> None:
    """The execution ends at the latest when both are over."""
    play = begin(tried(), settings={"timeout": "1m", "cleanup": "10s"})
    play.pass_time(60)
    play.stopped("t.body.x")
    play.pass_time(9)
    assert (running(play), play.status) == (["t.finally.f"], "")
    play.pass_time(1)
    error = error_of(play)
    assert (play.status, error.code, error.cause and error.cause.code) == ("timed_out", "cleanup.exhausted", "timeout.workflow")


def test_rule_38_a_trys_own_cleanup_is_for_its_own_timeout(begin: Begin) -> None:
    """A cancel of the workflow has the workflow's budget, whatever the try says; without its own the try has that as well."""
    cancelled = begin(tried(timeout="1h", cleanup="10s"), settings={"cleanup": "30s"})
    cancelled.operate("cancel")
    cancelled.stopped("t.body.x")
    cancelled.pass_time(29)
    assert running(cancelled) == ["t.finally.f"]
    late = begin(tried(timeout="1h"), settings={"cleanup": "30s"})
    late.pass_time(3_600)
    late.stopped("t.body.x")
    late.pass_time(29)
    assert late.state("t") == "running"
    late.pass_time(1)
    assert late.state("t") == "failed"


def test_rule_38_a_trys_own_cleanup_may_be_an_expression(begin: Begin) -> None:
    """It sees what the try sees."""
    play = begin({"a": {}, "t": {**tried(timeout="1m", cleanup="${ nodes.a }")["t"], "after": "a"}})
    play.succeed("a", "5s")
    play.pass_time(60)
    play.stopped("t.body.x")
    play.pass_time(4)
    assert play.state("t") == "running"
    play.pass_time(1)
    assert play.state("t") == "failed"


# -- who shares it ----------------------------------------------------------------------------------------------------------


def nested() -> dict[str, Any]:
    """Two tries, one in the other; the inner one undoes `done` in its finally."""
    inner = {"type": "try", "body": scope(done={"compensate": scope(undo={})}, x={"after": "done"}),
             "finally": scope(g={"type": "rollback"})}  # fmt: skip
    return {"t": {"type": "try", "body": scope(u=inner), "finally": scope(f={})}, "s": {}}


def test_rule_38_finally_and_rollback_on_the_way_share_it(begin: Begin) -> None:
    """The budget is of the departure: what the first of them takes the last has no more."""
    play = begin(nested(), settings={"cleanup": "10s"})
    play.succeed("t.body.u.body.done")
    play.operate("cancel")
    play.stopped("s")
    play.stopped("t.body.u.body.x")
    play.pass_time(6)
    play.succeed("t.body.u.body.done.compensate.undo")
    assert running(play) == ["t.finally.f"]
    play.pass_time(3)
    assert play.status == ""
    play.pass_time(1)
    assert (play.status, error_of(play).data) == ("cancelled", {"undone": ["t.finally.f"]})


def test_rule_38_a_rollback_that_is_not_done_in_time_stops(begin: Begin) -> None:
    """A compensation is reached by the end of the budget, though not by the cancel."""
    play = begin(nested(), settings={"cleanup": "10s"})
    play.succeed("t.body.u.body.done")
    play.operate("cancel")
    play.stopped("s")
    play.stopped("t.body.u.body.x")
    assert running(play) == ["t.body.u.body.done.compensate.undo"]
    play.pass_time(10)
    assert (play.status, error_of(play).data) == ("cancelled", {"undone": ["t.body.u.body.done.compensate.undo"]})
    assert {"undo"} <= {stop.token.node for stop in play.stops()}


def test_rule_38_each_departure_has_its_own(begin: Begin) -> None:
    """Two tries whose times pass one after the other each have a whole budget; one does not shorten the other's."""
    nodes = {name: {**tried(timeout=time)["t"]} for name, time in (("t", "1m"), ("u", "65s"))}
    play = begin({**nodes, "late": {"after": ["t.timeout", "u.timeout"]}}, settings={"cleanup": "10s"})
    play.pass_time(65)
    play.stopped("t.body.x")
    play.stopped("u.body.x")
    play.pass_time(5)
    assert (play.state("t"), running(play)) == ("failed", ["u.finally.f"])
    play.pass_time(5)
    assert (play.state("u"), running(play)) == ("failed", ["late"])


def test_rule_38_a_budget_of_a_try_ends_also_while_a_cancel_leaves_the_workflow(begin: Begin) -> None:
    """The earlier one for what it reaches: the try ends, and the cancel goes on in its own."""
    play = begin({"o": {"type": "try", "body": scope(tried(timeout="1m", cleanup="10s")), "finally": scope(keep={})}},
                 settings={"cleanup": "1h"})  # fmt: skip
    play.pass_time(60)
    play.stopped("o.body.t.body.x")
    play.pass_time(5)
    play.operate("cancel")
    assert running(play) == ["o.body.t.finally.f"]
    play.pass_time(5)
    assert running(play) == ["o.finally.keep"]
    play.succeed("o.finally.keep")
    assert (play.status, play.error) == ("cancelled", None)


# -- what has a budget, and what has none -----------------------------------------------------------------------------------

DEPARTURES: dict[str, Callable[[Played], Any]] = {
    "cancel": lambda play: play.operate("cancel"),
    "cancel node": lambda play: play.succeed("c"),
    "complete": lambda play: play.succeed("d"),
    "timeout": lambda play: play.pass_time(3_600),
    "again": lambda play: play.succeed("back"),
}


@pytest.mark.parametrize("source", DEPARTURES)
def test_rule_38_a_departure_by_a_cancel_or_a_timeout_has_a_budget(begin: Begin, source: str) -> None:
    """Of the workflow, of a container, by a node, by an edge that goes back: when it is over, what is left stops."""
    nodes = {
        "c": {}, "off": {"type": "cancel", "after": "c", "target": "t"},
        "d": {}, "enough": {"type": "cancel", "after": "d", "target": "t", "mode": "complete"},
        "begin": {"after": [{"from": "back", "again": True, "max_visits": 2}]}, "back": {"after": "begin"},
        "t": {**tried()["t"], "after": "begin"},
    }  # fmt: skip
    play = begin(nodes, settings={"timeout": "1h", "cleanup": "10s"})
    play.succeed("begin")
    DEPARTURES[source](play)
    for node in ("back", "c", "d"):
        if source in ("cancel", "timeout"):
            play.stopped(node)
    play.stopped("t.body.x")
    play.pass_time(9)
    assert "t.finally.f" in running(play)
    play.pass_time(1)
    assert "t.finally.f" not in running(play)
    if source == "again":
        assert play.state("begin") == "running"
    else:
        ends = {"cancel": "running", "timeout": "running", "cancel node": "cancelled", "complete": "succeeded"}
        assert play.state("t") == ends[source]
        assert play.status == {"cancel": "cancelled", "timeout": "timed_out"}.get(source, "")


FREE: dict[str, Callable[[Played], Any]] = {
    "success": lambda play: play.succeed("l[0].t.body.x"),
    "error": lambda play: play.fail("l[0].t.body.x"),
    "sibling": lambda play: (play.fail("l[0].s"), play.stopped("l[0].t.body.x")),
    "break": lambda play: (play.succeed("l[0].b"), play.stopped("l[0].s"), play.stopped("l[0].t.body.x")),
    "return": lambda play: (play.succeed("l[0].r"), play.stopped("l[0].s"), play.stopped("l[0].t.body.x")),
    "the scope's timeout": lambda play: (play.pass_time(3_600), play.stopped("l[0].t.body.x")),
}


@pytest.mark.parametrize("source", FREE)
def test_rule_38_on_success_and_error_finally_has_its_own_timeouts_only(begin: Begin, source: str) -> None:
    """So it has when the body is left by a break or a return, and by a scope's timeout, which is an error."""
    inside = {
        **tried(**{"finally": {**scope(f={}, g={"after": "f.error"}), "timeout": "2h"}}), "s": {}, "b": {}, "r": {},
        "out": {"type": "break", "after": "b"}, "leave": {"type": "return", "after": "r"},
    }  # fmt: skip
    play = begin({"l": {"type": "loop", "over": [1], "body": {**scope(inside), "timeout": "1h"}}}, settings={"cleanup": "1s"})
    FREE[source](play)
    play.pass_time(7_199)
    assert play.state("l[0].t.finally.f") == "running"
    assert not play.instance("l[0].t.finally.f").stopping
    play.pass_time(1)
    assert play.instance("l[0].t.finally.f").stopping


def test_rule_38_a_workflow_in_which_nothing_cleans_up_needs_no_budget(begin: Begin) -> None:
    """It ends when its attempts have stopped, which their grace limits."""
    play = begin({"a": {}}, settings={"cleanup": "1s"})
    play.operate("cancel")
    play.pass_time(3_600)
    assert play.status == ""
    play.stopped("a")
    assert (play.status, play.error) == ("cancelled", None)


# -- used up ----------------------------------------------------------------------------------------------------------------


def test_rule_38_all_that_the_departure_reaches_stops(begin: Begin) -> None:
    """Attempts are asked and not waited for, waits and what has not begun end; the error names what was left undone."""
    cleaning = {"f": {}, "wait": {"type": "delay", "for": "1d"}, "g": {"after": "f"},
                "l": {"type": "loop", "over": [1, 2], "concurrency": 2, "body": scope(y={})}}  # fmt: skip
    play = begin({**tried(**{"finally": scope(cleaning)}), "late": {"after": "t"}}, settings={"cleanup": "10s"})
    play.operate("cancel")
    play.stopped("t.body.x")
    play.pass_time(10)
    assert play.status == "cancelled"
    error = error_of(play)
    assert (error.code, error.category) == ("cleanup.exhausted", "timeout")
    assert error.data == {"undone": ["t.finally.f", "t.finally.wait", "t.finally.l[0].y", "t.finally.l[1].y"]}
    assert [stop.token.node for stop in play.stops()] == ["x", "f", "y", "y"]


def test_rule_38_a_timeout_whose_budget_is_used_up_fails_with_the_timeout(begin: Begin) -> None:
    """What was left undone is its cause; frames inside are gone, and what comes late changes nothing."""
    play = begin({**tried(timeout="1m", cleanup="10s"), "late": {"after": "t.timeout", "with": "${ error }"}})
    play.pass_time(60)
    play.stopped("t.body.x")
    result = play.result("t.finally.f", output=play.encoded(None))
    play.pass_time(10)
    seen = play.value(play.instance("late").params)
    assert (seen["code"], seen["cause"]["code"], seen["cause"]["data"]) == (
        "timeout", "cleanup.exhausted", {"undone": ["t.finally.f"]}
    )  # fmt: skip
    assert play.kinds(play.take(result)) == ["Late f"]


def test_rule_38_a_pending_error_outlives_a_budget_that_is_used_up(begin: Begin) -> None:
    """The time of a try passes while finally runs because of an error: it is thrown, and beside it what was not done."""
    play = begin(tried(timeout="1m", cleanup="10s"))
    play.fail("t.body.x", "x.first")
    play.pass_time(69)
    assert play.status == ""
    play.pass_time(1)
    error = error_of(play)
    assert (error.code, [(other.code, other.data) for other in error.also]) == (
        "x.first", [("cleanup.exhausted", {"undone": ["t.finally.f"]})]
    )  # fmt: skip


def test_rule_38_a_try_that_is_done_in_time_says_nothing_of_it(begin: Begin) -> None:
    """The last moment of the budget is too late, the one before is not."""
    play = begin({**tried(timeout="1m", cleanup="10s")})
    play.pass_time(60)
    play.stopped("t.body.x")
    play.pass_time(9.999999)
    play.succeed("t.finally.f")
    assert (error_of(play).code, error_of(play).cause) == ("timeout", None)
    play.pass_time(10)
    assert play.status == "failed"


# -- a second departure -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", ["cancel", "timeout"])
@pytest.mark.parametrize("first", ["cancel", "timeout"])
def test_rule_38_a_second_cancel_changes_nothing(begin: Begin, first: str, second: str) -> None:
    """Neither the budget nor the status: both are of the first departure."""
    play = begin(tried(), settings={"timeout": "1h", "cleanup": "10m"})
    play.pass_time(3_300 if first == "cancel" else 3_600)
    if first == "cancel":
        play.operate("cancel")
    play.stopped("t.body.x")
    if second == "cancel":
        play.pass_time(300)
        play.operate("cancel")
        play.pass_time(299)
    else:
        play.pass_time(599)
    assert (running(play), play.status) == (["t.finally.f"], "")
    play.pass_time(1)
    assert play.status == ("cancelled" if first == "cancel" else "timed_out")


@pytest.mark.parametrize("leaving, status", [("return", "succeeded"), ("error", "failed")])
def test_rule_38_a_cancel_while_the_execution_is_left_starts_the_budget(begin: Begin, leaving: str, status: str) -> None:
    """A return or an error that is under way keeps its status, but has no more time than a cancel would have."""
    play = begin({**tried(), "r": {}, "leave": {"type": "return", "after": "r", "value": 7}}, settings={"cleanup": "10s"})
    play.succeed("r") if leaving == "return" else play.fail("r", "x.r")
    play.stopped("t.body.x")
    play.pass_time(3_600)
    play.operate("cancel")
    play.pass_time(5)
    play.operate("cancel")
    play.pass_time(4)
    assert (running(play), play.status) == (["t.finally.f"], "")
    if leaving == "return":
        play.succeed("t.finally.f")
        assert (play.status, play.output) == ("succeeded", 7)
        return
    play.pass_time(1)
    assert (play.status, error_of(play).code, (error_of(play).cause or error_of(play)).code) == (
        status, "cleanup.exhausted", "x.r"
    )  # fmt: skip


def test_rule_38_a_return_that_does_not_clean_up_in_time_has_still_returned(begin: Begin) -> None:
    """Its value stands, beside the error that says what was left undone."""
    play = begin(tried({"leave": {"type": "return", "value": 7}}), settings={"cleanup": "10s"})
    play.operate("cancel")
    play.pass_time(10)
    assert (play.status, play.output, error_of(play).code) == ("succeeded", 7, "cleanup.exhausted")


def test_rule_38_the_budget_stands_still_in_a_pause(begin: Begin) -> None:
    """A try that is over its time while the execution is paused goes on after it with what was left of the budget."""
    play = begin(tried(timeout="1m", cleanup="10s"))
    play.pass_time(60)
    play.stopped("t.body.x")
    play.pass_time(4)
    play.operate("pause")
    play.pass_time(3_600)
    play.operate("resume")
    play.pass_time(5)
    assert play.state("t") == "running"
    play.pass_time(1)
    assert play.state("t") == "failed"
