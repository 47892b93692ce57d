"""Try: the body, its handlers and `finally`, and what arrives at each of them (rule 37)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from plays import definition, error_of, perform, running, table
from ways import Begin, Played, scope

from perdure.errors import DefinitionRefused
from perdure.testing.rehearsal import plan_of


@pytest.mark.parametrize("row", table("table_37"), ids=lambda row: row["row"])
def test_rule_37_what_arrives_at_a_try_and_when(begin: Begin, row: dict[str, Any]) -> None:
    """Every cell of table 37: an error, a cancel, times that pass, in body, catch and finally."""
    perform(begin.new(definition(row)), row["play"])


def tried(body: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The try `t` of these effects."""
    return {"t": {"type": "try", "body": scope(body), **more}}


# -- an error in the body -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code, failure, handler",
    [("y.other", {}, 0), ("x.a", {"data": {"n": 9}}, 1), ("x.a", {"data": {"n": 5}}, 2), ("x.a", {}, 2),
     ("http.503", {}, 2), ("z", {"category": "business"}, 3), ("http.404", {"category": "validation"}, 4)],
)  # fmt: skip
def test_rule_37_the_first_matching_handler_runs(begin: Begin, code: str, failure: dict[str, Any], handler: int) -> None:
    """By code, pattern, category and condition, from top to bottom; a condition that cannot be evaluated does not match."""
    catch = [
        {"on": "y.other", "body": scope(h={})},
        {"on": "x.*", "when": "${ error.data.n > 5 }", "body": scope(h={})},
        {"on": ["http.5xx", "technical"], "body": scope(h={})},
        {"when": "${ error.code == 'z' }", "body": scope(h={})},
        {"body": scope(h={})},
    ]
    play = begin(tried({"x": {}}, catch=catch))
    play.fail("t.body.x", code, **failure)
    assert running(play) == [f"t.catch{handler}.h"]


def test_rule_37_an_error_that_no_handler_matches_is_thrown_after_finally(begin: Begin) -> None:
    """Whoever is around the try sees the error itself, with the node that it came from."""
    inner = tried({"x": {}}, catch={"on": "y.*", "body": scope(h={})}, **{"finally": scope(f={})})
    nodes = {"o": {"type": "try", "body": scope(inner), "catch": {"body": scope(g={"with": "${ error }"})}}}
    play = begin(nodes)
    play.fail("o.body.t.body.x", "x.first", detail="why")
    assert running(play) == ["o.body.t.finally.f"]
    play.succeed("o.body.t.finally.f")
    seen = play.value(play.instance("o.catch0.g").params)
    assert (seen["code"], seen["detail"], seen["node"]) == ("x.first", "why", "o.body.t.body.x")


def test_rule_37_a_failure_that_is_a_cancel_is_caught_by_none(begin: Begin) -> None:
    """A handler for everything does not take a failure of category `cancelled`; finally runs."""
    play = begin(tried({"x": {}}, catch=[{"on": "*", "body": scope(h={})}, {"body": scope(h={})}], **{"finally": scope(f={})}))
    play.fail("t.body.x", "subworkflow.cancelled", category="cancelled")
    assert running(play) == ["t.finally.f"]
    play.succeed("t.finally.f")
    assert (play.status, error_of(play).code) == ("failed", "subworkflow.cancelled")


@pytest.mark.parametrize("policy, code", [("isolate", "x.x"), ("drain", "x.x"), ("cancel_siblings", "x.x")])
def test_rule_37_the_handler_begins_when_the_body_is_final(begin: Begin, policy: str, code: str) -> None:
    """Under each policy of the body that fails it, whatever its other nodes still do."""
    body = {**scope(x={}, y={}), "on_failure": policy}
    play = begin({"t": {"type": "try", "body": body, "catch": {"body": scope(h={"with": {"code": "${ error.code }"}})}}})
    play.fail("t.body.x", "x.x")
    assert running(play) == ["t.body.y"]
    play.stopped("t.body.y") if policy == "cancel_siblings" else play.succeed("t.body.y")
    assert running(play) == ["t.catch0.h"]
    assert play.value(play.instance("t.catch0.h").params) == {"code": code}


@pytest.mark.parametrize("policy, output", [("collect", {}), ("ignore", {"y": 2})])
def test_rule_37_a_body_that_lives_with_its_failures_throws_none(begin: Begin, policy: str, output: Any) -> None:
    """Its policy has handled them: no handler runs."""
    body = {
        **scope(x={}, y={"after": "x"}),
        "on_failure": policy,
        "output": {} if policy == "collect" else {"y": "${ nodes.y }"},
    }
    play = begin({"t": {"type": "try", "body": body, "catch": {"body": scope(h={})}}})
    play.fail("t.body.x")
    if policy == "ignore":
        play.succeed("t.body.y", 2)
    assert (play.status, play.output) == ("succeeded", output)


