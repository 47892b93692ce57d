"""Recovery: the journal alone gives the state, a rebuilt index is the live one, a crash after any row loses nothing."""

from __future__ import annotations

from typing import Any

import pytest
from graphs import LARGE, Answers, Graph, answered, graphs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recording import Recording

from perdure.engine import events
from perdure.engine.codec import decode_row, decode_snapshot, encode_row, encode_snapshot, inputs_as_given
from perdure.engine.commands import Evaluate
from perdure.engine.evolution import evolve
from perdure.engine.execution import Execution
from perdure.engine.index import Index
from perdure.engine.machine import step
from perdure.engine.outstanding import command_for, running
from perdure.testing.rehearsal import effects

CHECKED = settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


@CHECKED
@given(graph=graphs(), answers=answered())
def test_the_journal_folds_to_the_same_state_after_every_step(graph: Graph, answers: Answers) -> None:
    """Fold, index and counters are compared by the recording after each step; here on random graphs."""
    play = answers.play(Recording(graph.plan), graph)
    assert encode_snapshot(play.folded()) == encode_snapshot(play.execution)


@CHECKED
@given(graph=graphs(), answers=answered(), facts_max=st.integers(1, 9), refolds=st.booleans(), forgetful=st.booleans())
def test_the_recorded_inputs_give_the_same_facts_again(
    graph: Graph, answers: Answers, facts_max: int, refolds: bool, forgetful: bool
) -> None:
    """Replay: the inputs of every row, as they were given, stepped again from nothing, give byte-identical rows."""
    play = answers.play(Recording(graph.plan, facts_max=facts_max, refolds=refolds, forgetful=forgetful), graph)
    assert play.restepped() == []


def test_a_journal_of_another_definition_does_not_replay() -> None:
    """The comparison sees a difference, and says from which fact on."""
    play = Recording(effects(a={}, b={"after": "a"}))
    play.start()
    play.succeed("a")
    play.succeed("b")
    assert play.restepped() == []
    play.plan = Recording(effects(a={}, b={"after": "a", "with": {"n": 1}})).plan
    (difference,) = play.restepped()
    assert "from fact 1 on" in difference


@CHECKED
@given(graph=graphs(), answers=answered(), data=st.data())
def test_a_crash_after_any_row_ends_as_well(graph: Graph, answers: Answers, data: st.DataObject) -> None:
    """Forget everything after a row, take over, answer kindly: the execution comes to its end, and nothing final runs again."""
    play = answers.play(Recording(graph.plan), graph)
    kept = data.draw(st.integers(1, len(play.rows)), label="rows kept")
    survivor = revived(play, kept)
    finals = {instance.node: instance.state for _, instance in survivor.execution.instances() if instance.final}
    survivor.take(events.Recovered(crashed=True, worker="next"))
    survivor.finish()
    assert {node: survivor.instance(node).state for node in finals} == finals
    assert survivor.status in ("succeeded", "failed", "cancelled")


def revived(play: Recording, rows: int) -> Recording:
    """A new home with only the first rows of the journal."""
    survivor = Recording(play.plan)
    survivor.rows, survivor.ats = play.rows[:rows], play.ats[:rows]
    survivor.now = play.ats[rows - 1]
    survivor.bodies.update(play.bodies)
    survivor.resident.update(play.resident)
    survivor.refold()
    survivor.execution.at = survivor.now
    return survivor


DIAMOND: dict[str, Any] = effects(
    a={}, b={"after": "a", "with": {"x": "${ nodes.a }"}}, c={"after": "a"}, pause={"type": "delay", "for": "1h", "after": "a"},
    d={"after": ["b", "c", "pause"]},
)  # fmt: skip
DIAMOND["output"] = ["${ nodes.a }", "${ nodes.b }", "${ nodes.c }", "${ nodes.d }"]


