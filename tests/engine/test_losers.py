"""Losers: what is left of a quorum's region when it has ended, and who waits for it (rule 19)."""

from __future__ import annotations

from typing import Any

import pytest
from plays import definition, perform, table
from ways import Begin, Played, scope, worked_graph

from perdure.engine import events


@pytest.mark.parametrize("row", table("table_19"), ids=lambda row: row["row"])
def test_rule_19_what_becomes_of_losers(begin: Begin, row: dict[str, Any]) -> None:
    """Every row of table 19: running, waiting and not started ones under each kind of `losers`, deadlines, frames."""
    perform(begin.new(definition(row)), row["play"])


@pytest.mark.parametrize("row", worked_graph(3), ids=lambda row: row["row"])
def test_rule_19_in_worked_graph_3(begin: Begin, row: dict[str, Any]) -> None:
    """Worked graph 3: a node that feeds something else as well is no loser."""
    perform(begin.new(definition(row)), row["play"])


LOSERS = ("cancel", "drain", "detach")


def race(losers: str, **loser: Any) -> dict[str, Any]:
    """`a` wins; `b` is left, with `b2` after it; `k` comes after the join."""
    return {
        "a": {}, "b": loser, "b2": {"after": "b"}, "k": {"after": "j"},
        "j": {"type": "join", "after": ["a", "b2"], "need": "any", "losers": losers},
    }  # fmt: skip


# -- the region -----------------------------------------------------------------------------------------------------------


def test_rule_19_the_region_is_all_whose_forward_paths_lead_into_the_join(begin: Begin) -> None:
    """Far back, by several ways, through another join; not what also leads elsewhere, nor an edge that goes back."""
    nodes = {
        "start": {}, "a": {"after": "start"}, "b": {"after": "start"}, "inner": {"type": "join", "after": ["a", "b"]},
        "c": {"after": ["inner"]}, "beside": {}, "d": {"after": "beside"}, "out": {"after": "beside"}, "winner": {},
        "j": {"type": "join", "after": ["c", "d", "winner"], "need": "any"},
    }  # fmt: skip
    play = begin(nodes)
    play.succeed("winner")
    lost = {"start": "running", "a": "skipped", "b": "skipped", "inner": "skipped", "c": "skipped", "d": "skipped"}
    assert play.states() == {**lost, "beside": "running", "out": "pending", "winner": "succeeded", "j": "succeeded"}
    assert play.instance("a").cause == play.instance("d").cause == "`j` had its branches"
    play.stopped("start")
    play.succeed("beside")
    play.succeed("out")
    assert play.status == "succeeded"


def test_rule_19_a_region_that_ends_elsewhere_too_is_of_its_innermost_join(begin: Begin) -> None:
    """A branch whose error edge leads out of the region is no loser: it has another way."""
    nodes = {**race("cancel"), "mend": {"after": "b.error"}}
    play = begin(nodes)
    play.succeed("a")
    assert (play.state("b"), play.instance("b").stopping, play.state("b2")) == ("running", "", "skipped")
    play.fail("b", "x.b")
    assert play.state("mend") == "running"


def test_rule_19_nodes_that_become_ready_as_the_join_fires_do_not_start(begin: Begin) -> None:
    """The winner and the predecessor of a loser succeed in one batch: the loser is skipped, and was never begun."""
    for losers in ("cancel", "drain"):
        play = begin(race(losers))
        play.take(play.result("a"), play.result("b"))
        assert (play.state("j"), play.state("b2")) == ("succeeded", "skipped")
        play = begin(race(losers))
        play.take(play.result("b"), play.result("a"))
        assert play.state("b2") == "running"


# -- running, waiting, in backoff, parked -----------------------------------------------------------------------------------


@pytest.mark.parametrize("losers, state, after", [("cancel", "running", "skipped"), ("drain", "running", "skipped"),
                                                  ("detach", "running", "pending")])  # fmt: skip
def test_rule_19_running_ones(begin: Begin, losers: str, state: str, after: str) -> None:
    """Cancelled, or they finish their attempt, or go on; what comes after them starts only under `detach`."""
    play = begin(race(losers))
    play.succeed("a")
    assert (play.state("b"), play.state("b2"), bool(play.instance("b").stopping)) == (state, after, losers == "cancel")
    play.succeed("b")
    assert play.state("b2") == ("running" if losers == "detach" else "skipped")


