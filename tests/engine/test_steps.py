"""Steps: a batch is its inputs one by one, a step that was cut goes on as if it had not been (rules 1, 2, 3)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from graphs import TURNS_MAX, Answers, Graph, answered, graphs
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from recording import Recording

from perdure.engine import events
from perdure.engine.codec import decode_row
from perdure.engine.events import Due, Token, encode
from perdure.engine.execution import Execution
from perdure.engine.index import Index
from perdure.engine.inputs import in_order
from perdure.engine.machine import STEP_FACTS_MAX, step
from perdure.testing.rehearsal import BEGIN, EXECUTION, effects, plan_of

CHECKED = settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


@CHECKED
@given(graph=graphs(), answers=answered())
def test_rule_2_a_batch_gives_the_facts_of_its_inputs_one_by_one(graph: Graph, answers: Answers) -> None:
    """Two executions side by side: one takes each batch at once, the other one input after another."""
    batched, single = Recording(graph.plan), Recording(graph.plan, compares=False)
    batched.start(graph.input)
    single.start(graph.input)
    for turn in range(TURNS_MAX):
        if batched.execution.ended:
            break
        batch = answers.batch(batched, turn)
        single.now = batched.now
        if any(isinstance(given, Due) for given in batch):
            single.index.take_due(single.execution, single.now)
        single.bodies.update(batched.bodies)
        single.resident.update(batched.resident)
        batched.take(*batch)
        for one in batch:
            single.take(one)
        assert single.bytes_of_facts() == batched.bytes_of_facts()
    assert single.status == batched.status != ""


@CHECKED
@given(
    graph=graphs(), answers=answered(), facts_max=st.integers(1, 12), refolds=st.booleans(), forgetful=st.booleans(),
)  # fmt: skip
def test_rule_3_a_cut_step_gives_the_facts_of_an_uncut_one(
    graph: Graph, answers: Answers, facts_max: int, refolds: bool, forgetful: bool
) -> None:
    """Cut after so many facts, folded anew at each cut, with large values missing: the same facts in the same order."""
    whole = answers.play(Recording(graph.plan), graph)
    cut = answers.play(Recording(graph.plan, facts_max=facts_max, refolds=refolds, forgetful=forgetful), graph)
    assert cut.bytes_of_facts() == whole.bytes_of_facts()
    assert cut.status == whole.status


CHAIN: dict[str, Any] = {
    "perdure": 1, "name": "chain",
    "nodes": {
        "n0": {"type": "transform", "to": "${ input }"},
        **{f"n{number}": {"type": "transform", "after": f"n{number - 1}", "to": f"${{ nodes.n{number - 1} + 1 }}"}
           for number in range(1, 20)},
    },
}  # fmt: skip


@pytest.mark.parametrize("facts_max", range(1, 24))
def test_rule_3_every_place_to_cut_a_chain_of_pure_nodes(facts_max: int) -> None:
    """A chain of twenty pure nodes is one step, cut wherever one wants, with a refold at each cut."""
    whole = Recording(CHAIN)
    whole.start(1)
    cut = Recording(CHAIN, facts_max=facts_max, refolds=True)
    cut.start(1)
    assert (whole.cuts, whole.output) == (0, 20)
    assert cut.bytes_of_facts() == whole.bytes_of_facts()
    assert cut.cuts == -(-len(whole.facts) // facts_max) - 1


def test_rule_3_a_cut_row_says_so() -> None:
    """The journal shows which steps were not at rest, and what they were continued by."""
    play = Recording(CHAIN, facts_max=8)
    play.start(1)
    rows = [decode_row(row) for row in play.rows]
    assert [row.cut for row in rows] == [True, True, False]
    assert [type(row.inputs[0]).__name__ for row in rows] == ["Start", "Continue", "Continue"]
    assert [len(row.facts) for row in rows] == [8, 8, 6]


def test_rule_3_a_step_stops_after_a_thousand_facts() -> None:
    """What is ready beyond that waits for the next step; it is in the state and never only in a local list."""
    width = STEP_FACTS_MAX + 500
    play = Recording(effects(a={}, **{f"n{number}": {"after": "a"} for number in range(width)}))
    play.start()
    play.succeed("a")
    assert [len(decode_row(row).facts) for row in play.rows] == [2, STEP_FACTS_MAX, 501]
    assert play.started()[1:] == [f"n{number}" for number in range(width)]


def test_rule_3_leaving_a_wide_frame_is_cut_too() -> None:
    """A frame of many nodes is left over several steps, each node once."""
    play = Recording(
        effects(a={}, **{f"n{number}": {} for number in range(30)}, last={"after": "a"}), facts_max=7, refolds=True
    )
    play.start()
    play.fail("a")
    assert play.cuts > 3
    assert [stop.token.node for stop in play.stops()] == [f"n{number}" for number in range(30)]
    for number in range(30):
        play.stopped(f"n{number}")
    assert play.status == "failed"


def test_rule_3_a_cancel_may_come_before_the_rest() -> None:
    """Operators' controls go before what was cut: the rest is skipped and never starts."""
    plan = plan_of(CHAIN)
    execution, index = Execution(), Index(plan, {})
    first = step(execution, index, [events.Start(execution=EXECUTION, input=encode(1))], BEGIN, facts_max=5)
    assert not first.at_rest
    second = step(execution, index, in_order([events.Continue(), events.Operate(action="cancel")]), BEGIN, facts_max=100)
    assert [type(given).__name__ for given in second.taken] == ["Operate", "Continue"]
    assert execution.status == "cancelled"
    assert sum(type(fact) is events.Done for fact in (*first.facts, *second.facts)) == 4


