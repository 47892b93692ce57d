"""Leaving frames: from the inside out, two departures at once, return and exit, what a scope gives (rules 30 to 33)."""

from __future__ import annotations

from typing import Any

import pytest
from plays import definition, error_of, perform, running, state
from ways import Begin, Played, scope, worked_graph

from perdure.errors import DefinitionRefused
from perdure.testing.rehearsal import plan_of


@pytest.mark.parametrize("row", worked_graph(7), ids=lambda row: row["row"])
def test_rule_31_in_worked_graph_7(begin: Begin, row: dict[str, Any]) -> None:
    """Worked graph 7: a return reaches further than an error; in one frame the first closes it."""
    perform(begin.new(definition(row)), row["play"])


def tried(body: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A try of these effects that cleans up with `f`."""
    return {"type": "try", "body": scope(body), "finally": scope(f={}), **more}


def stop_all(play: Played) -> None:
    """Every attempt that was asked to stop stops."""
    while asked := [path for path in running(play) if play.instance(path).stopping]:
        play.stopped(asked[0])


# -- from the inside out --------------------------------------------------------------------------------------------------

INSIDE = {"x": {}, "x2": {"after": "x"}, "wait": {"type": "delay", "for": "1h"}}
"""In the frame that is left: one that runs, one that has not begun, one that waits."""

LEAVES: dict[str, tuple[dict[str, Any], str]] = {
    "break": ({"out": {"type": "break", "after": "go", "loop": "l"}}, "succeeded"),
    "continue": ({"out": {"type": "continue", "after": "go", "loop": "l"}}, "succeeded"),
    "return": ({"out": {"type": "return", "after": "go"}}, "succeeded"),
    "exit": ({"out": {"type": "exit", "after": "go"}}, "succeeded"),
    "return from scope": ({"out": {"type": "return", "from": "scope", "after": "go"}}, "succeeded"),
    "fail": ({"out": {"type": "fail", "after": "go", "code": "x.out"}}, "failed"),
    "error": ({"out": {"type": "transform", "after": "go", "to": "${ input.none }"}}, "failed"),
    "cancel": ({}, "cancelled"),
    "timeout": ({}, "timed_out"),
}


@pytest.mark.parametrize("how", LEAVES)
def test_rule_30_all_leave_frames_the_same_way(begin: Begin, how: str) -> None:
    """The frame's other nodes are cancelled, all become final, its finally runs, and only then what is around it ends."""
    leaving, status = LEAVES[how]
    inner = tried({**INSIDE, "go": {}, **leaving})
    nodes = {"l": {"type": "loop", "over": [1], "body": scope(i=inner, beside={})}, "k": {"after": "l"}}
    play = begin(nodes, {}, settings={"timeout": "30m"})
    if how == "cancel":
        play.operate("cancel")
    elif how == "timeout":
        play.pass_time(1_800)
    else:
        play.succeed("l[0].i.body.go")
    body = "l[0].i.body"
    assert [play.state(f"{body}.{node}") for node in INSIDE] == ["running", "skipped", "cancelled"]
    assert play.instance(f"{body}.x").stopping
    assert not [path for path in running(play) if path.endswith(".f")]
    if how in ("cancel", "timeout"):
        play.stopped(f"{body}.go")
    play.stopped(f"{body}.x")
    assert "l[0].i.finally.f" in running(play)
    play.succeed("l[0].i.finally.f")
    assert state(play, "l[0].i") != "running"
    if how in ("exit", "return from scope"):
        play.succeed("l[0].beside")
    else:
        play.stopped("l[0].beside")
    if play.state("k") == "running":
        play.succeed("k")
    assert play.status == status


@pytest.mark.parametrize("how", ["break", "continue", "return", "cancel", "timeout"])
def test_rule_30_all_that_a_departure_reaches_closes_at_once(begin: Begin, how: str) -> None:
    """What stands between closes with the first moment; frames still end from the inside out."""
    leaving, _ = LEAVES[how]
    inner = tried({"go": {}, **leaving})
    outer = {"type": "try", "body": scope(i=inner, y={}, y2={"after": "y"}), "finally": scope(g={})}
    play = begin({"l": {"type": "loop", "over": [1], "body": scope(o=outer, z={})}}, settings={"timeout": "30m"})
    if how == "cancel":
        play.operate("cancel")
    elif how == "timeout":
        play.pass_time(1_800)
    else:
        play.succeed("l[0].o.body.i.body.go")
    assert play.state("l[0].o.body.y2") == "skipped"
    assert play.instance("l[0].o.body.y").stopping
    assert play.instance("l[0].z").stopping
    if how in ("cancel", "timeout"):
        play.stopped("l[0].o.body.i.body.go")
    play.succeed("l[0].o.body.i.finally.f")
    assert "l[0].o.finally.g" not in running(play)
    play.stopped("l[0].o.body.y")
    assert "l[0].o.finally.g" in running(play)
    play.succeed("l[0].o.finally.g")
    assert play.status == ""
    play.stopped("l[0].z")
    assert play.status == LEAVES[how][1]


def test_rule_30_an_error_goes_out_step_by_step(begin: Begin) -> None:
    """How far it reaches is not known: what is around the try goes on until the try itself has failed."""
    play = begin({"t": tried({"x": {}, "y": {}}), "s": {}})
    play.fail("t.body.x", "x.first")
    assert not play.instance("s").stopping
    play.stopped("t.body.y")
    assert not play.instance("s").stopping
    play.succeed("t.finally.f")
    assert play.instance("s").stopping


def test_rule_30_catch_begins_when_the_body_is_wholly_final(begin: Begin) -> None:
    """With the finally of a try inside, and the iterations of a loop."""
    body = {"x": {}, "i": tried({"y": {}}), "l": {"type": "loop", "over": [1, 2], "concurrency": 2, "body": scope(z={})}}
    play = begin({"t": {"type": "try", "body": scope(body), "catch": {"body": scope(h={})}}})
    play.fail("t.body.x")
    play.stopped("t.body.i.body.y")
    play.stopped("t.body.l[1].z")
    play.stopped("t.body.l[0].z")
    assert running(play) == ["t.body.i.finally.f"]
    play.succeed("t.body.i.finally.f")
    assert running(play) == ["t.catch0.h"]


def test_rule_30_catch_begins_after_losers_too(begin: Begin) -> None:
    """What a join has left behind in the body is part of it."""
    body = {"a": {}, "b": {}, "j": {"type": "join", "after": ["a", "b"], "need": "any", "losers": "drain"}, "x": {"after": "j"}}
    play = begin({"t": {"type": "try", "body": scope(body), "catch": {"body": scope(h={})}}})
    play.succeed("t.body.a")
    play.fail("t.body.x")
    assert running(play) == ["t.body.b"]
    play.stopped("t.body.b")
    assert running(play) == ["t.catch0.h"]


# -- two departures -------------------------------------------------------------------------------------------------------

FURTHER = {"break": ("succeeded", 2), "return": ("succeeded", 7), "cancel": ("cancelled", None), "timeout": ("timed_out", None)}


@pytest.mark.parametrize("further", FURTHER)
@pytest.mark.parametrize("nearer", ["error", "exit", "continue"])
def test_rule_31_the_one_that_reaches_further_out_wins(begin: Begin, nearer: str, further: str) -> None:
    """A departure of a branch is under way when one comes that reaches further: no handler begins."""
    near: dict[str, dict[str, Any]] = {
        "error": {"out": {"type": "fail", "after": "go", "code": "x.near"}}, "exit": {"out": {"type": "exit", "after": "go"}},
        "continue": {"out": {"type": "continue", "after": "go"}},
    }  # fmt: skip
    loop = {"type": "loop", "over": [1], "body": scope({"go": {}, "y": {}, **near[nearer]})}
    left = {"type": "try", "body": scope(m=loop), "catch": {"body": scope(h={})}}
    right = {
        "z": {},
        "out": {"type": "break", "after": "z"} if further == "break" else {"type": "return", "after": "z", "value": 7},
    }
    parallel = {"type": "parallel", "branches": {"u": scope(t=left), "v": scope(right)}}
    nodes = {"l": {"type": "loop", "over": [1, 2], "concurrency": 2, "body": scope(p=parallel)}, "k": {"after": "l"}}
    play = begin(nodes, settings={"timeout": "1m"}, output="${ 2 if nodes.k == null else 1 }")
    branch = "l[0].p.u.t.body.m[0]"
    play.succeed(f"{branch}.go")
    assert play.instance(f"{branch}.y").stopping
    if further == "cancel":
        play.operate("cancel")
    elif further == "timeout":
        play.pass_time(60)
    else:
        play.succeed("l[0].p.v.z")
    stop_all(play)
    assert "Scheduled h" not in play.kinds()
    if further == "break":
        play.succeed("k", None)
    status, output = FURTHER[further]
    assert (play.status, play.output) == (status, output)


@pytest.mark.parametrize("first", ["error", "return", "exit", "cancel", "timeout"])
@pytest.mark.parametrize("second", ["error", "return", "exit", "cancel", "timeout"])
def test_rule_31_of_two_that_reach_equally_far_the_first_stands(begin: Begin, first: str, second: str) -> None:
    """In one frame, the workflow's: the second starts nothing and changes nothing. The status is that of the first."""
    nodes = {
        "e": {}, "r": {}, "rr": {"type": "return", "after": "r", "value": 1}, "x": {},
        "xx": {"type": "exit", "after": "x", "value": 2}, "slow": {},
    }  # fmt: skip
    play = begin(nodes, settings={"timeout": "1m"})
    moves = {
        "error": lambda: play.fail("e", "x.e"), "return": lambda: play.succeed("r"), "exit": lambda: play.succeed("x"),
        "cancel": lambda: play.operate("cancel"), "timeout": lambda: play.pass_time(60),
    }  # fmt: skip
    moves[first]()
    if first != second or first in ("cancel", "timeout"):
        moves[second]()
    for node in ("e", "r", "x", "slow"):
        if play.state(node) == "running":
            play.stopped(node)
    status = {"error": "failed", "return": "succeeded", "exit": "succeeded", "cancel": "cancelled", "timeout": "timed_out"}
    assert play.status == status[first]
    assert play.output == {"return": 1, "exit": 2}.get(first)


def test_rule_31_in_a_closing_frame_nothing_starts(begin: Begin) -> None:
    """An attempt that succeeds late opens nothing, a retry is not made, a handler on the node does not run, nothing parks."""
    nodes = {"a": {}, "b": {"after": "a"}, "c": {"retry": {"attempts": 3}}, "d": {}, "mend": {"after": "d.error"},
             "e": {"park": True}, "bad": {}}  # fmt: skip
    play = begin(nodes)
    play.fail("bad", "x.bad")
    play.succeed("a")
    for node in "cde":
        play.fail(node)
    assert [play.state(node) for node in ("a", "b", "c", "d", "mend", "e")] == [
        "succeeded", "skipped", "cancelled", "cancelled", "skipped", "cancelled"
    ]  # fmt: skip
    assert (play.status, error_of(play).code) == ("failed", "x.bad")


@pytest.mark.parametrize(
    "pending, cause",
    [("error", "x.body"), ("return", "departure.return"), ("exit of the root", "departure.return"),
     ("break", "departure.break"), ("continue", "departure.continue"), ("sibling", "x.s")],
)  # fmt: skip
def test_rule_31_an_error_of_finally_replaces_an_error_a_return_or_a_break(begin: Begin, pending: str, cause: str) -> None:
    """What it replaces becomes its cause; where that was no error, the cause tells its kind."""
    leave: dict[str, dict[str, Any]] = {
        "error": {"type": "fail", "code": "x.body", "after": "go"}, "return": {"type": "return", "after": "go"},
        "break": {"type": "break", "after": "go"}, "continue": {"type": "continue", "after": "go"}, "sibling": {"after": "go"},
        "exit of the root": {"after": "go"},
    }  # fmt: skip
    inside = {"t": tried({"go": {}, "out": leave[pending]}), "s": {}}
    nodes: dict[str, Any] = {"l": {"type": "loop", "over": [1], "body": scope(inside)}, "e": {}}
    nodes["leave"] = {"type": "exit", "after": "e"}
    play = begin(nodes)
    if pending == "sibling":
        play.fail("l[0].s", "x.s")
        play.stopped("l[0].t.body.go")
    elif pending == "exit of the root":
        play.succeed("e")
        play.stopped("l[0].t.body.go")
    else:
        play.succeed("l[0].t.body.go")
    play.fail("l[0].t.finally.f", "x.cleanup")
    stop_all(play)
    error = error_of(play)
    assert (play.status, error.code, error.cause and error.cause.code) == ("failed", "x.cleanup", cause)


def test_rule_31_an_error_of_finally_replaces_an_exit_of_a_scope(begin: Begin) -> None:
    """The scope that was left with a value has failed; a handler around it sees the error."""
    inner = {"t": tried({"x": {}}), "go": {}, "leave": {"type": "exit", "after": "go", "value": 7}}
    play = begin({"o": {"type": "try", "body": scope(inner), "catch": {"body": scope(h={"with": "${ error }"})}}})
    play.succeed("o.body.go")
    play.stopped("o.body.t.body.x")
    play.fail("o.body.t.finally.f", "x.cleanup")
    seen = play.value(play.instance("o.catch0.h").params)
    assert (seen["code"], seen["cause"]["code"]) == ("x.cleanup", "departure.exit")


@pytest.mark.parametrize("how, status", [("cancel", "cancelled"), ("timeout", "timed_out")])
def test_rule_31_an_error_of_finally_never_replaces_a_cancel(begin: Begin, how: str, status: str) -> None:
    """Nor the timeout of the workflow: the status is that of the first departure that reached the root."""
    play = begin({"t": tried({"x": {}})}, settings={"timeout": "1m"})
    play.operate("cancel") if how == "cancel" else play.pass_time(60)
    play.stopped("t.body.x")
    play.fail("t.finally.f", "x.cleanup")
    assert play.status == status
    assert play.error is None or play.error.code == "timeout.workflow"


def test_rule_31_the_error_of_a_finally_goes_where_the_departure_goes(begin: Begin) -> None:
    """A handler between the finally and the end of the departure is closing, and does not see it."""
    inner = tried({"go": {}, "leave": {"type": "break", "after": "go"}})
    between = {"type": "try", "body": scope(t=inner), "catch": {"body": scope(h={})}, "finally": scope(g={})}
    around = {"type": "try", "body": scope(l={"type": "loop", "over": [1], "body": scope(b=between)}),
              "catch": {"body": scope(last={"with": {"code": "${ error.code }"}})}}  # fmt: skip
    play = begin({"o": around})
    play.succeed("o.body.l[0].b.body.t.body.go")
    play.fail("o.body.l[0].b.body.t.finally.f", "x.cleanup")
    assert running(play) == ["o.body.l[0].b.finally.g"]
    play.succeed("o.body.l[0].b.finally.g")
    assert running(play) == ["o.catch0.last"]
    assert play.value(play.instance("o.catch0.last").params) == {"code": "x.cleanup"}


def test_rule_31_a_second_error_of_a_finally_on_the_way_replaces_the_first(begin: Begin) -> None:
    """Each has what it replaced as its cause, down to the return."""
    inner = tried({"leave": {"type": "return"}})
    play = begin({"o": {"type": "try", "body": scope(t=inner), "finally": scope(g={})}})
    play.fail("o.body.t.finally.f", "x.one")
    play.fail("o.finally.g", "x.two")
    error = error_of(play)
    codes = [error.code]
    while error.cause is not None:
        error = error.cause
        codes.append(error.code)
    assert (play.status, codes) == ("failed", ["x.two", "x.one", "departure.return"])


@pytest.mark.parametrize("later, status", [("return", "failed"), ("cancel", "failed"), ("timeout", "failed")])
def test_rule_31_a_drain_gives_way_to_any_later_departure(begin: Begin, later: str, status: str) -> None:
    """What still runs is stopped then; the error of the drain stays, and so does the status."""
    inside = {"type": "parallel", "branches": {"u": scope(z={}, leave={"type": "return", "after": "z", "value": 7})}}
    play = begin({"bad": {}, "slow": {}, "p": inside}, settings={"on_failure": "drain", "timeout": "1m"})
    play.fail("bad", "x.bad")
    assert not play.instance("slow").stopping
    if later == "return":
        play.succeed("p.u.z")
    else:
        play.operate("cancel") if later == "cancel" else play.pass_time(60)
        play.stopped("p.u.z")
    assert play.instance("slow").stopping
    play.stopped("slow")
    assert (play.status, error_of(play).code) == (status, "x.bad")


# -- return, exit, fail ---------------------------------------------------------------------------------------------------


def test_rule_32_a_return_ends_the_workflow_with_its_value(begin: Begin) -> None:
    """From any depth; the value replaces `output:`; null where none is written."""
    deep = {"type": "parallel", "branches": {"u": scope(q={"type": "loop", "over": [1, 2], "concurrency": 2, "body": scope(
        x={}, leave={"type": "return", "after": "x", "value": {"item": "${ item }", "x": "${ nodes.x }"}})})}}  # fmt: skip
    play = begin({"p": deep, "s": {}}, output="${ 'another' }")
    play.succeed("p.u.q[1].x", 5)
    play.stopped("p.u.q[0].x")
    play.stopped("s")
    assert (play.status, play.output) == ("succeeded", {"item": 2, "x": 5})
    empty = begin({"leave": {"type": "return"}}, output="${ 'another' }")
    assert (empty.status, empty.output) == ("succeeded", None)


@pytest.mark.parametrize("value, status", [("text", "succeeded"), (7, "failed")])
def test_rule_32_its_value_is_checked_like_the_output(begin: Begin, value: Any, status: str) -> None:
    """Against `output_schema`: what does not fit fails the execution."""
    play = begin({"leave": {"type": "return", "value": value}}, output_schema={"type": "string"})
    assert (play.status, play.error.code if play.error else None) == (
        status,
        None if status == "succeeded" else "output.schema",
    )


def test_rule_32_what_fails_after_a_return_changes_nothing(begin: Begin) -> None:
    """The frame is closed as by a cancel: an attempt that fails then is cancelled, whatever `on_failure` says."""
    play = begin({"r": {}, "leave": {"type": "return", "after": "r", "value": 7}, "x": {}, "p": {
        "type": "parallel", "branches": {"u": scope(y={})}}}, settings={"on_failure": "isolate"})  # fmt: skip
    play.succeed("r")
    play.fail("x", "x.x")
    play.fail("p.u.y", "x.y")
    assert (play.state("x"), play.state("p"), play.status, play.output) == ("cancelled", "cancelled", "succeeded", 7)


@pytest.mark.parametrize("leave", [{"type": "exit"}, {"type": "return", "from": "scope"}], ids=["exit", "return from scope"])
@pytest.mark.parametrize(
    "container, x, output",
    [
        ({"type": "loop", "over": [1], "body": "S"}, "c[0]", [7]),
        ({"type": "parallel", "branches": {"u": "S"}}, "c.u", 7),
        ({"type": "try", "body": "S"}, "c.body", 7),
        ({"type": "try", "body": scope(z={"type": "fail", "code": "x.z"}), "catch": {"body": "S"}}, "c.catch0", 7),
    ],
    ids=["loop", "parallel", "body", "handler"],
)  # fmt: skip
def test_rule_32_exit_ends_the_nearest_scope(
    begin: Begin, leave: dict[str, Any], container: dict[str, Any], x: str, output: Any
) -> None:
    """With its value, in place of the output of an iteration, a branch, a body, a handler; what is around goes on."""
    inside = {**scope(x={}, out={**leave, "after": "x", "value": 7}, y={}), "output": "${ 'another' }"}

    def filled(value: Any) -> Any:
        if value == "S":
            return inside
        return {key: filled(each) for key, each in value.items()} if isinstance(value, dict) else value

    play = begin({"c": filled(container), "k": {"after": "c"}})
    play.succeed(f"{x}.x")
    assert play.instance(f"{x}.y").stopping
    play.stopped(f"{x}.y")
    given = play.node_output("c")
    assert {"loop": lambda: given["results"], "parallel": lambda: given["u"]["output"]}.get(
        container["type"], lambda: given
    )() == output
    assert play.state("k") == "running"


def test_rule_32_exit_in_the_workflows_own_scope_ends_the_workflow(begin: Begin) -> None:
    """As a return does."""
    play = begin({"x": {}, "out": {"type": "exit", "after": "x", "value": 7}, "y": {}}, output="${ 'another' }")
    play.succeed("x")
    play.stopped("y")
    assert (play.status, play.output) == ("succeeded", 7)


@pytest.mark.parametrize("leave", ["break", "continue", "return", "exit"])
@pytest.mark.parametrize("where", ["finally", "deep in finally"])
def test_rule_32_leaving_a_finally_is_refused(leave: str, where: str) -> None:
    """What is under way there must end by itself; a loop inside of it may be left."""
    node = {"type": leave}
    if where == "deep in finally" and leave != "exit":
        inner: dict[str, Any] = {"p": {"type": "try", "body": {"nodes": {"out": node}}}}
    else:
        inner = {"out": node}
    cleaning = {"type": "try", "body": {"nodes": {"x": {"type": "test.effect"}}}, "finally": {"nodes": inner}}
    loop = {"type": "loop", "over": [1], "body": {"nodes": {"t": cleaning}}}
    with pytest.raises(DefinitionRefused) as refused:
        plan_of({"perdure": 1, "name": "w", "nodes": {"l": loop}})
    assert [fault.code for fault in refused.value.faults] == ["leave.in_finally"]


def test_rule_32_a_loop_inside_a_finally_may_be_left(begin: Begin) -> None:
    """And a scope inside of it: neither leaves the finally."""
    inner = {"type": "try", "after": "l", "body": scope(out={"type": "exit", "value": 1}, y={})}
    cleaning = {"l": {"type": "loop", "over": [1, 2], "body": scope(x={}, out={"type": "break", "after": "x"})}, "i": inner}
    play = begin({"t": {"type": "try", "body": scope(b={}), "finally": scope(cleaning)}})
    play.succeed("t.body.b", "b")
    play.succeed("t.finally.l[0].x")
    assert (play.status, play.output) == ("succeeded", "b")


def test_rule_32_fail_is_an_ordinary_failure_of_its_node(begin: Begin) -> None:
    """Edges, handlers and policies take it; code, title, detail, category, data are what is written."""
    written = {"code": "${ input }", "title": "No.", "detail": "Why.", "category": "technical", "data": {"n": 1}}
    play = begin(
        {"no": {"type": "fail", **written}, "mend": {"after": "no.error", "with": "${ error }"}, "s": {}}, "order.empty"
    )
    seen = play.value(play.instance("mend").params)
    assert {key: seen[key] for key in ("code", "title", "detail", "category", "data", "node")} == {
        "code": "order.empty", "title": "No.", "detail": "Why.", "category": "technical", "data": {"n": 1}, "node": "no"
    }  # fmt: skip
    assert not play.instance("s").stopping
    plain = begin({"no": {"type": "fail", "code": "x.no"}, "s": {}})
    plain.stopped("s")
    assert (plain.status, error_of(plain).code, error_of(plain).category) == ("failed", "x.no", "business")


# -- what a scope gives ---------------------------------------------------------------------------------------------------

GIVES = [
    pytest.param(scope(a={}, b={"after": "a"}), {"a": 1, "b": 2}, 2, id="one sink"),
    pytest.param(scope(a={}, b={"after": "a"}, c={"after": "a"}), {"a": 1, "b": 2, "c": 3}, {"b": 2, "c": 3}, id="several"),
    pytest.param(scope(a={}, b={"after": "a", "when": "${ false }"}), {"a": 1}, None, id="one sink that was skipped"),
    pytest.param(scope(a={}, b={"after": "a.error"}, c={}), {"a": 1, "c": 3}, {"c": 3}, id="several, one skipped"),
    pytest.param({**scope(a={}, b={}), "output": {"sum": "${ nodes.a + nodes.b }"}}, {"a": 1, "b": 2}, {"sum": 3}, id="output"),
]


@pytest.mark.parametrize("given, outputs, expected", GIVES)
def test_rule_33_the_output_of_the_workflow(
    begin: Begin, given: dict[str, Any], outputs: dict[str, Any], expected: Any
) -> None:
    """Its one sink's, null where that did not succeed; of several an object by id; else `output:`."""
    play = begin(given["nodes"], **({"output": given["output"]} if "output" in given else {}))
    for node, output in outputs.items():
        play.succeed(node, output)
    assert (play.status, play.output) == ("succeeded", expected)


@pytest.mark.parametrize("given, outputs, expected", GIVES)
def test_rule_33_the_output_of_a_scope(begin: Begin, given: dict[str, Any], outputs: dict[str, Any], expected: Any) -> None:
    """The same for a body, a branch and an iteration."""
    play = begin({"t": {"type": "try", "body": given}, "p": {"type": "parallel", "branches": {"u": given}},
                  "l": {"type": "loop", "over": [1], "body": given}})  # fmt: skip
    for frame in ("t.body", "p.u", "l[0]"):
        for node, output in outputs.items():
            play.succeed(f"{frame}.{node}", output)
    assert play.output["t"] == expected
    assert play.output["p"]["u"]["output"] == expected
    assert play.output["l"]["results"] == [expected]


def test_rule_33_an_error_in_output_fails_the_frame(begin: Begin) -> None:
    """With its place; the container around may handle it, the workflow fails."""
    wrong = {**scope(a={}), "output": "${ nodes.a.none }"}
    play = begin(
        {"t": {"type": "try", "body": wrong, "catch": {"body": scope(h={"with": "${ error }"})}}}, output="${ input.none }"
    )
    play.succeed("t.body.a", {})
    seen = play.value(play.instance("t.catch0.h").params)
    assert (seen["category"], seen["node"], "nodes.a.none" in seen["detail"]) == ("validation", "t.body", True)
    play.succeed("t.catch0.h")
    assert (play.status, error_of(play).category) == ("failed", "validation")
