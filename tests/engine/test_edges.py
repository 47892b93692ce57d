"""Edges: how they are resolved, when a node runs, what starts a scope, and which port takes a failure (rules 4 to 10)."""

from __future__ import annotations

from typing import Any

import pytest
from graphs import Answers, Graph, answered, graphs
from hypothesis import HealthCheck, given, settings
from plays import definition, perform, table
from recording import Recording

from perdure.engine.edges import resolution
from perdure.engine.execution import CANCELLED, Instance
from perdure.errors import DefinitionRefused
from perdure.testing.rehearsal import effects, plan_of

EDGES = table("table_04")


def probed(row: dict[str, Any]) -> dict[str, Any]:
    """The row's graph with one effect after each port that it speaks of."""
    document = definition(row)
    for port in row["edges"]:
        document["nodes"][f"to_{port}"] = {"type": "test.effect", "after": f"a.{port}"}
    return {**document, "settings": {"on_failure": row.get("on_failure", "cancel_siblings")}}


def resolved_as(play: Recording, port: str) -> str:
    """How the edge to a probe was resolved, seen from what became of the probe."""
    state = play.state(f"to_{port}")
    if state == "skipped":
        return "broken" if play.instance(f"to_{port}").broken else "dead"
    assert state == "running", f"the probe after {port} is {state}"
    return "live"


@pytest.mark.parametrize("row", [row for row in EDGES if "by" not in row], ids=lambda row: row["row"])
def test_rule_4_an_edge_is_resolved_by_its_source_and_port(row: dict[str, Any]) -> None:
    """Every row of table 4: live, dead and broken, as seen by the nodes behind the edges."""
    play = Recording(probed(row))
    perform(play, row["play"])
    assert {port: resolved_as(play, port) for port in row["edges"]} == row["edges"]


@pytest.mark.parametrize("row", [row for row in EDGES if row.get("by") == "state"], ids=lambda row: row["row"])
def test_rule_4_an_edge_of_a_cancelled_node_is_dead(row: dict[str, Any]) -> None:
    """A node that was withdrawn was not chosen: none of its edges is broken."""
    plan = plan_of(probed(row))
    a = plan.root.nodes[plan.root.number["a"]]
    ended = Instance(node="a", state=CANCELLED, cause=row["cancelled"])
    assert {edge.port: resolution(edge, a, ended, "isolate") for edge in a.outgoing} == row["edges"]


def test_rule_5_a_node_waits_for_the_edge_that_is_pending() -> None:
    """One edge dead, one live, one pending: it waits for the pending one."""
    play = Recording(
        {
            "perdure": 1, "name": "w",
            "nodes": {
                "choice": {"type": "condition", "if": "${ true }"},
                "slow": {"type": "test.effect"},
                "meet": {"type": "test.effect", "after": ["choice.true", "choice.false", "slow"]},
            },
        }
    )  # fmt: skip
    play.start()
    assert play.state("meet") == "pending"
    play.succeed("slow")
    assert play.state("meet") == "running"


def test_rule_5_a_broken_edge_skips_the_node_although_another_is_live() -> None:
    """Something it depends on failed: a live edge beside it does not make it run, and the cause names the failure."""
    play = Recording({**effects(a={}, b={}, meet={"after": ["a", "b"]}), "settings": {"on_failure": "isolate"}})
    play.start()
    play.succeed("b")
    play.fail("a", "x.first", title="It broke.")
    assert play.state("meet") == "skipped"
    assert play.instance("meet").broken
    assert play.instance("meet").cause == "`a` failed: It broke."


def test_rule_5_a_broken_edge_is_judged_only_when_all_are_resolved() -> None:
    """A node with one broken edge stays pending until the others have been resolved too."""
    play = Recording({**effects(a={}, b={}, meet={"after": ["a", "b"]}), "settings": {"on_failure": "isolate"}})
    play.start()
    play.fail("a")
    assert play.state("meet") == "pending"
    play.succeed("b")
    assert play.state("meet") == "skipped"


