"""A pass works in small steps beside others, dies anywhere without leaving half of anything, and comes again on its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from over_age import DAY_SECONDS, LARGE, ONE_DAY, QUICK, WAITS, begin, blobs, bodies, left, prune, run, sound

from perdure.app import open_engine
from perdure.errors import Refused, StoreFull
from perdure.ids import ExecutionId
from perdure.operations.events import emit
from perdure.runtime.retention import FIRST_LOOK_SECONDS, Pruning, Retention
from perdure.settings import Settings
from perdure.store.contract import Store
from perdure.testing.faults import Crash, FaultyStore, Moment
from perdure.testing.stores.samples import a_definition
from perdure.testing.world import Process, World, pass_time

# -- beside others, and through deaths ----------------------------------------------------------------------------------------


def test_a_dry_run_counts_what_would_go_and_changes_nothing() -> None:
    """What it says is what the pass after it does."""
    world = World()
    run(world, LARGE)
    run(world, QUICK)
    world.clock.jump(2 * DAY_SECONDS)
    before = bodies(world)
    said = prune(world, dry_run=True)
    assert bodies(world) == before
    done = prune(world)
    assert (said.executions, said.facts, said.blobs, said.blob_bytes, said.workflows) == (
        done.executions, done.facts, done.blobs, done.blob_bytes, done.workflows,
    )  # fmt: skip
    assert (said.executions, said.blobs) == (2, 1)


def ready_to_prune() -> tuple[World, ExecutionId, list[ExecutionId]]:
    """A world with an execution that goes on, and two with all that one can have and over age."""
    world = World()
    going = begin(world, WAITS)
    ended = [run(world, LARGE, key=f"k{number}") for number in range(2)]
    world.clock.jump(2 * DAY_SECONDS)
    return world, going, ended


def dies_at(world: World, call: int, moment: Moment) -> bool:
    """Prune in a process that dies at this call; False when it came through."""

    async def attempt(store: Store) -> bool:
        faulty = FaultyStore(store, die=(call, moment))
        try:
            await Pruning(faulty, world.clock, ONE_DAY, holder="p", unnamed=0).run()
        except Crash:
            return True
        return False

    return world.look(attempt)


def what_is_there(world: World, executions: list[ExecutionId]) -> list[list[bool]]:
    """Of each execution whether there is a row, a journal, and what its key names: all of it, or nothing."""

    async def look(store: Store) -> list[list[bool]]:
        return [
            [
                await store.row(execution) is not None,
                await store.journal(execution) != [],
                (keyed := await store.keyed("default", "w", f"k{number}")) is not None and keyed.execution == execution,
            ]
            for number, execution in enumerate(executions)
        ]

    return world.look(look)


def survive_all_deaths(*moments: Moment) -> None:
    """Die at each call of a pass, at these moments: an execution is whole or gone, and the next pass finishes what is left."""
    world, _, _ = ready_to_prune()

    async def whole(store: Store) -> list[str]:
        faulty = FaultyStore(store)
        await Pruning(faulty, world.clock, ONE_DAY, holder="p", unnamed=0).run()
        return faulty.calls

    calls = world.look(whole)
    assert {"lease", "finished", "remove", "reclaim", "old_blobs", "bodies", "drop_blobs"} <= set(calls)
    for number in range(1, len(calls) + 1):
        for moment in moments:
            world, going, ended = ready_to_prune()
            assert dies_at(world, number, moment)
            assert all(len(set(found)) == 1 for found in what_is_there(world, ended)), (number, calls[number - 1], moment)
            assert sound(world) == []
            world.clock.jump(61)  # what the dead one had alone is free
            prune(world)
            assert left(world) == [going]
            assert blobs(world) == 0
            assert {execution for execution, _ in bodies(world)} == {going}


def test_no_death_leaves_half_of_an_execution() -> None:
    """Before and after each call of the store."""
    survive_all_deaths("before", "after")


def test_only_one_prunes_at_a_time() -> None:
    """Who comes second is told so; a pass that has died keeps others off for a minute."""
    world = World()

    async def main(store: Store) -> None:
        now = world.clock.now()
        assert await store.lease("prune", "other", now=now, until=now + 60_000_000)
        pruning = Pruning(store, world.clock, ONE_DAY, holder="p")
        with pytest.raises(Refused, match="Another process") as refused:
            await pruning.run()
        assert refused.value.code == "prune.elsewhere"
        world.clock.jump(60)
        await pruning.run()
        assert await store.lease("prune", "other", now=world.clock.now(), until=world.clock.now() + 1)

    world.look(main)


def test_a_pass_that_has_lost_its_place_stops() -> None:
    """A process that was stopped for so long that another one prunes goes no further."""
    world = World()
    run(world, QUICK)
    world.clock.jump(2 * DAY_SECONDS)

    async def main(store: Store) -> None:
        class Slow(FaultyStore):
            async def space(self) -> Any:
                world.clock.jump(100)
                now = world.clock.now()
                await store.lease("prune", "other", now=now, until=now + 60_000_000)
                return await super().space()

        with pytest.raises(Refused):
            await Pruning(Slow(store), world.clock, ONE_DAY, holder="p").run()
        assert len(await store.rows()) == 1
        assert not await store.lease("prune", "third", now=world.clock.now(), until=world.clock.now() + 1)

    world.look(main)


def test_a_long_pass_is_made_of_short_transactions() -> None:
    """However much goes at once, no call of the store is about more than so many executions, or rows."""
    world = World()

    async def many(process: Process) -> None:
        for _ in range(250):
            await process.run(world.read(QUICK))

    world.live(many)
    world.clock.jump(2 * DAY_SECONDS)

    async def main(store: Store) -> list[int]:
        sizes: list[int] = []

        class Watched(FaultyStore):
            async def remove(self, executions: Any) -> Any:
                sizes.append(len(executions))
                return await super().remove(executions)

        pruned = await Pruning(Watched(store), world.clock, ONE_DAY, holder="p").run()
        assert pruned.executions == 250
        return sizes

    assert world.look(main) == [100, 100, 50]


# -- on its own ---------------------------------------------------------------------------------------------------------------


async def open_store(world: World) -> tuple[Store, Store]:
    """The world's store, and the same as whoever lives on the world's time sees it: calls take none of that."""
    with world.clock.standing():
        opened = await world.place.open()
    return opened, FaultyStore(opened, around=world.clock.standing)


def keeping(world: World, main: Callable[[Store], Awaitable[None]], *workers: str, **settings: Any) -> None:
    """Let processes look after the retention of the world's store, each with its own task, while something happens."""

    async def life() -> None:
        opened, store = await open_store(world)
        chosen = Settings(**settings)
        tasks = [asyncio.create_task(Retention(store, world.clock, chosen, worker=worker).keep()) for worker in workers]
        await main(store)
        for task in tasks:
            task.cancel()
        world.place.die(opened)

    world.run(life)


