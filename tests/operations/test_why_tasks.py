"""Why a node that asks for labels does not go on: nobody has them, nobody has room, or it runs elsewhere."""

from __future__ import annotations

from pathlib import Path

from perdure.operations.explaining import explain
from perdure.runtime.pulse import Pulse
from perdure.testing.stores.sqlite import FilePlace
from perdure.testing.world import Process, World, act, pass_time, workflow_of

NODES = {
    "a": act(node={"runs_on": {"gpu": True, "region": "eu"}}, seconds=1_000),
    "b": act(node={"runs_on": {"gpu": True, "region": "eu"}}, seconds=1_000),
    "c": act(seconds=1_000),
}


def test_rule_65_it_is_told_who_carries_out_what_or_who_is_lacking(tmp_path: Path) -> None:
    """First nobody has the labels, then somebody has them and one slot; what runs at home is told as ever."""
    world = World(place=FilePlace(tmp_path))
    workflow = world.read(workflow_of(NODES))

    async def main(home: Process) -> None:
        execution = await home.start(workflow)

        async def told(path: str = "") -> list[tuple[str, str]]:
            found = await explain(home.executions, home.store, execution, path, moment=lambda at: f"{at % 10**9 // 10**6}s")
            return [(reason.sentence, reason.remedy) for reason in found.reasons]

        command = "perdure worker --label gpu=true --label region=eu"
        waits = "waits since 0s for a worker with gpu=true,region=eu: none is there"
        assert await told() == [(f"`a` {waits}", command), (f"`b` {waits}", command), ("`c` runs attempt 1", "")]
        assert (waits, command) in await told("a")
        async with world.process(labels="gpu=true,region=eu", slots=1, name="large") as worker:
            await Pulse(worker.store, worker.home, world.clock, version="1").report()
            await pass_time(5)
            assert await told() == [
                ("`a` runs attempt 1 on large since 1s", ""),
                ("`b` waits since 0s for a free slot of a worker with gpu=true,region=eu: one is there", ""),
                ("`c` runs attempt 1", ""),
            ]

    world.live(main, adopts=False)
