"""What comes twice changes nothing: results, timers and the ends of children, of random workflows, each given again at once."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from definitions import seeded
from interpreter import BEGIN, Model
from moves import Answers, on_engine, on_model
from recording import Recording

from perdure.engine import events
from perdure.engine.events import AnyFact, AnyInput

REPEATED = events.Result | events.Due | events.ChildEnded
TURNS_MAX = 60


class Stuttering(Recording):
    """A recording that is given every result, timer and end of a child a second time."""

    repeats = 0

    def take(self, *inputs: AnyInput) -> list[AnyFact]:
        facts = super().take(*inputs)
        again = [given for given in inputs if isinstance(given, REPEATED)]
        if again:
            self.repeats += len(again)
            found = [fact for fact in super().take(*again) if not isinstance(fact, events.Late)]
            assert found == [], f"a second {again} led to {self.kinds(found)}"
        return facts


@pytest.mark.parametrize("seed", range(40))
def test_what_comes_twice_changes_nothing(seed: int) -> None:
    """It is late, and nothing follows from it; the execution ends as the reference interpreter says."""
    definition = seeded(Random(f"repeats {seed}"), 5, 10)
    play: Any = Stuttering(definition.document, compares=False)
    play.now = BEGIN
    play.start(definition.input)
    model = Model(definition.document, input=definition.input, at=BEGIN)
    answers = Answers(tuple(Random(f"answers {seed}").choices(range(10_000), k=20)))
    for turn in range(TURNS_MAX):
        move = None if model.status else answers.next(model, turn)
        if move is None:
            break
        on_model(model, move)
        on_engine(play, move)
        play.now = max(play.now, model.now)
    assert play.status == model.status
