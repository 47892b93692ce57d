"""A rolling deploy: workers of two releases side by side, and a deploy that may be rolled back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perdure.engine import codec, events, levels
from perdure.ids import ExecutionId
from perdure.runtime import deploys
from perdure.runtime.deploys import level_to_write
from perdure.store.contract import Worker
from perdure.testing.stores.sqlite import FilePlace
from perdure.testing.world import Process, World, act, pass_time, workflow_of

OLD, NEW = levels.OLDEST, levels.OLDEST + 1
EMITS = workflow_of({"a": act(seconds=5, gives=1), "tell": {"type": "emit", "after": "a", "event": "told"}})
PLAIN = workflow_of({"a": act(seconds=5, gives=1), "b": act("a", seconds=5, gives=2)})


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world of files, since who lives is seen by all; in the newer release an event is written under a new tag."""
    monkeypatch.setitem(levels.INTRODUCED, events.Emitted, NEW)
    tmp_path.chmod(0o755)
    return World(place=FilePlace(tmp_path))


def is_written(world: World, execution: ExecutionId) -> int:
    """The level of an execution's row."""
    (row,) = [row for row in world.rows() if row.execution == execution]
    return row.level


def test_the_new_release_writes_nothing_new_while_a_worker_of_the_old_one_lives(world: World) -> None:
    """The execution that would is held back, with the result of its effect; it goes on when the last old worker has gone."""

    async def main() -> tuple[ExecutionId, int]:
        async with world.process(level=NEW, name="new") as new:
            async with world.process(level=OLD, name="old", adopts=False):
                execution = await new.start(world.read(EMITS))
                await pass_time(60)
                before = await new.store.row(execution)
                assert before is not None
                assert (before.level, before.home) == (OLD, "new")
                assert len(world.ledger.finished) == 1
            outcome = await new.result(execution)
            assert outcome.status == "succeeded"
            return execution, len(world.ledger.sent)

    execution, sent = world.run(main)
    assert sent == 1
    assert is_written(world, execution) == NEW


def test_what_needs_nothing_new_is_written_so_that_the_old_release_goes_on_with_it(world: World) -> None:
    """The new worker dies; the old one takes its execution over and finishes it: the deploy is rolled back."""

    async def begins(process: Process) -> ExecutionId:
        execution = await process.start(world.read(PLAIN))
        await pass_time(7)
        return execution

    execution = world.live(begins, level=NEW)
    assert is_written(world, execution) == OLD
    outcome = world.live(lambda process: process.result(execution), level=OLD)
    assert outcome.output == 2


def test_an_old_worker_never_claims_what_it_cannot_read(world: World) -> None:
    """What has been written under the new tag waits for a worker that reads it, however long."""
    waits = workflow_of(
        {"tell": {"type": "emit", "event": "told"}, "ok": {"type": "wait_for_signal", "after": "tell", "signal": "ok"}}
    )

    async def begins(process: Process) -> ExecutionId:
        execution = await process.start(world.read(waits))
        await pass_time(30)
        await process.executions.signal(execution, "ok")
        process.store.dead = True
        return execution

    async def dying() -> ExecutionId:
        living = world.process(level=NEW)
        return await begins(await living.__aenter__())

    execution = world.run(dying)
    assert is_written(world, execution) == NEW

    async def old(process: Process) -> Any:
        await pass_time(300)
        assert await process.home.take([execution]) == []
        return process.home.has(execution)

    assert world.live(old, level=OLD) is False
    assert world.live(lambda process: process.result(execution), level=NEW).status == "succeeded"


def test_the_level_to_write_is_what_all_who_live_read() -> None:
    """The dead count no more; where nobody else is, it is what one reads oneself."""

    def worker(level: int, *, alive: bool = True) -> Worker:
        return Worker(worker=f"w{level}", host="h", pid=1, started=0, level=level, alive=alive)

    assert level_to_write([worker(4), worker(3), worker(1, alive=False)], 4) == 3
    assert level_to_write([], 4) == 4


def test_a_release_reads_all_that_it_may_write() -> None:
    """No fact is named with a level above the release's own, and none below what every release reads."""
    assert codec.LEVEL >= levels.OLDEST
    assert all(levels.OLDEST < level <= codec.LEVEL for level in levels.INTRODUCED.values())
    assert levels.level_of([]) == levels.OLDEST
    assert deploys.LOOK_SECONDS > 0
