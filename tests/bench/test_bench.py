"""The benchmarks run, in small: what they measure is theirs, that they measure something is tested here."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.store.postgres.presence import BEATS_PER_LEASE

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from bench.__main__ import GOALS, MEASURES, ON_POSTGRES, _rows  # noqa: E402 - as above

from bench import STORE, postgres, recovery, startup, takeover, workloads  # noqa: E402 - the folder is no installed package


@pytest.mark.parametrize("name", ["chain", "fan_out_100", "fan_out_1000", "loop", "flushes"])
def test_a_workload_gives_a_figure(name: str, tmp_path: Path) -> None:
    """Each workload carries its executions to success and gives a positive number."""
    small = {
        "chain": {"executions": 3, "length": 3, "in_flight": 2},
        "fan_out_100": {"executions": 2, "width": 5},
        "fan_out_1000": {"width": 10},
        "loop": {"iterations": 5},
        "flushes": {"executions": 3, "length": 3, "in_flight": 3},
    }
    figure = asyncio.run(getattr(workloads, name)(tmp_path, **small[name]))
    assert figure > 0


def test_every_step_is_flushed_to_the_disk_before_the_next(tmp_path: Path) -> None:
    """One execution alone: each of its commits is a flush of its own, so a chain of five needs at least six."""
    flushes = asyncio.run(workloads.flushes(tmp_path, executions=1, length=5, in_flight=1))
    assert flushes * 5 >= 6


def test_latency_gives_every_round_sorted(tmp_path: Path) -> None:
    """p50 and p99 are read off a sorted list of all rounds."""
    taken = asyncio.run(workloads.latency(tmp_path, rounds=5))
    assert len(taken) == 5
    assert taken == sorted(taken)


def test_sleepers_leave_memory_and_are_counted(tmp_path: Path) -> None:
    """Executions that only wait are started at some rate and weigh something."""
    rate, weight = asyncio.run(workloads.sleepers(tmp_path, executions=40, in_flight=20))
    assert rate > 0
    assert weight >= 0


def test_recovery_loses_nothing_and_records_nothing_twice(tmp_path: Path) -> None:
    """The measured kill is a real one, and its audit finds what the figure claims."""
    found = recovery.measure(tmp_path, executions=30)
    assert (found.lost, found.twice) == (0, 0)
    assert found.first_effect > 0


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.BenchServer]:
    """The PostgreSQL of the benchmarks."""
    with postgres.server() as started:
        yield started


def test_a_workload_runs_on_the_server_of_the_benchmarks(server: postgres.BenchServer, tmp_path: Path) -> None:
    """On an empty database of it, with the settings that are told; afterwards workloads run on a file again."""
    settings = {name: server.sql(f"SHOW {name}")[0][0] for name in postgres.SETTINGS}
    assert settings == postgres.SETTINGS
    assert server.sql("SHOW server_version")[0][0].split()[0] == postgres.release()
    with postgres.empty_store(server.url()) as url:
        assert os.environ[STORE] == url
        assert asyncio.run(workloads.chain(tmp_path, executions=3, length=3, in_flight=2)) > 0
        (journal,) = server.sql("SELECT count(*) FROM perdure.journal", database=url.rpartition("/")[2])
    assert journal[0] > 0
    assert STORE not in os.environ
    assert not list(tmp_path.glob("*.db"))


def test_a_takeover_loses_nothing_and_records_nothing_twice(server: postgres.BenchServer, tmp_path: Path) -> None:
    """The worker that is killed had something to do, and the other one goes on with all of it."""
    found = takeover.measure(
        postgres.new_database(server.url()), tmp_path, executions=6, length=3, seconds=1, lease=takeover.LEASE_SECONDS_MIN
    )
    assert (found.lost, found.twice) == (0, 0)
    assert 0 < found.first <= found.half <= found.last
    assert 3 <= found.had <= 6


def test_goals_are_of_rows_that_there_are() -> None:
    """The heartbeat that a goal is told in is the one of a worker with all at its default, and the names are right."""
    assert f"in heartbeats of {takeover.LEASE_SECONDS / takeover.HEARTBEATS_A_LEASE:g} s" in " ".join(GOALS["postgresql"])
    assert set(ON_POSTGRES) - {"takeover"} < set(MEASURES)
    assert takeover.HEARTBEATS_A_LEASE == BEATS_PER_LEASE


def test_starting_is_measured_to_the_end_and_to_the_first_effect(tmp_path: Path) -> None:
    """Every command runs in a process of its own, and the run has left the line of its first effect and of all others."""
    rows = startup.measure(tmp_path)
    assert [metric for _, metric, _, _ in rows] == [
        "perdure --help", f"perdure check {startup.EXAMPLE}", "perdure run: first effect",
    ]  # fmt: skip
    assert all((workload, unit) == ("startup", "s") and seconds > 0 for workload, _, unit, seconds in rows)
    assert (tmp_path / "measured" / "ledger").read_bytes().count(b"\n") == 10


def test_results_have_the_published_shape() -> None:
    """`bench/results/latest.json` is a list of flat rows that other tools read."""
    (row,) = _rows({("sqlite", "chain", "throughput", "steps/s"): [1.0, 3.0, 2.0]})
    assert row["median"] == 2.0
    assert set(row) == {
        "workload", "engine", "store", "durability", "metric", "unit", "median", "min", "max", "payload_bytes", "node_kind",
    }  # fmt: skip
    assert next(iter(MEASURES)) == "chain"