@pytest.mark.parametrize("losers, state", [("cancel", "cancelled"), ("drain", "failed"), ("detach", "running")])
def test_rule_19_a_retry_starts_only_under_detach(begin: Begin, losers: str, state: str) -> None:
    """An attempt that fails after the join has ended is the last one under `drain`; under `cancel` it was cancelled."""
    play = begin(race(losers, retry={"attempts": 3, "initial": "1s", "jitter": False}))
    play.succeed("a")
    play.fail("b", "x.b")
    play.pass_time(1)
    assert play.state("b") == state


@pytest.mark.parametrize("losers, state", [("cancel", "cancelled"), ("drain", "waiting"), ("detach", "waiting")])
@pytest.mark.parametrize(
    "wait",
    [
        {"type": "delay", "for": "1h"},
        {"type": "wait_for_signal", "signal": "ok"},
        {"type": "wait_for_event", "event": "e"},
        {"type": "wait_until", "time": "2030-01-01T00:00:00Z"},
    ],
)
def test_rule_19_waits(begin: Begin, losers: str, state: str, wait: dict[str, Any]) -> None:
    """Under `drain` and `detach` they go on to their own end."""
    play = begin(race(losers, **wait))
    play.succeed("a")
    assert play.state("b") == state


@pytest.mark.parametrize("losers, state", [("cancel", "cancelled"), ("drain", "failed"), ("detach", "waiting")])
def test_rule_19_backoffs(begin: Begin, losers: str, state: str) -> None:
    """Under `drain` one ends at once with the failure that was to be retried."""
    play = begin(race(losers, retry={"attempts": 3, "initial": "1h"}))
    play.fail("b", "x.b")
    play.succeed("a")
    assert play.state("b") == state
    if losers == "drain":
        error = play.instance("b").error
        assert error is not None
        assert error.code == "x.b"


@pytest.mark.parametrize("losers, state", [("cancel", "cancelled"), ("drain", "cancelled"), ("detach", "parked")])
def test_rule_19_parked_ones(begin: Begin, losers: str, state: str) -> None:
    """Nobody needs to be asked any more, but where all go on."""
    nodes = {
        "a": {}, "b": {"park": True}, "b2": {"after": "b"},
        "j": {"type": "join", "after": ["a", "b2"], "deadline": "1m", "losers": losers}, "k": {"after": "j.timeout"},
    }  # fmt: skip
    play = begin(nodes)
    play.fail("b")
    play.succeed("a")
    assert play.state("b") == "parked"
    play.pass_time(60)
    assert (play.state("j"), play.state("b")) == ("succeeded", state)


def test_rule_19_a_question_that_comes_up_while_a_loser_drains_is_not_asked(begin: Begin) -> None:
    """Whether its effect has happened is nobody's concern any more: it fails as unknown."""
    play = begin(race("drain", delivery="at_most_once", on_unknown="ask"))
    if play.crashes:
        return  # a takeover would bring the question up at once
    play.succeed("a")
    play.fail("b", "http.cut", ambiguous=True)
    assert (play.state("b"), play.state("b2")) == ("failed", "skipped")


# -- containers as losers ---------------------------------------------------------------------------------------------------


def containers(losers: str) -> dict[str, Any]:
    return {
        "a": {}, "l": {"type": "loop", "over": [1, 2], "body": scope(x={}, x2={"after": "x"})},
        "p": {"type": "parallel", "concurrency": 1, "branches": {"u": scope(y={}), "v": scope(z={})}},
        "t": {"type": "try", "body": scope(w={}), "finally": scope(f={})},
        "j": {"type": "join", "after": ["a", "l", "p", "t"], "need": "any", "losers": losers},
    }  # fmt: skip


