"""A short storm: real processes on a real file, killed at random moments; the long one is `make chaos`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Run = Callable[..., dict[str, Any]]


def test_processes_that_are_killed_lose_nothing_and_record_nothing_twice(chaos: Run) -> None:
    """Workers, starters, senders and commands die young and old: every execution ends as it should, `verify` finds nothing."""
    row = chaos("kills", "--seconds", "2", "--seed", "7")
    assert row["kills"] >= 7
    assert row["lost"] == 0
    assert 0 < row["executions"] < row["results"]
    assert row["effects"] > row["effects_repeated"]
    assert row["starts_repeated"] > 0
