"""The published JSON Schema: it takes what the checker takes, and refuses what the model refuses."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from perdure.definition import Catalog, closed_types, definition_schema, keys_schema, own_keys


@pytest.fixture
def validator(catalog: Catalog) -> Any:
    """A validator of the whole schema, which must stand alone."""
    return jsonschema_rs.Draft202012Validator(definition_schema(catalog))


def workflow(node: dict[str, Any]) -> dict[str, Any]:
    """A workflow of one node."""
    return {"perdure": 1, "name": "w", "nodes": {"a": node}}


FITTING = [
    {"type": "http", "with": {"url": "x", "method": "GET"}, "after": "b", "retry": {"attempts": 2}, "timeout": "10s"},
    {
        "type": "http",
        "with": {"url": "x", "method": "${ input.m }"},
        "after": ["b.error", {"from": "c", "again": True, "max_visits": 2}],
    },
    {"type": "condition", "if": "${ input.x }"},
    {"type": "loop", "over": [1], "concurrency": "${ input.n }", "body": {"nodes": {"b": {"type": "notify"}}}},
    {"type": "join", "after": ["b"], "need": "60%"},
    {"type": "try", "body": {"nodes": {}}, "catch": {"body": {"nodes": {}}}, "finally": {"nodes": {}}},
]
WRONG = [
    {"type": "htpp"},
    {"type": "http", "with": {"url": 3}},
    {"type": "http"},
    {"type": "http", "with": {"url": "x"}, "timeuot": "10s"},
    {"type": "condition"},
    {"type": "loop", "over": [1], "body": {"nodes": {"b": {"type": "nope"}}}},
    {"type": "join", "losers": "cancle"},
    {"type": "log", "message": "x", "retry": {"factor": 0.1}},
]


@pytest.mark.parametrize("node", FITTING)
def test_the_schema_takes_what_the_format_has(node: dict[str, Any], validator: Any) -> None:
    """Single entries and lists, literals and expressions."""
    assert [error.message for error in validator.iter_errors(workflow(node))] == []


@pytest.mark.parametrize("node", WRONG)
def test_the_schema_refuses_what_the_model_refuses(node: dict[str, Any], validator: Any) -> None:
    """Unknown types and keys, missing keys, wrong parameters, at any depth."""
    assert not validator.is_valid(workflow(node))


def test_the_schema_is_versioned_and_closed(catalog: Catalog) -> None:
    """Its id carries the format's version; node types are those of the catalogue and the closed set."""
    schema = definition_schema(catalog)
    assert schema["$id"] == "urn:perdure:perdure-1.schema.json"
    assert set(schema["$defs"]["Node"]["properties"]["type"]["enum"]) == {*closed_types(), *catalog}


@pytest.mark.parametrize("name", sorted(closed_types()))
def test_each_closed_type_describes_its_own_keys(name: str) -> None:
    """The keys of the schema are the type's own, spelt as in the document, and no shared ones."""
    schema = keys_schema(name)
    jsonschema_rs.Draft202012Validator(schema)
    assert set(schema.get("properties", {})) == set(own_keys(name))
    assert schema["additionalProperties"] is False
    assert not {"after", "when", "retry", "type"} & set(own_keys(name))


def test_keys_are_spelt_as_in_the_document() -> None:
    """Python's reserved words are keys of the format."""
    assert own_keys("condition") == ("if",)
    assert "as" in own_keys("loop")
    assert own_keys("delay") == ("for",)
    assert {"catch", "finally"} <= set(own_keys("try"))
