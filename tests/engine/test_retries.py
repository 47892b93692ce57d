"""Retries: what is tried again, how often, and when (rule 42)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import SECOND, Recording

from perdure.engine import events
from perdure.testing.rehearsal import effects

PLAIN = {"backoff": "fixed", "initial": "10s", "jitter": False}


def retrying(*policies: dict[str, Any], **more: Any) -> Recording:
    """A started rehearsal of one effect with these policies."""
    play = Recording(effects(a={"retry": list(policies), **more}))
    play.start()
    return play


def waits_of(play: Recording, *, failures: int, code: str = "x.first", **failure: Any) -> list[float]:
    """Fail the node so often; the seconds of each backoff."""
    waits = []
    for _ in range(failures):
        play.fail("a", code, **failure)
        due = play.index.next_due(play.execution)
        if due is None:
            break
        waits.append((due - play.now) / SECOND)
        play.pass_time((due - play.now) / SECOND)
    return waits


@pytest.mark.parametrize("attempts", [1, 2, 3, 5])
def test_rule_42_attempts_counts_the_first_one(attempts: int) -> None:
    """With `attempts: 3` there are three attempts in all."""
    play = retrying({**PLAIN, "attempts": attempts})
    assert waits_of(play, failures=attempts + 3) == [10.0] * (attempts - 1)
    assert play.status == "failed"
    assert [run.token.attempt for run in play.runs()] == list(range(1, attempts + 1))


def test_rule_42_without_a_policy_nothing_is_tried_again() -> None:
    """The first failure is the node's end."""
    play = Recording(effects(a={}))
    play.start()
    play.fail("a")
    assert play.status == "failed"
    assert len(play.runs()) == 1


@pytest.mark.parametrize(
    "policy, waits",
    [
        ({"backoff": "fixed", "initial": "2s"}, [2, 2, 2, 2, 2]),
        ({"backoff": "linear", "initial": "2s"}, [2, 4, 6, 8, 10]),
        ({"backoff": "exponential", "initial": "2s"}, [2, 4, 8, 16, 32]),
        ({"backoff": "exponential", "initial": "1s", "factor": 3}, [1, 3, 9, 27, 81]),
        ({"backoff": "exponential", "initial": "1s", "factor": 1.5}, [1, 1.5, 2.25, 3.375, 5.0625]),
        ({"backoff": "exponential", "initial": "2s", "max": "10s"}, [2, 4, 8, 10, 10]),
        ({"backoff": "linear", "initial": "20s", "max": "50s"}, [20, 40, 50, 50, 50]),
        ({"initial": "1m"}, [60, 120, 240, 300, 300]),
    ],
)
def test_rule_42_the_backoff(policy: dict[str, Any], waits: list[float]) -> None:
    """Fixed, linear and exponential with a factor, never longer than `max`; exponential up to five minutes is the default."""
    assert waits_of(retrying({**policy, "jitter": False, "attempts": 6}), failures=5) == waits


def test_rule_42_an_exponential_backoff_has_no_end_that_overflows() -> None:
    """The hundredth attempt waits for `max` and not for 2 to the hundredth seconds."""
    assert waits_of(retrying({"attempts": 200, "max": "1h", "jitter": False}), failures=100)[-1] == 3_600


@settings(max_examples=30, derandomize=True, deadline=None)
@given(initial=st.integers(1, 3_600), attempts=st.integers(2, 6))
def test_rule_42_jitter_lies_between_half_and_the_whole(initial: int, attempts: int) -> None:
    """It spreads retries out, and is the same whenever the step is repeated."""
    policy = {"attempts": attempts, "backoff": "fixed", "initial": initial, "max": initial}
    waits = waits_of(retrying(policy), failures=attempts - 1)
    assert all(initial / 2 <= wait <= initial for wait in waits)
    assert waits == waits_of(retrying(policy), failures=attempts - 1)


def test_rule_42_jitter_differs_from_node_to_node() -> None:
    """Nodes that fail together do not come back together."""
    play = Recording(effects(a={"retry": {"initial": "1m"}}, b={"retry": {"initial": "1m"}}))
    play.start()
    play.fail("a")
    play.fail("b")
    assert play.instance("a").due != play.instance("b").due


