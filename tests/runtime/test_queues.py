"""Of a long queue a step is given what would come first in any case, so that a queue costs what is in it and not its square."""

from __future__ import annotations

import random
from typing import Any

import pytest

from perdure.engine import events
from perdure.engine.events import AnyInput
from perdure.engine.inputs import in_order
from perdure.runtime.hot import GIVEN_MAX, foremost
from perdure.testing.world import Process, World, act, workflow_of


def answer(number: int) -> AnyInput:
    return events.Signal(id=str(number), name="go")


def other(chance: random.Random) -> AnyInput:
    """An input that does not come in the order of its arrival."""
    kinds = [
        events.Operate(action="pause", by="x"),
        events.Continue(),
        events.Recovered(crashed=True, worker="w"),
        events.Due(kind=chance.choice(["wait", "timeout", "deadline", "scope"]), due=chance.randrange(100), node="a"),
    ]
    return chance.choice(kinds)


@pytest.mark.parametrize("seed", range(12))
def test_what_is_given_is_what_would_come_first(seed: int) -> None:
    """Wherever operators and timers stand in the queue: the order of the part is the beginning of the order of all."""
    chance = random.Random(seed)
    queue: list[tuple[AnyInput, int]] = [(answer(number), number) for number in range(GIVEN_MAX + chance.randrange(1, 500))]
    for _ in range(seed % 4):
        queue.insert(chance.randrange(len(queue)), (other(chance), 0))
    given, waiting = foremost(queue)
    assert given + waiting == queue
    whole = in_order([each for each, _ in queue])
    part = in_order([each for each, _ in given])
    assert [id(each) for each in part] == [id(each) for each in whole[: len(part)]]


def test_a_queue_of_answers_is_given_piece_by_piece() -> None:
    """A short one at once, a long one in pieces of one size."""
    queue: list[tuple[AnyInput, int]] = [(answer(number), number) for number in range(2 * GIVEN_MAX + 1)]
    assert foremost(queue[:GIVEN_MAX]) == (queue[:GIVEN_MAX], [])
    given, waiting = foremost(queue)
    assert (len(given), len(waiting)) == (GIVEN_MAX, GIVEN_MAX + 1)


def test_all_of_a_long_queue_is_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """With pieces so small that every step leaves some: nothing is lost, and the loop ends as ever."""
    monkeypatch.setattr("perdure.runtime.hot.GIVEN_MAX", 3)
    world = World(step_facts_max=4)
    body: dict[str, Any] = {"nodes": {"n": act(gives=1)}}
    each = {"type": "loop", "over": "${ range(60) }", "concurrency": 60, "body": body, "collect": "count"}
    outcome = world.live(run(workflow_of({"each": each}, output="${ nodes.each.results }")))
    assert outcome.output == 60
    assert max(world.ledger.counts().values()) == 1


def run(document: dict[str, Any]) -> Any:
    async def main(process: Process) -> Any:
        return await process.run(process.world.read(document))

    return main
