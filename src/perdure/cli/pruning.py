"""`prune`: what is over its retention goes, and what went is told."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from perdure.app import worker_name
from perdure.cli import exits
from perdure.cli.exits import say
from perdure.cli.reading import client, duration, existing
from perdure.cli.wording import json_line
from perdure.clock import SystemClock
from perdure.runtime.retention import Policy, Pruned, Pruning

KIB = 1 << 10


def prune(store: str | None, *, older_than: str, workflow: str, dry_run: bool, json: bool) -> int:
    """One pass over the store, beside whoever works on it."""
    settings = existing(store)
    age = duration(older_than, "--older-than") if older_than else None
    policy = Policy(
        retention=settings.retention if age is None else age, events=settings.event_retention,
        workflow=workflow, overrides=bool(workflow and older_than),
    )  # fmt: skip
    clock = SystemClock()

    async def work() -> Pruned:
        async with client(store) as (opened, _):
            return await Pruning(opened, clock, policy, holder=worker_name(clock), dry_run=dry_run).run()

    pruned = asyncio.run(work())
    if json:
        print(json_line(_as_object(pruned, dry_run=dry_run)))
        return exits.SUCCEEDED
    for name, count in pruned.workflows.items():
        print(f"{count:>9,}  {name}")
    print(_summary(pruned, dry_run=dry_run))
    if not pruned.ruled:
        say("nothing has a retention: name one with --older-than 30d, PERDURE_RETENTION=30d, or `settings: {retention: 30d}`")
    return exits.SUCCEEDED


def _as_object(pruned: Pruned, *, dry_run: bool) -> dict[str, Any]:
    return {"dry_run": dry_run, **{name: value for name, value in msgspec.to_builtins(pruned).items() if name != "ruled"}}


def _summary(pruned: Pruned, *, dry_run: bool) -> str:
    """All of it in one line."""
    parts = [
        f"{_many(pruned.executions, 'execution')} with {_many(pruned.facts, 'fact')}", _many(pruned.events, "event"),
        f"{_many(pruned.blobs, 'large value')} of {_bytes(pruned.blob_bytes)}",
    ]  # fmt: skip
    line = f"{'would prune' if dry_run else 'pruned'} {', '.join(parts)}"
    if not dry_run:
        line += f"; the store is {_bytes(pruned.freed)} smaller"
    return line + (f"; {_many(pruned.kept, 'execution')} kept, since who started them goes on" if pruned.kept else "")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _bytes(count: int) -> str:
    size, unit = float(count), "B"
    for unit in ("B", "KB", "MB", "GB"):
        if size < KIB or unit == "GB":
            break
        size /= KIB
    return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
