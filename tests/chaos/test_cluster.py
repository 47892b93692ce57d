"""PostgreSQL in short: storms on four workers, wires that are cut, recorded graphs, a hot parent; see `make chaos-postgres`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from instances import BUNDLED

Run = Callable[..., dict[str, Any]]


def test_workers_and_their_server_are_killed_and_paused_and_nothing_is_lost(chaos: Run) -> None:
    """All end as they should on whichever worker lives; no effect is repeated without a fault; `verify` finds nothing."""
    row = chaos("cluster", "--seconds", "2", "--seed", "7")
    assert row["kills"] > 0
    assert row["lost"] == 0
    assert 0 < row["executions"] < row["results"]
    assert row["effects"] > row["effects_repeated"]


def test_wires_are_cut_and_fall_silent_and_nothing_is_lost(chaos: Run) -> None:
    """A worker that is cut off longer than its lease is followed by another, and comes back."""
    row = chaos("proxies", "--seconds", "2", "--seed", "4")
    assert sum(count for name, count in row.items() if name.startswith("wires_")) > 0
    assert row["lost"] == 0
    assert 0 < row["executions"] < row["results"]


def test_recorded_graphs_run_to_their_end_on_four_workers_two_of_which_are_killed(chaos: Run) -> None:
    """Each task once but for what was in flight, none before its parents: the oracle of the examples reads the ledgers."""
    row = chaos("graphs", "--graphs", BUNDLED, "--seed", "7")
    assert (row["executions"], row["kills"]) == (4, 2)
    assert row["effects"] - row["effects_repeated"] == row["results"]


def test_a_parent_of_a_thousand_children_goes_on_where_its_worker_was_killed(chaos: Run) -> None:
    """Each child is started once, and each result arrives."""
    row = chaos("parent", "--children", "1000")
    assert (row["executions"], row["results"], row["kills"]) == (1_001, 1_000, 1)
