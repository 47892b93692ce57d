"""The list of all fault codes that the checker can report: what each means, what to do, and what it looks like."""

from __future__ import annotations

from typing import Literal

import msgspec

from perdure.definition.positions import UNKNOWN, Path, Place, dotted
from perdure.errors import Fault


class FaultCode(msgspec.Struct, frozen=True):
    """One code. `example` is a piece of a definition that has the fault; `severity` warning lets the definition be saved."""

    code: str
    meaning: str
    remedy: str
    example: str
    severity: Literal["error", "warning"] = "error"


# fmt: off
_ALL = (
    # -- text ---------------------------------------------------------------------------------------------------------
    FaultCode("document.encoding", "The text is not UTF-8.", "Save it as UTF-8.", "title: <bytes of Latin-1>"),
    FaultCode("document.type", "The document is no mapping.", "Begin with `perdure: 1`.", "- perdure"),
    FaultCode("document.too_large", "The document is larger than any definition needs.",
              "Move data out of it.", "title: <17 MB>"),
    FaultCode("document.too_deep", "Values are nested too deeply.", "Flatten the data.", "[[[[…]]]]"),
    FaultCode("document.too_many_nodes", "There are too many nodes.",
              "Split it into sub-workflows, or loop.", "nodes: {n1: …, n25001: …}"),
    FaultCode("yaml.syntax", "The text is not YAML.",
              "Mend the text at this place; check indentation and quotes.", "title: [open"),
    FaultCode("yaml.documents", "The text holds several documents.",
              "Keep one document in one file.", "---\nperdure: 1\n---\nperdure: 1"),
    FaultCode("yaml.duplicate_key", "A key stands twice in one mapping.",
              "Remove or rename one of them.", "name: a\nname: b"),
    FaultCode("yaml.key", "A key is no text.", "Write a text as key.", "? [a, b]\n: 1"),
    FaultCode("yaml.merge", "`<<` is used to merge mappings.",
              "Write the keys out, or use an alias as a whole value.", "<<: *defaults"),
    FaultCode("yaml.tag", "A value carries a tag.", "Remove the tag.", "after: !ref fetch"),
    FaultCode("yaml.circle", "An alias stands inside what it names.", "Break the circle.", "ui: &a {b: *a}"),
    FaultCode("json.syntax", "The text is not JSON.", "Mend the text at this place.", '{"perdure": 1,}'),
    FaultCode("json.duplicate_key", "A key stands twice in one object.",
              "Remove or rename one of them.", '{"name": "a", "name": "b"}'),
    # -- values -------------------------------------------------------------------------------------------------------
    FaultCode("value.type", "A value is of the wrong kind.", "Write a value of the kind that is expected.", "title: 3"),
    FaultCode("value.range", "A number is outside of what is allowed.",
              "Choose a number inside.", "settings: {priority: 9}"),
    FaultCode("value.choice", "A value is none of those to choose from.", "Choose one of them.", "losers: cancle"),
    FaultCode("value.duration", "A duration cannot be read.",
              "Write 250ms, 10s, 5m, 1h30m, 3d or PT10S.", "timeout: 10 seconds"),
    FaultCode("value.name", "A name has characters that names do not have.",
              "Use letters, digits and `_`.", "as: the line"),
    FaultCode("value.label", "`runs_on` names no pool and no labels.",
              "Write a pool's name, or labels such as {gpu: true}.", 'runs_on: {gpu: ""}'),
    FaultCode("value.error_code", "An error code to match cannot be one.",
              "Write http.404, http.* or a category.", 'on: "http 404"'),
    FaultCode("value.empty", "A list or mapping has no entries.", "Add one, or leave the key out.", "set: {}"),
    FaultCode("value.text", "A text holds half of a surrogate pair.", "Replace the character.", '"\\ud800"'),
    FaultCode("value.key", "An object has a key that is no text.", "Use texts as keys.", "{1: a}"),
    # -- keys and names -----------------------------------------------------------------------------------------------
    FaultCode("format.version", "The format version is not known.", "Write `perdure: 1`.", "perdure: 2"),
    FaultCode("key.unknown", "There is no such key.", "Correct or remove it.", "timeuot: 10s"),
    FaultCode("key.missing", "An obligatory key is missing.", "Add it.", "check: {type: condition}"),
    FaultCode("key.reserved", "A key is reserved for a later format.", "Remove it.", "body: {on: {}, nodes: {}}"),
    FaultCode("key.conflict", "Two keys exclude each other.",
              "Keep one of them.", "cut: {type: split, over: [], size: 1, parts: 2}"),
    FaultCode("key.no_effect", "A key promises something that would not happen here.",
              "Remove it, or put it where it has an effect.", "all: {type: join, after: [a, b], lock: stock}"),
    FaultCode("key.unused", "A key has no effect here.", "Remove it.", "a: {type: delay, for: 1h, retry: {}}", "warning"),
    FaultCode("type.unknown", "There is no such type of node.", "Correct it, or install what provides it.", "type: htpp"),
    FaultCode("id.grammar", "An id or name does not follow the grammar.",
              "Use letters, digits and `_`, not a digit first.", "nodes: {my-node: …}"),
    FaultCode("id.repeated", "An id is used in an enclosing scope too.",
              "Rename one of them.", "a: {type: loop, body: {nodes: {a: …}}}"),
    FaultCode("case.reserved", "A case has the name of a fixed port.", "Rename the case.", "cases: {default: …}"),
    FaultCode("branch.reserved", "A branch has the name of a scope of its own.",
              "Rename the branch.", "branches: {compensate: …}"),
    FaultCode("port.reserved", "A `catch` names a port that exists already.", "Choose another name.", "catch: [{to: out}]"),
    FaultCode("path.too_deep", "Scopes are nested too deeply.",
              "Move the inner ones into a sub-workflow.", "body: {nodes: {a: {body: …}}}"),
    FaultCode("path.too_long", "The paths of nodes would be too long.",
              "Shorten ids, or nest less.", "nodes: {a_very_long_id…: …}"),
    # -- edges --------------------------------------------------------------------------------------------------------
    FaultCode("after.unknown_node", "`after` names no node of this scope.",
              "Name a node of the same scope.", "after: fetsch"),
    FaultCode("after.unknown_port", "`after` names a port that the node does not have.",
              "Name one of its ports.", "after: route.glod"),
    FaultCode("after.repeated", "An edge stands twice.", "Remove one of them.", "after: [a, a]"),
    FaultCode("after.cycle", "Edges make a circle.",
              "Use a loop, or mark the edge that goes back `again: true`.", "a: {after: b}, b: {after: a}"),
    FaultCode("again.max_visits", "An edge back has no limit of visits.",
              "Add `max_visits` of at least 1.", "after: [{from: b, again: true}]"),
    FaultCode("again.missing", "`max_visits` stands on an edge that does not go back.",
              "Add `again: true`.", "after: [{from: b, max_visits: 3}]"),
    FaultCode("again.target", "An edge back leads to no ancestor of its source.",
              "Lead it to the source or an ancestor.", "after: [{from: b, again: true, max_visits: 3}]"),
    FaultCode("again.forward", "A port leads back and forward.",
              "Let the forward edge leave another port.", "c: {after: b.false}"),
    FaultCode("again.effect", "An edge back runs effects beside its circle again.",
              "Put them after the port that ends the circle.", "mail: {after: poll}", "warning"),
    # -- reach --------------------------------------------------------------------------------------------------------
    FaultCode("node.never_runs", "A node can run in no case.",
              "Correct `after`, or remove the node.", "a: {when: false}, b: {after: a}"),
    FaultCode("node.after_disabled", "A node comes after disabled nodes only.",
              "Enable one, or disable this too.", "a: {disabled: true}, b: {after: a}", "warning"),
    FaultCode("node.isolated", "A node has no edges beside others.",
              "Add an edge, or `disabled: true`.", "nodes: {a: …, b: …}", "warning"),
    FaultCode("scope.empty", "A scope has no nodes.", "Add nodes.", "body: {nodes: {}}", "warning"),
    FaultCode("catch.unused", "Nothing comes after a port that `catch` names.",
              "Add a node after it.", "catch: [{on: http.404, to: missing}]", "warning"),
    FaultCode("timeout.unrouted", "Nothing comes after the port `timeout`.",
              "Add a node after it, or use `continue`.", "on_timeout: route", "warning"),
    # -- expressions --------------------------------------------------------------------------------------------------
    FaultCode("expression.syntax", "A text is not an expression.", "Mend the expression.", "${ 1 + }"),
    FaultCode("expression.forbidden", "The language does not have this.",
              "Say it with what the language has.", "${ lambda x: x }"),
    FaultCode("expression.unknown_function", "There is no such function.", "Use one of the library.", "${ summ(input.x) }"),
    FaultCode("expression.arguments", "A function is called with the wrong arguments.",
              "Give it what it takes.", "${ len() }"),
    FaultCode("expression.too_large", "An expression is too long or nested too deeply.",
              "Split it over several nodes.", "${ ((((…)))) }"),
    FaultCode("expression.overflow", "A number is beyond ±2^63.", "Write it as a text.", "${ 99999999999999999999 }"),
    FaultCode("expression.type", "A value has the wrong type for its place.", "Write one that fits.", "${ {1: 2} }"),
    FaultCode("expression.value", "A value cannot be used in its place.", "Correct it.", '${ "\\ud800" }'),
    FaultCode("name.unknown", "A name has no value here.", "Use a name that is bound here.", "${ itm.price }"),
    FaultCode("name.unknown_node", "There is no such node here.",
              "Name a node of this scope or around it.", "${ nodes.fetsch }"),
    FaultCode("name.not_before", "A node that is read does not come before.", "Add an edge from it.", "${ nodes.later }"),
    FaultCode("variable.undeclared", "A variable is not declared.", "Declare it under `vars`.", "${ vars.total }"),
    FaultCode("variable.scope", "`scope` names no container around.",
              "Name `workflow` or a container around the node.", "scope: elsewhere"),
    FaultCode("variable.unordered", "Writers of a variable are in no order.",
              "Declare how they merge: `{value: 0, merge: sum}`.", "a: {set: {n: 1}}, b: {set: {n: 2}}"),
    # -- quorums ------------------------------------------------------------------------------------------------------
    FaultCode("quorum.no_branch", "There is no branch to wait for.", "Add branches.", "all: {type: join}"),
    FaultCode("quorum.one_branch", "There is only one branch.",
              "Add another, or leave the node out.", "all: {type: join, after: a}", "warning"),
    FaultCode("quorum.zero", "A need of 0 is always met.", "Need at least 1.", "need: 0"),
    FaultCode("quorum.percent", "A percentage is outside of (0, 100].", "Choose one inside.", 'need: "120%"'),
    FaultCode("quorum.unreachable", "More branches are needed than can come.", "Need fewer.", "need: 3, after: [a, b]"),
    FaultCode("quorum.no_count", "The need counts nothing.",
              "Read join.success, failed, dead, pending or total.", "need: ${ input.ok }"),
    # -- loops and leaving --------------------------------------------------------------------------------------------
    FaultCode("loop.not_iterable", "`over` has no items.", "Give a list, an object or an expression.", "over: 3"),
    FaultCode("loop.tolerate", "Nothing is beyond `tolerate` where failures are collected or ignored.",
              "Remove one of the two.", "tolerate: 1, on_failure: collect"),
    FaultCode("loop.tolerate_percent", "A `while` has no number of items to take a percentage of.",
              "Write a number.", 'type: while, tolerate: "5%"'),
    FaultCode("loop.carry_concurrency", "`carry` needs iterations in order.",
              "Leave `concurrency` out.", "carry: {…}, concurrency: 5"),
    FaultCode("loop.reduce", "`collect: reduce` and `reduce` belong together.", "Write both or none.", "collect: reduce"),
    FaultCode("loop.name", "A loop's own name hides another.", "Choose another name.", "as: input"),
    FaultCode("loop.in_flight", "No iteration is ever in flight beside another.",
              "Remove `in_flight`, or set `concurrency`.", "in_flight: drain", "warning"),
    FaultCode("leave.outside_loop", "`break` or `continue` stands in no loop.",
              "Put it into one, or use `return`.", "stop: {type: break}"),
    FaultCode("leave.unknown_loop", "`loop` names no loop around.",
              "Name a loop around the node.", "stop: {type: break, loop: orders}"),
    FaultCode("leave.in_finally", "A node would leave a `finally` or a compensation.",
              "Let it end by itself.", "finally: {nodes: {stop: {type: return}}}"),
    FaultCode("rollback.outside", "`rollback` stands in no handler and names nothing.",
              "Name a node with `of`.", "undo: {type: rollback}"),
    FaultCode("rollback.unknown_node", "`of` names nothing that can be rolled back here.",
              "Name a node around.", "undo: {type: rollback, of: bok}"),
    FaultCode("cancel.unknown_node", "`target` names no other node here.",
              "Name a node of this scope or around it.", "stop: {type: cancel, target: quots}"),
    # -- policies, parameters, triggers -------------------------------------------------------------------------------
    FaultCode("cache.at_most_once", "An effect that must not repeat has a cache.",
              "Remove one of the two.", "cache: {…}, delivery: at_most_once"),
    FaultCode("param.unknown", "There is no such parameter.", "Correct or remove it.", "with: {ulr: …}"),
    FaultCode("param.missing", "An obligatory parameter is missing.", "Add it.", "with: {}"),
    FaultCode("param.invalid", "A parameter does not fit.", "Write what the type takes.", "with: {url: 3}"),
    FaultCode("schema.invalid", "A JSON Schema is none.", "Mend the schema; it must stand alone.", "input: {type: strin}"),
    FaultCode("trigger.type", "There is no such type of trigger.",
              "Use manual, webhook, schedule, event or finished.", "- {type: cron}"),
    FaultCode("trigger.cron", "A cron expression cannot be read, or never fires.",
              "Write five fields, six with seconds, or @daily.", 'cron: "61 * * * *"'),
    FaultCode("trigger.timezone", "There is no such time zone.", "Use a name like Europe/Berlin.", "timezone: Berlin"),
    FaultCode("trigger.repeated", "Two triggers have the same id.",
              "Rename one.", "- {id: a, type: manual}\n- {id: a, type: manual}"),
    FaultCode("trigger.cycle", "A workflow would start itself for ever.",
              "Name another workflow.", "- {type: finished, workflow: itself}"),
)
# fmt: on

CODES: dict[str, FaultCode] = {each.code: each for each in _ALL}
"""Every code, in the order of the reference."""


MESSAGE_MAX = 1_000
"""Characters of a message: a key of five thousand is not told in full."""


def fault(code: str, path: Path, message: str, *, remedy: str = "", place: Place = UNKNOWN) -> Fault:
    """A fault of a known code, with the code's own remedy where none is nearer."""
    known = CODES[code]
    return Fault(
        code=code,
        path=dotted(path),
        message=message if len(message) <= MESSAGE_MAX else f"{message[:MESSAGE_MAX]}…",
        remedy=remedy or known.remedy,
        line=place[0],
        column=place[1],
        severity=known.severity,
    )


def reference() -> str:
    """The page of the reference that lists every code, in Markdown."""
    lines = [
        "# Fault codes",
        "",
        "What `perdure check` can report. A warning lets the definition be saved; an error does not.",
        "",
    ]
    for each in _ALL:
        lines += [
            f"## {each.code}",
            "",
            f"*{each.severity}* · {each.meaning} {each.remedy}",
            "",
            "```yaml",
            *each.example.split("\n"),
            "```",
            "",
        ]
    return "\n".join(lines)
