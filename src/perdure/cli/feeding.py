"""`feed`: what happens in all executions, told as it becomes readable, each line with the cursor to go on after it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from perdure.cli import exits
from perdure.cli.exits import say
from perdure.cli.following import store_option
from perdure.cli.interruption import Interruption
from perdure.cli.reading import client
from perdure.cli.wording import clock_text, date_text, duration_text, json_line, one_line
from perdure.errors import Refused
from perdure.operations.feed import Portion, feed_object, lag_object, lag_of, portion
from perdure.runtime.patience import patiently
from perdure.store.feed import FeedLag

LOOK_SECONDS = 0.2
"""Between two looks by who follows: a step for nobody else rings no bell."""
STILL_SECONDS = 10.0
"""A feed that stands still for so long is asked why, and who follows it is told."""


def feed(
    store: str | None, *, after: str, execution: str, latest: bool, follow: bool, limit: int, lag: bool, json: bool
) -> int:  # fmt: skip
    """Tell facts from a cursor on; the exit code."""
    if after and latest:
        raise Refused(
            "Expected a cursor or --new, but got both.", remedy="--after goes on after a cursor, --new begins at the end.",
            code="usage",
        )  # fmt: skip
    if lag:
        return asyncio.run(_tell_lag(store, json=json))
    telling = Telling(store, cursor=after, limit=limit, json=json)
    return asyncio.run(Interruption(telling.last_words).run(lambda: telling.run(execution, latest=latest, follow=follow)))


class Telling:
    """What one command tells. `cursor`: behind all that it has told; `limit`: at most so many facts, 0: all."""

    def __init__(self, store: str | None, *, cursor: str, limit: int, json: bool) -> None:
        self._store = store
        self._cursor = cursor
        self._left = limit
        self._json = json
        self._option = store_option(store)
        self._asked = 0.0  # when it was last asked why nothing comes, by the loop's clock
        self._said: tuple[int, int | None] | None = None  # the transaction that was named last

    async def run(self, id: str, *, latest: bool, follow: bool) -> int:
        """Tell what there is, and with `follow` what comes; the exit code."""
        loop = asyncio.get_running_loop()
        async with client(self._store) as (opened, executions):
            execution = await executions.find(id) if id else None
            self._asked = loop.time()
            while True:
                await opened.changed()  # what comes from here on wakes us
                look = partial(portion, opened, after=self._cursor, execution=execution, limit=self._left, latest=latest)
                found, latest = await patiently(look), False
                if self._tell(found):
                    return self._end()
                if found.more:
                    await asyncio.sleep(0)  # the store may answer without suspending, and nobody could interrupt it
                    continue
                if not follow:
                    return self._end()
                if found.facts:
                    self._asked = loop.time()
                elif loop.time() - self._asked >= STILL_SECONDS:
                    self._asked = loop.time()
                    self._tell_still(await opened.feed_lag())
                await opened.wait_changed(LOOK_SECONDS)

    def last_words(self) -> None:
        """How to go on."""
        if self._cursor:
            say(f"stopped; go on with: perdure feed --after {self._cursor}{self._option}")

    def _tell(self, found: Portion) -> bool:
        """Print all of it at once; whether that was all that is wanted."""
        if found.gap:
            say("facts are missing here: they were pruned before they were read; `perdure list` shows what there is")
        if self._json:
            # The marker bears no cursor: whoever ends right after it is told once more.
            lines = [json_line({"gap": True})] if found.gap else []
            lines += [json_line(feed_object(fact)) for fact in found.facts]
            if found.cursor != (found.facts[-1].cursor if found.facts else self._cursor) or (found.gap and not found.facts):
                lines.append(json_line({"cursor": found.cursor}))
        else:
            lines = [_line(feed_object(fact), fact.at) for fact in found.facts]
        if lines:
            print("\n".join(lines), flush=True)
        self._cursor = found.cursor
        if not self._left:
            return False
        self._left -= len(found.facts)
        return not self._left

    def _end(self) -> int:
        if not self._json:
            say(f"go on with: perdure feed --after {self._cursor}{self._option}")
        return exits.SUCCEEDED

    def _tell_still(self, lag: FeedLag | None) -> None:
        """Say why nothing comes, once for each transaction that is the reason."""
        if lag is None or lag_of(lag) < STILL_SECONDS * 1_000_000 or self._said == (lag.pid, lag.began):
            return
        self._said = (lag.pid, lag.began)
        say(lag_words(lag))


def lag_words(lag: FeedLag | None) -> str:
    """What holds the feed up, for people, and what to do about it."""
    if lag is None:
        return "nothing holds the feed up"
    began = f" that began at {clock_text(lag.began)}" if lag.began is not None else ""
    transaction = f"a transaction{began} ({one_line(lag.who)})"
    if lag.waits is None:
        return f"nothing waits; what is written now would wait for {transaction}"
    end = f"; if nobody needs it: SELECT pg_terminate_backend({lag.pid})" if lag.pid else ""
    return f"the feed stands still: what was written {duration_text(lag_of(lag))} ago, and since, waits for {transaction}{end}"


async def _tell_lag(store: str | None, *, json: bool) -> int:
    async with client(store) as (opened, _):
        found = await opened.feed_lag()
    print(json_line(lag_object(found)) if json else lag_words(found))
    return exits.SUCCEEDED


def _line(fact: dict[str, Any], at: int) -> str:
    """`2026-12-24 18:00:00  ex_…  7  done  orders[3].charge`."""
    where = fact.get("node", fact.get("frame", ""))
    error = fact.get("error")
    what = f"{fact['fact']} ({error['code']})" if isinstance(error, dict) and "code" in error else fact["fact"]
    return "  ".join((date_text(at), fact["execution"], str(fact["seq"]), what, one_line(str(where)))).rstrip()
