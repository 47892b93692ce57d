"""Joins: what they need, what counts, when one fires, what it shields and says (rules 15 to 18, 20 to 23)."""

from __future__ import annotations

from typing import Any

import pytest
from plays import definition, error_of, perform, table
from ways import Begin, graph, scope, worked_graph

from perdure.engine import events
from perdure.errors import DefinitionRefused
from perdure.testing.rehearsal import plan_of


@pytest.mark.parametrize("row", table("table_15"), ids=lambda row: row["row"])
def test_rule_15_what_a_join_needs(begin: Begin, row: dict[str, Any]) -> None:
    """Every row of table 15: when a join fires, when it cannot any more, what counts, and what it shields."""
    perform(begin.new(definition(row)), row["play"])


@pytest.mark.parametrize("row", [*worked_graph(2), *worked_graph(4), *worked_graph(5)], ids=lambda row: row["row"])
def test_rules_15_to_18_in_worked_graphs(begin: Begin, row: dict[str, Any]) -> None:
    """Worked graphs 2, 4 and 5: fractions of what is left, three causes, a catch by the branch's own code."""
    perform(begin.new(definition(row)), row["play"])


def joined(*branches: str, **join: Any) -> dict[str, Any]:
    """Effects and the join `j` of them."""
    return {**{name: {} for name in branches}, "j": {"type": "join", "after": list(branches), **join}}


# -- need -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "need, enough",
    [("all", 5), ("any", 1), (1, 1), (3, 3), (5, 5), ("1%", 1), ("20%", 1), ("21%", 2), ("50%", 3), ("80%", 4), ("81%", 5),
     ("100%", 5), ("33.4%", 2), ("${ join.success * 2 > join.total }", 3)],
)  # fmt: skip
def test_rule_15_it_fires_with_the_branch_that_makes_it_enough(begin: Begin, need: Any, enough: int) -> None:
    """`all`, `any`, a number, a percentage rounded up and at least one, an expression: at the first moment it holds."""
    play = begin(joined("a", "b", "c", "d", "e", need=need, losers="detach"))
    for number, branch in enumerate("edcba", 1):
        play.succeed(branch)
        assert play.state("j") == ("succeeded" if number >= enough else "pending")
        if number == enough:
            assert play.status == ("succeeded" if enough == 5 else "")


@pytest.mark.parametrize("need, bears", [("all", 0), ("any", 4), (3, 2), (5, 0), ("50%", 2), ("81%", 0), ("1%", 4)])
def test_rule_15_it_is_unreachable_when_too_few_are_left(begin: Begin, need: Any, bears: int) -> None:
    """It fails with the failure after which succeeded and unresolved branches are fewer than the need."""
    play = begin(joined("a", "b", "c", "d", "e", need=need), settings={"on_failure": "isolate"})
    for number, branch in enumerate("abcde"):
        assert play.state("j") == "pending"
        play.fail(branch, f"x.{branch}")
        if number == bears:
            break
    assert play.state("j") == "failed"


def test_rule_15_an_expression_is_unreachable_only_when_all_is_resolved(begin: Begin) -> None:
    """What no later branch could mend is not guessed: the last edge decides."""
    play = begin(joined("a", "b", "c", need="${ join.success == 3 }"), settings={"on_failure": "isolate"})
    play.fail("a", "x.a")
    play.succeed("b")
    assert play.state("j") == "pending"
    play.succeed("c")
    assert play.state("j") == "failed"
    assert error_of(play).code == "quorum_unreachable"


def test_rule_15_a_branch_is_named_as_in_after(begin: Begin) -> None:
    """Two ports of one node are two branches, and an edge out of a case is one by the name of both."""
    nodes = {
        "s": {"type": "switch", "match": "all", "cases": {"x": "${ true }", "y": "${ true }", "z": "${ false }"}},
        "j": {"type": "join", "after": ["s.x", "s.y", "s.z", "s.error"], "need": 2},
    }
    play = begin(nodes)
    assert list(play.output) == ["s.x", "s.y", "s.z", "s.error"]
    assert [branch["status"] for branch in play.output.values()] == ["succeeded", "succeeded", "skipped", "skipped"]
    assert play.output["s.x"]["output"] == ["x", "y"]


