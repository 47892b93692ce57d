"""Compensations: what is registered, what a rollback undoes, in which order, and how often (rule 39)."""

from __future__ import annotations

from typing import Any

import pytest
from plays import definition, error_of, perform, running
from ways import Begin, Played, scope, worked_graph


@pytest.mark.parametrize("row", worked_graph(10), ids=lambda row: row["row"])
def test_rule_39_in_worked_graph_10(begin: Begin, row: dict[str, Any]) -> None:
    """Worked graph 10: what is cancelled and succeeds late is undone, once."""
    perform(begin.new(definition(row)), row["play"])


UNDO = {"compensate": scope(undo={"with": {"input": "${ self.input }", "output": "${ self.output }"}})}


def tried(body: dict[str, Any], **handler: Any) -> dict[str, Any]:
    """A try `t` whose handler rolls back; `bad` fails it."""
    return {
        "t": {"type": "try", "body": scope({"bad": {}, **body}), "catch": {"body": scope(back={"type": "rollback"}, **handler)}}
    }


def undo_all(play: Played, limit: int = 20) -> list[str]:
    """Let every compensation succeed; the nodes that were undone, in order."""
    undone: list[str] = []
    while (found := [path for path in running(play) if path.endswith(".compensate.undo")]) and len(undone) < limit:
        assert len(found) == 1, f"compensations run one after another, but {found} run together"
        undone.append(found[0].removesuffix(".compensate.undo"))
        play.succeed(found[0])
    return undone


# -- what is registered ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "end, undone", [("succeeds", True), ("fails", False), ("handled", False), ("skipped", False), ("cancelled", False)]
)
def test_rule_39_it_is_registered_when_its_node_succeeds(begin: Begin, end: str, undone: bool) -> None:
    """And not when the node fails, is skipped or is cancelled."""
    node = {**UNDO, "when": "${ input }"}
    play = begin(tried({"a": node, **({"mend": {"after": "a.error"}} if end == "handled" else {})}), end != "skipped")
    if end == "succeeds":
        play.succeed("t.body.a", 1)
    elif end == "handled":
        play.fail("t.body.a", "x.a")
        play.succeed("t.body.mend")
    elif end == "fails":
        play.fail("t.body.a", "x.a")
        play.stopped("t.body.bad")
    if end != "fails":
        play.fail("t.body.bad")
    if end == "cancelled":
        play.stopped("t.body.a")
    assert running(play) == (["t.body.a.compensate.undo"] if undone else [])
    assert play.status == ("" if undone else "succeeded")


def test_rule_39_one_that_succeeds_while_it_is_stopped_is_registered(begin: Begin) -> None:
    """What has happened has happened, also in a frame that is being left."""
    play = begin(tried({"a": UNDO}))
    play.fail("t.body.bad")
    play.succeed("t.body.a", 1)
    assert running(play) == ["t.body.a.compensate.undo"]


def test_rule_39_it_is_never_automatic(begin: Begin) -> None:
    """Without a rollback nothing is undone: neither by a failure, nor by a cancel, nor by the end."""
    for end in ("failed", "cancelled", "succeeded"):
        play = begin({"a": UNDO, "b": {"after": "a"}})
        play.succeed("a")
        if end == "cancelled":
            play.operate("cancel")
            play.stopped("b")
        else:
            play.fail("b") if end == "failed" else play.succeed("b")
        assert (play.status, "Scheduled undo" in play.kinds()) == (end, False)


def test_rule_39_a_node_that_an_operator_completes_is_registered(begin: Begin) -> None:
    """It has succeeded, by the operator's word, with the operator's output."""
    play = begin({"a": {**UNDO, "park": True, "with": {"n": 1}}, "r": {"type": "rollback", "of": "a", "after": "a"}})
    play.fail("a")
    play.operate("complete", "a", value=play.encoded("by hand"))
    assert play.value(play.instance("a.compensate.undo").params) == {"input": {"n": 1}, "output": "by hand"}


# -- what it sees ---------------------------------------------------------------------------------------------------------


