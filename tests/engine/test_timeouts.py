"""Limits in time: of attempts, of nodes, of waits, of the workflow (rules 43, 44, 46)."""

from __future__ import annotations

from typing import Any

import pytest
from recording import SECOND, Recording

from perdure.engine import events
from perdure.engine.execution import WAITING
from perdure.errors import Failure
from perdure.ids import ExecutionId, child_id
from perdure.testing.rehearsal import BEGIN, EXECUTION, effects


def started(input: Any = None, /, **nodes: Any) -> Recording:
    """A started rehearsal of effects."""
    play = Recording(effects(**nodes))
    play.start(input)
    return play


# -- limits of attempts: measured by the worker ---------------------------------------------------------------------------


def test_rule_43_the_limits_of_an_attempt_go_with_the_command() -> None:
    """`timeout`, `queue_timeout`, `heartbeat` and `grace` are kept by whoever runs the attempt; each may be an expression."""
    play = started(
        {"beat": "7s"}, a={"timeout": "10s", "queue_timeout": "1m", "heartbeat": "${ input.beat }", "grace": 3},
    )  # fmt: skip
    (run,) = play.runs()
    assert (run.timeout, run.queue_timeout, run.heartbeat, run.grace) == (10 * SECOND, 60 * SECOND, 7 * SECOND, 3 * SECOND)
    assert run.ready == BEGIN


def test_rule_43_every_attempt_has_its_own_timeout() -> None:
    """A retry starts with the whole of it again, while the moment it became ready stays."""
    play = started(a={"timeout": "10s", "queue_timeout": "1m", "retry": {"attempts": 2, "initial": "1s"}})
    play.fail("a", "timeout", category="timeout")
    play.pass_time(5)
    first, second = play.runs()
    assert (second.timeout, second.queue_timeout, second.ready) == (first.timeout, first.queue_timeout, first.ready)


@pytest.mark.parametrize("key", ["timeout", "queue_timeout", "heartbeat", "grace", "deadline"])
@pytest.mark.parametrize("value", ["soon", -1, None, True, [1], "10 parsecs"])
def test_rule_43_what_is_no_duration_fails_the_node(key: str, value: Any) -> None:
    """An expression that gives no duration is a failure of the node, before anything has started."""
    play = started(value, a={key: "${ input }"})
    assert play.status == "failed"
    assert play.error is not None
    assert play.error.code == "duration.invalid"
    assert play.runs() == []


def test_rule_43_true_is_no_duration_although_it_equals_one() -> None:
    """What a duration is does not depend on what was asked before."""
    for value, status in ((1, ""), (True, "failed"), (1.0, ""), (True, "failed")):
        assert started(value, a={"timeout": "${ input }"}).status == status


@pytest.mark.parametrize("edge, port", [({"e": {"after": "a.timeout"}}, "timeout"), ({"e": {"after": "a.error"}}, "error")])
def test_rule_43_a_timeout_goes_to_its_edges(edge: dict[str, Any], port: str) -> None:
    """`timeout` takes it, else `error`."""
    play = started(a={"timeout": "10s"}, **edge)
    play.fail("a", "timeout", category="timeout")
    assert play.instance("a").ports == (port,)
    assert play.state("e") == "running"


# -- deadline: kept by the engine -----------------------------------------------------------------------------------------


def test_rule_43_a_deadline_stops_what_runs() -> None:
    """When it passes, the attempt is asked to stop, and then the node fails with `timeout.deadline`."""
    play = started(a={"deadline": "1m", "retry": {"attempts": 9}})
    play.pass_time(59.999999)
    assert play.stops() == []
    play.pass_time(0.000001)
    assert [stop.token.node for stop in play.stops()] == ["a"]
    assert play.status == ""
    play.stopped("a")
    assert play.status == "failed"
    assert play.error is not None
    assert (play.error.code, play.error.category) == ("timeout.deadline", "timeout")


