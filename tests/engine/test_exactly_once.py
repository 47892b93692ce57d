"""Exactly once: effect keys, journaled parameters, first results, crashes, and effects that may not be repeated (50 to 53)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from graphs import CATALOG
from recording import Recording

from perdure.definition import check_document
from perdure.engine import events
from perdure.engine.codec import decode_row
from perdure.errors import Failure
from perdure.ids import ExecutionId, effect_key
from perdure.testing.rehearsal import EXECUTION, effects


def once(on_unknown: str | None = None, **more: Any) -> Recording:
    """A started workflow whose node `a` may be attempted once only; `b` comes after it."""
    node = {"delivery": "at_most_once", **({"on_unknown": on_unknown} if on_unknown else {}), **more}
    play = Recording(effects(a=node, b={"after": "a"}))
    play.start()
    return play


# -- keys and parameters --------------------------------------------------------------------------------------------------


def test_rule_50_the_effect_key_comes_from_execution_path_visit_and_generation() -> None:
    """Derived, so that everybody who asks gets the same."""
    play = Recording(effects(a={}, b={}))
    play.start()
    keys = [run.key for run in play.runs()]
    assert keys == [effect_key(ExecutionId(EXECUTION), name, 1, 0) for name in ("a", "b")]
    assert all(key.startswith("p1_") and len(key) == 29 for key in keys)


def test_rule_50_the_key_is_the_same_over_retries_and_crashes() -> None:
    """Whatever happens on the way, the receiver sees one key."""
    play = Recording(effects(a={"retry": {"attempts": 4, "initial": "1s"}}))
    play.start()
    play.crash()
    play.fail("a")
    play.pass_time(2)
    play.crash(crashed=False)
    play.take(play.result("a", outcome="lost", crashed=True))
    play.take(play.result("a", outcome="stopped"))
    assert len({run.key for run in play.runs()}) == 1
    assert [run.token.attempt for run in play.runs()] == [1, 1, 2, 2, 2, 2]


def test_rule_50_another_execution_has_other_keys() -> None:
    """The same workflow with the same input, started twice, is two effects."""
    plays = [Recording(effects(a={})) for _ in range(2)]
    for number, play in enumerate(plays):
        play.take(events.Start(execution=bytes([number]) * 16))
    assert plays[0].runs()[0].key != plays[1].runs()[0].key


def test_rule_51_parameters_are_journaled_before_the_effect_starts() -> None:
    """The row that asks for the attempt holds what it will send."""
    play = Recording(effects(a={"with": {"n": "${ input + 1 }"}}))
    play.start(1)
    (scheduled,) = [fact for fact in decode_row(play.rows[0]).facts if isinstance(fact, events.Scheduled)]
    assert play.value(scheduled.params) == {"n": 2}


def test_rule_51_recovery_sends_what_was_journaled() -> None:
    """Neither the time nor chance nor a changed variable is asked again."""
    play = Recording(
        {
            **effects(
                a={"with": {"n": "${ vars.n }", "at": "${ now() }", "id": "${ uuid() }"}},
                s={"type": "wait_for_signal", "signal": "go"}, set={"type": "set_variable", "after": "s", "set": {"n": 2}},
            ),
            "vars": {"n": 1},
        }
    )  # fmt: skip
    play.start()
    play.signal("go")
    play.pass_time(3_600)
    play.crash()
    first, second = play.runs()
    assert second == first


def test_rule_51_large_parameters_are_journaled_by_handle() -> None:
    """They are durable before the attempt may start, and the command names them."""
    play = Recording(effects(a={"with": {"text": "${ input }"}}))
    play.start("x" * 10_000)
    (run,) = play.runs()
    assert len(run.params) < 100
    assert play.value(run.params) == {"text": "x" * 10_000}


def test_an_effect_without_parameters_gets_an_object() -> None:
    """Nothing under `with:` is an empty object."""
    play = Recording(effects(a={}))
    play.start()
    assert play.value(play.runs()[0].params) == {}


# -- first results and crashes --------------------------------------------------------------------------------------------


def test_rule_52_the_first_result_counts() -> None:
    """Whoever brings it; a twin's report is late, also when it says something else."""
    play = Recording(effects(a={}, b={"after": "a"}))
    play.start()
    first, second = play.result("a", output=play.encoded(1)), play.result("a", output=play.encoded(2))
    play.take(first, second)
    assert play.node_output("a") == 1
    assert play.kinds().count("Late a") == 1
    assert play.started() == ["a", "b"]