def test_rule_39_it_sees_the_input_and_output_of_its_node(begin: Begin) -> None:
    """`self.input` is what stood under `with:`, evaluated; `self.output` what the node gave."""
    play = begin(tried({"a": {**UNDO, "with": {"amount": "${ input * 2 }"}}}), 3)
    play.succeed("t.body.a", {"id": "ch_1"})
    play.fail("t.body.bad")
    seen = play.value(play.instance("t.body.a.compensate.undo").params)
    assert seen == {"input": {"amount": 6}, "output": {"id": "ch_1"}}


@pytest.mark.parametrize(
    "node, output",
    [
        ({"type": "transform", "to": 5}, 5),
        ({"type": "delay", "for": "0s"}, None),
        ({"type": "loop", "over": [], "body": scope(x={})}, {"results": [], "counts": {
            "total": 0, "succeeded": 0, "failed": 0, "continued": 0, "cancelled": 0}, "failures": [], "broken_by": None}),
    ],
    ids=["pure", "wait", "container"],
)  # fmt: skip
def test_rule_39_the_input_of_what_is_no_effect_is_null(begin: Begin, node: dict[str, Any], output: Any) -> None:
    """A pure node, a wait and a container have no parameters that were sent."""
    play = begin(tried({"a": {**node, **UNDO}}))
    if play.state("t.body.a") == "waiting":
        play.pass_time(0)
    play.fail("t.body.bad")
    assert play.value(play.instance("t.body.a.compensate.undo").params) == {"input": None, "output": output}


def test_rule_39_other_names_are_kept_as_they_were(begin: Begin) -> None:
    """Variables, outputs, states, items and errors, as they were when the node succeeded, not when it is undone."""
    undo = {
        "with": {
            "n": "${ vars.n }", "inner": "${ vars.m }", "before": "${ nodes.before }", "tries": "${ state.before.attempts }",
            "item": "${ item }", "index": "${ index }", "input": "${ input }", "self": "${ self.output }",
        }
    }  # fmt: skip
    body = {
        **scope(before={}, a={"after": "before", "compensate": scope(undo=undo)},
                w={"type": "set_variable", "after": "a", "set": {"n": 2, "m": 20}}),
        "vars": {"m": 10},
    }  # fmt: skip
    nodes = tried({"l": {"type": "loop", "over": ["i"], "body": body}})
    play = begin(nodes, {"k": 1}, vars={"n": 1})
    play.succeed("t.body.l[0].before", "b")
    play.succeed("t.body.l[0].a", "out")
    play.fail("t.body.bad")
    seen = play.value(play.instance("t.body.l[0].a.compensate.undo").params)
    assert seen == {"n": 1, "inner": 10, "before": "b", "tries": 1, "item": "i", "index": 0, "input": {"k": 1}, "self": "out"}


def test_rule_39_a_compensation_reads_variables_as_they_were(begin: Begin) -> None:
    """Also by `get_variable`, which names one without an expression."""
    undo = {"compensate": scope(g={"type": "get_variable", "name": "n"}, u={"with": {"n": "${ nodes.g }"}, "after": "g"})}
    nodes = tried({"a": undo, "later": {"type": "set_variable", "set": {"n": 2}, "after": "a"}})
    play = begin(nodes, vars={"n": 1})
    play.succeed("t.body.a")
    play.fail("t.body.bad")
    assert play.running() == ["t.body.a.compensate.u"]
    assert play.value(play.runs()[-1].params) == {"n": 1}


def test_rule_39_the_nodes_of_a_compensation_see_each_other(begin: Begin) -> None:
    """It is a scope: with edges, an output, variables whose first values see what was kept, and containers inside."""
    undo = {
        **scope(first={"with": {"v": "${ vars.v }"}},
                l={"type": "loop", "after": "first", "over": [1, 2],
                   "body": scope(each={"with": {"seen": ["${ item }", "${ nodes.first }", "${ self.output }"]}})}),
        "vars": {"v": "${ nodes.before + input }"},
    }  # fmt: skip
    play = begin(tried({"before": {}, "a": {"after": "before", "compensate": undo}}), 1)
    play.succeed("t.body.before", 4)
    play.succeed("t.body.a", 4)
    play.fail("t.body.bad")
    assert play.value(play.instance("t.body.a.compensate.first").params) == {"v": 5}
    play.succeed("t.body.a.compensate.first", "f")
    assert play.value(play.instance("t.body.a.compensate.l[0].each").params) == {"seen": [1, "f", 4]}
    play.succeed("t.body.a.compensate.l[0].each")
    play.succeed("t.body.a.compensate.l[1].each")
    assert (play.status, play.node_output("t")) == ("succeeded", ["t.body.a"])


