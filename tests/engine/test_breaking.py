"""`break` and `continue`: which loop they leave, what becomes of the others, which index counts (rule 29)."""

from __future__ import annotations

from typing import Any

import pytest
from plays import definition, error_of, perform
from ways import Begin, Played, graph, scope, worked_graph

from perdure.errors import DefinitionRefused
from perdure.testing.rehearsal import plan_of


@pytest.mark.parametrize("row", worked_graph(6), ids=lambda row: row["row"])
def test_rule_29_in_worked_graph_6(begin: Begin, row: dict[str, Any]) -> None:
    """Worked graph 6: five in flight, two break, with `in_flight: cancel` and `drain`."""
    perform(begin.new(definition(row)), row["play"])


def breaking(count: int = 5, /, **more: Any) -> dict[str, Any]:
    """A loop whose iterations break when `x` says so; `k` comes after it."""
    body = scope(
        x={}, out={"type": "break", "after": "x", "when": "${ nodes.x == 'break' }"},
        y={"after": "x", "when": "${ nodes.x != 'break' }"},
    )  # fmt: skip
    made = {"type": "loop", "over": list(range(count)), "body": body, "result": "${ nodes.x }", **more}
    return {"l": made, "k": {"after": "l"}}


def said(play: Played, node: str = "l") -> dict[str, Any]:
    output: dict[str, Any] = play.node_output(node)
    return output


def test_rule_29_the_loop_ends_and_succeeds(begin: Begin) -> None:
    """No iteration starts any more; what comes after the loop does."""
    play = begin(breaking())
    play.succeed("l[0].x", "a")
    play.succeed("l[0].y")
    play.succeed("l[1].x", "break")
    assert (play.state("l"), play.state("k"), play.state("l[2].x")) == ("succeeded", "running", "pending")
    assert said(play) == {
        "results": ["a"], "failures": [], "broken_by": 1,
        "counts": {"total": 2, "succeeded": 1, "failed": 0, "continued": 0, "cancelled": 1},
    }  # fmt: skip


def test_rule_29_siblings_inside_are_cancelled(begin: Begin) -> None:
    """Whatever `in_flight` says: it speaks of other iterations."""
    body = scope(x={}, out={"type": "break", "after": "x"}, s={}, s2={"after": "s"}, w={"type": "delay", "for": "1h"})
    play = begin({"l": {"type": "loop", "over": [1, 2], "in_flight": "drain", "body": body}})
    play.succeed("l[0].x")
    assert [play.state(f"l[0].{node}") for node in ("out", "s", "s2", "w")] == ["succeeded", "running", "skipped", "cancelled"]
    assert play.instance("l[0].s").cause == ""
    assert play.instance("l[0].s").stopping == "`out` broke `l`"
    play.stopped("l[0].s")
    assert (play.status, said(play)["broken_by"]) == ("succeeded", 0)


@pytest.mark.parametrize("in_flight", ["cancel", "drain"])
def test_rule_29_those_in_flight_follow_in_flight(begin: Begin, in_flight: str) -> None:
    """They are stopped, or run to their end; the loop ends when all are final."""
    play = begin(breaking(concurrency=3, in_flight=in_flight))
    play.succeed("l[1].x", "break")
    assert [bool(play.instance(f"l[{index}].x").stopping) for index in (0, 2)] == [in_flight == "cancel"] * 2
    assert (play.state("l"), play.state("l[3].x")) == ("running", "pending")
    for index in (0, 2):
        play.succeed(f"l[{index}].x", "late")
        if in_flight == "drain":
            play.succeed(f"l[{index}].y")
    assert (play.state("l"), play.state("l[3].x")) == ("succeeded", "pending")
    assert said(play)["results"] == (["late", "late"] if in_flight == "drain" else [])


def test_rule_29_cancel_is_the_default(begin: Begin) -> None:
    """And the cause says who broke it."""
    play = begin(breaking(concurrency=2))
    play.succeed("l[1].x", "break")
    assert play.instance("l[0].x").stopping == "iteration 1 broke `l`"


def test_rule_29_finished_iterations_above_it_stay(begin: Begin) -> None:
    """Results of iterations that had ended are kept, below and above the one that breaks."""
    play = begin(breaking(concurrency=5))
    for index in (0, 4, 3):
        play.succeed(f"l[{index}].x", index)
        play.succeed(f"l[{index}].y")
    play.succeed("l[1].x", "break")
    play.stopped("l[2].x")
    assert (said(play)["results"], said(play)["broken_by"]) == ([0, 3, 4], 1)


def test_rule_29_the_lowest_index_that_broke_counts(begin: Begin) -> None:
    """Of several that broke, whichever came first."""
    play = begin(breaking(concurrency=5, in_flight="drain"))
    play.succeed("l[3].x", "break")
    play.succeed("l[1].x", "break")
    play.succeed("l[4].x", "break")
    for index in (0, 2):
        play.succeed(f"l[{index}].x", index)
        play.succeed(f"l[{index}].y")
    assert (said(play)["broken_by"], said(play)["counts"]["cancelled"]) == (1, 3)


