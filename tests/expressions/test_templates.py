"""Templates: values in definitions, and where their expressions end."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from perdure.expressions import (
    Budget,
    Computed,
    Constant,
    ExpressionError,
    ListTemplate,
    MapTemplate,
    PlainNames,
    Text,
    compile_condition,
    compile_template,
)

NAMES = PlainNames(
    {
        "input": {"id": 7, "name": "Ada", "list": [1, {"a": None}], "price": 2.5, "yes": True},
        "nodes": {"a": {"b": 1}},
        "vars": {},
    }
)


def evaluated(value: Any) -> Any:
    return compile_template(value).evaluate(NAMES, Budget())


@pytest.mark.parametrize(
    "template, wanted",
    [
        ("plain", "plain"),
        (5, 5),
        (None, None),
        ("${ input.list }", [1, {"a": None}]),
        ("${input.id}", 7),
        ("order ${ input.id } of ${ input.name }", "order 7 of Ada"),
        (" ${ input.id }", " 7"),
        ("${ input.yes }/${ null }/${ input.price }/${ input.list }", 'true/null/2.5/[1,{"a":null}]'),
        ("$${ input.id }", "${ input.id }"),
        ("$${a} ${ input.id }", "${a} 7"),
        ("costs $5 or $${5}", "costs $5 or ${5}"),
        ("$ {input.id} $", "$ {input.id} $"),
        ("${ {'a': {'b': 1}}['a'] }", {"b": 1}),
        ("x${ '}' }y", "x}y"),
        ('${ "}" + \'{\' + """}"\n}""" }', '}{}"\n}'),
        ("${ '\\'}' }", "'}"),
        ("${ f'{input.id}' }", "7"),
        ("${ {k: v for k, v in items({'a': 1})} }", {"a": 1}),
        ("${\n  input.id\n  + 1\n}", 8),
        ({"a": "${ input.id }", "b": [1, "${ input.name }"]}, {"a": 7, "b": [1, "Ada"]}),
        ({"$${a}": "x"}, {"$${a}": "x"}),
        ([], []),
        ({}, {}),
    ],
)
def test_templates_have_their_values(template: Any, wanted: Any) -> None:
    """Whole expressions keep their type, mixed ones are text, everything else is literal."""
    found = evaluated(template)
    assert found == wanted
    assert type(found) is type(wanted)


def test_templates_are_of_the_kind_they_need() -> None:
    """What holds no expression is one constant, however deep; the rest is only as complicated as it must be."""
    assert isinstance(compile_template({"a": [1, {"b": "$${"}]}), Constant)
    assert compile_template({"a": [1]}).is_constant
    assert isinstance(compile_template("${ 1 }"), Computed)
    assert isinstance(compile_template("a ${ 1 }"), Text)
    both = compile_template({"a": ["${ input.id }", 1]})
    assert isinstance(both, MapTemplate)
    assert isinstance(both.entries["a"], ListTemplate)
    assert isinstance(both.entries["a"].items[1], Constant)
    assert not both.is_constant


def test_reads_are_those_of_all_parts() -> None:
    """A template reads what its expressions read."""
    template = compile_template({"a": "${ nodes.a.b } and ${ input.id }", "b": ["${ vars.x + carry }"], "c": "nodes.z"})
    assert template.reads == {("nodes", "a"), ("input", "id"), ("vars", "x"), ("carry", None)}
    assert template.roots == {"nodes", "input", "vars", "carry"}


