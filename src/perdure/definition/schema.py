"""The published JSON Schema of the format, generated from the model and the catalogue; versioned by file name."""

from __future__ import annotations

from typing import Any

from pydantic import create_model

from perdure.definition.model import Workflow
from perdure.definition.nodes import CLOSED, Own, WorkNode
from perdure.definition.scope import Shared
from perdure.definition.spec import Catalog, NodeSpec

SCHEMA_FILE = "perdure-1.schema.json"
"""The name it is published under: `1` is the format's version."""


def definition_schema(catalog: Catalog) -> dict[str, Any]:
    """JSON Schema (2020-12) of a definition whose work comes from `catalog`."""
    schema = Workflow.model_json_schema(by_alias=True)
    definitions = schema["$defs"] = dict(sorted({**schema["$defs"], **_definitions_of_nodes()}.items()))
    closed = {model.__name__: name for name, model in CLOSED.items()}
    for title, name in closed.items():
        if name in catalog and catalog[name].summary:
            definitions[title]["description"] = catalog[name].summary
        _accept_single(definitions[title])
    plain = definitions.pop("WorkNode")
    _accept_single(plain)
    work = {f"Work_{name}": _work(plain, spec) for name, spec in catalog.items() if name not in CLOSED}
    definitions.update(work)
    names = [*closed, *work]
    definitions["Node"] = {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": [*CLOSED, *(name for name in catalog if name not in CLOSED)]}},
        "allOf": [_when(definitions[name], name) for name in names],
    }
    for holder in (definitions["Scope"], schema):
        nodes = holder["properties"]["nodes"]
        nodes["additionalProperties"] = {"$ref": "#/$defs/Node"}
        nodes["propertyNames"] = {"pattern": "^[A-Za-z_][A-Za-z0-9_]{0,62}$"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:perdure:{SCHEMA_FILE}", **schema}


def _definitions_of_nodes() -> dict[str, Any]:
    """All that a node of each type may say, what every node may and what is its own, with what these refer to."""
    models: tuple[type[Own], ...] = (*CLOSED.values(), WorkNode)
    found: dict[str, Any] = {}
    for own in models:
        whole = create_model(own.__name__, __base__=(own, Shared), __doc__=own.__doc__)
        schema = whole.model_json_schema(by_alias=True)
        found |= {**schema.pop("$defs", {}), own.__name__: schema}
    return found


def _when(definition: dict[str, Any], name: str) -> dict[str, Any]:
    """The shape of a node by its type: an editor then shows the faults of that one shape, not of all."""
    kind = definition["properties"]["type"]["const"]
    return {"if": {"properties": {"type": {"const": kind}}, "required": ["type"]}, "then": {"$ref": f"#/$defs/{name}"}}


def _work(plain: dict[str, Any], spec: NodeSpec) -> dict[str, Any]:
    properties = dict(plain["properties"])
    properties["type"] = {"const": spec.name, "type": "string"}
    properties["with"] = {"anyOf": [_embedded(spec), {"type": "string"}]} if spec.params else {}
    required = ["type", "with"] if spec.params.get("required") else ["type"]
    return {
        "type": "object",
        "title": spec.title,
        "description": spec.summary or spec.title,
        "additionalProperties": False,
        "properties": properties,
        "required": required,
    }


def _embedded(spec: NodeSpec) -> Any:
    """A SPEC's schema as a resource of its own, so that its `#/$defs` stay its own."""
    lenient = _lenient(spec.params)
    return {**lenient, "$id": f"urn:perdure:node:{spec.name}:{spec.version}"} if "$defs" in lenient else lenient


def _lenient(schema: Any) -> Any:
    """A parameter's schema, beside which an expression may stand as well."""
    if not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict):
        return schema
    expression = {"type": "string", "pattern": r"\$\{"}
    properties = {name: {"anyOf": [_lenient(each), expression]} for name, each in schema["properties"].items()}
    return {**schema, "properties": properties}


def _accept_single(definition: dict[str, Any]) -> None:
    """Lists that may also be one entry."""
    for key in ("after", "retry", "catch"):
        found = definition["properties"].get(key)
        if isinstance(found, dict) and found.get("type") == "array":
            title = found.pop("title", key)
            default = found.pop("default", [])
            definition["properties"][key] = {"title": title, "default": default, "anyOf": [found["items"], dict(found)]}
