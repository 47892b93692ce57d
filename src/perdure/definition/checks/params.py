"""Parameters under `with` against the SPEC's JSON Schema, as far as they are literal; and a definition's own schemas."""

from __future__ import annotations

from typing import Any

import jsonschema_rs

from perdure.definition.checks.subject import Check, Subject, listed, near
from perdure.definition.fields import is_expression, shown
from perdure.definition.graph import Node
from perdure.definition.nodes import CLOSED
from perdure.definition.positions import Path

_WHATEVER_VALUES = frozenset(
    {
        "required",
        "additionalProperties",
        "unevaluatedProperties",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "type",
    }
)
"""What a schema can say of a container whose members are not known yet."""
_UNSURE = frozenset({"if", "then", "else", "anyOf", "oneOf", "not", "contains", "dependentSchemas", "allOf"})
_FAULTS_MAX = 50  # for one node


def _no_retrieval(address: str) -> Any:
    raise ValueError(f"{address} is not fetched")


def _validator(schema: Any) -> Any:
    """A validator of the 2020-12 draft that never opens a connection. Raises ValidationError for a bad schema."""
    return jsonschema_rs.Draft202012Validator(schema, retriever=_no_retrieval)


def check_params(subject: Subject) -> None:
    """What stands under `with` fits the type's parameters; a part that is computed is taken to fit."""
    validators: dict[str, Any] = {}
    for node in subject.nodes:
        if node.type in CLOSED or node.spec is None or not node.spec.params:
            continue
        if node.type not in validators:
            validators[node.type] = _validator(node.spec.params)
        given = node.raw.get("with")
        if not is_expression(given):
            _judge(subject, node, {} if given is None else given, validators[node.type])


def _judge(subject: Subject, node: Node, given: Any, validator: Any) -> None:
    if validator.is_valid(given):
        return
    for count, error in enumerate(validator.iter_errors(given)):
        if count == _FAULTS_MAX:
            return
        instance = _at(given, error.instance_path)
        if _is_certain(given, instance, error):
            _param_fault(subject, node, error, instance)


def _is_certain(given: Any, instance: Any, error: Any) -> bool:
    """Whether an error holds whatever the computed parts turn out to be."""
    if not _has_expression(instance):
        return not (_UNSURE & set(error.schema_path[:-1])) or not _has_expression(given)
    return error.kind.name in _WHATEVER_VALUES and not is_expression(instance) and not _UNSURE & set(error.schema_path)


def _param_fault(subject: Subject, node: Node, error: Any, instance: Any) -> None:
    base: Path = (*node.path, "with", *error.instance_path)
    kind = error.kind.name
    if kind == "required":
        name = error.kind.property
        remedy = f"Add `{name}` under `with`."
        subject.find("param.missing", base, f"Expected the parameter `{name}`, but it is missing.", remedy=remedy, at_key=True)
    elif kind in ("additionalProperties", "unevaluatedProperties"):
        for name in error.kind.unexpected:
            known = _properties(node, error.schema_path[:-1])
            remedy = near(name, known) or f"Known are {listed(known, 30)}."
            subject.find(
                "param.unknown", (*base, name), f"Expected a known parameter, but `{name}` is none.", remedy=remedy, at_key=True
            )
    else:
        subject.find("param.invalid", base, f"Expected what `{node.type}` takes, but got {shown(instance)}: {error.message}.")


def _properties(node: Node, path: list[Any]) -> list[str]:
    schema: Any = node.spec.params if node.spec is not None else {}
    for step in path:
        schema = schema.get(step, {}) if isinstance(schema, dict) else {}
    return sorted(schema.get("properties", {})) if isinstance(schema, dict) else []


def _at(value: Any, path: list[Any]) -> Any:
    for step in path:
        value = value[step]
    return value


def _has_expression(value: Any) -> bool:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if is_expression(each):
            return True
        if isinstance(each, dict):
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)
    return False


def check_schemas(subject: Subject) -> None:
    """The JSON Schemas of `input`, `output_schema`, `validate` and `human` are schemas."""
    for name in ("input", "output_schema"):
        _schema(subject, subject.document.get(name), (name,))
    for node in subject.nodes:
        if node.type in ("validate", "human"):
            _schema(subject, node.raw.get("schema"), (*node.path, "schema"))


def _schema(subject: Subject, schema: Any, path: Path) -> None:
    if not isinstance(schema, dict):
        return
    try:
        _validator(schema)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        inside = getattr(error, "instance_path", [])
        reason = getattr(error, "message", str(error)).split("\n")[0]
        subject.find("schema.invalid", (*path, *inside), f"Expected a JSON Schema, but {reason}.")


CHECKS: tuple[Check, ...] = (check_params, check_schemas)