def test_rule_15_dead_branches_of_a_number_do_not_lower_it(begin: Begin) -> None:
    """A number is a number: two of the two that can still come."""
    play = begin({"c": {"type": "condition", "if": "${ input }"}, "t": {"after": "c.true"}, **joined("a", "b")}
                 | {"j": {"type": "join", "after": ["t", "a", "b"], "need": 2}}, False)  # fmt: skip
    play.succeed("a")
    assert play.state("j") == "pending"
    play.succeed("b")
    assert play.state("j") == "succeeded"


def test_rule_15_a_join_of_dead_branches_is_skipped_whatever_it_needs(begin: Begin) -> None:
    """D = 0: nothing was chosen, so nothing is joined, and what comes after it is not run."""
    nodes: dict[str, Any] = {"c": {"type": "condition", "if": "${ false }"}}
    for name, need in {"all": "all", "any": "any", "half": "50%", "counted": "${ join.dead == 2 }"}.items():
        nodes[name] = {"type": "join", "after": ["c.true", "c.error"], "need": need}
        nodes[f"after_{name}"] = {"after": name}
    play = begin(nodes)
    assert set(play.states().values()) == {"succeeded", "skipped"}
    assert play.status == "succeeded"


def test_rule_15_an_expression_may_read_more_than_counts(begin: Begin) -> None:
    """Variables and nodes of its scope; it is looked at when an edge resolves, and not in between."""
    play = begin(
        {
            "a": {}, "b": {}, "other": {}, "w": {"type": "set_variable", "after": "other", "set": {"few": 1}},
            "j": {"type": "join", "after": ["a", "b"], "need": "${ join.success >= vars.few }", "losers": "detach"},
        },
        vars={"few": 2},
    )  # fmt: skip
    play.succeed("other")
    play.succeed("a")
    assert play.state("j") == "succeeded"
    assert play.state("b") == "running"


@pytest.mark.parametrize("wrong", ["${ join.success + 1 }", "${ 'yes' if join.total else '' }", "${ join.success / 0 > 1 }"])
def test_rule_15_an_expression_that_gives_no_boolean_fails_the_join(begin: Begin, wrong: str) -> None:
    """As any condition, once it is judged."""
    play = begin({**joined("a", "b", need=wrong), "mend": {"after": "j.error", "with": {"c": "${ error.category }"}}})
    play.succeed("a")
    assert play.state("j") == "failed"
    assert play.value(play.instance("mend").params) == {"c": "validation"}


def test_rule_15_when_is_judged_when_it_fires(begin: Begin) -> None:
    """Not before: it sees what has come."""
    play = begin(joined("a", "b", need="any", when="${ nodes.a == 1 }", losers="detach"))
    play.succeed("a", 1)
    assert play.state("j") == "succeeded"


# -- count ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count, state", [(None, "failed"), ("success", "failed"), ("finished", "pending")])
def test_rule_16_finished_counts_broken_branches_too(begin: Begin, count: str | None, state: str) -> None:
    """Without it a failed branch is one that has not succeeded."""
    play = begin(joined("a", "b", "c", need=3, **({"count": count} if count else {})), settings={"on_failure": "isolate"})
    play.fail("a", "x.a")
    assert play.state("j") == state


def test_rule_16_what_is_counted_is_the_status_of_the_source(begin: Begin) -> None:
    """Under `ignore` a failed source leaves its edge live, and has failed all the same."""
    play = begin(joined("a", "b", need="any", count="finished", losers="detach"), settings={"on_failure": "ignore"})
    play.fail("a", "x.a")
    assert play.state("j") == "succeeded"
    assert play.node_output("j")["a"]["status"] == "failed"
    assert play.node_output("j")["a"]["error"]["code"] == "x.a"


