"""A few hundred attacks of each kind, always the same ones; `make attack` goes on with others for as long as it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from targets import TARGETS, attack

pytestmark = pytest.mark.not_replayed("what is attacked is damaged on purpose")

CASES = sorted((Path(__file__).parent / "cases").glob("*.json"))
FEW = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@settings(FEW, max_examples=300)
@given(TARGETS["expression"].cases())
def test_expressions_hold(case: dict[str, Any]) -> None:
    """Whatever is written: a value within the value rules, or an ExpressionError with its place, and never over the budget."""
    attack("expression", case)


@settings(FEW, max_examples=200)
@given(TARGETS["definition"].cases())
def test_definitions_hold(case: dict[str, Any]) -> None:
    """Whatever is handed in: faults, each with its remedy and place, or a plan that can be started."""
    attack("definition", case)


@settings(FEW, max_examples=60)
@given(TARGETS["journal"].cases())
def test_journals_hold(case: dict[str, Any]) -> None:
    """Whatever stands in a journal: who reads it says what is wrong, and a home sets it aside and goes on with the others."""
    attack("journal", case)


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_what_was_found_once_holds_now(file: Path) -> None:
    """Every case that an attack ever found."""
    found = json.loads(file.read_text())
    attack(found["target"], found["case"])


def test_every_case_says_what_it_was_about() -> None:
    """A case names its target and tells what went wrong then."""
    for file in CASES:
        found = json.loads(file.read_text())
        assert found["target"] in TARGETS
        assert found["about"].endswith("."), file.name
