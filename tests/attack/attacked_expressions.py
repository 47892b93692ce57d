"""Attacks on expressions: soups of tokens, deep nesting, huge numbers, long texts, patterns and formats that would not end."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from perdure.expressions import Budget, ExpressionError, PlainNames, check_value, compile_expression, compile_template
from perdure.expressions.functions import FUNCTIONS

VALUES: dict[str, Any] = {
    "input": {
        "a": 1, "b": [1, 2.5, "x", None, True], "c": {"d": "text", "e": {}}, "t": "2026-03-01T09:30:00Z", "long": "ab" * 5_000,
        "many": list(range(2_000)), "deep": [[[[[[[[1]]]]]]]], "odd": "\u202e\u0000é\U0001f600", "least": -(2**63),
        "most": 2**63 - 1,
    },
    "nodes": {"fetch": {"total": 1200, "lines": [{"sku": "a", "price": 3}, {"sku": "b", "price": 4}]}},
    "state": {"fetch": {"status": "succeeded"}},
    "previous": {},
    "vars": {"n": 5, "s": "abc", "l": [3, 1, 2]},
    "index": 2,
}  # fmt: skip
TINY = (50, 500)
"""A budget so small that most evaluations meet its end somewhere inside."""

ATOMS = [
    "input", "input.a", "input.b", "input.c.d", "input.long", "input.many", "input.deep", "input.odd", "input.least",
    "input.most", "nodes.fetch", "nodes.fetch.lines", "state.fetch", "vars.s", "vars.l", "index", "x", "null", "true", "None",
    "0", "1", "-1", "2", "63", "64", "1e308", "-1e308", "1e-308", "9223372036854775807", "9223372036854775808", "9" * 400,
    "0x" + "f" * 40, "1_000", "0b1", "1j", "''", "'a'", "'a.b[0]'", "'é'", "'\\ud800'", "'\\x00'", "b'x'", "'(a+)+$'",
    "'(a|a)*b'",
    "'[a-z]{1000}'", "'((((a{9}){9}){9}){9})'", "'(?P<x>.)(?P=x)'", "'\\\\d+'", "'%Y-%m-%d %f %Z'", "'{:>99999999}'", "'5m'",
    "'P1Y'", "'9999999999d'", "'9999-12-31T23:59:59Z'", "'0001-01-01T00:00:00+14:00'", "'Europe/Berlin'", "'../etc/passwd'",
    "'1e999'", "'NaN'", "'[1, {\"a\": 1e400}]'", "'[' * 5000", "[]", "{}", "[1, 2, 3]", "{'a': 1}", "now()", "random()",
    "uuid()",
    "f'{input.a:>9999999}'", "f'{input.a!r}'", "f'{input.long:.3}'", "f'{input.a:{input.a}}'", "f'{{}}'",
    "[x for x in input.many]",
    "[x for x in input.many for y in input.many]", "{x: x for x in input.b}",
]  # fmt: skip
OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "<<", ">>", "==", "<", "in", "and", "or"]
SIGNS = [
    "+", "-", "*", "/", "//", "%", "**", "<<", ">>", "&", "|", "^", "~", "==", "!=", "<", "<=", " and ", " or ", " not ",
    " in ",
    " is ", " if ", " else ", " for ", " lambda ", ":=", "=", ".", ",", ":", ";", "(", ")", "[", "]", "{", "}", "@", "->",
    "...",
    "\n", "\t", "\\", "#", "${", "`", "\u00a0", "\u2028", "\ufeff", "\x00", "'", '"', "'''", "f'", "__class__", "__import__",
]  # fmt: skip


def expression_cases() -> st.SearchStrategy[dict[str, Any]]:
    source = st.one_of(soups(), towers(), trees(), st.text(max_size=80))
    wrapped = st.one_of(
        source, source.map(lambda text: f"${{ {text} }}"), source.map(lambda text: f"a ${{{text}}} b ${{ {text} }}")
    )
    return st.fixed_dictionaries({"source": wrapped})


def soups() -> st.SearchStrategy[str]:
    """Words and signs in any order."""
    names = [f"{name}(" for name in FUNCTIONS]
    return st.lists(st.sampled_from([*ATOMS, *SIGNS, *names]), max_size=25).map("".join)


def towers() -> st.SearchStrategy[str]:
    """One thing around itself, or after itself, very often."""
    layers = st.sampled_from(
        [
            ("(", ")"), ("[", "]"), ("{'a': ", "}"), ("-", ""), ("not ", ""), ("abs(", ")"), ("1 + (", ")"), ("1 if ",
            " else 2"),
            ("input.b[", "]"), ("[x for x in ", "]"), ("f'{", "}'"), ("str(", ")"), ("", ".a"), ("", "[0]"), ("", " + 1"),
            ("2**", ""),
            ("", "*9"), ("'a'*", ""), ("", ", 1"), ("", " == 1"), ("", " and 1"), ("", "()"),
        ]
    )  # fmt: skip
    height = st.one_of(st.integers(0, 90), st.sampled_from([100, 200, 1_000, 5_000, 30_000]))
    return st.builds(
        lambda layer, height, core: layer[0] * height + core + layer[1] * height, layers, height, st.sampled_from(ATOMS)
    )


def trees() -> st.SearchStrategy[str]:
    """Sound syntax over odd values."""
    return st.recursive(
        st.sampled_from(ATOMS),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(OPERATORS), inner)
            .map(lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"),
            st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]} if {parts[1]} else {parts[2]})"),
            st.tuples(inner, inner).map(lambda parts: f"({parts[0]})[{parts[1]}]"),
            st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]})[{parts[1]}:{parts[2]}]"),
            st.tuples(inner, inner, inner).map(lambda parts: f"[{parts[0]} for x in {parts[1]} if {parts[2]}]"),
            inner.map(lambda part: f'f"{{{part}}}"'),
            st.tuples(st.sampled_from(sorted(FUNCTIONS)), st.lists(inner, max_size=4))
            .map(lambda parts: f"{parts[0]}({', '.join(parts[1])})"),
            st.tuples(st.sampled_from(sorted(FUNCTIONS)), inner, st.sampled_from(["by", "where", "default", "x"]), inner)
            .map(lambda parts: f"{parts[0]}({parts[1]}, {parts[2]}={parts[3]})"),
        ),
        max_leaves=12,
    )  # fmt: skip


def attack_expression(case: dict[str, Any]) -> None:
    """A value within the value rules, or an ExpressionError with its place; never more than the budget; the same twice."""
    source = case["source"]
    for compiled in (compile_expression, compile_template):
        for budget in ((), TINY):
            first, again = Budget(*budget), Budget(*budget)
            outcome = _outcome(compiled, source, first)
            assert outcome == _outcome(compiled, source, again), "the same source comes to something else the second time"
            assert first.spent == again.spent, "the same source spends something else the second time"
            assert 0 <= first.spent.operations <= first.operations
            assert 0 <= first.spent.touched <= first.touched


def _outcome(compiled: Any, source: str, budget: Budget) -> tuple[str, Any]:
    try:
        value = compiled(source).evaluate(PlainNames(VALUES, at=1_772_000_000_000_000, seed=b"attack"), budget)
    except ExpressionError as error:
        _judge(error, source)
        return "error", (error.code, error.message, error.offset)
    check_value(value)
    return "value", repr(value)


def _judge(error: ExpressionError, source: str) -> None:
    assert error.message.startswith("Expected "), error.message
    assert 0 <= error.offset <= len(source), "an error without a place"
    assert error.line >= 1
    assert error.column >= 1
