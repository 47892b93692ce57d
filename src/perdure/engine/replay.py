"""Replay by stepping: the recorded inputs go through today's `step` again, and must give the recorded facts (day-one 7)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

import msgspec

from perdure.definition.plan import Plan
from perdure.engine.codec import encode_row, inputs_as_given
from perdure.engine.events import Recovered, RowBody
from perdure.engine.execution import Execution
from perdure.engine.index import Index, LargeValues
from perdure.engine.machine import Stepped, step

UNCUT = 1 << 62  # facts: a step that came to rest when it was recorded must do so again, whatever the limit was then
SHOWN_MAX = 200  # characters of a fact in a sentence


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """A journal row, decoded."""

    first_seq: int
    at: int
    body: RowBody


class Replay:
    """One execution that is stepped again, row by row. `resident` holds by digest each large value that a row needs."""

    def __init__(self, plan: Plan, resident: LargeValues) -> None:
        self._plan = plan
        self._resident = resident
        self._execution = Execution()
        self._index = Index(plan, resident)

    def take(self, row: Recorded) -> str:
        """Step a row's inputs; a sentence when they give other facts than were recorded, else nothing. Then take no more."""
        body = row.body
        try:
            done = self._step(body, row.at)
        except Exception as error:  # noqa: BLE001 - what was recorded may be anything, and whatever it breaks is the finding
            return f"the inputs before fact {row.first_seq} cannot be stepped again: {type(error).__name__}: {error}"
        # A step that lacked a value is cut, though what it lacked may have led to nothing: then it comes to rest now.
        cut = body.cut if done.at_rest else True
        if encode_row(done.taken, done.facts, cut) == encode_row(body.inputs, body.facts, body.cut):
            return ""  # also where it lacks a value for what comes after its last fact: that is in a later row
        if done.needs:
            return f"the inputs before fact {row.first_seq} cannot be stepped again without a large value that is not there"
        return f"from fact {row.first_seq} on, the recorded inputs give other facts today: {_first_difference(body, done)}"

    def _step(self, body: RowBody, at: int) -> Stepped:
        if any(isinstance(given, Recovered) for given in body.inputs):  # another home had folded it: so its index was made anew
            self._index = Index.rebuilt(self._plan, self._execution, self._resident)
        facts_max = len(body.facts) if body.cut else UNCUT
        return step(self._execution, self._index, inputs_as_given(body), at, facts_max=facts_max)


def restep(plan: Plan, rows: Iterable[Recorded], resident: LargeValues) -> list[str]:
    """Step all rows again; a sentence on the first that comes out otherwise, none when all agree."""
    replay = Replay(plan, resident)
    return next(([sentence] for row in rows if (sentence := replay.take(row))), [])


def _first_difference(body: RowBody, done: Stepped) -> str:
    for number, (recorded, found) in enumerate(zip_longest(body.facts, done.facts)):
        if recorded is None or found is None:
            return f"{len(body.facts)} were recorded, {len(done.facts)} come out now"
        if msgspec.msgpack.encode(recorded) != msgspec.msgpack.encode(found):
            return f"fact {number + 1} of the step was {_shown(recorded)} and is now {_shown(found)}"
    if not body.cut and not done.at_rest:
        return "the step came to rest then and is cut short now"
    return "the facts are the same, but the inputs are recorded otherwise"


def _shown(fact: Any) -> str:
    text = repr(fact)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"
