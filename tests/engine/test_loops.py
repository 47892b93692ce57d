"""Loops: what they go through, what they give, what passes from one iteration to the next (rules 24 to 26)."""

from __future__ import annotations

from typing import Any

import pytest
from plays import error_of
from recording import Recording
from ways import Begin, Played, graph, scope

from perdure.engine import events
from perdure.engine.codec import handle_digest
from perdure.errors import DefinitionRefused
from perdure.testing.rehearsal import plan_of

LOOP_TYPES: dict[str, dict[str, Any]] = {
    "loop": {"type": "loop", "over": [10, 20, 30]},
    "while": {"type": "while", "condition": "${ index < 3 }"},
    "repeat": {"type": "repeat", "times": 3},
}


def loop(over: Any = "${ input }", /, body: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A loop whose body is one effect `x`, unless written."""
    return {"type": "loop", "over": over, "body": body if body is not None else scope(x={}), **more}


def pure(to: Any) -> dict[str, Any]:
    """A body that gives a value by itself."""
    return scope(v={"type": "transform", "to": to})


def of_loop(play: Played, node: str = "l") -> dict[str, Any]:
    """What the loop said."""
    output: dict[str, Any] = play.node_output(node)
    return output


# -- what it goes through -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "over, items",
    [
        ([], []),
        ([1, "two", None, {"n": 4}, [5]], [1, "two", None, {"n": 4}, [5]]),
        ({}, []),
        ({"a": 1, "b": {"c": 2}}, [{"key": "a", "value": 1}, {"key": "b", "value": {"c": 2}}]),
    ],
)
def test_rule_24_it_goes_through_lists_and_objects(begin: Begin, over: Any, items: list[Any]) -> None:
    """Objects iterate as `{key, value}` in their order; an empty one has succeeded, without results."""
    play = begin({"l": loop(body=pure("${ item }"))}, over)
    assert play.status == "succeeded"
    assert play.output["results"] == items
    assert play.output["counts"]["total"] == len(items)


@pytest.mark.parametrize("over", [None, 0, 1.5, True, "text", ""])
def test_rule_24_null_and_scalars_are_no_items(begin: Begin, over: Any) -> None:
    """`loop.not_iterable`, of category validation, before anything begins."""
    play = begin({"l": loop(retry={"attempts": 3})}, over)
    assert (play.status, error_of(play).code, error_of(play).category) == ("failed", "loop.not_iterable", "validation")
    assert all(not isinstance(fact, events.Opened) for fact in play.facts)


def test_rule_24_the_paths_index_is_the_number(begin: Begin) -> None:
    """From 0, for objects as well."""
    play = begin({"l": loop({"a": 1, "b": 2}, concurrency=2)})
    assert play.running() == ["l[0].x", "l[1].x"]


def test_rule_24_over_is_evaluated_once(begin: Begin) -> None:
    """What a variable or a node becomes later changes no loop that has begun."""
    body = scope(x={}, w={"type": "set_variable", "after": "x", "set": {"items": "${ [item] + vars.items }"}})
    play = begin({"l": loop("${ vars.items }", body, result="${ item }")}, vars={"items": [1, 2]})
    play.succeed("l[0].x")
    play.succeed("l[1].x")
    assert of_loop(play)["results"] == [1, 2]


def test_rule_24_every_parameter_is_evaluated_once(begin: Begin) -> None:
    """`concurrency` is what it was on entry."""
    body = scope(w={"type": "set_variable", "set": {"n": 1}}, x={"after": "w"})
    play = begin({"l": loop([1, 2, 3, 4], body, concurrency="${ vars.n }")}, vars={"n": {"value": 2, "merge": "last"}})
    assert play.running() == ["l[0].x", "l[1].x"]
    play.succeed("l[0].x")
    assert play.running() == ["l[1].x", "l[2].x"]


def test_rule_24_many_items_are_kept_by_digest(begin: Begin) -> None:
    """The fact that the loop began holds a handle, and no iteration holds them again."""
    play = begin({"l": loop(body=pure("${ item.n }"))}, [{"n": n, "text": "x" * 100} for n in range(50)])
    (opened,) = [fact for fact in play.facts if isinstance(fact, events.Opened)]
    assert handle_digest(opened.items) is not None
    assert play.output["results"] == list(range(50))


def test_rule_24_items_beyond_the_budget_are_evaluated_outside(begin: Begin) -> None:
    """As a pure node is: the loop runs meanwhile, and its items are there when they are evaluated."""
    over = "${ [sum([n * m for m in [1, 2, 3]]) for n in input][-2:] }"
    play = begin({"l": loop(over, pure("${ item }"))}, list(range(2_000)))
    assert play.output["results"] == [1_998 * 6, 1_999 * 6]
    assert [fact.pure for fact in play.facts if isinstance(fact, events.Scheduled)] == [True]


def test_rule_24_items_beyond_the_budget_may_be_none(begin: Begin) -> None:
    """What cannot be evaluated outside fails the loop as inside."""
    over = "${ [sum([n * m for m in [1, 2, 3]]) for n in input][0] }"
    play = begin({"l": loop(over)}, list(range(2_000)))
    assert (play.status, error_of(play).code) == ("failed", "loop.not_iterable")


@pytest.mark.parametrize("key", ["concurrency", "times", "max_iterations", "tolerate"])
@pytest.mark.parametrize("value", ["${ -1 }", "${ 'two' }", "${ 1.5 }", "${ true }", "${ [] }"])
def test_rule_24_a_parameter_must_come_out_as_when_written(begin: Begin, key: str, value: str) -> None:
    """A number that is none, or too small: `loop.invalid`, of category validation, and nothing begins."""
    made = {"type": "repeat", "times": 2, "body": scope(x={})} if key == "times" else loop([1, 2])
    play = begin({"l": {**made, key: value}})
    assert (play.status, error_of(play).code, error_of(play).category) == ("failed", "loop.invalid", "validation")


def test_rule_24_a_retry_keeps_the_items(begin: Begin) -> None:
    """A container's retry is the whole of it in fresh frames, with the items of its first attempt."""
    write = {"type": "set_variable", "after": "x.error", "set": {"items": [7, 8, 9]}}
    body = scope(x={}, w=write, y={"after": "w"})
    retry = {"attempts": 2, "initial": "1s", "jitter": False}
    play = begin({"l": loop("${ vars.items }", body, retry=retry, result="${ item }")}, vars={"items": [1, 2]})
    play.fail("l[0].x", "x.first")
    play.fail("l[0].y", "x.second")
    assert play.state("l") == "waiting"
    play.pass_time(1)
    for index in range(2):
        assert play.running() == [f"l~2[{index}].x"]
        play.succeed(f"l~2[{index}].x")
    assert of_loop(play)["results"] == [1, 2]


# -- one after another, or several -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LOOP_TYPES)
def test_iterations_run_one_after_another_unless_written(begin: Begin, kind: str) -> None:
    """The next begins when the one before has ended."""
    play = begin({"l": {**LOOP_TYPES[kind], "body": scope(x={}, y={"after": "x"})}})
    for index in range(3):
        assert play.running() == [f"l[{index}].x"]
        play.succeed(f"l[{index}].x")
        assert play.running() == [f"l[{index}].y"]
        play.succeed(f"l[{index}].y", index)
    assert of_loop(play)["results"] == [0, 1, 2]


@pytest.mark.parametrize("concurrency", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("kind", ["loop", "repeat"])
def test_concurrency_is_how_many_run(begin: Begin, kind: str, concurrency: int) -> None:
    """Iterations are opened lazily, in order, as others end."""
    made = {"type": "repeat", "times": 5} if kind == "repeat" else {"type": "loop", "over": "${ input }"}
    play = begin({"l": {**made, "concurrency": concurrency, "body": scope(x={})}}, [1, 2, 3, 4, 5])
    for ended in range(5):
        running = play.running()
        assert len(running) == min(concurrency, 5 - ended)
        play.succeed(running[-1], ended)
    assert play.status == "succeeded"


# -- what it gives --------------------------------------------------------------------------------------------------------


def test_rule_25_results_are_in_the_order_of_the_items(begin: Begin) -> None:
    """Whatever ended first."""
    play = begin({"l": loop([1, 2, 3], concurrency=3)})
    for index in (2, 0, 1):
        play.succeed(f"l[{index}].x", index * 10)
    assert of_loop(play)["results"] == [0, 10, 20]


def test_rule_25_only_what_succeeded_adds_to_the_results(begin: Begin) -> None:
    """Continued, failed and cancelled iterations add nothing, and are counted."""
    body = scope(
        x={}, c={"type": "continue", "after": "x", "when": "${ nodes.x == 'next' }"},
        b={"type": "break", "after": "x", "when": "${ nodes.x == 'break' }"},
        v={"type": "transform", "after": "x", "to": "${ item }"},
    )  # fmt: skip
    play = begin({"l": loop([0, 1, 2, 3, 4], body, concurrency=5, tolerate=1, result="${ nodes.v }")})
    play.succeed("l[1].x", "next")
    play.succeed("l[4].x", "value")
    play.fail("l[3].x", "x.three")
    play.succeed("l[0].x", "break")
    play.stopped("l[2].x")
    output = of_loop(play)
    assert output["results"] == [4]
    assert output["counts"] == {"total": 5, "succeeded": 1, "failed": 1, "continued": 1, "cancelled": 2}
    assert [(each["index"], each["error"]["code"]) for each in output["failures"]] == [(3, "x.three")]
    assert output["broken_by"] == 0


def test_rule_25_broken_by_is_null_unless_broken(begin: Begin) -> None:
    """And the other keys are there without anything in them."""
    play = begin({"l": loop([])})
    assert play.output == {
        "results": [], "failures": [], "broken_by": None,
        "counts": {"total": 0, "succeeded": 0, "failed": 0, "continued": 0, "cancelled": 0},
    }  # fmt: skip


@pytest.mark.parametrize(
    "more, inside, value",
    [
        ({}, {}, {"x": 1, "y": 2}),
        ({"result": "${ nodes.x + item }"}, {}, 11),
        ({}, {"result": "${ nodes.y }"}, 2),
        ({}, {"output": "${ [nodes.x, nodes.y] }"}, [1, 2]),
    ],
)
def test_rule_25_the_value_of_an_iteration(begin: Begin, more: Any, inside: Any, value: Any) -> None:
    """`result` of the loop or of its body, else the output of its scope."""
    play = begin({"l": loop([10], {**scope(x={}, y={}), **inside}, **more)})
    play.succeed("l[0].x", 1)
    play.succeed("l[0].y", 2)
    assert of_loop(play)["results"] == [value]


def test_rule_25_a_result_that_cannot_be_evaluated_fails_the_iteration(begin: Begin) -> None:
    """An error in `result` is one in `output`: the frame has failed."""
    play = begin({"l": loop([1], result="${ nodes.x.missing }")})
    play.succeed("l[0].x", {})
    assert (play.status, error_of(play).code, error_of(play).node) == ("failed", "expression.missing", "l[0]")


def test_rule_25_the_first_hundred_failures_are_named() -> None:
    """By their end; all are counted."""
    body = scope(v={"type": "fail", "code": "x.${ item }"})
    play = Recording(graph({"l": loop(list(range(120)), body, on_failure="ignore")}))
    play.start()
    output = play.output
    assert output["counts"]["failed"] == 120
    assert [each["index"] for each in output["failures"]] == list(range(100))


def test_rule_25_failures_are_in_the_order_of_their_end(begin: Begin) -> None:
    """Not of the items."""
    play = begin({"l": loop([1, 2, 3], concurrency=3, on_failure="ignore")})
    play.fail("l[2].x", "x.2")
    play.succeed("l[1].x")
    play.fail("l[0].x", "x.0")
    assert [each["index"] for each in of_loop(play)["failures"]] == [2, 0]


def test_rule_25_collect_puts_a_failure_among_the_results(begin: Begin) -> None:
    """In its place, as `{status: failed, error}`."""
    play = begin({"l": loop([1, 2, 3], on_failure="collect")})
    play.succeed("l[0].x", "a")
    play.fail("l[1].x", "x.b")
    play.succeed("l[2].x", "c")
    first, second, third = of_loop(play)["results"]
    assert (first, third) == ("a", "c")
    assert (second["status"], second["error"]["code"], second["error"]["node"]) == ("failed", "x.b", "l[1].x")


@pytest.mark.parametrize("collect, results", [("all", [0, 1, 2, 3]), ("last 2", [2, 3]), ("last 9", [0, 1, 2, 3]), ("count", 4),
                                              ("none", None)])  # fmt: skip
@pytest.mark.parametrize("concurrency, order", [(1, (0, 1, 2, 3)), (4, (3, 0, 2, 1)), (4, (1, 0, 3, 2))])
def test_rule_25_collect_says_which_results_are_kept(
    begin: Begin, collect: str, results: Any, concurrency: int, order: tuple[int, ...]
) -> None:  # fmt: skip
    """All, those of the highest indexes, their number, none: whatever ended first."""
    play = begin({"l": loop([0, 1, 2, 3], concurrency=concurrency, collect=collect)})
    for index in order:
        play.succeed(f"l[{index}].x", index)
    assert of_loop(play)["results"] == results


SUM = {"start": 0, "next": "${ carry + item }"}
TEXT = {"start": "", "next": "${ carry + item }"}


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2), (2, 0, 1, 3)])
def test_rule_25_reduce_folds_in_the_order_of_the_items(begin: Begin, order: tuple[int, ...]) -> None:
    """Whatever ended first; what came early waits for those before it, and is dropped when it is folded."""
    play = begin({"l": loop(["a", "b", "c", "d"], concurrency=4, collect="reduce", reduce=TEXT)})
    for index in order:
        play.succeed(f"l[{index}].x", "abcd"[index])
    assert of_loop(play)["results"] == "abcd"


