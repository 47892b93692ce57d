"""Nothing that a definition says is ignored in silence: keys where nothing heeds them, and keys that lack what they need."""

from __future__ import annotations

import pytest

from perdure.definition import Catalog, read_definition
from perdure.definition.checks.policies import SPEAKS

KINDS = {
    "work": "type: http, with: {url: x}",
    "pure": "type: transform, to: 1",
    "loop": "type: loop, over: [1], body: {nodes: {i: {type: log, message: x}}}",
    "parallel": "type: parallel, branches: {l: {nodes: {i: {type: log, message: x}}}}",
    "subworkflow": "type: subworkflow, workflow: other",
    "wait": "type: wait_for_signal, signal: ok, timeout: 1h",
    "delay": "type: delay, for: 1h",
    "join": "type: join, after: [x, y]",
    "log": "type: log, message: x",
}
VALUES = {
    "timeout": "2h", "deadline": "2h", "queue_timeout": "2h", "heartbeat": "2h", "grace": "5s", "crashes_max": "3",
    "retry": "{attempts: 2}", "compensate_on": "attempted", "delivery": "at_most_once", "on_unknown": "fail",
    "on_timeout": "continue", "lock": "key", "runs_on": "batch",
}  # fmt: skip
BESIDE = {
    "compensate_on": "compensate: {nodes: {undo: {type: log, message: x}}}",
    "on_unknown": "delivery: at_most_once",
}
HEED = {
    "timeout": {"work", "pure", "loop", "parallel", "subworkflow", "wait", "delay", "join"},
    "deadline": {"work", "pure", "loop", "parallel", "subworkflow", "wait", "delay", "join"},
    "queue_timeout": {"work"},
    "heartbeat": {"work"},
    "grace": {"work", "pure", "loop"},
    "crashes_max": {"work", "pure", "loop"},
    "retry": {"work", "loop", "parallel", "subworkflow"},
    "compensate_on": {"work", "pure", "loop", "parallel", "subworkflow"},
    "delivery": {"work"},
    "on_unknown": {"work"},
    "on_timeout": {"wait", "delay"},
    "runs_on": {"work"},
    "lock": {"work", "pure", "loop", "parallel", "subworkflow", "wait", "delay", "log"},
}


def found(text: str, catalog: Catalog) -> list[tuple[str, str]]:
    """The codes of this module's subject in a workflow with these nodes, each with its path."""
    head = "perdure: 1\nname: t\nnodes:\n  x: {type: log, message: x}\n  y: {type: log, message: x}\n"
    faults = read_definition(head + f"  a: {{{text}}}\n", catalog=catalog).faults
    assert not [each for each in faults if each.severity == "error" and each.code != "key.no_effect"], faults
    return [(fault.code, fault.path) for fault in faults if fault.code in ("key.no_effect", "key.unused")]


def test_every_key_of_the_table_is_tried() -> None:
    """A key that is added to the table is added here."""
    assert set(HEED) == set(VALUES) == set(SPEAKS)


@pytest.mark.parametrize("key", sorted(HEED))
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_key_stands_where_something_heeds_it(kind: str, key: str, catalog: Catalog) -> None:
    """Elsewhere it is an error if whoever wrote it counts on something, else a warning."""
    body = KINDS[kind]
    if f"{key}:" in body:
        body = body.replace(", timeout: 1h", "")
    if key == "on_timeout" and kind == "delay":
        body += ", timeout: 5m"
    heeds = kind in HEED[key]
    beside = f", {BESIDE[key]}" if key in BESIDE and (heeds or key == "compensate_on") else ""
    code = "key.no_effect" if SPEAKS[key].promises else "key.unused"
    given = found(f"{body}, {key}: {VALUES[key]}{beside}", catalog)
    assert [each for each in given if each[1].endswith(f".{key}")] == ([] if heeds else [(code, f"nodes.a.{key}")])


LOOP = KINDS["loop"]
JOIN = KINDS["join"]


@pytest.mark.parametrize(
    "text, code, key",
    [
        (f"{KINDS['work']}, compensate_on: attempted", "key.no_effect", "compensate_on"),
        (f"{KINDS['work']}, on_unknown: fail", "key.no_effect", "on_unknown"),
        (f"{KINDS['work']}, delivery: at_most_once, on_unknown: fail", "", ""),
        ("type: wait_for_signal, signal: ok, on_timeout: route", "key.no_effect", "on_timeout"),
        (f"{LOOP}, count: success", "key.no_effect", "count"),
        (f"{LOOP}, count: success, need: 1", "", ""),
        (f"{JOIN}, count: finished", "", ""),
        (f"{JOIN}, need: '${{ join.success > 0 }}', count: finished", "key.no_effect", "count"),
        (f"{LOOP}, losers: drain", "key.unused", "losers"),
        (f"{LOOP}, losers: drain, deadline: 1h", "", ""),
        (f"{KINDS['subworkflow']}, on_parent_close: abandon", "key.unused", "on_parent_close"),
        (f"{KINDS['subworkflow']}, wait: false, on_parent_close: abandon", "", ""),
    ],
)
def test_a_key_has_beside_it_what_it_needs(text: str, code: str, key: str, catalog: Catalog) -> None:
    """A key whose case can never come is told, with what is missing."""
    assert found(text, catalog) == ([(code, f"nodes.a.{key}")] if code else [])


def test_a_lock_may_be_waited_for_until_a_deadline(catalog: Catalog) -> None:
    """Where a node ends as soon as it began, its deadline is that of the wait for its lock."""
    assert found("type: log, message: x, deadline: 1h", catalog) == [("key.unused", "nodes.a.deadline")]
    assert found("type: log, message: x, deadline: 1h, lock: key", catalog) == []


def test_rule_40_only_a_name_that_is_written_out_can_be_pinned(catalog: Catalog) -> None:
    """What is computed is known only when the node begins: `version: channel` says so."""
    head = "perdure: 1\nname: t\nnodes:\n  a: {type: subworkflow, workflow: '${ input.w }'"
    for version, codes in [("", []), (", version: pinned", ["key.conflict"]), (", version: channel", [])]:
        assert [fault.code for fault in read_definition(head + version + "}\n", catalog=catalog).errors] == codes


def settings_codes(settings: str, catalog: Catalog) -> list[str]:
    text = f"perdure: 1\nname: t\nsettings: {settings}\nnodes:\n  a: {{type: log, message: x}}\n"
    return [fault.code for fault in read_definition(text, catalog=catalog).errors]


@pytest.mark.parametrize(
    "settings, codes",
    [
        ("{timeout: 1h, on_timeout: retry, retry: {attempts: 3}}", []),
        ("{timeout: 1h, on_timeout: retry}", ["key.missing"]),
        ("{timeout: 1h, retry: {attempts: 3}}", ["key.no_effect"]),
        ("{timeout: 1h, on_timeout: retry, retry: [{attempts: 3}]}", ["value.type"]),
        ("{timeout: 1h, on_timeout: retry, retry: {attempts: '${ input.n }'}}", ["value.type"]),
        ("{timeout: 1h, on_timeout: retry, retry: {attempts: 0}}", ["value.range"]),
        ("{timeout: 1h, on_timeout: retry, retry: {attempts: 3, initial: 1s}}", ["key.unknown"]),
    ],
)
def test_rule_44_a_workflow_is_started_again_so_often(settings: str, codes: list[str], catalog: Catalog) -> None:
    """`attempts` is a number that is written out, beside `on_timeout: retry`, and nothing else stands there."""
    assert settings_codes(settings, catalog) == codes
