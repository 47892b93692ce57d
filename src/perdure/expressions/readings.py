"""What an expression reads, as it is written: for those who show an expression beside the values that it had."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from perdure.expressions.compile import literal_key, targets_of
from perdure.expressions.expression import Expression
from perdure.expressions.names import FAMILIES
from perdure.expressions.source import Offsets, parse

_WORDS = frozenset(("null", "true", "false"))


def paths_read(expression: Expression) -> list[str]:
    """Each `nodes.fetch.body.total`, `input.lines[0]` or `item` that an expression names, once, in the order of the text.

    Only what is written out counts: of `input.lines[index]` it is `input.lines` and `index`. Variables of comprehensions, and
    what is read of them, are left out. Each text is an expression of its own.
    """
    tree, text = parse(expression.source)
    offsets = Offsets(text)
    # Before 3.12, Python does not say where the parts of an f-string stand.
    placeless = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    found: dict[str, None] = {}
    for node in _chains(tree, frozenset()):
        start = offsets.at(node.lineno, node.col_offset)
        end = offsets.at(node.end_lineno or node.lineno, node.end_col_offset or 0)
        found[ast.unparse(node) if id(node) in placeless else expression.source[start:end]] = None
    return list(found)


def _chains(node: ast.AST, bound: frozenset[str]) -> Iterator[ast.expr]:
    """The longest chains of members that are written out and begin with a name, outside in, from left to right."""
    if isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
        root, steps = _root(node)
        if isinstance(root, ast.Name):
            if root.id not in bound and root.id not in _WORDS and (steps or root.id not in FAMILIES):
                yield node
            return
    if isinstance(node, ast.Call):
        inner: list[ast.AST] = [*node.args, *(keyword.value for keyword in node.keywords)]
    elif isinstance(node, ast.ListComp | ast.DictComp | ast.GeneratorExp):
        yield from _of_comprehension(node, bound)
        return
    else:
        inner = list(ast.iter_child_nodes(node))
    for each in inner:
        yield from _chains(each, bound)


def _root(node: ast.expr) -> tuple[ast.expr, int]:
    """What a chain of written-out members begins with, and how many members there are."""
    steps = 0
    while True:
        if isinstance(node, ast.Attribute) or (isinstance(node, ast.Subscript) and literal_key(node.slice) is not None):
            node, steps = node.value, steps + 1
        else:
            return node, steps


def _of_comprehension(node: ast.ListComp | ast.DictComp | ast.GeneratorExp, bound: frozenset[str]) -> Iterator[ast.expr]:
    for generator in node.generators:
        yield from _chains(generator.iter, bound)
        bound |= {target.id for target in targets_of(generator.target) if isinstance(target, ast.Name)}
        for condition in generator.ifs:
            yield from _chains(condition, bound)
    parts = (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
    for part in parts:
        yield from _chains(part, bound)
