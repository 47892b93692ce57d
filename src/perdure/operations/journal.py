"""The journal as plain objects, with facts and fields in full words: what `show --json`, and every interface to come, gives."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Protocol

import msgspec
from msgspec import Raw

from perdure.engine import events
from perdure.engine.codec import decode_value, handle_digest, handle_of_ext, handle_size
from perdure.engine.events import AnyFact, AnyInput, Token
from perdure.engine.names import time_text
from perdure.errors import Failure, StoreDamaged
from perdure.expressions import format_duration
from perdure.ids import ExecutionId, id_text, instance_path


class Journaled(Protocol):
    """One step, decoded: what `Executions.moments` yields."""

    @property
    def first_seq(self) -> int: ...
    @property
    def at(self) -> int: ...
    @property
    def inputs(self) -> list[AnyInput]: ...
    @property
    def facts(self) -> list[AnyFact]: ...
    @property
    def cut(self) -> bool: ...


_NO_VALUES: Mapping[bytes, Any] = {}
_TIMES = frozenset(
    ("at", "due", "started", "finished", "ready", "deadline_at", "timeout_at", "soft_timeout_at", "cleanup_at", "until")
)  # microseconds UTC
_DURATIONS = frozenset(("timeout", "queue_timeout", "heartbeat", "grace", "ttl", "every", "shift"))  # microseconds
_IDS = frozenset(("execution", "parent", "child"))
_OF_OTHERS = (events.Spawned, events.Detached)
"""Facts whose `execution` is another one than whose fact it is: told as `child`."""
_ALWAYS = frozenset(("output", "status", "outcome", "crashed"))  # said also where they have their defaults
_PLACE = frozenset(("frame", "node", "visit"))  # said as one path


HANDLE_BYTES = 40
"""What a handle holds: a digest, and the size of what it stands for."""


def name_of(record: Any) -> str:
    """The name of a fact or an input in full words: `done`, `failed`, `variable_set`."""
    words = re.sub(r"(?<!^)(?=[A-Z])", "_", type(record).__name__).lower()
    return words.removeprefix("node_")


def fact_object(fact: AnyFact, values: Mapping[bytes, Any] = _NO_VALUES) -> dict[str, Any]:
    """A fact as a plain object: its name, the path of its node, then all that is not as by default.

    Large values are `{"$blob": digest, "size": bytes}`, unless `values` has them by digest.
    """
    found: dict[str, Any] = {"fact": name_of(fact)}
    try:
        return found | _place(fact) | _fields(fact, values)
    except Exception as error:  # what was damaged and can still be decoded may hold anything
        raise _illegible(found["fact"], error) from error


def _illegible(name: str, error: Exception) -> StoreDamaged:
    return StoreDamaged(
        f"Expected a `{name}` that can be shown in the journal, but it cannot: {error}",
        remedy="`perdure verify` tells what else is damaged; restore the store from a backup.",
    )


def _place(fact: Any) -> dict[str, str]:
    """Where something happened: the path of an instance, or of a frame."""
    if isinstance(fact, events.VariableSet):
        return {"frame": fact.frame, "node": fact.node} if fact.node else {"frame": fact.frame}
    if hasattr(fact, "node"):
        return {"node": instance_path(fact.frame, fact.node, getattr(fact, "visit", 1))}
    return {"frame": fact.frame} if hasattr(fact, "frame") else {}


def input_object(given: AnyInput, values: Mapping[bytes, Any] = _NO_VALUES) -> dict[str, Any]:
    """An input as a plain object, in the manner of `fact_object`."""
    found: dict[str, Any] = {"type": name_of(given)}
    try:
        return found | _input_fields(given, values)
    except Exception as error:  # as above
        raise _illegible(found["type"], error) from error


def _input_fields(given: AnyInput, values: Mapping[bytes, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if isinstance(given, events.Result | events.Complete | events.ChildEnded):
        found["node"], found["attempt"] = path_of(given.token), given.token.attempt
    elif isinstance(given, events.Due | events.Operate | events.Granted) and given.node:
        found["node"] = instance_path(given.frame, given.node, given.visit)
    elif isinstance(given, events.Due) and given.frame:
        found["frame"] = given.frame
    found |= _fields(given, values)
    if isinstance(given, events.Result):
        found.pop("fact", None)
        if given.fact >= 0 or given.outcome != "succeeded":
            found.pop("output", None)
        if given.outcome != "lost":
            found.pop("crashed", None)
    return found


def moment_object(moment: Journaled, values: Mapping[bytes, Any] = _NO_VALUES) -> dict[str, Any]:
    """One step. A result whose output stands once only, in its fact, names that fact by `fact_seq`."""
    inputs = []
    for given in moment.inputs:
        shown = input_object(given, values)
        if isinstance(given, events.Result) and given.fact >= 0:
            shown["fact_seq"] = moment.first_seq + given.fact
        inputs.append(shown)
    shown = {
        "first_seq": moment.first_seq,
        "at": time_text(moment.at),
        "inputs": inputs,
        "facts": [fact_object(fact, values) for fact in moment.facts],
    }
    return {**shown, "cut": True} if moment.cut else shown


def path_of(token: Token) -> str:
    """The path of the instance that a token names."""
    return instance_path(token.frame, token.node, token.visit)


def handles_of(records: Iterable[AnyInput | AnyFact]) -> dict[bytes, int]:
    """All large values that facts and inputs name: digest → size in bytes."""
    found: dict[bytes, int] = {}
    for value in values_of(records):
        digest = handle_digest(value)
        if digest is not None:
            found[digest] = handle_size(value)
    return found


def values_of(records: Iterable[AnyInput | AnyFact]) -> Iterator[Raw]:
    """All values of facts and inputs as they stand in the journal."""
    for record in records:
        for name in record.__struct_fields__:
            value: Any = getattr(record, name)
            if isinstance(value, Raw):
                yield value


def _fields(record: Any, values: Mapping[bytes, Any]) -> dict[str, Any]:
    found = {}
    for about in _fields_of(record.__class__):
        value = getattr(record, about.name)
        if about.name in _PLACE or about.name == "token":
            continue
        if about.name not in _ALWAYS and _is_default(about, value):
            continue
        said = "child" if isinstance(record, _OF_OTHERS) and about.name == "execution" else about.name
        found[said] = _plain(about.name, value, values)
    return found


@cache
def _fields_of(kind: Any) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Looked up once: it means evaluating annotations, and there are as many facts as anybody has steps."""
    return msgspec.structs.fields(kind)