@pytest.mark.parametrize("port", ["error", "timeout", "mend"])
def test_rule_16_what_was_handled_has_arrived(begin: Begin, port: str) -> None:
    """The edge by which a failure left is a branch that has succeeded, without an output."""
    source = {"timeout": "1m", "catch": [{"on": "x.caught", "to": "mend"}]}
    nodes = {"a": source, "b": {}, "j": {"type": "join", "after": [f"a.{port}", "b"]}}
    play = begin(nodes)
    play.fail("a", "x.caught" if port == "mend" else "x.other", category="timeout" if port == "timeout" else "technical")
    play.succeed("b", 2)
    assert play.status == "succeeded"
    assert play.output == {f"a.{port}": {"status": "succeeded", "output": None}, "b": {"status": "succeeded", "output": 2}}


def test_rule_16_a_dead_edge_is_dead_whatever_its_source(begin: Begin) -> None:
    """The plain edge of a source whose failure was handled is no branch any more; nor is the error edge of one that failed."""
    nodes = {
        "a": {}, "mend": {"after": "a.error"}, "b": {},
        "j": {"type": "join", "after": ["a", "b"], "need": "all"},
    }  # fmt: skip
    play = begin(nodes)
    play.fail("a", "x.a")
    play.succeed("b", 2)
    assert play.node_output("j") == {"a": {"status": "skipped"}, "b": {"status": "succeeded", "output": 2}}


# -- unreachable ----------------------------------------------------------------------------------------------------------


def test_rule_17_all_causes_are_told(begin: Begin) -> None:
    """`quorum_unreachable`, of category business, with the failures of all branches in the order of the journal."""
    play = begin({**joined("a", "b", "c", need="any"), "mend": {"after": "j.error"}})
    play.fail("c", "x.c")
    play.fail("a", "x.a")
    assert play.state("j") == "pending"
    play.fail("b", "x.b")
    error = play.instance("j").error
    assert error is not None
    assert (error.code, error.category, error.retryable, error.node) == ("quorum_unreachable", "business", False, "j")
    assert [each.code for each in error.also] == ["x.c", "x.a", "x.b"]


@pytest.mark.parametrize("first, code", [("slow", "x.far"), ("b", "x.b")])
def test_rule_17_all_fails_with_the_failure_at_the_root_of_the_first_branch(begin: Begin, first: str, code: str) -> None:
    """The branch's own error is what broke it, far away; a branch has failed when its edge is broken, and not before."""
    nodes = {
        "far": {}, "slow": {}, "a": {"after": ["far", "slow"]}, "b": {},
        "j": {"type": "join", "after": ["a", "b"], "catch": [{"on": "x.*", "to": "mend"}]}, "m": {"after": "j.mend"},
    }  # fmt: skip
    play = begin(nodes, settings={"on_failure": "isolate"})
    play.fail("far", "x.far")
    assert (play.state("a"), play.state("j")) == ("pending", "pending")
    if first == "slow":
        play.succeed("slow")
    else:
        play.fail("b", "x.b")
    error = play.instance("j").error
    assert error is not None
    assert (error.code, error.node, play.state("m")) == (code, code.removeprefix("x."), "running")


def test_rule_17_one_failure_that_breaks_two_branches_is_one_cause(begin: Begin) -> None:
    """Both branches come from the same failed node."""
    nodes = {"a": {}, "b": {"after": "a"}, "c": {"after": "a"}, "j": {"type": "join", "after": ["b", "c"], "need": "any"}}
    play = begin(nodes)
    play.fail("a", "x.a")
    assert play.status == "failed"
    assert [each.code for each in error_of(play).also] == ["x.a"]


def test_rule_17_one_that_is_parked_for_it_is_not_asked_again(begin: Begin) -> None:
    """Later arrivals change nothing: an operator decides, and a retry judges it anew."""
    play = begin(joined("a", "b", "c", "d", need=3, park=True), settings={"on_failure": "isolate"})
    play.fail("a")
    play.fail("b")
    assert play.state("j") == "parked"
    play.succeed("c")
    play.fail("d")
    assert play.kinds().count("Parked j") == 1
    play.operate("retry", "j")
    assert (play.state("j"), play.kinds().count("Parked j")) == ("parked", 2)
    play.operate("complete", "j", value=play.encoded("by hand"))
    assert play.node_output("j") == "by hand"