def test_rule_52_a_failure_after_a_success_is_late() -> None:
    """And a success after a failure for good."""
    play = Recording({**effects(a={}, b={}, c={}), "settings": {"on_failure": "isolate"}})
    play.start()
    good, bad = play.result("a"), play.result("b", outcome="failed")
    play.take(good, bad)
    play.take(msgspec.structs.replace(good, outcome="failed"), msgspec.structs.replace(bad, outcome="succeeded"))
    assert play.states() == {"a": "succeeded", "b": "failed", "c": "running"}


def test_rule_52_the_old_worker_may_still_answer_after_a_takeover() -> None:
    """The attempt keeps its number: whichever of the two reports first, its result stands."""
    play = Recording(effects(a={}))
    play.start()
    old = play.result("a", output=play.encoded("old"))
    play.crash()
    play.take(old)
    assert play.output == "old"


@pytest.mark.parametrize("crashes_max", [1, 2, 3, 5])
def test_rule_52_so_many_crashes_are_enough(crashes_max: int) -> None:
    """A crash repeats the attempt; after `crashes_max` of them the node has failed with `worker.crashed`."""
    play = Recording(effects(a={"crashes_max": crashes_max, "retry": {"attempts": 9}}))
    play.start()
    for _ in range(crashes_max - 1):
        play.crash()
        assert play.state("a") == "running"
    play.crash()
    assert play.status == "failed"
    assert play.error is not None
    assert play.error.code == "worker.crashed"
    assert [run.token.attempt for run in play.runs()] == [1] * crashes_max


def test_rule_52_three_crashes_by_default() -> None:
    """A poison node must not eat the cluster."""
    play = Recording(effects(a={}))
    play.start()
    play.crash()
    play.crash()
    assert play.state("a") == "running"
    play.crash()
    assert play.status == "failed"


def test_rule_52_a_stop_in_good_order_is_no_crash() -> None:
    """A worker that drains gives its attempts back, as often as it likes."""
    play = Recording(effects(a={}))
    play.start()
    for _ in range(10):
        play.crash(crashed=False)
        play.take(play.result("a", outcome="stopped"))
    assert play.state("a") == "running"
    assert play.instance("a").crashes == 0


def test_rule_52_crashes_are_counted_for_each_attempt() -> None:
    """An attempt that came to a failure of its own did not kill its worker: the next one has its lives again."""
    play = Recording(effects(a={"retry": {"attempts": 3, "initial": "1s"}}))
    play.start()
    play.crash()
    play.crash()
    play.fail("a")
    play.pass_time(2)
    play.crash()
    play.crash()
    assert play.state("a") == "running"


def test_rule_52_a_crash_does_not_use_up_attempts() -> None:
    """With one attempt only, a crash repeats it all the same."""
    play = Recording(effects(a={"retry": {"attempts": 1}}))
    play.start()
    play.crash()
    play.succeed("a")
    assert play.status == "succeeded"


def test_rule_52_the_error_edge_takes_a_poison_node() -> None:
    """`worker.crashed` is a failure like others."""
    play = Recording(effects(a={"crashes_max": 1, "catch": [{"on": "worker.crashed", "to": "dead"}]}, b={"after": "a.dead"}))
    play.start()
    play.crash()
    assert play.state("b") == "running"


# -- at most once ---------------------------------------------------------------------------------------------------------

AMBIGUOUS: list[dict[str, Any]] = [
    {"code": "timeout", "category": "timeout"},
    {"code": "timeout.heartbeat", "category": "timeout"},
    {"code": "http.connection_lost", "ambiguous": True},
]


@pytest.mark.parametrize("failure", AMBIGUOUS, ids=lambda failure: failure["code"])
def test_rule_53_what_is_ambiguous_is_unknown_and_fails(failure: dict[str, Any]) -> None:
    """By default nobody is asked and nothing is repeated: the node fails with `effect.unknown`."""
    play = once(retry={"attempts": 9})
    play.fail("a", **failure)
    assert play.status == "failed"
    assert play.error is not None
    assert play.error.code == "effect.unknown"
    assert play.error.cause is not None
    assert play.error.cause.code == failure["code"]
    assert len([run for run in play.runs() if run.token.node == "a"]) == 1


