"""Parallels: named branches at the same time, their policies among themselves, what they say (rules 11, 13, 15 to 22)."""

from __future__ import annotations

from typing import Any

import pytest
from plays import error_of
from ways import Begin, graph, scope

from perdure.engine import events
from perdure.errors import DefinitionRefused
from perdure.testing.rehearsal import plan_of

POLICIES = ("cancel_siblings", "drain", "isolate", "collect", "ignore")


def parallel(**more: Any) -> dict[str, Any]:
    """Three branches of one effect each, the middle one of two, and `k` after them."""
    branches = {"l": scope(x={}), "m": scope(y={}, y2={"after": "y"}), "r": scope(z={})}
    return {"p": {"type": "parallel", "branches": branches, **more}, "k": {"after": "p"}}


def told(status: str, value: Any = None) -> dict[str, Any]:
    return {"status": status, "output": value} if status == "succeeded" else {"status": status}


def test_rule_15_all_branches_are_needed_unless_written(begin: Begin) -> None:
    """They run side by side; the parallel ends with the last, and tells of all in the order they are written."""
    play = begin({**parallel(), "k": {"after": "p", "with": {"seen": "${ nodes.p }"}}})
    assert play.running() == ["p.l.x", "p.m.y", "p.r.z"]
    play.succeed("p.r.z", 3)
    play.succeed("p.m.y", 20)
    play.succeed("p.m.y2", 2)
    assert play.state("p") == "running"
    play.succeed("p.l.x", 1)
    seen = {"l": told("succeeded", 1), "m": told("succeeded", 2), "r": told("succeeded", 3)}
    assert list(play.node_output("p")) == ["l", "m", "r"]
    assert play.value(play.instance("k").params) == {"seen": seen}


@pytest.mark.parametrize("need, enough", [("any", 1), (2, 2), (3, 3), ("34%", 2), ("100%", 3),
                                          ("${ join.success * 2 > join.total }", 2)])  # fmt: skip
def test_rule_15_a_quorum_of_branches(begin: Begin, need: Any, enough: int) -> None:
    """It is over with the branch that makes it enough."""
    play = begin(parallel(need=need, losers="detach"))
    play.succeed("p.m.y")
    for number, node in enumerate(("p.l.x", "p.r.z", "p.m.y2"), 1):
        play.succeed(node)
        assert play.state("p") == ("succeeded" if number >= enough else "running")


def test_rule_22_winners_of_a_parallel_are_in_order_of_arrival(begin: Begin) -> None:
    """`state.p.winners`: who made the quorum, the first first."""
    nodes = parallel(need=2, losers="drain")
    play = begin({**nodes, "k": {"after": "p", "with": {"w": "${ state.p.winners }"}}})
    play.succeed("p.r.z")
    play.succeed("p.l.x")
    assert play.value(play.instance("k").params) == {"w": ["r", "l"]}


def test_rule_22_the_output_of_a_branch_is_its_scopes(begin: Begin) -> None:
    """Its one sink's, an object of several, or what its `output` says; an error in that fails the branch."""
    branches = {
        "sink": scope(a={}, b={"after": "a"}), "several": scope(c={}, d={}),
        "written": {**scope(e={}), "output": "${ nodes.e + 1 }"}, "wrong": {**scope(f={}), "output": "${ nodes.f.missing }"},
    }  # fmt: skip
    play = begin({"p": {"type": "parallel", "branches": branches, "on_failure": "collect"}})
    for number, node in enumerate(("p.sink.a", "p.sink.b", "p.several.c", "p.several.d", "p.written.e", "p.wrong.f")):
        play.succeed(node, number if node != "p.wrong.f" else {})
    assert {name: branch.get("output") for name, branch in play.output.items()} == {
        "sink": 1, "several": {"c": 2, "d": 3}, "written": 5, "wrong": None
    }  # fmt: skip
    assert play.output["wrong"]["error"]["code"] == "expression.missing"
    assert play.output["wrong"]["error"]["node"] == "p.wrong"


