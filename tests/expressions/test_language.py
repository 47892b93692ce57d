"""The language: what expressions mean, what they read, and how their errors speak."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from perdure.expressions import (
    RESERVED_NAMES,
    Budget,
    Expression,
    ExpressionError,
    PlainNames,
    WithLocals,
    compile_expression,
)

NAMES: dict[str, Any] = {
    "input": {"customer": {"id": 7, "tier": "gold", "first name": "Ada"}, "tags": ["a", "b"], "none": None, "from": "me"},
    "nodes": {"fetch": {"body": {"total": 1200, "lines": [{"price": 2, "quantity": 3}, {"price": 5, "quantity": 1}]}}},
    "state": {"fetch": {"status": "succeeded"}},
    "previous": {"fetch": None},
    "vars": {"total": 5},
    "last": {"ok": True},
    "error": {"code": "http.402"},
}


def value(source: str, **more: Any) -> Any:
    return compile_expression(source).evaluate(PlainNames({**NAMES, **more}, at=0, seed=b"seed"), Budget())


def refusal(source: str, **more: Any) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        value(source, **more)
    return caught.value


@pytest.mark.parametrize(
    "source, wanted",
    [
        ("nodes.fetch.body.total > 1000", True),
        ('nodes["fetch"].body.total', 1200),
        ("nodes.fetch.body.lines[0].price", 2),
        ("nodes.fetch.body.lines[-1]['price']", 5),
        ("sum(line.price * line.quantity for line in nodes.fetch.body.lines)", 11),
        ('input.customer.tier == "gold" and not input.none', True),
        ("input.customer['first name']", "Ada"),
        ("input.from", "me"),
        ("[input . from, input.from, 'input.from']", ["me", "me", "input.from"]),
        ("'from' if input.from else input.from", "from"),
        ("1 if true else 2", 1),
        ("1.if true else 2", 1.0),
        ("null", None),
        ("[None is null, true is True, input.none is not null]", [True, True, False]),
        ("(1, 'a'), 2", [[1, "a"], 2]),
        ("{'a': 1, 'b': [2]}", {"a": 1, "b": [2]}),
        ("{k: v for k, v in items({'a': 1})}", {"a": 1}),
        ("[x for x in {'a': 1, 'b': 2}]", ["a", "b"]),
        ("[item * 10 for item in [1, 2] if item > 1]", [20]),
        ("[[x + y for y in [10, 20]] for x in [1, 2]]", [[11, 21], [12, 22]]),
        ("[x + y for x in [1, 2] for y in range(x)]", [1, 2, 3]),
        ("[x for x in [1] for x in [x, x + 1]]", [1, 2]),
        ("1 < 2 < 3 != 4", True),
        ("1 < 2 > 5 and missing", False),
        ("input.none or 'x'", "x"),
        ("'b' in input.tags and 'id' in input.customer and 'ol' in 'gold'", True),
        ("'abcdef'[1:-1:2]", "bd"),
        ("-2 ** 2", -4),
        ("7 // 2 + 7 % 4 - 2 ** 3", -2),
        ("1 / 2", 0.5),
        ("-9223372036854775808", -(2**63)),
        ('f"{input.customer.id:03d}|{1.5:.2f}|{null}|{true}|{[1, {}]}|{{}}"', "007|1.50|null|true|[1,{}]|{}"),
        ("f'{\"ab\":>4}' + f'{1234567:,}' + f'{0.256:.1%}'", "  ab1,234,56725.6%"),
        ('"a" "b"', "ab"),
        (r'matches("a1", "\d")', True),
        ("last.ok and last([1, 2]) == 2", True),
        ("\n  input.customer.id\n    + 1\n", 8),
        ("input.customer.id\r\n + 1", 8),
        ("get(nodes.fetch, 'body.nothing.at.all', 'soft')", "soft"),
        ("coalesce(previous.fetch, 0)", 0),
    ],
)
def test_expressions_have_their_values(source: str, wanted: Any) -> None:
    """Each expression has the value that Python, or the guide, gives it."""
    found = value(source)
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize(
    "source, code, place, words",
    [
        (
            "nodes.fetch.body.totl",
            "expression.missing",
            "totl",
            ["`total`", 'get(nodes.fetch, "body.totl", default)'],
        ),
        ("input.none.a.b", "expression.missing", "a.b", ["null", 'get(input, "none.a", default)']),
        ("1 + input.tags[9]", "expression.missing", "9", ["position 9", "has 2"]),
        ("input.customer.id.x", "expression.type", "x", ["an integer"]),
        ("input.tags.length", "expression.type", "length", ["a list"]),
        ("vars.total + inptu.x", "expression.unknown_name", "inptu", ["`inptu`", "`input`"]),
        ("nodes.nowhere.x", "expression.unknown_name", "nodes", ["`nodes.nowhere`"]),
        ("1 + uper('a')", "expression.unknown_function", "uper", ["`uper`", "`upper`"]),
        ("input.customer.tier.upper()", "expression.forbidden", "upper", ["`upper(x)`"]),
        ("'a'.startswith('a')", "expression.forbidden", "startswith", ["starts_with"]),
        ("input.tags + 'a'", "expression.type", "+", ["a list", "a string"]),
        ("'a' + 1", "expression.type", "+", ["str(x)"]),
        ("upper(1)", "expression.type", "upper", ["`text`", "an integer", "`str(x)`"]),
        ("upper(input.none)", "expression.type", "upper", ["null", "coalesce"]),
        ("true && false", "expression.syntax", "&", ["`and`"]),
        ("a = 1", "expression.syntax", "= 1", ["`==`"]),
        ("a ? b : c", "expression.syntax", "? b", ["if condition else"]),
        ("!a", "expression.syntax", "!a", ["`not x`"]),
        ("lambda x: x", "expression.forbidden", "lambda", ["comprehension"]),
        ("1 / (vars.total - 5)", "expression.value", "/", ["zero"]),
        ("9 * 9223372036854775807", "expression.overflow", "*", ["±2^63"]),
        ("sorted([1, 'a'])", "expression.type", "sorted", ["all numbers"]),
        ("[x.a for x in [{'b': 1}]]", "expression.missing", "a for", ["`a`", "`x`"]),
        ("'ä' + input.nothing", "expression.missing", "nothing", ["`nothing`"]),
        ("input.tags.map(x)", "expression.forbidden", "map", ["comprehension"]),
        ("sorted(input.tags, reverse=true)", "expression.arguments", "reverse=", ["`reverse`", "descending"]),
    ],
)
def test_errors_have_a_code_a_place_and_a_remedy(source: str, code: str, place: str, words: list[str]) -> None:
    """Every error names what is wrong, stands where it is, and says what to do."""
    error = refusal(source)
    assert error.code == code
    assert error.offset == source.index(place)
    assert error.line == 1
    assert error.column == error.offset + 1
    assert error.remedy
    for word in words:
        assert word in f"{error.message} {error.remedy}"


def test_places_in_several_lines_are_lines_and_columns() -> None:
    """Lines count from 1, columns in characters from 1, also behind letters of several bytes."""
    error = refusal("input.customer.id\n  + 'ü' * input.nothing")
    assert (error.line, error.column) == (2, 17)
    error = refusal("1 +\n\n  * 2")
    assert (error.line, error.column) == (3, 3)


def test_rule_7_missing_is_never_a_silent_null() -> None:
    """A missing key and a field of null are errors; `get` is the soft form and `has` the question."""
    assert refusal("input.missing").code == "expression.missing"
    assert refusal("input.none.field").code == "expression.missing"
    assert refusal("coalesce(input.missing, 1)").code == "expression.missing"
    assert value("get(input, 'missing', 1)") == 1
    assert value("get(input, 'none.field', 1)") == 1
    assert value("get(input, 'none', 1)") is None
    assert value("[has(input, 'none'), has(input, 'missing')]") == [True, False]


def test_rule_8_reads_are_known_when_saved() -> None:
    """`reads` names every root with its first literal member; families are never read as a whole."""
    expression = compile_expression(
        "nodes.fetch.body.total > vars['total'] and state.fetch.status == x[0] "
        "or input == [input.a for a in item.b if a and index]"
    )
    assert expression.reads == {
        ("nodes", "fetch"),
        ("vars", "total"),
        ("state", "fetch"),
        ("x", None),
        ("input", None),
        ("input", "a"),
        ("item", "b"),
        ("index", None),
    }
    assert expression.roots == {"nodes", "vars", "state", "x", "input", "item", "index"}
    assert refusal("nodes").code == refusal("nodes[input.id]").code == refusal("len(previous)").code == "expression.forbidden"


def test_variables_of_comprehensions_are_not_free() -> None:
    """A loop's variable hides a name inside the loop only; the first iterable still sees the outer one."""
    assert compile_expression("[item for item in item.list]").reads == {("item", "list")}
    assert compile_expression("[x for x in input.a] + x").roots == {"input", "x"}
    assert value("[[last for last in [1]], last.ok]") == [[1], True]


