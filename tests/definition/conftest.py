"""A small catalogue for the tests of definitions: three kinds of work, with and without parameters."""

from __future__ import annotations

import pytest

from perdure.definition import Catalog, NodeSpec

HTTP = NodeSpec(
    name="http",
    title="HTTP request",
    kind="effect",
    version=2,
    params={
        "type": "object",
        "required": ["url"],
        "properties": {
            "url": {"type": "string"},
            "method": {"enum": ["GET", "POST", "PUT", "DELETE"]},
            "headers": {"type": "object", "additionalProperties": {"type": "string"}},
            "json": {},
            "retries": {"type": "integer", "minimum": 0},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        },
        "additionalProperties": False,
    },
)
NOTIFY = NodeSpec(name="notify", title="Notify", kind="effect")
PYTHON = NodeSpec(name="python", title="Python", kind="effect")


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """The node types that the definitions under test may name."""
    return Catalog({spec.name: spec for spec in (HTTP, NOTIFY, PYTHON)})