def test_rule_29_a_cancelled_iteration_breaks_no_more(begin: Begin) -> None:
    """In a closing frame nothing starts, so its `break` does not either; nor does that of the next in the same batch."""
    play = begin(breaking(2, concurrency=2))
    play.take(*(play.result(f"l[{index}].x", output=play.encoded("break")) for index in (1, 0)))
    assert (play.state("l[0].out"), said(play)["broken_by"]) == ("skipped", 1)
    play = begin(breaking(concurrency=5))
    play.succeed("l[3].x", "break")
    play.succeed("l[1].x", "break")
    assert play.state("l[1].out") == "skipped"
    for index in (0, 2, 4):
        play.stopped(f"l[{index}].x")
    assert said(play)["broken_by"] == 3


@pytest.mark.parametrize("policy", ["cancel_siblings", "drain", "isolate", "collect", "ignore"])
def test_rule_29_break_beats_on_failure(begin: Begin, policy: str) -> None:
    """An iteration that fails after it is counted and fails nothing, whatever the policy."""
    play = begin(breaking(concurrency=3, in_flight="drain", on_failure=policy))
    play.succeed("l[1].x", "break")
    play.fail("l[0].x", "x.late")
    play.succeed("l[2].x", "c")
    play.succeed("l[2].y")
    assert (play.state("l"), said(play)["counts"]["failed"]) == ("succeeded", 1)


def test_rule_29_break_ends_a_loop_that_was_about_to_fail(begin: Begin) -> None:
    """Under `isolate` a failure waits for the end, and a break before it is the end."""
    play = begin(breaking(3, concurrency=3, on_failure="isolate"))
    play.fail("l[0].x", "x.early")
    play.succeed("l[1].x", "break")
    play.stopped("l[2].x")
    assert (play.state("l"), [each["index"] for each in said(play)["failures"]]) == ("succeeded", [0])


def test_rule_29_a_failure_that_acted_first_goes_on(begin: Begin) -> None:
    """Under `cancel_siblings` the others are closing when it comes, so there is no break."""
    play = begin(breaking(3, concurrency=3))
    play.fail("l[0].x", "x.first")
    play.succeed("l[1].x", "break")
    assert play.state("l[1].out") == "skipped"
    play.stopped("l[2].x")
    assert (play.state("l"), error_of(play).code) == ("failed", "x.first")


def test_rule_29_a_quorum_is_not_asked_after_a_break(begin: Begin) -> None:
    """The loop has succeeded, though too few have."""
    play = begin(breaking(3, need=2))
    play.succeed("l[0].x", "break")
    assert (play.state("l"), said(play)["broken_by"]) == ("succeeded", 0)


@pytest.mark.parametrize("made", [{"type": "while", "condition": "${ true }"}, {"type": "repeat", "times": 9},
                                  {"type": "loop", "over": {"a": 1, "b": 2}}])  # fmt: skip
def test_rule_29_all_loops_can_be_broken(begin: Begin, made: dict[str, Any]) -> None:
    """`while`, `repeat`, and a loop over an object."""
    body = scope(x={}, out={"type": "break", "after": "x"})
    play = begin({"l": {**made, "body": body}})
    play.succeed("l[0].x")
    assert (play.state("l"), said(play)["broken_by"]) == ("succeeded", 0)


# -- which loop -----------------------------------------------------------------------------------------------------------


def nested(leave: dict[str, Any]) -> dict[str, Any]:
    """A loop in a parallel in a loop; the inner body leaves when `x` has succeeded with `now`."""
    inner = {"type": "loop", "over": [1, 2], "concurrency": 2, "body": scope(x={}, go={**leave, "after": "x"})}
    branches = {"u": scope(inner=inner), "v": scope(z={})}
    both = {"type": "parallel", "branches": branches}
    return {"outer": {"type": "loop", "over": ["a", "b", "c"], "concurrency": 2, "body": scope(p=both)}}


def test_rule_29_the_nearest_loop_unless_named(begin: Begin) -> None:
    """What is around it goes on."""
    play = begin(nested({"type": "break"}))
    play.succeed("outer[0].p.u.inner[1].x")
    play.stopped("outer[0].p.u.inner[0].x")
    assert (play.state("outer[0].p.u.inner"), play.state("outer[0].p.v.z")) == ("succeeded", "running")
    play.succeed("outer[0].p.v.z")
    assert play.state("outer[2].p.v.z") == "running"


def test_rule_29_a_name_breaks_a_loop_further_out(begin: Begin) -> None:
    """Everything between closes, and the named loop has been broken by that iteration of it."""
    play = begin(nested({"type": "break", "loop": "outer"}))
    play.succeed("outer[1].p.u.inner[0].x")
    assert all(play.instance(node).stopping for node in play.running())
    for node in play.running():
        play.stopped(node)
    assert (play.status, said(play, "outer")["broken_by"], play.state("outer[2].p")) == ("succeeded", 1, "pending")