def test_rule_25_reduce_passes_over_what_gave_no_value(begin: Begin) -> None:
    """Continued and failed iterations add nothing, and hold nothing up; `index` is the iteration's."""
    body = scope(x={}, c={"type": "continue", "after": "x", "when": "${ nodes.x == 'next' }"})
    fold = {"start": [], "next": "${ carry + [[index, item]] }"}
    play = begin(
        {
            "l": loop(
                [0, 1, 2, 3], body, concurrency=4, collect="reduce", reduce=fold, on_failure="ignore", result="${ nodes.x }"
            )
        }
    )
    play.succeed("l[3].x", "d")
    play.fail("l[1].x")
    play.succeed("l[2].x", "next")
    play.succeed("l[0].x", "a")
    assert of_loop(play)["results"] == [[0, "a"], [3, "d"]]


def test_rule_25_reduce_that_fails_fails_the_iteration(begin: Begin) -> None:
    """With which the value would have been folded."""
    play = begin({"l": loop([1], collect="reduce", reduce=SUM)})
    play.succeed("l[0].x", "text")
    assert (play.status, error_of(play).category, error_of(play).node) == ("failed", "validation", "l[0]")


def test_rule_25_reduce_of_nothing_is_its_start(begin: Begin) -> None:
    """Empty loops give what they began with."""
    play = begin({"l": loop([], collect="reduce", reduce=SUM)})
    assert play.output["results"] == 0