@pytest.mark.parametrize("failure", [{"code": "http.402"}, {"code": "timeout.queue", "category": "timeout", "retryable": True}])
def test_rule_53_definite_failures_are_retried_as_usual(failure: dict[str, Any]) -> None:
    """Refused, or never sent: it is known that it did not happen."""
    play = once(retry={"attempts": 2, "initial": "1s"})
    play.fail("a", **failure)
    assert play.state("a") == "waiting"
    play.pass_time(2)
    play.succeed("a")
    assert play.state("b") == "running"


def test_rule_53_a_crash_is_ambiguous() -> None:
    """A worker died while it ran: unlike others, the attempt is not repeated."""
    play = once()
    play.crash()
    assert play.status == "failed"
    assert play.error is not None
    assert play.error.code == "effect.unknown"
    assert len(play.runs()) == 1


@pytest.mark.parametrize("crashed", [True, False])
def test_rule_53_a_lost_attempt_is_ambiguous(crashed: bool) -> None:
    """Also when its worker stopped in good order while it ran."""
    play = once()
    play.crash(crashed=crashed)
    assert play.status == "failed"


def test_rule_53_an_attempt_that_never_began_is_repeated() -> None:
    """Its worker drained before it started: that is definite, and the attempt goes to the next home."""
    play = once()
    play.take(play.result("a", outcome="stopped", started=0, finished=play.now))
    assert play.state("a") == "running"
    assert [run.token.attempt for run in play.runs()] == [1]  # not to the one that is stopping
    play.crash()
    assert play.state("a") == "running"
    assert [run.token.attempt for run in play.runs()] == [1, 1]


def test_rule_53_an_attempt_that_had_begun_is_not() -> None:
    """It may have been sent when its worker drained."""
    play = once()
    play.take(play.result("a", outcome="stopped"))
    assert play.status == "failed"


def test_rule_53_ask_parks_with_the_question() -> None:
    """`on_unknown: ask`: a person says whether it happened."""
    play = once("ask")
    play.crash()
    assert play.state("a") == "parked"
    assert play.instance("a").question == "unknown"
    assert play.states()["b"] == "pending"


@pytest.mark.parametrize(
    "action, value, state, after",
    [
        ("complete", {"id": "ch_1"}, "succeeded", "running"),
        ("fail", None, "failed", "skipped"),
        ("retry", None, "running", "pending"),
    ],
)
def test_rule_53_what_a_person_answers(action: str, value: Any, state: str, after: str) -> None:
    """It happened, with its output; let it fail; it did not happen: try again, under the same key."""
    play = once("ask")
    play.crash()
    play.operate(action, "a", **({"value": play.encoded(value)} if value is not None else {}))
    assert play.states() == {"a": state, "b": after}
    assert {run.key for run in play.runs() if run.token.node == "a"} == {play.runs()[0].key}


def test_rule_53_worked_graph_13_the_old_result_answers_the_question() -> None:
    """Sent; the worker pauses; a takeover asks; the old worker wakes up and reports: never sent twice."""
    play = once("ask")
    old = play.result("a", output=play.encoded({"id": "ch_1"}))
    play.pass_time(120)
    play.crash()
    assert play.state("a") == "parked"
    play.take(old)
    assert play.states() == {"a": "succeeded", "b": "running"}
    assert play.node_output("a") == {"id": "ch_1"}
    assert len([run for run in play.runs() if run.token.node == "a"]) == 1
    assert play.kinds(play.operate("retry", "a")) == ["Late a"]


def test_rule_53_worked_graph_13_a_definite_failure_answers_too() -> None:
    """The old worker knows that it was refused: then it did not happen, and the node's retry may go on."""
    play = once("ask", retry={"attempts": 2, "initial": "1s"})
    old = play.result("a", outcome="failed", error=Failure(code="http.503", title="Refused."))
    play.crash()
    play.take(old)
    assert play.state("a") == "waiting"
    play.operate("cancel")
    assert not play.instance("a").unknown


def test_rule_53_an_ambiguous_late_failure_leaves_the_question() -> None:
    """It answers nothing: the node stays parked."""
    play = once("ask")
    old = play.result("a", outcome="failed", error=Failure(code="timeout", title="late", category="timeout"))
    play.crash()
    play.take(old)
    assert play.state("a") == "parked"
    assert play.instance("a").question == "unknown"


