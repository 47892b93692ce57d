"""The runtime on PostgreSQL: messages, starts, locks, events, children, takeovers, retention again; a sample of the crashes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import test_children
import test_crash_matrix
import test_draining
import test_events
import test_left_to_workers
import test_locks
import test_messages
import test_overflow
import test_prune_passes
import test_retention
import test_starts
import test_takeover
import test_tasks
import test_two_processes
from scenarios import CONTAINERS, SCENARIOS, Scenario

from perdure.app import open_engine
from perdure.operations.definitions import read_file
from perdure.runtime.hot import Outcome
from perdure.settings import Settings
from perdure.store.postgres import open_store
from perdure.testing import world as worlds
from perdure.testing.stores.postgres import PostgresPlace
from perdure.testing.world import Process, World, act, pass_time, workflow_of

if TYPE_CHECKING:
    from postgres_server import PostgresServer

ROOMS = (
    test_messages, test_starts, test_locks, test_events, test_children, test_takeover, test_draining, test_left_to_workers,
    test_retention, test_prune_passes,
)  # fmt: skip
PLACES_MAX = 3
SHORT = 90_000  # microseconds: a lease that is renewed while a test looks on
TWO_PROCESSES = "in memory a second process is the death of the first one; here the first one lives and keeps what it has"
LEFT_OUT = {
    "test_a_home_that_lost_an_execution_writes_nothing_more_of_it": TWO_PROCESSES,
    "test_rule_53_the_old_home_does_not_answer_for_an_effect_that_is_unknown_to_the_new_one": TWO_PROCESSES,
    "test_a_damaged_journal_sets_one_execution_aside_and_no_other": "it damages a file of SQLite",
    "test_rule_40_a_child_is_started_once_wherever_its_parent_dies": "sixty worlds; the sample of crashes has its like",
    "test_no_death_leaves_half_of_an_execution": "fifty worlds; below are the deaths between each two calls",
}
"""Tests that say something of the embedded store only, and why."""


def cases_of(module: Any) -> list[Callable[..., None]]:
    """The tests of a module that take nothing but a world."""
    return [
        test for name, test in vars(module).items()
        if name.startswith("test_") and callable(test) and not test.__code__.co_argcount and name not in LEFT_OUT
    ]  # fmt: skip


@pytest.fixture
def new_place(postgres_server: PostgresServer) -> Iterator[Callable[[], PostgresPlace]]:
    """Makes places for stores, each with an empty database. Of many that a test asks for the last few live."""
    living: list[ExitStack] = []

    def new() -> PostgresPlace:
        if len(living) == PLACES_MAX:
            living.pop(0).close()
        stack = ExitStack()
        living.append(stack)
        name = stack.enter_context(postgres_server.clean_database())
        sql, spoil = partial(postgres_server.sql, database=name), partial(postgres_server.spoil, name)
        place = PostgresPlace(postgres_server.url(name), sql, spoil)
        place.busy_timeout_ms = 5_000  # nobody keeps a lock here; how fast the machine is must not matter
        stack.callback(place.abandon)
        return place

    yield new
    for stack in living:
        stack.close()


@pytest.mark.parametrize("test", [test for room in ROOMS for test in cases_of(room)], ids=lambda test: test.__name__)
def test_what_holds_in_memory_holds_on_postgresql(
    test: Callable[[], None], new_place: Callable[[], PostgresPlace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every world of the test lives in PostgreSQL instead of memory; what the test asserts is the same."""
    monkeypatch.setattr(worlds, "MemoryPlace", new_place)
    test()


WITH_TASKS = [
    test for room in (test_tasks, test_overflow) for name, test in vars(room).items()
    if name.startswith("test_") and test.__code__.co_varnames[: test.__code__.co_argcount] == ("world",)
]  # fmt: skip


@pytest.mark.parametrize("test", WITH_TASKS, ids=lambda test: test.__name__)
def test_tasks_on_postgresql(test: Callable[[World], None], new_place: Callable[[], PostgresPlace]) -> None:
    """Homes and workers with labels on one database: what the tests of the embedded store assert is the same."""
    test(World(place=new_place()))


@pytest.mark.parametrize("role", ["home", "worker"])
def test_a_death_beside_tasks_on_postgresql(role: str, new_place: Callable[[], PostgresPlace]) -> None:
    """A fixed sample of the deaths of a home and of a worker that carries out its tasks."""
    world = World(place=new_place())
    whole = test_tasks.Cast(world)
    expected = world.run(whole.play)
    for point in whole.points[role][1::7]:
        world = World(place=new_place())
        test_tasks.check_death(world, expected, role, point)