def test_rule_3_inputs_that_were_not_looked_at_are_still_to_be_taken() -> None:
    """A step that was cut tells which inputs it took: the others come again, after `continue`."""
    play = Recording(effects(a={}, b={}, **{f"n{number}": {"after": "a"} for number in range(5)}))
    play.start()
    given = [play.result("a"), play.result("b")]
    done = step(play.execution, play.index, given, play.now, facts_max=3)
    assert not done.at_rest
    assert [given.token.node for given in done.taken if isinstance(given, events.Result)] == ["a"]


def test_rule_2_the_order_of_what_arrived() -> None:
    """Operators first, then results, signals and messages as they came, then timers by due time, frame and node."""
    token = Token(node="a")
    result, signal = events.Result(token=token), events.Signal(id="1", name="ok")
    late, early = Due(kind="wait", due=9, node="a"), Due(kind="wait", due=5, node="z")
    same = Due(kind="wait", due=5, node="b")
    control, carry = events.Operate(action="cancel"), events.Continue()
    arrived = [late, signal, early, result, same, carry, control]
    assert in_order(arrived) == [control, carry, signal, result, same, early, late]


def test_rule_3_the_workflows_timeout_goes_before_the_rest() -> None:
    """A step that was cut does not keep the workflow alive beyond its time; without a cut, results that arrived come first."""
    result, timeout = events.Result(token=Token(node="a")), Due(kind="timeout", due=9)
    other, carry = Due(kind="wait", due=5, node="a"), events.Continue()
    assert in_order([other, carry, result, timeout]) == [timeout, carry, result, other]
    assert in_order([other, timeout, result]) == [result, other, timeout]


@pytest.mark.parametrize("limit, kind", [({"timeout": "1m"}, "attempt"), ({"deadline": "1m"}, "deadline")])
def test_rule_3_a_loop_that_never_comes_to_rest_ends_by_its_time(limit: dict[str, Any], kind: str) -> None:
    """What is due goes before the rest of a step that was cut, so that a loop of pure nodes does not go on for ever."""
    body = {"nodes": {"x": {"type": "transform", "to": 1}}}
    play = Recording(effects(l={"type": "while", "condition": "${ true }", "collect": "none", "body": body, **limit}))
    inputs: list[Any] = [events.Start(execution=EXECUTION)]
    turns = 0
    while inputs and turns < 9:
        turns += 1
        done = step(play.execution, play.index, in_order(inputs), play.now, facts_max=30)
        play.now += 10_000_000
        inputs = ([] if done.at_rest else [events.Continue()]) + play.index.take_due(play.execution, play.now)
    assert (play.status, turns) == ("failed", 7)
    assert play.error is not None
    assert play.error.code == {"attempt": "timeout", "deadline": "timeout.deadline"}[kind]
    answer = events.Result(token=Token(node="a"))
    due = [Due(kind=each, due=9, node="l") for each in ("deadline", "attempt", "cleanup")]
    order = [each.kind for each in in_order([events.Continue(), answer, *due]) if isinstance(each, Due)]
    assert order == ["attempt", "cleanup", "deadline"]