def test_continue_further_out_ends_that_iteration(begin: Begin) -> None:
    """What is inside closes; the next iteration of the named loop starts."""
    play = begin(nested({"type": "continue", "loop": "outer"}))
    play.succeed("outer[0].p.u.inner[1].x")
    assert play.state("outer[2].p.v.z") == "pending"
    for node in ("outer[0].p.u.inner[0].x", "outer[0].p.v.z"):
        play.stopped(node)
    assert play.state("outer[2].p.v.z") == "running"
    play.finish()
    assert said(play, "outer")["counts"]["continued"] == 3


def test_continue_ends_this_iteration_alone(begin: Begin) -> None:
    """Its siblings are cancelled, the next starts when all of it is final."""
    body = scope(x={}, go={"type": "continue", "after": "x"}, s={}, s2={"after": "s"})
    play = begin({"l": {"type": "loop", "over": [1, 2], "body": body}})
    play.succeed("l[0].x")
    assert (play.state("l[0].s2"), bool(play.instance("l[0].s").stopping), play.running()) == ("skipped", True, ["l[0].s"])
    play.succeed("l[0].s", "late")
    assert play.running() == ["l[1].x", "l[1].s"]
    play.succeed("l[1].x")
    play.stopped("l[1].s")
    assert said(play)["counts"] == {"total": 2, "succeeded": 0, "failed": 0, "continued": 2, "cancelled": 0}


def test_rule_29_break_through_a_try_runs_its_finally(begin: Begin) -> None:
    """From the inside out; no handler sees it."""
    tried = {
        "type": "try", "body": scope(x={}, out={"type": "break", "after": "x"}), "catch": {"body": scope(h={})},
        "finally": scope(f={}),
    }  # fmt: skip
    play = begin({"l": {"type": "loop", "over": [1, 2, 3], "concurrency": 2, "body": scope(t=tried)}})
    play.succeed("l[1].t.body.x")
    assert play.running() == ["l[0].t.body.x", "l[1].t.finally.f"]
    play.stopped("l[0].t.body.x")
    play.succeed("l[1].t.finally.f")
    assert play.state("l") == "running"
    play.succeed("l[0].t.finally.f")
    assert (play.status, said(play)["broken_by"], play.state("l[0].t.catch0.h")) == ("succeeded", 1, "pending")


def test_rule_31_a_break_that_a_finally_replaced_has_not_broken(begin: Begin) -> None:
    """The iteration has failed, its policy speaks, and the loop goes on where that lets it."""
    tried = {"type": "try", "body": scope(x={}, out={"type": "break", "after": "x"}), "finally": scope(f={})}
    play = begin({"l": {"type": "loop", "over": [1, 2], "on_failure": "ignore", "body": scope(t=tried)}})
    play.succeed("l[0].t.body.x")
    play.fail("l[0].t.finally.f", "x.cleanup")
    assert play.running() == ["l[1].t.body.x"]
    play.fail("l[1].t.body.x", "x.other")
    play.succeed("l[1].t.finally.f")
    assert (said(play)["broken_by"], [each["error"]["code"] for each in said(play)["failures"]]) == (
        None,
        ["x.cleanup", "x.other"],
    )


# -- refused when saved ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["break", "continue"])
@pytest.mark.parametrize("where", ["outside", "finally", "unknown", "compensate"])
def test_rule_29_refused_where_there_is_nothing_to_leave(kind: str, where: str) -> None:
    """Outside of a loop, out of a `finally` or a compensation, and by a name that is none around."""
    leave = scope(go={"type": kind, **({"loop": "other"} if where == "unknown" else {})})
    inside: dict[str, Any] = {
        "outside": {"type": "try", "body": leave, "catch": {"body": scope(h={})}},
        "finally": {"type": "loop", "over": [1], "body": scope(t={"type": "try", "body": scope(x={}), "finally": leave})},
        "unknown": {"type": "loop", "over": [1], "body": leave},
        "compensate": {"type": "loop", "over": [1], "body": scope(t={"type": "try", "body": scope(x={"compensate": leave})})},
    }
    with pytest.raises(DefinitionRefused):
        plan_of(graph({"n": inside[where]}))


def test_rule_29_a_break_after_a_failure_that_drains_changes_nothing(begin: Begin) -> None:
    """The failure was the first departure of the loop: it stands (rule 31)."""
    body = scope(x={}, out={"type": "break", "after": "x", "when": "${ nodes.x == 'break' }"})
    play = begin({"l": {"type": "loop", "over": [0, 1], "concurrency": 2, "on_failure": "drain", "body": body}})
    play.fail("l[0].x", "x.first")
    play.succeed("l[1].x", "break")
    assert play.error is not None
    assert (play.status, play.error.code) == ("failed", "x.first")
