"""Verification: a sound store has no findings, and each kind of damage is found and named; others may write meanwhile."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perdure.engine import events
from perdure.engine.codec import LEVEL, decode_row, decode_snapshot, encode_snapshot
from perdure.engine.events import RowBody
from perdure.errors import StoreDamaged
from perdure.ids import ExecutionId
from perdure.operations.executions import Executions
from perdure.operations.journal import moment_object
from perdure.operations.verification import Verification
from perdure.runtime.plans import Plans
from perdure.store.contract import STATUS_NUMBER, Store
from perdure.testing.stores.sqlite import FilePlace, MemoryPlace
from perdure.testing.world import Process, World, act, pass_time, workflow_of

ALL = workflow_of(
    {
        "first": act(seconds=1, gives=1, fails=["test.early"], node={"retry": {"attempts": 2}}),
        "large": act(bytes=5_000),
        "wait": {"type": "delay", "for": "1s", "after": "first"},
        "join": {"type": "transform", "to": "${ nodes.large + str(nodes.first) }", "after": ["wait", "large"]},
        "lost": {**act(fails=["test.no"] * 3, after="join", node={"retry": {"attempts": 2}}), "catch": [{"to": "missing"}]},
        "rest": {"type": "transform", "to": "${ len(nodes.join) }", "after": ["lost.missing", "join"]},
    },
    output="${ nodes.rest }",
)
WAITS = workflow_of(
    {"large": act(bytes=5_000), "ask": {"type": "wait_for_signal", "signal": "go", "after": "large"}, "end": act(after="ask")}
)
LARGE_VALUES = {"all": 2, "waits": 1, "parks": 0}
PARKS = workflow_of({"a": act(fails=["test.no"] * 9, node={"retry": {"attempts": 1}, "park": True})})


def of_store(world: World, *, deep: bool = True) -> tuple[list[str], Verification]:
    """What verification finds in the world's store, and its counters."""
    found: list[str] = []
    made: list[Verification] = []

    async def look(store: Store) -> None:
        plans = Plans(store, works=lambda origin, files: world.works())
        made.append(Verification(store, deep=deep, plans=plans))
        found.extend([finding.sentence async for finding in made[0].findings()])

    world.look(look)
    return found, made[0]


def findings(world: World, *, deep: bool = False) -> list[str]:
    return of_store(world, deep=deep)[0]


def ran(document: dict[str, Any] = ALL, **settings: Any) -> tuple[World, ExecutionId]:
    """A world in which this workflow has run to its end, or as far as it comes by itself."""
    world = World(**settings)

    async def main(process: Process) -> ExecutionId:
        execution = await process.start(world.read(document))
        await pass_time(60)
        return execution

    return world, world.live(main)


def do(world: World, sql: str, *values: Any) -> int:
    """Change the store behind everybody's back; how many rows were changed."""
    assert isinstance(world.place, MemoryPlace)
    connection = world.place.connection
    connection.execute(sql, values)
    return connection.changes()


def edit(world: World, first_seq: int, change: Callable[[RowBody], RowBody]) -> None:
    """Write a journal row otherwise."""
    assert isinstance(world.place, MemoryPlace)
    (body,) = world.place.connection.execute("SELECT body FROM journal WHERE first_seq = ?", (first_seq,)).fetchall()[0]
    changed = msgspec.msgpack.encode(change(decode_row(body)))
    assert changed != body
    assert do(world, "UPDATE journal SET body = ? WHERE first_seq = ?", changed, first_seq) == 1


def rows(world: World) -> list[tuple[int, int]]:
    """(first_seq, count) of every journal row, in order."""
    assert isinstance(world.place, MemoryPlace)
    return world.place.connection.execute("SELECT first_seq, count FROM journal ORDER BY first_seq").fetchall()


