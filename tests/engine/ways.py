"""The ways in which a play may go, all with the same facts: plainly, folded anew, cut into small steps, over crashes.

A test that takes the fixture `begin` runs once for each way. Beside each way but the plain one a twin takes the same inputs
plainly, and after each of them both must have stated the same facts; at the end the recorded inputs are stepped again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from plays import definition, table
from recording import Recording

from perdure.definition.plan import Plan
from perdure.engine import events, place
from perdure.engine.events import AnyFact, AnyInput
from perdure.engine.execution import RUNNING

WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "refolded": {"refolds": True},
    "cut-1": {"facts_max": 1, "refolds": True},
    "cut-3": {"facts_max": 3},
    "crashed": {"crashes": True},
    "forgetful": {"forgetful": True},
}
"""Way → how its recording is made. `crashes`: after every step the home is lost, in good order, and another takes over."""


class Played(Recording):
    """A recording that goes its way, and is compared with a plain one after everything it takes."""

    def __init__(self, document: Mapping[str, Any] | Plan, *, crashes: bool = False, **options: Any) -> None:
        super().__init__(document, **options)
        self.crashes = crashes
        self.twin = Recording(self.plan) if crashes or options else None

    def take(self, *inputs: AnyInput) -> list[AnyFact]:
        facts = super().take(*inputs)
        if self.twin is not None:
            self._compare(self.twin, inputs)
        if self.crashes and not self.execution.ended and not self._stops():
            self.refold()
            super().take(events.Recovered(crashed=False, worker="next"))
        return facts

    def _stops(self) -> bool:
        """Is an attempt being stopped? A takeover ends it, which plainly is for the test to say."""
        return any(instance.state == RUNNING and instance.stopping for _, instance in self.execution.instances())

    def _compare(self, twin: Recording, inputs: tuple[AnyInput, ...]) -> None:
        twin.now = self.now
        twin.bodies.update(self.bodies)
        twin.resident.update(self.resident)
        if any(isinstance(given, events.Recovered) for given in inputs):
            twin.refold()
        if any(isinstance(given, events.Due) for given in inputs):
            twin.index.take_due(twin.execution, twin.now)
        twin.take(*inputs)
        ours, its = said(self.facts), said(twin.facts)
        assert ours == its, f"this way {first_difference(ours, its)} (plainly)"


def said(facts: list[AnyFact]) -> list[bytes]:
    """The facts as bytes, without what a takeover adds: that attempts were lost, and the place of a fact in the journal."""
    kept = [fact for fact in facts if not isinstance(fact, events.Lost)]
    return [msgspec.msgpack.encode(_placeless(fact)) for fact in kept]


def _placeless(fact: AnyFact) -> AnyFact:
    if isinstance(fact, events.FrameOpened) and fact.of:
        return msgspec.structs.replace(fact, of=1)
    return fact


def first_difference(ours: list[bytes], its: list[bytes]) -> str:
    """Where two journals part."""
    decoded = [[msgspec.msgpack.decode(fact) for fact in facts] for facts in (ours, its)]
    for number, (our, other) in enumerate(zip(*decoded, strict=False)):
        if our != other:
            return f"states {our} as its fact {number + 1}, not {other}"
    return f"states {len(ours)} facts, not {len(its)}: {decoded[len(its) > len(ours)][min(len(ours), len(its)) :]}"


class Begin:
    """Begins recordings that go one way."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.plays: list[Played] = []

    def new(self, document: Mapping[str, Any] | Plan) -> Played:
        """A recording of a document that has not started."""
        play = Played(document, **WAYS[self.way])
        self.plays.append(play)
        return play

    def __call__(
        self, nodes: Mapping[str, Any], input: Any = None, /, *, start: Mapping[str, Any] | None = None, **rest: Any
    ) -> Played:  # fmt: skip
        """A started recording of these nodes; `rest` is what else the document says, `start` what the start does."""
        play = self.new(graph(nodes, **rest))
        play.start(input, **(start or {}))
        return play


def graph(nodes: Mapping[str, Any], **rest: Any) -> dict[str, Any]:
    """A document of these nodes, at any depth of effects where they name no type."""
    return {**definition({"nodes": nodes}), **rest}


def scope(nodes: Mapping[str, Any] | None = None, /, **more: Any) -> dict[str, Any]:
    """A scope of nodes: `scope(x={}, y={"after": "x"})`, or with other keys `{**scope(x={}), "timeout": "1m"}`."""
    return {"nodes": {**(nodes or {}), **more}}


def worked_graph(number: int) -> list[dict[str, Any]]:
    """The rows of a worked graph of the rules."""
    return [row for row in table("worked_graphs") if row["row"].startswith(f"{number}, ")]


@contextmanager
def going(way: str) -> Iterator[Begin]:
    """Recordings of one way; whatever they recorded gives the same facts when it is stepped again."""
    begin = Begin(way)
    with pytest.MonkeyPatch.context() as patch:
        if way == "forgetful":
            patch.setattr(place, "INLINE_MAX", 2)  # bytes: nearly all values stand beside the journal
        yield begin
        for play in begin.plays:
            differences = play.restepped()
            assert not differences, differences[0]
