"""From text to closures: Python's parser, a whitelist of its nodes, and one closure for each.

Rule 1: what is not in `_COMPILERS` does not exist. Rule 2: everything compiled adds to the static cost, which is charged as a
whole when an evaluation begins; loops charge the cost of their body for each pass.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from perdure.expressions import closures, comprehensions, formats
from perdure.expressions.calls import call, find_function, method_refused
from perdure.expressions.closures import Closure, Steps
from perdure.expressions.errors import ExpressionError
from perdure.expressions.names import FAMILIES
from perdure.expressions.operators import BINARY, COMPARISONS, UNARY, Operation
from perdure.expressions.source import Offsets, parse
from perdure.expressions.values import FLOAT_MAX, INT_MAX, INT_MIN, has_lone_surrogate

DEPTH_MAX = 80
"""How deep an expression may be nested: each level is a Python call when it is compiled and when it is evaluated."""

_WORDS = {"null": None, "true": True, "false": False}


def compile_source(source: str) -> Compiler:
    """All that is known about an expression without evaluating it. Raises ExpressionError."""
    tree, text = parse(source)
    compiler = Compiler(source, text)
    compiler.run = compiler.compile(tree)
    return compiler


class Compiler:
    """Walks the tree of one expression and gathers what is known about it.

    `reads`, `functions`: what it names. `operations`, `touched`: its static cost. `slots`: variables of comprehensions.
    `repeats`: whether it may hold one value several times. `run`: the closure.
    """

    run: Closure

    def __init__(self, source: str, text: str) -> None:
        self.source = source
        self.reads: set[tuple[str, str | None]] = set()
        self.read_count = 0
        self.functions: set[str] = set()
        self.operations = 0
        self.touched = 0
        self.slots = 0
        self.repeats = False
        self._text = text
        self._offsets = Offsets(text)
        self._locals: dict[str, int] = {}
        self._depth = 0
        self._fixed_offset: int | None = None

    def compile(self, node: ast.expr) -> Closure:
        compile_node = _COMPILERS.get(type(node))
        if compile_node is None:
            raise self._forbidden(node)
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise ExpressionError(
                "expression.too_large",
                f"Expected at most {DEPTH_MAX} nested operations, but here are more.",
                'Split it over several nodes, or use `join([…], "")` and `sum([…])` for long chains.',
                self.source,
                self.offset(node),
            )
        self.operations += 1
        closure = compile_node(self, node)
        self._depth -= 1
        return closure

    def offset(self, node: ast.expr | ast.keyword) -> int:
        if self._fixed_offset is not None:
            return self._fixed_offset
        return self._offsets.at(node.lineno, node.col_offset)

    def _end(self, node: ast.expr) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._offsets.at(node.end_lineno, node.end_col_offset)

    def _symbol_offset(self, after: ast.expr, symbol: str) -> int:
        """Where the operator stands that follows a node."""
        if self._fixed_offset is not None:
            return self._fixed_offset
        return max(self._text.find(symbol[:2], self._end(after)), 0)

    # Values

    def constant(self, node: ast.Constant) -> Closure:
        return closures.constant(self._checked(node, node.value))

    def _checked(self, node: ast.expr, value: Any) -> Any:
        if type(value) is str:
            if has_lone_surrogate(value):
                raise self._error(node, "expression.value", "Expected text, but a string holds half of a surrogate pair.", "")
        elif type(value) is int:
            if not INT_MIN <= value <= INT_MAX:
                raise self._error(
                    node,
                    "expression.overflow",
                    "Expected an integer within ±2^63, but this is larger.",
                    "Write it as a string.",
                )
        elif type(value) is float:
            if not -FLOAT_MAX <= value <= FLOAT_MAX:
                raise self._error(node, "expression.overflow", "Expected a finite number, but this is too large.", "")
        elif value is not None and type(value) is not bool:
            what = {bytes: "bytes", complex: "an imaginary number"}.get(type(value), "`...`")
            raise self._error(
                node, "expression.forbidden", f"Expected a JSON value, but {what} is none.", "Use a string or number."
            )
        return value

    def name(self, node: ast.Name, steps: Steps = ()) -> Closure:
        name = node.id
        if name in self._locals:
            return closures.local(name, self._locals[name], steps, self.source)
        if name in _WORDS:
            word = closures.constant(_WORDS[name])
            return closures.inside(word, steps, self.source) if steps else word
        self._refuse_dunder(node, name)
        if name in FAMILIES:
            raise self._error(
                node,
                "expression.forbidden",
                f"Expected a member of `{name}`, so that what is read is known when saved; but it is used as a whole.",
                f"Write `{name}.fetch`, or read the members you need one by one.",
            )
        self._read(name, steps[0][0] if steps and type(steps[0][0]) is str else None)
        return closures.root(name, self.offset(node), steps, self.source)

    def _read(self, name: str, member: str | int | None) -> None:
        self.reads.add((name, member if type(member) is str else None))
        self.read_count += 1

    def access(self, node: ast.Attribute | ast.Subscript) -> Closure:
        """`a.b["c"][0]` as one closure: the steps that are written out are gathered down to what they start from."""
        steps: list[tuple[str | int, int]] = []
        base: ast.expr = node
        while isinstance(base, (ast.Attribute, ast.Subscript)):
            if isinstance(base, ast.Attribute):
                key: str | int | None = base.attr
                self._refuse_dunder(base, base.attr)
                at = self._fixed_offset if self._fixed_offset is not None else self._end(base) - len(base.attr)
            else:
                key = literal_key(base.slice)
                at = self.offset(base.slice)
                if type(key) is int or type(key) is str:
                    self._checked(base.slice, key)
            if key is None:
                break
            steps.append((key, at))
            base = base.value
        if len(steps) > DEPTH_MAX:
            raise self._error(node, "expression.too_large", f"Expected at most {DEPTH_MAX} steps, but here are more.", "")
        self.operations += len(steps)
        steps.reverse()
        if isinstance(base, ast.Name):
            if base.id in FAMILIES and base.id not in self._locals and steps and type(steps[0][0]) is str:
                self._read(base.id, steps[0][0])
                return closures.member(base.id, str(steps[0][0]), self.offset(base), tuple(steps[1:]), self.source)
            if steps:
                self._depth += 1
                closure = self.name(base, tuple(steps))
                self._depth -= 1
                return closure
        if not steps:
            assert isinstance(base, ast.Subscript)
            return self._dynamic(base)
        return closures.inside(self.compile(base), tuple(steps), self.source)

    def _dynamic(self, node: ast.Subscript) -> Closure:
        container = self.compile(node.value)
        at = self.offset(node.slice)
        if isinstance(node.slice, ast.Slice):
            bounds = tuple(
                self.compile(bound) if bound is not None else None
                for bound in (node.slice.lower, node.slice.upper, node.slice.step)
            )
            return closures.part(container, bounds, self.source, at)
        return closures.index(container, self.compile(node.slice), self.source, at)

    def display(self, node: ast.List | ast.Tuple) -> Closure:
        self.touched += 16 * (len(node.elts) + 1)
        return closures.list_of(tuple(self.compile(element) for element in node.elts))

    def object(self, node: ast.Dict) -> Closure:
        self.touched += 32 * (len(node.keys) + 1)
        entries = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                raise self._error(
                    value, "expression.forbidden", "Expected keys and values, but found `**`.", "Use `merge(a, b)`."
                )
            if isinstance(key, ast.Constant) and type(key.value) is not str:
                raise self._error(key, "expression.type", "Expected a string as key of an object.", "Put it into quotes.")
            entries.append((self.compile(key), self.compile(value), self.offset(key)))
        return closures.object_of(tuple(entries), self.source)

    def text(self, node: ast.JoinedStr) -> Closure:
        outer = self._fixed_offset
        # Before 3.12, Python does not say where the parts of an f-string stand: all have the place of the whole.
        self._fixed_offset = at = self.offset(node)
        parts: list[str | Closure] = []
        for value in node.values:
            if isinstance(value, ast.Constant):
                literal = str(self._checked(value, value.value))
                parts.append(literal)
                self.touched += len(literal)
            else:
                assert isinstance(value, ast.FormattedValue)
                parts.append(self._formatted(value, at))
        self._fixed_offset = outer
        return formats.concatenation(tuple(parts), self.source, at)

    def _formatted(self, node: ast.FormattedValue, at: int) -> Closure:
        if node.conversion not in (-1, ord("s")):
            raise self._error(
                node, "expression.forbidden", "Expected a value in an f-string, but found `!r` or `!a`.", "Use `to_json(x)`."
            )
        value = self.compile(node.value)
        if node.format_spec is None:
            return value
        assert isinstance(node.format_spec, ast.JoinedStr)
        literal = ""
        for part in node.format_spec.values:
            if not isinstance(part, ast.Constant):
                raise self._error(
                    node,
                    "expression.forbidden",
                    "Expected a format that is written out, but it is computed.",
                    "Use `pad_left`, `round`, `format_number`.",
                )
            literal += str(part.value)
        if not literal:
            return value
        self.operations += 1
        try:
            formats.check_specification(literal)
        except ExpressionError as error:
            raise error.at(self.source, at) from None
        return formats.formatted(value, literal, self.source, at)

    # Operators

    def unary(self, node: ast.UnaryOp) -> Closure:
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant) and type(node.operand.value) is int:
            return closures.constant(self._checked(node, -node.operand.value))  # -2^63 is a value, 2^63 is none
        operation = UNARY[type(node.op)]
        return closures.unary(operation, self.compile(node.operand), self.source, self.offset(node))

    def binary(self, node: ast.BinOp) -> Closure:
        found = BINARY.get(type(node.op))
        if found is None:
            raise self._error(node, "expression.forbidden", "Expected a known operator, but found `@`.", "")
        symbol, operation = found
        at = self._symbol_offset(node.left, symbol)
        if symbol == "%" and _is_text(node.left):
            raise ExpressionError(
                "expression.forbidden",
                "Expected numbers around `%`, but the left is a string.",
                'Write f"…{x}…" to put values into text.',
                self.source,
                at,
            )
        self.repeats = self.repeats or symbol == "*"
        return closures.binary(operation, self.compile(node.left), self.compile(node.right), self.source, at)

    def compare(self, node: ast.Compare) -> Closure:
        first = self.compile(node.left)
        links: list[tuple[str, Operation, Closure, int]] = []
        before = node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            symbol, operation = COMPARISONS[type(op)]
            at = self._symbol_offset(before, symbol)
            if symbol.startswith("is") and not _is_word(right):
                raise ExpressionError(
                    "expression.forbidden",
                    "Expected null, true or false after `is`; other values have no identity.",
                    "Use `==` or `!=`.",
                    self.source,
                    at,
                )
            links.append((symbol, operation, self.compile(right), at))
            before = right
        symbol, operation, closure, at = links[0]
        if len(links) > 1:
            return closures.chain(first, tuple(link[1:] for link in links), self.source)
        if isinstance(before, ast.Constant):
            quick = closures.against_constant(symbol, operation, first, before.value, self.source, at)
            if quick is not None:
                return quick
        return closures.binary(operation, first, closure, self.source, at)

    def boolean(self, node: ast.BoolOp) -> Closure:
        values = tuple(self.compile(value) for value in node.values)
        return closures.conjunction(values) if isinstance(node.op, ast.And) else closures.disjunction(values)

    def choice(self, node: ast.IfExp) -> Closure:
        return closures.choice(self.compile(node.test), self.compile(node.body), self.compile(node.orelse))

    # Calls and comprehensions

    def call(self, node: ast.Call) -> Closure:
        if isinstance(node.func, ast.Attribute):
            self._refuse_dunder(node.func, node.func.attr)
            at = self._fixed_offset if self._fixed_offset is not None else self._end(node.func) - len(node.func.attr)
            raise method_refused(node.func.attr, self.source, at)
        if not isinstance(node.func, ast.Name):
            raise self._error(node.func, "expression.forbidden", "Expected a function's name before the brackets.", "")
        self._refuse_dunder(node.func, node.func.id)
        function = find_function(node.func.id, self.source, self.offset(node.func))
        self.functions.add(function.name)
        self.operations += function.cost
        positional = []
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                raise self._error(
                    argument, "expression.forbidden", "Expected arguments one by one, but found `*`.", "Name them."
                )
            if isinstance(argument, ast.GeneratorExp):
                positional.append(self._list(argument))
            else:
                positional.append(self.compile(argument))
        named: dict[str, tuple[Closure, int]] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise self._error(
                    keyword.value, "expression.forbidden", "Expected arguments one by one, but found `**`.", "Name them."
                )
            named[keyword.arg] = (self.compile(keyword.value), self.offset(keyword))
        return call(function, positional, named, self.source, self.offset(node.func))

    def list_comprehension(self, node: ast.ListComp) -> Closure:
        return self._list(node)

    def _list(self, node: ast.ListComp | ast.GeneratorExp) -> Closure:
        def build(loops: tuple[comprehensions.Loop, ...], parts: tuple[Closure, ...]) -> Closure:
            return comprehensions.list_comprehension(loops, parts[0])

        return self._comprehension(node.generators, (node.elt,), build)

    def object_comprehension(self, node: ast.DictComp) -> Closure:
        at = self.offset(node.key)

        def build(loops: tuple[comprehensions.Loop, ...], parts: tuple[Closure, ...]) -> Closure:
            return comprehensions.object_comprehension(loops, parts[0], parts[1], self.source, at)

        return self._comprehension(node.generators, (node.key, node.value), build)

    def _comprehension(
        self,
        generators: list[ast.comprehension],
        parts: tuple[ast.expr, ...],
        build: Callable[[tuple[comprehensions.Loop, ...], tuple[Closure, ...]], Closure],
    ) -> Closure:
        """Compile the loops outside in, each with the cost of one pass, then what is collected, which the last loop pays."""
        self._depth += 1
        self.repeats = True
        outer_locals = dict(self._locals)
        costs: list[tuple[int, int]] = []
        loops: list[comprehensions.Loop] = []
        for generator in generators:
            if generator.is_async:
                raise self._error(generator.target, "expression.forbidden", "Expected `for`, but found `async for`.", "")
            over = self.compile(generator.iter)
            costs.append((self.operations, self.touched))  # so far it is paid by the loop around, or by the expression
            self.operations, self.touched = 1, 0
            slots = tuple(self._bind(target) for target in targets_of(generator.target))
            conditions = tuple(self.compile(condition) for condition in generator.ifs)
            loops.append(comprehensions.Loop(over, slots, conditions, 0, 0, self.source, self.offset(generator.iter)))
        closures_of_parts = tuple(self.compile(part) for part in parts)
        costs.append((self.operations, self.touched))
        priced = tuple(
            loop._replace(cost=cost, touched=touched) for loop, (cost, touched) in zip(loops, costs[1:], strict=True)
        )
        self.operations, self.touched = costs[0]
        self._locals = outer_locals
        self._depth -= 1
        return build(priced, closures_of_parts)

    def _bind(self, target: ast.expr) -> int:
        if not isinstance(target, ast.Name):
            raise self._error(
                target,
                "expression.forbidden",
                "Expected a variable's name after `for`.",
                "Write `for x in …` or `for k, v in …`.",
            )
        self._refuse_dunder(target, target.id)
        if target.id in FAMILIES or target.id in _WORDS:
            raise self._error(
                target,
                "expression.forbidden",
                f"Expected a new name, but `{target.id}` has a fixed meaning.",
                "Choose another.",
            )
        slot = self.slots
        self.slots += 1
        self._locals[target.id] = slot
        return slot

    # Refusals

    def _refuse_dunder(self, node: ast.expr, name: str) -> None:
        if name.startswith("__"):
            raise self._error(
                node,
                "expression.forbidden",
                f"Expected an ordinary name, but `{name}` begins with two underscores.",
                f'A field of that name is read as x["{name}"].',
            )

    def _forbidden(self, node: ast.expr) -> ExpressionError:
        what, remedy = _FORBIDDEN.get(type(node), (type(node).__name__, ""))
        return self._error(node, "expression.forbidden", f"Expected a simpler expression, but found {what}.", remedy)

    def _error(self, node: ast.expr, code: str, message: str, remedy: str) -> ExpressionError:
        return ExpressionError(code, message, remedy, self.source, self.offset(node))


def literal_key(node: ast.expr) -> str | int | None:
    """The key, if it is written out: a string or an integer, also a negative one."""
    if isinstance(node, ast.Constant) and (type(node.value) is str or type(node.value) is int):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        return -node.operand.value if type(node.operand.value) is int else None
    return None


def targets_of(node: ast.expr) -> list[ast.expr]:
    """The variables that a comprehension binds by its `for`."""
    return list(node.elts) if isinstance(node, (ast.Tuple, ast.List)) and node.elts else [node]


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or isinstance(node, ast.Constant) and type(node.value) is str


def _is_word(node: ast.expr) -> bool:
    if isinstance(node, ast.Name):
        return node.id in _WORDS
    return isinstance(node, ast.Constant) and (node.value is None or type(node.value) is bool)


_COMPILERS: dict[type[ast.expr], Callable[[Compiler, Any], Closure]] = {
    ast.Constant: Compiler.constant,
    ast.Name: Compiler.name,
    ast.Attribute: Compiler.access,
    ast.Subscript: Compiler.access,
    ast.List: Compiler.display,
    ast.Tuple: Compiler.display,
    ast.Dict: Compiler.object,
    ast.JoinedStr: Compiler.text,
    ast.UnaryOp: Compiler.unary,
    ast.BinOp: Compiler.binary,
    ast.Compare: Compiler.compare,
    ast.BoolOp: Compiler.boolean,
    ast.IfExp: Compiler.choice,
    ast.Call: Compiler.call,
    ast.ListComp: Compiler.list_comprehension,
    ast.DictComp: Compiler.object_comprehension,
}

_FORBIDDEN: dict[type[ast.expr], tuple[str, str]] = {
    ast.Lambda: ("`lambda`", 'Use a comprehension: `[x.price for x in list]`; `sorted` takes `by="price"`.'),
    ast.NamedExpr: ("`:=`", "Nothing can be assigned here; set a variable with a `set_variable` node."),
    ast.Await: ("`await`", "Expressions never wait; use a wait node."),
    ast.Yield: ("`yield`", "Use a list."),
    ast.YieldFrom: ("`yield from`", "Use a list."),
    ast.Starred: ("`*`", "Use `+` or `concat` to join lists."),
    ast.Set: ("a set", "Use a list, and `unique(list)`."),
    ast.SetComp: ("a set", "Use a list: `unique([… for x in list])`."),
    ast.GeneratorExp: ("a generator", "Put it into `[ ]`, or make it the argument of a function."),
    ast.Slice: ("a slice", "Slices stand in brackets after a value: `x[1:3]`."),
}