# -- what is sound -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [{}, {"snapshot_facts": 1}, {"step_facts_max": 1}, {"step_facts_max": 2, "snapshot_facts": 3}]
)
@pytest.mark.parametrize("name", ["all", "waits", "parks"])
def test_a_sound_store_has_no_findings(name: str, settings: dict[str, Any]) -> None:
    """Ended, waiting or parked, with snapshots and steps that were cut: nothing is found, and everything is counted."""
    world, _ = ran({"all": ALL, "waits": WAITS, "parks": PARKS}[name], **settings)
    found, verification = of_store(world)
    assert found == []
    (row,) = world.rows()
    assert (verification.executions, verification.facts, verification.found) == (1, row.seq, 0)
    assert verification.blobs == LARGE_VALUES[name]


def test_an_execution_that_was_taken_over_is_sound() -> None:
    """What one process began, lost and another one ended steps again to the same facts, large values included."""
    world, execution = ran(WAITS)

    async def answer(process: Process) -> None:
        await process.home.take([execution])
        await process.executions.signal(execution, "go")
        await process.result(execution)

    world.live(answer)
    assert findings(world, deep=True) == []


def test_an_empty_store_is_sound() -> None:
    """Nothing to judge is no finding."""
    found, verification = of_store(World())
    assert (found, verification.executions) == ([], 0)


def test_an_execution_that_is_written_to_meanwhile_is_sound() -> None:
    """What was committed between two looks of the verification is not taken for damage."""
    world = World()

    class Moving:
        """The store, with steps committed before every single answer."""

        def __init__(self, store: Store, go_on: Callable[[], Any]) -> None:
            self._store = store
            self._go_on = go_on

        def __getattr__(self, name: str) -> Any:
            method = getattr(self._store, name)

            async def moved(*arguments: Any, **named: Any) -> Any:
                await self._go_on()
                return await method(*arguments, **named)

            return moved

    async def main(process: Process) -> list[str]:
        chain = {f"n{number}": act(seconds=1, after=f"n{number - 1}" if number else None) for number in range(30)}
        execution = await process.start(world.read(workflow_of(chain)))

        async def go_on() -> None:
            await pass_time(1)

        plans = Plans(process.store, works=lambda origin, files: world.works())
        verification = Verification(Moving(process.store, go_on), deep=True, plans=plans)  # type: ignore[arg-type]
        found = [finding.sentence async for finding in verification.findings()]
        row = await process.store.row(execution)
        assert row is not None
        assert 0 < verification.facts < row.seq
        return found

    assert world.live(main, snapshot_facts=2) == []


# -- the journal ---------------------------------------------------------------------------------------------------------


def test_a_journal_row_of_other_bytes_is_found() -> None:
    """A row that is no row any more is named by its first fact."""
    world, _ = ran()
    do(world, "UPDATE journal SET body = x'c1' WHERE first_seq = 1")
    (sentence,) = findings(world)
    assert sentence.startswith("the journal row at fact 1 cannot be read: ")


def test_a_missing_journal_row_is_found() -> None:
    """A gap is named by the facts that are gone."""
    world, _ = ran()
    (first, count), (following, _) = rows(world)[1:3]
    do(world, "DELETE FROM journal WHERE first_seq = ?", first)
    assert following == first + count
    assert findings(world) == [f"facts {first} to {following - 1} are missing from the journal"]


def test_a_missing_first_row_is_found() -> None:
    """Also the beginning can be missing."""
    world, _ = ran()
    (_, count) = rows(world)[0]
    do(world, "DELETE FROM journal WHERE first_seq = 1")
    assert findings(world) == [f"facts 1 to {count} are missing from the journal"]


def test_a_missing_end_is_found() -> None:
    """The row of the execution knows how far its journal went, and that it had ended."""
    world, _ = ran()
    first, count = rows(world)[-1]
    do(world, "DELETE FROM journal WHERE first_seq = ?", first)
    found = findings(world)
    assert f"its row stands at fact {first + count - 1}, its journal at {first - 1}" in found
    assert "its row says succeeded, its journal running" in found


