"""Which values may be stored and sent (day-one 10), and how they are called in messages and written as text."""

from __future__ import annotations

import json
import re
from typing import Any

from perdure.expressions.errors import ValueRefused

INT_MIN = -(2**63)
INT_MAX = 2**63 - 1
FLOAT_MAX = 1.7976931348623157e308
VALUE_DEPTH_MAX = 128
"""How deep lists and objects may be nested: every encoder and database on the way can follow this far."""

_NAMES = {
    type(None): "null",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def check_value(value: Any, *, path: str = "") -> None:
    """Raise ValueRefused, with the place, unless `value` is made of null, booleans, 64-bit integers, finite floats, strings
    without lone surrogates, lists, and objects with string keys, nested at most `VALUE_DEPTH_MAX` deep."""
    if not _fits(value, VALUE_DEPTH_MAX):
        _explain(value, path, VALUE_DEPTH_MAX)


def describe(value: Any) -> str:
    """What a value is, for messages: `a string`, `null`."""
    return _NAMES.get(type(value), f"a Python {type(value).__name__}")


def has_lone_surrogate(text: str) -> bool:
    """Whether half of a surrogate pair stands alone in `text`, which no encoding can carry."""
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def value_text(value: Any) -> str:
    """A value inside a text: strings as they are, all others as compact JSON."""
    if type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def joined(path: str, key: str | int) -> str:
    """`path` and one more step: `lines[3]`, `lines[3].price`, `headers["content-type"]`."""
    if type(key) is int:
        return f"{path}[{key}]"
    name = str(key)
    if _IDENTIFIER.match(name):
        return f"{path}.{name}" if path else name
    return f"{path}[{json.dumps(name, ensure_ascii=False)}]"


def _fits(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind is str:
        return not has_lone_surrogate(value)
    if kind is int:
        return bool(INT_MIN <= value <= INT_MAX)
    if value is None or kind is bool:
        return True
    if kind is float:
        return bool(-FLOAT_MAX <= value <= FLOAT_MAX)
    if depth == 0:
        return False
    if kind is dict:
        for key, element in value.items():
            if type(key) is not str or not (key.isascii() or not has_lone_surrogate(key)):
                return False
            kind = type(element)
            if kind is str:
                if not element.isascii() and has_lone_surrogate(element):
                    return False
            elif kind is int:
                if not INT_MIN <= element <= INT_MAX:
                    return False
            elif kind is float:
                if not -FLOAT_MAX <= element <= FLOAT_MAX:
                    return False
            elif element is not None and kind is not bool and not _fits(element, depth - 1):
                return False
        return True
    if kind is list:
        for element in value:
            kind = type(element)
            if kind is str:
                if not element.isascii() and has_lone_surrogate(element):
                    return False
            elif kind is int:
                if not INT_MIN <= element <= INT_MAX:
                    return False
            elif kind is float:
                if not -FLOAT_MAX <= element <= FLOAT_MAX:
                    return False
            elif element is not None and kind is not bool and not _fits(element, depth - 1):
                return False
        return True
    return False


def _explain(value: Any, path: str, depth: int) -> None:
    """Find what `_fits` refused and say it."""
    kind = type(value)
    if kind is str:
        if has_lone_surrogate(value):
            raise ValueRefused(path, "Expected text, but it holds half of a surrogate pair, which no encoding can carry.")
    elif kind is int:
        if not INT_MIN <= value <= INT_MAX:
            raise ValueRefused(path, "Expected an integer within ±2^63, but it is larger. Send it as a string.")
    elif kind is float:
        if not -FLOAT_MAX <= value <= FLOAT_MAX:
            raise ValueRefused(path, f"Expected a finite number, but it is {value}. Use null or a string instead.")
    elif kind is dict or kind is list:
        if depth == 0:
            raise ValueRefused(path, f"Expected at most {VALUE_DEPTH_MAX} levels of lists and objects, but there are more.")
        if kind is list:
            for index, element in enumerate(value):
                _explain(element, joined(path, index), depth - 1)
            return
        for key, element in value.items():
            if type(key) is not str:
                raise ValueRefused(path, f"Expected strings as keys, but {key!r} is {describe(key)}.")
            if has_lone_surrogate(key):
                raise ValueRefused(path, f"Expected text as key, but {key!a} holds half of a surrogate pair.")
            _explain(element, joined(path, key), depth - 1)
    elif value is not None and kind is not bool:
        hint = " Use a list." if isinstance(value, (tuple, set, frozenset)) else ""
        raise ValueRefused(
            path, f"Expected null, a boolean, number, string, list or object, but got a Python {kind.__name__}.{hint}"
        )