# -- an error in the catch ------------------------------------------------------------------------------------------------


def test_rule_37_no_other_handler_sees_the_error_of_a_handler(begin: Begin) -> None:
    """Neither one further down nor the same one again: finally runs, then the error is thrown because of the first."""
    catch = [{"on": "x.*", "body": scope(h={})}, {"on": "y.*", "body": scope(h={})}, {"body": scope(h={})}]
    play = begin(tried({"x": {}}, catch=catch, **{"finally": scope(f={})}))
    play.fail("t.body.x", "x.first")
    play.fail("t.catch0.h", "y.second")
    assert running(play) == ["t.finally.f"]
    play.succeed("t.finally.f")
    error = error_of(play)
    assert (error.code, error.node, error.cause and error.cause.code) == ("y.second", "t.catch0.h", "x.first")


def test_rule_37_a_handler_may_throw_the_error_again(begin: Begin) -> None:
    """An error of its own making, in a `fail` node, has the first as its cause as well."""
    again = {"type": "fail", "code": "${ 'again.' + error.code }"}
    play = begin(tried({"x": {}}, catch={"body": scope(h=again)}))
    play.fail("t.body.x", "x.first")
    assert (error_of(play).code, (error_of(play).cause or error_of(play)).code) == ("again.x.first", "x.first")


def test_rule_37_an_error_of_a_handler_that_has_a_cause_keeps_it(begin: Begin) -> None:
    """The first error is told by the node it came from."""
    inner = {"type": "try", "body": scope(y={}), "catch": {"body": scope(z={})}}
    play = begin(tried({"x": {}}, catch={"body": scope(h=inner)}))
    play.fail("t.body.x", "x.first")
    play.fail("t.catch0.h.body.y", "x.second")
    play.fail("t.catch0.h.catch0.z", "x.third")
    assert (error_of(play).code, (error_of(play).cause or error_of(play)).code) == ("x.third", "x.second")


# -- an error in finally --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before, cause", [("success", None), ("error", "x.first"), ("caught", None), ("handler", "x.second")])
def test_rule_37_an_error_of_finally_takes_the_place_of_what_is_pending(begin: Begin, before: str, cause: str | None) -> None:
    """The rest of finally is cancelled; what it replaces is its cause: an error that was not caught, or of the handler."""
    catch = {"on": "x.*", "body": scope(h={})}
    play = begin(
        tried({"x": {}}, catch=[] if before == "error" else [catch], **{"finally": scope(f={}, g={}, g2={"after": "g"})})
    )
    play.succeed("t.body.x") if before == "success" else play.fail("t.body.x", "x.first")
    if before == "caught":
        play.succeed("t.catch0.h")
    elif before == "handler":
        play.fail("t.catch0.h", "x.second")
    play.fail("t.finally.f", "x.cleanup")
    assert (play.state("t.finally.g2"), bool(play.instance("t.finally.g").stopping)) == ("skipped", True)
    play.stopped("t.finally.g")
    error = error_of(play)
    assert (error.code, error.cause.code if error.cause else None) == ("x.cleanup", cause)


def test_rule_37_a_failure_that_is_handled_in_finally_throws_nothing(begin: Begin) -> None:
    """By an edge: finally goes on, and the try ends as it was left."""
    play = begin(tried({"x": {}}, **{"finally": scope(f={}, mend={"after": "f.error"})}))
    play.succeed("t.body.x", 1)
    play.fail("t.finally.f")
    play.succeed("t.finally.mend", 2)
    assert (play.status, play.output) == ("succeeded", 1)


# -- a cancel from outside ------------------------------------------------------------------------------------------------

OUTSIDE: dict[str, Callable[[Played], Any]] = {
    "an operator": lambda play: play.operate("cancel"),
    "a sibling": lambda play: play.fail("o.body.s"),
    "a cancel node": lambda play: play.succeed("o.body.c"),
    "a return": lambda play: play.succeed("o.body.r"),
    "the scope's timeout": lambda play: play.pass_time(60),
    "a join that it lost": lambda play: play.succeed("o.body.w"),
}


