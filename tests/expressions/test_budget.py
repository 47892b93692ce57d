"""Budgets: counted, the same every time, and charged before anything is done."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from perdure.expressions import (
    STEP_OPERATIONS,
    STEP_TOUCHED,
    TASK_OPERATIONS,
    TASK_TOUCHED,
    Budget,
    ExpressionError,
    PlainNames,
    Spent,
    compile_expression,
)


def spent(source: str, data: Any = None) -> Spent:
    budget = Budget(10**9, 10**9)
    compile_expression(source).evaluate(PlainNames({"input": data}), budget)
    return budget.spent


def test_day_one_30_a_step_has_20_000_operations_and_64_kilobytes() -> None:
    """The default budget is the step's, and a task's is far larger."""
    assert Budget().operations == STEP_OPERATIONS == 20_000
    assert Budget().touched == STEP_TOUCHED == 64 * 1024
    assert TASK_OPERATIONS >= 1000 * STEP_OPERATIONS
    assert TASK_TOUCHED >= 1000 * STEP_TOUCHED


def test_a_condition_costs_a_few_operations_whatever_the_size_of_the_data() -> None:
    """Reading a field touches nothing but the field."""
    small, large = {"a": {"b": 1}, "rest": []}, {"a": {"b": 1}, "rest": list(range(100_000))}
    assert spent("input.a.b > 0", small) == spent("input.a.b > 0", large)
    assert spent("input.a.b > 0", small).operations < 10


@pytest.mark.parametrize(
    "source",
    ["sum(input)", "sorted(input)", "[x for x in input]", "7 in input", "input == input[:]", "unique(input)", "to_json(input)"],
)
def test_what_depends_on_the_data_is_charged_by_its_length(source: str) -> None:
    """A list that is ten times as long costs about ten times as much."""
    small, large = spent(source, list(range(100))), spent(source, list(range(1000)))
    assert 7 * small.touched <= large.touched <= 20 * small.touched


def test_the_same_evaluation_spends_the_same() -> None:
    """Nothing that is cached, and nothing that was evaluated before, changes what is spent."""
    source = "[f'{x:>3}' for x in sorted(input, descending=true) if matches(str(x), r'[1-5]')]"
    first = spent(source, list(range(50)))
    assert all(spent(source, list(range(50))) == first for _ in range(3))


def test_a_budget_that_is_used_up_stays_used_up() -> None:
    """What does not fit any more is refused, and nothing is below zero."""
    budget = Budget(100, 1000)
    with pytest.raises(ExpressionError) as caught:
        compile_expression("[x for x in range(5000)]").evaluate(PlainNames({}), budget)
    assert caught.value.code == "expression.budget"
    assert budget.spent.touched <= 1000
    with pytest.raises(ExpressionError):
        compile_expression("'a' * 1001").evaluate(PlainNames({}), budget)


def test_the_error_says_which_limit_and_where() -> None:
    """The place is the operation that needed too much."""
    source = "1 + len('a' * 100000)"
    with pytest.raises(ExpressionError) as caught:
        compile_expression(source).evaluate(PlainNames({}), Budget())
    assert caught.value.offset == source.index("*")
    assert "65,536 bytes" in caught.value.message
    source = "[1 for x in range(3000) for y in range(10)]"
    with pytest.raises(ExpressionError) as caught:
        compile_expression(source).evaluate(PlainNames({}), Budget(touched=10**9))
    assert "20,000 operations" in caught.value.message
    assert caught.value.offset == source.index("range(10)")


def test_passing_a_big_value_on_costs_nothing() -> None:
    """A value that is read and given on, alone or in an object, is not walked over."""
    big = [{"n": number} for number in range(50_000)]
    assert spent("input", big).touched == 0
    assert spent("{'rows': input, 'count': len(input)}", big).touched < 200


@pytest.mark.parametrize(
    "source",
    [
        "'a' * 100000000",
        "[0] * 100000000",
        "range(100000000)",
        "[x for x in range(100000) for y in range(100000)]",
        "join(['a' * 1000] * 2000, '')",
        "[['a' * 500] for x in range(5000)]",
        "{str(x): [x] for x in range(50000)}",
        "f'{[1] * 100000}'",
        "replace('a' * 10000, 'a', 'b' * 10000)",
        "pad_left('', 100000000)",
        "[zip(range(100), range(100)) for x in range(1000)]",
        "split('a ' * 500000)",
        "from_json('[' + '{},' * 100000 + '1]')",
    ],
)
def test_memory_stays_in_proportion_to_the_budget(source: str) -> None:
    """However an expression tries, it allocates at most a constant multiple of the bytes it may touch."""
    expression = compile_expression(source)
    allowed = 2**20
    tracemalloc.start()
    try:
        with pytest.raises(ExpressionError) as caught:
            expression.evaluate(PlainNames({}), Budget(10**8, allowed))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.code == "expression.budget"
    assert peak < 16 * allowed
