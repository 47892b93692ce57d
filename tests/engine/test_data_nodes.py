"""Data and other small nodes: what each gives, and how each refuses."""

from __future__ import annotations

from typing import Any

import pytest
from recording import Recording

from perdure.engine import events
from perdure.errors import Failure
from perdure.testing.rehearsal import effects


def run(node: dict[str, Any], input: Any = None) -> Recording:
    """A workflow of this one node, run."""
    play = Recording({"perdure": 1, "name": "w", "nodes": {"a": node}})
    play.start(input)
    return play


def gives(node: dict[str, Any], input: Any = None) -> Any:
    """The node's output."""
    play = run(node, input)
    assert play.status == "succeeded", play.error
    return play.output


def refusal(node: dict[str, Any], input: Any = None) -> Failure:
    """How the node fails."""
    play = run(node, input)
    assert play.status == "failed"
    assert play.error is not None
    assert play.error.category == "validation"
    assert play.error.retryable is False
    return play.error


@pytest.mark.parametrize("value", [None, 1, "text", [1, {"a": [True]}], {"a": None}])
def test_transform_gives_any_value(value: Any) -> None:
    """Literal or computed."""
    assert gives({"type": "transform", "to": value}) == value
    assert gives({"type": "transform", "to": "${ input }"}, value) == value


def test_map_sees_item_and_index() -> None:
    """A value for each item, in order."""
    assert gives({"type": "map", "over": "${ input }", "to": "${ [index, item] }"}, ["a", "b"]) == [[0, "a"], [1, "b"]]


def test_map_over_an_object() -> None:
    """Items are `{key, value}` in the object's order (rule 24)."""
    node = {"type": "map", "over": "${ input }", "to": "${ item.key + '=' + item.value }"}
    assert gives(node, {"b": "1", "a": "2"}) == ["b=1", "a=2"]


@pytest.mark.parametrize("kind", ["map", "filter", "reduce", "sort", "group", "split"])
@pytest.mark.parametrize("over", [None, 1, "text", True])
def test_what_cannot_be_walked_over_is_refused(kind: str, over: Any) -> None:
    """Null, numbers and texts are no lists: a text is not a list of letters."""
    every: dict[str, dict[str, Any]] = {
        "map": {"to": 1}, "filter": {"where": "${ true }"}, "reduce": {"start": 0, "next": 0}, "sort": {}, "group": {"by": "x"},
        "split": {"size": 2},
    }  # fmt: skip
    assert refusal({"type": kind, "over": "${ input }", **every[kind]}, over).code == "data.not_iterable"


@pytest.mark.parametrize(
    "kind, keys, empty",
    [
        ("map", {"to": 1}, []),
        ("filter", {"where": "${ true }"}, []),
        ("sort", {}, []),
        ("group", {"by": "x"}, {}),
        ("split", {"size": 2}, []),
        ("reduce", {"start": 7, "next": 0}, 7),
    ],
)
def test_an_empty_list_is_fine(kind: str, keys: dict[str, Any], empty: Any) -> None:
    """Nothing in, nothing out; `reduce` gives its start."""
    assert gives({"type": kind, "over": "${ input }", **keys}, []) == empty


def test_filter_keeps_what_holds_in_order() -> None:
    """Only items for which the condition is true."""
    assert gives({"type": "filter", "over": "${ input }", "where": "${ item % 2 == 1 }"}, [5, 2, 3, 4, 1]) == [5, 3, 1]


@pytest.mark.parametrize("item", [1, "yes", None, []])
def test_filter_takes_only_true_and_false(item: Any) -> None:
    """A condition is never guessed at."""
    error = refusal({"type": "filter", "over": "${ input }", "where": "${ item }"}, [True, item])
    assert error.code == "expression.type"
    assert "item 1" in error.title


def test_reduce_folds_in_order() -> None:
    """`carry` goes from item to item."""
    node = {"type": "reduce", "over": "${ input }", "start": "", "next": "${ carry + item + string(index) }"}
    assert gives({**node, "next": "${ carry + item }"}, ["a", "b", "c"]) == "abc"


@pytest.mark.parametrize(
    "keys, input, output",
    [
        ({}, [3, 1, 2], [1, 2, 3]),
        ({"descending": True}, [3, 1, 2], [3, 2, 1]),
        ({}, ["b", "a", "B"], ["B", "a", "b"]),
        ({"by": "${ item.k }"}, [{"k": 2, "n": 1}, {"k": 1, "n": 2}, {"k": 2, "n": 3}],
         [{"k": 1, "n": 2}, {"k": 2, "n": 1}, {"k": 2, "n": 3}]),
        ({"by": "${ item.k }", "descending": True}, [{"k": 2, "n": 1}, {"k": 1, "n": 2}, {"k": 2, "n": 3}],
         [{"k": 2, "n": 1}, {"k": 2, "n": 3}, {"k": 1, "n": 2}]),
        ({}, [2, None, 1], [None, 1, 2]),
        ({}, [1, 0.5, 2], [0.5, 1, 2]),
        ({"by": "${ [item.a, item.b] }"}, [{"a": 1, "b": 2}, {"a": 0, "b": 9}, {"a": 1, "b": 1}],
         [{"a": 0, "b": 9}, {"a": 1, "b": 1}, {"a": 1, "b": 2}]),
    ],
)  # fmt: skip
def test_sort_puts_in_order(keys: dict[str, Any], input: Any, output: Any) -> None:
    """By a key or by itself, null first, equal ones as they came, also when descending."""
    assert gives({"type": "sort", "over": "${ input }", **keys}, input) == output


