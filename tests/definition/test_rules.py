"""The checker's side of the numbered rules: what each refuses, and what it lets pass."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.definition import Catalog, read_definition
from perdure.definition.checks.subject import near

Codes = list[str]
T = "{type: transform, to: 1"


def codes(nodes: str, catalog: Catalog, head: str = "") -> Codes:
    """The codes found in a workflow with these nodes, in the order of the text."""
    body = "".join(f"  {line}\n" for line in nodes.strip().splitlines())
    return [fault.code for fault in read_definition(f"perdure: 1\nname: w\n{head}nodes:\n{body}", catalog=catalog).faults]


def test_rule_5_branches_of_a_switch_meet_again(catalog: Catalog) -> None:
    """Several entries of one node are edges, each live or not: no fault."""
    nodes = f"""
s: {{type: switch, cases: {{x: "${{ input.a }}", y: "${{ input.b }}"}}}}
a: {T}, after: s.x}}
b: {T}, after: s.y}}
c: {T}, after: [a, b, s.default]}}
"""
    assert codes(nodes, catalog) == []


def test_rule_6_siblings_may_share_ids(catalog: Catalog) -> None:
    """Ids are unique per scope and never repeat one of an enclosing scope; two branches may use the same."""
    branch = f"{{nodes: {{fetch: {T}}}}}}}"
    assert codes(f"p: {{type: parallel, branches: {{a: {branch}, b: {branch}}}}}", catalog) == []
    assert codes(f"p: {{type: parallel, branches: {{a: {branch}, b: {{nodes: {{p: {T}}}}}}}}}}}", catalog) == ["id.repeated"]


@pytest.mark.parametrize("condition", ["true", "input.x > 1", "${ input.x > 1 }"])
def test_rule_7_when_takes_booleans_and_expressions(condition: str, catalog: Catalog) -> None:
    """A condition may be written bare or as `${ … }`."""
    assert codes(f'a: {T}, when: "{condition}"}}', catalog) == []


def test_rule_7_when_is_one_expression(catalog: Catalog) -> None:
    """Text around `${ … }` is no condition, nor is a number."""
    assert codes(f'a: {T}, when: "x ${{ input.x }}"}}', catalog) == ["expression.forbidden"]
    assert codes(f"a: {T}, when: 3}}", catalog) == ["expression.type"]


READS = [
    ("a: %s\nb: {type: transform, after: a, to: '${ nodes.a }'}", []),
    ("a: %s\nb: {type: transform, after: a, to: '${ state.a.status }'}", []),
    ("a: %s\nm: {type: transform, after: a, to: 1}\nb: {type: transform, after: m, to: '${ nodes.a }'}", []),
    ("a: {type: transform, to: '${ nodes.a }'}", ["name.not_before"]),
    ("a: %s\nj: {type: join, after: [a, b]}\nb: {type: transform, to: '${ nodes.a }'}", ["name.not_before"]),
    ("a: %s\nl: {type: loop, after: a, over: [1], body: {nodes: {b: {type: transform, to: '${ nodes.a }'}}}}", []),
    ("l: {type: loop, over: [1], body: {nodes: {b: {type: transform, to: '${ nodes.l }'}}}}", ["name.not_before"]),
    (
        "l: {type: loop, over: [1], body: {nodes: {b: %s}}}\nc: {type: transform, after: l, to: '${ nodes.b }'}",
        ["name.unknown_node"],
    ),
    ("l: {type: loop, over: [1], body: {nodes: {b: %s}}, result: '${ nodes.b }'}", []),
    ("l: {type: loop, over: [1], body: {nodes: {b: %s}}, until: '${ nodes.b > 1 }'}", []),
    ("l: {type: loop, over: '${ nodes.b }', body: {nodes: {b: %s}}}", ["name.unknown_node"]),
    ("l: {type: loop, over: [1], carry: {start: 0, next: '${ nodes.b }'}, body: {nodes: {b: %s}}}", []),
    ("l: {type: loop, over: [1], carry: {start: '${ nodes.b }', next: 1}, body: {nodes: {b: %s}}}", ["name.unknown_node"]),
    ("l: {type: while, condition: '${ nodes.b }', body: {nodes: {b: %s}}}", ["name.unknown_node"]),
    (
        "a: %s\nc: {type: wait_for_condition, condition: '${ state.a.status == \"running\" }'}\nj: {type: join, after: [a, c]}",
        [],
    ),
    (
        (
            "a: %s\nb: %s\nc: %s\nd: {type: join, after: [c, j]}\n"
            "j: {type: join, after: [a, b], need: '${ join.success > 1 and state.c.error == null }'}"
        ),
        [],
    ),
    ("t: {type: try, body: {nodes: {b: %s}}, catch: [{body: {nodes: {c: {type: log, message: '${ state.b.status }'}}}}]}", []),
    ("t: {type: try, body: {nodes: {b: %s}}, finally: {nodes: {c: {type: log, message: '${ nodes.b }'}}}}", []),
    (
        (
            "t: {type: loop, over: [1], body: {nodes: {b: %s}},"
            " compensate: {nodes: {c: {type: log, message: '${ state.b.status }'}}}}"
        ),
        [],
    ),
    ("a: {type: transform, to: '${ nodes[\"b\"] }'}", ["name.unknown_node"]),
    ("a: {type: transform, to: '${ nodes }'}", ["expression.forbidden"]),
]


@pytest.mark.parametrize("nodes, expected", READS)
def test_rule_8_only_ancestors_can_be_read(nodes: str, expected: Codes, catalog: Catalog) -> None:
    """Ancestors in the scope and around it; output, result, next, until, joins, waits, handlers see more."""
    assert codes(nodes.replace("%s", T + "}"), catalog) == expected


def test_rule_8_output_reads_any_node(catalog: Catalog) -> None:
    """The output of a scope may name all its nodes, but not those inside its containers."""
    nodes = f"a: {{type: try, body: {{nodes: {{b: {T}}}}}, output: '${{ nodes.b }}'}}}}"
    assert codes(nodes, catalog, "output: '${ nodes.a }'\n") == []
    assert codes(nodes, catalog, "output: '${ nodes.b }'\n") == ["name.unknown_node"]


def test_rule_8_previous_reads_around_the_circle(catalog: Catalog) -> None:
    """The last visit of a node on the circle is settled; its output now is not."""
    circle = """
