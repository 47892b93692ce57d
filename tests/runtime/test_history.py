"""Long and heavy histories: cuts, snapshots, large values; and what follows a workflow's timeout."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from perdure.engine import events
from perdure.engine.codec import FOLD, encode_snapshot
from perdure.engine.execution import Execution
from perdure.ids import ExecutionId
from perdure.runtime.hot import Outcome
from perdure.store.contract import STATUSES, Batch, Committed
from perdure.testing.faults import Crash, FaultyStore
from perdure.testing.world import Process, World, act, pass_time, workflow_of

# -- cuts ---------------------------------------------------------------------------------------------------------------------

WIDE = workflow_of(
    {"begin": act(gives=1)}
    | {f"t{n}": {"type": "transform", "after": "begin", "to": n} for n in range(1_500)}
    | {"end": act("t1499", seconds=1, gives="end")},
    output="${ nodes.end }",
)


def test_rule_3_a_step_of_many_facts_is_cut_and_survives_a_crash_at_each_commit() -> None:
    """1,500 nodes become ready at once: a row holds about a thousand facts, and a death between the rows loses nothing."""
    workflow = World().read(WIDE)
    commits = 0
    for call in range(9):
        for moment in ("before", "after") if call else ("never",):
            world = World()
            points: list[str] = []
            try:
                run(world, workflow, points, die=(call, moment), only=("commit",))
            except Crash:
                run(world, workflow, [])
            commits = commits or len(points)
            (row,) = world.rows()
            shown = world.show(row.execution)
            counts = [len(each.facts) for each in shown.timeline]
            assert max(counts) <= 1_001
            assert sum(counts) == row.seq
            assert Counter(type(fact) for each in shown.timeline for fact in each.facts)[events.Done] == 1_502
            assert any(each.cut for each in shown.timeline)
        if call > commits:
            return
    raise AssertionError("Expected to have died at each commit, but there are more.")


def run(world: World, workflow: Any, points: list[str], **given: Any) -> Outcome:
    async def main(process: Process) -> Outcome:
        outcome = await process.run(workflow, key="k")
        points[:] = process.store.calls
        return outcome

    return world.live(main, **given)


# -- snapshots ----------------------------------------------------------------------------------------------------------------

CHAIN = workflow_of(
    {f"s{n}": act(f"s{n - 1}" if n else None, gives=n) for n in range(10)} | {"slow": act("s9", seconds=60, gives="end")},
    output="${ [nodes.slow, nodes.s9] }",
)


OTHERS = encode_snapshot(Execution(id=bytes(16), seq=9, status="cancelled"))
"""A state that can be read, but means something else: what another fold may have written."""


def interrupted() -> tuple[World, Any, ExecutionId]:
    """A world in which an execution with a snapshot and a long history was cut off in its last node."""
    world = World(snapshot_facts=8)
    workflow = world.read(CHAIN)

    async def main(process: Process) -> ExecutionId:
        execution = await process.start(workflow, key="k")
        await pass_time(5)
        return execution

    return world, workflow, world.live(main)


def sql(world: World, text: str, *given: Any) -> list[Any]:
    return world.place.connection.execute(text, given).fetchall()  # type: ignore[attr-defined,no-any-return]


def test_a_snapshot_spares_the_history_before_it() -> None:
    """What lies before the snapshot is not read: even were it damaged, the execution goes on."""
    world, _, execution = interrupted()
    ((seq,),) = sql(world, "SELECT seq FROM snapshots WHERE execution = ?", execution)
    assert seq >= 8
    sql(world, "UPDATE journal SET body = x'c1' WHERE execution = ? AND first_seq <= ?", execution, seq)
    assert world.live(take(execution)) == "succeeded"


def test_snapshots_of_a_wide_state_have_no_more_bytes_than_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many branches are under way: after a heavy snapshot the next one waits for as much more."""
    monkeypatch.setattr("perdure.runtime.hot.SNAPSHOT_BYTES", 1_000)
    written: dict[int, tuple[int, int, int]] = {}
    for width in (20, 80):
        snapshots: list[int] = []
        bodies: list[int] = []

        class Watched(FaultyStore):
            async def commit(self, batch: Batch, snapshots: list[int] = snapshots, bodies: list[int] = bodies) -> Committed:
                snapshots += [len(snapshot.body) for snapshot in batch.snapshots]
                bodies += [len(turn.body) for turn in batch.turns]
                return await super().commit(batch)

        world = World(snapshot_facts=10)
        workflow = world.read(workflow_of({f"n{n}": act(seconds=1 + n) for n in range(width)}))
        world.live(lambda process, workflow=workflow: process.run(workflow), wraps=Watched)
        written[width] = sum(snapshots), sum(bodies), len(snapshots)
    assert written[20][2] > 1
    assert all(snapshot_bytes < 2 * journal_bytes for snapshot_bytes, journal_bytes, _ in written.values())


def take(execution: ExecutionId) -> Any:
    """A process that takes the execution and gives its final status."""

    async def main(process: Process) -> str:
        heard = process.home.outcome(execution)
        await process.home.take([execution])
        return (await heard).status

    return main


