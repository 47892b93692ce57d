"""Parking: a failure that nobody handles is kept for a person, who retries, completes or fails the node (rule 14)."""

from __future__ import annotations

from typing import Any

import pytest
from recording import SECOND, Recording

from perdure.engine import events
from perdure.testing.rehearsal import effects


def parked(policy: str = "cancel_siblings", /, **more: Any) -> Recording:
    """A workflow whose node `a` is parked while `b` runs; `c` comes after `a`."""
    nodes: dict[str, Any] = {"a": {"park": True, "with": {"n": "${ input }"}}, "b": {}, "c": {"after": "a"}}
    nodes["a"].update(more)
    play = Recording({**effects(**nodes), "settings": {"on_failure": policy}})
    play.start(1)
    play.fail("a", "x.first", title="It broke.")
    return play


@pytest.mark.parametrize("policy", ["cancel_siblings", "drain", "isolate"])
def test_rule_14_a_parked_node_stays_and_siblings_go_on(policy: str) -> None:
    """Its edges are not resolved, the frame is not left, what is beside it ends as it would."""
    play = parked(policy)
    assert play.states() == {"a": "parked", "b": "running", "c": "pending"}
    play.succeed("b")
    assert play.states() == {"a": "parked", "b": "succeeded", "c": "pending"}
    assert play.status == ""
    assert play.index.parked == 1


def test_rule_14_a_node_parks_after_its_retries() -> None:
    """People are asked when no attempt is left."""
    play = parked(retry={"attempts": 2, "initial": "1s"})
    assert play.state("a") == "waiting"
    play.pass_time(2)
    play.fail("a", "x.second")
    assert play.state("a") == "parked"
    error = play.instance("a").error
    assert error is not None
    assert error.code == "x.second"


def test_rule_14_an_edge_comes_before_people() -> None:
    """A failure that an edge handles is never parked."""
    play = Recording(effects(a={"park": True}, mend={"after": "a.error"}))
    play.start()
    play.fail("a")
    assert play.states() == {"a": "failed", "mend": "running"}


@pytest.mark.parametrize("workflow, node, state", [(True, None, "parked"), (True, False, "failed"), (False, True, "parked")])
def test_rule_14_the_workflow_says_it_for_all_and_a_node_for_itself(workflow: bool, node: bool | None, state: str) -> None:
    """`park` of the node overrules that of the workflow, in both directions."""
    own = {} if node is None else {"park": node}
    play = Recording({**effects(a=own), "settings": {"park": workflow}})
    play.start()
    play.fail("a")
    assert play.state("a") == state


def test_rule_14_retry_with_the_same_input() -> None:
    """A further attempt with the journaled parameters and the same effect key (rule 50)."""
    play = parked()
    play.operate("retry", "a")
    first, _, again = play.runs()
    assert (again.token.node, again.token.attempt) == ("a", 2)
    assert (again.key, again.params) == (first.key, first.params)
    play.succeed("a", "ok")
    assert play.states() == {"a": "succeeded", "b": "running", "c": "running"}


def test_rule_14_retry_with_a_new_input() -> None:
    """Other parameters are another effect: a new generation, and so a new key (rule 50)."""
    play = parked()
    play.operate("retry", "a", value=play.encoded({"n": 2}))
    first, _, again = play.runs()
    assert play.value(again.params) == {"n": 2}
    assert again.key != first.key
    play.fail("a")
    play.operate("retry", "a")
    assert play.runs()[-1].key == again.key
    assert play.value(play.runs()[-1].params) == {"n": 2}


def test_rule_14_a_retry_has_its_policies_as_they_are_used_up() -> None:
    """An operator's retry is one attempt; when it fails, the node parks again."""
    play = parked()
    play.operate("retry", "a")
    play.fail("a", "x.second")
    assert play.state("a") == "parked"
    assert [entry["code"] for entry in play.instance("a").failures] == []
    assert play.instance("a").attempt == 2


def test_rule_14_complete_with_an_output() -> None:
    """The operator's output is the node's, with who gave it; what comes after it runs."""
    play = parked()
    play.operate("complete", "a", value=play.encoded({"done": "by hand"}))
    assert play.states() == {"a": "succeeded", "b": "running", "c": "running"}
    assert play.node_output("a") == {"done": "by hand"}
    (done,) = [fact for fact in play.facts if isinstance(fact, events.Done)]
    assert done.by == "operator"


def test_rule_14_complete_without_an_output() -> None:
    """Then it is null."""
    play = parked()
    play.operate("complete", "a")
    assert play.node_output("a") is None
    assert play.state("c") == "running"


@pytest.mark.parametrize("policy, status", [("cancel_siblings", "failed"), ("isolate", "failed")])
def test_rule_14_fail_lets_the_policy_speak(policy: str, status: str) -> None:
    """The operator lets it fail: now its edges resolve, by rule 13, with the first failure as the reason."""
    play = parked(policy)
    play.operate("fail", "a")
    assert play.states()["a"] == "failed"
    assert play.states()["c"] == "skipped"
    play.stopped("b") if policy == "cancel_siblings" else play.succeed("b")
    assert play.status == status
    assert play.error is not None
    assert (play.error.code, play.error.title) == ("x.first", "It broke.")


