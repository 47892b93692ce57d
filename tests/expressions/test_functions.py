"""The library: every example is true, the reference is the code's own, and the finer points of some functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perdure.expressions import CODES, Budget, ExpressionError, PlainNames, compile_expression
from perdure.expressions.functions import FUNCTIONS
from perdure.expressions.reference import functions_markdown

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = DOCS / "reference" / "functions.md"
GUIDE = DOCS / "guide" / "expressions.md"
EXAMPLES = [(source, wanted) for function in FUNCTIONS.values() for source, wanted in function.examples]
NOW = 1_772_357_400_000_000  # 2026-03-01T09:30:00Z


def value(source: str, data: Any = None) -> Any:
    return compile_expression(source).evaluate(PlainNames({"input": data}, at=NOW, seed=b"s"), Budget())


@pytest.mark.parametrize("source, wanted", EXAMPLES)
def test_every_example_is_true(source: str, wanted: Any) -> None:
    """What the reference shows is what happens."""
    found = value(source)
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_is_in_its_own_examples(name: str) -> None:
    """An example shows the function it belongs to, and its sentence ends like one."""
    function = FUNCTIONS[name]
    assert any(name in compile_expression(source).functions for source, _ in function.examples)
    assert function.summary.endswith((".", "`."))
    assert function.signature.startswith(f"{name}(")


def test_the_reference_page_is_written_from_the_code() -> None:
    """docs/reference/functions.md is what `functions_markdown` gives."""
    assert REFERENCE.read_text() == functions_markdown()


def test_the_guide_lists_every_code_and_counts_the_functions() -> None:
    """docs/guide/expressions.md has a line for each code of an error, in its own words."""
    guide = GUIDE.read_text()
    assert guide.endswith("".join(f"| `{code}` | {meaning} |\n" for code, meaning in CODES.items()))
    assert f"| functions | {len(FUNCTIONS)} of them" in guide


@pytest.mark.parametrize(
    "source, wanted",
    [
        ("now()", "2026-03-01T09:30:00Z"),
        ("add(now(), '36h')", "2026-03-02T21:30:00Z"),
        # The clocks in Berlin go from 2:00 to 3:00 on 2026-03-29, and back from 3:00 to 2:00 on 2026-10-25.
        ("add('2026-03-28T02:30:00+01:00', days=1, zone='Europe/Berlin')", "2026-03-29T03:30:00+02:00"),
        ("add('2026-03-28T12:00:00+01:00', '24h', zone='Europe/Berlin')", "2026-03-29T13:00:00+02:00"),
        ("add('2026-10-25T00:30:00Z', '1h', zone='Europe/Berlin')", "2026-10-25T02:30:00+01:00"),
        ("in_zone('2026-10-25T00:30:00Z', 'Europe/Berlin')", "2026-10-25T02:30:00+02:00"),
        ("start_of('2026-03-29T12:00:00+02:00', 'day', 'Europe/Berlin')", "2026-03-29T00:00:00+01:00"),
        ("end_of('2026-03-29T12:00:00+02:00', 'day', 'Europe/Berlin')", "2026-03-29T23:59:59.999999+02:00"),
        ("start_of('2026-08-19T12:00:00Z', 'quarter')", "2026-07-01T00:00:00Z"),
        ("start_of('2026-03-01T12:00:00Z', 'week')", "2026-02-23T00:00:00Z"),
        ("start_of('2026-03-01T12:34:56.789Z', 'minute')", "2026-03-01T12:34:00Z"),
        ("end_of('2024-02-10', 'year')", "2024-12-31T23:59:59.999999Z"),
        ("add('2024-02-29', years=1)", "2025-02-28T00:00:00Z"),
        ("add('2026-03-31', months=-1)", "2026-02-28T00:00:00Z"),
        ("diff('2026-03-01T00:00:00Z', '2026-02-28T23:59:59.5Z')", -0.5),
        ("parse_time('Mar 1, 2026 9:05 PM', '%b %d, %Y %I:%M %p')", "2026-03-01T21:05:00Z"),
        ("parse_time('12:00 AM 01/02/26', '%I:%M %p %d/%m/%y')", "2026-02-01T00:00:00Z"),
        ("parse_time('2026-07-01 12:00 -0400', '%Y-%m-%d %H:%M %z')", "2026-07-01T12:00:00-04:00"),
        ("format_date(now(), '%a %-d %b %Y, %I:%M %p, day %j, week %V of %G, %s %% %z')",
         "Sun 1 Mar 2026, 09:30 AM, day 060, week 09 of 2026, 1772357400 % +00:00"),
        ("format_date(now(), '%H:%M', 'Asia/Kolkata')", "15:00"),
        ("is_before('2026-03-01', '2026-03-01T00:00:00Z')", False),
        ("weekday('2026-03-02')", 1),
    ],
)  # fmt: skip
def test_times_keep_to_the_calendar_and_the_zone(source: str, wanted: Any) -> None:
    """Durations are of true length, days and months of the calendar; summer time is neither lost nor counted twice."""
    assert value(source) == wanted


@pytest.mark.parametrize(
    "source, wanted",
    [
        ("dec_add('0.1', '0.2')", "0.3"),
        ("dec_add('-0.10', '0.10')", "0.00"),
        ("dec_mul('1.10', '1.10')", "1.2100"),
        ("dec_div('1', '8', 2)", "0.13"),
        ("dec_div('1', '8', 2, 'half_even')", "0.12"),
        ("dec_div('-1', '8', 2)", "-0.13"),
        ("dec_div('1', '3', 30)", "0." + "3" * 30),
        ("dec_div('2.5000000000000000000000000000000000001', '1', 0, 'half_even')", "3"),
        ("dec_round('0.125', 2)", "0.13"),
        ("dec_round('-0.125', 2)", "-0.13"),
        ("dec_round('-0.001', 2)", "0.00"),
        ("dec_round('1.999', 2, 'down')", "1.99"),
        ("dec_sum(['0.10'] * 100)", "10.00"),
        ("dec_compare('100', 99)", 1),
    ],
)
def test_day_one_10_money_is_exact(source: str, wanted: Any) -> None:
    """Decimal strings never pass through binary fractions, and are rounded once."""
    assert value(source) == wanted


@pytest.mark.parametrize(
    "source, code",
    [
        ("dec_add(0.1, '1')", "expression.type"),
        ("dec_add('1,5', '1')", "expression.value"),
        ("dec_div('1', '0')", "expression.value"),
        ("dec_round('1', 2, 'nearest')", "expression.value"),
        ("parse_time('2026-02-30', '%Y-%m-%d')", "expression.value"),
        ("parse_time('2026-02-01x', '%Y-%m-%d')", "expression.value"),
        ("format_date(now(), '%Q')", "expression.value"),
        ("start_of(now(), 'decade')", "expression.value"),
        ("year('2026-03-01T10:00:00')", "expression.value"),
        ("min([])", "expression.value"),
        ("avg([])", "expression.value"),
        ("sum(['1'])", "expression.type"),
        ("sum([true])", "expression.type"),
        ("sorted([null, 1])", "expression.type"),
        ("sorted([[1], [2]])", "expression.type"),
        ("sum_by([{'a': 1}, {}], 'a')", "expression.missing"),
        ("group_by([{'a': [1]}], 'a')", "expression.type"),
        ("from_items([['a']])", "expression.type"),
        ("set({}, '', 1)", "expression.value"),
        ("set([], '[0]', 1)", "expression.missing"),
        ("chunk([1], 0)", "expression.value"),
        ("random_int(2, 1)", "expression.value"),
        ("choose([])", "expression.value"),
        ("int('12a')", "expression.value"),
        ("bool('maybe')", "expression.value"),
        ("number(' 1 2 ')", "expression.value"),
        ("get({}, 'a..b')", "expression.value"),
        ("get({}, 'a[x]')", "expression.value"),
        ("truncate('abc', 0)", "expression.value"),
        ("from_json('{a: 1}')", "expression.value"),
        ("base64_decode('!')", "expression.value"),
        ("range(1, 2, 0)", "expression.value"),
        ("is_blank(1)", "expression.type"),
        ("log(0)", "expression.value"),
        ("sqrt(-1)", "expression.value"),
        ("clamp(1, 3, 2)", "expression.value"),
    ],
)
def test_what_a_function_cannot_use_is_refused(source: str, code: str) -> None:
    """Each refusal has its code, and stands at the function's name."""
    with pytest.raises(ExpressionError) as caught:
        value(source)
    assert caught.value.code == code
    assert caught.value.offset == 0
    assert caught.value.message.startswith("Expected ")


