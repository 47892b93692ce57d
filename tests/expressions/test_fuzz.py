"""Random expressions: only ExpressionError comes out, budgets hold, and the common subset means what Python means."""

from __future__ import annotations

import random
import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from perdure.expressions import (
    Budget,
    ExpressionError,
    PlainNames,
    Spent,
    check_value,
    compile_condition,
    compile_expression,
    compile_template,
)
from perdure.expressions.functions import FUNCTIONS

CALLS_PER_OPERATION = 30
"""How many Python calls one counted operation may stand for at most; the worst functions draw digests or compile patterns."""
CALLS_FREE = 2_000
"""Calls that an evaluation may make on top, whatever it spends: messages of errors, first uses of caches."""

CHECKED = settings(max_examples=400, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))

VALUES: dict[str, Any] = {
    "input": {"a": 1, "b": [1, 2.5, "x", None, True], "c": {"d": "text", "e": {}}, "from": "me", "t": "2026-03-01T09:30:00Z"},
    "nodes": {"fetch": {"body": {"total": 1200, "lines": [{"sku": "a", "price": 3}, {"sku": "b", "price": 4}]}}},
    "state": {"fetch": {"status": "succeeded"}},
    "previous": {},
    "vars": {"n": 5, "s": "abc", "l": [3, 1, 2]},
    "item": {"k": "v"},
    "index": 2,
}
NAMES = PlainNames(VALUES, at=1_772_000_000_000_000, seed=b"fuzz")

WORDS = [
    *[
        "input.a",
        "input.b",
        "input.c.d",
        "input.from",
        "nodes.fetch.body.total",
        "nodes.fetch.body.lines",
        "vars.s",
        "vars.l",
        "vars.n",
        "item",
        "index",
        "x",
        "y",
    ],
    *[
        "+",
        "-",
        "*",
        "/",
        "//",
        "%",
        "**",
        "<<",
        ">>",
        "&",
        "|",
        "^",
        "~",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "and",
        "or",
        "not",
        "in",
        "is",
        "if",
        "else",
        "for",
        "lambda",
        ":=",
        "=",
        ".",
        ",",
        ":",
        ";",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "@",
        "->",
        "...",
    ],
    *[
        "0",
        "1",
        "2",
        "-1",
        "63",
        "1000",
        "100000",
        "9223372036854775807",
        "1.5",
        "1e308",
        "0x10",
        "1j",
        "None",
        "True",
        "False",
        "null",
        "true",
        "false",
    ],
    *[
        "'a'",
        '"b c"',
        "f'{x}'",
        "f'{1:>5}'",
        "''",
        "b'x'",
        "r'\\d+'",
        "'\\ud800'",
        "__class__",
        "\n",
        " ",
        "é",
        "#",
        "\\",
        "${",
        "}",
    ],
    *FUNCTIONS,
]


def evaluated(source: str, budget: Budget) -> tuple[str, Any]:
    """What came of a source: the value, or the code of the error."""
    try:
        value = compile_expression(source).evaluate(NAMES, budget)
    except ExpressionError as error:
        placed = 0 <= error.offset <= len(source) and error.line >= 1 and error.column >= 1
        return "error" if placed else "error without a place", error.code
    check_value(value)
    return "value", value


def check_source(source: str) -> None:
    first, second = Budget(), Budget()
    outcome, calls = counted(source, first)
    assert evaluated(source, second) == outcome
    assert outcome[0] != "error without a place"
    assert first.spent == second.spent
    assert 0 <= first.spent.operations <= first.operations
    assert 0 <= first.spent.touched <= first.touched
    paid = first.spent.operations + first.spent.touched // 16
    assert calls <= CALLS_FREE + CALLS_PER_OPERATION * paid, f"{calls} calls for {first.spent}"


def counted(source: str, budget: Budget) -> tuple[tuple[str, Any], int]:
    """The outcome of an evaluation, compiled before, and how many calls it took."""
    calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        if event in ("call", "c_call"):
            calls += 1

    try:
        compile_expression(source)
    except ExpressionError as error:
        return ("error", error.code), 0
    sys.setprofile(count)
    try:
        outcome = evaluated(source, budget)
    finally:
        sys.setprofile(None)
    return outcome, calls


# Random text


@CHECKED
@given(st.text(max_size=60))
@example("${")
@example("f'{x!s:>{y}}'")
def test_random_text_gives_only_expression_errors(source: str) -> None:
    """Whatever text is given: a value within the value rules, or an ExpressionError with a place."""
    check_source(source)


@CHECKED
@given(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join))
def test_random_words_give_only_expression_errors(source: str) -> None:
    """Whatever order the words of the language come in: a value within the value rules, or an ExpressionError with a place."""
    check_source(source)


