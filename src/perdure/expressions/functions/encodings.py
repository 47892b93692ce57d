"""Functions that turn values into text of another form and back: JSON, digests, base64, hexadecimal, addresses."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from typing import Any

from perdure.expressions.budget import Budget
from perdure.expressions.errors import ExpressionError, ValueRefused
from perdure.expressions.functions.catalogue import function
from perdure.expressions.operators import whole
from perdure.expressions.values import check_value

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ENCODED = [chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in range(256)]
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


@function(
    "Encoding",
    ('to_json({"a": [1, "x"]})', '{"a":[1,"x"]}'),
    ('to_json("x")', '"x"'),
    (r"to_json([1], 2)", "[\n  1\n]"),
    cost=5,
)
def to_json(budget: Budget, value: Any, indent: int | None = None) -> str:
    """The value as JSON, compact or indented by so many spaces."""
    if indent is not None and not 0 <= indent <= 8:
        raise ExpressionError("expression.value", f"Expected an indent of 0 to 8 spaces, but got {indent}.", "Use 2.")
    budget.measure(value)
    if indent is not None:  # depth times elements: what is nested deeply is indented widely
        budget.measure(value)
        text = _indented(budget, value, indent)
    else:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    budget.touch(len(text))
    return text


@function("Encoding", ('from_json("[1, {}]")', [1, {}]), ('from_json("null")', None), cost=5)
def from_json(budget: Budget, text: str) -> Any:
    """The value that a JSON text holds."""
    budget.touch(8 * len(text))
    budget.charge(len(text) >> 4)
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        check_value(value)
    except json.JSONDecodeError as error:
        raise _not_json(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except ValueRefused as error:
        raise _not_json(str(error)) from None
    except RecursionError:
        raise _not_json("it is nested too deeply") from None
    except ValueError as error:
        raise _not_json(str(error)) from None
    return value


@function("Encoding", ('sha256("abc")[:8]', "ba7816bf"), cost=5)
def sha256(budget: Budget, text: str) -> str:
    """The SHA-256 digest of the text's UTF-8 bytes, in hexadecimal."""
    budget.touch(len(text))
    return hashlib.sha256(text.encode()).hexdigest()


@function("Encoding", ('sha1("abc")[:8]', "a9993e36"), cost=5)
def sha1(budget: Budget, text: str) -> str:
    """The SHA-1 digest, in hexadecimal; for old interfaces only, not for security."""
    budget.touch(len(text))
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@function("Encoding", ('md5("abc")[:8]', "90015098"), cost=5)
def md5(budget: Budget, text: str) -> str:
    """The MD5 digest, in hexadecimal; for old interfaces only, not for security."""
    budget.touch(len(text))
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@function("Encoding", ('hmac_sha256("key", "text")[:8]', "6afa9046"), cost=10)
def hmac_sha256(budget: Budget, key: str, text: str) -> str:
    """The HMAC with SHA-256 of a text under a key, in hexadecimal."""
    budget.touch(len(key) + len(text))
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


@function("Encoding", ('base64_encode("añb")', "YcOxYg=="), ('base64_encode("??>", true)', "Pz8-"))
def base64_encode(budget: Budget, text: str, url_safe: bool = False) -> str:
    """The text's UTF-8 bytes in base64; `url_safe` uses - and _ instead of + and /."""
    budget.touch(6 * len(text))
    data = text.encode()
    return (base64.urlsafe_b64encode(data) if url_safe else base64.b64encode(data)).decode()


@function("Encoding", ('base64_decode("YcOxYg==")', "añb"), ('base64_decode("Pz8-")', "??>"))
def base64_decode(budget: Budget, text: str) -> str:
    """The text whose UTF-8 bytes are given in base64, of either alphabet, padded or not."""
    budget.touch(2 * len(text))
    plain = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    return _decoded("base64", lambda: base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True))


@function("Encoding", ('hex_encode("añ")', "61c3b1"))
def hex_encode(budget: Budget, text: str) -> str:
    """The text's UTF-8 bytes in hexadecimal."""
    budget.touch(8 * len(text))
    return text.encode().hex()


@function("Encoding", ('hex_decode("61c3b1")', "añ"))
def hex_decode(budget: Budget, text: str) -> str:
    """The text whose UTF-8 bytes are given in hexadecimal."""
    budget.touch(len(text))
    return _decoded("hexadecimal", lambda: bytes.fromhex(text))


@function("Encoding", ("hex(255)", "ff"), ("hex(-1)", "-1"))
def hex_(budget: Budget, x: int) -> str:
    """A whole number in hexadecimal; `int(text, 16)` reads it back."""
    return f"{whole(x, 'the number'):x}"


@function("Encoding", ('url_encode("a b/ü")', "a%20b%2F%C3%BC"), ('url_encode({"q": "a b", "n": 2})', "q=a%20b&n=2"))
def url_encode(budget: Budget, value: str | list[Any] | dict[str, Any]) -> str:
    """A string, safe as one part of an address; or an object as a query, lists giving a key several times."""
    budget.measure(value)
    if type(value) is str:
        text = _quoted(value)
    elif type(value) is dict:
        text = "&".join(_query(value))
    else:
        raise ExpressionError(
            "expression.type", "Expected a string or object to encode, but got a list.", "Encode its elements."
        )
    budget.touch(len(text))
    return text


@function("Encoding", ('url_decode("a%20b%2F%C3%BC")', "a b/ü"))
def url_decode(budget: Budget, text: str) -> str:
    """The string that was encoded for an address."""
    budget.touch(4 * len(text))
    return _decoded("an encoded address", lambda: _unquoted(text))


def _quoted(text: str) -> str:
    """Percent-encoding by RFC 3986: only its unreserved characters stay."""
    return "".join([_ENCODED[byte] for byte in text.encode()])


def _unquoted(text: str) -> bytes:
    return _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), text.encode())


def _query(value: dict[str, Any]) -> list[str]:
    pairs = []
    for key, content in value.items():
        for element in content if type(content) is list else [content]:
            if type(element) is dict or type(element) is list:
                raise ExpressionError(
                    "expression.type",
                    f"Expected strings and numbers in a query, but `{key[:60]}` is nested.",
                    "Use `to_json(x)`.",
                )
            text = element if type(element) is str else json.dumps(element)
            pairs.append(f"{_quoted(key)}={_quoted(text)}")
    return pairs


def _indented(budget: Budget, value: Any, indent: int) -> str:
    """Written piece by piece, so that what is charged is never far behind what is made."""
    pieces = []
    for piece in json.JSONEncoder(ensure_ascii=False, indent=indent).iterencode(value):
        budget.touch(len(piece))
        pieces.append(piece)
    return "".join(pieces)


def _decoded(what: str, decode: Callable[[], bytes]) -> str:
    try:
        return decode().decode()
    except UnicodeDecodeError:
        raise ExpressionError(
            "expression.value",
            f"Expected {what} of UTF-8 text, but the bytes are none.",
            "Binary data belongs into a `python` node.",
        ) from None
    except (binascii.Error, ValueError):
        raise ExpressionError(
            "expression.value", f"Expected {what}, but the text is none.", "Look at the text's start and end."
        ) from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _not_json(reason: str) -> ExpressionError:
    return ExpressionError(
        "expression.value",
        f"Expected JSON, but {reason[:200]}.",
        "Test where the text comes from; `str(x)` is not JSON of a string.",
    )