def test_rule_43_a_deadline_is_asked_once() -> None:
    """While the attempt takes its time to stop, nothing more falls due."""
    play = started(a={"deadline": "1m"})
    play.pass_time(3_600)
    assert len(play.stops()) == 1
    assert play.index.next_due(play.execution) is None


def test_rule_43_success_before_the_stop_counts() -> None:
    """What reports success before it has stopped has succeeded (rule 12), and what comes after it runs."""
    play = started(a={"deadline": "1m"}, b={"after": "a"})
    play.pass_time(60)
    play.succeed("a", "just in time")
    assert play.states() == {"a": "succeeded", "b": "running"}


def test_rule_43_a_failure_after_the_deadline_is_the_deadlines() -> None:
    """However the attempt ends once it was asked to stop: the node failed in time, with that end as its cause."""
    play = started(a={"deadline": "1m", "retry": {"attempts": 9}})
    play.pass_time(60)
    play.fail("a", "x.first")
    assert play.error is not None
    assert play.error.code == "timeout.deadline"
    assert play.error.cause is not None
    assert play.error.cause.code == "x.first"


def test_rule_43_a_deadline_runs_over_attempts_and_backoffs() -> None:
    """It runs from ready: the second attempt has what is left of it."""
    play = started(a={"deadline": "1m", "retry": {"attempts": 9, "initial": "20s", "backoff": "fixed", "jitter": False}})
    play.fail("a")
    play.pass_time(20)
    play.pass_time(20)
    play.fail("a", "x.second")
    assert play.state("a") == "failed"
    assert play.error is not None
    assert play.error.code == "x.second"


@pytest.mark.parametrize("wait, waits", [("29s", True), ("30s", False), ("31s", False)])
def test_rule_43_a_backoff_that_would_end_after_the_deadline_is_not_waited_for(wait: str, waits: bool) -> None:
    """The failure is for good at once; a backoff that ends exactly with the deadline is of no use either."""
    play = started(a={"deadline": "30s", "retry": {"initial": wait, "backoff": "fixed", "jitter": False}})
    play.fail("a")
    assert play.state("a") == ("waiting" if waits else "failed")


def test_rule_43_the_timeout_edge_takes_a_deadline() -> None:
    """A deadline is a timeout: its edge, or a catch that names it."""
    play = started(a={"deadline": "1m", "catch": [{"on": "timeout.deadline", "to": "late"}]}, late={"after": "a.late"})
    play.pass_time(60)
    play.stopped("a")
    assert play.state("late") == "running"


def test_rule_43_a_cancel_after_the_deadline_is_a_cancel() -> None:
    """The frame closes before the attempt has stopped: the node is cancelled."""
    play = started(a={"deadline": "1m"})
    play.pass_time(60)
    play.operate("cancel")
    play.stopped("a")
    assert play.state("a") == "cancelled"
    assert play.status == "cancelled"


def test_rule_43_a_deadline_of_a_deferred_node() -> None:
    """While a node waits for its later answer, its deadline holds."""
    play = started(a={"deadline": "1m"})
    play.take(play.result("a", outcome="deferred"))
    play.pass_time(60)
    assert play.error is not None
    assert play.error.code == "timeout.deadline"


def test_rule_43_a_deadline_of_a_wait() -> None:
    """Waits have deadlines as every node; nothing has to be stopped."""
    for wait in ({"type": "delay", "for": "1h"}, {"type": "wait_for_signal", "signal": "ok"}):
        play = started(a={**wait, "deadline": "1m"})
        play.pass_time(60)
        assert play.status == "failed"
        assert play.error is not None
        assert play.error.code == "timeout.deadline"


def test_rule_43_a_deadline_of_an_evaluation_outside_the_step() -> None:
    """A pure node that is evaluated elsewhere is stopped by its deadline too."""
    play = Recording(
        {"perdure": 1, "name": "w", "nodes": {"m": {"type": "map", "over": "${ input }", "to": "${ item }", "deadline": "5s"}}}
    )
    play.start(list(range(20_000)))
    (scheduled,) = [fact for fact in play.facts if isinstance(fact, events.Scheduled)]
    assert scheduled.pure
    assert scheduled.deadline_at == BEGIN + 5 * SECOND