# -- what is undone, and in which order -----------------------------------------------------------------------------------


def test_rule_39_in_reverse_order_of_completion(begin: Begin) -> None:
    """Not of declaration or start: the last that succeeded is the first to be undone, one after another."""
    play = begin(tried({"a": UNDO, "b": UNDO, "c": {**UNDO, "after": "b"}}))
    for node in ("b", "a", "c"):
        play.succeed(f"t.body.{node}")
    play.fail("t.body.bad")
    assert undo_all(play) == ["t.body.c", "t.body.a", "t.body.b"]
    assert play.output == ["t.body.c", "t.body.a", "t.body.b"]


def test_rule_39_frames_and_iterations_are_included(begin: Begin) -> None:
    """Each iteration, branch and inner try by its own path, though their frames are gone."""
    body = {
        "l": {"type": "loop", "over": [1, 2], "body": scope(x=UNDO)},
        "p": {"type": "parallel", "after": "l", "branches": {"u": scope(y=UNDO), "v": scope(z=UNDO)}},
        "i": {"type": "try", "after": "p", "body": scope(w=UNDO)},
    }
    play = begin(tried(body))
    order = ["l[0].x", "l[1].x", "p.v.z", "p.u.y", "i.body.w"]
    for path in order:
        play.succeed(f"t.body.{path}")
    play.fail("t.body.bad")
    assert undo_all(play) == [f"t.body.{path}" for path in reversed(order)]


def test_rule_39_what_stands_around_the_try_is_not_undone(begin: Begin) -> None:
    """By default the rollback is for the body of the try whose handler it is in: not for the handler, nor what is beside it."""
    nodes = {"before": UNDO, **tried({"a": UNDO})}
    nodes["t"]["after"] = "before"
    nodes["t"]["catch"] = {"body": scope(h=UNDO, back={"type": "rollback", "after": "h"})}
    play = begin(nodes)
    play.succeed("before")
    play.succeed("t.body.a")
    play.fail("t.body.bad")
    play.succeed("t.catch0.h")
    assert undo_all(play) == ["t.body.a"]
    assert play.status == "succeeded"


def test_rule_39_a_rollback_deep_in_a_handler_is_for_the_try_around(begin: Begin) -> None:
    """Also in a loop, a branch, or the body of a try that the handler holds."""
    deep = {"type": "loop", "over": [1], "body": scope(q={"type": "try", "body": scope(back={"type": "rollback"})})}
    nodes = tried({"a": UNDO})
    nodes["t"]["catch"] = {"body": scope(d=deep)}
    play = begin(nodes)
    play.succeed("t.body.a")
    play.fail("t.body.bad")
    assert undo_all(play) == ["t.body.a"]
    assert play.status == "succeeded"


def test_rule_39_each_once_ever(begin: Begin) -> None:
    """A second rollback, in the same handler or further out, finds nothing more to do."""
    inner = tried(
        {"a": UNDO}, more={"type": "rollback", "after": "back"}, throw={"type": "fail", "after": "more", "code": "x.on"}
    )
    play = begin({"o": {"type": "try", "body": scope(inner), "catch": {"body": scope(last={"type": "rollback"})}}})
    play.succeed("o.body.t.body.a")
    play.fail("o.body.t.body.bad")
    assert undo_all(play) == ["o.body.t.body.a"]
    assert (play.status, play.output) == ("succeeded", [])
    assert play.kinds().count("Scheduled undo") == 1