@pytest.mark.parametrize("items", [[1, "a"], [{"a": 1}], [[1], 1], [True, "x"]])
def test_sort_refuses_what_cannot_be_compared(items: Any) -> None:
    """Numbers with texts, objects, lists with numbers."""
    assert refusal({"type": "sort", "over": "${ input }"}, items).code == "sort.key"


def test_group_gathers_by_key() -> None:
    """Keys in the order they first appear; numbers, booleans and null as JSON writes them."""
    node = {"type": "group", "over": "${ input }", "by": "${ item }"}
    assert gives(node, ["b", "a", "b"]) == {"b": ["b", "b"], "a": ["a"]}
    assert gives(node, [1, True, None, "1"]) == {"1": [1, "1"], "true": [True], "null": [None]}


@pytest.mark.parametrize("key", [1.5, [1], {"a": 1}])
def test_group_refuses_what_is_no_key(key: Any) -> None:
    """Fractions, lists and objects do not name a group."""
    assert refusal({"type": "group", "over": "${ input }", "by": "${ item }"}, [key]).code == "group.key"


@pytest.mark.parametrize(
    "how, of, output",
    [
        ("shallow", [{"a": 1, "b": {"x": 1}}, {"b": {"y": 2}}], {"a": 1, "b": {"y": 2}}),
        ("deep", [{"a": 1, "b": {"x": 1}}, {"b": {"y": 2}}], {"a": 1, "b": {"x": 1, "y": 2}}),
        ("deep", [{"a": {"x": 1}}, {"a": 5}, {"a": {"y": 2}}], {"a": {"y": 2}}),
        ("append", [[1], [], [2, 3]], [1, 2, 3]),
        ("zip", [[1, 2, 3], ["a", "b"]], [[1, "a"], [2, "b"]]),
        ("shallow", [None, {"a": 1}, None], {"a": 1}),
        ("append", [None], []),
    ],
)
def test_merge_makes_one_of_several(how: str, of: Any, output: Any) -> None:
    """Null values, as of branches that were not taken, are left out."""
    assert gives({"type": "merge", "of": "${ input }", "how": how}, of) == output


@pytest.mark.parametrize(
    "how, of", [("shallow", [[1]]), ("append", [{"a": 1}]), ("deep", [1]), ("zip", ["ab"]), ("shallow", "text")]
)
def test_merge_refuses_other_kinds(how: str, of: Any) -> None:
    """Objects with objects, lists with lists."""
    assert refusal({"type": "merge", "of": "${ input }", "how": how}, of).code == "merge.type"


@pytest.mark.parametrize(
    "keys, output",
    [
        ({"size": 2}, [[1, 2], [3, 4], [5]]), ({"size": 10}, [[1, 2, 3, 4, 5]]), ({"size": 5}, [[1, 2, 3, 4, 5]]),
        ({"parts": 2}, [[1, 2, 3], [4, 5]]), ({"parts": 5}, [[1], [2], [3], [4], [5]]),
        ({"parts": 7}, [[1], [2], [3], [4], [5], [], []]),
    ],
)  # fmt: skip
def test_split_cuts(keys: dict[str, Any], output: Any) -> None:
    """By size, the last piece shorter; by parts, the first ones longer."""
    assert gives({"type": "split", "over": "${ input }", **keys}, [1, 2, 3, 4, 5]) == output


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", None, True])
def test_split_refuses_other_counts(count: Any) -> None:
    """Whole numbers from one on."""
    assert refusal({"type": "split", "over": [1], "size": "${ input }"}, count).code == "split.count"


def test_validate_gives_the_value_or_all_faults() -> None:
    """With a path for each fault."""
    node = {
        "type": "validate",
        "value": "${ input }",
        "schema": {"type": "object", "required": ["id"], "properties": {"n": {"type": "integer"}}},
    }
    assert gives(node, {"id": 1}) == {"id": 1}
    error = refusal(node, {"n": "x"})
    assert error.code == "validation.schema"
    assert sorted(fault["path"] for fault in error.data["faults"]) == ["", "n"]