# -- from one to the next -------------------------------------------------------------------------------------------------


def test_rule_26_carry_passes_a_value_on(begin: Begin) -> None:
    """`next` sees the nodes of the iteration that has ended, its item, `last`, and `carry` as it was."""
    carry = {"start": "${ input }", "next": "${ [carry, item, index, last, nodes.x] }"}
    play = begin({"l": loop(["a", "b"], scope(x={"with": {"carry": "${ carry }", "last": "${ last }"}}), carry=carry)}, "start")
    assert play.value(play.instance("l[0].x").params) == {"carry": "start", "last": None}
    play.succeed("l[0].x", 1)
    assert play.value(play.instance("l[1].x").params) == {"carry": ["start", "a", 0, 1, 1], "last": 1}


def test_rule_26_continue_leaves_carry_as_it_is(begin: Begin) -> None:
    """`next` is not evaluated after it; nor after an iteration that failed."""
    body = scope(x={}, c={"type": "continue", "after": "x", "when": "${ nodes.x == 'next' }"})
    carry = {"start": 0, "next": "${ carry + nodes.x }"}
    seen = scope({**body["nodes"], "y": {"with": {"c": "${ carry }", "l": "${ last }"}}})
    play = begin({"l": loop([1, 2, 3, 4], seen, carry=carry, tolerate=1, result="${ nodes.x }")})
    expected = [(0, None), (5, 5), (5, 5), (5, 5)]
    for index, said in enumerate((5, "next", None, 7)):
        assert play.value(play.instance(f"l[{index}].y").params) == {"c": expected[index][0], "l": expected[index][1]}
        play.succeed(f"l[{index}].y")
        play.fail(f"l[{index}].x") if said is None else play.succeed(f"l[{index}].x", said)
    assert of_loop(play)["results"] == [5, 7]


