"""Variables: declared in a scope, written in the order of the journal, seen at once (rule 49)."""

from __future__ import annotations

from typing import Any

import pytest
from graphs import CATALOG
from recording import Recording

from perdure.definition import check_document
from perdure.engine import events
from perdure.testing.rehearsal import effects


def with_vars(variables: dict[str, Any], **nodes: Any) -> dict[str, Any]:
    """A document of effects and variables."""
    return {**effects(**nodes), "vars": variables}


def test_rule_49_a_variable_begins_with_its_declared_value() -> None:
    """A plain value, one written out, or an expression over the input and the execution."""
    declared = {
        "plain": 1, "list": [1, 2], "none": None, "written": {"value": 5, "merge": "last"}, "computed": "${ input.n * 2 }",
        "about": "${ execution.workflow }",
    }  # fmt: skip
    play = Recording(with_vars(declared, t={"type": "transform", "to": {name: f"${{ vars.{name} }}" for name in declared}}))
    play.start({"n": 21})
    assert play.output == {"plain": 1, "list": [1, 2], "none": None, "written": 5, "computed": 42, "about": "w"}


def test_rule_49_an_initial_value_that_cannot_be_computed_fails_the_execution() -> None:
    """It started, and failed before any node ran."""
    play = Recording(with_vars({"n": "${ input.missing }"}, a={}))
    play.start({})
    assert play.status == "failed"
    assert play.error is not None
    assert play.error.code == "expression.missing"
    assert play.runs() == []


def test_rule_49_a_write_is_seen_at_once() -> None:
    """By whatever starts next, in the same step."""
    play = Recording(
        with_vars(
            {"n": 1}, more={"type": "set_variable", "set": {"n": "${ vars.n + 1 }"}},
            again={"type": "set_variable", "after": "more", "set": {"n": "${ vars.n * 10 }"}},
            read={"type": "get_variable", "after": "again", "name": "n"},
        )
    )  # fmt: skip
    play.start()
    assert play.output == 20
    assert (play.node_output("more"), play.node_output("again")) == ({"n": 2}, {"n": 20})


def test_rule_49_read_compute_and_write_are_one_step() -> None:
    """All values are computed before the first is written: two variables can be exchanged."""
    play = Recording(
        {
            **with_vars({"x": 1, "y": 2}, swap={"type": "set_variable", "set": {"x": "${ vars.y }", "y": "${ vars.x }"}}),
            "output": ["${ vars.x }", "${ vars.y }"],
        }
    )
    play.start()
    assert play.output == [2, 1]


def test_rule_49_an_error_in_one_value_writes_none() -> None:
    """The node fails, and nothing was written."""
    play = Recording(with_vars({"x": 1, "y": 2}, a={"type": "set_variable", "set": {"x": 5, "y": "${ input.missing }"}}))
    play.start({})
    assert play.status == "failed"
    assert [fact.name for fact in play.facts if isinstance(fact, events.VariableSet) and fact.node] == []


def test_rule_49_constant_values_may_be_written() -> None:
    """A set without any expression."""
    play = Recording({**with_vars({"n": 0}, a={"type": "set_variable", "set": {"n": {"deep": [1]}}}), "output": "${ vars.n }"})
    play.start()
    assert play.output == {"deep": [1]}


@pytest.mark.parametrize("name", ["input", "trigger", "nodes", "error", "item"])
def test_a_variable_may_have_the_name_of_something_else(name: str) -> None:
    """`vars.input` and `input` are two things, before and after a write."""
    play = Recording(
        with_vars(
            {name: "mine"}, before={"type": "transform", "to": ["${ input }", f"${{ vars.{name} }}"]},
            set={"type": "set_variable", "after": "before", "set": {name: "changed"}},
            after={"type": "transform", "after": "set", "to": ["${ input }", f"${{ vars.{name} }}"]},
        )
    )  # fmt: skip
    play.start("theirs")
    assert play.node_output("before") == ["theirs", "mine"]
    assert play.node_output("after") == ["theirs", "changed"]


def test_rule_49_writes_apply_in_the_order_of_the_journal() -> None:
    """Two branches that write the same variable: the later write stands, whoever was declared first."""
    nodes = {
        "a": {}, "b": {},
        "wa": {"type": "set_variable", "after": "a", "set": {"n": "a"}},
        "wb": {"type": "set_variable", "after": "b", "set": {"n": "b"}},
    }  # fmt: skip
    for order in (("a", "b"), ("b", "a")):
        play = Recording({**with_vars({"n": {"value": "", "merge": "last"}}, **nodes), "output": "${ vars.n }"})
        play.start()
        for node in order:
            play.succeed(node)
        assert play.output == order[1]


def test_rule_49_merge_is_obligatory_where_writers_are_not_ordered() -> None:
    """Refused when saved; a path between them, or a choice, orders them."""
    unordered = with_vars(
        {"n": 0}, a={"type": "set_variable", "set": {"n": 1}}, b={"type": "set_variable", "set": {"n": 2}}
    )  # fmt: skip
    assert "variable.unordered" in [fault.code for fault in check_document(unordered, CATALOG).errors]
    ordered = with_vars(
        {"n": 0}, a={"type": "set_variable", "set": {"n": 1}}, b={"type": "set_variable", "after": "a", "set": {"n": 2}}
    )  # fmt: skip
    assert check_document(ordered, CATALOG).errors == []


def test_rule_49_what_was_written_outlives_a_failure() -> None:
    """Also in a frame that failed; a new home sees it too."""
    play = Recording(
        {
            **with_vars(
                {"n": 0},
                a={"type": "set_variable", "set": {"n": 1}},
                b={"after": "a"},
                c={"after": "b.error", "with": {"n": "${ vars.n }"}},
            )
        }
    )
    play.start()
    play.crash()
    play.fail("b")
    assert play.value(play.runs()[-1].params) == {"n": 1}


def test_a_large_variable_is_kept_by_handle() -> None:
    """Its value is fetched when somebody reads it, and a small one again replaces it."""
    play = Recording(
        {
            **with_vars(
                {"text": ""}, a={"type": "set_variable", "set": {"text": "${ input }"}},
                b={"type": "transform", "after": "a", "to": "${ len(vars.text) }"},
                c={"type": "set_variable", "after": "b", "set": {"text": "${ vars.text[0:3] }"}},
            ),
            "output": ["${ nodes.b }", "${ vars.text }"],
        },
        forgetful=True,
    )  # fmt: skip
    play.start("abc" * 3_000)
    assert play.output == [9_000, "abc"]
    assert play.fetches > 0