def test_a_journal_that_goes_on_is_found() -> None:
    """A row that was set back is behind its journal."""
    world, _ = ran()
    first, _ = rows(world)[-1]
    do(world, "UPDATE executions SET seq = ?", first - 1)
    assert f"its row stands at fact {first - 1}, and its journal goes on after that" in findings(world)


def test_a_wrong_count_is_found() -> None:
    """A row that says how many facts it holds must hold as many."""
    world, _ = ran()
    first, count = rows(world)[0]
    do(world, "UPDATE journal SET count = count + 1 WHERE first_seq = 1")
    assert findings(world) == [f"the journal row at fact {first} says {count + 1} facts and holds {count}"]


def test_facts_that_do_not_fold_are_found() -> None:
    """A fact about what was never opened cannot be remembered."""
    world, _ = ran()
    edit(world, 1, lambda body: msgspec.structs.replace(body, facts=[events.Done(frame="gone", node="a")] * len(body.facts)))
    (sentence,) = findings(world)
    assert sentence.startswith("the facts from 1 on do not fold: KeyError")


def test_time_that_runs_backwards_is_found() -> None:
    """A home stamps its steps with times that never go back."""
    world, _ = ran()
    first, _ = rows(world)[-1]
    do(world, "UPDATE journal SET at = 1 WHERE first_seq = ?", first)
    assert f"the step at fact {first} is dated before the one before it" in findings(world)


def test_a_row_or_an_execution_of_a_newer_level_is_named_and_not_judged() -> None:
    """What this release cannot read it does not call damaged."""
    world, _ = ran()
    do(world, "UPDATE journal SET level = ? WHERE first_seq = 1", LEVEL + 1)
    assert findings(world) == [f"the journal row at fact 1 was written at level {LEVEL + 1}; this Perdure reads up to {LEVEL}"]
    do(world, "UPDATE executions SET level = ?", LEVEL + 1)
    assert findings(world) == [f"it was written at level {LEVEL + 1}; this Perdure reads up to {LEVEL}"]


# -- the row -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document, status, sentence",
    [
        (ALL, "failed", "its row says failed, its journal succeeded"),
        (ALL, "waiting", "its row says waiting, its journal succeeded"),
        (WAITS, "succeeded", "its row says succeeded, its journal waiting"),
        (WAITS, "running", "its row says running, its journal waiting"),
        (PARKS, "queued", "its row says queued, its journal parked"),
    ],
)
def test_a_wrong_status_in_the_row_is_found(document: dict[str, Any], status: str, sentence: str) -> None:
    """Final or not: what the row says must follow from the journal."""
    world, _ = ran(document)
    do(world, "UPDATE executions SET status = ?", STATUS_NUMBER[status])
    assert findings(world) == [sentence]


@pytest.mark.parametrize(
    "column, sentence", [("workflow", "its row names the workflow 'x'"), ("key", "its row names the key 'x'")]
)
def test_another_name_in_the_row_is_found(column: str, sentence: str) -> None:
    """Workflow and key stand in row and journal alike."""
    world, _ = ran()
    do(world, f"UPDATE executions SET {column} = 'x'")
    (found,) = findings(world)
    assert found.startswith(sentence)


# -- snapshots -----------------------------------------------------------------------------------------------------------


def test_a_damaged_snapshot_is_found() -> None:
    """A state that is not what the journal folds to, bytes that are no state, and a place where no step ends."""
    world, _ = ran(WAITS, snapshot_facts=1)
    assert isinstance(world.place, MemoryPlace)
    ((seq, body),) = world.place.connection.execute("SELECT seq, body FROM snapshots").fetchall()
    state = decode_snapshot(body)
    state.frames[""].instances["large"].attempt = 7
    do(world, "UPDATE snapshots SET body = ?", encode_snapshot(state))
    assert findings(world) == [f"the snapshot at fact {seq} is not what the journal folds to"]
    do(world, "UPDATE snapshots SET body = x'c1'")
    assert findings(world) == [f"the snapshot at fact {seq} is not what the journal folds to"]
    do(world, "UPDATE snapshots SET seq = seq + 100")
    assert findings(world) == [f"the snapshot stands at fact {seq + 100}, where no step ends"]