def test_rule_14_an_operator_for_a_node_that_is_not_parked_is_late() -> None:
    """What has been answered, runs or waits takes no operator's answer."""
    play = parked()
    for action in ("retry", "complete", "fail"):
        assert play.kinds(play.operate(action, "b")) == ["Late b"]
        assert play.kinds(play.operate(action, "nowhere")) == ["Late nowhere"]
    play.operate("complete", "a")
    assert play.kinds(play.operate("fail", "a")) == ["Late a"]
    assert play.state("a") == "succeeded"


def test_rule_14_deadlines_hold() -> None:
    """A parked node whose deadline passes has failed: there is no time left in which anybody could mend it."""
    play = parked(deadline="1h")
    play.pass_time(3_599)
    assert play.state("a") == "parked"
    play.pass_time(1)
    assert play.state("a") == "failed"
    play.stopped("b")
    assert play.error is not None
    assert play.error.code == "timeout.deadline"
    assert play.error.cause is not None
    assert play.error.cause.code == "x.first"


def test_rule_14_a_failure_by_deadline_is_not_parked() -> None:
    """The time for all attempts together is over; asking for one more makes no sense."""
    play = Recording(effects(a={"park": True, "deadline": "1m"}))
    play.start()
    play.pass_time(60)
    play.stopped("a")
    assert play.state("a") == "failed"


def test_rule_14_an_attempts_timeout_is_parked() -> None:
    """The timeout of one attempt is a failure like others."""
    play = parked()
    play.operate("retry", "a")
    play.fail("a", "timeout", category="timeout")
    assert play.state("a") == "parked"


def test_rule_14_a_cancel_ends_what_is_parked() -> None:
    """It is cancelled at once, since nothing of it runs."""
    play = parked()
    play.operate("cancel")
    play.stopped("b")
    assert play.states() == {"a": "cancelled", "b": "cancelled", "c": "skipped"}
    assert play.status == "cancelled"


def test_rule_14_the_workflows_timeout_ends_what_is_parked() -> None:
    """The workflow's time holds while people are asked."""
    play = Recording({**effects(a={"park": True}), "settings": {"timeout": "1h"}})
    play.start()
    play.fail("a")
    play.pass_time(3_600)
    assert play.status == "timed_out"


def test_rule_14_a_pure_node_parks_and_is_entered_again() -> None:
    """Its expression is evaluated anew, since it never had an attempt."""
    document = {
        "perdure": 1, "name": "w", "vars": {"rate": None}, "settings": {"park": True},
        "nodes": {
            "t": {"type": "transform", "to": "${ 2 * vars.rate }"},
            "s": {"type": "wait_for_signal", "signal": "rate"},
            "set": {"type": "set_variable", "after": "s", "set": {"rate": "${ nodes.s }"}},
        },
    }  # fmt: skip
    play = Recording(document)
    play.start()
    assert play.state("t") == "parked"
    play.operate("retry", "t")
    assert play.state("t") == "parked"
    play.signal("rate", 21)
    play.operate("retry", "t")
    assert play.node_output("t") == 42


def test_rule_14_parameters_that_cannot_be_evaluated_are_replaced_by_an_operator() -> None:
    """The node parked before its first attempt: a new input is that attempt's, under the node's first key."""
    play = Recording(effects(a={"park": True, "with": {"n": "${ input.missing }"}}))
    play.start({})
    assert play.state("a") == "parked"
    play.operate("retry", "a", value=play.encoded({"n": 3}))
    (run,) = play.runs()
    assert play.value(run.params) == {"n": 3}
    assert run.token.attempt == 1
    play.crash()
    assert play.runs()[-1] == run


def test_rule_14_an_evaluation_outside_the_step_is_repeated_outside() -> None:
    """A pure node that failed in a process and was parked is evaluated there again, not run as an effect."""
    document = {
        "perdure": 1, "name": "w", "settings": {"park": True}, "vars": {"divisor": 0},
        "nodes": {
            "m": {"type": "map", "over": "${ input }", "to": "${ item / vars.divisor }"},
            "s": {"type": "wait_for_signal", "signal": "go"},
            "set": {"type": "set_variable", "after": "s", "set": {"divisor": 2}},
        },
    }  # fmt: skip
    play = Recording(document)
    play.start([2] * 30_000)
    assert play.state("m") == "parked"
    play.signal("go")
    play.operate("retry", "m")
    assert play.runs() == []
    assert play.node_output("m") == [1.0] * 30_000


def test_rule_14_crashes_are_counted_anew_after_an_operators_retry() -> None:
    """A node that killed its workers and was parked has its three lives again when a person retries it."""
    play = Recording(effects(a={"park": True}))
    play.start()
    for _ in range(3):
        play.crash()
    assert play.state("a") == "parked"
    play.operate("retry", "a")
    play.crash()
    play.crash()
    assert play.state("a") == "running"
    play.crash()
    assert play.state("a") == "parked"


def test_rule_14_an_operators_retry_keeps_what_is_left_of_the_deadline() -> None:
    """The deadline runs from ready and holds over the parking."""
    play = Recording(effects(a={"park": True, "deadline": "1h"}))
    play.start()
    play.pass_time(1_800)
    play.fail("a")
    play.pass_time(900)
    play.operate("retry", "a")
    assert play.instance("a").deadline_at == play.now + 900 * SECOND
    play.pass_time(900)
    assert [stop.token.attempt for stop in play.stops()] == [2]


def test_rule_14_a_parked_node_survives_a_crash() -> None:
    """It is in the state: a new home finds it parked, and answers are taken as before."""
    play = parked()
    play.crash()
    assert play.state("a") == "parked"
    play.operate("complete", "a", value=play.encoded(5))
    assert play.node_output("a") == 5
