"""The canonical form of a document (RFC 8785) and its digest, which is what an execution pins (day-one 13).

Rule: the digest covers what the author decided and nothing else: no `ui`, no comments, no order of keys, no filled-in defaults.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring
from typing import Any

import rfc8785

from perdure.definition.values import INTEGER_MAX, INTEGER_MIN, kept

_SCOPE_KEYS = ("body", "finally", "compensate")


def canonical(document: Mapping[str, Any]) -> bytes:
    """The whole document, `ui` included, as it is stored. Raises ValueError for values that cannot be kept."""
    return _bytes(document)


def restore(stored: bytes) -> dict[str, Any]:
    """The document that `canonical` wrote. Raises ValueError for anything else."""
    document = json.loads(stored, parse_int=_integer)
    if not isinstance(document, dict):
        raise ValueError("Expected a stored definition, but this is no object.")
    return document


def digest_of(document: Mapping[str, Any]) -> bytes:
    """SHA-256 over the canonical form without the `ui` parts; 32 bytes. Raises ValueError as `canonical` does."""
    return hashlib.sha256(_bytes(authored(document))).digest()


def digest_of_kept(document: Mapping[str, Any]) -> bytes:
    """The same, of a document whose values are known to be in their kept form."""
    return hashlib.sha256(_written(authored(document))).digest()


def authored(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document without the `ui` of workflow, triggers, scopes and nodes. A parameter that is called `ui` stays."""
    result: dict[str, Any] = _scope(document)
    if isinstance(triggers := result.get("triggers"), list):
        result["triggers"] = [_without_ui(each) for each in triggers]
    return result


def _without_ui(value: Any) -> Any:
    return {key: item for key, item in value.items() if key != "ui"} if isinstance(value, dict) else value


def _scope(value: Any) -> Any:
    result = _without_ui(value)
    if isinstance(result, dict) and isinstance(nodes := result.get("nodes"), dict):
        result["nodes"] = {name: _node(node) for name, node in nodes.items()}
    return result


def _node(value: Any) -> Any:
    result = _without_ui(value)
    if not isinstance(result, dict):
        return result
    for key in _SCOPE_KEYS:
        if key in result:
            result[key] = _scope(result[key])
    if isinstance(branches := result.get("branches"), dict):
        result["branches"] = {name: _scope(branch) for name, branch in branches.items()}
    handlers = result.get("catch")
    if isinstance(handlers, dict):
        result["catch"] = _handler(handlers)
    elif isinstance(handlers, list):
        result["catch"] = [_handler(each) for each in handlers]
    return result


def _handler(value: Any) -> Any:
    return {**value, "body": _scope(value["body"])} if isinstance(value, dict) and "body" in value else value


def _bytes(value: Any) -> bytes:
    copy, problems = kept(value)
    if problems:
        path, problem = problems[0]
        raise ValueError(f"{'.'.join(map(str, path))}: {problem.message}")
    return _written(copy)


def _written(value: Any) -> bytes:
    parts: list[str] = []
    _write(value, parts.append)
    return "".join(parts).encode("utf-8")


def _write(value: Any, write: Callable[[str], None]) -> None:
    """RFC 8785, but for integers beyond 2^53: those keep all their digits, since our values have 64 bits (day-one 10)."""
    if isinstance(value, str):
        write(encode_basestring(value))
    elif isinstance(value, dict):
        opening = "{"
        for key in sorted(value, key=_utf16):
            write(f"{opening}{encode_basestring(key)}:")
            _write(value[key], write)
            opening = ","
        write("}" if value else "{}")
    elif isinstance(value, list):
        opening = "["
        for item in value:
            write(opening)
            _write(item, write)
            opening = ","
        write("]" if value else "[]")
    elif isinstance(value, float):
        write(rfc8785.dumps(value).decode("ascii"))
    else:
        write(json.dumps(value))


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be")


def _integer(digits: str) -> int | float:
    """Digits beyond 64 bits were a float: RFC 8785 writes 1e20 without an exponent."""
    value = int(digits)
    return value if INTEGER_MIN <= value <= INTEGER_MAX else float(value)