# -- a deferred node's timeout --------------------------------------------------------------------------------------------


def test_rule_43_the_timeout_of_a_deferred_node_runs_from_the_attempts_start() -> None:
    """A node that answers later has what is left of its timeout, and fails as an attempt does."""
    play = started(a={"timeout": "1m", "retry": {"attempts": 2, "initial": "1s", "jitter": False}})
    begun = play.now
    play.pass_time(20)
    play.take(play.result("a", outcome="deferred", started=begun))
    play.pass_time(39)
    assert play.instance("a").state == WAITING
    play.pass_time(2)
    assert play.states() == {"a": "running"}
    assert play.instance("a").attempt == 2


def test_a_deferred_node_is_completed_by_its_token() -> None:
    """Whoever holds the token answers, once; the output is what they say (day-one 15)."""
    play = started(a={}, b={"after": "a"})
    token = play.result("a").token
    play.take(play.result("a", outcome="deferred"))
    assert play.state("a") == "waiting"
    play.take(events.Complete(token=token, output=play.encoded({"yes": True}), by="ada"))
    assert play.node_output("a") == {"yes": True}
    assert play.state("b") == "running"
    assert play.kinds(play.take(events.Complete(token=token, output=play.encoded(2)))) == ["Late a"]
    assert play.node_output("a") == {"yes": True}


def test_a_deferred_node_may_fail_by_its_token() -> None:
    """The later answer may be a failure; it is retried as any other, and an old token is late."""
    play = started(a={"retry": {"attempts": 2, "initial": "1s"}})
    token = play.result("a").token
    play.take(play.result("a", outcome="deferred"))
    play.take(events.Complete(token=token, error=Failure(code="x.no", title="no")))
    assert play.state("a") == "waiting"
    play.pass_time(2)
    assert play.instance("a").attempt == 2
    assert play.kinds(play.take(events.Complete(token=token))) == ["Late a"]


def test_a_completion_may_overtake_the_report_that_it_will_come() -> None:
    """Whoever was given the token can be quicker than the node that gave it: the answer counts, the report is late."""
    play = started(a={}, b={"after": "a"})
    deferred = play.result("a", outcome="deferred")
    play.take(events.Complete(token=deferred.token, output=play.encoded("quick")))
    assert play.node_output("a") == "quick"
    assert play.kinds(play.take(deferred)) == ["Late a"]
    assert play.state("b") == "running"


def test_a_completion_that_nobody_waits_for_is_late() -> None:
    """A node in backoff, a wait and a node that does not exist take no answers."""
    play = started(a={"retry": {"initial": "1m"}}, w={"type": "delay", "for": "1m"}, c={"after": "w"})
    token = play.result("a").token
    play.fail("a")
    for given in (token, play.result("w").token, events.Token(node="c"), events.Token(frame="nowhere", node="x")):
        assert [type(fact) for fact in play.take(events.Complete(token=given))] == [events.Late]
    assert play.states() == {"a": "waiting", "w": "waiting", "c": "pending"}


# -- waits ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "duration, seconds", [("10s", 10), ("5m", 300), ("PT2H", 7_200), (1.5, 1.5), ("3d", 259_200), ("0s", 0)]
)
def test_a_delay_ends_at_its_time(duration: Any, seconds: float) -> None:
    """Not before, and holding no slot."""
    play = started(a={"type": "delay", "for": duration}, b={"after": "a"})
    assert play.instance("a").due == BEGIN + round(seconds * SECOND)
    assert play.index.running == 0
    play.pass_time(seconds)
    assert play.state("b") == "running"


