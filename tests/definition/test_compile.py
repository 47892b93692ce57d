"""A checked document to its plan: numbers, edges, templates, policies, scopes."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.definition import Catalog, compile_plan, digest_of, read_definition
from perdure.definition.plan import NodePlan, Plan
from perdure.errors import DefinitionRefused
from perdure.expressions import Budget, Computed, Constant, MapTemplate, PlainNames

ORDER = """\
perdure: 1
name: order-fulfilment
title: Fulfil an order
input: {type: object, required: [order_id], properties: {order_id: {type: string}}}
settings: {timeout: 2h, soft_timeout: 30m, priority: 2, on_failure: isolate,
  concurrency: {limit: 20, key: "${ input.customer }"}}
vars: {total: 0, seen: {value: [], merge: append}}
nodes:
  fetch:
    type: http
    with: {url: "https://shop.example/orders/${ input.order_id }"}
    timeout: 10s
    retry: {attempts: 5, initial: 2s, on: [timeout, http.5xx]}
    catch: [{on: http.404, to: missing}, {on: "http.*", when: "${ error.status > 500 }", to: broken}]
  route:
    type: switch
    after: fetch
    cases: {gold: "${ nodes.fetch.total > 1000 }", big: "${ nodes.fetch.total > 500 }"}
  price:
    type: loop
    after: fetch
    over: ${ nodes.fetch.lines }
    as: line
    concurrency: 10
    body:
      nodes:
        quote: {type: http, with: {url: "x/${ line.sku }"}, cache: {key: "${ line.sku }", ttl: 1h}}
        stop: {type: break, after: quote, when: "${ nodes.quote.blocked }"}
    result: ${ nodes.quote.price * line.quantity }
  express: {type: subworkflow, after: [route.gold, route.big], workflow: ship, timeout: 1h}
  ready: {type: join, after: [express, route.default, price], need: "60%", deadline: 1d}
  charge:
    type: try
    after: ready
    body:
      nodes:
        pay: {type: http, with: {url: x}, delivery: at_most_once, on_unknown: ask, compensate: {nodes: {undo: {type: notify}}}}
    catch:
      - {on: http.402, body: {nodes: {ask: {type: human, form: retry, timeout: 3d}}}}
      - {as: oops, when: "${ error.retryable }", body: {nodes: {say: {type: log, message: "${ oops.code }"}}}}
    finally: {nodes: {note: {type: log, message: done}}}
  lost: {type: notify, after: [fetch.missing, fetch.broken, charge.error, ready.timeout], disabled: true}
