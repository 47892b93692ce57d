"""The journal's encoding: rows of msgpack maps, values inline or by handle, snapshots (day-one 9, 18, 19)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw

from perdure.engine.events import AnyFact, AnyInput, Done, NodeFailed, Result, Retrying, RowBody, Started
from perdure.engine.execution import Execution

LEVEL = 2
"""The lowest engine level that can read what this release writes (day-one 17)."""

FOLD = 3
"""The version of the fold: a snapshot of another one is thrown away and folded again (day-one 18)."""

INLINE_MAX = 1_024
"""Values up to this many encoded bytes stand in the journal; larger ones in the blob store (day-one 19)."""

_HANDLE_TYPE = 1
_EXT_8 = 0xC7  # msgpack: ext with a length byte, which is how a handle (40 bytes) is always written
_HANDLE_LENGTH = 40

_encode_row = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(RowBody).decode
_encode_value = msgspec.msgpack.Encoder().encode
_decode_value = msgspec.msgpack.Decoder().decode
_encode_state = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(Execution).decode


def encode_row(inputs: list[AnyInput], facts: list[AnyFact], cut: bool) -> bytes:
    """A step as one journal row."""
    return _encode_row(RowBody(inputs=inputs, facts=facts, cut=cut))


def decode_row(body: bytes) -> RowBody:
    """A journal row as written. Raises `msgspec.DecodeError` where it is damaged."""
    return _decode_row(body)


def inputs_as_given(row: RowBody) -> list[AnyInput]:
    """The row's inputs with the outputs put back that the row holds once only, in a fact."""
    return [_whole(given, row) if isinstance(given, Result) and given.fact >= 0 else given for given in row.inputs]


def _whole(result: Result, row: RowBody) -> Result:
    fact = row.facts[result.fact]
    output = fact.output if isinstance(fact, Done) else result.output
    error = fact.error if isinstance(fact, NodeFailed | Retrying) and result.error is None else result.error
    return msgspec.structs.replace(result, output=output, error=error, fact=-1)


def encode_value(value: Any) -> bytes:
    """A value of day-one 10 as msgpack. The caller has checked it."""
    return _encode_value(value)


def decode_value(raw: Raw | bytes) -> Any:
    """The value again. A handle must be resolved before."""
    return _decode_value(raw)


def handle_for(body: bytes) -> tuple[Raw, bytes]:
    """A handle for a large encoded value, and the digest under which the blob store keeps it."""
    digest = hashlib.sha256(body).digest()
    return Raw(bytes((_EXT_8, _HANDLE_LENGTH, _HANDLE_TYPE)) + digest + len(body).to_bytes(8, "big")), digest


def handle_of_ext(ext: msgspec.msgpack.Ext) -> Raw:
    """A handle again that was decoded inside of another value."""
    return Raw(bytes((_EXT_8, _HANDLE_LENGTH, _HANDLE_TYPE)) + bytes(ext.data))


def handle_digest(raw: Raw | bytes) -> bytes | None:
    """The digest that a handle names; None where the value stands inline."""
    view = memoryview(raw)
    if view[0] != _EXT_8:
        return None
    return bytes(view[3:35])


def handle_size(raw: Raw | bytes) -> int:
    """How many bytes the value has, encoded."""
    view = memoryview(raw)
    return int.from_bytes(view[35:43], "big") if view[0] == _EXT_8 else len(view)


def handles_in(body: bytes) -> Iterator[bytes]:
    """The digests that a body in this encoding names, wherever in it, and whatever else looks like one. It is not decoded."""
    begin = bytes((_EXT_8, _HANDLE_LENGTH, _HANDLE_TYPE))
    at = body.find(begin)
    while at >= 0:
        yield body[at + 3 : at + 35]
        at = body.find(begin, at + 1)


class _Beginning(msgspec.Struct):
    """A journal row of which only the facts count, none of them decoded yet."""

    facts: list[Raw] = msgspec.field(default_factory=list, name="f")


_decode_beginning = msgspec.msgpack.Decoder(_Beginning).decode
_decode_fact = msgspec.msgpack.Decoder(AnyFact).decode


def begun_by(body: bytes) -> tuple[bytes, bytes]:
    """The digest of the definition and the parent, b"" = none, that an execution's first row says it has begun with."""
    facts = _decode_beginning(body).facts
    first = _decode_fact(facts[0]) if facts else None
    return (first.digest, first.parent) if isinstance(first, Started) else (b"", b"")


def encode_snapshot(execution: Execution) -> bytes:
    """The folded state, as a cache."""
    return _encode_state(execution)


def decode_snapshot(body: bytes) -> Execution:
    """A folded state again. Raises `msgspec.DecodeError` where it does not fit: then fold."""
    return _decode_state(body)