def test_a_branch_that_exits_gives_its_value(begin: Begin) -> None:
    """The others in the branch are cancelled; other branches are not."""
    branches = {"l": scope(x={}, out={"type": "exit", "after": "x", "value": "${ nodes.x * 2 }"}, y={}), "r": scope(z={})}
    play = begin({"p": {"type": "parallel", "branches": branches}})
    play.succeed("p.l.x", 4)
    play.stopped("p.l.y")
    assert play.state("p") == "running"
    play.succeed("p.r.z", 1)
    assert play.output == {"l": told("succeeded", 8), "r": told("succeeded", 1)}


def test_concurrency_bounds_the_branches(begin: Begin) -> None:
    """Branches begin in the order they are written, as others end."""
    play = begin(parallel(concurrency=1))
    order = []
    while play.running() and not play.running()[0].startswith("k"):
        (node,) = play.running()
        order.append(node)
        play.succeed(node)
    assert order == ["p.l.x", "p.m.y", "p.m.y2", "p.r.z"]


@pytest.mark.parametrize("concurrency", [0, -1, "2", 1.5, True])
def test_a_concurrency_that_is_none_fails_the_parallel(begin: Begin, concurrency: Any) -> None:
    """It may be an expression, and must come out as a whole number of at least one."""
    play = begin(parallel(concurrency="${ input }"), concurrency)
    assert (play.status, error_of(play).code) == ("failed", "loop.invalid")


# -- on_failure: the branches among themselves ----------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
def test_rule_13_what_a_failed_branch_does_to_the_others(begin: Begin, policy: str) -> None:
    """`cancel_siblings` stops them, `drain` lets started ones run and starts none, the rest let all go on."""
    play = begin(parallel(on_failure=policy, concurrency=2))
    play.fail("p.l.x", "x.l")
    stops, starts = policy == "cancel_siblings", policy in ("isolate", "collect", "ignore")
    assert bool(play.instance("p.m.y").stopping) == stops
    assert (play.state("p.r.z") == "running") == starts
    play.succeed("p.m.y", 1)
    if not stops:
        play.succeed("p.m.y2", 2)
    if starts:
        play.succeed("p.r.z", 3)
    assert play.state("p") == ("failed" if policy in ("cancel_siblings", "drain", "isolate") else "succeeded")
    if policy == "cancel_siblings":
        assert play.state("p.m.y2") == "skipped"


def test_rule_13_collect_puts_the_error_in_its_place(begin: Begin) -> None:
    """The parallel has succeeded, and says which branch has not."""
    play = begin(parallel(on_failure="collect"))
    play.fail("p.l.x", "x.l")
    play.succeed("p.m.y")
    play.succeed("p.m.y2", 2)
    play.fail("p.r.z", "x.r")
    output = play.node_output("p")
    assert {name: branch["status"] for name, branch in output.items()} == {"l": "failed", "m": "succeeded", "r": "failed"}
    assert [output[name]["error"]["code"] for name in "lr"] == ["x.l", "x.r"]


def test_rule_13_ignore_leaves_it_out(begin: Begin) -> None:
    """As if it had not been there."""
    play = begin(parallel(on_failure="ignore"))
    play.fail("p.l.x")
    play.succeed("p.m.y")
    play.succeed("p.m.y2", 2)
    play.fail("p.r.z")
    assert play.node_output("p") == {"m": told("succeeded", 2)}


def test_rule_13_isolate_fails_with_the_first_and_the_rest(begin: Begin) -> None:
    """When all is final: the first failure in the journal, the others in `also`."""
    play = begin(parallel(on_failure="isolate"))
    play.fail("p.r.z", "x.r")
    play.fail("p.m.y", "x.m")
    play.succeed("p.l.x")
    assert (play.status, error_of(play).code, error_of(play).node) == ("failed", "x.r", "p.r.z")
    assert [each.code for each in error_of(play).also] == ["x.m"]


def test_rule_13_the_first_failure_is_the_parallels(begin: Begin) -> None:
    """Under `cancel_siblings` and `drain` a branch that fails later changes nothing."""
    for policy in ("cancel_siblings", "drain"):
        play = begin(parallel(on_failure=policy))
        play.fail("p.l.x", "x.l")
        play.fail("p.m.y", "x.m")
        play.fail("p.r.z", "x.r")
        assert (play.status, error_of(play).code) == ("failed", "x.l")


