"""What a node's expressions see: outputs, states, what came in, the execution; and what an error in one does (rules 7, 8)."""

from __future__ import annotations

from typing import Any

import pytest
from graphs import CATALOG
from recording import Recording

from perdure.definition import check_document
from perdure.engine.names import time_text
from perdure.testing.rehearsal import BEGIN, effects


def params_of(play: Recording, node: str) -> Any:
    """The parameters of a node's newest attempt."""
    return [play.value(run.params) for run in play.runs() if run.token.node == node][-1]


def test_rule_8_nodes_x_is_the_output() -> None:
    """Of any ancestor, not only the direct one; parts of it by path."""
    play = Recording(
        effects(a={}, b={"after": "a"}, c={"after": "b", "with": {"x": "${ nodes.a.list[1].k }", "all": "${ nodes.b }"}})
    )
    play.start()
    play.succeed("a", {"list": [{"k": 1}, {"k": 2}]})
    play.succeed("b", [1])
    assert params_of(play, "c") == {"x": 2, "all": [1]}


def test_rule_8_nodes_x_is_null_unless_it_succeeded() -> None:
    """Skipped, or failed with a handler: there is no output."""
    play = Recording(
        effects(
            off={"disabled": True}, bad={}, mend={"after": "bad.error"},
            c={"after": ["off", "mend"], "with": {"off": "${ nodes.off }", "bad": "${ nodes.bad }"}},
        )
    )  # fmt: skip
    play.start()
    play.fail("bad")
    play.succeed("mend")
    assert params_of(play, "c") == {"off": None, "bad": None}


def test_rule_8_a_member_of_null_is_an_error() -> None:
    """A node that was skipped has no output to look into: an error with its place, never a silent null (rule 7)."""
    play = Recording(
        effects(s={}, off={"after": "s", "when": "${ false }"}, c={"after": ["s", "off"], "with": {"x": "${ nodes.off.id }"}})
    )
    play.start()
    play.succeed("s")
    assert play.status == "failed"
    assert play.error is not None
    assert (play.error.code, play.error.node) == ("expression.missing", "c")
    assert "line 1, column" in play.error.detail
    assert "nodes.off.id" in play.error.detail


@pytest.mark.parametrize(
    "document",
    [
        effects(a={}, b={"with": {"x": "${ nodes.a }"}}),
        effects(a={"with": {"x": "${ nodes.b }"}}, b={"after": "a"}),
        effects(a={"with": {"x": "${ nodes.a }"}}),
        effects(a={}, b={"after": "a", "with": {"x": "${ state.c.status }"}}, c={"after": "a"}),
    ],
    ids=["no path", "a descendant", "itself", "a sibling's state"],
)
def test_rule_8_only_ancestors_may_be_named(document: dict[str, Any]) -> None:
    """Anything else would be a race, and is refused when saved."""
    assert [fault.code for fault in check_document(document, CATALOG).errors] != []


def test_rule_8_the_output_may_name_any_node() -> None:
    """When it is evaluated everything is final."""
    play = Recording(
        {**effects(a={}, b={"when": "${ false }"}), "output": ["${ nodes.a }", "${ nodes.b }", "${ state.b.status }"]}
    )
    play.start()
    play.succeed("a", 1)
    assert play.output == [1, None, "skipped"]


def test_rule_8_state_x_has_status_error_attempts_and_times() -> None:
    """Of the latest visit, as far as it came."""
    play = Recording(
        effects(
            a={"retry": {"attempts": 3, "initial": "1s", "jitter": False}},
            b={"after": "a.error", "with": {"s": "${ state.a }"}},
        )
    )
    play.start()
    play.fail("a", "x.one")
    play.pass_time(1)
    play.fail("a", "x.two", retryable=False)
    state = params_of(play, "b")["s"]
    assert {key: state[key] for key in ("status", "attempts", "visit")} == {"status": "failed", "attempts": 2, "visit": 1}
    assert state["error"]["code"] == "x.two"
    assert state["started"] == state["finished"] == time_text(BEGIN + 1_000_000)


@pytest.mark.parametrize("status", ["succeeded", "failed", "skipped"])
def test_rule_8_state_x_of_every_end(status: str) -> None:
    """A node that waits for several can ask how each ended."""
    play = Recording(
        {
            **effects(a={"when": "${ input != 'skipped' }"}, b={"after": "a.error"}),
            "output": {"s": "${ state.a.status }", "e": "${ state.a.error != null }"},
        }
    )
    play.start(status)
    if status == "succeeded":
        play.succeed("a")
    elif status == "failed":
        play.fail("a")
        play.succeed("b")
    assert play.output == {"s": status, "e": status == "failed"}


def test_rule_8_incoming_is_the_output_of_the_one_live_predecessor() -> None:
    """Whichever branch was taken."""
    document = effects(
        s={"type": "condition", "if": "${ input }"}, yes={"after": "s.true"}, no={"after": "s.false"},
        meet={"after": ["yes", "no"], "with": {"i": "${ incoming }"}},
    )  # fmt: skip
    for answer, taken in ((True, "yes"), (False, "no")):
        play = Recording(document)
        play.start(answer)
        play.succeed(taken, f"from {taken}")
        assert params_of(play, "meet") == {"i": f"from {taken}"}


def test_rule_8_incoming_of_several_is_an_object_by_entry() -> None:
    """By how `after` names them, in that order; dead edges are left out."""
    play = Recording(
        effects(
            a={}, s={"type": "switch", "match": "all", "cases": {"x": "${ true }", "y": "${ false }"}}, b={},
            meet={"after": ["b", "s.x", "s.y", "a"], "with": {"i": "${ incoming }"}},
        )
    )  # fmt: skip
    play.start()
    play.succeed("a", 1)
    play.succeed("b", 2)
    incoming = params_of(play, "meet")["i"]
    assert list(incoming.items()) == [("b", 2), ("s.x", ["x"]), ("a", 1)]


