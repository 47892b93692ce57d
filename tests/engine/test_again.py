"""Edges that go back: `again`, fresh visits, what stays and what does not (rules 34 to 36)."""

from __future__ import annotations

from typing import Any

import pytest
from plays import definition, error_of, perform
from recording import Recording
from ways import Begin, graph, scope, worked_graph

from perdure.engine import events
from perdure.errors import DefinitionRefused
from perdure.testing.rehearsal import plan_of


@pytest.mark.parametrize("row", worked_graph(8), ids=lambda row: row["row"])
def test_rule_35_in_worked_graph_8(begin: Begin, row: dict[str, Any]) -> None:
    """Worked graph 8: each visit of the poll mails again."""
    perform(begin.new(definition(row)), row["play"])


def back(source: str, visits: int = 3) -> dict[str, Any]:
    """An entry of `after` that goes back."""
    return {"from": source, "again": True, "max_visits": visits}


def polling(visits: int = 3, **more: Any) -> dict[str, Any]:
    """`poll` until `check` is content; `beside` follows the poll too, `done` the check."""
    nodes = {
        "start": {"type": "transform", "to": 1},
        "poll": {"after": ["start", back("check.false", visits)], "with": {"before": "${ previous.poll }"}},
        "beside": {"after": "poll"},
        "check": {"type": "condition", "after": "poll", "if": "${ nodes.poll > 2 }"},
        "done": {"after": "check.true"},
    }
    return {**nodes, **more}


# -- which edges ----------------------------------------------------------------------------------------------------------


def test_rule_34_a_node_may_go_back_to_itself(begin: Begin) -> None:
    """Its own visit counts up."""
    play = begin({"start": {}, "poll": {"after": ["start", back("poll.error")]}, "k": {"after": "poll"}})
    play.succeed("start")
    play.fail("poll", "x.1")
    assert (play.running(), play.instance("poll").visit) == (["poll#2"], 2)
    play.succeed("poll#2", "at last")
    assert play.running() == ["k#2"]


@pytest.mark.parametrize("nodes, code", [
    ({"a": {"after": [{"from": "c", "again": True}]}, "b": {"after": "a"}, "c": {"after": "b"}}, "again.max_visits"),
    ({"a": {}, "b": {"after": ["a", {"from": "c", "again": True, "max_visits": 2}]}, "c": {"after": "a"}}, "again.target"),
    ({"a": {"after": [{"from": "b", "again": True, "max_visits": 2}]}, "b": {"after": "a"}, "c": {"after": "b"}},
     "again.forward"),
])  # fmt: skip
def test_rule_34_refused_when_saved(nodes: dict[str, Any], code: str) -> None:
    """Without a bound, to what does not come before, from a port that also leads on."""
    with pytest.raises(DefinitionRefused) as refused:
        plan_of(graph(nodes))
    assert code in [fault.code for fault in refused.value.faults]


def test_rule_34_only_the_edge_back_is_taken(begin: Begin) -> None:
    """The source's other edges stay unresolved until its next visit: nothing after it starts, nor is it skipped."""
    nodes = {
        "a": {"after": [back("s.again")]},
        "s": {"type": "switch", "after": "a", "match": "all",
                                                "cases": {"again": "${ nodes.a == 1 }", "on": "${ true }"}},
        "k": {"after": "s.on"}, "e": {"after": "s.default"},
    }  # fmt: skip
    play = begin(nodes)
    play.succeed("a", 1)
    assert [play.state(node) for node in ("a#2", "k", "e")] == ["running", "pending", "pending"]
    assert all(not isinstance(fact, events.Skipped) for fact in play.facts)
    play.succeed("a#2", 2)
    assert (play.state("k#2"), play.state("e#2")) == ("running", "skipped")