def test_functions_and_names_live_apart() -> None:
    """`last(x)` calls, `last.ok` reads; a function is no value."""
    assert compile_expression("last(last.items)").functions == {"last"}
    assert compile_expression("last(last.items)").roots == {"last"}
    assert refusal("[upper]").code == "expression.unknown_name"


def test_names_that_are_not_there_are_keyerrors_of_names_only() -> None:
    """Other exceptions of `Names`, such as the wish for a blob, pass through untouched."""

    class Wanting(PlainNames):
        def member(self, family: str, name: str) -> Any:
            raise ConnectionError("fetch it first")

    with pytest.raises(ConnectionError):
        compile_expression("nodes.fetch.body").evaluate(Wanting({}), Budget())


def test_locals_lie_over_other_names() -> None:
    """`WithLocals` answers first, and passes on the time and the seed."""
    below = PlainNames(NAMES, at=1_000_000, seed=b"x")
    names = WithLocals(below, {"item": 1, "vars": {"total": 9}})
    expression = compile_expression("[item, vars.total, nodes.fetch.body.total, now()]")
    assert expression.evaluate(names, Budget()) == [1, 9, 1200, "1970-01-01T00:00:01Z"]
    assert names.seed == b"x"
    names.locals["item"] = 2
    assert expression.evaluate(names, Budget())[0] == 2