@CHECKED
@given(st.text(alphabet="${}'\"\\ a.[]()$\n:,", max_size=40))
def test_random_templates_give_only_expression_errors(text: str) -> None:
    """Whatever a definition holds as text: a template, or an ExpressionError with a place in it."""
    failed = []
    try:
        compile_template({"key": [text]}, path="with").evaluate(NAMES, Budget())
    except ExpressionError as error:
        failed.append(error)
    assert all(error.path == "with.key[0]" for error in failed)
    try:
        compile_condition(text).evaluate(NAMES, Budget())
    except ExpressionError as error:
        failed.append(error)
    assert all(0 <= error.offset <= len(text) for error in failed)


# Random trees of valid syntax, types mixed

LEAVES = st.sampled_from(
    [
        *[
            "input.a",
            "input.b",
            "input.c",
            "input.t",
            "nodes.fetch.body",
            "nodes.fetch.body.lines",
            "vars.s",
            "vars.l",
            "vars.n",
            "item",
            "index",
        ],
        *["1", "0", "-3", "2.5", "'ab'", "''", "[]", "{}", "null", "true", "'price'", "9223372036854775807", "'1h'", "300"],
    ]
)


def trees(leaves: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.sampled_from(
        [
            "+",
            "-",
            "*",
            "/",
            "//",
            "%",
            "**",
            "<<",
            ">>",
            "&",
            "|",
            "^",
            "==",
            "!=",
            "<",
            "<=",
            ">",
            ">=",
            "and",
            "or",
            "in",
            "not in",
        ]
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(inner, binary, inner).map(lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"),
            st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]} if {parts[1]} else {parts[2]})"),
            st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]"),
            st.tuples(inner, inner).map(lambda parts: f"[{parts[0]} for x in {parts[1]}]"),
            st.tuples(inner, inner).map(lambda parts: f"{{str(x): {parts[0]} for x in {parts[1]}}}"),
            st.tuples(inner, inner).map(lambda parts: f"({parts[0]})[{parts[1]}]"),
            st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]})[{parts[1]}:{parts[2]}]"),
            st.tuples(st.sampled_from(sorted(FUNCTIONS)), st.lists(inner, max_size=3)).map(
                lambda parts: f"{parts[0]}({', '.join(parts[1])})"
            ),
        ),
        max_leaves=8,
    )


@CHECKED
@given(trees(LEAVES))
def test_random_trees_stay_within_budgets(source: str) -> None:
    """Whatever is done with whatever values: the value rules hold, the budget is not exceeded, and what is spent repeats."""
    check_source(source)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_refuses_wrong_values_politely(name: str) -> None:
    """Each function, called with any mixture of values, gives a value within the rules or an ExpressionError."""
    values = ["null", "true", "0", "-7", "2.5", "1e308", "9223372036854775807", "''", "'a.b'", "'2026-03-01T00:00:00Z'", "'5m'"]
    values += ["'month'", "'%Y'", "'(a|b)*'", "[]", "[3, 1, 2]", "['b', 'a']", "[{'a': 1}, {'a': 2}]", "[['k', 1]]", "{}"]
    values += ["{'a': {'b': 1}}", "input", "300", "'Europe/Berlin'", "'12.50'"]
    chance = random.Random(name)
    parameters = len(FUNCTIONS[name].parameters)
    calls = [f"{name}({', '.join(chance.choices(values, k=count))})" for count in range(parameters + 2) for _ in range(40)]
    for source in calls:
        check_source(source)


# The common subset: typed, so that Python and the language agree on every step

INTEGERS = st.integers(-5, 12).map(lambda number: f"({number})" if number < 0 else str(number))
STRINGS = st.sampled_from(["''", "'a'", "'bc'", "'abc'", "'ü'", "s"])


@st.composite
def integers(draw: st.DrawFn, depth: int = 3) -> str:
    if depth == 0:
        return draw(st.one_of(INTEGERS, st.just("n")))
    kind = draw(st.integers(0, 7))
    if kind <= 2:
        operator = draw(st.sampled_from(["+", "-", "*", "//", "%", "**", "<<", ">>", "&", "|", "^"]))
        return f"({draw(integers(depth - 1))} {operator} {draw(integers(depth - 1))})"
    if kind == 3:
        return f"({draw(integers(depth - 1))} if {draw(booleans(depth - 1))} else {draw(integers(depth - 1))})"
    if kind == 4:
        function = draw(st.sampled_from(["len", "sum", "max", "min"]))
        return f"{function}({draw(lists(depth - 1))})"
    if kind == 5:
        return f"abs(-{draw(integers(depth - 1))})"
    if kind == 6:
        return f"{draw(lists(depth - 1))}[{draw(INTEGERS)}]"
    return draw(INTEGERS)