def test_rule_34_a_join_counts_no_edge_of_a_source_that_went_back(begin: Begin) -> None:
    """A branch that goes back has not arrived; it arrives with its last visit."""
    nodes = {
        "a": {"after": [back("c.false")]}, "c": {"type": "condition", "after": "a", "if": "${ nodes.a }"},
        "b": {}, "j": {"type": "join", "after": ["c.true", "b"]},
    }  # fmt: skip
    play = begin(nodes)
    play.succeed("b", "b")
    play.succeed("a", False)
    assert (play.running(), play.state("j")) == (["a#2"], "pending")
    play.succeed("a#2", True)
    assert play.output == {"c.true": {"status": "succeeded", "output": True}, "b": {"status": "succeeded", "output": "b"}}


# -- a fresh visit --------------------------------------------------------------------------------------------------------


def test_rule_35_active_nodes_of_the_region_are_cancelled_first(begin: Begin) -> None:
    """The new visit starts when all of them are final."""
    play = begin(polling())
    play.succeed("poll", 1)
    assert (play.running(), play.instance("beside").stopping) == (["beside"], "`check` goes back to `poll`")
    play.succeed("beside", "late")
    assert play.running() == ["poll#2"]


def test_rule_35_every_node_of_the_region_has_one_visit_more(begin: Begin) -> None:
    """Whether it had run or not; what lies outside keeps its visit and its output."""
    play = begin(polling())
    play.succeed("poll", 1)
    play.stopped("beside")
    assert {node: play.frame().visit_of(node) for node in play.states()} == {
        "start": 1, "poll": 2, "check": 2, "beside": 2, "done": 2
    }  # fmt: skip
    play.succeed("poll#2", 3)
    assert play.running() == ["beside#2", "done#2"]
    assert [path for path, state in play.ends.items() if state == "cancelled"] == ["beside"]


@pytest.mark.parametrize("node", [{"type": "delay", "for": "1h"}, {"type": "wait_for_signal", "signal": "ok"}, {"park": True},
                                  {"type": "try", "body": scope(x={}), "finally": scope(f={})},
                                  {"type": "loop", "over": [1, 2], "body": scope(x={})},
                                  {"type": "subworkflow", "workflow": "w"}])  # fmt: skip
def test_rule_35_whatever_is_active_becomes_final(begin: Begin, node: dict[str, Any]) -> None:
    """Waits, what is parked, containers with what they clean up, children."""
    nodes = polling(beside={**node, "after": "poll"}, late={"after": "poll"})
    nodes["check"] = {"type": "condition", "after": "late", "if": "${ nodes.poll > 2 }"}
    play = begin(nodes)
    play.succeed("poll", 1)
    if node.get("park"):
        play.fail("beside")
        assert play.state("beside") == "parked"
    assert play.state("beside") in ("waiting", "parked", "running")
    play.succeed("late")
    assert play.frame().visit_of("poll") == (1 if "body" in node or "workflow" in node else 2)
    play.finish({"poll#2": 3})
    assert (play.status, play.ends["beside"], play.ends["poll#2"]) == ("succeeded", "cancelled", "succeeded")


def test_rule_35_variables_and_compensations_stay(begin: Begin) -> None:
    """Each visit registers its own, and a rollback undoes them all."""
    write = {"type": "set_variable", "after": "poll", "set": {"seen": "${ vars.seen + [nodes.poll] }"}}
    check = {"type": "condition", "after": "write", "if": "${ len(vars.seen) == 2 }"}
    nodes = {
        "poll": {"after": [back("check.false")], "compensate": scope(undo={"with": {"n": "${ self.output }"}})},
        "write": write, "check": check, "r": {"type": "rollback", "after": "check.true", "of": "poll"},
    }  # fmt: skip
    play = begin(nodes, vars={"seen": []})
    play.succeed("poll", "a")
    play.succeed("poll#2", "b")
    assert play.running() == ["poll#2.compensate.undo"]
    play.succeed("poll#2.compensate.undo")
    assert play.value(play.instance("poll.compensate.undo").params) == {"n": "a"}
    play.succeed("poll.compensate.undo")
    assert play.output == ["poll#2", "poll"]


