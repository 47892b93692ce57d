"""`emit` and `events`: the event log, written to and read from outside."""

from __future__ import annotations

import asyncio
from typing import Any

from perdure.cli import exits
from perdure.cli.exits import say
from perdure.cli.reading import actor, client, existing, json_value
from perdure.cli.wording import date_text, json_line, one_line
from perdure.clock import SystemClock

DATA_CHARACTERS_MAX = 60  # of the data in a line for people; --json has all of it


def emit(event: str, store: str | None, *, data: str, subject: str, event_id: str, source: str | None, json: bool) -> int:
    """Put an event into the log."""
    from perdure.operations import events

    value = json_value(data, "--data")
    come_from = actor() if source is None else source

    async def work() -> int:
        async with client(store) as (opened, _):
            published = await events.emit(
                opened, SystemClock(), event, value, subject=subject, id=event_id, source=come_from,
                payload_max=existing(store).payload_max,
            )  # fmt: skip
        if json:
            print(json_line({"id": published.id, "type": event, "new": published.new}))
        elif published.new:
            say(f"emitted `{one_line(event)}` with the id {one_line(published.id)}")
        else:
            say(f"an event with the id {one_line(published.id)} was emitted before; it counts once")
        return exits.SUCCEEDED

    return asyncio.run(work())


def list_events(store: str | None, *, type: str | None, limit: int, json: bool) -> int:
    """The end of the event log, the newest last."""
    from perdure.operations.events import event_object

    async def work() -> int:
        async with client(store) as (opened, _):
            found = await opened.events(type=type, limit=limit, latest=True)
        for position, event in found:
            shown = event_object(position, event)
            print(json_line(shown) if json else _line(shown, event.at))
        if not found and not json:
            say("no events")
        return exits.SUCCEEDED

    return asyncio.run(work())


def _line(event: dict[str, Any], at: int) -> str:
    data = one_line(json_line(event["data"]))
    if len(data) > DATA_CHARACTERS_MAX:
        data = f"{data[:DATA_CHARACTERS_MAX]}…"
    parts = (event["type"], event["subject"] or "–", event["id"], event["source"] or "–")
    return "  ".join((date_text(at), *map(one_line, parts), data))
