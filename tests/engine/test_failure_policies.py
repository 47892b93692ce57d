"""What becomes of a failure: the order in which it is offered, and what each `on_failure` does (rules 11, 12, 13)."""

from __future__ import annotations

from typing import Any

import pytest
from plays import definition, perform, table
from recording import Recording

from perdure.testing.rehearsal import effects

POLICIES = ("cancel_siblings", "drain", "isolate", "collect", "ignore")


@pytest.mark.parametrize("row", table("table_13"), ids=lambda row: row["row"])
def test_rule_13_what_an_unhandled_failure_does(row: dict[str, Any]) -> None:
    """Every row of table 13, with worked graph 1: the node's edges, the others in the frame, how the frame ends."""
    perform(Recording(definition(row)), row["play"])


@pytest.mark.parametrize("row", table("table_13"), ids=lambda row: row["row"])
def test_rule_13_holds_over_crashes(row: dict[str, Any]) -> None:
    """The same rows with the state folded anew after every step."""
    perform(Recording(definition(row), refolds=True), row["play"])


def under(policy: str, **nodes: Any) -> Recording:
    """A started rehearsal of effects under a policy."""
    play = Recording({**effects(**nodes), "settings": {"on_failure": policy}})
    play.start()
    return play


@pytest.mark.parametrize("policy", POLICIES)
def test_rule_11_the_retry_comes_first(policy: str) -> None:
    """Before anybody else hears of a failure, the node's own retry does: siblings never notice."""
    play = under(policy, a={"retry": {"attempts": 2, "initial": "1s"}, "park": True}, b={}, mend={"after": "a.error"})
    play.fail("a")
    assert play.states() == {"a": "waiting", "b": "running", "mend": "pending"}


@pytest.mark.parametrize("policy", POLICIES)
def test_rule_11_then_its_edges(policy: str) -> None:
    """A failure that an edge takes is handled: it never reaches parking or the policy."""
    play = under(policy, a={"park": True}, b={}, mend={"after": "a.error"})
    play.fail("a")
    assert play.states() == {"a": "failed", "b": "running", "mend": "running"}
    play.succeed("b")
    play.succeed("mend")
    assert play.status == "succeeded"


@pytest.mark.parametrize("policy", ["cancel_siblings", "drain", "isolate"])
def test_rule_11_then_parking_when_the_execution_would_fail(policy: str) -> None:
    """Parking comes after the edges and before the policy."""
    play = under(policy, a={"park": True}, b={})
    play.fail("a")
    assert play.states() == {"a": "parked", "b": "running"}


@pytest.mark.parametrize("policy", ["collect", "ignore"])
def test_rule_11_parking_is_not_asked_where_the_policy_handles_it(policy: str) -> None:
    """`collect` and `ignore` keep the execution alive: nobody needs to be asked."""
    play = under(policy, a={"park": True}, b={})
    play.fail("a")
    assert play.states() == {"a": "failed", "b": "running"}


def test_rule_11_a_failing_handler_is_a_failure_of_its_own() -> None:
    """The node that the error edge leads to may fail too; then the policy speaks, about that failure."""
    play = under("cancel_siblings", a={}, mend={"after": "a.error"}, b={})
    play.fail("a", "x.first")
    play.fail("mend", "x.second")
    play.stopped("b")
    assert play.status == "failed"
    assert play.error is not None
    assert (play.error.code, play.error.node) == ("x.second", "mend")


def test_rule_12_a_cancel_is_a_request() -> None:
    """Asked to stop, an attempt is still running until it says otherwise; the frame waits for it."""
    play = under("cancel_siblings", a={}, b={}, c={"after": "b"})
    play.fail("a")
    assert [stop.token.node for stop in play.stops()] == ["b"]
    assert play.state("b") == "running"
    assert play.status == ""
    play.stopped("b")
    assert play.state("b") == "cancelled"
    assert play.status == "failed"