def test_rule_19_containers_are_cancelled_with_their_frames(begin: Begin) -> None:
    """From the inside out; what is in `finally` still runs, and the frame around waits for it, the successors do not."""
    play = begin({**containers("cancel"), "k": {"after": "j"}})
    play.succeed("a")
    play.succeed("k")
    for node in ("l[0].x", "p.u.y", "t.body.w"):
        assert play.state(node) == "running"
        play.stopped(node)
    assert (play.state("l"), play.state("p"), play.state("t"), play.status) == ("cancelled", "cancelled", "running", "")
    play.succeed("t.finally.f")
    assert (play.state("t"), play.status) == ("cancelled", "succeeded")


def test_rule_19_draining_containers_go_on_as_rule_13_says(begin: Begin) -> None:
    """Iterations and branches that have started run to their end, no other starts; then what is not through is cancelled."""
    play = begin(containers("drain"))
    play.succeed("a")
    play.succeed("l[0].x")
    play.succeed("l[0].x2")
    play.succeed("p.u.y")
    assert (play.state("l"), play.state("p")) == ("cancelled", "cancelled")
    assert play.instance("l").cause == "`j` has ended"
    play.succeed("t.body.w")
    play.succeed("t.finally.f")
    assert (play.state("t"), play.status) == ("succeeded", "succeeded")


def test_rule_19_detached_containers_go_on(begin: Begin) -> None:
    """All of them, to their own end."""
    play = begin(containers("detach"))
    play.succeed("a")
    play.finish()
    assert set(play.states().values()) == {"succeeded"}


@pytest.mark.parametrize("many", ["parallel", "loop"])
def test_rule_19_detached_frames_that_had_not_begun_keep_the_frame_around_them(begin: Begin, many: str) -> None:
    """Also where the first of them ends at once, before another was opened."""
    waits = {"w": {"type": "wait_for_signal", "signal": "go", "when": "${ item == 2 }"}}
    kinds: dict[str, dict[str, Any]] = {
        "parallel": {"branches": {"u": scope(), "v": scope(w={"type": "wait_for_signal", "signal": "go"})}},
        "loop": {"over": [1, 2], "body": scope(waits)},
    }
    inner = {"type": many, "concurrency": 1, "need": "any", "losers": "detach", **kinds[many]}
    play = begin({"o": {"type": "parallel", "branches": {"b": scope(i=inner)}}, "k": {"after": "o"}})
    assert (play.state("o.b.i"), play.state("o"), play.state("k")) == ("succeeded", "running", "pending")
    play.signal("go")
    play.succeed("k")
    assert play.status == "succeeded"


# -- who waits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("losers", LOSERS)
def test_rule_19_successors_never_wait_and_the_frame_does(begin: Begin, losers: str) -> None:
    """The execution ends when the last loser has."""
    play = begin(race(losers))
    play.succeed("a")
    assert play.state("k") == "running"
    play.succeed("k")
    assert play.status == ""
    if losers == "cancel":
        play.stopped("b")
    else:
        play.succeed("b")
    if losers == "detach":
        play.succeed("b2")
    assert play.status == "succeeded"


@pytest.mark.parametrize("losers", LOSERS)
def test_rule_19_what_succeeds_late_is_compensated(begin: Begin, losers: str) -> None:
    """Under every kind the compensation of a loser that succeeds is registered."""
    inside = race(losers, compensate=scope(undo={}))
    play = begin(
        {
            "t": {
                "type": "try",
                "body": scope({**inside, "bad": {"after": "k"}}),
                "catch": {"body": scope(r={"type": "rollback"})},
            }
        }
    )
    play.succeed("t.body.a")
    play.succeed("t.body.b")
    play.succeed("t.body.k")
    play.fail("t.body.bad")
    if losers == "detach":
        play.stopped("t.body.b2")
    play.succeed("t.body.b.compensate.undo")
    assert play.node_output("t") == ["t.body.b"]


@pytest.mark.parametrize("losers", LOSERS)
def test_rule_19_losers_end_with_the_frame_around(begin: Begin, losers: str) -> None:
    """A failure in the frame stops those that went on, in nodes and in frames."""
    branches = {"u": scope(y={}), "v": scope(z={}, z2={"after": "z"})}
    nodes = {**race(losers), "bad": {}, "p": {"type": "parallel", "need": "any", "losers": losers, "branches": branches}}
    play = begin(nodes)
    play.succeed("a")
    play.succeed("p.u.y")
    play.fail("bad", "x.bad")
    assert play.state("p.v.z2") == "skipped"
    for node in ("b", "k", "p.v.z"):
        assert play.instance(node).stopping
        play.stopped(node)
    assert (play.state("b2"), play.status) == ("skipped", "failed")