poll: {type: transform, after: [{from: check.false, again: true, max_visits: 3}], to: "${ %s }"}
check: {type: condition, after: poll, if: "${ nodes.poll.done }"}
"""
    assert codes(circle % "previous.check", catalog) == []
    assert codes(circle % "previous.poll", catalog) == []
    assert codes(circle % "nodes.check", catalog) == ["name.not_before"]
    assert codes(f"a: {T}}}\nb: {{type: transform, to: '${{ previous.b }}', after: a}}", catalog) == ["name.not_before"]


@pytest.mark.parametrize(
    "nodes, expected",
    [
        ("a: {type: notify}\nb: {type: log, after: a.error, message: '${ error.code }'}", []),
        ("a: {type: notify}\nb: {type: log, after: a, message: '${ error.code }'}", ["name.unknown"]),
        ("a: {type: notify, catch: [{on: x, to: broken}]}\nb: {type: log, after: a.broken, message: '${ error.code }'}", []),
        ("a: {type: notify, catch: [{when: '${ error.status == 404 }', to: b}]}\nc: {type: log, after: a.b, message: x}", []),
        ("a: {type: notify, timeout: 1s}\nb: {type: log, after: a.timeout, message: '${ error.code }'}", []),
        (
            "a: {type: notify}\nb: {type: log, after: a.error, message: x}\nc: {type: log, after: b, message: '${ error }'}",
            ["name.unknown"],
        ),
        (
            (
                "t: {type: try, body: {nodes: {b: {type: notify}}},"
                " catch: [{as: oops, body: {nodes: {c: {type: log, message: '${ oops }'}}}}]}"
            ),
            [],
        ),
        ("t: {type: try, body: {nodes: {b: {type: log, message: '${ error }'}}}}", ["name.unknown"]),
        ("t: {type: try, body: {nodes: {b: {type: notify}}}, finally: {nodes: {c: {type: log, message: '${ error }'}}}}", []),
    ],
)
def test_rule_10_error_is_bound_in_handlers_alone(nodes: str, expected: Codes, catalog: Catalog) -> None:
    """In the direct target of an edge of failure, in the conditions of catch, in catch and in finally."""
    assert codes(nodes, catalog) == expected


@pytest.mark.parametrize(
    "names, expected",
    [
        ("as: line", ("line", True)),
        ("as: line", ("item", False)),
        ("index: i", ("i", True)),
        ("index: i", ("index", False)),
        ("title: x", ("item", True)),
        ("title: x", ("last", True)),
        ("title: x", ("carry", False)),
        ("carry: {start: 0, next: 1}", ("carry", True)),
        ("title: x", ("self", False)),
        ("title: x", ("join", False)),
    ],
)
def test_loop_names_are_bound_inside_the_loop(names: str, expected: tuple[str, bool], catalog: Catalog) -> None:
    """The loop's own names, or item and index; `carry` where the loop has one."""
    name, bound = expected
    inner = f"{{type: loop, over: [1], {names}, body: {{nodes: {{b: {{type: transform, to: '${{ {name} }}'}}}}}}}}"
    assert codes(f"a: {inner}", catalog) == ([] if bound else ["name.unknown"])
    assert codes(
        f"a: {{type: loop, over: [1], {names}, body: {{nodes: {{b: {T}}}}}}}}}\n"
        f"c: {{type: log, after: a, message: '${{ {name} }}'}}",
        catalog,
    ) == ["name.unknown"]