def test_rule_39_a_rollback_further_out_undoes_what_was_not(begin: Begin) -> None:
    """What stays registered is there for any rollback that is for a container around it."""
    inner = {"type": "try", "body": scope(a=UNDO, bad={}), "catch": {"body": scope(h={})}}
    play = begin(
        {
            "o": {
                "type": "try",
                "body": scope(i=inner, worse={"after": "i"}),
                "catch": {"body": scope(back={"type": "rollback"})},
            }
        }
    )
    play.succeed("o.body.i.body.a")
    play.fail("o.body.i.body.bad")
    play.succeed("o.body.i.catch0.h")
    play.fail("o.body.worse")
    assert undo_all(play) == ["o.body.i.body.a"]


def test_rule_39_a_named_node_is_rolled_back(begin: Begin) -> None:
    """`of` names a node or container of this scope, of one around it, or of the body; the rest stays registered."""
    loop = {"type": "loop", "over": [1, 2], "body": scope(x=UNDO)}
    nodes = tried({"a": UNDO, "l": loop}, first={"type": "rollback", "of": "l"})
    nodes["t"]["catch"]["body"]["nodes"]["back"]["after"] = "first"
    play = begin(nodes)
    play.succeed("t.body.l[0].x")
    play.succeed("t.body.a")
    play.succeed("t.body.l[1].x")
    play.fail("t.body.bad")
    assert undo_all(play) == ["t.body.l[1].x", "t.body.l[0].x", "t.body.a"]
    assert play.state("t.catch0.first") == "succeeded"


def test_rule_39_a_node_before_is_rolled_back_without_any_try(begin: Begin) -> None:
    """A rollback that names its target stands anywhere after it."""
    play = begin({"a": UNDO, "b": UNDO, "r": {"type": "rollback", "of": "a", "after": ["a", "b"]}})
    play.succeed("a")
    play.succeed("b")
    assert undo_all(play) == ["a"]
    assert (play.status, play.output) == ("succeeded", ["a"])


def test_rule_39_all_visits_of_a_node_are_rolled_back(begin: Begin) -> None:
    """Compensations stay registered over an `again` edge; each visit has its own."""
    body = {"a": {**UNDO, "after": [{"from": "c.false", "again": True, "max_visits": 3}]},
            "c": {"type": "condition", "after": "a", "if": "${ nodes.a > 1 }"}}  # fmt: skip
    play = begin(tried(body, named={"type": "rollback", "of": "a", "after": "back"}))
    play.succeed("t.body.a", 1)
    play.succeed("t.body.a", 2)
    play.fail("t.body.bad")
    assert running(play) == ["t.body.a#2.compensate.undo"]
    assert play.value(play.instance("t.body.a#2.compensate.undo").params)["output"] == 2
    assert undo_all(play) == ["t.body.a#2", "t.body.a"]
    assert play.status == "succeeded"


def test_rule_39_in_finally(begin: Begin) -> None:
    """A rollback in finally is for the body too, whatever made it run; it is shielded as finally is."""
    for end in ("success", "error", "cancel"):
        play = begin({"t": {"type": "try", "body": scope(a=UNDO, b={}), "finally": scope(back={"type": "rollback"})}})
        play.succeed("t.body.a")
        if end == "success":
            play.succeed("t.body.b")
        elif end == "error":
            play.fail("t.body.b", "x.b")
        else:
            play.operate("cancel")
            play.stopped("t.body.b")
        assert undo_all(play) == ["t.body.a"]
        assert play.status == {"success": "succeeded", "error": "failed", "cancel": "cancelled"}[end]


def test_rule_39_a_cancel_does_not_reach_into_a_rollback_in_finally(begin: Begin) -> None:
    """It comes while a compensation runs: that one and those after it still run, within the budget."""
    play = begin({"t": {"type": "try", "body": scope(a=UNDO, b=UNDO), "finally": scope(back={"type": "rollback"})}})
    play.succeed("t.body.a")
    play.succeed("t.body.b")
    play.operate("cancel")
    assert undo_all(play) == ["t.body.b", "t.body.a"]
    assert play.status == "cancelled"


