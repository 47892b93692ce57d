"""The simulation bites: each deliberate breakage of the product is found within a bounded number of seeds."""

from __future__ import annotations

import pytest
import yaml
from breakages import BREAKAGES
from run import OPEN, lived_quietly

pytestmark = pytest.mark.not_replayed("the product is broken in here, on purpose")
SEEDS_MAX = 400
UNDECIDED = frozenset(yaml.safe_load(OPEN.read_text()) or ())


def test_there_are_many() -> None:
    """At least fifteen, of the store, the home and the engine."""
    assert len(BREAKAGES) >= 15


@pytest.mark.parametrize("name", sorted(BREAKAGES))
def test_a_breakage_is_found(name: str) -> None:
    """With the mistake in the product some seed fails that does not fail without it."""
    with BREAKAGES[name]():
        found = next((seed for seed in range(SEEDS_MAX) if seed not in UNDECIDED and lived_quietly(seed).wrong), None)
    assert found is not None, f"none of {SEEDS_MAX} seeds finds: {BREAKAGES[name].__doc__}"
