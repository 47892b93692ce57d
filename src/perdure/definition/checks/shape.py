"""The shape of the document: keys, kinds of values, ids, names and sizes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from perdure.definition.checks.subject import Check, Subject, listed, near
from perdure.definition.fields import is_expression, shown
from perdure.definition.graph import RESERVED_PORTS, Node
from perdure.definition.model import TRIGGERS, Limit, Rate, Route, Settings, StartAgain, Trigger, Workflow
from perdure.definition.nodes import CLOSED, Carry, Catch, Own, WorkNode
from perdure.definition.positions import Path
from perdure.definition.scope import TAG, Cache, CatchPort, Edge, Retry, Scope, Shared, VariableDeclaration
from perdure.definition.values import Problem
from perdure.ids import NODE_ID, PATH_BYTES_MAX, PATH_DEPTH_MAX

RESERVED_KEYS = frozenset({"on", "each_arrival"})

_HOLDERS: dict[str, type[BaseModel]] = {
    "settings": Settings,
    "retry": Retry,
    "cache": Cache,
    "carry": Carry,
    "reduce": Carry,
    "after": Edge,
    "body": Scope,
    "finally": Scope,
    "compensate": Scope,
    "concurrency": Limit,
    "rate": Rate,
    "on_timeout": Route,
}
_KINDS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "mapping_type": "a mapping",
}


def check_depth(subject: Subject) -> None:
    """Nesting and paths stay within what a journal can hold (day-one 5); beyond that nothing else is looked at."""
    for scope in subject.scopes:
        if scope.nodes and scope.depth + 1 > PATH_DEPTH_MAX:
            message = f"Expected paths of at most {PATH_DEPTH_MAX} segments, but nodes here would have {scope.depth + 1}."
            subject.find("path.too_deep", scope.path, message)
            subject.stopped = True
            return
    for node in subject.nodes:
        width = node.scope.width + len(node.id.encode("utf-8", "replace"))
        if width > PATH_BYTES_MAX:
            message = f"Expected paths of at most {PATH_BYTES_MAX:,} bytes, but this node's may have {width:,}."
            subject.find("path.too_long", node.path, message, at_key=True)
            return


def check_model(subject: Subject) -> None:
    """Everything that the model refuses, in our words. Nodes go one by one, so that ten thousand are never held as objects."""
    _validate(subject, Workflow, subject.document, ())
    for node in subject.nodes:
        raw = node.scope.raw["nodes"][node.id]
        own = _model_of(node.type)
        if isinstance(raw, dict):
            shared_keys = _shared_beside(own)
            shared = {key: value for key, value in raw.items() if key in shared_keys}
            _validate(subject, Shared, shared, node.path)
            raw = {key: value for key, value in raw.items() if key not in shared_keys}
        _validate(subject, own, raw, node.path)


def _model_of(node_type: str) -> type[Own]:
    return CLOSED.get(node_type, WorkNode)


@cache
def _shared_beside(own: type[Own]) -> frozenset[str]:
    """The keys that nodes of a type share with all others."""
    return frozenset(_keys_of(Shared)) - set(_keys_of(own))


def _keys_of(model: type[BaseModel]) -> list[str]:
    """The keys of a model, as the document spells them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _validate(subject: Subject, model: type[BaseModel], value: Any, path: Path) -> None:
    try:
        model.model_validate(value)
    except ValidationError as refused:
        for error in refused.errors(include_url=False):
            _model_fault(subject, error, (*path, *error["loc"]))