def test_rule_17_it_is_never_retried(begin: Begin) -> None:
    """Whatever its `retry` says."""
    play = begin(joined("a", "b", need=2, retry={"attempts": 5, "on": "quorum_unreachable"}))
    play.fail("a")
    assert play.state("j") == "failed"


# -- shields --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("join", [{"need": "any"}, {"need": 2}, {"need": "50%"}, {"count": "finished"},
                                  {"need": "${ join.success > 1 }"}])  # fmt: skip
@pytest.mark.parametrize("policy", ["cancel_siblings", "drain"])
def test_rule_18_a_failure_in_its_region_only_breaks_edges(begin: Begin, join: dict[str, Any], policy: str) -> None:
    """A need that is not `all`, or one that counts finished ones: siblings go on, and start what comes after them."""
    nodes = {"a": {}, "a2": {"after": "a"}, "b": {}, "b2": {"after": "b"}, "c": {}, "c2": {"after": "c"},
             "j": {"type": "join", "after": ["a2", "b2", "c2"], **join}}  # fmt: skip
    play = begin(nodes, settings={"on_failure": policy})
    play.fail("a", "x.a")
    play.succeed("b")
    assert play.states() == {
        "a": "failed", "a2": "skipped", "b": "succeeded", "b2": "running", "c": "running", "c2": "pending", "j": "pending"
    }  # fmt: skip


@pytest.mark.parametrize("policy, state", [("cancel_siblings", "running"), ("drain", "running"), ("isolate", "running"),
                                           ("ignore", "running")])  # fmt: skip
def test_rule_18_on_failure_speaks_about_the_join(begin: Begin, policy: str, state: str) -> None:
    """When the quorum is unreachable, the scope's policy hears of the join, as of any node that failed."""
    nodes = {**joined("a", "b", need="any"), "k": {"after": "j"}, "c": {}, "c2": {"after": "c"}}
    play = begin(nodes, settings={"on_failure": policy})
    play.fail("a", "x.a")
    play.fail("b", "x.b")
    assert play.state("c") == state
    assert play.state("k") == ("running" if policy == "ignore" else "skipped")
    play.succeed("c")
    assert play.state("c2") == ("running" if policy in ("isolate", "ignore") else "skipped")


def test_rule_18_the_scope_speaks_at_once_where_nothing_shields(begin: Begin) -> None:
    """A join of `all`: the first failure acts on the whole frame, and the join is skipped with it."""
    play = begin(joined("a", "b"))
    play.fail("a", "x.a")
    assert play.states() == {"a": "failed", "b": "running", "j": "skipped"}
    assert play.instance("j").cause == "sibling `a` failed: x.a"


def test_rule_18_of_two_joins_one_is_enough_to_shield(begin: Begin) -> None:
    """A node in the regions of an `all` inside an `any` is borne by the outer one, which hears of the inner."""
    nodes = {"a": {}, "b": {}, "inner": {"type": "join", "after": ["a", "b"]}, "c": {},
             "outer": {"type": "join", "after": ["inner", "c"], "need": "any"}}  # fmt: skip
    play = begin(nodes)
    play.fail("a", "x.a")
    assert play.states() == {"a": "failed", "b": "running", "inner": "failed", "c": "running", "outer": "pending"}
    play.stopped("b")
    play.succeed("c")
    assert play.status == "succeeded"


# -- what comes too late --------------------------------------------------------------------------------------------------


def late_of(play: Any) -> list[str]:
    return [fact.what for fact in play.facts if isinstance(fact, events.Late)]