def test_sums_of_fractions_do_not_depend_on_their_order() -> None:
    """They are rounded once, on every release of Python alike."""
    numbers = [1e16, 1.0, -1e16, 0.1] * 10
    assert value("sum(input)", numbers) == value("sum(reverse(input))", numbers) == 11.0


def test_sorting_is_stable_both_ways() -> None:
    """Elements with equal keys keep their order."""
    rows = [{"k": 1, "n": "a"}, {"k": 0, "n": "b"}, {"k": 1, "n": "c"}]
    assert value('pluck(sorted(input, by="k"), "n")', rows) == ["b", "a", "c"]
    assert value('pluck(sorted(input, by="k", descending=true), "n")', rows) == ["a", "c", "b"]


def test_sets_of_lists_and_objects_are_by_value() -> None:
    """Two lists or objects that are equal are one."""
    assert value("unique([[1], [1], {'a': 1, 'b': 2}, {'b': 2, 'a': 1}, 1, 1.0])") == [[1], {"a": 1, "b": 2}, 1]
    assert value("unique([[1], [1.0], [true], ['1'], '[1]', {'a': [1.5]}, {'a': [1.5]}])") == [[1], ["1"], "[1]", {"a": [1.5]}]
    assert value("intersect([[1], [2]], [[2]])") == [[2]]
    assert value("difference([[1], [2]], [[2]])") == [[1]]
    assert value("index_of([[1], {'a': 2}], {'a': 2})") == 1


def test_patterns_find_what_re2_finds() -> None:
    """Groups by number and name, matches of nothing, letters of several bytes."""
    assert value(r"find_all('ä1 ö22', r'\d+')") == ["1", "22"]
    assert value(r"regex_replace('äbc', r'', '-')") == "-ä-b-c-"
    assert value(r"regex_replace('a1b2', r'(?P<l>[a-z])(?P<d>\d)', r'\g<d>\g<l>\\')") == "1a\\2b\\"
    assert value(r"extract('ab', r'(x)?b')") is None
    assert value(r"regex_split('a1b2c', r'\d', 1)") == ["a", "b2c"]
    assert value(r"matches('straße', r'(?i)STRASSE|ß')") is True