def test_rule_35_results_of_an_older_visit_are_refused() -> None:
    """They are late, whoever brings them."""
    play = Recording(graph({"poll": {"after": [back("poll.error")]}}))
    play.start()
    old = play.result("poll", output=play.encoded("old"))
    play.fail("poll")
    assert play.kinds(play.take(old)) == ["Late poll"]
    assert play.running() == ["poll#2"]
    play.succeed("poll#2", "new")
    assert play.output == "new"


def test_rule_35_edges_from_outside_keep_their_resolution(begin: Begin) -> None:
    """What came in before counts as it did; what has not resolved is still waited for."""
    nodes = {
        "a": {}, "b": {}, "poll": {"after": ["a", back("check.false")]}, "meet": {"after": ["poll", "b"]},
        "check": {"type": "condition", "after": "poll", "if": "${ nodes.poll }"},
    }  # fmt: skip
    play = begin(nodes)
    play.succeed("a")
    play.succeed("poll", False)
    play.succeed("poll#2", True)
    assert play.state("meet#2") == "pending"
    play.succeed("b")
    assert play.running() == ["meet#2"]


def test_rule_35_a_dead_edge_from_outside_stays_dead(begin: Begin) -> None:
    """A choice outside of the region is not made again."""
    nodes = {
        "c": {"type": "condition", "if": "${ false }"}, "no": {"after": ["c.true", "poll"]},
        "poll": {"after": [back("poll.error")]},
    }  # fmt: skip
    play = begin(nodes)
    play.fail("poll")
    play.succeed("poll#2")
    assert play.running() == ["no#2"]


def test_rule_35_previous_is_the_newest_visit_that_succeeded(begin: Begin) -> None:
    """Of earlier visits: null before there is one; one that failed is passed over."""
    nodes = {
        "poll": {"after": [back("poll.error", 9), back("check.false", 9)], "with": {"before": "${ previous.poll }"}},
        "check": {"type": "condition", "after": "poll", "if": "${ nodes.poll == 3 }"},
    }  # fmt: skip
    play = begin(nodes)
    seen = []
    for path, said in (("poll", 1), ("poll#2", None), ("poll#3", 2), ("poll#4", None), ("poll#5", 3)):
        seen.append(play.value(play.instance(path).params)["before"])
        play.fail(path) if said is None else play.succeed(path, said)
    assert (seen, play.status) == ([None, 1, 1, 2, 2], "succeeded")


def test_rule_35_error_is_the_failure_that_led_back(begin: Begin) -> None:
    """In the target, in the place of the one that led to its first visit."""
    mend = {"after": ["a.error", back("work.error"), back("check.false")], "with": {"code": "${ error.code }"}}
    check = {"type": "condition", "after": "work", "if": "${ nodes.work }"}
    nodes = {"a": {}, "mend": mend, "work": {"after": "mend"}, "check": check}
    play = begin(nodes)
    play.fail("a", "x.a")
    play.succeed("mend")
    play.fail("work", "x.work")
    codes = [play.value(run.params)["code"] for run in play.runs() if run.token.node == "mend"]
    assert (codes[0], codes[-1]) == ("x.a", "x.work")
    play.succeed("mend#2")
    play.succeed("work#2", False)
    assert play.value(play.instance("mend").params) == {"code": "x.a"}


def test_rule_35_a_path_names_the_visit(begin: Begin) -> None:
    """And the effect key with it: another visit is another effect."""
    play = begin({"poll": {"after": [back("poll.error")]}})
    first = play.runs()[0].key
    play.fail("poll")
    assert play.runs()[-1].key != first
    assert play.runs()[-1].token.visit == 2


def test_rule_35_frames_of_a_container_are_of_its_visit(begin: Begin) -> None:
    """`t#2.body.x`: nothing of the first is left."""
    nodes = {"t": {"type": "try", "body": scope(x={}), "after": [back("check.false")]},
             "check": {"type": "condition", "after": "t", "if": "${ nodes.t }"}}  # fmt: skip
    play = begin(nodes)
    play.succeed("t.body.x", False)
    assert (play.running(), list(play.execution.frames)) == (["t#2.body.x"], ["", "t#2.body"])
    play.succeed("t#2.body.x", True)
    assert play.status == "succeeded"


