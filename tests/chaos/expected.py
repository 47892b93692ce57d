"""The workflows of chaos in plain Python: how each must end for its input, which effects it has, and which children it starts.

Nothing of Perdure is used here: this is what the author of a workflow would have written by hand.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FLOWS = Path(__file__).parent / "flows"

Deed = tuple[str, str, int]
"""An effect as the receiver sees it: the execution's tag, what is done, and for which time or item."""


@dataclass(frozen=True)
class Given:
    """What an execution is started with: which workflow, under which tag, and its number."""

    flow: str
    tag: str
    n: int

    @property
    def file(self) -> Path:
        return FLOWS / f"{self.flow}.yaml"

    def input(self, receiver: str) -> dict[str, Any]:
        return {"receiver": receiver, "tag": self.tag, "n": self.n}


@dataclass(frozen=True)
class Expected:
    """How an execution may end, as (status, output or error code); its effects in each case; the children it starts."""

    ends: tuple[tuple[str, Any], ...]
    deeds: frozenset[Deed]
    children: tuple[Given, ...] = ()


def planned(seed: int, number: int, flows: str = "all") -> Given:
    """Execution `number` of a run: the mix is drawn from the seed. `flows`: of all, or of one workflow only."""
    chance = random.Random(f"{seed} {number}")
    flow = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0] if flows == "all" else flows
    return Given(flow, f"k{seed}-{number}", chance.randrange(100))


def value(n: int) -> int:
    """What the receiver answers to a number."""
    return (n * n + 1) % 10_007


def signals_for(given: Given) -> Iterator[tuple[str, str, Any]]:
    """The signals that an execution of `ask` waits for: name, key, payload."""
    yield "word", given.tag, {"n": given.n + 7}
    yield "done", "", {"text": "x" * said(given)}


def said(given: Given) -> int:
    """The length of the second signal's text: more than a journal row takes every other time."""
    return 1_500 if given.n % 2 else 10


def expected(given: Given) -> Expected:
    """What must come of an execution."""
    return _EXPECTED[given.flow](given)


def _fan(given: Given) -> Expected:
    items = range(given.n % 5 + 2)
    total = sum(value(item) for item in items) + value(given.n)
    deeds = [("square", item) for item in items] + [("left", 0), ("right", 0)]
    return _succeeds(given, {"sum": total, "size": size_of(given.n)}, deeds)


def size_of(n: int) -> int:
    """The filling of a large answer: a blob in the database, or now and then a file beside it."""
    return 300_000 if n % 11 == 0 else 2_000


def _walk(given: Given) -> Expected:
    carry = given.n % 4
    results: list[int] = []
    while len(results) < 6 and not (results and results[-1] >= 40):
        carry = value(carry) % 50
        results.append(carry)
    asked = given.n % 3 + 1
    deeds = [("step", number) for number in range(len(results))] + [("poll", number) for number in range(1, asked + 1)]
    return _succeeds(given, {"results": results, "asked": asked}, deeds)


def _saga(given: Given) -> Expected:
    always = [("hotel", 0), ("flight", 0), ("note", 0)]
    if given.n % 3 == 0:
        return _succeeds(given, "undone: 2", [*always, ("leave", 0), ("stay", 0)])
    if given.n % 9 == 1:
        return Expected((("failed", "trip.lost"),), _deeds(given, always))
    return _succeeds(given, value(value(value(given.n))), [*always, ("seat", 0)])


def _ask(given: Given) -> Expected:
    return _succeeds(given, {"heard": value(given.n + 7), "said": said(given)}, [("hear", 0)])


def _patience(given: Given) -> Expected:
    return _succeeds(given, f"nobody came: {value(given.n)}", [("beg", 0), ("shrug", 0)])


def _family(given: Given) -> Expected:
    one = Given("walk", f"{given.tag}.one", given.n + 1)
    two = Given("saga", f"{given.tag}.two", given.n * 9 + 2)
    away = Given("patience", f"{given.tag}.away", given.n)
    output = [expected(one).ends[0][1]["asked"], expected(two).ends[0][1]]
    return Expected((("succeeded", output),), frozenset(), (one, two, away))


def _once(given: Given) -> Expected:
    """It happened once, or it may have happened and nobody knows; `audit` sees to it that it never happened twice."""
    return Expected((("succeeded", value(given.n)), ("succeeded", "effect.unknown")), _deeds(given, [("shot", 0)]))


def _clock(given: Given) -> Expected:
    return _succeeds(given, value(given.n), [("before", 0), ("after", 0)])


def _grind(given: Given) -> Expected:
    return _succeeds(given, value(given.n), [("grind", 0)])


def _succeeds(given: Given, output: Any, deeds: list[tuple[str, int]]) -> Expected:
    return Expected((("succeeded", output),), _deeds(given, deeds))


def _deeds(given: Given, deeds: list[tuple[str, int]]) -> frozenset[Deed]:
    return frozenset((given.tag, deed, at) for deed, at in deeds)


def shown(end: tuple[str, Any]) -> str:
    """An end in a sentence; long outputs are cut."""
    text = json.dumps(end[1])
    return f"{end[0]} with {text if len(text) < 200 else text[:200] + '…'}"


_EXPECTED: dict[str, Callable[[Given], Expected]] = {
    "fan": _fan, "walk": _walk, "saga": _saga, "ask": _ask, "patience": _patience, "family": _family, "once": _once,
    "grind": _grind, "clock": _clock,
}  # fmt: skip

WEIGHTS = {"fan": 20, "walk": 20, "saga": 20, "ask": 20, "patience": 10, "family": 10, "once": 10, "grind": 2}
"""How often each is started. Blocking work is rare, since each worker has to start a process for it first."""

CLOCK_SECONDS = 2.0
"""How long `clock` waits between its two effects, at least, by anybody's clock that runs."""
APART_SECONDS = 0.25
"""So far two clocks may be apart that were compared over a network, on a busy machine."""

AT_MOST_ONCE = frozenset(("shot",))
"""Deeds that may be received once at most, and need not be received at all."""