FORK = f"""
a: {T}}}
b: {T}}}
s: {{type: switch, cases: {{x: "${{ input.x }}", y: "${{ input.y }}"}}%s}}
x1: {T}, after: s.x}}
y1: {T}, after: s.y}}
j: {{type: join, after: [a, b, x1, y1], need: %s}}
"""


@pytest.mark.parametrize(
    "need, match, expected",
    [
        ("4", "", ["quorum.unreachable"]),
        ("3", "", []),
        ('"60%"', "", []),
        ("all", "", []),
        ("4", ", match: all", []),
    ],
)
def test_rule_23_cases_of_one_switch_exclude_each_other(need: str, match: str, expected: Codes, catalog: Catalog) -> None:
    """Worked graph 2: of four branches three can be live together, since the switch takes one; all with `match: all`."""
    assert codes(FORK % (match, need), catalog) == expected


def test_rule_23_choices_add_up(catalog: Catalog) -> None:
    """Two independent conditions give two branches of four; error and success of one node exclude each other."""
    nodes = f"""
c: {{type: condition, if: "${{ input.c }}"}}
d: {{type: condition, if: "${{ input.d }}"}}
c1: {T}, after: c.true}}
c2: {T}, after: c.false}}
d1: {T}, after: d.true}}
d2: {T}, after: [d.false, d1.error]}}
j: {{type: join, after: [c1, c2, d1, d2], need: %d}}
"""
    assert codes(nodes % 2, catalog) == []
    assert codes(nodes % 3, catalog) == []  # d1 may have succeeded while nothing excludes d2: too hard to tell, so allowed
    assert codes(nodes % 4, catalog) == ["quorum.unreachable"]


def test_rule_23_many_choices_are_counted_exactly(catalog: Catalog) -> None:
    """A thousand conditions with both ports at one join give a thousand branches, whatever their number of combinations."""
    conditions = [f"c{number}: {{type: condition, if: '${{ input.x }}'}}" for number in range(1000)]
    entries = ", ".join(f"c{number}.true, c{number}.false" for number in range(1000))
    join = f"j: {{type: join, after: [{entries}], need: %d}}"
    assert codes("\n".join([*conditions, join % 1000]), catalog) == []
    assert codes("\n".join([*conditions, join % 1001]), catalog) == ["quorum.unreachable"]