@pytest.mark.parametrize(
    "node, code",
    [
        ({"type": "map", "over": None, "to": 1}, "data.not_iterable"), ({"type": "merge", "of": None}, "merge.type"),
        ({"type": "condition", "if": None}, "expression.type"),
        ({"type": "filter", "over": [1], "where": None}, "expression.type"),
        ({"type": "wait_for_signal", "signal": None}, "expression.type"), ({"type": "emit", "event": None}, "expression.type"),
    ],
)  # fmt: skip
def test_a_null_that_was_written_out_is_a_null(node: dict[str, Any], code: str) -> None:
    """It is judged as a null that was computed: by what the key needs."""
    assert refusal(node).code == code


@pytest.mark.parametrize(
    "message, text", [("${ input }", '{"a":[1,null]}'), (None, "null"), ("n: ${ input.a }", "n: [1,null]"), (5, "5")]
)
def test_log_writes_values_as_json(message: Any, text: str) -> None:
    """As everywhere where a value stands in a text."""
    assert gives({"type": "log", "message": message}, {"a": [1, None]})["message"] == text


def test_fail_fails_with_what_the_author_says() -> None:
    """Code, title, detail, category and data."""
    node = {
        "type": "fail",
        "code": "order.${ input }",
        "title": "No ${ input }",
        "detail": "why",
        "category": "technical",
        "data": [1],
    }
    play = run(node, "empty")
    assert play.error is not None
    assert (play.error.code, play.error.title, play.error.detail) == ("order.empty", "No empty", "why")
    assert (play.error.category, play.error.data, play.error.node) == ("technical", [1], "a")


def test_fail_is_business_by_default() -> None:
    """And so never retried."""
    play = run({"type": "fail", "code": "order.empty", "retry": {"attempts": 5}})
    assert play.error is not None
    assert play.error.category == "business"


def test_log_keeps_the_line() -> None:
    """Message, level and data are in the timeline."""
    assert gives({"type": "log", "message": "got ${ input }", "level": "warning", "data": {"n": "${ input }"}}, 3) == {
        "message": "got 3", "level": "warning", "data": {"n": 3},
    }  # fmt: skip


def test_emit_states_the_event_with_its_own_success() -> None:
    """One row holds both: exactly once; its id is derived, so that it is the same whenever it is asked for."""
    node = {"type": "emit", "event": "order.paid", "subject": "${ input }", "data": {"id": "${ input }"}}
    play, again = run(node, "o-1"), run(node, "o-1")
    (emitted,) = [fact for fact in play.facts if isinstance(fact, events.Emitted)]
    assert (emitted.type, emitted.subject, play.value(emitted.data)) == ("order.paid", "o-1", {"id": "o-1"})
    assert play.output == {"id": emitted.id, "event": "order.paid"} == again.output
    assert play.kinds() == ["Started", "Emitted a", "Done a", "Ended"]


@pytest.mark.parametrize("key", ["event", "subject"])
def test_emit_takes_only_texts_as_names(key: str) -> None:
    """An event's type and subject are texts."""
    assert refusal({"type": "emit", "event": "x", "subject": "y", key: "${ input }"}, 5).code == "expression.type"


def test_return_ends_the_workflow_with_its_value() -> None:
    """What runs is stopped, what waits is cancelled, what has not started is skipped; the value replaces `output` (rule 32)."""
    play = Recording(
        {
            **effects(
                a={}, b={}, w={"type": "delay", "for": "1d"}, c={"after": "b"},
                leave={"type": "return", "after": "a", "value": {"n": "${ nodes.a }"}},
            ),
            "output": "never",
        }
    )  # fmt: skip
    play.start()
    play.succeed("a", 7)
    assert play.states() == {"a": "succeeded", "b": "running", "w": "cancelled", "c": "skipped", "leave": "succeeded"}
    assert play.status == ""
    play.stopped("b")
    assert (play.status, play.output) == ("succeeded", {"n": 7})
    assert play.instance("b").cause == "`leave` returned"


def test_return_without_a_value_gives_null() -> None:
    """And is a success."""
    assert gives({"type": "return"}) is None


def test_return_and_a_failure_that_comes_after() -> None:
    """What fails while it is being stopped does not undo the return."""
    play = Recording(effects(a={}, leave={"type": "return", "value": 1, "after": "go"}, go={}))
    play.start()
    play.succeed("go")
    play.fail("a", "x.first")
    assert (play.status, play.output) == ("succeeded", 1)


def test_two_returns_in_one_step() -> None:
    """The first one leaves; the other never starts."""
    play = Recording(
        effects(go={}, one={"type": "return", "value": 1, "after": "go"}, two={"type": "return", "value": 2, "after": "go"})
    )
    play.start()
    play.succeed("go")
    assert play.output == 1
    assert play.state("two") == "skipped"


def test_get_variable_keeps_the_present_value() -> None:
    """As its output, whatever is written later."""
    play = Recording(
        {
            **effects(
                read={"type": "get_variable", "name": "n"}, write={"type": "set_variable", "after": "read", "set": {"n": 2}},
            ),
            "vars": {"n": 1}, "output": ["${ nodes.read }", "${ vars.n }"],
        }
    )  # fmt: skip
    play.start()
    assert play.output == [1, 2]