def test_rule_39_a_rollback_that_is_cancelled_finishes_the_compensation_at_hand(begin: Begin) -> None:
    """In a handler it is stopped like any node: what it is undoing is undone, what is left stays registered for a later one."""
    nodes = tried({"a": UNDO, "b": UNDO})
    nodes["t"]["finally"] = scope(last={"type": "rollback"})
    play = begin(nodes)
    play.succeed("t.body.a")
    play.succeed("t.body.b")
    play.fail("t.body.bad")
    play.operate("cancel")
    assert running(play) == ["t.body.b.compensate.undo"]
    assert not play.instance("t.body.b.compensate.undo").stopping
    play.succeed("t.body.b.compensate.undo")
    assert play.state("t.catch0.back") == "cancelled"
    assert undo_all(play) == ["t.body.a"]
    assert play.status == "cancelled"


# -- containers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "container, inside",
    [
        ({"type": "loop", "over": [1, 2], "concurrency": 2, "body": scope(x=UNDO)}, ["l[0].x", "l[1].x"]),
        ({"type": "parallel", "branches": {"u": scope(x=UNDO), "v": scope(y=UNDO)}}, ["l.u.x", "l.v.y"]),
        ({"type": "try", "body": scope(x=UNDO, y=UNDO)}, ["l.body.x", "l.body.y"]),
    ],
    ids=["loop", "parallel", "try"],
)  # fmt: skip
@pytest.mark.parametrize("end", ["succeeds", "fails"])
def test_rule_39_a_container_that_succeeded_replaces_those_inside(
    begin: Begin, container: dict[str, Any], inside: list[str], end: str
) -> None:
    """Its own compensation stands for all of them; one that has not succeeded leaves them as they are."""
    play = begin(tried({"l": {**container, **UNDO}}))
    play.succeed(f"t.body.{inside[0]}")
    if end == "succeeds":
        play.succeed(f"t.body.{inside[1]}")
        play.fail("t.body.bad")
        assert undo_all(play) == ["t.body.l"]
    else:
        play.fail("t.body.bad")
        play.stopped(f"t.body.{inside[1]}")
        assert undo_all(play) == [f"t.body.{inside[0]}"]


def test_rule_39_a_container_replaces_those_of_its_earlier_attempts_too(begin: Begin) -> None:
    """What a failed attempt has done is covered by the compensation of the whole."""
    inner = {"type": "try", "retry": {"attempts": 2, "initial": "1s", "jitter": False}, "body": scope(x=UNDO, y={"after": "x"})}
    play = begin(tried({"l": {**inner, **UNDO}}))
    play.succeed("t.body.l.body.x")
    play.fail("t.body.l.body.y")
    play.pass_time(1)
    play.succeed("t.body.l~2.body.x")
    play.succeed("t.body.l~2.body.y")
    play.fail("t.body.bad")
    assert undo_all(play) == ["t.body.l"]


def test_rule_39_one_inside_that_succeeds_after_its_container_is_undone_by_itself(begin: Begin) -> None:
    """A loser that ends later was not there when the container was registered."""
    race = {"type": "parallel", "need": "any", "losers": "detach", "branches": {"u": scope(x=UNDO), "v": scope(y=UNDO)}, **UNDO}
    play = begin(tried({"l": race}))
    play.succeed("t.body.l.u.x")
    play.succeed("t.body.l.v.y")
    play.fail("t.body.bad")
    assert undo_all(play) == ["t.body.l.v.y", "t.body.l"]


# -- compensations that fail ----------------------------------------------------------------------------------------------


def test_rule_39_one_that_fails_is_recorded_and_the_others_still_run(begin: Begin) -> None:
    """Then the rollback fails with `compensation_failed`: the failure of the first is its cause, the others stand in `also`."""
    play = begin(tried({"a": UNDO, "b": UNDO, "c": UNDO}))
    for node in "abc":
        play.succeed(f"t.body.{node}")
    play.fail("t.body.bad", "x.bad")
    play.fail("t.body.c.compensate.undo", "x.c")
    play.fail("t.body.b.compensate.undo", "x.b")
    assert running(play) == ["t.body.a.compensate.undo"]
    play.succeed("t.body.a.compensate.undo")
    error = error_of(play)
    assert (play.status, error.code, error.node) == ("failed", "compensation_failed", "t.catch0.back")
    assert (error.cause and error.cause.code, [other.code for other in error.also]) == ("x.c", ["x.b"])