def test_rule_65_who_was_taken_for_dead_stops_and_reports_nothing(new_place: Callable[[], PostgresPlace]) -> None:
    """A worker was cut off until its lease had run out: another repeats its task, and it lets go of it when it sees that."""
    place = new_place()
    world = World(place=place)
    workflow = world.read(workflow_of({"a": act(node=test_tasks.GPU, seconds=30, gives=1)}))

    async def main(home: Process) -> Outcome:
        execution = await home.start(workflow)
        async with world.process(labels=test_tasks.LABELS, name="away") as away:
            await pass_time(5)
            place.outlast("away")
            async with world.process(labels=test_tasks.LABELS):
                await pass_time(10)
                assert [task.worker != "away" for task in await home.store.tasks([execution])] == [True]
                assert away.home.load().running == 0
                assert away.store.counts["report_tasks"] == 0
                return await home.result(execution)

    outcome = world.live(main, adopts=False)
    assert outcome.output == 1
    assert [(sent.attempt, sent.life) for sent in world.ledger.sent] == [(1, 2), (1, 3)]


@pytest.mark.parametrize("scenario", [*SCENARIOS[:5], *CONTAINERS[:4]], ids=lambda scenario: scenario.name)
def test_a_death_on_postgresql_changes_nothing_but_the_time(scenario: Scenario, new_place: Callable[[], PostgresPlace]) -> None:
    """A fixed sample of the crash matrix: the process dies, its connections are cut, and the next one takes over."""
    expected, points = test_crash_matrix.undisturbed(scenario)
    for point in points[::9]:
        found, _ = test_crash_matrix.disturbed(World(place=new_place(), **scenario.settings), scenario, point)
        assert found == expected, f"{scenario.name} dies at {point}"


def test_no_death_of_a_pass_on_postgresql_leaves_half_of_an_execution(
    new_place: Callable[[], PostgresPlace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass over a small store dies after each call; a death before the next one leaves the same."""
    monkeypatch.setattr(worlds, "MemoryPlace", new_place)
    test_prune_passes.survive_all_deaths("after")


def test_a_killed_process_is_followed_by_another_on_postgresql(new_place: Callable[[], PostgresPlace], tmp_path: Path) -> None:
    """Two real processes on one database: signals reach the one that has the execution; its death is known by its lease."""
    place = new_place()
    settings = Settings(store=place.url, lease=60_000_000)

    async def main() -> None:
        async with test_two_processes.child(tmp_path, place.url) as other, open_engine(settings, adopts=True) as engine:
            before = await engine.store.row(other.execution)
            for _ in range(5):
                await engine.home.poll()
            assert await engine.home.take([other.execution]) == []
            assert before is not None
            assert await engine.store.row(other.execution) == before

            other.process.send_signal(signal.SIGKILL)
            await other.process.wait()
            place.outlast(before.home)
            assert await engine.home.take([other.execution]) == [other.execution]
            await engine.executions.signal(other.execution, "ok", "hello")
            outcome = await engine.result(other.execution)
            assert (outcome.status, outcome.output) == ("succeeded", ["hello", 1])

    test_two_processes.run(main)


def test_what_others_have_taken_is_left_with_them(new_place: Callable[[], PostgresPlace], tmp_path: Path) -> None:
    """A worker was away for so long that another one has its execution: it drops it, lives on under a new name, and hears of
    the end like anybody.
    """
    place = new_place()
    file = tmp_path / "ask.yaml"
    file.write_text("{perdure: 1, name: ask, nodes: {ok: {type: wait_for_signal, signal: ok}}}")
    settings = Settings(store=place.url)

    async def main() -> None:
        away = await open_store(place.url, lease=SHORT)
        async with open_engine(settings, store=away) as first, open_engine(settings) as second:
            begun = await first.executions.start(read_file(file))
            before = first.home.worker
            while not await second.home.take([begun.execution]):
                place.outlast(before)  # as if it had stood still
            while first.home.has(begun.execution):  # noqa: ASYNC110 - its heartbeat is another thread
                await asyncio.sleep(0)
            assert first.home.worker == f"{before}~2"
            await second.executions.signal(begun.execution, "ok", "went on")
            assert (await first.result(begun.execution)).output == "went on"

    test_two_processes.run(main)
