"""Definitions: read, checked, and compiled to plans. Rule: nothing here reads a clock, a file or a network.

What other rooms use is exactly what is named here, and fetched on first use: a process that only runs nodes never loads
the checker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.definition.canonical import authored, digest_of, restore
    from perdure.definition.check import Checked, check_document, compile_plan, read_definition
    from perdure.definition.drawing import picture_of
    from perdure.definition.faults import CODES, FaultCode, reference
    from perdure.definition.model import CRON_ALIASES, closed_types, keys_schema, own_keys
    from perdure.definition.schema import SCHEMA_FILE, definition_schema
    from perdure.definition.spec import Catalog, Example, Kind, NodeSpec

_ROOMS = {
    "authored": "canonical",
    "digest_of": "canonical",
    "restore": "canonical",
    "Checked": "check",
    "check_document": "check",
    "compile_plan": "check",
    "read_definition": "check",
    "picture_of": "drawing",
    "CODES": "faults",
    "FaultCode": "faults",
    "reference": "faults",
    "CRON_ALIASES": "model",
    "closed_types": "model",
    "keys_schema": "model",
    "own_keys": "model",
    "SCHEMA_FILE": "schema",
    "definition_schema": "schema",
    "Catalog": "spec",
    "Example": "spec",
    "Kind": "spec",
    "NodeSpec": "spec",
}

__all__ = [
    "CODES",
    "CRON_ALIASES",
    "SCHEMA_FILE",
    "Catalog",
    "Checked",
    "Example",
    "FaultCode",
    "Kind",
    "NodeSpec",
    "authored",
    "check_document",
    "closed_types",
    "compile_plan",
    "definition_schema",
    "digest_of",
    "keys_schema",
    "own_keys",
    "picture_of",
    "read_definition",
    "reference",
    "restore",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
    globals()[name] = found
    return found