def test_rule_60_a_process_prunes_on_its_own() -> None:
    """Soon after its beginning, then every so often, as settings say."""
    world = World()
    run(world, QUICK)
    world.clock.jump(DAY_SECONDS - 30 * 60)

    async def main(store: Store) -> None:
        await pass_time(FIRST_LOOK_SECONDS + 1)
        assert len(await store.rows()) == 1  # not over age yet
        await pass_time(3_600)
        assert await store.rows() == []

    keeping(world, main, "a", retention="1d", prune_every="1h")


def test_of_several_processes_one_prunes_each_time() -> None:
    """In an hour it is done once, whoever comes first; when that one is gone another one does it."""
    world = World()
    run(world, QUICK)
    world.clock.jump(2 * DAY_SECONDS)
    counts: list[int] = []

    async def main(store: Store) -> None:
        before = store.usage().transactions
        await pass_time(FIRST_LOOK_SECONDS + 1)
        counts.append(store.usage().transactions - before)
        assert await store.rows() == []

    keeping(world, main, "a", "b", "c", retention="1d", prune_every="1h")
    keeping(world, main, "d", retention="1d", prune_every="1h")
    assert counts[1] < counts[0]  # it only asked whether it was time


def test_what_goes_wrong_is_tried_again_the_next_time(caplog: pytest.LogCaptureFixture) -> None:
    """A full disk ends the pass and not the process, and is said in the log."""
    world = World()
    run(world, QUICK)
    world.clock.jump(2 * DAY_SECONDS)

    async def main() -> None:
        opened, store = await open_store(world)
        faulty = FaultyStore(store, refuse={4: StoreFull("there is no room")})
        settings = Settings(retention="1d", prune_every="1h")
        task = asyncio.create_task(Retention(faulty, world.clock, settings, worker="a").keep())
        await pass_time(FIRST_LOOK_SECONDS + 1)
        assert len(await store.rows()) == 1
        assert "there is no room" in caplog.text
        await pass_time(3_600)
        assert await store.rows() == []
        task.cancel()
        world.place.die(opened)

    with caplog.at_level(logging.WARNING, "perdure.retention"):
        world.run(main)