@pytest.mark.parametrize(
    "code, category, fields, again",
    [
        ("x.any", "technical", {}, True),
        ("timeout", "timeout", {}, True),
        ("timeout.heartbeat", "timeout", {}, True),
        ("timeout.queue", "timeout", {}, False),
        ("order.empty", "business", {}, False),
        ("expression.missing", "validation", {}, False),
        ("child.cancelled", "cancelled", {}, False),
        ("x.any", "technical", {"retryable": False}, False),
        ("timeout", "timeout", {"retryable": False}, False),
        ("order.locked", "business", {"retryable": True}, True),
        ("timeout.queue", "timeout", {"retryable": True}, True),
    ],
)
def test_rule_42_what_is_retried_by_default(code: str, category: Any, fields: dict[str, Any], again: bool) -> None:
    """Technical failures, and timeouts of an attempt or its heartbeat; the failure's own word comes first."""
    play = retrying({"attempts": 3})
    play.fail("a", code, category=category, **fields)
    assert play.state("a") == ("waiting" if again else "failed")


@pytest.mark.parametrize(
    "policy, code, category, fields, again",
    [
        ({"on": ["http.5xx"]}, "http.503", "technical", {}, True),
        ({"on": ["http.5xx"]}, "http.404", "technical", {}, False),
        ({"on": ["http.5xx"]}, "x.any", "technical", {}, False),
        ({"on": ["business"]}, "order.empty", "business", {}, True),
        ({"on": ["timeout"]}, "timeout.queue", "timeout", {}, True),
        ({"on": ["*"]}, "order.empty", "business", {}, True),
        ({"on": ["*"]}, "order.empty", "business", {"retryable": False}, False),
        ({"not_on": ["http.409"]}, "http.409", "technical", {}, False),
        ({"not_on": ["http.409"]}, "http.500", "technical", {}, True),
        ({"not_on": ["http.409"]}, "order.empty", "business", {}, False),
        ({"on": ["http.*"], "not_on": ["http.4xx"]}, "http.404", "technical", {}, False),
        ({"on": ["http.*"], "not_on": ["http.4xx"]}, "http.500", "technical", {}, True),
    ],
)
def test_rule_42_on_and_not_on(
    policy: dict[str, Any], code: str, category: Any, fields: dict[str, Any], again: bool
) -> None:  # fmt: skip
    """`on` names exactly what is retried; `not_on` takes away; `retryable: false` always stops."""
    play = retrying(policy)
    play.fail("a", code, category=category, **fields)
    assert play.state("a") == ("waiting" if again else "failed")


def test_rule_42_a_list_of_policies_each_with_its_own_count() -> None:
    """The first that matches counts, each for itself: two kinds of failure do not use up each other's attempts."""
    slow = {"on": "http.429", "attempts": 2, "initial": "1m", "backoff": "fixed", "jitter": False}
    quick = {"attempts": 3, "initial": "1s", "backoff": "fixed", "jitter": False}
    play = retrying(slow, quick)
    waits = []
    for code in ("x.one", "http.429", "x.two"):
        waits += waits_of(play, failures=1, code=code)
    assert waits == [1, 60, 1]
    assert play.state("a") == "running"
    play.fail("a", "x.three")
    assert play.status == "failed"
    assert [run.token.attempt for run in play.runs()] == [1, 2, 3, 4]


def test_rule_42_a_used_up_policy_does_not_hand_on() -> None:
    """The first policy that matches decides alone: when it is used up, later ones are not asked."""
    play = retrying({"on": "x.*", "attempts": 2, "initial": "1s"}, {"attempts": 10, "initial": "1s"})
    waits_of(play, failures=2)
    assert play.status == "failed"


@pytest.mark.parametrize(
    "retry_after, longest, wait",
    [(30, "5m", 30), (600, "5m", 300), (2, "5m", 10), (600, "1h", 600)],
)
def test_rule_42_retry_after_is_honoured_up_to_max(retry_after: int, longest: str, wait: float) -> None:
    """The other side may ask for more time than the backoff, at most `max`; less than the backoff it cannot ask for."""
    play = retrying({**PLAIN, "max": longest, "attempts": 3})
    assert waits_of(play, failures=1, retry_after=retry_after * SECOND) == [wait]


def test_rule_42_numbers_and_durations_may_be_expressions() -> None:
    """Attempts, first wait and longest wait may depend on the input."""
    policy = {
        "attempts": "${ input.n }", "initial": "${ input.wait }", "max": "${ input.longest }", "backoff": "linear",
        "jitter": False,
    }  # fmt: skip
    play = Recording(effects(a={"retry": policy}))
    play.start({"n": 4, "wait": "30s", "longest": 60})
    assert waits_of(play, failures=9) == [30, 60, 60]


