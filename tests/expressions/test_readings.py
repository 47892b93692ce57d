"""What an expression reads, as it is written: each path once, and each an expression of its own."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.expressions import Budget, PlainNames, compile_expression, paths_read


@pytest.mark.parametrize(
    "source, wanted",
    [
        ('nodes.fetch.body.customer.tier == "gold"', ["nodes.fetch.body.customer.tier"]),
        (" 1 > 2 ", []),
        ("null if true else false", []),
        ("input", ["input"]),
        ("input.a and not input.a or vars.b", ["input.a", "vars.b"]),
        ("input.lines[index].price > vars.n", ["input.lines", "index", "vars.n"]),
        ('nodes.a["b c"][0][-1]', ['nodes.a["b c"][0][-1]']),
        ("(nodes.x or input)['k']", ["nodes.x", "input"]),
        ("len([x for x in nodes.a if x.y > item.z and x.y < limit]) == 0", ["nodes.a", "item.z", "limit"]),
        ("{k: v for k, v in input.pairs}", ["input.pairs"]),
        ("[a for b in input for a in b.list]", ["input"]),
        ("sum(line.price for line in input.lines)", ["input.lines"]),
        ("get(input.a, 'b.c', vars.d)", ["input.a", "vars.d"]),
        ("nodes.mail.from == null", ["nodes.mail.from"]),
        ('f"{input.a}: {nodes.b.c}" + "é" + input.d', ["input.a", "nodes.b.c", "input.d"]),
        ("{'a': input.c, 'b': -nodes.x[0]}", ["input.c", "nodes.x[0]"]),
        ("1 < input.a <\n input.b", ["input.a", "input.b"]),
        ("input.text[1:vars.n]", ["input.text", "vars.n"]),
    ],
)
def test_each_path_is_told_as_it_is_written(source: str, wanted: list[str]) -> None:
    """Members that are written out belong to the path; variables of comprehensions, functions and words are none."""
    found = paths_read(compile_expression(source))
    assert found == wanted
    for path in found:
        compile_expression(path)


def test_a_path_has_the_value_that_it_has_in_its_expression() -> None:
    """Evaluated alone, with the same names."""
    values: dict[str, Any] = {"input": {"a": [1, {"b": 2}]}, "nodes": {"x": {"from": 3}}}
    expression = compile_expression("input.a[1].b + nodes.x.from")
    names = PlainNames(values)
    assert expression.evaluate(names, Budget()) == 5
    assert [compile_expression(path).evaluate(names, Budget()) for path in paths_read(expression)] == [2, 3]