def test_rule_5_dead_edges_all_the_way_down() -> None:
    """A node whose edges are all dead is skipped and kills its own edges."""
    play = Recording(
        {
            "perdure": 1, "name": "w",
            "nodes": {
                "choice": {"type": "condition", "if": "${ true }"},
                "b": {"type": "test.effect", "after": "choice.false"},
                "c": {"type": "test.effect", "after": "b"},
                "d": {"type": "test.effect", "after": "c"},
            },
        }
    )  # fmt: skip
    play.start()
    assert play.status == "succeeded"
    assert play.states() == {"choice": "succeeded", "b": "skipped", "c": "skipped", "d": "skipped"}
    assert not play.instance("d").broken


def test_rule_5_a_node_with_several_live_edges_runs_once() -> None:
    """Two ports of one switch may both lead to a node: it runs once."""
    play = Recording(
        {
            "perdure": 1, "name": "w",
            "nodes": {
                "all": {"type": "switch", "match": "all", "cases": {"x": "${ true }", "y": "${ true }"}},
                "meet": {"type": "test.effect", "after": ["all.x", "all.y"]},
            },
        }
    )  # fmt: skip
    play.start()
    assert play.started() == ["meet"]
    play.succeed("meet")
    assert play.status == "succeeded"


def test_rule_6_nodes_without_after_start_the_scope_in_the_order_of_declaration() -> None:
    """All starts begin in the first step; what becomes ready at one moment starts in declaration order (rule 2)."""
    play = Recording(effects(z={}, a={}, m={"after": "z"}, k={"after": "z"}, b={"after": "z"}))
    play.start()
    assert play.started() == ["z", "a"]
    play.succeed("z")
    assert play.started() == ["z", "a", "m", "k", "b"]


def test_rule_6_a_disabled_node_never_runs() -> None:
    """It is skipped when it would start, and what comes after it is skipped, unless another edge is live."""
    play = Recording(effects(a={}, off={"after": "a", "disabled": True}, alone={"after": "off"}, both={"after": ["a", "off"]}))
    play.start()
    assert play.state("off") == "pending"
    play.succeed("a")
    assert play.states() == {"a": "succeeded", "off": "skipped", "alone": "skipped", "both": "running"}
    assert play.instance("off").cause == "disabled"


def test_rule_6_a_disabled_start_is_skipped_at_once() -> None:
    """A disabled node without edges is skipped in the first step."""
    play = Recording(effects(off={"disabled": True}))
    play.start()
    assert play.state("off") == "skipped"
    assert play.status == "succeeded"


@pytest.mark.parametrize("name", ["error", "timeout", "out", "default"])
def test_rule_6_reserved_names_are_no_cases(name: str) -> None:
    """A switch cannot have a case with the name of a port that has a meaning."""
    with pytest.raises(DefinitionRefused):
        plan_of({"perdure": 1, "name": "w", "nodes": {"s": {"type": "switch", "cases": {name: "${ true }"}}}})


def test_rule_7_when_is_asked_at_the_moment_the_node_would_start() -> None:
    """It sees what its predecessors gave, and a false one skips the node without breaking anything."""
    play = Recording(effects(a={}, b={"after": "a", "when": "${ nodes.a > 3 }"}, c={"after": "b"}))
    play.start()
    play.succeed("a", 3)
    assert play.states() == {"a": "succeeded", "b": "skipped", "c": "skipped"}
    assert "nodes.a > 3" in play.instance("b").cause
    assert play.status == "succeeded"


def test_rule_7_a_true_when_runs_the_node() -> None:
    """The other side of it."""
    play = Recording(effects(a={}, b={"after": "a", "when": "${ nodes.a > 3 }"}))
    play.start()
    play.succeed("a", 4)
    assert play.state("b") == "running"


@pytest.mark.parametrize(
    "when, input, code",
    [
        ("${ input }", "yes", "expression.type"),
        ("${ input }", 1, "expression.type"),
        ("${ input }", None, "expression.type"),
        ("${ input.missing }", {}, "expression.missing"),
        ("${ input.a.b == 1 }", {"a": None}, "expression.missing"),
        ("${ 1 / input > 0 }", 0, "expression.value"),
    ],
)
def test_rule_7_a_when_that_is_no_boolean_or_an_error_fails_the_node(when: str, input: Any, code: str) -> None:
    """A condition is never guessed at: text, numbers and null are no answers, and an error says where."""
    play = Recording(effects(a={"when": when}))
    play.start(input)
    assert play.state("a") == "failed"
    error = play.instance("a").error
    assert error is not None
    assert (error.code, error.category) == (code, "validation")
    assert play.status == "failed"