# -- how it ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ended", ["fires", "unreachable", "deadline"])
def test_rule_19_a_join_ends_in_three_ways(begin: Begin, ended: str) -> None:
    """It fires, fails as unreachable, or by its deadline; each makes losers of the rest."""
    nodes = {
        "a": {}, "b": {}, "c": {}, "c2": {"after": "c"}, "mend": {"after": "j.error"},
        "j": {"type": "join", "after": ["a", "b", "c2"], "deadline": "1m", "need": "any" if ended == "fires" else 2},
    }  # fmt: skip
    play = begin(nodes)
    if ended == "unreachable":
        play.fail("a")
        play.fail("b")
    else:
        play.succeed("a")
        play.pass_time(60)
    assert play.state("j") == ("succeeded" if ended == "fires" else "failed")
    assert (play.state("c"), play.state("c2"), bool(play.instance("c").stopping)) == ("running", "skipped", True)


@pytest.mark.parametrize("how", ["skipped", "cancelled"])
def test_rule_19_one_that_is_skipped_or_cancelled_has_no_losers(begin: Begin, how: str) -> None:
    """Its branches run on: they were not decided against."""
    join = {"when": "${ false }"} if how == "skipped" else {}
    nodes = {**race("cancel"), "go": {}, "stop": {"type": "cancel", "after": "go", "target": "j"}}
    nodes["j"] = {**nodes["j"], **join}
    play = begin(nodes)
    play.succeed("a" if how == "skipped" else "go")
    assert play.state("j") == "skipped"
    play.succeed("b")
    assert play.state("b2") == "running"
    assert all(not isinstance(fact, events.Stopping) for fact in play.facts)


# -- parallel and loop: the unit is the frame -----------------------------------------------------------------------------


def _parallel(losers: str) -> dict[str, Any]:
    branches = {"u": scope(x={}), "v": scope(y={}, y2={"after": "y"}), "w": scope(z={})}
    return {"p": {"type": "parallel", "need": 1, "concurrency": 2, "losers": losers, "branches": branches}, "k": {"after": "p"}}


def _loop(losers: str) -> dict[str, Any]:
    return {
        "p": {
            "type": "loop", "over": ["u", "v", "w"], "need": 1, "concurrency": 2, "losers": losers,
            "body": scope(x={}, y2={"after": "x", "when": "${ item == 'v' }"}),
        },
        "k": {"after": "p"},
    }  # fmt: skip


UNITS = [pytest.param(_parallel, ("p.u.x", "p.v.y", "p.v.y2", "p.w.z"), id="parallel"),
         pytest.param(_loop, ("p[0].x", "p[1].x", "p[1].y2", "p[2].x"), id="loop")]  # fmt: skip


@pytest.mark.parametrize("made, names", UNITS)
def test_rule_19_started_frames_are_cancelled_and_others_never_start(begin: Begin, made: Any, names: tuple[str, ...]) -> None:
    """`cancel`: what has not started in a started frame is skipped."""
    first, second, behind, third = names
    play = begin(made("cancel"))
    play.succeed(first)
    assert (play.state("p"), play.state("k"), play.state(second), play.state(behind), play.state(third)) == (
        "succeeded", "running", "running", "skipped", "pending"
    )  # fmt: skip
    play.stopped(second)
    play.succeed("k")
    assert (play.state(second), play.state(third), play.status) == ("cancelled", "pending", "succeeded")


@pytest.mark.parametrize("made, names", UNITS)
def test_rule_19_started_frames_run_to_their_own_end(begin: Begin, made: Any, names: tuple[str, ...]) -> None:
    """`drain`: whole frames, with the nodes in them that had not started; other frames never start."""
    first, second, behind, third = names
    play = begin(made("drain"))
    play.succeed(first)
    play.succeed(second)
    assert (play.state(behind), play.state(third)) == ("running", "pending")
    play.fail(behind, "x.late")
    play.succeed("k")
    assert (play.state(third), play.status) == ("pending", "succeeded")