def test_rule_8_incoming_of_an_error_edge_is_null() -> None:
    """A failure has no output; `error` is what came."""
    play = Recording(effects(a={}, b={"after": "a.error", "with": {"i": "${ incoming }", "c": "${ error.code }"}}))
    play.start()
    play.fail("a", "x.first")
    assert params_of(play, "b") == {"i": None, "c": "x.first"}


def test_rule_10_error_where_several_edges_meet() -> None:
    """With several error edges, it is that of the first live one in the order of `after`."""
    play = Recording(effects(a={}, b={}, mend={"after": ["a.error", "b.error"], "with": {"c": "${ error.code }"}}))
    play.start()
    play.succeed("a")
    play.fail("b", "x.b")
    assert params_of(play, "mend") == {"c": "x.b"}


def test_rule_10_error_is_not_bound_on_other_nodes() -> None:
    """It is known when saved where `error` has no value."""
    document = effects(a={}, b={"after": "a", "with": {"c": "${ error.code }"}})
    assert "name.unknown" in [fault.code for fault in check_document(document, CATALOG).errors]


def test_rule_10_error_where_no_failure_came() -> None:
    """A node behind an error edge and another edge, reached by the other: reading `error` is an error."""
    play = Recording(effects(a={}, b={}, c={"after": ["a.error", "b"], "with": {"e": "${ error }"}}))
    play.start()
    play.succeed("a")
    play.succeed("b")
    assert play.status == "failed"
    assert play.error is not None
    assert play.error.code == "expression.unknown_name"


def test_the_execution_is_in_sight() -> None:
    """Its id, workflow, version, start, key and priority."""
    play = Recording(effects(a={"with": {"x": "${ execution }"}}))
    play.start(key="k-1", priority=2)
    about = params_of(play, "a")["x"]
    assert about == {
        "id": about["id"], "workflow": "w", "tenant": "default", "version": play.plan.digest, "started": time_text(BEGIN),
        "priority": 2, "key": "k-1",
    }  # fmt: skip
    assert about["id"].startswith("ex_")


def test_the_trigger_is_in_sight() -> None:
    """What caused the execution, or null."""
    play = Recording(effects(a={"with": {"t": "${ trigger }"}}))
    play.start(trigger=play.encoded({"type": "schedule"}))
    assert params_of(play, "a") == {"t": {"type": "schedule"}}


def test_now_is_the_time_of_the_input() -> None:
    """Expressions have one time, that of what they follow from (day-one 12)."""
    play = Recording(effects(a={}, b={"after": "a", "with": {"at": "${ now() }"}}))
    play.start()
    play.pass_time(90.5)
    play.succeed("a")
    assert params_of(play, "b") == {"at": time_text(BEGIN + 90_500_000)}


def test_chance_is_the_same_whenever_it_is_drawn_again() -> None:
    """`uuid()` and `random()` come from the execution and the place: two nodes differ, two evaluations do not."""
    plays = []
    for _ in range(2):
        play = Recording(effects(a={"with": {"i": "${ uuid() }", "r": "${ random() }"}}, b={"with": {"i": "${ uuid() }"}}))
        play.start()
        plays.append((params_of(play, "a"), params_of(play, "b")))
    assert plays[0] == plays[1]
    assert plays[0][0]["i"] != plays[0][1]["i"]


@pytest.mark.parametrize(
    "node, where",
    [
        ({"type": "test.effect", "with": {"x": {"y": ["${ input.missing }"]}}}, "with"),
        ({"type": "transform", "to": "${ input.missing }"}, "to"),
        ({"type": "delay", "for": "${ input.missing }"}, "for"),
        ({"type": "condition", "if": "${ input.missing }"}, "if"),
        ({"type": "switch", "cases": {"x": "${ input.missing }"}}, "cases.x"),
        ({"type": "log", "message": "n: ${ input.missing }"}, "message"),
        ({"type": "emit", "event": "x", "data": "${ input.missing }"}, "data"),
        ({"type": "wait_for_signal", "signal": "x", "key": "${ input.missing }"}, "key"),
        ({"type": "return", "value": "${ input.missing }"}, "value"),
        ({"type": "fail", "code": "${ input.missing }"}, "code"),
        ({"type": "test.effect", "timeout": "${ input.missing }"}, "timeout"),
        ({"type": "test.effect", "deadline": "${ input.missing }"}, "deadline"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["type"],
)
def test_rule_7_an_error_in_any_key_fails_the_node(node: dict[str, Any], where: str) -> None:
    """With the place in the definition, the line and column, and what to do; never retried."""
    play = Recording({"perdure": 1, "name": "w", "nodes": {"a": {**node, "retry": {"attempts": 5}}}})
    play.start({"present": 1})
    assert play.status == "failed"
    assert play.error is not None
    assert (play.error.code, play.error.category, play.error.retryable) == ("expression.missing", "validation", False)
    assert where in play.error.detail
    assert "line 1, column" in play.error.detail
    assert play.runs() == []


def test_a_control_node_has_no_task_to_hide_in() -> None:
    """Only pure nodes may go beyond the step's budget; a condition that does fails with `expression.budget`."""
    play = Recording(
        {"perdure": 1, "name": "w", "nodes": {"c": {"type": "condition", "if": "${ sum(input) > sorted(input)[0] }"}}}
    )
    play.start(list(range(50_000)))
    assert play.status == "failed"
    assert play.error is not None
    assert play.error.code == "expression.budget"