@pytest.mark.parametrize("wait", [{"type": "wait_for_signal", "signal": "ok"}, {"type": "delay", "for": "1d"}])
@pytest.mark.parametrize(
    "on_timeout, state, ports",
    [("continue", "succeeded", ("out",)), ("route", "succeeded", ("timeout",)), ("fail", "failed", ()), (None, "failed", ())],
)
def test_rule_46_what_a_wait_does_on_timeout(
    wait: dict[str, Any], on_timeout: str | None, state: str, ports: tuple[str, ...]
) -> None:  # fmt: skip
    """`continue` goes on by `out`, `route` by `timeout`, both with `{timed_out: true}`; `fail`, the default, fails."""
    node = {**wait, "timeout": "1m", **({"on_timeout": on_timeout} if on_timeout else {})}
    play = started(a=node, route={"after": "a.timeout"} if on_timeout == "route" else {})
    play.pass_time(60)
    assert play.state("a") == state
    assert play.instance("a").ports == ports
    if state == "succeeded":
        assert play.node_output("a") == {"timed_out": True}
    else:
        error = play.instance("a").error
        assert error is not None
        assert (error.code, error.category) == ("timeout.wait", "timeout")


def test_rule_46_a_failed_wait_goes_to_its_timeout_edge() -> None:
    """With `on_timeout: fail` and a `timeout` edge, the failure leaves there, with the error bound."""
    play = started(
        a={"type": "wait_for_signal", "signal": "ok", "timeout": "1m"},
        late={"after": "a.timeout", "with": {"code": "${ error.code }"}},
    )  # fmt: skip
    play.pass_time(60)
    assert play.state("a") == "failed"
    assert play.value(play.runs()[0].params) == {"code": "timeout.wait"}


# -- the workflow ---------------------------------------------------------------------------------------------------------


def timed(on_timeout: Any = None, /, **more: Any) -> Recording:
    """A started workflow with a timeout of an hour."""
    settings = {"timeout": "1h", **({"on_timeout": on_timeout} if on_timeout else {}), **more}
    play = Recording({**effects(a={}, b={"after": "a"}, w={"type": "delay", "for": "2h"}), "settings": settings})
    play.start({"n": 1}, attempt=1)
    return play


def test_rule_44_the_workflows_timeout_runs_from_its_first_step() -> None:
    """By the wall clock: what runs is stopped, what waits is cancelled, what has not started is skipped; then `timed_out`."""
    play = timed()
    play.pass_time(3_599)
    assert play.status == ""
    play.pass_time(1)
    assert play.states() == {"a": "running", "b": "skipped", "w": "cancelled"}
    assert [stop.reason for stop in play.stops()] == ["the workflow's timeout passed"]
    play.stopped("a")
    assert play.status == "timed_out"
    assert play.error is not None
    assert (play.error.code, play.error.category) == ("timeout.workflow", "timeout")


def test_rule_44_a_late_success_does_not_undo_a_timeout() -> None:
    """The attempt succeeded; the workflow has timed out all the same."""
    play = timed()
    play.pass_time(3_600)
    play.succeed("a", 1)
    assert play.state("a") == "succeeded"
    assert play.status == "timed_out"


def test_rule_44_terminate_waits_for_nobody() -> None:
    """`on_timeout: terminate` ends at once."""
    play = timed("terminate")
    play.pass_time(3_600)
    assert play.status == "timed_out"
    assert [stop.token.node for stop in play.stops()] == ["a"]


def test_rule_44_route_starts_the_named_workflow() -> None:
    """With what timed out and its input, under a derived id, so that asking twice starts one."""
    play = timed({"route": "late-orders"})
    play.pass_time(3_600)
    play.stopped("a")
    assert play.status == "timed_out"
    (spawned,) = [fact for fact in play.facts if isinstance(fact, events.Spawned)]
    assert (spawned.relation, spawned.workflow) == ("route", "late-orders")
    given = play.value(spawned.input)
    assert given["input"] == {"n": 1}
    assert given["execution"]["workflow"] == "w"
    assert spawned.execution == child_id(play.now, ExecutionId(EXECUTION), "on_timeout", 1, 0)


