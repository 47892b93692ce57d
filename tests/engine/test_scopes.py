"""Scopes in each other: what is seen from inside, whose variable is written, retries and parking further in (8, 14, 43, 49)."""

from __future__ import annotations

from typing import Any

import pytest
from ways import Begin, scope

from perdure.engine import events

ONE: dict[str, Any] = {"type": "loop", "over": [1]}


def value(expression: str, after: Any = None) -> dict[str, Any]:
    node: dict[str, Any] = {"type": "transform", "to": expression}
    return {**node, "after": after} if after is not None else node


# -- names (8, 10, 24) -----------------------------------------------------------------------------------------------------


def test_rule_8_the_ancestors_of_the_containers_around_are_seen(begin: Begin) -> None:
    """From any depth: their outputs, their state, the workflow's input."""
    inner = {
        "type": "loop",
        "over": ["x"],
        "as": "letter",
        "body": scope(t=value("${ [nodes.a, state.a.status, input, letter, item] }")),
    }
    play = begin(
        {"a": {}, "l": {"type": "loop", "after": "a", "over": [7], "body": scope(m=inner)}, "last": {"after": "l"}}, "in"
    )
    play.succeed("a", "out")
    told = play.node_output("l")["results"][0]["results"][0]
    assert told == ["out", "succeeded", "in", "x", 7]


def test_rule_8_items_and_indexes_have_the_names_they_were_given(begin: Begin) -> None:
    """Two loops in each other keep theirs apart."""
    inner = {"type": "loop", "over": "${ row }", "as": "cell", "index": "x", "body": scope(t=value("${ [y, x, cell] }"))}
    outer = {
        "type": "loop",
        "over": [["a"], ["b", "c"]],
        "as": "row",
        "index": "y",
        "body": scope(m=inner),
        "result": "${ nodes.m.results }",
    }
    play = begin({"l": outer})
    assert play.node_output("l")["results"] == [[[0, 0, "a"]], [[1, 0, "b"], [1, 1, "c"]]]


def test_rule_8_handlers_and_finally_see_the_body(begin: Begin) -> None:
    """What its nodes gave, and the error under its name."""
    node = {
        "type": "try",
        "body": scope(a={}, b={"after": "a"}),
        "catch": {"as": "why", "body": scope(c=value("${ [nodes.a, state.b.status, why.code] }"))},
        "finally": scope(f=value("${ [nodes.a, nodes.c if false else 1, error.code if error != null else null] }")),
    }
    node["finally"] = scope(f={"with": {"seen": "${ [nodes.a, error] }"}})
    play = begin({"t": node})
    play.succeed("t.body.a", 1)
    play.fail("t.body.b", "x.y")
    run = play.runs()[-1]
    assert play.value(run.params) == {"seen": [1, None]}
    play.succeed("t.finally.f")
    assert play.node_output("t") == [1, "failed", "x.y"]


def test_rule_10_a_container_led_to_by_an_error_edge_knows_the_error_inside(begin: Begin) -> None:
    """Its nodes are further in, and it is still the handler."""
    play = begin({"a": {}, "l": {**ONE, "after": "a.error", "body": scope(t=value("${ error.code }"))}})
    play.fail("a", "x.y")
    assert play.node_output("l")["results"] == ["x.y"]


def test_rule_24_variables_of_a_body_are_set_anew_for_each_iteration(begin: Begin) -> None:
    """Their first values see the item; what was written is gone with the frame."""
    body = {
        "vars": {"n": "${ item * 10 }"},
        **scope(s={"type": "set_variable", "set": {"n": "${ vars.n + 1 }"}}, t=value("${ vars.n }", "s")),
    }
    play = begin({"l": {"type": "loop", "over": [1, 2], "body": body, "result": "${ nodes.t }"}})
    assert play.node_output("l")["results"] == [11, 21]


# -- variables (49) --------------------------------------------------------------------------------------------------------


def test_rule_49_the_nearest_declaration_is_written_unless_a_scope_is_named(begin: Begin) -> None:
    """`scope` names the container, or the workflow."""
    body = {
        "vars": {"n": 0},
        **scope(
            near={"type": "set_variable", "set": {"n": "near"}},
            far={"type": "set_variable", "after": "near", "set": {"n": "far"}, "scope": "workflow"},
            t=value("${ vars.n }", "far"),
        ),
    }
    play = begin({"l": {**ONE, "body": body}, "read": {"type": "get_variable", "after": "l", "name": "n"}}, vars={"n": 1})
    assert play.node_output("l")["results"] == ["near"]
    assert play.node_output("read") == "far"


