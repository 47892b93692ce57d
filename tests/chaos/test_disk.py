"""A full disk, and one that may only be read: whoever comes says so and changes nothing; afterwards all goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Run = Callable[..., dict[str, Any]]


def test_a_full_disk_loses_nothing_and_when_there_is_room_all_goes_on(chaos: Run) -> None:
    """Workers and starters end with exit code 2 and `store.full`; the same executions end as they should when there is room."""
    row = chaos("full", "--seed", "7", "--no-mount", "--lives", "2")
    assert row["lost"] == 0
    assert row["executions"] > 0


def test_a_disk_that_may_only_be_read_is_left_as_it_is_and_afterwards_all_goes_on(chaos: Run) -> None:
    """What was killed in its middle is taken over by nobody before it may be written; no byte is changed until then."""
    row = chaos("read-only", "--seed", "7", "--no-mount", "--lives", "1")
    assert row["lost"] == 0
    assert row["takeovers"] > 0