def test_rule_12_a_late_success_counts_and_opens_nothing() -> None:
    """Worked graph 10, its first half: what reports success before it has stopped has succeeded; nothing starts after it."""
    play = under("cancel_siblings", a={}, charge={}, ship={"after": "charge"})
    play.fail("a", "x.first")
    play.succeed("charge", {"id": "ch_1"})
    assert play.states() == {"a": "failed", "charge": "succeeded", "ship": "skipped"}
    assert play.node_output("charge") == {"id": "ch_1"}
    assert play.started() == ["a", "charge"]
    assert play.status == "failed"


def test_rule_12_a_failure_while_stopping_is_a_cancel() -> None:
    """What fails after it was asked to stop was cancelled: its retry and its error edge are not asked."""
    play = under("cancel_siblings", a={}, b={"retry": {"attempts": 5}}, mend={"after": "b.error"})
    play.fail("a", "x.first")
    play.fail("b", "x.second")
    assert play.states() == {"a": "failed", "b": "cancelled", "mend": "skipped"}
    assert play.error is not None
    assert play.error.also == ()


def test_rule_12_nothing_starts_in_a_closing_frame() -> None:
    """A result that comes while the frame closes makes edges live, and no node starts."""
    play = under("cancel_siblings", a={}, b={}, c={}, meet={"after": ["b", "c"]})
    play.fail("a")
    play.succeed("b")
    play.succeed("c")
    assert play.states() == {"a": "failed", "b": "succeeded", "c": "succeeded", "meet": "skipped"}


def test_rule_13_every_cancelled_node_says_why() -> None:
    """The cause names the sibling that failed, and how."""
    play = under("cancel_siblings", charge={}, b={}, c={"after": "b"})
    play.fail("charge", "http.402", title="No money.")
    play.stopped("b")
    assert play.instance("b").cause == play.instance("c").cause == "sibling `charge` failed: No money."


def test_rule_13_the_failure_names_its_node_and_attempts() -> None:
    """The execution's error is the node's, with where it happened and every attempt."""
    play = under("cancel_siblings", a={"retry": {"attempts": 2, "initial": "1s", "jitter": False}})
    play.fail("a", "x.one")
    play.pass_time(1)
    play.fail("a", "x.two")
    assert play.error is not None
    assert (play.error.code, play.error.node) == ("x.two", "a")
    assert [attempt["code"] for attempt in play.error.attempts] == ["x.one", "x.two"]
    assert [entry["code"] for entry in play.instance("a").failures] == ["x.one", "x.two"]


def test_rule_13_two_failures_in_one_batch_close_the_frame_once() -> None:
    """The first one in the journal counts; the second is a cancel, since the frame was closing when it came."""
    play = under("cancel_siblings", a={}, b={})
    play.take(play.result("b", outcome="failed"), play.result("a", outcome="failed"))
    assert play.states() == {"a": "cancelled", "b": "failed"}
    assert play.kinds().count("Departing") == 1


def test_rule_13_ignore_gives_null_downstream() -> None:
    """`nodes.x` of an ignored failure is null, and `incoming` too."""
    play = under("ignore", a={}, b={"after": "a", "with": {"a": "${ nodes.a }", "i": "${ incoming }"}})
    play.fail("a")
    assert play.value(play.runs()[1].params) == {"a": None, "i": None}


def test_rule_13_isolate_judges_the_end_only_at_rest() -> None:
    """A failed branch must not end the execution while another one is about to begin."""
    play = under("isolate", a={}, b={}, c={"after": "b"}, d={"after": "c"})
    play.fail("a")
    play.succeed("b")
    assert play.status == ""
    play.succeed("c")
    play.succeed("d")
    assert play.status == "failed"


def test_rule_31_the_first_departure_gives_the_status() -> None:
    """A cancel that arrives while a failure closes the execution changes nothing: it stays failed."""
    play = under("cancel_siblings", a={}, b={})
    play.fail("a", "x.first")
    play.operate("cancel")
    play.stopped("b")
    assert play.status == "failed"
    assert play.error is not None
    assert play.error.code == "x.first"