@pytest.mark.parametrize("where", ["body", "catch", "finally"])
@pytest.mark.parametrize("source", OUTSIDE)
def test_rule_37_a_cancel_from_outside(begin: Begin, source: str, where: str) -> None:
    """Whoever cancels: body or handler stops, no handler begins, finally runs undisturbed, and the try is cancelled."""
    inside = {
        **tried({"x": {}}, catch={"body": scope(h={}, h2={"after": "h"})}, **{"finally": scope(f={}, f2={"after": "f"})}),
        "s": {}, "c": {}, "off": {"type": "cancel", "after": "c", "target": "t"}, "r": {},
        "leave": {"type": "return", "after": "r"}, "w": {}, "j": {"type": "join", "after": ["t", "w"], "need": "any"},
    }  # fmt: skip
    play = begin({"o": {"type": "try", "body": {**scope(inside), "timeout": "1m"}, "finally": scope(keep={})}})
    at = {"body": "o.body.t.body.x", "catch": "o.body.t.catch0.h", "finally": "o.body.t.finally.f"}
    if where == "catch":
        play.fail(at["body"], "x.first")
    elif where == "finally":
        play.succeed(at["body"])
    OUTSIDE[source](play)
    if where != "finally":
        assert play.instance(at[where]).stopping
        assert not [path for path in running(play) if "finally" in path]
        play.stopped(at[where])
    assert (play.state("o.body.t"), bool(play.instance(at["finally"]).stopping)) == ("running", False)
    play.succeed(at["finally"])
    assert [path for path in running(play) if ".t." in path] == ["o.body.t.finally.f2"]
    play.succeed("o.body.t.finally.f2")
    assert play.state("o.body.t") == "cancelled"


def test_rule_37_a_try_that_is_cancelled_before_it_began_cleans_up_nothing(begin: Begin) -> None:
    """It is skipped, and its finally does not run."""
    play = begin({"a": {}, **tried({"x": {}}, **{"finally": scope(f={})}), "b": {}} | {"t": {
        "type": "try", "after": "a", "body": scope(x={}), "finally": scope(f={})}})  # fmt: skip
    play.fail("b")
    play.stopped("a")
    assert (play.state("t"), play.status) == ("skipped", "failed")


def test_rule_37_a_body_that_fails_while_its_try_is_cancelled_has_not_failed(begin: Begin) -> None:
    """The cancel reaches further: finally sees no error."""
    play = begin(
        {**tried({"x": {}, "y": {}}, catch={"body": scope(h={})}, **{"finally": scope(f={"with": "${ error }"})}), "s": {}}
    )
    play.fail("t.body.x", "x.first")
    play.fail("s", "x.s")
    play.stopped("t.body.y")
    assert running(play) == ["t.finally.f"]
    assert play.value(play.instance("t.finally.f").params) is None


# -- its own time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit, code", [("timeout", "timeout"), ("deadline", "timeout.deadline")])
@pytest.mark.parametrize("end", ["stopped", "succeeded", "failed"])
def test_rule_37_its_own_time_is_seen_from_outside_only(begin: Begin, limit: str, code: str, end: str) -> None:
    """Whatever the attempt inside says at last: its own handler does not begin, one around it sees the timeout."""
    inner = tried({"x": {}, "x2": {"after": "x"}}, catch={"body": scope(h={})}, **{limit: "1m", "finally": scope(f={})})
    play = begin(
        {"o": {"type": "try", "body": scope(inner), "catch": {"on": "timeout", "body": scope(g={"with": "${ error }"})}}}
    )
    play.pass_time(60)
    assert play.state("o.body.t.body.x2") == "skipped"
    {"stopped": play.stopped, "succeeded": play.succeed, "failed": play.fail}[end]("o.body.t.body.x")
    assert running(play) == ["o.body.t.finally.f"]
    play.succeed("o.body.t.finally.f")
    assert running(play) == ["o.catch0.g"]
    seen = play.value(play.instance("o.catch0.g").params)
    assert (seen["code"], seen["category"], seen["node"]) == (code, "timeout", "o.body.t")


@pytest.mark.parametrize("where", ["body", "catch"])
def test_rule_37_an_error_of_finally_does_not_replace_its_own_timeout(begin: Begin, where: str) -> None:
    """A try that was left as by a cancel fails with the timeout; what finally did wrong stands beside it."""
    play = begin(tried({"x": {}}, catch={"body": scope(h={})}, timeout="1m", **{"finally": scope(f={})}))
    if where == "catch":
        play.fail("t.body.x", "x.first")
    play.pass_time(60)
    play.stopped("t.body.x" if where == "body" else "t.catch0.h")
    play.fail("t.finally.f", "x.cleanup")
    assert (error_of(play).code, [other.code for other in error_of(play).also]) == ("timeout", ["x.cleanup"])


