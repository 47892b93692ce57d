"""`bench`: how fast a machine is, and where the time of a step goes; with workloads cut down to a few steps."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from command_line import Perdure

from perdure.cli import budget, workloads
from perdure.engine import machine
from perdure.runtime import attempts, gathering
from perdure.store.sqlite import store


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every workload in a few steps."""
    few = {
        "chain": lambda: workloads.chain(length=3, executions=4, in_flight=2),
        "fan-out": lambda: workloads.fan_out(width=5, executions=1),
        "loop": lambda: workloads.loop(iterations=3),
    }
    monkeypatch.setattr(workloads, "WORKLOADS", few)


def test_every_workload_is_told_with_its_spread(perdure: Perdure, tmp_path: Path) -> None:
    """One line a workload; nothing is left where it was measured."""
    told = perdure("bench", "--repeat", "2", "--folder", str(tmp_path))
    assert told.code == 0
    assert [line.split()[0] for line in told.stdout.splitlines()] == ["chain", "fan-out", "loop"]
    assert all("steps/s" in line and "…" in line for line in told.stdout.splitlines())
    assert not list(tmp_path.glob("perdure-bench-*"))


def test_a_profile_says_where_the_time_goes(perdure: Perdure) -> None:
    """Each part with its microseconds a step; together they are the time that a step took."""
    told = perdure("bench", "chain", "--profile", "--json", "--repeat", "1")
    row = json.loads(told.stdout)
    assert list(row["us_per_step"]) == list(budget.PARTS)
    assert all(value > 0 for value in row["us_per_step"].values())
    assert sum(row["us_per_step"].values()) <= 1_000_000 / row["steps_per_second"] * 1.01
    assert "commit" in perdure("bench", "chain", "--profile", "--repeat", "1").stdout


@pytest.mark.parametrize(
    "arguments, sentence",
    [(["nope"], "there is no 'nope'"), (["--folder", "/no/such/folder"], "there is none at /no/such/folder")],
)
def test_what_is_not_there_is_refused(perdure: Perdure, arguments: list[str], sentence: str) -> None:
    """An unknown workload, or a folder that is missing: named, and nothing is measured."""
    told = perdure("bench", *arguments)
    assert (told.code, told.stdout) == (2, "")
    assert sentence in told.stderr


def test_each_part_is_charged_with_its_own_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stopwatch is on one part at a time: what a part hands on is not counted twice, also when it fails."""
    ticks = itertools.count(step=10)
    monkeypatch.setattr(budget, "perf_counter_ns", lambda: next(ticks))
    watch = budget.Stopwatch()

    def fails() -> None:
        raise KeyError

    inner = watch.timed("evolve", fails)

    def outer() -> None:
        with pytest.raises(KeyError):
            inner()

    watch.timed("decide", outer)()
    # Ten a look at the clock: on the rest before and after, on the outer part before and after the inner one.
    assert {part: spent for part, spent in watch.spent.items() if spent} == {"asyncio": 10, "decide": 20, "evolve": 10}


def test_nothing_stays_timed(tmp_path: Path) -> None:
    """After a profile the engine is as it was."""
    places: list[tuple[Any, str]] = [
        (gathering, "step"), (gathering, "encode_row"), (machine, "evolve"), (attempts, "encode_value"),
        (attempts, "decode_value"), (store, "commit"),
    ]  # fmt: skip
    before = [getattr(owner, name) for owner, name in places]

    async def fails() -> None:
        with budget.watched():
            assert [getattr(owner, name) for owner, name in places] != before
            raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(fails())
    assert [getattr(owner, name) for owner, name in places] == before