def test_large_values_of_a_pass_that_died_go_with_the_first_of_the_next_process() -> None:
    """Each process looks for unnamed values once in any case, then only after it has removed executions."""
    world = World()
    run(world, LARGE)
    world.clock.jump(2 * DAY_SECONDS)

    async def main(store: Store) -> None:
        faulty = FaultyStore(store)
        retention = Retention(faulty, world.clock, Settings(retention="1d"), worker="a")
        await store.remove([row.execution for row in await store.rows()])
        await retention._prune()
        assert "old_blobs" in faulty.calls
        faulty.calls.clear()
        await retention._prune()
        assert "old_blobs" not in faulty.calls

    world.look(main)


def test_what_pruned_events_named_goes_with_the_next_pass() -> None:
    """Also where that one has no execution to remove."""
    world = World()
    world.look(lambda store: emit(store, world.clock, "order.paid", "e" * 5_000))
    world.clock.jump(2 * DAY_SECONDS)

    async def main(store: Store) -> None:
        faulty = FaultyStore(store)
        retention = Retention(faulty, world.clock, Settings(event_retention="1d"), worker="a")
        for looks in (1, 2, 2):
            await retention._prune()
            assert faulty.counts["old_blobs"] == looks

    world.look(main)


def test_definitions_are_read_once() -> None:
    """They never change; what was saved since is read the next time."""
    world = World()
    run(world, QUICK)

    async def main(store: Store) -> None:
        faulty = FaultyStore(store)
        retention = Retention(faulty, world.clock, Settings(), worker="a")
        await retention._prune()
        first = faulty.counts["definitions_since"]
        saved = a_definition("more", b'{"settings": {"retention": "1s"}}')
        await store.save_definition(saved)
        await retention._prune()
        assert (first, faulty.counts["definitions_since"]) == (2, 4)
        assert faulty.counts["finished"] == 1  # only now something has a retention

    world.look(main)


def test_an_engine_looks_after_its_store() -> None:
    """Every engine that stays open long enough does: nobody has to set up anything but a retention."""
    world = World()
    run(world, QUICK)
    world.clock.jump(2 * DAY_SECONDS)

    async def main() -> None:
        opened, store = await open_store(world)
        settings = Settings(retention="1d", inbox_poll="1s", processes=1)
        async with open_engine(settings, clock=world.clock, store=store, node_files=()):
            await pass_time(FIRST_LOOK_SECONDS + 1)
            assert await store.rows() == []
        world.place.die(opened)

    world.run(main)