@pytest.mark.parametrize(
    "need, expected", [("2", []), ("3", ["quorum.unreachable"]), ('"0%"', ["quorum.percent"]), ('"${ join.failed < 1 }"', [])]
)
def test_rule_23_parallel_needs_no_more_than_its_branches(need: str, expected: Codes, catalog: Catalog) -> None:
    """The same rules for branches of a parallel."""
    nodes = f"p: {{type: parallel, need: {need}, branches: {{a: {{nodes: {{x: {T}}}}}}}, b: {{nodes: {{x: {T}}}}}}}}}}}"
    assert codes(nodes, catalog) == expected


def loop(keys: str, inner: str = "b: {type: transform, to: 1}") -> str:
    """A loop with these keys and nodes."""
    return f"l: {{type: loop, {keys}, body: {{nodes: {{{inner}}}}}}}"


@pytest.mark.parametrize(
    "over, expected",
    [("null", ["loop.not_iterable"]), ("x", ["loop.not_iterable"]), ("{a: 1}", []), ("[]", []), ("'${ input.x }'", [])],
)
def test_rule_24_items_come_from_lists_and_objects(over: str, expected: Codes, catalog: Catalog) -> None:
    """Null and single values have no items; an empty list is fine."""
    assert codes(loop(f"over: {over}"), catalog) == expected


@pytest.mark.parametrize(
    "concurrency, expected", [("1", []), ("2", ["loop.carry_concurrency"]), ("'${ input.n }'", ["loop.carry_concurrency"])]
)
def test_rule_26_carry_needs_concurrency_1(concurrency: str, expected: Codes, catalog: Catalog) -> None:
    """Written out, since an expression might give more."""
    assert (
        codes(loop(f"over: [1], carry: {{start: 0, next: '${{ carry + last }}'}}, concurrency: {concurrency}"), catalog)
        == expected
    )


@pytest.mark.parametrize(
    "policy, expected", [("collect", ["loop.tolerate"]), ("ignore", ["loop.tolerate"]), ("drain", []), ("isolate", [])]
)
def test_rule_27_tolerate_needs_a_policy_that_fails(policy: str, expected: Codes, catalog: Catalog) -> None:
    """With collect and ignore nothing is ever beyond it."""
    assert codes(loop(f"over: [1], tolerate: '5%', on_failure: {policy}"), catalog) == expected


@pytest.mark.parametrize("need, expected", [("2", []), ("3", ["quorum.unreachable"])])
def test_rule_28_loops_take_quorums(need: str, expected: Codes, catalog: Catalog) -> None:
    """More than the items that are written out cannot come, unless the loop is open."""
    assert codes(loop(f"over: [1, 2], need: {need}"), catalog) == expected
    assert codes(loop(f"over: [1, 2], need: {need}, open: true"), catalog) == []


@pytest.mark.parametrize(
    "nodes, expected",
    [
        (loop("over: [1]", "b: {type: break}"), []),
        (loop("over: [1]", "b: {type: break, loop: l}"), []),
        (loop("over: [1]", "s: {type: try, body: {nodes: {b: {type: continue}}}}"), []),
        (
            loop(
                "over: [1]", "s: {type: try, body: {nodes: {c: {type: notify}}}, catch: [{body: {nodes: {b: {type: break}}}}]}"
            ),
            [],
        ),
        (
            loop("over: [1]", "s: {type: try, body: {nodes: {c: {type: notify}}}, finally: {nodes: {b: {type: break}}}}"),
            ["leave.in_finally"],
        ),
        (
            (
                "s: {type: try, body: {nodes: {c: {type: notify}}},"
                " finally: {nodes: {m: {type: repeat, times: 2, body: {nodes: {b: {type: break}}}}}}}"
            ),
            [],
        ),
        (
            (
                "s: {type: try, body: {nodes: {c: {type: notify}}},"
                " finally: {nodes: {m: {type: repeat, times: 2, body: {nodes: {b: {type: return}}}}}}}"
            ),
            ["leave.in_finally"],
        ),
        ("s: {type: try, body: {nodes: {c: {type: notify}}}, finally: {nodes: {f: {type: fail, code: x}}}}", []),
        ("s: {type: notify, compensate: {nodes: {b: {type: exit}}}}", ["leave.in_finally"]),
        (loop("over: [1]", "s: {type: notify, compensate: {nodes: {b: {type: break, loop: l}}}}"), ["leave.in_finally"]),
    ],
)
def test_rule_32_nothing_leaves_a_finally(nodes: str, expected: Codes, catalog: Catalog) -> None:
    """break, continue and return are refused where they would cut a cleanup short; inside a loop of its own they are fine."""
    assert codes(nodes, catalog) == expected