def test_rule_11_two_policies_are_two_things(begin: Begin) -> None:
    """`on_failure` of the parallel speaks of its branches, that of a branch of its nodes; neither is inherited."""
    branches = {"l": {**scope(x={}, x2={}), "on_failure": "ignore"}, "r": scope(y={}, y2={})}
    play = begin({"p": {"type": "parallel", "on_failure": "collect", "branches": branches}, "s": {}},
                 settings={"on_failure": "isolate"})  # fmt: skip
    play.fail("p.l.x")
    assert play.instance("p.l.x2").stopping == ""
    play.fail("p.r.y", "x.r")
    assert play.instance("p.r.y2").stopping == "sibling `y` failed: x.r"
    play.stopped("p.r.y2")
    play.succeed("p.l.x2", 5)
    assert play.node_output("p")["l"] == told("succeeded", {"x2": 5})
    assert play.node_output("p")["r"]["error"]["code"] == "x.r"


def test_rule_11_a_branch_that_fails_is_offered_outwards(begin: Begin) -> None:
    """First the parallel's policy, then the parallel's own retry, its edges, the frame around it."""
    nodes = parallel(retry={"attempts": 2, "initial": "1s", "jitter": False}, catch=[{"on": "x.*", "to": "mend"}])
    play = begin({**nodes, "m": {"after": "p.mend", "with": {"node": "${ error.node }"}}})
    play.fail("p.l.x", "x.one")
    play.stopped("p.m.y")
    play.stopped("p.r.z")
    assert play.state("p") == "waiting"
    play.pass_time(1)
    assert play.running() == ["p~2.l.x", "p~2.m.y", "p~2.r.z"]
    play.fail("p~2.r.z", "x.two")
    play.stopped("p~2.l.x")
    play.stopped("p~2.m.y")
    assert (play.state("p"), play.state("m")) == ("failed", "running")
    assert play.value(play.instance("m").params) == {"node": "p~2.r.z"}


# -- quorum and policy ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["cancel_siblings", "drain", "isolate", "ignore"])
def test_rule_18_a_need_bears_failures_whatever_the_policy(begin: Begin, policy: str) -> None:
    """A failed branch only counts; when too few are left the parallel fails at once, and the others have lost."""
    play = begin({**parallel(need=2, on_failure=policy), "mend": {"after": "p.error"}})
    play.fail("p.l.x", "x.l")
    assert (play.state("p"), play.instance("p.r.z").stopping) == ("running", "")
    play.fail("p.m.y", "x.m")
    assert (play.state("p"), play.state("mend"), bool(play.instance("p.r.z").stopping)) == ("failed", "running", True)
    error = play.instance("p").error
    assert error is not None
    assert (error.code, error.category, [each.code for each in error.also]) == (
        "quorum_unreachable",
        "business",
        ["x.l", "x.m"],
    )


def test_rule_16_finished_counts_failed_branches(begin: Begin) -> None:
    """`collect` counts so by itself; elsewhere it is written."""
    play = begin(parallel(need=2, count="finished", losers="detach"))
    play.fail("p.l.x")
    play.fail("p.r.z")
    assert play.state("p") == "succeeded"
    play = begin(parallel(need=2, on_failure="collect", losers="detach"))
    play.fail("p.l.x")
    play.fail("p.r.z")
    assert play.state("p") == "succeeded"


def test_rule_18_counting_finished_ones_bears_failures_of_all(begin: Begin) -> None:
    """`need: all` and `count: finished`: it waits for all, and succeeds."""
    play = begin(parallel(count="finished"))
    play.fail("p.l.x")
    play.succeed("p.r.z", 3)
    assert play.state("p") == "running"
    play.fail("p.m.y")
    assert play.state("p") == "succeeded"


@pytest.mark.parametrize("need", ["${ join.success }", "${ join.success > 'one' }"])
def test_rule_15_an_expression_that_cannot_be_judged_fails_the_parallel(begin: Begin, need: str) -> None:
    """As soon as it is judged, which is when it begins; nothing in it starts."""
    play = begin(parallel(need=need))
    assert (play.status, error_of(play).category) == ("failed", "validation")


# -- its end --------------------------------------------------------------------------------------------------------------


def test_a_parallel_that_is_cancelled_takes_its_branches_along(begin: Begin) -> None:
    """From the inside out: it is cancelled when all its frames have ended."""
    play = begin(parallel())
    play.operate("cancel")
    assert [play.state(node) for node in ("p", "p.l.x", "p.m.y2", "k")] == ["running", "running", "skipped", "skipped"]
    play.stopped("p.l.x")
    play.succeed("p.m.y", "late")
    assert play.status == ""
    play.stopped("p.r.z")
    assert (play.state("p"), play.status) == ("cancelled", "cancelled")


