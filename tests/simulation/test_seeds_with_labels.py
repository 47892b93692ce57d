"""Seeds whose effects ask for workers with labels: whatever goes wrong, nothing is lost, repeated, or run in a wrong place."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from definitions import Definition
from seeds import definition_of, live

from perdure.runtime.elsewhere import Elsewhere

pytestmark = pytest.mark.not_replayed("a simulation steps all of it again itself")
LABELS = ({}, {"gpu": "true"}, {"gpu": "true", "pool": "far"})
"""What the three workers have: nobody can carry out everything but the last one, and nothing is only the first one's."""
NEEDS = (None, {"gpu": True}, {"gpu": True}, "far")
FIRST, AT_ONCE = 2_100, 15


def asking(seed: int) -> Definition:
    """The workflow of a seed, some of whose effects ask for labels."""
    definition = definition_of(seed)
    chance = Random(f"labels {seed}")
    _ask(definition.document, chance)
    return definition


def _ask(value: Any, chance: Random) -> None:
    if isinstance(value, list):
        for each in value:
            _ask(each, chance)
    if isinstance(value, dict):
        needs = chance.choice(NEEDS) if value.get("type") == "test.effect" else None
        if needs is not None:
            value["runs_on"] = needs
        for each in list(value.values()):
            _ask(each, chance)


@pytest.mark.parametrize("first", range(FIRST, FIRST + 4 * AT_ONCE, AT_ONCE))
def test_rule_65_whatever_goes_wrong_nothing_is_lost_and_nothing_repeated(first: int) -> None:
    """No invariant is violated, each effect begins where its labels are, all ends, and the reference comes to the same end."""
    lived = [live(seed, asking(seed), labels=LABELS) for seed in range(first, first + AT_ONCE)]
    assert [(each.seed, each.wrong) for each in lived if each.wrong] == []


@pytest.mark.parametrize("first", range(FIRST, FIRST + 4 * AT_ONCE, AT_ONCE))
def test_rule_66_what_overflows_is_neither_lost_nor_repeated(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that take themselves for full, and others for idle: every effect is left to somebody, the home among them."""
    monkeypatch.setattr(Elsewhere, "overflows", lambda elsewhere: elsewhere._takes)
    lived = [live(seed, definition_of(seed), labels=({}, {}, {})) for seed in range(first, first + AT_ONCE)]
    assert [(each.seed, each.wrong) for each in lived if each.wrong] == []
