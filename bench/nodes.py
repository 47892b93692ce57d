"""The effects that the benchmarks run."""

from __future__ import annotations

import asyncio
import os
import time
from functools import cache, lru_cache

from perdure import Context, node


@lru_cache
def _text(size: int) -> str:
    return "x" * size


@node("bench.effect", title="No-op")
async def effect(size: int, number: int) -> str:
    """Returns a text of `size` characters."""
    return _text(size)


@node("bench.waiting", title="Something slow")
async def waiting(context: Context) -> str:
    """Waits 0 to 10 ms, differently each time, and returns a hundred characters."""
    await asyncio.sleep((hash(context.key) % 100) / 10_000)
    return _text(100)


@cache
def _opened(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


@node("bench.entry", title="An entry in a ledger")
async def entry(ledger: str, context: Context) -> str:
    """Appends its effect key to a file in one write, then waits a little, differently each time."""
    os.write(_opened(ledger), context.key.encode() + b"\n")
    await asyncio.sleep((hash(context.key) % 10) / 1_000)
    return context.key


@node("bench.stamped", title="A wait that says when")
async def stamped(ledger: str, seconds: float, context: Context) -> str:
    """Says in a file when it begins, waits, and says when it ends; by a clock that all processes of the machine share."""
    file, about = _opened(ledger), f"{os.getpid()} {context.execution} "
    os.write(file, f"{about}begins {time.monotonic_ns()}\n".encode())
    await asyncio.sleep(seconds)
    os.write(file, f"{about}ends {time.monotonic_ns()}\n".encode())
    return _text(100)