def test_rule_20_an_arrival_after_the_end_is_late(begin: Begin) -> None:
    """A branch that comes after the join has fired, or breaks after it, is journaled as late and changes nothing."""
    play = begin({**joined("a", "b", "c", need="any", losers="detach"), "k": {"after": "j", "with": {"j": "${ nodes.j }"}}})
    play.succeed("a", 1)
    before = play.node_output("j")
    play.succeed("b", 2)
    play.fail("c", "x.c")
    assert late_of(play) == ["arrival of b", "arrival of c"]
    assert play.node_output("j") == before
    play.succeed("k")
    assert play.status == "succeeded"


def test_rule_20_a_dead_edge_is_no_arrival(begin: Begin) -> None:
    """A loser that is cancelled or skipped says nothing to the join."""
    nodes = {"a": {}, "b": {}, "b2": {"after": "b"}, "j": {"type": "join", "after": ["a", "b2"], "need": "any"}}
    play = begin(nodes)
    play.succeed("a")
    play.stopped("b")
    assert (late_of(play), play.status) == ([], "succeeded")


def test_rule_20_a_losers_failure_never_fails_the_frame(begin: Begin) -> None:
    """Under every policy of the frame: it is nobody's any more, nor is it asked about."""
    for policy in ("cancel_siblings", "drain", "isolate"):
        play = begin(joined("a", "b", need="any", losers="drain"), settings={"on_failure": policy, "park": True})
        play.succeed("a")
        play.fail("b", "x.late")
        assert (play.state("b"), play.status, play.error) == ("failed", "succeeded", None)


def test_rule_20_the_end_of_a_frame_after_its_container_is_in_the_journal(begin: Begin) -> None:
    """A branch of a parallel that goes on detached: its end is told where the frame is closed."""
    branches = {"l": scope(x={}), "r": scope(y={})}
    play = begin({"p": {"type": "parallel", "need": "any", "losers": "detach", "branches": branches}})
    play.succeed("p.l.x", 1)
    play.succeed("p.r.y", 2)
    closed = [(fact.frame, fact.status) for fact in play.facts if isinstance(fact, events.FrameClosed)]
    assert closed == [("p.l", "succeeded"), ("p.r", "succeeded")]
    assert play.output["r"] == {"status": "pending"}


# -- deadlines ------------------------------------------------------------------------------------------------------------


def test_rule_21_a_deadline_runs_from_the_first_edge_and_not_from_the_next(begin: Begin) -> None:
    """Later arrivals do not move it."""
    play = begin({**joined("a", "b", "c", deadline="1m"), "late": {"after": "j.timeout"}})
    play.pass_time(3_600)
    play.succeed("a")
    play.pass_time(30)
    play.succeed("b")
    play.pass_time(29)
    assert play.state("j") == "waiting"
    play.pass_time(1)
    assert play.states() == {"a": "succeeded", "b": "succeeded", "c": "running", "j": "succeeded", "late": "running"}
    assert play.instance("j").ports == ("timeout",)


def test_rule_21_a_deadline_without_its_edge_is_a_failure(begin: Begin) -> None:
    """`timeout.deadline`; losers are losers all the same."""
    play = begin(joined("a", "b", deadline="1m"), settings={"on_failure": "isolate"})
    play.succeed("a")
    play.pass_time(60)
    assert play.states() == {"a": "succeeded", "b": "running", "j": "failed"}
    assert play.instance("b").stopping
    play.stopped("b")
    assert (play.status, error_of(play).code) == ("failed", "timeout.deadline")


def test_rule_21_a_deadline_that_has_not_begun_does_not_end(begin: Begin) -> None:
    """Before the first arrival nothing runs."""
    play = begin(joined("a", "b", deadline="1m"))
    assert play.index.next_due(play.execution) is None


def test_rule_21_the_timeout_of_a_join_is_a_failure(begin: Begin) -> None:
    """As rule 43 says, and no success by the port: `timeout`, which its edge may take."""
    play = begin({**joined("a", "b", timeout="1m"), "late": {"after": "j.timeout", "with": {"c": "${ error.code }"}}})
    play.succeed("a")
    play.pass_time(60)
    assert (play.state("j"), play.state("late")) == ("failed", "running")
    assert play.value(play.instance("late").params) == {"c": "timeout"}