def test_rule_49_what_a_failed_frame_has_written_stays(begin: Begin) -> None:
    """Writes outlive their frame."""
    body = scope(s={"type": "set_variable", "set": {"n": 1}}, f={"type": "fail", "after": "s", "code": "x.y"})
    play = begin({"l": {**ONE, "body": body}, "e": value("${ vars.n }", "l.error")}, vars={"n": 0})
    assert play.node_output("e") == 1


@pytest.mark.parametrize(
    "merge, first, writes, expected",
    [
        ("sum", 1, [2, 3], 6),
        ("max", 2, [1, 5], 5),
        ("min", 2, [1, 5], 1),
        ("append", [0], [1, [2, 3]], [0, 1, 2, 3]),
        ("append", None, ["a", "b"], ["a", "b"]),
        ("last", 0, [1, 2], 2),
    ],
)
def test_rule_49_merge_joins_what_is_written(begin: Begin, merge: str, first: Any, writes: list[Any], expected: Any) -> None:
    """Each write joins the present value, in the order of the journal."""
    body = scope(x={}, s={"type": "set_variable", "after": "x", "set": {"n": "${ item }"}})
    nodes = {"l": {"type": "loop", "over": "${ input }", "concurrency": 2, "body": body}}
    play = begin(nodes, writes, vars={"n": {"value": first, "merge": merge}}, output="${ vars.n }")
    play.succeed("l[0].x")
    play.succeed("l[1].x")
    assert play.output == expected


def test_rule_49_a_write_that_reads_the_variable_has_joined_it(begin: Begin) -> None:
    """`vars.n + 1` under `sum` counts once."""
    body = scope(s={"type": "set_variable", "set": {"n": "${ vars.n + item }"}})
    nodes = {"l": {"type": "loop", "over": [1, 2, 3], "concurrency": 3, "body": body}}
    play = begin(nodes, vars={"n": {"value": 0, "merge": "sum"}}, output="${ vars.n }")
    assert play.output == 6


def test_rule_49_merge_error_refuses_the_second_of_two_in_no_order(begin: Begin) -> None:
    """One after the other is no conflict."""
    write = {"type": "set_variable", "set": {"n": 1}}
    ordered = begin({"a": write, "b": {**write, "after": "a"}}, vars={"n": {"value": 0, "merge": "error"}})
    assert ordered.status == "succeeded"
    beside = begin({"a": write, "b": write}, vars={"n": {"value": 0, "merge": "error"}})
    assert beside.error is not None
    assert beside.error.code == "variable.conflict"


def test_rule_49_what_cannot_be_joined_fails_the_node(begin: Begin) -> None:
    """And nothing is written."""
    play = begin({"a": {"type": "set_variable", "set": {"n": "x"}}}, vars={"n": {"value": 1, "merge": "sum"}})
    assert play.error is not None
    assert play.error.code == "variable.merge"
    assert play.value(play.frame().variables["n"]) == 1


# -- retries as a whole, and scopes' own time (43, 37) ---------------------------------------------------------------------


def test_rule_43_a_container_is_retried_as_a_whole(begin: Begin) -> None:
    """In fresh frames, with keys of their own; the items stay those of the first attempt."""
    retry = {"attempts": 2, "initial": "10s", "jitter": False}
    nodes = {
        "a": {"type": "set_variable", "set": {"n": 2}},
        "l": {"type": "loop", "over": "${ [vars.n] }", "retry": retry, "body": scope(x={})},
    }
    play = begin(nodes, vars={"n": 1})
    play.fail("l[0].x")
    assert play.state("l") == "waiting"
    play.pass_time(10)
    first, second = play.runs()[0], play.runs()[-1]
    assert (second.token.frame, second.token.attempt) == ("l~2[0]", 1)
    assert first.key != second.key
    play.succeed("l~2[0].x", "done")
    assert play.node_output("l")["results"] == ["done"]
    assert play.instance("l").attempt == 2


def test_rule_43_a_container_that_keeps_failing_fails(begin: Begin) -> None:
    """With every attempt in its error."""
    play = begin(
        {
            "t": {"type": "try", "retry": {"attempts": 2, "initial": "1s", "jitter": False}, "body": scope(x={})},
            "e": {"after": "t.error"},
        }
    )
    play.fail("t.body.x", "x.first")
    play.pass_time(1)
    play.fail("t~2.body.x", "x.second")
    error = play.instance("t").error
    assert error is not None
    assert (error.code, error.node) == ("x.second", "t~2.body.x")
    assert [attempt["code"] for attempt in error.attempts] == ["x.first", "x.second"]
    assert play.state("e") == "running"