@pytest.mark.parametrize(
    "template, code, path, offset",
    [
        ({"headers": {"x": "id ${ input.1 }"}}, "expression.syntax", "with.headers.x", None),
        ({"l": ["ok", "id ${ upperr(1) }"]}, "expression.unknown_function", "with.l[1]", 6),
        ({"content-type": "${ lambda: 1 }"}, "expression.forbidden", 'with["content-type"]', 3),
        ("ab ${ 1 + ", "expression.syntax", "with", 3),
        ("ab ${ ) }", "expression.syntax", "with", 6),
        ("ab ${ 'x }", "expression.syntax", "with", 6),
        ("${ }", "expression.syntax", "with", 2),
        ({"${ input.id }": 1}, "expression.forbidden", "with", 0),
        ({"a": float("nan")}, "expression.value", "with.a", 0),
        ({"a": 2**63}, "expression.value", "with.a", 0),
        ({1: 2}, "expression.value", "with", 0),
        ({"a": (1, 2)}, "expression.value", "with.a", 0),
    ],
)
def test_faults_of_a_template_have_a_path_and_a_place(template: Any, code: str, path: str, offset: int | None) -> None:
    """The path leads to the string, the place into it."""
    with pytest.raises(ExpressionError) as caught:
        compile_template(template, path="with")
    assert caught.value.code == code
    assert caught.value.path == path
    if offset is not None:
        assert caught.value.offset == offset


def test_all_faults_of_a_template_are_found_at_once() -> None:
    """With a list to put them in, compiling goes on after a fault."""
    faults: list[ExpressionError] = []
    template = compile_template(
        {"a": "${ 1 + }", "b": ["${ x() }", "${ 1 }"], "${ y }": 1, "c": 2**64}, path="p", faults=faults
    )
    assert [(fault.path, fault.code) for fault in faults] == [
        ("p.a", "expression.syntax"),
        ("p.b[0]", "expression.unknown_function"),
        ("p", "expression.forbidden"),
        ("p.c", "expression.value"),
    ]
    assert template.evaluate(NAMES, Budget()) == {"a": None, "b": [None, 1], "c": None}


def test_errors_of_evaluation_have_path_and_place_too() -> None:
    """The place counts in the whole text, so that an editor can mark it."""
    text = "id ${ input.id } of\n ${ input.nobody }"
    with pytest.raises(ExpressionError) as caught:
        compile_template({"title": [text]}, path="with").evaluate(NAMES, Budget())
    assert caught.value.path == "with.title[0]"
    assert caught.value.source == text
    assert caught.value.offset == text.index("nobody")
    assert (caught.value.line, caught.value.column) == (2, 11)
    assert str(caught.value).startswith("with.title[0]: Expected the key `nobody`")


def test_one_budget_pays_for_the_whole_template() -> None:
    """Parts add up."""
    template = compile_template(["${ len(range(1000)) }"] * 3)
    with pytest.raises(ExpressionError) as caught:
        template.evaluate(NAMES, Budget(touched=40_000))
    assert (caught.value.code, caught.value.path) == ("expression.budget", "[2]")


def test_conditions_are_bare_or_in_braces_or_booleans() -> None:
    """`when: x > 1`, `when: ${ x > 1 }` and `when: true` are all conditions."""
    for condition, wanted in [
        ("input.id > 5", True),
        ("${ input.id > 9 }", False),
        (" ${ true } ", True),
        (True, True),
        (False, False),
    ]:
        assert compile_condition(condition).evaluate(NAMES, Budget()) is wanted
    assert compile_condition("${ input.id }").reads == {("input", "id")}


@pytest.mark.parametrize("condition", ["${ a } and ${ b }", "x ${ a }", "${ a } }"])
def test_conditions_with_text_around_are_refused(condition: str) -> None:
    """Text is never true or false by accident."""
    with pytest.raises(ExpressionError) as caught:
        compile_condition(condition)
    assert caught.value.code == "expression.forbidden"


def test_faults_of_conditions_are_placed_in_what_was_written() -> None:
    """The place counts from the start of the string, braces included."""
    with pytest.raises(ExpressionError) as caught:
        compile_condition("${ 1 + upperr(2) }")
    assert caught.value.offset == 7


def test_templates_travel_to_other_processes() -> None:
    """A template is pickled with its expressions and paths."""
    template = pickle.loads(pickle.dumps(compile_template({"a": ["x ${ input.id }", "${ input.list }", 1]}, path="with")))
    assert template.evaluate(NAMES, Budget()) == {"a": ["x 7", [1, {"a": None}], 1]}
    assert template.path == "with"
    assert template.reads == {("input", "id"), ("input", "list")}