def test_rule_31_a_workflow_timeout_ends_what_drains() -> None:
    """A draining execution is stopped by its timeout; the status stays that of the failure."""
    play = Recording({**effects(a={}, b={}), "settings": {"on_failure": "drain", "timeout": "1h"}})
    play.start()
    play.fail("a", "x.first")
    play.pass_time(3_600)
    assert [stop.token.node for stop in play.stops()] == ["b"]
    play.stopped("b")
    assert play.status == "failed"


def test_rule_38_a_second_cancel_changes_nothing() -> None:
    """The first one counts, with who and why."""
    play = under("cancel_siblings", a={}, b={})
    play.operate("cancel", reason="too late")
    before = len(play.facts)
    play.operate("cancel", reason="again")
    assert len(play.facts) == before
    departure = play.frame().departure
    assert departure is not None
    assert departure.cause == "cancelled by operator: too late"


def test_rule_37_terminate_waits_for_nobody() -> None:
    """Everything is asked to stop, and the execution is cancelled at once; later answers are late."""
    play = under("cancel_siblings", a={}, b={}, c={"after": "a"})
    play.operate("terminate")
    assert play.status == "cancelled"
    assert sorted(stop.token.node for stop in play.stops()) == ["a", "b"]
    assert play.kinds(play.succeed("a", 1)) == ["Late a"]
    assert play.status == "cancelled"


def test_rule_37_terminate_ends_a_cancel_that_hangs() -> None:
    """A node that does not stop holds a cancel up; terminate ends that."""
    play = under("cancel_siblings", a={})
    play.operate("cancel")
    assert play.status == ""
    play.operate("terminate")
    assert play.status == "cancelled"


def test_rule_1_a_cancelled_execution_runs_nothing_more() -> None:
    """Everything not started is skipped, waits and backoffs end at once, running attempts are asked to stop."""
    play = under(
        "cancel_siblings", a={}, b={"retry": {"attempts": 3}}, w={"type": "delay", "for": "1h"}, c={"after": "a"},
        s={"type": "wait_for_signal", "signal": "ok"},
    )  # fmt: skip
    play.fail("b")
    play.operate("cancel", reason="enough")
    assert play.states() == {"a": "running", "b": "cancelled", "w": "cancelled", "c": "skipped", "s": "cancelled"}
    play.stopped("a")
    assert play.status == "cancelled"
    assert play.index.next_due(play.execution) is None


def test_rule_33_one_sink_gives_its_output() -> None:
    """Without `output:` and with one node that nothing comes after, that node's output is the workflow's."""
    play = under("cancel_siblings", a={}, b={"after": "a"})
    play.succeed("a", 1)
    play.succeed("b", {"b": 2})
    assert play.output == {"b": 2}


def test_rule_33_several_sinks_give_an_object_of_those_that_succeeded() -> None:
    """By id, in declaration order; what was skipped or failed is left out."""
    play = under("collect", a={}, b={"after": "a"}, c={"after": "a"}, d={"after": "a", "when": "${ false }"})
    play.succeed("a")
    play.fail("c")
    play.succeed("b", 2)
    assert play.status == "succeeded"
    assert play.output == {"b": 2}


def test_rule_33_one_sink_that_was_skipped_gives_null() -> None:
    """The one sink did not run: there is no output."""
    play = under("cancel_siblings", a={}, b={"after": "a", "when": "${ false }"})
    play.succeed("a", 1)
    assert play.status == "succeeded"
    assert play.output is None


def test_rule_33_an_output_that_cannot_be_evaluated_fails_the_execution() -> None:
    """An error in `output:` is no silent null."""
    play = Recording({**effects(a={}), "output": "${ nodes.a.missing }"})
    play.start()
    play.succeed("a", {})
    assert play.status == "failed"
    assert play.error is not None
    assert play.error.code == "expression.missing"
    assert "output" in play.error.detail