def test_rule_13_what_follows_a_fail_runs_where_failures_are_ignored(catalog: Catalog) -> None:
    """The edges of a failed node are live with `ignore` alone; its error edge is another matter."""
    nodes = f"a: {{type: fail, code: x}}\nb: {T}, after: a}}"
    assert codes(nodes, catalog) == ["node.never_runs"]
    assert codes(nodes, catalog, "settings: {on_failure: ignore}\n") == []
    assert codes(nodes.replace("after: a", "after: a.error"), catalog) == []
    assert codes(f"a: {{type: return}}\nb: {T}, after: a}}", catalog) == ["after.unknown_port"]


@pytest.mark.parametrize(
    "nodes, expected",
    [
        ("a: {type: condition, if: '${ input.x }', after: [{from: a.false, again: true, max_visits: 2}]}", []),
        (
            (
                f"a: {T}}}\nb: {{type: condition, after: a, if: '${{ input.x }}'}}\n"
                f"c: {T}, after: [b.true, {{from: c.error, again: true, max_visits: 2}}]}}"
            ),
            [],
        ),
        (
            f"a: {T}, after: [{{from: b, again: true, max_visits: 2}}]}}\nb: {T}, after: a}}\nc: {T}, after: b}}",
            ["again.forward"],
        ),
        (f"a: {T}, after: [{{from: b, again: true, max_visits: true}}]}}\nb: {T}, after: a}}", ["again.max_visits"]),
        (f"a: {T}, after: [{{from: b, again: true, max_visits: 0}}]}}\nb: {T}, after: a}}", ["again.max_visits"]),
    ],
)
def test_rule_34_edges_back(nodes: str, expected: Codes, catalog: Catalog) -> None:
    """To the source itself or an ancestor, bounded, and alone on their port."""
    assert [code for code in codes(nodes, catalog) if not code.startswith("value.")] == expected


def test_rule_35_effects_on_the_circle_are_meant(catalog: Catalog) -> None:
    """Worked graph 8: the mail beside the circle is warned of; behind `check.true` it is not."""
    nodes = """
poll: {type: http, with: {url: x}, after: [{from: check.false, again: true, max_visits: 3}]}
check: {type: condition, after: poll, if: "${ nodes.poll.done }"}
mail: {type: notify, after: %s}
"""
    assert codes(nodes % "poll", catalog) == ["again.effect"]
    assert codes(nodes % "check.true", catalog) == []


def test_rule_39_rollback_names_its_region(catalog: Catalog) -> None:
    """Without `of` it stands in a handler; with it, it names a node around, or one of the body it handles."""
    tried = "t: {type: try, body: {nodes: {b: {type: notify}}}, catch: [{body: {nodes: {r: {type: rollback%s}}}}]}"
    assert codes(tried % "", catalog) == []
    assert codes(tried % ", of: b", catalog) == []
    assert codes(tried % ", of: zz", catalog) == ["rollback.unknown_node"]
    assert (
        codes("u: {type: notify, compensate: {nodes: {c: {type: log, message: '${ self.input } ${ self.output }'}}}}", catalog)
        == []
    )


@pytest.mark.parametrize(
    "keys, expected",
    [
        ("attempts: 0", ["value.range"]),
        ("attempts: '${ input.n }'", []),
        ("initial: 3x", ["value.duration"]),
        ("factor: 0.5", ["value.range"]),
    ],
)
def test_rule_42_retry_policies(keys: str, expected: Codes, catalog: Catalog) -> None:
    """At least one attempt; durations and limits may be expressions."""
    assert codes(f"a: {{type: notify, retry: {{{keys}}}}}", catalog) == expected
    assert codes(f"a: {{type: notify, retry: [{{on: timeout}}, {{{keys}}}]}}", catalog) == expected


