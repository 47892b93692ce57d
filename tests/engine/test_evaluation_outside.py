"""Heavy evaluations leave the step and give what they would have given inside (day-one 29, 30)."""

from __future__ import annotations

from typing import Any

import pytest
from recording import Recording

from perdure.engine import events
from perdure.engine.commands import Evaluate
from perdure.errors import Failure
from perdure.expressions import Budget, PlainNames, compile_template
from perdure.testing.rehearsal import effects

MANY = list(range(100_000, 0, -1))


def run(node: dict[str, Any], input: Any, **more: Any) -> Recording:
    """A workflow of one pure node, run."""
    play = Recording({"perdure": 1, "name": "w", "nodes": {"a": node, **more}})
    play.start(input)
    return play


def evaluations(play: Recording) -> list[Evaluate]:
    """What was evaluated elsewhere."""
    return [command for command in play.commands if isinstance(command, Evaluate)]


def test_a_map_over_100_000_items_goes_outside() -> None:
    """It is scheduled like an attempt, its result is journaled, and it is what an evaluation without a budget gives."""
    play = run({"type": "map", "over": "${ input }", "to": "${ item * 2 + index }"}, MANY)
    assert play.status == "succeeded"
    assert play.output == [item * 2 + index for index, item in enumerate(MANY)]
    assert len(evaluations(play)) == 1
    assert play.kinds() == ["Started", "Scheduled a", "Done a", "Ended"]
    assert [fact.pure for fact in play.facts if isinstance(fact, events.Scheduled)] == [True]


def test_a_sort_of_100_000_items_goes_outside() -> None:
    """The same order as inside."""
    play = run({"type": "sort", "over": "${ input }"}, MANY)
    assert play.output == sorted(MANY)
    assert len(evaluations(play)) == 1


@pytest.mark.parametrize(
    "node",
    [
        {"type": "map", "over": "${ input }", "to": "${ [item, index] }"},
        {"type": "filter", "over": "${ input }", "where": "${ item % 3 == 0 }"},
        {"type": "reduce", "over": "${ input }", "start": 0, "next": "${ carry + item }"},
        {"type": "sort", "over": "${ input }", "by": "${ [item % 7, item] }", "descending": True},
        {"type": "group", "over": "${ input }", "by": "${ item % 5 }"},
        {"type": "split", "over": "${ input }", "size": 7},
        {"type": "merge", "of": ["${ input }", "${ input }"], "how": "append"},
        {"type": "validate", "value": "${ input }", "schema": {"type": "array", "items": {"type": "integer"}}},
        {"type": "transform", "to": {"n": "${ sum(input) }", "first": "${ sorted(input)[0] }"}},
    ],
    ids=lambda node: node["type"],
)
def test_outside_gives_what_inside_gives(node: dict[str, Any]) -> None:
    """Every pure node, on a list that fits and on the same list made too long: the same items give the same results."""
    small = list(range(40))
    inside = run(node, small)
    assert evaluations(inside) == []
    outside = run(node, small * 500)
    assert len(evaluations(outside)) == 1
    assert outside.status == inside.status == "succeeded"
    again = Recording({"perdure": 1, "name": "w", "nodes": {"a": node}})
    again.start(small)
    asked = Evaluate(
        token=events.Token(node="a"), type=node["type"], document=node,
        names={"at": 0, "seed": b"", "nodes": {}, "state": {}, "previous": {}, "roots": {"input": small}},
    )  # fmt: skip
    assert again.value(again._evaluated(asked).output) == inside.output


def test_it_sees_the_names_that_it_reads() -> None:
    """Outputs, states, variables, the trigger, the execution, and what came in."""
    document = {
        **effects(
            big={}, small={},
            a={
                "type": "map", "after": ["big", "small"], "over": "${ nodes.big }",
                "to": "${ [item, nodes.small, state.small.status, vars.n, trigger, execution.key, incoming.small, input] }",
            },
        ),
        "vars": {"n": 5},
    }  # fmt: skip
    play = Recording(document)
    play.start("in", trigger=play.encoded("cause"), key="k")
    play.succeed("big", list(range(30_000)))
    play.succeed("small", "s")
    assert play.status == "succeeded", play.error
    assert len(evaluations(play)) == 1
    assert play.output[1] == [1, "s", "succeeded", 5, "cause", "k", "s", "in"]


@pytest.mark.parametrize("key", ["result", "until", "carry"])
def test_the_items_of_a_loop_are_evaluated_outside_without_what_its_body_will_have(key: str) -> None:
    """What the loop says of the nodes of its body is read when they are there, however many items there are."""
    keys = {"result": "${ nodes.each }", "until": "${ nodes.each == 2 }", "carry": {"start": 0, "next": "${ nodes.each }"}}
    body = {"nodes": {"each": {"type": "transform", "to": "${ item + 1 }"}}}
    play = run({"type": "loop", "over": "${ sorted(input)[:3] }", "body": body, key: keys[key]}, MANY)
    assert play.status == "succeeded", play.error
    assert play.output["counts"]["succeeded"] == (1 if key == "until" else 3)
    assert len(evaluations(play)) == 1