def test_rule_37_the_timeout_of_a_scope_is_an_error_inside(begin: Begin) -> None:
    """An iteration's own time: the loop may tolerate it."""
    play = begin(
        {"l": {"type": "loop", "over": [1, 2], "concurrency": 2, "tolerate": 1, "body": {**scope(x={}), "timeout": "10s"}}}
    )
    play.succeed("l[1].x", "in time")
    play.pass_time(10)
    play.stopped("l[0].x")
    told = play.node_output("l")
    assert told["results"] == ["in time"]
    assert [failure["error"]["code"] for failure in told["failures"]] == ["timeout.scope"]


# -- parking (14) ----------------------------------------------------------------------------------------------------------


def parks(begin: Begin, node: dict[str, Any], path: str) -> bool:
    play = begin({"c": node}, settings={"park": True})
    play.fail(path)
    return play.state(path) == "parked"


@pytest.mark.parametrize(
    "node, path, expected",
    [
        ({**ONE, "body": scope(x={})}, "c[0].x", True),
        ({**ONE, "tolerate": 1, "body": scope(x={})}, "c[0].x", False),
        ({**ONE, "on_failure": "collect", "body": scope(x={})}, "c[0].x", False),
        ({"type": "try", "body": scope(x={})}, "c.body.x", True),
        ({"type": "try", "body": scope(x={}), "catch": {"on": "test.*", "body": scope(y={})}}, "c.body.x", False),
        ({"type": "try", "body": scope(x={}), "catch": {"on": "other", "body": scope(y={})}}, "c.body.x", True),
        ({"type": "try", "retry": {"attempts": 2}, "body": scope(x={})}, "c.body.x", False),
        ({"type": "parallel", "need": "any", "branches": {"a": scope(x={}), "b": scope(y={})}}, "c.a.x", False),
    ],
    ids=["loop", "tolerated", "collected", "try", "caught", "caught by none", "retried as a whole", "shielded"],
)
def test_rule_14_a_node_in_a_frame_parks_where_nobody_around_takes_its_failure(
    begin: Begin, node: dict[str, Any], path: str, expected: bool
) -> None:
    """A handler, tolerance, a quorum, a retry as a whole: then nobody needs to be asked."""
    assert parks(begin, node, path) is expected


def test_rule_14_an_operator_decides_in_a_frame(begin: Begin) -> None:
    """Retry, complete and fail are told the path; a container does not ask again about what was asked."""
    nodes = {"l": {"type": "loop", "over": [1, 2, 3], "concurrency": 3, "tolerate": 0, "body": scope(x={})}}
    play = begin(nodes, settings={"park": True})
    for number in range(3):
        play.fail(f"l[{number}].x", "x.y")
    assert [play.state(f"l[{number}].x") for number in range(3)] == ["parked"] * 3
    play.operate("complete", "l[0].x", value=play.encoded("by hand"))
    play.operate("retry", "l[1].x")
    play.succeed("l[1].x", "again")
    play.operate("fail", "l[2].x")
    assert (play.state("l"), play.status) == ("failed", "failed")
    assert play.error is not None
    assert play.error.node == "l[2].x"


def test_rule_44_an_error_workflow_is_told_of_the_failure(begin: Begin) -> None:
    """Once, with status, error, input and execution; not after success."""
    play = begin({"a": {}}, {"n": 1}, settings={"error_workflow": "handler"})
    play.fail("a", "x.y")
    (spawned,) = [fact for fact in play.facts if isinstance(fact, events.Spawned)]
    told = play.value(spawned.input)
    assert (spawned.relation, spawned.workflow) == ("error", "handler")
    assert (told["status"], told["error"]["code"], told["input"]) == ("failed", "x.y", {"n": 1})
    fine = begin({"a": {}}, settings={"error_workflow": "handler"})
    fine.succeed("a")
    assert not [fact for fact in fine.facts if isinstance(fact, events.Spawned)]


def test_rule_44_the_failure_of_an_error_workflow_starts_nothing_further(begin: Begin) -> None:
    """Or two that name each other would never end."""
    play = begin({"a": {}}, start={"relation": "error"}, settings={"error_workflow": "handler"})
    play.fail("a", "x.y")
    assert not [fact for fact in play.facts if isinstance(fact, events.Spawned)]


@pytest.mark.parametrize("after", ["backoff", "parked"])
def test_rule_43_a_container_that_its_timeout_has_stopped_can_be_left(begin: Begin, after: str) -> None:
    """It waits for its next attempt, or for an operator, and is not under way any more: what leaves the frame ends that."""
    retry = {"retry": {"attempts": 2, "initial": "1h"}} if after == "backoff" else {"park": True}
    play = begin({"p": {"type": "try", "timeout": "1m", "body": scope(x={}), **retry}, "s": {}})
    play.pass_time(60)
    play.stopped("p.body.x")
    assert play.state("p") == ("waiting" if after == "backoff" else "parked")
    play.fail("s", "x.s")
    assert (play.state("p"), play.status) == ("cancelled", "failed")