def test_rule_46_the_timeout_port_needs_a_timeout(catalog: Catalog) -> None:
    """It is there with a timeout or deadline; it is dead with `continue`."""
    nodes = "a: {type: wait_for_signal, signal: ok%s}\nb: {type: log, after: a.timeout, message: x}"
    assert codes(nodes % "", catalog) == ["after.unknown_port"]
    assert codes(nodes % ", timeout: 1d", catalog) == []
    assert codes(nodes % ", deadline: 1d", catalog) == []
    assert codes(nodes % ", timeout: 1h, deadline: 1d, on_timeout: route", catalog) == []
    assert codes(nodes % ", timeout: 1d, on_timeout: continue", catalog) == ["node.never_runs"]


SET = "{type: set_variable, set: {n: 1}"
WRITES = [
    (f"a: {SET}}}\nb: {SET}, after: a}}", []),
    (f"a: {SET}}}\nb: {SET}}}\nj: {{type: join, after: [a, b]}}", ["variable.unordered"]),
    (f"c: {{type: condition, if: '${{ input.x }}'}}\na: {SET}, after: c.true}}\nb: {SET}, after: c.false}}", []),
    (
        f"p: {{type: parallel, branches: {{x: {{nodes: {{a: {SET}}}}}}}, y: {{nodes: {{b: {SET}}}}}}}}}}}",
        ["variable.unordered"],
    ),
    (f"l: {{type: loop, over: [1], body: {{nodes: {{a: {SET}}}}}}}}}", []),
    (f"l: {{type: loop, over: [1], concurrency: 2, body: {{nodes: {{a: {SET}}}}}}}}}", ["variable.unordered"]),
    (f"l: {{type: loop, over: [1], concurrency: '${{ input.n }}', body: {{nodes: {{a: {SET}}}}}}}}}", ["variable.unordered"]),
    (f"l: {{type: loop, over: [1], concurrency: 2, body: {{vars: {{n: 0}}, nodes: {{a: {SET}}}}}}}}}", []),
    (f"t: {{type: try, body: {{nodes: {{a: {SET}}}}}}}, finally: {{nodes: {{b: {SET}}}}}}}}}", []),
    (
        f"p: {{type: parallel, branches: {{x: {{nodes: {{a: {SET}}}}}}}, y: {{nodes: {{b: {T}}}}}}}}}}}\nc: {SET}, after: p}}",
        [],
    ),
]


@pytest.mark.parametrize("nodes, expected", WRITES)
def test_rule_49_unordered_writers_need_a_merge(nodes: str, expected: Codes, catalog: Catalog) -> None:
    """No path between them, sibling branches, overlapping iterations; a declared merge settles each."""
    assert codes(nodes, catalog, "vars: {n: 0}\n") == expected
    assert codes(nodes, catalog, "vars: {n: {value: 0, merge: sum}}\n") == []


def test_rule_49_first_values_are_evaluated_outside(catalog: Catalog) -> None:
    """Before a scope begins none of its nodes has run: its variables see what is around it."""
    assert codes(f"a: {T}}}", catalog, "vars: {n: '${ nodes.a }'}\n") == ["name.unknown"]
    assert codes(f"a: {T}}}", catalog, "vars: {n: '${ input.n }'}\n") == []
    inner = f"l: {{type: loop, over: [1], after: a, body: {{vars: {{n: '${{ nodes.%s }}'}}, nodes: {{b: {T}}}}}}}}}"
    assert codes(f"a: {T}}}\n{inner % 'a'}", catalog) == []
    assert codes(f"a: {T}}}\n{inner % 'b'}", catalog) == ["name.unknown_node"]