def test_rule_2_a_signal_and_a_timeout_in_one_batch() -> None:
    """The signal wins, since it comes first (rule 46)."""
    play = Recording({"perdure": 1, "name": "w", "nodes": {"s": {"type": "wait_for_signal", "signal": "ok", "timeout": "10s"}}})
    play.start()
    play.now += 10_000_000
    due = play.index.take_due(play.execution, play.now)
    assert [timer.kind for timer in due] == ["wait_timeout"]
    play.take(*in_order([*due, events.Signal(id="1", name="ok", payload=encode("yes"))]))
    assert play.status == "succeeded"
    assert play.output == "yes"


def test_rule_2_the_end_is_judged_only_at_rest() -> None:
    """A short path does not end a long one: the frame has more that became ready by the same input."""
    play = Recording(effects(a={}, short={"after": "a", "when": "${ false }"}, long={"after": "a"}))
    play.start()
    play.succeed("a")
    assert play.status == ""
    assert play.state("long") == "running"


def test_rule_2_two_results_that_meet_start_the_node_once() -> None:
    """Both predecessors in one batch: it becomes ready once and starts once."""
    play = Recording(effects(a={}, b={}, meet={"after": ["a", "b"]}))
    play.start()
    play.take(play.result("b"), play.result("a"))
    assert play.started() == ["a", "b", "meet"]


def test_rule_1_a_final_instance_never_changes() -> None:
    """A second result for it is late, whatever it says."""
    play = Recording(effects(a={}, b={}))
    play.start()
    result = play.result("a", output=encode(1))
    play.take(result)
    assert play.kinds(play.take(msgspec.structs.replace(result, output=encode(2)))) == ["Late a"]
    assert play.node_output("a") == 1


def test_rule_1_a_final_execution_never_changes() -> None:
    """After the end, answers, signals and operators are late, and timers are nothing."""
    play = Recording(effects(a={}))
    play.start()
    result = play.result("a")
    play.take(result)
    status = play.status
    ended = msgspec.msgpack.encode(play.execution.frames)
    play.take(result)
    play.take(events.Complete(token=result.token))
    play.signal("ok")
    play.operate("cancel")
    play.operate("retry", "a")
    play.take(Due(kind="deadline", due=play.now, node="a"), Due(kind="timeout", due=play.now))
    play.take(events.Recovered())
    assert play.status == status == "succeeded"
    assert msgspec.msgpack.encode(play.execution.frames) == ended
    assert set(play.kinds(play.facts[4:])) == {"Late", "Late a"}
    assert play.execution.signals == []


def test_rule_1_a_start_that_was_sent_twice_counts_once() -> None:
    """The second one changes nothing."""
    play = Recording(effects(a={}))
    play.start("first")
    assert play.start("second") == []
    assert play.value(play.execution.input) == "first"


@example(facts_max=1)
@given(facts_max=st.integers(1, 30))
@settings(max_examples=30, derandomize=True, deadline=None)
def test_rule_3_large_values_and_cuts_together(facts_max: int) -> None:
    """Every step asks for what it lacks before it states anything, wherever it was cut."""
    nodes: dict[str, Any] = {"n0": {"type": "transform", "to": "${ input }"}}
    for number in range(1, 8):
        nodes[f"n{number}"] = {"type": "transform", "after": f"n{number - 1}", "to": {"was": "${ incoming }"}}
    document = {"perdure": 1, "name": "w", "nodes": nodes, "output": "${ len(nodes.n7) }"}
    whole, cut = Recording(document), Recording(document, facts_max=facts_max, refolds=True, forgetful=True)
    whole.start("x" * 5_000)
    cut.start("x" * 5_000)
    assert cut.fetches >= 8
    assert cut.bytes_of_facts() == whole.bytes_of_facts()
    assert (cut.status, cut.output) == ("succeeded", 1)