output: {order: "${ input.order_id }"}
"""


@pytest.fixture
def plan(catalog: Catalog) -> Plan:
    """The plan of the order workflow, which has no faults at all."""
    checked = read_definition(ORDER, catalog=catalog)
    assert checked.faults == []
    assert checked.plan is not None
    return checked.plan


def node(plan: Plan, name: str) -> NodePlan:
    """A node of the root scope."""
    return plan.root.nodes[plan.root.number[name]]


def value(template: Any, **names: Any) -> Any:
    """What a template gives."""
    return template.evaluate(PlainNames(names), Budget())


def test_nodes_are_numbered_as_declared(plan: Plan) -> None:
    """Numbers follow the document; starts and counters are those of forward edges."""
    assert [each.id for each in plan.root.nodes] == ["fetch", "route", "price", "express", "ready", "charge", "lost"]
    assert plan.root.starts == (0,)
    assert plan.root.unresolved == (0, 1, 1, 2, 3, 1, 4)


def test_edges_are_known_from_both_ends(plan: Plan) -> None:
    """`route.gold` leaves by gold, `fetch` by out; entries keep their names."""
    express = node(plan, "express")
    assert [(edge.source, edge.port, edge.target, edge.entry) for edge in express.incoming] == [
        (1, "gold", 3, "route.gold"),
        (1, "big", 3, "route.big"),
    ]
    assert {(edge.port, edge.target) for edge in node(plan, "fetch").outgoing} == {
        ("out", 1),
        ("out", 2),
        ("missing", 6),
        ("broken", 6),
    }
    assert not node(plan, "fetch").has_error_edge
    assert node(plan, "charge").has_error_edge
    assert node(plan, "ready").has_timeout_edge


def test_ports_stand_in_order(plan: Plan) -> None:
    """What it succeeds by, what catch names, timeout where there is one, error."""
    assert node(plan, "fetch").ports == ("out", "missing", "broken", "timeout", "error")
    assert node(plan, "route").ports == ("gold", "big", "default", "error")


def test_catch_maps_errors_to_ports_or_scopes(plan: Plan) -> None:
    """A node's catch names ports; a try's names its scopes."""
    first, second = node(plan, "fetch").catch
    assert (first.on, first.port, first.when) == (("http.404",), "missing", None)
    assert second.when is not None
    assert second.when.source.strip() == "error.status > 500"
    charge = node(plan, "charge")
    assert charge.catch == ()
    assert [(each.on, each.port) for each in charge.handlers] == [(("http.402",), "catch0"), ((), "catch1")]
    assert charge.options["as"] == ("error", "oops")
    assert {name: scope.path for name, scope in charge.scopes.items()} == {
        "body": "charge.body",
        "catch0": "charge.catch0",
        "catch1": "charge.catch1",
        "finally": "charge.finally",
    }
    assert list(charge.scopes["body"].nodes[0].scopes) == ["compensate"]


def test_values_are_templates(plan: Plan) -> None:
    """Parameters, cases and conditions are compiled; defaults of format 1 are filled in."""
    assert value(node(plan, "fetch").params, input={"order_id": "7"}) == {"url": "https://shop.example/orders/7"}
    cases = node(plan, "route").keys["cases"]
    assert isinstance(cases, MapTemplate)
    assert [isinstance(case, Computed) for case in cases.entries.values()] == [True, True]
    assert list(cases.entries) == ["gold", "big"]
    price = node(plan, "price")
    assert value(price.keys["concurrency"]) == 10
    assert isinstance(price.scopes["body"].result, Computed)
    assert price.scopes["body"].nodes[1].when is not None
    assert node(plan, "price").options["as"] == "line"
    assert node(plan, "price").options["in_flight"] == "cancel"
    assert node(plan, "lost").disabled


def test_policies_carry_the_defaults_of_the_format(plan: Plan) -> None:
    """A policy that is half written is whole in the plan; no policy is none."""
    (policy,) = node(plan, "fetch").retry
    assert [value(policy.attempts), value(policy.initial), value(policy.maximum)] == [5, "2s", "5m"]
    assert (policy.backoff, policy.factor, policy.jitter) == ("exponential", 2.0, True)
    assert (policy.on, policy.not_on) == (("timeout", "http.5xx"), ())
    assert node(plan, "route").retry == ()
    pay = node(plan, "charge").scopes["body"].nodes[0]
    assert (pay.at_most_once, pay.on_unknown, pay.crashes_max, pay.park) == (True, "ask", 3, None)
    quote = node(plan, "price").scopes["body"].nodes[0]
    assert quote.cache is not None
    assert value(quote.cache["ttl"]) == "1h"
    assert value(quote.cache["key"], line={"sku": "a"}) == "a"


def test_rule_19_a_join_knows_its_region(plan: Plan) -> None:
    """Every node all of whose forward paths lead into the join: fetch does not, since it also feeds `lost`."""
    region = [plan.root.nodes[index].id for index in node(plan, "ready").options["region"]]
    assert region == ["route", "price", "express"]
    assert node(plan, "ready").options["need"] == "60%"


def test_settings_and_variables(plan: Plan) -> None:
    """Settings have their defaults; what others read stays as written."""
    assert plan.root.on_failure == "isolate"
    assert (value(plan.settings.timeout), value(plan.settings.cleanup), plan.settings.priority) == ("2h", "1m", 2)
    assert plan.settings.rest == {"concurrency": {"limit": 20, "key": "${ input.customer }"}}
    assert {name: (value(each.value), each.merge) for name, each in plan.root.variables.items()} == {
        "total": (0, None),
        "seen": ([], "append"),
    }
    assert value(plan.root.output, input={"order_id": "7"}) == {"order": "7"}


def test_the_plan_pins_versions_and_digest(plan: Plan, catalog: Catalog) -> None:
    """The lock holds the major version of every type in use; the digest is the document's."""
    assert plan.lock["http"] == 2
    assert plan.lock["loop"] == 1
    assert "python" not in plan.lock
    assert plan.digest == digest_of(read_definition(ORDER, catalog=catalog).document).hex()