def test_rule_53_a_late_report_of_a_stop_answers_nothing() -> None:
    """That an attempt stopped does not say whether its effect happened."""
    play = once("ask")
    for outcome in ("stopped", "lost", "deferred"):
        old = play.result("a", outcome=outcome)
        if play.state("a") == "running":
            play.crash()
        assert play.kinds(play.take(old)) == ["Late a"]
    assert play.state("a") == "parked"


def test_rule_53_retry_hands_the_failure_to_the_nodes_own_policy() -> None:
    """`on_unknown: retry`: as any failure; the key lets the receiver drop the repeat."""
    play = once("retry", retry={"attempts": 2, "initial": "1s"})
    play.fail("a", "timeout", category="timeout")
    assert play.state("a") == "waiting"
    play.pass_time(2)
    play.fail("a", "timeout", category="timeout")
    assert play.error is not None
    assert play.error.code == "timeout"


def test_rule_53_cancelled_in_flight() -> None:
    """The node is `cancelled`, and it is kept that the effect may have happened."""
    play = once()
    play.operate("cancel")
    play.stopped("a")
    assert play.state("a") == "cancelled"
    assert play.instance("a").unknown


def test_rule_53_cancelled_before_it_began() -> None:
    """Then it certainly did not happen."""
    play = once()
    play.operate("cancel")
    play.take(play.result("a", outcome="stopped", started=0))
    assert play.state("a") == "cancelled"
    assert not play.instance("a").unknown


def test_rule_53_lost_while_it_was_being_cancelled() -> None:
    """Its worker died before it said how it ended: nobody knows."""
    play = once()
    play.operate("cancel")
    play.crash()
    assert play.state("a") == "cancelled"
    assert play.instance("a").unknown


def test_rule_53_a_parked_question_that_is_cancelled_stays_unknown() -> None:
    """The cancel does not answer it."""
    play = once("ask")
    play.crash()
    play.operate("cancel")
    assert play.state("a") == "cancelled"
    assert play.instance("a").unknown


def test_rule_53_other_nodes_are_never_unknown() -> None:
    """An effect that may be repeated is simply cancelled."""
    play = Recording(effects(a={}))
    play.start()
    play.operate("cancel")
    play.stopped("a")
    assert not play.instance("a").unknown


def test_rule_53_a_later_answer_that_does_not_come_is_ambiguous() -> None:
    """A node that deferred has been sent; its timeout must not send it again."""
    play = once(timeout="1m", retry={"attempts": 9})
    play.take(play.result("a", outcome="deferred"))
    play.pass_time(60)
    assert play.error is not None
    assert play.error.code == "effect.unknown"
    assert len(play.runs()) == 1


def test_rule_53_a_later_answer_may_be_ambiguous() -> None:
    """Who holds the token may not know either."""
    play = once("ask", retry={"attempts": 9})
    token = play.result("a").token
    play.take(play.result("a", outcome="deferred"))
    play.take(events.Complete(token=token, error=Failure(code="lost", title="lost", ambiguous=True)))
    assert play.state("a") == "parked"


def test_rule_53_a_deferred_node_that_is_cancelled_is_unknown() -> None:
    """It was sent, and nobody will hear of it."""
    play = once()
    play.take(play.result("a", outcome="deferred"))
    play.operate("cancel")
    assert play.state("a") == "cancelled"
    assert play.instance("a").unknown


@pytest.mark.parametrize("defers", [False, True])
def test_rule_53_a_deadline_asks_too(defers: bool) -> None:
    """A stop by the deadline is ambiguous; the question has no deadline, and a retry has as much time again."""
    play = once("ask", deadline="1m")
    if defers:
        play.take(play.result("a", outcome="deferred"))
    play.pass_time(60)
    if not defers:
        play.stopped("a")
    assert play.state("a") == "parked"
    play.pass_time(3_600)
    assert play.state("a") == "parked"
    play.operate("retry", "a")
    play.pass_time(59)
    assert not play.instance("a").stopping
    play.pass_time(1)
    assert play.instance("a").stopping


def test_rule_53_at_most_once_has_no_cache() -> None:
    """An effect that must not happen twice has no result to share: refused when saved."""
    document = effects(a={"delivery": "at_most_once", "cache": {"ttl": "1h"}})
    checked = check_document(document, CATALOG)
    assert "cache.at_most_once" in [fault.code for fault in checked.errors]