# -- what it says ---------------------------------------------------------------------------------------------------------


def test_rule_22_the_output_tells_of_every_branch(begin: Begin) -> None:
    """In the order of `after`: succeeded with its output, failed with its error, skipped, cancelled, pending."""
    nodes = {
        "c": {"type": "condition", "if": "${ false }"}, "skipped": {"after": "c.true"}, "gone": {"type": "delay", "for": "1h"},
        "stop": {"type": "cancel", "target": "gone"}, "broken": {}, "behind": {"after": "broken"}, "slow": {}, "first": {},
        "j": {
            "type": "join", "after": ["slow", "behind", "gone", "first", "skipped"], "losers": "detach",
            "need": "${ join.success == 1 and join.failed == 1 }",
        },
    }  # fmt: skip
    play = begin(nodes)
    play.fail("broken", "x.broken")
    play.succeed("first", {"n": 1})
    told = play.node_output("j")
    assert list(told) == ["slow", "behind", "gone", "first", "skipped"]
    assert {name: branch["status"] for name, branch in told.items()} == {
        "slow": "pending", "behind": "failed", "gone": "cancelled", "first": "succeeded", "skipped": "skipped"
    }  # fmt: skip
    assert told["first"] == {"status": "succeeded", "output": {"n": 1}}
    assert (told["behind"]["error"]["code"], told["behind"]["error"]["node"]) == ("x.broken", "broken")
    assert [set(branch) for branch in told.values()] == [
        {"status"}, {"status", "error"}, {"status"}, {"status", "output"}, {"status"}
    ]  # fmt: skip


def test_rule_22_winners_are_who_made_the_quorum_in_order_of_arrival(begin: Begin) -> None:
    """Not in the order of declaration, and without those that failed on the way."""
    play = begin(
        {**joined("a", "b", "c", "d", need=2, losers="detach"), "k": {"after": "j", "with": {"w": "${ state.j.winners }"}}}
    )
    play.succeed("d")
    play.fail("b")
    play.succeed("a")
    assert play.value(play.instance("k").params) == {"w": ["d", "a"]}


def test_rule_22_a_large_output_of_a_branch_is_told_as_well(begin: Begin) -> None:
    """A value that is kept by handle is whole in what the join says."""
    play = begin({**joined("a", "b"), "k": {"after": "j", "with": {"n": "${ len(nodes.j.a.output) }"}}})
    play.succeed("a", "x" * 5_000)
    play.succeed("b", "y" * 5_000)
    assert play.value(play.instance("k").params) == {"n": 5_000}


# -- refused when saved ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "join, code",
    [
        ({"after": []}, "quorum.no_branch"),
        ({"need": 0}, "quorum.zero"),
        ({"need": 3}, "quorum.unreachable"),
        ({"need": "0%"}, "quorum.percent"),
        ({"need": "100.1%"}, "quorum.percent"),
        ({"need": "${ input.few > 1 }"}, "quorum.no_count"),
    ],
)
def test_rule_23_a_quorum_that_cannot_be_is_refused(join: dict[str, Any], code: str) -> None:
    """Before anything runs, with its code."""
    with pytest.raises(DefinitionRefused) as refused:
        plan_of(graph(joined("a", "b", **join)))
    assert code in [fault.code for fault in refused.value.faults]


def test_rule_23_cases_that_exclude_each_other_count_once() -> None:
    """One of two cases of a `first` switch and one more node: three can never be live together."""
    nodes: dict[str, Any] = {
        "s": {"type": "switch", "cases": {"x": "${ input == 1 }", "y": "${ input == 2 }"}}, "x": {"after": "s.x"},
        "y": {"after": "s.y"}, "z": {}, "j": {"type": "join", "after": ["x", "y", "z"], "need": 3},
    }  # fmt: skip
    with pytest.raises(DefinitionRefused):
        plan_of(graph(nodes))
    plan_of(graph({**nodes, "j": {**nodes["j"], "need": 2}}))
