"""What people write on the command line, read: JSON values, settings, execution ids."""

from __future__ import annotations

import getpass
import json
import os
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from perdure.cli.exits import DEBUG
from perdure.errors import InputRefused, NotFound, StoreError
from perdure.expressions import parse_duration, parse_time
from perdure.settings import Settings


def json_value(text: str, option: str) -> Any:
    """JSON, `@file` or `@-` (standard input). Raises InputRefused with line and column."""
    place = option
    if text.startswith("@"):
        source = text[1:]
        place = "standard input" if source == "-" else source
        text = _text_of(source, f"{option}: {place}")
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_each_key_once)
    except json.JSONDecodeError as error:
        raise InputRefused(
            f"{option}: Expected JSON, but line {error.lineno}, column {error.colno} of {place} is not: {error.msg}.",
            remedy="Keys and texts need double quotes, and in a shell single ones around the whole.",
        ) from error
    except _NotAllowed as error:
        raise InputRefused(f"{option}: {error} ({place})", remedy="Mend the JSON.") from error
    except RecursionError as error:
        raise InputRefused(f"{option}: Expected data, but {place} is nested too deeply.", remedy="Flatten the data.") from error
    except ValueError as error:  # a number of more digits than Python reads
        raise InputRefused(
            f"{option}: Expected numbers of 64 bits, but {place} has one of thousands of digits.", remedy="Write it as a text."
        ) from error


class _NotAllowed(Exception):
    """Something that Python's reader takes and JSON, or we, do not."""


def _text_of(source: str, place: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        sentence = f"{place} cannot be read: {error.strerror}."
        raise InputRefused(sentence, remedy="Check the path and its permissions.") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputRefused(f"{place} is not UTF-8: byte {error.start} is none.", remedy="Save it as UTF-8.") from error


def _no_constant(name: str) -> Any:
    raise _NotAllowed(f"Expected a finite number, but got {name}.")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _NotAllowed(f"Expected each key once, but {twice!r} stands twice in one object.")
    return found


def duration(text: str, option: str) -> int:
    """A duration that is not nothing, in microseconds. Raises InputRefused."""
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise InputRefused(f"{option}: {error}", remedy="Such as 10s, 5m, 2h, 3d.") from error
    if not found:
        raise InputRefused(f"{option}: Expected some time, but got {text!r}.", remedy="Such as 10s, 5m, 2h, 3d.")
    return found


def moment(text: str, option: str, now: int) -> int:
    """A moment in microseconds UTC: a time, or a duration from now on. Raises InputRefused."""
    if not re.match(r"\d{4}-", text):
        return now + duration(text, option)
    try:
        return parse_time(text)
    except ValueError as error:
        raise InputRefused(f"{option}: {error}", remedy="Such as 5m, or 2026-12-24T18:00:00+01:00.") from error


def settings(store: str | None, **arguments: Any) -> Settings:
    """The settings of this call: arguments before `PERDURE_*` before defaults."""
    environ = {name: text for name, text in os.environ.items() if name != DEBUG}  # of the command line, not of an installation
    return Settings.read(environ, store=store, **arguments)


def actor() -> str:
    """Who acts, for the journal."""
    try:
        return f"{getpass.getuser()}@cli"
    except (KeyError, OSError):  # a container without a name for its user
        return f"{os.getuid()}@cli"


def existing(store: str | None) -> Settings:
    """The settings of a call that makes no store. Raises NotFound where there is none, StoreError where nobody can tell."""
    found = settings(store)
    if found.is_shared:
        return found  # who opens it says what is wrong with it
    try:
        os.stat(found.store)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(
            f"There is no store at {found.store}.", remedy="Name it with --store, or start something with `perdure run`."
        ) from None
    except OSError as error:  # a folder that may not be entered, a name too long
        raise StoreError(
            f"Expected a store at {found.store}, but one cannot look there: {error.strerror}.",
            remedy="Check path and permissions.",
        ) from error
    return found


@asynccontextmanager
async def client(store: str | None) -> AsyncIterator[tuple[Any, Any]]:
    """The store and what one can ask about its executions; never makes a store. Raises NotFound where there is none."""
    from perdure.app import open_client

    async with open_client(existing(store)) as opened:
        yield opened