@pytest.mark.parametrize("before, code, cause", [("success", "timeout", None), ("caught", "timeout", None),
                                                 ("error", "x.first", None), ("handler", "x.second", "x.first")])  # fmt: skip
@pytest.mark.parametrize("cleaned", [True, False])
def test_rule_37_its_own_time_passes_in_finally(begin: Begin, before: str, code: str, cause: str | None, cleaned: bool) -> None:
    """Finally goes on; then an error that was pending is thrown, else the timeout. An error of finally replaces either."""
    catch = [] if before == "error" else [{"body": scope(h={})}]
    play = begin(tried({"x": {}}, catch=catch, timeout="1m", **{"finally": scope(f={})}))
    play.succeed("t.body.x") if before == "success" else play.fail("t.body.x", "x.first")
    if before == "caught":
        play.succeed("t.catch0.h")
    elif before == "handler":
        play.fail("t.catch0.h", "x.second")
    play.pass_time(60)
    assert running(play) == ["t.finally.f"]
    play.succeed("t.finally.f") if cleaned else play.fail("t.finally.f", "x.cleanup")
    error = error_of(play)
    if cleaned:
        assert (error.code, error.cause.code if error.cause else None) == (code, cause)
    else:
        assert (error.code, error.cause.code if error.cause else None) == ("x.cleanup", code)


def test_rule_37_its_own_time_reaches_further_than_an_error_that_is_leaving_the_body(begin: Begin) -> None:
    """The body has failed and is not final yet: the try is left, its handler does not begin, and it fails with the timeout."""
    play = begin(tried({"x": {}, "y": {}}, catch={"body": scope(h={})}, timeout="1m"))
    play.fail("t.body.x", "x.first")
    play.pass_time(60)
    play.stopped("t.body.y")
    assert (play.status, error_of(play).code) == ("failed", "timeout")


def test_rule_37_a_retry_of_the_try_cleans_up_each_attempt(begin: Begin) -> None:
    """Finally belongs to the attempt: it runs before the backoff, and again in the next one."""
    play = begin(
        tried({"x": {}}, timeout="1m", retry={"attempts": 2, "initial": "1s", "jitter": False}, **{"finally": scope(f={})})
    )
    play.fail("t.body.x", "x.first")
    play.succeed("t.finally.f")
    assert play.state("t") == "waiting"
    play.pass_time(1)
    play.succeed("t~2.body.x", 2)
    play.succeed("t~2.finally.f")
    assert (play.status, play.output) == ("succeeded", 2)


# -- the timeout of a scope -----------------------------------------------------------------------------------------------


def test_rule_37_the_timeout_of_the_body_is_an_error_inside(begin: Begin) -> None:
    """`timeout.scope`, of category timeout, of the body's path: the handler sees it once the body is final."""
    body = {**scope(x={}, x2={"after": "x"}), "timeout": "${ input }"}
    play = begin(
        {"t": {"type": "try", "body": body, "catch": {"on": "timeout", "body": scope(h={"with": "${ error }"})}}}, "1m"
    )
    play.pass_time(59)
    assert not play.instance("t.body.x").stopping
    play.pass_time(1)
    play.stopped("t.body.x")
    seen = play.value(play.instance("t.catch0.h").params)
    assert (seen["code"], seen["category"], seen["node"]) == ("timeout.scope", "timeout", "t.body")


def test_rule_37_the_timeout_of_the_body_ends_with_the_body(begin: Begin) -> None:
    """It runs neither in the handler nor in finally, which have their own."""
    body = {**scope(x={}), "timeout": "1m"}
    handler = {**scope(h={}), "timeout": "5m"}
    play = begin({"t": {"type": "try", "body": body, "catch": {"body": handler}, "finally": scope(f={})}})
    play.fail("t.body.x", "x.first")
    play.pass_time(299)
    assert not play.instance("t.catch0.h").stopping
    play.pass_time(1)
    play.stopped("t.catch0.h")
    play.pass_time(86_400)
    assert not play.instance("t.finally.f").stopping
    play.succeed("t.finally.f")
    assert (error_of(play).code, error_of(play).node, (error_of(play).cause or error_of(play)).code) == (
        "timeout.scope", "t.catch0", "x.first"
    )  # fmt: skip


def test_rule_37_an_error_comes_before_the_timeout_of_the_body(begin: Begin) -> None:
    """A body that is being left by its error does not time out any more."""
    body = {**scope(x={}, y={}), "timeout": "1m"}
    play = begin({"t": {"type": "try", "body": body, "catch": {"body": scope(h={"with": {"code": "${ error.code }"}})}}})
    play.fail("t.body.x", "x.first")
    play.pass_time(60)
    play.stopped("t.body.y")
    assert play.value(play.instance("t.catch0.h").params) == {"code": "x.first"}