@pytest.mark.parametrize("entries, over", [(["big"], "${ incoming }"), (["big", "small"], "${ incoming.big }")])
def test_it_sees_what_came_in(entries: list[str], over: str) -> None:
    """The output of the one live predecessor, or of several by entry."""
    play = Recording(effects(big={}, small={}, a={"type": "map", "after": entries, "over": over, "to": "${ item + 1 }"}))
    play.start()
    play.succeed("small", 0)
    play.succeed("big", list(range(30_000)))
    assert play.node_output("a")[:3] == [1, 2, 3]


def test_it_sees_the_error_that_led_to_it() -> None:
    """A handler may have much to do too."""
    play = Recording(effects(a={}, mend={"type": "map", "after": "a.error", "over": "${ input }", "to": "${ error.code }"}))
    play.start(list(range(30_000)))
    play.fail("a", "x.first")
    assert play.output[:2] == ["x.first", "x.first"]


def test_a_failure_outside_fails_the_node() -> None:
    """With the code, the place and the item's number that it would have had inside; never retried."""
    play = run({"type": "map", "over": "${ input }", "to": "${ 1 / (item - 1) }", "retry": {"attempts": 5}}, MANY)
    assert play.status == "failed"
    assert play.error is not None
    assert (play.error.code, play.error.category, play.error.node) == ("expression.value", "validation", "a")
    assert len(evaluations(play)) == 1


def test_an_error_edge_takes_a_failure_outside() -> None:
    """It is a failure like others."""
    play = run(
        {"type": "sort", "over": "${ input }"},
        [*MANY, "text"],
        b={"type": "transform", "after": "a.error", "to": "${ error.code }"},
    )
    assert play.output == "sort.key"


def test_a_cancel_stops_an_evaluation_outside() -> None:
    """It is asked to stop like an attempt."""
    play = Held({"perdure": 1, "name": "w", "nodes": {"a": {"type": "map", "over": "${ input }", "to": "${ item }"}}})
    play.start(MANY)
    assert play.state("a") == "running"
    play.operate("cancel")
    assert [stop.token.node for stop in play.stops()] == ["a"]
    play.stopped("a")
    assert play.status == "cancelled"


def test_an_evaluation_that_kills_its_process_again_and_again_fails() -> None:
    """Poison is poison, wherever it is computed."""
    play = Held({"perdure": 1, "name": "w", "nodes": {"a": {"type": "map", "over": "${ input }", "to": "${ item }"}}})
    play.start(MANY)
    for _ in range(3):
        play.crash()
    assert play.status == "failed"
    assert play.error is not None
    assert play.error.code == "worker.crashed"


class Held(Recording):
    """A recording whose evaluations outside never answer by themselves."""

    def _evaluations(self, commands: Any) -> list[Any]:
        return []


def test_a_large_value_that_nobody_walks_over_stays_inside() -> None:
    """Passing a value on costs nothing: only what is touched is counted."""
    play = run({"type": "transform", "to": {"all": "${ input }"}}, "x" * 60_000)
    assert evaluations(play) == []
    assert play.output == {"all": "x" * 60_000}


def test_a_value_that_is_not_in_memory_and_too_large_for_a_step_is_not_fetched_for_it() -> None:
    """The evaluation goes outside at once, and the value goes there by its handle."""
    play = Recording(
        {"perdure": 1, "name": "w", "nodes": {"a": {"type": "transform", "to": "${ len(input) }"}}}, forgetful=True
    )  # fmt: skip
    play.start("x" * 200_000)
    (asked,) = evaluations(play)
    assert len(asked.names["roots"]["input"]) < 100
    assert play.node_output("a") == 200_000


def test_the_budget_of_a_step_is_counted_and_never_timed() -> None:
    """The same evaluation always spends the same."""
    template = compile_template("${ sum([item * 2 for item in input]) }")
    spent = set()
    for _ in range(3):
        budget = Budget()
        template.evaluate(PlainNames({"input": list(range(500))}), budget)
        spent.add(budget.spent)
    assert len(spent) == 1


def test_results_of_an_evaluation_outside_may_be_late() -> None:
    """A second answer for the same token is passed over."""
    play = run({"type": "map", "over": "${ input }", "to": "${ item }"}, MANY, b={"type": "test.effect", "after": "a"})
    token = evaluations(play)[0].token
    assert play.kinds(play.take(events.Result(token=token, outcome="failed", error=Failure(code="x", title="x")))) == ["Late a"]