def test_rule_39_one_that_has_failed_is_not_run_again(begin: Begin) -> None:
    """Each once ever, whatever came of it; the failure of a rollback is handled like any."""
    nodes = tried({"a": UNDO}, more={"type": "rollback", "after": "back.error"})
    play = begin(nodes)
    play.succeed("t.body.a")
    play.fail("t.body.bad")
    play.fail("t.body.a.compensate.undo", "x.a")
    assert (play.status, play.output, play.kinds().count("Scheduled undo")) == ("succeeded", [], 1)


def test_rule_39_one_that_fails_is_retried_by_its_own_rule(begin: Begin) -> None:
    """By the `retry` of its own nodes, and before the next compensation begins."""
    undo = {"compensate": scope(undo={"retry": {"attempts": 2, "initial": "1s", "jitter": False}})}
    play = begin(tried({"a": UNDO, "b": undo}))
    play.succeed("t.body.a")
    play.succeed("t.body.b")
    play.fail("t.body.bad")
    play.fail("t.body.b.compensate.undo", "x.b")
    assert (play.state("t.body.b.compensate.undo"), running(play)) == ("waiting", [])
    play.pass_time(1)
    assert undo_all(play) == ["t.body.b", "t.body.a"]
    assert play.status == "succeeded"


@pytest.mark.parametrize(
    "wrong",
    [scope(undo={"with": "${ self.output.none }"}), {**scope(undo={}), "vars": {"v": "${ input.none }"}},
     {**scope(undo={}), "timeout": "${ input.none }"}, {**scope(undo={}), "timeout": "${ 'soon' }"}],
    ids=["node", "variable", "timeout", "no duration"],
)  # fmt: skip
def test_rule_39_an_expression_that_cannot_be_evaluated_fails_its_compensation_only(
    begin: Begin, wrong: dict[str, Any]
) -> None:
    """In a node, in the first value of a variable, in its timeout: the others still run."""
    play = begin(tried({"a": UNDO, "b": {"compensate": wrong}}), {})
    play.succeed("t.body.a")
    play.succeed("t.body.b", {})
    play.fail("t.body.bad")
    assert undo_all(play) == ["t.body.a"]
    assert (error_of(play).code, (error_of(play).cause or error_of(play)).category) == ("compensation_failed", "validation")


def test_rule_39_the_timeout_of_a_compensation_fails_it(begin: Begin) -> None:
    """As that of any scope."""
    slow = {"compensate": {**scope(undo={}), "timeout": "1m"}}
    play = begin(tried({"a": UNDO, "b": slow}))
    play.succeed("t.body.a")
    play.succeed("t.body.b")
    play.fail("t.body.bad")
    play.pass_time(60)
    play.stopped("t.body.b.compensate.undo")
    assert undo_all(play) == ["t.body.a"]
    assert (error_of(play).cause or error_of(play)).code == "timeout.scope"


@pytest.mark.parametrize("own", [True, False])
def test_rule_39_a_node_in_a_compensation_parks_by_its_own_word_only(begin: Begin, own: bool) -> None:
    """`park: true` of the workflow does not reach in; one of its own does, and the rollback goes on with what is decided."""
    undo = {"compensate": scope(undo={"park": True} if own else {})}
    nodes = tried({"a": undo})
    nodes["t"]["catch"]["body"]["nodes"]["mend"] = {"after": "back.error"}
    play = begin(nodes, settings={"park": True})
    play.succeed("t.body.a")
    play.fail("t.body.bad")
    play.fail("t.body.a.compensate.undo", "x.a")
    if not own:
        assert play.state("t.catch0.mend") == "running"
        return
    assert play.state("t.body.a.compensate.undo") == "parked"
    play.operate("complete", "t.body.a.compensate.undo", value=play.encoded(None))
    assert (play.state("t.catch0.back"), play.status) == ("succeeded", "succeeded")