@pytest.mark.parametrize("made, names", UNITS)
def test_rule_19_all_frames_go_on(begin: Begin, made: Any, names: tuple[str, ...]) -> None:
    """`detach`: also those that had not started."""
    first, second, behind, third = names
    play = begin(made("detach"))
    play.succeed(first)
    assert play.state(third) == "running"
    play.fail(third, "x.late")
    play.succeed(second)
    play.succeed(behind)
    play.succeed("k")
    assert play.status == "succeeded"


@pytest.mark.parametrize("made, names", UNITS)
def test_rule_19_a_losers_wait_for_a_person_is_not_asked_for(begin: Begin, made: Any, names: tuple[str, ...]) -> None:
    """A node in the frame of a loser fails: that fails nothing, so nobody is asked."""
    first, second, _, _ = names
    play = begin(made("drain"), settings={"park": True})
    play.succeed(first)
    play.fail(second, "x.late")
    assert play.state("p") == "succeeded"
    play.succeed("k")
    assert play.status == "succeeded"


def quorum_or_park(begin: Begin, losers: str) -> Played:
    branches = {"u": scope(x={}), "v": scope(y={}), "w": scope(z={}), "s": scope(q={})}
    play = begin({"p": {"type": "parallel", "need": 3, "losers": losers, "park": True, "branches": branches}})
    play.fail("p.u.x")
    play.fail("p.v.y")
    return play


@pytest.mark.parametrize("losers", LOSERS)
def test_rule_19_a_parallel_that_parks_lets_its_losers_end_before(begin: Begin, losers: str) -> None:
    """So that an operator's retry finds no frames of the attempt before."""
    play = quorum_or_park(begin, losers)
    assert (play.state("p"), bool(play.instance("p.w.z").stopping)) == ("running", losers == "cancel")
    for node in ("p.w.z", "p.s.q"):
        play.stopped(node) if losers == "cancel" else play.succeed(node)
    assert play.state("p") == "parked"
    play.operate("retry", "p")
    for node in ("p~2.u.x", "p~2.v.y", "p~2.w.z"):
        play.succeed(node)
    assert play.state("p") == "succeeded"


def test_rule_38_losers_that_are_cancelled_have_a_budget(begin: Begin) -> None:
    """What they clean up is stopped when its time is over, and the frame around can end."""
    tried = {"type": "try", "body": scope(x={}), "finally": scope(f={})}
    nodes = {
        "p": {"type": "parallel", "need": "any", "branches": {"u": scope(y={}), "v": scope(t=tried)}},
        "a": {}, "t2": tried, "j": {"type": "join", "after": ["a", "t2"], "need": "any"},
    }  # fmt: skip
    play = begin(nodes, settings={"cleanup": "10s"})
    play.succeed("p.u.y")
    play.stopped("p.v.t.body.x")
    play.pass_time(5)
    play.succeed("a")
    play.stopped("t2.body.x")
    play.pass_time(4)
    assert (play.state("p.v.t.finally.f"), play.state("t2.finally.f")) == ("running", "running")
    play.pass_time(1)
    assert (play.state("p.v.t.finally.f"), play.state("t2.finally.f"), play.status) == ("cancelled", "running", "")
    play.pass_time(5)
    assert (play.state("t2.finally.f"), play.status) == ("cancelled", "succeeded")


def test_rule_19_one_that_failed_because_of_a_branchs_quorum_has_no_losers(begin: Begin) -> None:
    """It is the branch whose quorum was unreachable: the parallel failed by its policy, and nothing goes on."""
    inner = scope(x={}, j={"type": "join", "after": "x", "need": "${ join.success > 1 }"})
    branches = {"l": inner, "r": scope(y={}), "q": scope(z={})}
    play = begin({"p": {"type": "parallel", "concurrency": 2, "losers": "detach", "branches": branches}},
                 settings={"on_failure": "collect"})  # fmt: skip
    play.succeed("p.l.x")
    play.stopped("p.r.y")
    assert (play.state("p"), play.state("p.q.z"), play.status) == ("failed", "pending", "succeeded")