def test_again_edges_are_not_waited_for(catalog: Catalog) -> None:
    """They stand apart, with their limit; a node that only they lead to is a start."""
    nodes = {
        "poll": {"type": "notify", "after": [{"from": "check.false", "again": True, "max_visits": 9}]},
        "check": {"type": "condition", "if": "${ input.x }", "after": "poll"},
    }
    root = compile_plan({"perdure": 1, "name": "poll", "nodes": nodes}, catalog).root
    assert root.starts == (0,)
    assert root.unresolved == (0, 1)
    (edge,) = root.nodes[1].again
    assert (edge.source, edge.port, edge.target, edge.again, edge.visits_max) == (1, "false", 0, True, 9)
    assert root.nodes[1].ports == ("true", "false", "error")


def test_accumulators_are_two_templates(catalog: Catalog) -> None:
    """`carry.start` is evaluated on entry and `carry.next` after each iteration, so they stand apart."""
    nodes = {
        "pages": {
            "type": "while",
            "condition": "carry.next != null",
            "carry": {"start": {"next": 1}, "next": "${ {'next': nodes.page.next} }"},
            "body": {"nodes": {"page": {"type": "notify"}}},
        }
    }
    pages = compile_plan({"perdure": 1, "name": "pages", "nodes": nodes}, catalog).root.nodes[0]
    assert isinstance(pages.keys["carry.start"], Constant)
    assert ("nodes", "page") in pages.keys["carry.next"].reads
    assert isinstance(pages.keys["condition"], Computed)


def test_a_need_that_is_an_expression_is_no_option(catalog: Catalog) -> None:
    """Then it is a key; written out it is an option."""
    nodes: dict[str, Any] = {"a": {"type": "notify"}, "b": {"type": "notify"}}
    nodes["j"] = {"type": "join", "after": ["a", "b"], "need": "${ join.success > join.failed }"}
    join = compile_plan({"perdure": 1, "name": "j", "nodes": nodes}, catalog).root.nodes[2]
    assert "need" not in join.options
    assert value(join.keys["need"], join={"success": 2, "failed": 1}) is True


def test_a_document_with_errors_is_refused_with_all_of_them(catalog: Catalog) -> None:
    """`compile_plan` raises; the faults stand in the exception."""
    with pytest.raises(DefinitionRefused) as refused:
        compile_plan({"perdure": 1, "name": "x", "nodes": {"a": {"type": "nope"}, "b": {"type": "condition"}}}, catalog)
    assert {fault.code for fault in refused.value.faults} == {"type.unknown", "key.missing", "node.isolated"}


def test_what_was_saved_is_not_judged_by_the_model_again(catalog: Catalog) -> None:
    """Under the digest it was saved as, a key that this release does not know is no obstacle; a type it lacks still is."""
    document = {"perdure": 1, "name": "x", "former": True, "nodes": {"a": {"type": "log", "message": "x"}}}
    assert compile_plan(document, catalog, saved_as=digest_of(document)).digest == digest_of(document).hex()
    for digest in (b"", digest_of({**document, "former": False})):
        with pytest.raises(DefinitionRefused, match=r"`former`"):
            compile_plan(document, catalog, saved_as=digest)
    lacking = {**document, "nodes": {"a": {"type": "nope"}}}
    with pytest.raises(DefinitionRefused, match=r"`nope`"):
        compile_plan(lacking, catalog, saved_as=digest_of(lacking))


def test_the_caller_keeps_the_document(catalog: Catalog) -> None:
    """What is compiled is a copy: changing the document afterwards changes no plan."""
    document: dict[str, Any] = {"perdure": 1, "name": "x", "nodes": {"a": {"type": "notify", "with": {"n": 1.0}}}}
    plan = compile_plan(document, catalog)
    document["nodes"]["a"]["with"]["n"] = 2
    assert plan.document["nodes"]["a"]["with"] == {"n": 1}