def test_day_one_12_chance_repeats_and_never_repeats_itself() -> None:
    """The same seed draws the same numbers in the same order; another seed, and the next call, draw others."""
    expression = compile_expression("[random(), random(), uuid(), uuid(), random_int(0, 10**9), shuffle(range(20))]")
    one, two = (expression.evaluate(PlainNames({}, seed=b"a"), Budget()) for _ in range(2))
    other = expression.evaluate(PlainNames({}, seed=b"b"), Budget())
    assert one == two
    assert all(mine != theirs for mine, theirs in zip(one, other, strict=True))
    assert one[0] != one[1]
    assert one[2] != one[3]
    assert sorted(one[5]) == list(range(20)) != one[5]
    shared = Budget()
    first, second = (compile_expression("uuid()").evaluate(PlainNames({}, seed=b"a"), shared) for _ in range(2))
    assert first != second


def test_evaluation_changes_nothing_it_is_given() -> None:
    """Functions that change lists and objects give copies."""
    data = {"l": [3, 1, 2], "o": {"a": {"b": 1}}}
    before = pickle.dumps(data)
    for source in (
        "sorted(input.l)",
        "reverse(input.l)",
        "input.l + [1]",
        "shuffle(input.l)",
        "set(input, 'o.a.b', 2)",
        "set(input, 'l[0]', 2)",
        "merge(input.o, {'a': 1})",
        "deep_merge(input.o, {'a': {'c': 1}})",
        "omit(input.o, 'a')",
        "flatten([input.l, input.l])",
        "concat(input.l, [4])",
        "unique(input.l)",
    ):
        assert value(source, input=data) is not None
        assert pickle.dumps(data) == before, source


def test_day_one_27_other_languages_are_refused_for_now() -> None:
    """Expressions carry their language; only `py` exists."""
    assert compile_expression("1").language == "py"
    with pytest.raises(ExpressionError) as caught:
        compile_expression("$.a", language="jsonpath")
    assert caught.value.code == "expression.language"


def test_expressions_travel_to_other_processes() -> None:
    """An expression is pickled by its source, so that a task in another process can evaluate it."""
    again: Expression = pickle.loads(pickle.dumps(compile_expression("input.a + 1")))
    assert again.evaluate(PlainNames({"input": {"a": 1}}), Budget()) == 2
    error = pickle.loads(pickle.dumps(refusal("input.missing")))
    assert (error.code, error.offset, error.source) == ("expression.missing", 6, "input.missing")


def test_reserved_names_are_those_of_the_format() -> None:
    """Day-one 28 fixes the names, and joins and loops add two."""
    fixed = {"input", "nodes", "state", "previous", "incoming", "vars", "item", "index", "last", "error", "self"}
    assert fixed | {"execution", "trigger", "carry", "join"} == RESERVED_NAMES


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "source, value", [("1if 2 else 3", 1), ("0xfor 1", 15), ("0xfif 0 else 2", 2), ("[1for x in [0]]", [1]), ("'\\d'", "\\d")]
)
def test_python_warns_of_nothing(source: str, value: Any) -> None:
    """What Python reads and warns of is an expression like any other, and its warning goes nowhere."""
    assert compile_expression(source).evaluate(PlainNames({}), Budget()) == value