def test_rule_49_variables_are_declared_around(catalog: Catalog) -> None:
    """A body sees those of the scopes around it, and what is around does not see those of a body."""
    body = (
        "l: {type: loop, over: [1], body: {vars: {n: '${ vars.m }'}, nodes: {a: {type: log, message: '${ vars.n + vars.m }'}}}}"
    )
    assert codes(body, catalog, "vars: {m: 0}\n") == []
    assert codes(f"{body}\nb: {{type: log, after: l, message: '${{ vars.n }}'}}", catalog, "vars: {m: 0}\n") == [
        "variable.undeclared"
    ]
    assert codes("a: {type: set_variable, scope: workflow, set: {n: 1}}", catalog) == ["variable.undeclared"]


def test_rule_53_nothing_sent_once_is_cached(catalog: Catalog) -> None:
    """With at-least-once delivery a cache is fine."""
    assert codes("a: {type: notify, cache: {key: k}, delivery: at_least_once}", catalog) == []


@pytest.mark.parametrize(
    "given, expected",
    [
        ("{url: '${ input.u }'}", []),
        ("'${ input.everything }'", []),
        ("{url: x, method: '${ input.m }'}", []),
        ("{url: x, method: PATCH}", ["param.invalid"]),
        ("{url: x, headers: {a: '${ input.a }', b: 3}}", ["param.invalid"]),
        ("{url: x, headers: '${ input.h }'}", []),
        ("{url: x, retries: '${ input.r }'}", []),
        ("{url: x, retries: -1}", ["param.invalid"]),
        ("{url: x, retries: '$${ literal }'}", ["param.invalid"]),
        ("{url: x, tags: []}", ["param.invalid"]),
        ("{url: x, tags: ['${ input.t }', 2]}", ["param.invalid"]),
        ("{'method': '${ input.m }'}", ["param.missing"]),
        ("[1]", ["param.invalid"]),
        ("null", ["param.missing"]),
    ],
)
def test_parameters_are_judged_as_far_as_they_are_literal(given: str, expected: Codes, catalog: Catalog) -> None:
    """What is computed is taken to fit; what is written out, also beside it, is not."""
    assert codes(f"a: {{type: http, with: {given}}}", catalog) == expected


def test_schemas_never_open_a_connection(catalog: Catalog) -> None:
    """A reference to elsewhere is `schema.invalid`, not a download; one inside the schema is fine."""
    assert codes(f"a: {T}}}", catalog, "input: {$ref: 'https://schemas.example/order.json'}\n") == ["schema.invalid"]
    assert codes(f"a: {T}}}", catalog, "input: {$ref: '#/$defs/order', $defs: {order: {type: object}}}\n") == []


@pytest.mark.parametrize(
    "cron, fine",
    [
        ("@daily", True),
        ("0 6 * * MON-FRI", True),
        ("*/10 0 6 * * *", True),
        ("0 0 31 2 *", False),
        ("@often", False),
        ("", False),
    ],
)
def test_cron_expressions_are_read_when_saved(cron: str, fine: bool, catalog: Catalog) -> None:
    """Five fields, six with seconds, or an alias; one that never fires is refused."""
    head = f'triggers: [{{type: schedule, cron: "{cron}"}}]\n'
    assert codes(f"a: {T}}}", catalog, head) == ([] if fine else ["trigger.cron"])


def test_triggers_see_no_nodes(catalog: Catalog) -> None:
    """Before the start there is the trigger, and nothing else."""
    head = "triggers: [{type: event, event: paid, where: '${ event.data.ok and trigger.id }', input: '${ nodes.a }'}]\n"
    assert codes(f"a: {T}}}", catalog, head) == ["name.unknown"]


def test_nested_containers_up_to_the_limit(catalog: Catalog) -> None:
    """Thirty-one loops inside each other are checked like one: paths of thirty-two segments."""
    inner: Any = "{type: log, message: '${ index }'}"
    for depth in range(31, 0, -1):
        inner = f"{{type: loop, over: [1], body: {{nodes: {{n{depth}: {inner}}}}}}}"
    assert codes(f"n0: {inner}", catalog) == []


def test_a_suggestion_is_made_once() -> None:
    """A node type stands in the format and in the catalogue; who mistypes it is offered it once."""
    assert near("transfrom", ["transform", "log", "transform"]) == "Did you mean `transform`?"