@st.composite
def booleans(draw: st.DrawFn, depth: int = 3) -> str:
    if depth == 0:
        return draw(st.sampled_from(["True", "False"]))
    kind = draw(st.integers(0, 5))
    comparison = draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]))
    if kind == 0:
        return f"({draw(integers(depth - 1))} {comparison} {draw(integers(depth - 1))} {comparison} {draw(INTEGERS)})"
    if kind == 1:
        return f"({draw(strings(depth - 1))} {comparison} {draw(strings(depth - 1))})"
    if kind == 2:
        word = draw(st.sampled_from(["and", "or"]))
        return f"({draw(booleans(depth - 1))} {word} {draw(booleans(depth - 1))})"
    if kind == 3:
        return f"(not {draw(booleans(depth - 1))})"
    if kind == 4:
        return f"({draw(integers(depth - 1))} {draw(st.sampled_from(['in', 'not in']))} {draw(lists(depth - 1))})"
    return f"({draw(strings(depth - 1))} in {draw(strings(depth - 1))})"


@st.composite
def strings(draw: st.DrawFn, depth: int = 3) -> str:
    if depth == 0:
        return draw(STRINGS)
    kind = draw(st.integers(0, 4))
    if kind == 0:
        return f"({draw(strings(depth - 1))} + {draw(strings(depth - 1))})"
    if kind == 1:
        return f"({draw(strings(depth - 1))} * {draw(st.integers(-1, 3))})"
    if kind == 2:
        bounds = [draw(st.one_of(st.just(""), INTEGERS)) for _ in range(3)]
        return f"{draw(strings(depth - 1))}[{':'.join(bounds)}]"
    if kind == 3 and depth > 1:
        return f'f"{{{draw(integers(1))}:>4}}-{{n}}"'
    return f"({draw(strings(depth - 1))} if {draw(booleans(depth - 1))} else {draw(strings(depth - 1))})"


@st.composite
def lists(draw: st.DrawFn, depth: int = 3) -> str:
    if depth == 0:
        return draw(st.sampled_from(["[]", "[1]", "[3, 1, 2]", "l"]))
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return f"[{draw(integers(depth - 1))}, {draw(integers(depth - 1))}]"
    if kind == 1:
        return f"({draw(lists(depth - 1))} + {draw(lists(depth - 1))})"
    if kind == 2:
        return f"[x * 2 for x in {draw(lists(depth - 1))} if x > {draw(INTEGERS)}]"
    if kind == 3:
        return f"[x + y for x in {draw(lists(depth - 1))} for y in {draw(lists(depth - 1))} if x != y]"
    if kind == 4:
        return f"sorted({draw(lists(depth - 1))})"
    return f"{draw(lists(depth - 1))}[{draw(INTEGERS)}:]"


@CHECKED
@given(st.one_of(integers(), booleans(), strings(), lists()))
def test_the_common_subset_means_what_python_means(source: str) -> None:
    """Where Python gives a value within the value rules, so does the language, the same; where Python fails, it fails."""
    here = {"n": 7, "s": "straße", "l": [5, -1, 5, 0]}
    found, failed = None, None
    try:
        found = compile_expression(source).evaluate(PlainNames(here), Budget(10**6, 10**6))
    except ExpressionError as error:
        failed = error
    if failed is not None and failed.code == "expression.overflow":
        return  # Python's integers have no bound; ours may leave it on the way to a small result
    builtins = {"len": len, "sum": sum, "max": max, "min": min, "abs": abs, "sorted": sorted}
    try:
        wanted = eval(source, {"__builtins__": builtins, **here})
    except (ArithmeticError, LookupError, ValueError, TypeError):
        assert failed is not None
        return
    assert failed is None, str(failed)
    assert found == wanted
    assert type(found) is type(wanted)


@CHECKED
@given(trees(LEAVES), st.integers(0, 400), st.integers(0, 4_000))
def test_a_smaller_budget_changes_nothing_but_whether_it_suffices(source: str, operations: int, touched: int) -> None:
    """With a budget that suffices the result and the spending are those of a large one; else it is `expression.budget`."""
    large, small = Budget(10**6, 10**7), Budget(operations, touched)
    outcome = evaluated(source, large)
    again = evaluated(source, small)
    if large.spent.operations <= operations and large.spent.touched <= touched:
        assert again == outcome
        assert small.spent == large.spent
    else:
        assert again == ("error", "expression.budget")
        assert small.spent <= Spent(operations, touched)