def _model_fault(subject: Subject, error: Any, places: tuple[Any, ...]) -> None:
    path, value = _where(subject.document, places)
    kind = error["type"]
    if kind == "missing":
        name = str(places[-1])
        subject.find(
            "key.missing", path, f"Expected the key `{name}`, but it is missing.", remedy=f"Add `{name}`.", at_key=True
        )
    elif kind == "extra_forbidden":
        _unknown_key(subject, path)
    elif kind == "literal_error" and path == ("perdure",):
        subject.find("format.version", path, f"Expected format version 1, but got {shown(value)}.")
    elif kind == "literal_error" and path[:1] == ("triggers",) and path[2:] == ("type",):
        remedy = near(str(value), TRIGGERS) or f"Use one of {listed(TRIGGERS)}."
        subject.find("trigger.type", path, f"Expected a type of trigger, but got {shown(value)}.", remedy=remedy)
    elif kind == "literal_error":
        expected = error["ctx"]["expected"]
        words = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
        remedy = near(str(value), words) or f"Use one of {listed(words)}."
        subject.find("value.choice", path, f"Expected {expected.replace(chr(39), '')}, but got {shown(value)}.", remedy=remedy)
    elif kind in ("greater_than_equal", "less_than_equal"):
        bound = f"at least {error['ctx']['ge']}" if "ge" in error["ctx"] else f"at most {error['ctx']['le']}"
        subject.find("value.range", path, f"Expected a number of {bound}, but got {shown(value)}.")
    elif kind == "too_short":
        subject.find("value.empty", path, "Expected at least one entry, but there is none.")
    elif kind == "value_error" and isinstance(problem := error["ctx"]["error"], Problem):
        subject.find(problem.code, path, problem.message)
    else:
        expected = _KINDS.get(kind, "a value of the right kind")
        subject.find("value.type", path, f"Expected {expected}, but got {shown(value)}.")


def _where(document: Any, places: tuple[Any, ...]) -> tuple[Path, Any]:
    """The document's path for a place of the model: tags of unions and the index of a single entry are left out."""
    path: list[str | int] = []
    value = document
    for step in places:
        if isinstance(step, str) and step.startswith(TAG):
            continue
        holds = (
            step in value
            if isinstance(value, dict)
            else isinstance(value, list) and isinstance(step, int) and step < len(value)
        )
        if holds:
            value = value[step]
            path.append(step)
    return tuple(path), value


def _unknown_key(subject: Subject, path: Path) -> None:
    key = str(path[-1])
    holder = _holder(subject.document, path[:-1])
    is_node = holder is not None and issubclass(holder, Own)
    if key in RESERVED_KEYS and (is_node or holder in (Scope, Workflow)):
        subject.find("key.reserved", path, f"Expected another key: `{key}` is reserved for a later format.", at_key=True)
        return
    known = list(dict.fromkeys((*(_keys_of(Shared) if is_node else ()), *(_keys_of(holder) if holder else ()))))
    remedy = near(key, known)
    if not remedy and key == "with" and is_node:
        remedy = "The keys of this type stand on the node itself, not under `with`."
    elif not remedy and key == "notes":
        remedy = "Notes stand under `ui`."
    elif not remedy and holder is WorkNode:
        remedy = "Parameters of work stand under `with`."
    subject.find(
        "key.unknown",
        path,
        f"Expected a known key, but `{key}` is none.",
        remedy=remedy or f"Use one of {listed(known, 40)}.",
        at_key=True,
    )


def _holder(document: Mapping[str, Any], path: Path) -> type[BaseModel] | None:
    """The model of the mapping at a path, as far as its surroundings tell."""
    names = [step for step in path if isinstance(step, str)]
    if not names:
        return Workflow
    value: Any = document
    for step in path:
        value = value[step]
    if len(names) > 1 and names[-2] == "nodes":
        return _model_of(str(value.get("type")))
    if len(names) > 1 and names[-2] == "branches":
        return Scope
    if len(names) > 1 and names[-2] == "vars":
        return VariableDeclaration
    if names == ["settings", "retry"]:
        return StartAgain
    if names == ["triggers"]:
        return TRIGGERS.get(str(value.get("type")), Trigger)
    if names[-1] == "catch":
        return Catch if "body" in value else CatchPort
    return _HOLDERS.get(names[-1])


def check_types(subject: Subject) -> None:
    """Every node's type is of the closed set or in the catalogue."""
    known = [*CLOSED, *subject.catalog]
    for node in subject.nodes:
        if node.spec is None and isinstance(node.raw.get("type"), str):
            remedy = (
                near(node.type, known) or f"Use one of {listed(sorted(set(known)), 60)}, or install the package that has it."
            )
            subject.find(
                "type.unknown", (*node.path, "type"), f"Expected a known type, but `{node.type}` is none.", remedy=remedy
            )