def test_a_snapshot_of_another_fold_is_no_finding() -> None:
    """It is thrown away when it is met, and never was the truth."""
    world, _ = ran(WAITS, snapshot_facts=1)
    do(world, "UPDATE snapshots SET body = x'c1', fold = fold + 1")
    assert findings(world) == []


# -- definitions and large values ----------------------------------------------------------------------------------------


def test_a_missing_or_changed_definition_is_found() -> None:
    """An execution is pinned to its definition by digest."""
    world, _ = ran()
    digest = world.rows()[0].digest.hex()[:12]
    do(world, "UPDATE definitions SET document = CAST(replace(CAST(document AS TEXT), '1s', '2s') AS BLOB)")
    assert findings(world) == [f"its definition {digest} is not what was saved under this digest"]
    do(world, "UPDATE definitions SET document = x'00'")
    assert findings(world) == [f"its definition {digest} is not what was saved under this digest"]
    do(world, "DELETE FROM definitions")
    assert findings(world) == [f"its definition {digest} is missing from the store"]


def test_a_missing_large_value_is_found() -> None:
    """Each value that a journal names must be there."""
    world, _ = ran()
    assert do(world, "DELETE FROM blobs") == 2
    found = findings(world)
    assert len(found) == 2
    assert all(sentence.startswith("the large value ") and sentence.endswith(" is missing") for sentence in found)


def test_a_changed_large_value_is_found_and_the_others_are_judged_all_the_same() -> None:
    """One damaged value does not hide that another one is missing."""
    world, _ = ran()
    do(world, "UPDATE blobs SET body = x'00' WHERE number = 1")
    do(world, "DELETE FROM blobs WHERE number = 2")
    found = findings(world)
    assert len(found) == 2
    assert sum("its content has changed" in sentence for sentence in found) == 1
    assert sum(sentence.endswith(" is missing") for sentence in found) == 1


def test_a_deleted_and_a_changed_file_of_a_large_value_are_found(tmp_path: Path) -> None:
    """Values of hundreds of kilobytes are files beside the database: gone, or of other content."""
    world = World(place=FilePlace(tmp_path))

    async def main(process: Process) -> None:
        await process.run(world.read(workflow_of({"a": act(bytes=400_000), "b": act(bytes=500_000)})))

    world.live(main)
    files = sorted(
        (file for file in tmp_path.rglob("*") if file.is_file() and len(file.name) == 64), key=lambda file: file.stat().st_size
    )
    assert [hashlib.sha256(file.read_bytes()).hexdigest() for file in files] == [file.name for file in files]
    assert findings(world) == []
    files[0].unlink()
    files[1].write_bytes(b"z" * files[1].stat().st_size)
    found = findings(world)
    assert any(str(files[0]) in sentence and "gone" in sentence for sentence in found)
    assert any(str(files[1]) in sentence and "content has changed" in sentence for sentence in found)


# -- stepping again ------------------------------------------------------------------------------------------------------


def test_a_fact_that_step_would_not_give_is_found_by_stepping_alone() -> None:
    """The fold believes every fact; only stepping its inputs again shows that another one belongs there."""
    world, _ = ran(workflow_of({"a": act(gives=1), "b": {"type": "transform", "to": "${ nodes.a + 1 }", "after": "a"}}))
    first, _ = rows(world)[1]

    def other(body: RowBody) -> RowBody:
        facts = [
            msgspec.structs.replace(fact, output=events.encode(3))
            if isinstance(fact, events.Done) and fact.node == "b"
            else fact
            for fact in body.facts
        ]
        return msgspec.structs.replace(body, facts=facts)

    edit(world, first, other)
    assert findings(world) == []
    (sentence,) = findings(world, deep=True)
    assert sentence.startswith(
        f"from fact {first} on, the recorded inputs give other facts today: fact 2 of the step was Done("
    )