def _is_default(about: msgspec.structs.FieldInfo, value: Any) -> bool:
    """Does a reader who knows the fact's defaults know this already? A required field, or `false` where true is usual: no."""
    if about.default is not msgspec.NODEFAULT:
        return bool(value == about.default)
    return about.default_factory is not msgspec.NODEFAULT and bool(value == about.default_factory())


def _plain(name: str, value: Any, values: Mapping[bytes, Any]) -> Any:
    if isinstance(value, Raw):
        digest = handle_digest(value)
        if digest is None:
            return msgspec.to_builtins(decode_value(value), enc_hook=_inside)
        return values[digest] if digest in values else {"$blob": digest.hex(), "size": handle_size(value)}
    if isinstance(value, bytes):
        return id_text(ExecutionId(value)) if name in _IDS else value.hex()
    if isinstance(value, Failure):
        return value.as_value()
    if isinstance(value, Token):
        return path_of(value)
    if name == "children":
        return {workflow: digest.hex() for workflow, digest in value.items()}
    if name in _TIMES and value and type(value) is int:
        return time_text(value)
    if name in _DURATIONS:
        return format_duration(value)
    if isinstance(value, tuple):
        return [path_of(each) if isinstance(each, Token) else each for each in value]
    return msgspec.to_builtins(value)


def _inside(value: Any) -> Any:
    """A large value that stands inside of another one is named like any other. Raises ValueError for what is none."""
    if not isinstance(value, msgspec.msgpack.Ext) or len(bytes(value.data)) != HANDLE_BYTES:
        raise ValueError(f"Expected a value or the handle of a large one, but got {type(value).__name__}.")
    raw = handle_of_ext(value)
    digest = handle_digest(raw)
    return {"$blob": digest.hex() if digest is not None else "", "size": handle_size(raw)}