def test_rule_26_carry_next_that_fails_fails_the_iteration(begin: Begin) -> None:
    """The value of it is lost, and `on_failure` speaks."""
    play = begin({"l": loop([1, 2], carry={"start": 0, "next": "${ carry + nodes.x }"}, on_failure="ignore")})
    play.succeed("l[0].x", "text")
    play.succeed("l[1].x", 5)
    output = of_loop(play)
    assert (output["results"], [each["index"] for each in output["failures"]]) == ([5], [0])


def test_rule_26_while_sees_carry_vars_last_and_the_number_to_come(begin: Begin) -> None:
    """Judged before each iteration, and not once more."""
    made = {
        "type": "while", "condition": "${ index < 2 or (carry < 10 and last != 'stop' and vars.go) }",
        "carry": {"start": 0, "next": "${ carry + 1 }"}, "body": scope(x={}),
    }  # fmt: skip
    play = begin({"l": made}, vars={"go": True})
    for said in ("a", "b", "c"):
        (node,) = play.running()
        play.succeed(node, said)
    play.succeed("l[3].x", "stop")
    assert of_loop(play)["results"] == ["a", "b", "c", "stop"]


def test_rule_26_a_while_that_is_false_at_once_runs_nothing(begin: Begin) -> None:
    """It has succeeded, with nothing."""
    play = begin({"l": {"type": "while", "condition": "${ false }", "body": scope(x={})}})
    assert (play.status, play.output["counts"]["total"]) == ("succeeded", 0)


