"""The error workflow: what is started when an execution has failed, and what it is told (rule 44)."""

from __future__ import annotations

from typing import Any

import pytest
from recording import Recording
from ways import Begin, Played, graph, scope

from perdure.engine import events
from perdure.ids import ExecutionId, child_id
from perdure.testing.rehearsal import EXECUTION

ALARM: dict[str, Any] = {"error_workflow": "alarm"}


def spawned(play: Recording) -> list[events.Spawned]:
    """The executions that are to be started."""
    return [fact for fact in play.facts if isinstance(fact, events.Spawned)]


def failed(begin: Begin, **settings: Any) -> Played:
    play = begin({"a": {}}, {"id": 1}, settings={**ALARM, **settings})
    play.fail("a", "x.first", title="It broke.")
    return play


def test_rule_44_a_failure_starts_the_error_workflow(begin: Begin) -> None:
    """Under a derived id, in the commit in which the execution ends, with what has failed and how as its input."""
    play = failed(begin)
    (fact,) = spawned(play)
    assert (fact.workflow, fact.relation, fact.attempt) == ("alarm", "error", 1)
    assert fact.execution == child_id(play.now, ExecutionId(EXECUTION), "error", 1, 0)
    told = play.value(fact.input)
    assert (told["input"], told["status"]) == ({"id": 1}, "failed")
    assert (told["execution"]["workflow"], told["execution"]["started"][:4]) == ("play", "2023")
    assert (told["error"]["code"], told["error"]["title"], told["error"]["node"]) == ("x.first", "It broke.", "a")
    assert [type(each).__name__ for each in play.facts[-2:]] == ["Spawned", "Ended"]


def on_timed_out(then: Any) -> dict[str, Any]:
    """The settings that say what follows a timeout of the workflow; `retry` says how often, too."""
    return {"on_timeout": then, **({"retry": {"attempts": 2}} if then == "retry" else {})}


@pytest.mark.parametrize("on_timeout", ["fail", "terminate", "retry", {"route": "late"}])
def test_rule_44_a_timeout_of_the_workflow_is_a_failure_too(begin: Begin, on_timeout: Any) -> None:
    """`timed_out`, beside what `on_timeout` starts."""
    settings = {**ALARM, "timeout": "1h", **on_timed_out(on_timeout)}
    play = begin({"a": {}}, settings=settings)
    play.pass_time(3_600)
    if on_timeout != "terminate":
        play.stopped("a")
    assert play.status == "timed_out"
    relations = {"retry": ["retry", "error"], "fail": ["error"], "terminate": ["error"]}
    assert [fact.relation for fact in spawned(play)] == (
        relations[on_timeout] if isinstance(on_timeout, str) else ["route", "error"]
    )
    told = play.value(spawned(play)[-1].input)
    assert (told["status"], told["error"]["code"]) == ("timed_out", "timeout.workflow")


@pytest.mark.parametrize("how", ["success", "cancel", "terminate", "return", "caught", "collect"])
def test_rule_44_what_has_not_failed_starts_none(begin: Begin, how: str) -> None:
    """Success, also after a failure that was handled, and a cancel, which somebody wanted."""
    nodes: dict[str, Any] = {"a": {}, **({"mend": {"after": "a.error"}} if how == "caught" else {})}
    if how == "return":
        nodes["r"] = {"type": "return", "after": "a", "value": 1}
    policy = {"on_failure": "collect"} if how == "collect" else {}
    play = begin(nodes, settings={**ALARM, **policy})
    if how in ("cancel", "terminate"):
        play.operate(how)
        if how == "cancel":
            play.stopped("a")
    elif how in ("caught", "collect"):
        play.fail("a")
        if how == "caught":
            play.succeed("mend")
    else:
        play.succeed("a")
    assert play.status == ("cancelled" if how in ("cancel", "terminate") else "succeeded")
    assert spawned(play) == []


def test_rule_44_the_failure_of_an_error_workflow_starts_no_further(begin: Begin) -> None:
    """Though it may name one itself."""
    play = begin({"a": {}}, start={"relation": "error"}, settings=ALARM)
    play.fail("a")
    assert (play.status, spawned(play)) == ("failed", [])


@pytest.mark.parametrize("relation", ["retry", "route"])
def test_rule_44_that_of_what_was_started_otherwise_does(begin: Begin, relation: str) -> None:
    """A retry after a timeout, and what was routed to, are executions like others."""
    play = begin({"a": {}}, start={"relation": relation, "attempt": 2}, settings=ALARM)
    play.fail("a")
    assert [fact.workflow for fact in spawned(play)] == ["alarm"]


def test_rule_44_a_failure_before_the_first_node_starts_it_too(begin: Begin) -> None:
    """Settings that cannot be evaluated fail the execution after it has started."""
    play = begin({"a": {}}, {"hours": "none"}, settings={**ALARM, "timeout": "${ input.hours }"})
    assert (play.status, [fact.workflow for fact in spawned(play)]) == ("failed", ["alarm"])


def test_rule_44_an_output_that_does_not_fit_is_a_failure(begin: Begin) -> None:
    """Found when all else had succeeded."""
    play = begin({"a": {}}, settings=ALARM, output_schema={"type": "integer"})
    play.succeed("a", "text")
    (fact,) = spawned(play)
    assert play.value(fact.input)["error"]["code"] == "output.schema"


def test_rule_44_it_starts_when_all_is_cleaned_up(begin: Begin) -> None:
    """And not with the failure: the execution has failed when its frames have ended."""
    play = begin({"t": {"type": "try", "body": scope(x={}), "finally": scope(f={})}}, settings=ALARM)
    play.fail("t.body.x", "x.first")
    assert spawned(play) == []
    play.fail("t.finally.f", "x.cleanup")
    (fact,) = spawned(play)
    told = play.value(fact.input)["error"]
    assert (told["code"], told["cause"]["code"]) == ("x.cleanup", "x.first")


def test_rule_44_a_cancel_that_runs_out_of_time_is_no_failure(begin: Begin) -> None:
    """`cleanup.exhausted` is in its error, and its status is the cancel's."""
    play = begin({"t": {"type": "try", "body": scope(x={}), "finally": scope(f={})}}, settings={**ALARM, "cleanup": "10s"})
    play.fail("t.body.x", "x.first")
    play.operate("cancel")
    play.pass_time(10)
    assert (play.status, spawned(play)) == ("cancelled", [])


@pytest.mark.parametrize("on_timeout", ["fail", "retry", {"route": "late"}])
def test_rule_44_a_large_input_is_told_whole_and_once(on_timeout: Any) -> None:
    """A step that lacks it states nothing before it has it: one start of each kind."""
    settings = {**ALARM, "timeout": "1h", **on_timed_out(on_timeout)}
    play = Recording(graph({"a": {}}, settings=settings), forgetful=True)
    play.start("x" * 5_000)
    play.pass_time(3_600)
    play.stopped("a")
    relations = [fact.relation for fact in spawned(play)]
    assert relations == (["error"] if on_timeout == "fail" else ["retry" if on_timeout == "retry" else "route", "error"])
    assert len(play.value(spawned(play)[-1].input)["input"]) == 5_000
    assert play.restepped() == []