@pytest.mark.parametrize("losers", ["cancel", "drain", "detach"])
def test_rule_21_its_deadline_ends_it_at_once(begin: Begin, losers: str) -> None:
    """By the timeout edge with what there is, or as a failure; `losers` says what becomes of the rest."""
    for edge, state in ({"late": {"after": "p.timeout"}}, "succeeded"), ({"late": {"after": "p.error"}}, "failed"):
        play = begin({**parallel(deadline="1m", losers=losers, concurrency=2), **edge})
        play.succeed("p.l.x", 1)
        play.pass_time(60)
        assert (play.state("p"), play.state("late"), play.state("k")) == (state, "running", "skipped")
        assert bool(play.instance("p.m.y").stopping) == (losers == "cancel")
        if state == "succeeded":
            assert play.node_output("p") == {"l": told("succeeded", 1), "m": told("pending"), "r": told("pending")}


def test_rule_43_its_timeout_leaves_it_first(begin: Begin) -> None:
    """Its frames are cancelled, then it fails with `timeout`, which may be retried."""
    play = begin(parallel(timeout="1m", retry={"attempts": 2, "initial": "1s", "jitter": False}))
    play.succeed("p.l.x")
    play.pass_time(60)
    assert (play.state("p"), play.instance("p.m.y").stopping) == ("running", "the timeout of `p` passed")
    play.stopped("p.m.y")
    play.stopped("p.r.z")
    assert play.state("p") == "waiting"
    play.pass_time(1)
    play.pass_time(60)
    for node in ("p~2.l.x", "p~2.m.y", "p~2.r.z"):
        play.stopped(node)
    assert (play.status, error_of(play).code, error_of(play).category) == ("failed", "timeout", "timeout")


def test_a_parallel_in_a_draining_frame_starts_no_more_branches(begin: Begin) -> None:
    """Those that have started run to their end; the parallel is cancelled when branches are left that did not start."""
    play = begin({**parallel(concurrency=1), "s": {}}, settings={"on_failure": "drain"})
    play.fail("s", "x.s")
    play.succeed("p.l.x")
    assert (play.state("p"), play.state("p.m.y")) == ("cancelled", "pending")
    assert (play.status, error_of(play).code) == ("failed", "x.s")
    play = begin({**parallel(), "s": {}}, settings={"on_failure": "drain"})
    play.fail("s", "x.s")
    for node in ("p.l.x", "p.m.y", "p.m.y2", "p.r.z"):
        play.succeed(node)
    assert (play.state("p"), play.status) == ("succeeded", "failed")


def test_parallels_in_parallels(begin: Begin) -> None:
    """Paths say where each effect is; each ends by itself."""
    inner = {"type": "parallel", "branches": {"l": scope(x={}), "r": scope(y={})}}
    play = begin({"p": {"type": "parallel", "branches": {"l": scope(q=inner), "r": scope(z={})}}})
    assert play.running() == ["p.r.z", "p.l.q.l.x", "p.l.q.r.y"]
    play.finish({"p.l.q.l.x": 1, "p.l.q.r.y": 2, "p.r.z": 3})
    assert play.output["l"]["output"] == {"l": told("succeeded", 1), "r": told("succeeded", 2)}


def test_frames_open_in_the_order_of_the_branches(begin: Begin) -> None:
    """The journal shows when each branch began, and when it ended."""
    play = begin(parallel(concurrency=2))
    play.succeed("p.l.x")
    opened = [fact.scope for fact in play.facts if isinstance(fact, events.FrameOpened)]
    assert opened == ["l", "m", "r"]


@pytest.mark.parametrize("more, code", [({"branches": {}}, "quorum.no_branch"), ({"need": 4}, "quorum.unreachable")])
def test_rule_23_a_parallel_that_cannot_be_is_refused(more: dict[str, Any], code: str) -> None:
    """No branch, or a need beyond them."""
    with pytest.raises(DefinitionRefused) as refused:
        plan_of(graph(parallel(**more)))
    assert code in [fault.code for fault in refused.value.faults]