def test_a_crash_after_every_row_gives_the_same_outputs() -> None:
    """Die after each row of a whole run, go on, compare the output with the undisturbed one."""
    outputs = {"a": 1, "b": 2, "c": 3, "d": 4}
    whole = Recording(DIAMOND)
    whole.start()
    whole.finish(outputs)
    assert whole.output == [1, 2, 3, 4]
    for rows in range(1, len(whole.rows) + 1):
        survivor = revived(whole, rows)
        survivor.take(events.Recovered(crashed=True))
        survivor.finish(outputs)
        assert (survivor.status, survivor.output) == ("succeeded", [1, 2, 3, 4])


def test_rule_52_a_takeover_asks_again_for_what_was_running() -> None:
    """The same token, the same key, the same parameters: the attempt is repeated and not used up."""
    play = Recording(effects(a={"with": {"n": "${ input }"}}, b={}))
    play.start(5)
    before = play.runs()
    play.crash()
    assert play.runs()[2:] == before
    assert play.instance("a").attempt == 1


def test_outstanding_work_is_a_function_of_the_state() -> None:
    """What a fold of the journal stands for is exactly what was asked for and has not been answered."""
    play = Recording(effects(a={}, b={}, c={"after": "a"}))
    play.start()
    play.succeed("a")
    state, index = play.folded(), Index.rebuilt(play.plan, play.folded(), {})
    asked = [command_for(state, index, opened, node, instance, play.now) for opened, node, instance in running(index)]
    assert [node.id for _, node, _ in running(index)] == ["b", "c"]
    assert asked == [run for run in play.runs() if run.token.node != "a"]


def test_an_evaluation_outside_is_asked_for_again_too() -> None:
    """A pure node that was being evaluated elsewhere is evaluated elsewhere again."""
    play = Recording({"perdure": 1, "name": "w", "nodes": {"m": {"type": "map", "over": "${ input }", "to": "${ item + 1 }"}}})
    given = events.Start(execution=b"\x01" * 16, input=play.encoded(list(range(50_000))))
    done = step(play.execution, play.index, [given], play.now)
    (first,) = done.commands
    assert isinstance(first, Evaluate)
    index = Index.rebuilt(play.plan, play.execution, {})
    again = step(play.execution, index, [events.Recovered(crashed=True)], play.now)
    assert again.commands == [first]
    assert [type(fact).__name__ for fact in again.facts] == ["Lost"]


def test_what_waits_is_not_disturbed_by_a_crash() -> None:
    """Delays, waits, backoffs and parked nodes have nobody to lose: a takeover states nothing about them."""
    play = Recording(
        effects(
            d={"type": "delay", "for": "1h"}, s={"type": "wait_for_signal", "signal": "ok", "timeout": "2h"},
            r={"retry": {"attempts": 3, "initial": "1m"}}, p={"park": True}, later={},
        )
    )  # fmt: skip
    play.start()
    play.fail("r")
    play.fail("p")
    play.take(play.result("later", outcome="deferred"))
    assert play.crash() == []
    play.pass_time(3_601)
    assert play.state("d") == "succeeded"
    assert play.states()["r"] == "running"


def test_a_timer_that_came_due_while_nobody_was_home_fires_once() -> None:
    """The new home finds it among what is due."""
    play = Recording(effects(d={"type": "delay", "for": "1h"}))
    play.start()
    play.now += 7_200_000_000
    play.refold()
    due = play.index.take_due(play.execution, play.now)
    assert [(timer.kind, timer.node) for timer in due] == [("wait", "d")]
    play.take(*due)
    assert play.status == "succeeded"
    assert play.index.take_due(play.execution, play.now) == []


def test_a_timer_never_fires_early() -> None:
    """One microsecond before its time nothing is due."""
    play = Recording(effects(d={"type": "delay", "for": "1h"}))
    play.start()
    assert play.index.take_due(play.execution, play.now + 3_600_000_000 - 1) == []
    assert len(play.index.take_due(play.execution, play.now + 3_600_000_000)) == 1


def test_a_row_reads_back_as_it_was_written() -> None:
    """Inputs, facts and the mark of a cut survive the journal's encoding, with values of every kind."""
    play = Recording(effects(a={"with": {"v": "${ input }"}}, r={"type": "return", "value": "${ input }", "after": "a"}))
    play.start({"int": 1, "float": 1.5, "text": "ä", "null": None, "list": [True, False]})
    play.succeed("a", {"n": [1, 2]})
    for row in play.rows:
        body = decode_row(row)
        assert encode_row(list(body.inputs), list(body.facts), body.cut) == row