@pytest.mark.parametrize("condition", ["${ index }", "${ last.missing }"])
def test_rule_26_a_condition_that_is_none_fails_the_loop(begin: Begin, condition: str) -> None:
    """The loop, and not an iteration."""
    play = begin({"l": {"type": "while", "condition": condition, "body": scope(x={})}})
    assert (play.status, error_of(play).category, error_of(play).node) == ("failed", "validation", "l")


def test_rule_26_until_sees_carry_vars_last_and_the_nodes_of_the_body(begin: Begin) -> None:
    """After `next`: `carry` is the new one."""
    made = {
        "type": "repeat", "until": "${ carry == 3 and last == 3 and nodes.x == 3 and index == 2 and vars.go }",
        "carry": {"start": 0, "next": "${ carry + 1 }"}, "body": scope(x={}),
    }  # fmt: skip
    play = begin({"l": made}, vars={"go": True})
    for index in range(3):
        play.succeed(f"l[{index}].x", index + 1)
    assert of_loop(play)["results"] == [1, 2, 3]


def test_rule_26_last_is_of_the_iteration_that_succeeded_most_recently(begin: Begin) -> None:
    """In time, not in number."""
    body = scope(x={}, y={"after": "x", "with": {"last": "${ last }"}})
    play = begin({"l": loop([1, 2, 3], body, concurrency=3)})
    play.succeed("l[2].x")
    play.succeed("l[2].y", "third")
    play.succeed("l[0].x")
    assert play.value(play.instance("l[0].y").params) == {"last": "third"}


def test_rule_26_carry_needs_one_after_another() -> None:
    """Refused when saved."""
    with pytest.raises(DefinitionRefused) as refused:
        plan_of(graph({"l": loop([1], carry={"start": 0, "next": "${ carry }"}, concurrency=2)}))
    assert [fault.code for fault in refused.value.faults] == ["loop.carry_concurrency"]


def test_names_of_loops_in_loops(begin: Begin) -> None:
    """`as` and `index` tell them apart; `last` and `carry` are those of the nearest."""
    inner = loop([1, 2], scope(x={"with": {"s": "${ [row, r, cell, c, last] }"}}), **{"as": "cell", "index": "c"})
    outer = loop(["a", "b"], scope(m=inner), concurrency=2, **{"as": "row", "index": "r"})
    play = begin({"l": outer})
    assert play.running() == ["l[0].m[0].x", "l[1].m[0].x"]
    play.succeed("l[1].m[0].x", "seen")
    assert play.value(play.instance("l[1].m[1].x").params) == {"s": ["b", 1, 2, 1, "seen"]}


def test_large_items_and_results_are_whole_where_they_are_read() -> None:
    """Kept by handle, asked for when they are needed, also in `reduce`, `carry` and chunks."""
    big = ["x" * 3_000, "y" * 3_000, "z" * 3_000]
    made = loop(body=pure("${ item + item[:1] }"), carry={"start": "", "next": "${ last }"}, until="${ len(carry) > 9_000 }")
    play = Recording(graph({"l": made}), forgetful=True)
    play.start(big)
    assert [len(each) for each in play.output["results"]] == [3_001] * 3
    assert play.fetches > 0
    assert play.restepped() == []