@pytest.mark.parametrize(
    "policy, code",
    [
        ({"attempts": "${ input }"}, "retry.invalid"),
        ({"initial": "${ input }"}, "retry.invalid"),
        ({"max": "${ [input] }"}, "retry.invalid"),
        ({"initial": "${ input.missing }"}, "expression.type"),
    ],
)
def test_rule_42_a_policy_that_cannot_be_followed_is_the_news(policy: dict[str, Any], code: str) -> None:
    """A wrong value in a policy fails the node, with the failure that was to be retried as its cause."""
    play = Recording(effects(a={"retry": policy}))
    play.start("soon")
    play.fail("a", "x.first")
    assert play.status == "failed"
    assert play.error is not None
    assert (play.error.code, play.error.category, play.error.node) == (code, "validation", "a")
    assert play.error.cause is not None
    assert play.error.cause.code == "x.first"


def test_rule_42_a_backoff_holds_no_slot_and_dies_with_a_cancel() -> None:
    """While it waits nothing is asked of the world; cancelled, it never comes back."""
    play = retrying({"attempts": 3, "initial": "1m"})
    play.fail("a")
    assert play.index.running == 0
    play.operate("cancel")
    assert play.status == "cancelled"
    play.pass_time(600)
    assert len(play.runs()) == 1


def test_rule_42_a_retry_sends_the_same_parameters_and_key() -> None:
    """Nothing is evaluated anew: a retry repeats what was journaled (rules 50, 51)."""
    play = Recording(
        {
            **effects(
                a={"with": {"n": "${ vars.n }", "at": "${ now() }"}, "retry": {"attempts": 3, "initial": "1m"}},
                change={"type": "set_variable", "set": {"n": 2}, "after": "go"}, go={"type": "wait_for_signal", "signal": "go"},
            ),
            "vars": {"n": 1},
        }
    )  # fmt: skip
    play.start()
    play.fail("a")
    play.signal("go")
    play.pass_time(120)
    first, second = play.runs()
    assert (second.params, second.key, second.ready) == (first.params, first.key, first.ready)
    assert (first.token.attempt, second.token.attempt) == (1, 2)
    assert play.value(second.params)["n"] == 1


def test_rule_42_the_result_of_an_earlier_attempt_is_late() -> None:
    """An attempt that was given up cannot answer for the next one."""
    play = retrying({**PLAIN, "attempts": 3})
    old = play.result("a", output=play.encoded("old"))
    play.fail("a")
    assert play.kinds(play.take(old)) == ["Late a"]
    play.pass_time(10)
    assert play.kinds(play.take(old)) == ["Late a"]
    play.succeed("a", "new")
    assert play.node_output("a") == "new"


def test_rule_42_every_attempt_is_told() -> None:
    """The failure at last holds each attempt: number, code, times; an instance remembers the newest twenty."""
    play = retrying({**PLAIN, "attempts": 30})
    waits_of(play, failures=30)
    assert play.error is not None
    assert len(play.error.attempts) == 20
    assert play.error.attempts[-1]["attempt"] == 30
    retries = [fact for fact in play.facts if isinstance(fact, events.Retrying)]
    assert [fact.attempt for fact in retries] == list(range(1, 30))


def test_rule_42_success_after_retries_forgets_the_error() -> None:
    """The state of a node that succeeded in the end has no error."""
    play = Recording(effects(a={"retry": {**PLAIN, "attempts": 3}}, b={"after": "a", "with": {"e": "${ state.a }"}}))
    play.start()
    play.fail("a")
    play.pass_time(10)
    play.succeed("a")
    state = play.value(play.runs()[-1].params)["e"]
    assert (state["status"], state["error"], state["attempts"]) == ("succeeded", None, 2)


def test_rule_42_pure_and_control_nodes_are_not_retried() -> None:
    """What only computes gives the same again: a failure of it is for good."""
    play = Recording(
        {"perdure": 1, "name": "w", "nodes": {"t": {"type": "transform", "to": "${ input.x }", "retry": {"attempts": 5}}}}
    )
    play.start({})
    assert play.status == "failed"


def test_the_error_of_the_last_attempt_lists_them_all() -> None:
    """Every failed attempt is there in order, with its code and its times as RFC 3339."""
    play = Recording(effects(a={"retry": {"attempts": 3, "initial": "1s", "jitter": False}}))
    play.start()
    for code in ("first", "second"):
        play.fail("a", code)
        play.pass_time(5)
    play.fail("a", "third")
    assert play.error is not None
    assert [(attempt["attempt"], attempt["code"]) for attempt in play.error.attempts] == [
        (1, "first"),
        (2, "second"),
        (3, "third"),
    ]
    assert all(str(attempt["finished"]).endswith("Z") for attempt in play.error.attempts)