# -- terminate ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["body", "catch", "finally", "a cancel"])
def test_rule_37_terminate_asks_everything_to_stop_and_waits_for_nobody(begin: Begin, where: str) -> None:
    """The execution is cancelled at once, what runs is asked to stop, and nothing that comes later starts anything."""
    play = begin({**tried({"x": {}}, catch={"body": scope(h={})}, **{"finally": scope(f={})}), "s": {}})
    at = {"body": "t.body.x", "catch": "t.catch0.h", "finally": "t.finally.f", "a cancel": "t.finally.f"}[where]
    if where == "catch":
        play.fail("t.body.x")
    elif where == "finally":
        play.succeed("t.body.x")
    elif where == "a cancel":
        play.operate("cancel")
        play.stopped("t.body.x")
    result = play.result(at, output=play.encoded(None))
    play.operate("terminate")
    assert play.status == "cancelled"
    assert {stop.token.node for stop in play.stops()} >= {at.rpartition(".")[2], "s"}
    asked = len(play.runs())
    assert play.kinds(play.take(result)) == [f"Late {result.token.node}"]
    assert len(play.runs()) == asked


# -- what it gives, what its parts see ------------------------------------------------------------------------------------


def test_rule_37_its_output_is_the_bodys_or_that_of_the_handler(begin: Begin) -> None:
    """By `output:`, else as any scope's; finally gives none, and has none to overrule it."""
    body = {**scope(x={}, y={}), "output": {"both": "${ [nodes.x, nodes.y] }"}}
    for failing in (False, True):
        play = begin({"t": {"type": "try", "body": body, "catch": {"body": {**scope(h={}), "output": "${ [nodes.h] }"}},
                            "finally": scope(f={})}})  # fmt: skip
        play.succeed("t.body.x", 1)
        if failing:
            play.fail("t.body.y")
            play.succeed("t.catch0.h", 3)
        else:
            play.succeed("t.body.y", 2)
        play.succeed("t.finally.f", "of finally")
        assert play.output == ([3] if failing else {"both": [1, 2]})


def test_rule_37_a_handler_that_is_an_entry_of_try_names_its_error(begin: Begin) -> None:
    """`as` names it; without it, it is `error`. Containers inside see it too."""
    inner = {"type": "loop", "over": [1], "body": scope(h={"with": {"code": "${ problem.code }", "item": "${ item }"}})}
    play = begin(tried({"x": {}}, catch={"as": "problem", "body": scope(l=inner)}))
    play.fail("t.body.x", "x.first")
    assert play.value(play.instance("t.catch0.l[0].h").params) == {"code": "x.first", "item": 1}


def test_rule_37_under_another_name_error_is_not_bound() -> None:
    """A definition that reads `error` in a handler with `as` is refused."""
    with pytest.raises(DefinitionRefused) as refused:
        plan_of({"perdure": 1, "name": "w", "nodes": {"t": {
            "type": "try", "body": {"nodes": {"x": {"type": "test.effect"}}},
            "catch": {"as": "problem", "body": {"nodes": {"h": {"type": "transform", "to": "${ error.code }"}}}},
        }}})  # fmt: skip
    assert "error" in str(refused.value)


@pytest.mark.parametrize("before, seen", [("success", None), ("error", "x.first"), ("caught", None), ("handler", "x.second"),
                                          ("cancel", None), ("timeout", None)])  # fmt: skip
def test_rule_37_finally_sees_the_error_that_is_pending(begin: Begin, before: str, seen: str | None) -> None:
    """Null where nothing failed, where the error was caught, and where the try is left by a cancel or its own time."""
    catch = [] if before == "error" else [{"body": scope(h={})}]
    play = begin(tried({"x": {}}, catch=catch, timeout="1m", **{"finally": scope(f={"with": {"e": "${ error }"}})}))
    if before in ("error", "caught", "handler"):
        play.fail("t.body.x", "x.first")
    if before == "success":
        play.succeed("t.body.x")
    elif before == "caught":
        play.succeed("t.catch0.h")
    elif before == "handler":
        play.fail("t.catch0.h", "x.second")
    elif before == "cancel":
        play.operate("cancel")
        play.stopped("t.body.x")
    elif before == "timeout":
        play.pass_time(60)
        play.stopped("t.body.x")
    error = play.value(play.instance("t.finally.f").params)["e"]
    assert (error["code"] if error is not None else None) == seen