def test_rule_7_an_error_of_when_is_a_failure_like_any_other() -> None:
    """The node's error edge takes it."""
    play = Recording(effects(a={"when": "${ input.missing }"}, mend={"after": "a.error", "with": {"c": "${ error.code }"}}))
    play.start({})
    assert play.state("mend") == "running"
    assert play.value(play.runs()[0].params) == {"c": "expression.missing"}


def test_rule_7_get_asks_softly() -> None:
    """`get(x, "a.b", default)` is the form that gives a default instead of an error."""
    play = Recording(effects(a={"when": '${ get(input, "a.b", false) }'}))
    play.start({"a": None})
    assert play.state("a") == "skipped"


def switch(**more: Any) -> dict[str, Any]:
    """A switch on a number, with a node after each of its ports."""
    return {
        "perdure": 1, "name": "w",
        "nodes": {
            "s": {"type": "switch", "cases": {"big": "${ input > 10 }", "even": "${ input % 2 == 0 }"}, **more},
            "to_big": {"type": "test.effect", "after": "s.big"},
            "to_even": {"type": "test.effect", "after": "s.even"},
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    "number, match, started",
    [
        (12, "first", ["to_big"]),
        (12, "all", ["to_big", "to_even"]),
        (4, "first", ["to_even"]),
        (13, "all", ["to_big"]),
    ],
)
def test_rule_9_the_first_case_or_all_of_them(number: int, match: str, started: list[str]) -> None:
    """`match: first` takes the first case that holds, `match: all` each one."""
    play = Recording(switch(match=match))
    play.start(number)
    assert play.started() == started


def test_rule_9_nothing_matches_and_nothing_follows() -> None:
    """Without an edge from `default`, nothing follows, and that is no failure."""
    play = Recording(switch())
    play.start(3)
    assert play.status == "succeeded"
    assert play.started() == []
    assert play.node_output("s") == ["default"]


def test_rule_9_strict_makes_no_match_an_error() -> None:
    """`strict: true`: no case holds, and the node fails with `switch.no_match`."""
    play = Recording(switch(strict=True))
    play.start(3)
    assert play.status == "failed"
    assert play.error is not None
    assert play.error.code == "switch.no_match"


def test_rule_9_what_was_chosen_is_kept() -> None:
    """The decision is the switch's output."""
    play = Recording(switch(match="all"))
    play.start(12)
    assert play.node_output("s") == ["big", "even"]


CATCHING: dict[str, Any] = {
    "catch": [{"on": "http.404", "to": "missing"}, {"on": "http.*", "to": "broken"}, {"on": "http.404", "to": "never"}],
    "timeout": "1m",
}


def caught_by(code: str, category: str = "technical", **more: Any) -> str:
    """The port that takes a failure of a node with several."""
    ports = ("missing", "broken", "never", "timeout", "error")
    play = Recording(effects(a={**CATCHING, **more}, **{f"to_{port}": {"after": f"a.{port}"} for port in ports}))
    play.start()
    play.fail("a", code, category=category)  # type: ignore[arg-type]  # the parameters of a test are plain text
    (started,) = [node for node in play.started() if node != "a"]
    return started.removeprefix("to_")


@pytest.mark.parametrize(
    "code, category, port",
    [
        ("http.404", "technical", "missing"),
        ("http.500", "technical", "broken"),
        ("http", "technical", "error"),
        ("httpx.500", "technical", "error"),
        ("timeout", "timeout", "timeout"),
        ("http.408", "timeout", "broken"),
        ("order.empty", "business", "error"),
    ],
)
def test_rule_10_the_first_catch_that_matches_then_timeout_then_error(code: str, category: str, port: str) -> None:
    """Exact codes and `prefix.*`, in order; a failure in time goes to `timeout` before `error`."""
    assert caught_by(code, category) == port


@pytest.mark.parametrize(
    "on, code, category, caught",
    [
        ("http.5xx", "http.503", "technical", True),
        ("http.5xx", "http.404", "technical", False),
        ("http.5xx", "http.5xx", "technical", True),
        ("http.5xx", "http.5031", "technical", False),
        ("http.xxx", "http.418", "technical", True),
        ("http.5xx", "http.5ab", "technical", False),
        ("business", "order.empty", "business", True),
        ("timeout", "timeout.heartbeat", "timeout", True),
        ("*", "whatever", "technical", True),
        ("http.*", "http.", "technical", True),
        ("a.b.*", "a.b.c.d", "technical", True),
    ],
)
def test_rule_10_what_a_pattern_matches(on: str, code: str, category: str, caught: bool) -> None:
    """A code, `prefix.*`, a category, `*`, or digits left open: `http.5xx`."""
    play = Recording(effects(a={"catch": [{"on": on, "to": "caught"}]}, c={"after": "a.caught"}, e={"after": "a.error"}))
    play.start()
    play.fail("a", code, category=category)  # type: ignore[arg-type]  # the parameters of a test are plain text
    assert play.started() == ["a", "c" if caught else "e"]


def test_rule_10_a_catch_may_have_a_condition() -> None:
    """`when` sees `error`, and an entry whose condition is false is passed over."""
    document = effects(
        a={"catch": [{"when": "${ error.data.again }", "to": "again"}, {"on": "x.*", "to": "other"}]},
        again={"after": "a.again"}, other={"after": "a.other"},
    )  # fmt: skip
    for data, expected in (({"again": True}, "again"), ({"again": False}, "other")):
        play = Recording(document)
        play.start()
        play.fail("a", "x.first", data=data)
        assert play.started() == ["a", expected]


def test_rule_10_a_condition_that_cannot_be_judged_does_not_match() -> None:
    """The failure at hand matters more than an error in a catch condition: the next entry is asked."""
    play = Recording(
        effects(a={"catch": [{"when": "${ error.data.again }", "to": "again"}]}, b={"after": "a.again"}, e={"after": "a.error"})
    )
    play.start()
    play.fail("a", "x.first")
    assert play.started() == ["a", "e"]


def test_rule_10_the_error_edge_does_not_take_a_cancel() -> None:
    """A failure of category `cancelled` is no error that an error edge handles."""
    play = Recording(effects(a={"catch": [{"on": "*", "to": "c"}]}, c={"after": "a.c"}, e={"after": "a.error"}))
    play.start()
    play.fail("a", "child.cancelled", category="cancelled")
    assert play.state("a") == "failed"
    assert play.states()["e"] == play.states()["c"] == "skipped"
    assert play.status == "failed"


def test_rule_10_the_error_is_bound_in_the_direct_target() -> None:
    """`error` holds the failure: code, category, the node's path; elsewhere `state.x.error` has the same."""
    play = Recording(
        effects(
            a={},
            mend={"after": "a.error", "with": {"e": "${ error }"}},
            late={"after": "mend", "with": {"e": "${ state.a.error }", "status": "${ state.a.status }"}},
        )
    )
    play.start()
    play.fail("a", "x.first", title="It broke.", data={"n": 1})
    error = play.value(play.runs()[1].params)["e"]
    assert (error["code"], error["title"], error["category"], error["node"], error["data"]) == (
        "x.first", "It broke.", "technical", "a", {"n": 1},
    )  # fmt: skip
    play.succeed("mend")
    assert play.value(play.runs()[2].params) == {"e": error, "status": "failed"}


def test_rule_10_retries_come_before_the_error_edge() -> None:
    """The error edge is taken only when no retry is left."""
    play = Recording(effects(a={"retry": {"attempts": 2, "initial": "1s"}}, mend={"after": "a.error"}))
    play.start()
    play.fail("a")
    assert play.state("mend") == "pending"
    play.pass_time(2)
    play.fail("a")
    assert play.state("mend") == "running"


@settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=graphs(), answers=answered())
def test_rule_5_holds_for_every_node_of_a_random_graph(graph: Graph, answers: Answers) -> None:
    """Broken edges skip with a cause, all-dead ones skip without, and else it ran, unless `when` or `disabled` forbade it."""
    play = answers.play(Recording(graph.document), graph)
    if play.frame().departure is not None:
        return
    scope = play.plan.root
    for node in scope.nodes:
        instance = play.instance(node.id)
        edges = [
            resolution(edge, scope.nodes[edge.source], play.instance(scope.nodes[edge.source].id), scope.on_failure)
            for edge in node.incoming
        ]
        if "broken" in edges:
            assert play.state(node.id) == "skipped"
            assert instance.broken
        elif edges and "live" not in edges:
            assert play.state(node.id) == "skipped"
            assert not instance.broken
        elif play.state(node.id) == "skipped":
            assert node.disabled or node.when is not None