def test_rule_35_losers_that_are_left_of_the_region_are_waited_for(begin: Begin) -> None:
    """Frames that outlived their container are cancelled with the region."""
    branches = {"u": scope(x={}), "v": scope(y={})}
    nodes = {
        "p": {"type": "parallel", "need": "any", "losers": "detach", "branches": branches, "after": [back("work.error")]},
        "work": {"after": "p"},
    }  # fmt: skip
    play = begin(nodes)
    play.succeed("p.u.x")
    play.fail("work")
    assert (bool(play.instance("p.v.y").stopping), play.running()) == (True, ["p.v.y"])
    play.stopped("p.v.y")
    assert play.running() == ["p#2.u.x", "p#2.v.y"]


def test_rule_35_a_join_of_the_region_begins_anew(begin: Begin) -> None:
    """Its arrivals, its winners and its deadline are those of the new visit."""
    nodes = {
        "a": {"after": [back("work.error")]}, "b": {"after": "a"}, "c": {"after": "a"},
        "j": {"type": "join", "after": ["b", "c"], "need": "any", "deadline": "1m"},
        "work": {"after": "j", "with": {"w": "${ state.j.winners }"}},
    }  # fmt: skip
    play = begin(nodes)
    play.succeed("a")
    play.succeed("c")
    play.stopped("b")
    play.fail("work")
    play.succeed("a#2")
    assert (play.state("j#2"), play.running()) == ("pending", ["b#2", "c#2"])
    play.succeed("b#2")
    assert play.value(play.instance("work#2").params) == {"w": ["b"]}


# -- two at once, too many --------------------------------------------------------------------------------------------------


def test_rule_36_of_two_edges_in_one_batch_the_first_is_taken(begin: Begin) -> None:
    """The other's source lies in the region, and is reset with it: it goes back no more."""
    nodes = {
        "a": {"after": [back("b.error"), back("c.error")]}, "b": {"after": "a"}, "c": {"after": "a"},
    }  # fmt: skip
    play = begin(nodes)
    play.succeed("a")
    play.take(*(play.result(node, outcome="failed") for node in ("c", "b")))
    assert play.running() == ["a#2"]
    assert [fact.node for fact in play.facts if isinstance(fact, events.Returning)] == ["c"]
    assert (play.ends["b"], play.ends["c"]) == ("cancelled", "failed")


def test_rule_36_of_two_edges_of_one_node_the_first_in_order_is_taken(begin: Begin) -> None:
    """Two ports live at once, both going back."""
    nodes = {
        "a": {"after": [back("s.far")]}, "b": {"after": ["a", back("s.near")]},
        "s": {"type": "switch", "after": "b", "match": "all", "cases": {"far": "${ nodes.b > 0 }", "near": "${ nodes.b > 0 }"}},
    }  # fmt: skip
    play = begin(nodes)
    play.succeed("a")
    play.succeed("b", 1)
    assert play.running() == ["a#2"]


def test_rule_36_two_regions_at_once_are_left_one_by_one(begin: Begin) -> None:
    """Two nodes that go back independently of each other."""
    nodes = {
        "a": {"after": [back("a2.error")]}, "a2": {"after": "a"}, "b": {"after": [back("b2.error")]}, "b2": {"after": "b"},
        "s": {"after": "a"},
    }  # fmt: skip
    play = begin(nodes)
    play.succeed("a")
    play.succeed("b")
    play.fail("a2")
    play.fail("b2")
    assert play.running() == ["b#2", "s"]
    play.stopped("s")
    assert play.running() == ["a#2", "b#2"]


@pytest.mark.parametrize("visits", [1, 2, 3])
def test_rule_36_beyond_max_visits_the_source_fails(begin: Begin, visits: int) -> None:
    """`visits.exhausted`, category business; the policy hears of it."""
    play = begin(polling(visits, beside={"type": "log", "message": "", "after": "poll"}))
    for visit in range(1, visits + 1):
        assert play.running() == [f"poll#{visit}" if visit > 1 else "poll"]
        play.succeed(play.running()[0], 1)
    error = error_of(play)
    assert (play.status, error.code, error.category, error.node) == (
        "failed", "visits.exhausted", "business", "check" if visits == 1 else f"check#{visits}"
    )  # fmt: skip