def check_ids(subject: Subject) -> None:
    """Ids, cases, branches and variables are names that expressions can say, and ids are unique outwards (rule 6)."""
    for node in subject.nodes:
        _name(subject, node.id, node.path, "id")
        for outer in list(node.scope.outwards())[1:]:
            if node.id in outer.nodes:
                message = f"Expected an id of its own, but an enclosing scope has a node `{node.id}` too."
                subject.find("id.repeated", node.path, message, at_key=True)
                break
        for case in node.cases:
            _case(subject, node, case)
        for port in node.catch_ports:
            if port in (*node.fixed_ports, "out", "default", "timeout"):
                message = f"Expected a port of its own, but `{port}` has a meaning already."
                subject.find("port.reserved", (*node.path, "catch"), message)
        for inner in node.scopes.values():
            if inner.kind == "branch":
                _branch(subject, inner.name, inner.path)
    for scope in subject.scopes:
        for name in scope.variables:
            _name(subject, name, (*scope.path, "vars", name), "name")


def _name(subject: Subject, name: str, path: Path, what: str) -> None:
    if not NODE_ID.match(name):
        message = (
            f"Expected an {what} of letters, digits and `_`, at most 63, but got {shown(name)}."
            if what == "id"
            else (f"Expected a name of letters, digits and `_`, at most 63, but got {shown(name)}.")
        )
        subject.find("id.grammar", path, message, at_key=True)


def _case(subject: Subject, node: Node, case: str) -> None:
    path = (*node.path, "cases", case)
    if case in RESERVED_PORTS:
        subject.find(
            "case.reserved", path, f"Expected another name for the case: `{case}` is a port with a fixed meaning.", at_key=True
        )
    else:
        _name(subject, case, path, "name")


def _branch(subject: Subject, name: str, path: Path) -> None:
    if name == "compensate":
        subject.find(
            "branch.reserved", path, "Expected another name for the branch: `compensate` is a scope of its own.", at_key=True
        )
    else:
        _name(subject, name, path, "name")


def check_conflicts(subject: Subject) -> None:
    """Keys that exclude each other, and keys of which one must be there."""
    for node in subject.nodes:
        if node.type == "split":
            _one_of(subject, node.raw, node.path, ("size", "parts"), obligatory=True)
        elif node.type == "repeat":
            _any_of(subject, node.raw, node.path, ("times", "until"))
        elif node.type == "subworkflow" and node.raw.get("version") == "pinned" and is_expression(node.raw.get("workflow")):
            message = "Expected a name that is written out beside `version: pinned`, but `workflow` is computed."
            remedy = "Write `version: channel`, or the name: only a name that is known at the start can be pinned."
            subject.find("key.conflict", (*node.path, "version"), message, remedy=remedy, at_key=True)
        for inner in node.scopes.values():
            if inner.kind == "loop" and node.raw.get("result") is not None and inner.raw.get("result") is not None:
                message = "Expected one `result`, but the loop and its body both have one."
                subject.find("key.conflict", (*node.path, "result"), message, at_key=True)
    triggers = subject.document.get("triggers")
    for index, trigger in enumerate(triggers if isinstance(triggers, list) else []):
        if isinstance(trigger, dict) and trigger.get("type") == "schedule":
            _one_of(subject, trigger, ("triggers", index), ("cron", "every"), obligatory=True)


def _one_of(subject: Subject, raw: Mapping[str, Any], path: Path, keys: tuple[str, str], *, obligatory: bool) -> None:
    present = [key for key in keys if raw.get(key) is not None]
    if len(present) == 2:
        message = f"Expected `{keys[0]}` or `{keys[1]}`, but both are here."
        subject.find("key.conflict", (*path, present[1]), message, at_key=True)
    elif not present and obligatory:
        _any_of(subject, raw, path, keys)


def _any_of(subject: Subject, raw: Mapping[str, Any], path: Path, keys: tuple[str, str]) -> None:
    if all(raw.get(key) is None for key in keys):
        message = f"Expected `{keys[0]}` or `{keys[1]}`, but neither is here."
        subject.find("key.missing", path, message, remedy=f"Add `{keys[0]}` or `{keys[1]}`.", at_key=True)


CHECKS: tuple[Check, ...] = (check_depth, check_model, check_types, check_ids, check_conflicts)