@pytest.mark.parametrize(
    "change, given",
    [
        ("UPDATE snapshots SET body = x'c1'", ()),
        ("UPDATE snapshots SET body = x'80'", ()),
        ("UPDATE snapshots SET body = ?, fold = ?", (OTHERS, FOLD + 1)),
        ("UPDATE snapshots SET body = ?, fold = ?", (OTHERS, FOLD - 1)),
        ("DELETE FROM snapshots", ()),
    ],
    ids=["damaged", "empty", "newer", "older", "gone"],
)
def test_a_snapshot_is_only_a_cache(change: str, given: tuple[Any, ...]) -> None:
    """Damaged, of another fold, or gone: the journal is folded, and nothing is lost."""
    world, workflow, _ = interrupted()
    sql(world, change, *given)
    outcome = world.live(lambda process: process.run(workflow, key="k"))
    assert outcome.output == ["end", 9]
    assert Counter(world.ledger.paths())["s0"] == 1


# -- large values -------------------------------------------------------------------------------------------------------------


def test_large_values_are_fetched_again_after_a_restart() -> None:
    """A value that only the store has is needed by a pure node: the step waits for it, once, and goes on (day-one 29)."""
    world = World()
    workflow = world.read(
        workflow_of(
            {
                "heavy": act(bytes=300_000),
                "middle": act(bytes=3_000),
                "wait": {"type": "delay", "after": ["heavy", "middle"], "for": "1h"},
                "weigh": {"type": "transform", "after": "wait", "to": "${ len(nodes.heavy) + len(nodes.middle) }"},
            },
            output="${ nodes.weigh }",
        )
    )

    async def begins(process: Process) -> ExecutionId:
        execution = await process.start(workflow, key="k")
        await pass_time(5)
        return execution

    execution = world.live(begins)

    async def goes_on(process: Process) -> tuple[Any, int]:
        outcome = await process.result(execution)
        return outcome.output, process.store.counts["blobs"]

    assert world.live(goes_on) == (303_000, 2)


def test_a_large_value_that_is_gone_sets_its_execution_aside() -> None:
    """The store has lost a value: its execution says so, and is not gone on with half blind."""
    world = World()
    workflow = world.read(
        workflow_of(
            {"a": act(bytes=3_000), "b": act("a", seconds=60), "c": {"type": "transform", "after": "b", "to": "${ nodes.a }"}}
        )
    )

    async def begins(process: Process) -> ExecutionId:
        execution = await process.start(workflow, key="k")
        await pass_time(5)
        return execution

    execution = world.live(begins)
    sql(world, "DELETE FROM blobs")

    async def goes_on(process: Process) -> str:
        heard = process.home.outcome(execution)
        with pytest.raises(Exception, match="large value") as lost:
            await heard
        return str(lost.value.code)  # type: ignore[attr-defined]

    assert world.live(goes_on) == "store.damaged"


# -- after a workflow timeout -------------------------------------------------------------------------------------------------


def statuses(world: World) -> list[tuple[str, str]]:
    return sorted((row.workflow, STATUSES[row.status]) for row in world.rows())


def until_quiet(document: dict[str, Any], *more: dict[str, Any]) -> Any:
    """A process that starts the first workflow, knows the others, and ends when no execution goes on."""

    async def main(process: Process) -> int:
        world = process.world
        for number, other in enumerate(more):
            await process.run(world.read(other), {"warm": number}, key="warm")
        await process.run(world.read(document), "payload", key="k")
        while any(row.status < STATUSES.index("succeeded") for row in await process.store.rows(limit=100)):
            await pass_time(1)
        return len(process.store.calls)

    return main


RETRIED = workflow_of({"a": act(seconds=100)}, settings={"timeout": "5s", "on_timeout": "retry", "retry": {"attempts": 3}})
ROUTED = workflow_of({"a": act(seconds=100)}, settings={"timeout": "5s", "on_timeout": {"route": "rescue"}})
RESCUE = {"perdure": 1, "name": "rescue", "nodes": {"help": act(gives="${ input }")}}


@pytest.mark.parametrize(
    "documents, expected",
    [
        ((RETRIED,), [("w", "timed_out")] * 3),
        ((ROUTED, RESCUE), [("rescue", "succeeded")] * 2 + [("w", "timed_out")]),
    ],
    ids=["retry", "route"],
)
def test_rule_44_what_follows_a_workflow_timeout_is_started_once_wherever_the_process_dies(
    documents: tuple[dict[str, Any], ...], expected: list[tuple[str, str]]
) -> None:
    """`retry` gives three executions in all, `route` one of the rescue workflow, whatever call the process dies at."""
    calls = World().live(until_quiet(*documents))
    for call in range(calls + 1):
        world = World()
        try:
            world.live(until_quiet(*documents), die=(call, "after"))
        except Crash:
            world.live(until_quiet(*documents))
        assert statuses(world) == expected, f"died at call {call}"