@pytest.mark.parametrize("value", [None, 0, 1, "", "text", [], {}, [1, {"a": None}], {"k": "v" * LARGE}])
def test_values_of_every_kind_survive_in_every_field(value: Any) -> None:
    """Input, parameters, output, `return`, an operator's output and a new input: all read back from the journal."""
    play = Recording(
        effects(
            a={"with": {"v": "${ input }"}, "park": True}, b={"after": "a", "park": True},
            c={"type": "return", "after": "b", "value": "${ nodes.b }"},
        )
    )  # fmt: skip
    play.start(value)
    play.fail("a", retryable=False)
    play.operate("retry", "a", value=play.encoded({"v": [value]}))
    play.fail("a", retryable=False)
    play.operate("complete", "a", value=play.encoded(value))
    play.fail("b")
    play.operate("complete", "b", value=play.encoded(value))
    assert play.status == "succeeded"
    assert play.output == value
    assert play.node_output("a") == value
    assert encode_snapshot(play.folded()) == encode_snapshot(play.execution)


def test_an_output_stands_in_the_journal_once() -> None:
    """The input names the fact that holds it; given back, it is whole again."""
    play = Recording(effects(a={}, b={}, c={}))
    play.start()
    play.take(play.result("a", output=play.encoded("once " * 50)), play.result("b", output=play.encoded("twice " * 50)))
    row = play.rows[-1]
    assert row.count(b"once " * 50) == row.count(b"twice " * 50) == 1
    given = inputs_as_given(decode_row(row))
    assert [play.value(each.output) for each in given if isinstance(each, events.Result)] == ["once " * 50, "twice " * 50]


@CHECKED
@given(graph=graphs(), answers=answered(), data=st.data())
def test_a_snapshot_reads_back_as_the_state_it_was_taken_of(graph: Graph, answers: Answers, data: st.DataObject) -> None:
    """At any row: snapshot, read back, fold the rest: the same state as folding all."""
    play = answers.play(Recording(graph.plan), graph)
    rows = data.draw(st.integers(0, len(play.rows)), label="rows before the snapshot")
    execution = Execution()
    for row in play.rows[:rows]:
        for fact in decode_row(row).facts:
            evolve(execution, fact)
    execution = decode_snapshot(encode_snapshot(execution))
    for row in play.rows[rows:]:
        for fact in decode_row(row).facts:
            evolve(execution, fact)
    execution.at = play.execution.at
    assert encode_snapshot(execution) == encode_snapshot(play.execution)


@pytest.mark.parametrize("attempts_before", [0, 1, 2])
def test_a_takeover_that_lacks_large_values_states_nothing_twice(attempts_before: int) -> None:
    """A catch condition that reads a large input must not make a crash count twice for others (day-one 29)."""
    document = effects(
        other={},
        poison={"crashes_max": attempts_before + 1, "catch": [{"when": "${ len(input) > 10 }", "to": "long"}]},
        long={"after": "poison.long"},
    )
    play = Recording(document, forgetful=True)
    play.start("x" * 5_000)
    for _ in range(attempts_before + 1):
        play.crash()
    assert play.fetches > 0
    assert play.instance("other").crashes == attempts_before + 1
    assert play.kinds().count("Lost other") == play.kinds().count("Lost poison") == attempts_before + 1
    assert play.state("poison") == "failed"
    assert play.state("other") == ("failed" if attempts_before == 2 else "running")


def test_a_lost_attempt_that_lacks_large_values_is_lost_once() -> None:
    """The same for one attempt whose worker reports the loss: it is counted when the value is there, and once."""
    play = Recording(
        effects(a={"crashes_max": 1, "catch": [{"when": "${ len(input) > 10 }", "to": "long"}]}, long={"after": "a.long"}),
        forgetful=True,
    )
    play.start("x" * 5_000)
    play.take(play.result("a", outcome="lost", crashed=True))
    assert play.fetches > 0
    assert play.kinds().count("Lost a") == 1
    assert play.restepped() == []
