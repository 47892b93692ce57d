"""The 43 workflow control-flow patterns: each definition is sound, and each play shows the point of its pattern."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pattern_moves  # noqa: F401  # its moves are known to every play
import plays
import pytest
import yaml
from recording import Recording

from perdure.definition import read_definition
from perdure.operations.definitions import refuse_what_cannot_run
from perdure.runtime.plans import catalog_of, works_for

PATTERNS = [yaml.safe_load(file.read_text()) for file in sorted(Path(__file__).parent.glob("*.yaml"))]
CATALOG = catalog_of(works_for(""))


def _plays() -> Iterator[Any]:
    for pattern in PATTERNS:
        for play in pattern["plays"]:
            yield pytest.param(pattern, play, id=f"{pattern['number']} {play['shows'][:60]}")


def test_there_are_all() -> None:
    """Every pattern has its entry, with a definition that shows it or shows what one does instead, and at least one play."""
    assert sorted(pattern["number"] for pattern in PATTERNS) == list(range(1, 44))
    assert all(pattern["plays"] for pattern in PATTERNS)
    assert [pattern["number"] for pattern in PATTERNS if "instead" in pattern] == [8, 28, 31, 33, 41, 42]


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: f"{pattern['number']} {pattern['name']}")
def test_a_definition_is_sound(pattern: dict[str, Any]) -> None:
    """The checker finds nothing to say, not even a warning, and the engine of this release runs all of it."""
    checked = read_definition(pattern["definition"], catalog=CATALOG)
    assert checked.faults == []
    assert checked.plan is not None
    refuse_what_cannot_run(checked.plan)


@pytest.mark.parametrize("pattern, play", [*_plays()])
def test_a_play_shows_the_pattern(pattern: dict[str, Any], play: dict[str, Any]) -> None:
    """The moves give what is expected of them, also when the engine forgets its memory after each, and again when repeated."""
    for refolds in (False, True):
        recording = Recording(yaml.safe_load(pattern["definition"]), specs=dict(CATALOG), refolds=refolds)
        plays.perform(recording, play["moves"])
        assert recording.restepped() == []


@pytest.mark.parametrize(
    "number, said, instead",
    [
        (4, "type: switch, ", "type: switch, match: all, "),
        (6, "match: all, ", ""),
        (8, "concurrency: 2", "concurrency: 1"),
        (9, "losers: detach", "losers: cancel"),
        (12, "wait: false", "wait: true"),
        (13, "concurrency: 3", "concurrency: 2"),
        (16, "losers: cancel", "losers: detach"),
        (17, ', after: blood, with: {url: "https://clinic.example/heart"}', ', with: {url: "https://clinic.example/heart"}'),
        (18, "target: asked", "target: change"),
        (23, ", buffer: false", ""),
        (24, "signal: paid}", "signal: paid, buffer: false}"),
        (25, "target: ads", "target: ship"),
        (26, "target: ask}", "target: ask, mode: complete}"),
        (27, ", mode: complete", ""),
        (28, "losers: detach", "losers: cancel"),
        (29, "need: any", "need: any, losers: detach"),
        (30, "losers: detach", "losers: cancel"),
        (30, "need: 2", "need: 1"),
        (31, "need: 2", "need: all"),
        (32, "need: 2", "need: 2, losers: detach"),
        (34, "losers: detach", "losers: cancel"),
        (35, "need: any", "need: any\n    losers: detach"),
        (36, "join.success", "join.total"),
        (39, "lock: store", "lock: ${ line }"),
        (40, "concurrency: 1", "concurrency: 2"),
        (42, "concurrency: 10", "concurrency: 1"),
    ],
)
def test_a_play_notices_what_makes_the_pattern(number: int, said: str, instead: str) -> None:
    """With the words changed that make the pattern what it is, at least one of its plays goes otherwise."""
    (pattern,) = (pattern for pattern in PATTERNS if pattern["number"] == number)
    assert said in pattern["definition"]
    other = yaml.safe_load(pattern["definition"].replace(said, instead))
    with pytest.raises((AssertionError, KeyError)):  # something else was found, or what is to be moved is not there
        _play_all(other, pattern["plays"])


def _play_all(definition: dict[str, Any], all_plays: list[dict[str, Any]]) -> None:
    for play in all_plays:
        plays.perform(Recording(definition, specs=dict(CATALOG)), play["moves"])