@pytest.mark.parametrize("attempt, attempts, again", [(1, 3, 2), (2, 3, 3), (3, 3, None), (1, 1, None)])
def test_rule_44_retry_starts_a_new_execution_within_its_attempts(attempt: int, attempts: int, again: int | None) -> None:
    """`on_timeout: retry`: a new execution of the same definition, as often as `settings.retry.attempts` allows."""
    settings = {"timeout": "1h", "on_timeout": "retry", "retry": {"attempts": attempts}}
    play = Recording({**effects(a={}), "settings": settings})
    play.start({"n": 1}, attempt=attempt)
    play.pass_time(3_600)
    play.stopped("a")
    assert play.status == "timed_out"
    spawned = [fact for fact in play.facts if isinstance(fact, events.Spawned)]
    assert [fact.attempt for fact in spawned] == ([] if again is None else [again])
    assert all((fact.relation, fact.workflow, play.value(fact.input)) == ("retry", "", {"n": 1}) for fact in spawned)


def test_rule_44_a_soft_timeout_only_reports() -> None:
    """Once, for people and alerts; nothing stops."""
    play = Recording({**effects(a={}), "settings": {"soft_timeout": "10m"}})
    play.start()
    assert play.kinds(play.pass_time(601)) == ["SoftTimedOut"]
    assert play.kinds(play.pass_time(6_000)) == []
    play.succeed("a")
    assert play.status == "succeeded"


def test_rule_44_the_timeout_may_be_an_expression() -> None:
    """It sees the input, since there is nothing else yet."""
    play = Recording({**effects(a={}), "settings": {"timeout": "${ input.limit }"}})
    play.start({"limit": "10s"})
    play.pass_time(10)
    play.stopped("a")
    assert play.status == "timed_out"


@pytest.mark.parametrize(
    "limit, code", [("soon", "duration.invalid"), (None, "duration.invalid"), ("missing", "expression.missing")]
)
def test_rule_44_a_timeout_that_is_none_fails_the_execution(limit: Any, code: str) -> None:
    """It started, and failed before any node ran; the reason says where."""
    play = Recording({**effects(a={}), "settings": {"timeout": "${ input.limit }"}})
    play.start({} if limit == "missing" else {"limit": limit})
    assert play.status == "failed"
    assert play.error is not None
    assert play.error.code == code
    assert play.runs() == []


def test_rule_44_an_execution_that_ended_does_not_time_out() -> None:
    """Nothing is due any more."""
    play = Recording({**effects(a={}), "settings": {"timeout": "1h", "soft_timeout": "10m"}})
    play.start()
    play.succeed("a")
    assert play.index.next_due(play.execution) is None
    assert play.pass_time(7_200) == []
    assert play.status == "succeeded"


def test_rule_44_a_timeout_while_cancelling_changes_nothing() -> None:
    """The first departure gives the status (rule 31)."""
    play = timed()
    play.operate("cancel")
    assert play.pass_time(3_600) == []
    play.stopped("a")
    assert play.status == "cancelled"


def test_timers_of_one_moment_fire_by_path() -> None:
    """Rule 2: timers by due time, then by path."""
    play = started(z={"type": "delay", "for": "1s"}, a={"type": "delay", "for": "1s"}, m={"type": "delay", "for": "1s"})
    play.pass_time(1)
    assert [fact.node for fact in play.facts if isinstance(fact, events.Done)] == ["a", "m", "z"]


def test_a_timer_that_was_armed_by_several_facts_fires_once() -> None:
    """The deadline of a node that deferred is one timer, though two facts speak of it."""
    play = started(a={"deadline": "1m"})
    play.take(play.result("a", outcome="deferred"))
    play.now += 60 * SECOND
    assert [(timer.kind, timer.node) for timer in play.index.take_due(play.execution, play.now)] == [("deadline", "a")]