# -- compensate_on: attempted ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on, registered", [("success", False), ("attempted", True)])
@pytest.mark.parametrize("end", ["ambiguous", "ambiguous before", "unknown", "cancelled"])
def test_rule_39_attempted_registers_what_may_have_happened(begin: Begin, end: str, on: str, registered: bool) -> None:
    """Any attempt ended ambiguously, the outcome is unknown, or the node was cancelled while it ran."""
    node: dict[str, Any] = {**UNDO, "compensate_on": on}
    if end == "unknown":
        node["delivery"] = "at_most_once"
    if end == "ambiguous before":
        node["retry"] = {"attempts": 2, "initial": "1s", "jitter": False}
    play = begin(tried({"a": node}))
    if play.crashes:
        return  # a takeover may itself have happened in the middle of an attempt
    if end == "cancelled":
        play.fail("t.body.bad")
        play.stopped("t.body.a")
    else:
        play.fail("t.body.a", "http.cut", ambiguous=True)
        if end == "ambiguous before":
            play.pass_time(1)
            play.fail("t.body.a", "http.404", category="validation")
        play.stopped("t.body.bad")
    assert undo_all(play) == (["t.body.a"] if registered else [])


@pytest.mark.parametrize("end", ["failed", "skipped", "waited", "not begun"])
def test_rule_39_attempted_does_not_register_what_certainly_did_not_happen(begin: Begin, end: str) -> None:
    """A definite failure, a node that was skipped, one cancelled in the backoff of a definite failure or before it began."""
    node = {**UNDO, "compensate_on": "attempted", "retry": {"attempts": 3, "initial": "1h", "on": "http.503"}}
    body = {"a": {**node, **({"after": "first"} if end == "not begun" else {"when": "${ input }"})}, "first": {}}
    play = begin(tried(body), end != "skipped")
    if play.crashes:
        return  # a takeover may itself have happened in the middle of an attempt
    if end == "failed":
        play.fail("t.body.a", "http.404", category="validation")
        play.stopped("t.body.bad")
    else:
        if end == "waited":
            play.fail("t.body.a", "http.503")
        play.fail("t.body.bad")
    play.stopped("t.body.first")
    assert (play.status, "Scheduled undo" in play.kinds()) == ("succeeded", False)


def test_rule_39_attempted_registers_an_attempt_that_was_lost_with_its_worker(begin: Begin) -> None:
    """It is repeated, and fails definitely; nobody knows how far the first one came."""
    play = begin(tried({"a": {**UNDO, "compensate_on": "attempted"}}))
    play.crash()
    play.fail("t.body.a", "http.404", category="validation")
    play.stopped("t.body.bad")
    assert undo_all(play) == ["t.body.a"]


@pytest.mark.parametrize(
    "container",
    [{"type": "try", "body": scope(x={})}, {"type": "loop", "over": [1], "body": scope(x={})},
     {"type": "parallel", "branches": {"u": scope(x={})}}, {"type": "subworkflow", "workflow": "other"}],
    ids=lambda node: node["type"],
)  # fmt: skip
def test_rule_39_attempted_registers_a_container_that_was_under_way(begin: Begin, container: dict[str, Any]) -> None:
    """Or a child: something in it may have happened."""
    play = begin(tried({"l": {**container, **UNDO, "compensate_on": "attempted"}}), start={"children": {"other": b"\1" * 32}})
    play.fail("t.body.bad")
    for path in running(play):
        play.stopped(path)
    if container["type"] == "subworkflow":
        perform(play, [{"child": "t.body.l", "status": "cancelled"}])
    assert undo_all(play) == ["t.body.l"]


def test_rule_39_a_container_that_was_attempted_and_failed_leaves_those_inside(begin: Begin) -> None:
    """A definite failure registers nothing of its own: what succeeded inside is undone one by one."""
    inner = {"type": "try", "body": scope(x=UNDO, y={"after": "x"}), **UNDO, "compensate_on": "attempted"}
    play = begin(tried({"l": inner, "z": {"after": "l"}}))
    play.succeed("t.body.l.body.x")
    if play.crashes:
        return  # a takeover may itself have happened in the middle of an attempt
    play.fail("t.body.l.body.y")
    play.stopped("t.body.bad")
    assert undo_all(play) == ["t.body.l.body.x"]