def test_an_input_that_means_nothing_is_found_by_stepping() -> None:
    """What breaks the engine is a finding, and ends no verification."""
    world, _ = ran(workflow_of({"a": act(gives=1)}))
    first, _ = rows(world)[1]

    def other(body: RowBody) -> RowBody:
        return msgspec.structs.replace(body, inputs=[events.Result(token=events.Token(node="a"), outcome="dance")])

    edit(world, first, other)
    (sentence,) = findings(world, deep=True)
    assert sentence.startswith(f"the inputs before fact {first} cannot be stepped again: ")


def test_without_the_node_types_it_says_that_it_cannot_step_again() -> None:
    """Stepping again takes the definition's node types; the rest is verified all the same."""
    world, _ = ran()

    async def look(store: Store) -> list[str]:
        return [finding.sentence async for finding in Verification(store, deep=True).findings()]

    (sentence,) = world.look(look)
    assert sentence.startswith("it cannot be stepped again: ")
    assert "test.act" in sentence


def test_without_a_large_value_it_says_that_it_cannot_step_again() -> None:
    """A value that a step reads and that is gone stops the stepping, not the verification."""
    world, _ = ran()
    do(world, "DELETE FROM blobs")
    found = findings(world, deep=True)
    assert any(sentence.endswith("cannot be stepped again without a large value that is not there") for sentence in found)
    assert sum(sentence.endswith(" is missing") for sentence in found) == 2


# -- the database itself -------------------------------------------------------------------------------------------------


def test_a_damaged_page_of_the_database_is_found(tmp_path: Path) -> None:
    """The database's own check is part of it; what cannot be read of one execution does not hide the others."""
    world = World(place=FilePlace(tmp_path))

    async def main(process: Process) -> None:
        for _ in range(5):
            await process.run(world.read(workflow_of({"a": act(gives="x" * 900)})))

    world.live(main)
    path = tmp_path / "store.db"
    for suffix in ("-wal", "-shm"):
        assert not Path(f"{path}{suffix}").exists(), "Expected the log to be taken in when the last one closed."
    raw = bytearray(path.read_bytes())
    pages = [place for place in range(0, len(raw), 4096) if b"x" * 800 in raw[place : place + 4096]]
    raw[pages[0] : pages[0] + 64] = b"\xff" * 64
    path.write_bytes(raw)
    found, verification = of_store(world, deep=False)
    assert verification.executions == 5
    assert len(found) >= 2, "Expected the database's own finding, and one of an execution that cannot be read."
    assert all("malformed" in sentence for sentence in found)


def test_a_value_that_is_none_is_found() -> None:
    """A text inside a value that is no UTF-8 is folded as it is, and found without `deep`; who shows it says so too."""
    world, execution = ran(workflow_of({"a": {"type": "transform", "to": {"word": "sound"}}}))
    do(world, "UPDATE journal SET body = CAST(replace(hex(body), hex('sound'), 'F3' || hex('ound')) AS BLOB)")
    do(world, "UPDATE journal SET body = unhex(body)")
    assert any("holds a value that cannot be read" in sentence for sentence in findings(world))
    timeline = world.show(execution).timeline
    with pytest.raises(StoreDamaged, match="Expected a `done` that can be shown"):
        [moment_object(moment) for moment in timeline]


def test_facts_that_do_not_fold_are_a_damaged_store() -> None:
    """A journal whose rows can be decoded and do not fit each other is refused in words, by all that read it."""
    world, execution = ran(WAITS)
    edit(world, 1, lambda body: RowBody(inputs=body.inputs, facts=body.facts[1:], cut=body.cut))
    with pytest.raises(StoreDamaged, match="cannot be read at fact 1: KeyError"):
        world.show(execution)
    with pytest.raises(StoreDamaged, match="cannot be read: KeyError"):
        world.look(lambda store: Executions(store, world.clock).state(execution))