SHAPES = """\
perdure: 1
name: shapes
vars: {total: {value: 0, merge: sum}}
nodes:
  start: {type: transform, to: {price: 1}}
  poll: {type: http, after: [start, {from: ready.false, again: true, max_visits: 10}], with: {url: x}}
  ready: {type: condition, after: poll, if: "${ nodes.poll.body.done }"}
  fetch: {type: http, after: ready.true, with: {url: x}, catch: [{on: http.404, to: missing}, {on: "http.*", to: broken}]}
  tell: {type: notify, after: [fetch.error, fetch.missing, fetch.broken], with: {title: "${ error.title }"}}
  quotes:
    {type: parallel, need: 2, losers: cancel, deadline: 5s,
     branches: {a: {nodes: {x: {type: notify}}}, b: {nodes: {x: {type: notify}}}, c: {nodes: {x: {type: notify}}}}}
  thrice: {type: repeat, times: 3, until: "${ last.ok }", body: {nodes: {y: {type: notify}}}}
  orders:
    {type: loop, over: "${ input.orders }", body: {nodes: {leave: {type: break, loop: orders, when: "${ item.blocked }"}}}}
  book: {type: http, with: {url: x}, compensate: {nodes: {undo: {type: http, with: {url: y}}}}}
  back: {type: rollback, of: book, after: book}
  wait: {type: wait_for_signal, signal: approved, key: "${ input.order_id }", timeout: 3d, on_timeout: route}
  late: {type: log, after: wait.timeout, message: late}
  count: {type: set_variable, after: start, set: {total: "${ vars.total + nodes.start.price }"}}
  only: {type: log, after: count, when: "${ vars.total > 0 }", message: some, disabled: false}
  stop: {type: cancel, after: start, target: quotes, mode: stop}
  rows: {type: filter, after: start, over: "${ [nodes.start] }", where: "${ item.price > 10 }"}
  sums: {type: reduce, after: rows, over: "${ nodes.rows }", start: 0, next: "${ carry + item.price * index }"}
  best: {type: sort, after: rows, over: "${ nodes.rows }", by: "${ item.price }", descending: true}
  kinds: {type: group, after: rows, over: "${ nodes.rows }", by: "${ item.kind }"}
  names: {type: map, after: rows, over: "${ nodes.rows }", to: "${ item.name }"}
  both: {type: merge, after: [sums, best], of: ["${ nodes.best }", "${ nodes.kinds }"], how: append}
  cut: {type: split, after: rows, over: "${ nodes.rows }", size: 10}
  fits: {type: validate, after: rows, value: "${ nodes.rows }", schema: {type: array}}
  nap: {type: delay, after: start, for: 10s}
  noon: {type: wait_until, after: start, time: "${ input.noon }"}
  calm: {type: wait_for_condition, after: start, condition: "${ vars.total > 10 }", every: 1m}
  paid: {type: wait_for_event, after: start, event: order.paid, where: "${ event.data.id == input.order_id }", since: execution}
  read: {type: get_variable, after: count, name: total}
  said: {type: emit, after: count, event: counted, data: {n: "${ vars.total }"}}
  bad: {type: fail, after: fits.error, code: rows.bad, data: "${ error }"}
  end: {type: return, after: both, value: "${ nodes.both }"}
  halt: {type: exit, after: cut, value: 1}
  asked: {type: human, after: start, form: approve, title: "Sure?", assign: {group: billing}, policy: any, timeout: 3d}
"""


def test_every_shape_of_the_format_is_read(catalog: Catalog) -> None:
    """One workflow with the closed set of types: only what reads a race is refused, and that by its name."""
    checked = read_definition(SHAPES, catalog=catalog)
    assert [(fault.code, fault.path) for fault in checked.errors] == [("name.not_before", "nodes.both.of[1]")]
    mended = read_definition(SHAPES.replace("[sums, best]", "[sums, best, kinds]"), catalog=catalog)
    assert mended.errors == []
    assert {fault.code for fault in mended.faults} <= {"node.isolated"}
    assert mended.plan is not None
    assert {each.kind for each in mended.plan.root.nodes} == {"control", "pure", "effect"}


@pytest.mark.parametrize("key, more", [("reduce", {"collect": "reduce"}), ("carry", {})])
def test_a_null_that_is_written_out_is_what_is_carried(key: str, more: dict[str, Any], catalog: Catalog) -> None:
    """`start: null` and `next: null` are values like others, and not left out."""
    loop = {"type": "loop", "over": [1], key: {"start": None, "next": None}, **more, "body": {"nodes": {}}}
    plan = compile_plan({"perdure": 1, "name": "x", "nodes": {"l": loop}}, catalog)
    keys = plan.root.nodes[0].keys
    assert [type(keys[f"{key}.{part}"]) for part in ("start", "next")] == [Constant, Constant]
