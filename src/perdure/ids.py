"""Ids and keys that can never change: execution ids, effect keys, instance paths (day-one 1, 5, 16)."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from typing import NewType

ExecutionId = NewType("ExecutionId", bytes)
"""16 bytes of UUIDv7: sorts by the time of its start. Outside the engine and the store it is text, see `id_text`."""

EXECUTION_PREFIX = "ex_"
EFFECT_KEY_PREFIX = "p1_"  # the scheme's version; a new scheme is a new prefix
NODE_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}\Z")
PATH_DEPTH_MAX = 32
PATH_BYTES_MAX = 1_000

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_CROCKFORD_VALUE = {character: value for value, character in enumerate(_CROCKFORD)}
_TEXT_LENGTH = 26
_RANDOM_MASK_62 = (1 << 62) - 1


class ExecutionIds:
    """Makes growing execution ids: 48 bits of milliseconds, a 12-bit counter, 62 bits of chance (RFC 9562, method 1)."""

    def __init__(self, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._entropy = entropy
        self._millisecond = 0
        self._counter = 0

    def new(self, now: int) -> ExecutionId:
        """An id for an execution started at `now` (microseconds). Ids made here one after another always grow."""
        millisecond = now // 1_000
        if millisecond > self._millisecond:
            self._millisecond, self._counter = millisecond, 0
        else:
            self._counter += 1
            if self._counter >> 12:
                self._millisecond, self._counter = self._millisecond + 1, 0
        chance = int.from_bytes(self._entropy(8), "big") & _RANDOM_MASK_62
        number = self._millisecond << 80 | 0x7 << 76 | self._counter << 64 | 0b10 << 62 | chance
        return ExecutionId(number.to_bytes(16, "big"))


def new_key(entropy: Callable[[int], bytes] = os.urandom) -> str:
    """A key that nobody else has, for a message whose sender gave none."""
    return entropy(16).hex()


def child_id(at: int, parent: ExecutionId, path: str, visit: int, attempt: int) -> ExecutionId:
    """The id of a child: derived, so that a start sent twice finds the same child; by time, so that it sorts (day-one 1)."""
    digest = hashlib.sha256(b"\0".join((parent, path.encode(), str(visit).encode(), str(attempt).encode()))).digest()
    bits = int.from_bytes(digest[:10], "big")
    number = (at // 1_000) << 80 | 0x7 << 76 | (bits >> 62 & 0xFFF) << 64 | 0b10 << 62 | bits & _RANDOM_MASK_62
    return ExecutionId(number.to_bytes(16, "big"))


def id_text(execution: ExecutionId) -> str:
    """`ex_` and 26 characters of Crockford base 32; sorts like the bytes."""
    # 128 bits with two zero bits before them are 26 characters of five bits; the shift fills the last of 17 bytes.
    return EXECUTION_PREFIX + _base32((int.from_bytes(execution, "big") << 6).to_bytes(17, "big"))


def id_from_text(text: str) -> ExecutionId:
    """The id that `id_text` wrote. Raises ValueError with the reason."""
    body = text.removeprefix(EXECUTION_PREFIX).lower()
    if len(body) != _TEXT_LENGTH or any(character not in _CROCKFORD_VALUE for character in body):
        raise ValueError(f"Expected an execution id like ex_01jd3v0x7r8k2q4m6n8p0s2t4v, but got {text!r}.")
    number = 0
    for character in body:
        number = number << 5 | _CROCKFORD_VALUE[character]
    if number >> 128:
        raise ValueError(f"Expected an execution id, but {text!r} is larger than any id.")
    return ExecutionId(number.to_bytes(16, "big"))


def effect_key(execution: ExecutionId, path: str, visit: int, generation: int) -> str:
    """The key of an effect, the same over retries, crashes and takeovers (rule 50): `p1_` and 26 characters of base 32."""
    digest = hashlib.sha256(b"\0".join((execution, path.encode(), str(visit).encode(), str(generation).encode()))).digest()
    return EFFECT_KEY_PREFIX + _base32(digest[:17])


def _base32(data: bytes) -> str:
    """The first 130 bits of 17 bytes as 26 characters, two at a time: every effect asks for one."""
    number = int.from_bytes(data, "big") >> 6
    return "".join([_PAIRS[number >> shift & 0x3FF] for shift in _SHIFTS])


_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]
_SHIFTS = range(120, -1, -10)


def instance_path(frame: str, node: str, visit: int = 1) -> str:
    """The path of a node instance: `orders[3].poll#2`; `#1` is omitted (day-one 5)."""
    name = node if visit == 1 else f"{node}#{visit}"
    return f"{frame}.{name}" if frame else name


def frame_path(container: str, attempt: int, scope: str, index: int) -> str:
    """The path of a frame of the container at `container`: `orders[3]`, `charge~2.body`, `split.left` (day-one 5)."""
    tried = container if attempt <= 1 else f"{container}~{attempt}"
    return f"{tried}.{scope}" if index < 0 else f"{tried}[{index}]"


def scope_path(outer: str, node: str, scope: str) -> str:
    """The path of a scope in the definition, which all its frames share: `orders.body`, `charge.catch0`."""
    return f"{outer}.{node}.{scope}" if outer else f"{node}.{scope}"


def is_inside(frame: str, container: str) -> bool:
    """Is this frame one of the container instance at `container`, in any attempt, or further inside it?"""
    return frame.startswith(container) and frame[len(container) : len(container) + 1] in (".", "~", "[")