def test_rule_36_its_error_edge_may_take_it(begin: Begin) -> None:
    """As any failure of the source."""
    nodes = polling(1, mend={"after": "check.error", "with": {"c": "${ error.code }"}})
    play = begin({key: node for key, node in nodes.items() if key != "beside"})
    play.succeed("poll", 1)
    assert play.running() == ["mend"]
    assert play.value(play.instance("mend").params) == {"c": "visits.exhausted"}


def test_rule_36_an_error_edge_that_goes_back_cannot_take_it(begin: Begin) -> None:
    """The failure that was to be tried again is its cause."""
    play = begin({"poll": {"after": [back("poll.error", 2)]}})
    play.fail("poll", "x.1")
    play.fail("poll#2", "x.2")
    error = error_of(play)
    assert (play.status, error.code, error.cause.code if error.cause else None) == ("failed", "visits.exhausted", "x.2")


@pytest.mark.parametrize("policy", ["cancel_siblings", "drain", "isolate", "collect", "ignore"])
def test_rule_36_exhausted_visits_are_for_the_policy(begin: Begin, policy: str) -> None:
    """Whatever would become of another failure of the node."""
    nodes = {"s": {}, "s2": {"after": "s"}, "poll": {"after": [back("poll.error", 1)]}}
    play = begin(nodes, settings={"on_failure": policy})
    play.fail("poll")
    assert bool(play.instance("s").stopping) == (policy == "cancel_siblings")
    play.succeed("s")
    if policy in ("isolate", "collect", "ignore"):
        play.succeed("s2")
    assert play.status == ("succeeded" if policy in ("collect", "ignore") else "failed")


def test_rule_36_a_visit_by_an_operator_counts_as_any(begin: Begin) -> None:
    """A parked node that is completed leaves by `out`, and goes back where that does."""
    nodes = {"a": {"after": [back("b", 2)]}, "b": {"after": "a", "park": True}}
    play = begin(nodes)
    play.succeed("a")
    play.fail("b")
    play.operate("complete", "b", value=play.encoded(1))
    assert play.running() == ["a#2"]


def test_an_edge_back_in_a_closing_frame_is_not_taken(begin: Begin) -> None:
    """In a frame that is being left nothing starts (rule 31)."""
    for leave in ("cancel", "fail"):
        play = begin({"a": {"after": [back("b.false")]}, "b": {"type": "condition", "after": "c", "if": "${ false }"},
                      "c": {"after": "a"}, "s": {}})  # fmt: skip
        play.succeed("a")
        play.operate("cancel") if leave == "cancel" else play.fail("s", "x.s")
        play.succeed("c")
        assert play.state("b") == "skipped"
        if leave == "cancel":
            play.stopped("s")
        assert play.status == ("cancelled" if leave == "cancel" else "failed")


def test_a_cancel_ends_what_is_going_back(begin: Begin) -> None:
    """No fresh visit begins."""
    play = begin(polling())
    play.succeed("poll", 1)
    assert play.frame().returns != []
    play.operate("cancel")
    play.stopped("beside")
    assert (play.status, play.frame().visit_of("poll") if play.execution.frames else 1) == ("cancelled", 1)


def test_edges_back_in_frames(begin: Begin) -> None:
    """Each iteration goes back for itself."""
    body = scope(x={"after": [back("x.error")]}, y={"after": "x"})
    play = begin({"l": {"type": "loop", "over": [1, 2], "concurrency": 2, "body": body}})
    play.fail("l[1].x")
    assert play.running() == ["l[0].x", "l[1].x#2"]
    play.succeed("l[1].x#2")
    play.succeed("l[0].x")
    assert play.running() == ["l[0].y", "l[1].y#2"]
