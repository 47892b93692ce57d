"""The second reading bites: whatever is tampered with, in a row, in a state or in the engine, a test that ran it fails."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from perdure.engine import events
from perdure.engine.codec import decode_row, encode_row
from perdure.store.contract import Batch
from perdure.store.sqlite import SqliteStore
from perdure.testing import replay
from perdure.testing.rehearsal import Rehearsal, effects
from perdure.testing.replay import SecondReading, Transcript, findings_in
from perdure.testing.stores.sqlite import FilePlace
from perdure.testing.world import Process, World, act, workflow_of

pytestmark = pytest.mark.not_replayed("a reading of its own reads what these tests tamper with")

CONFTEST = Path(__file__).parents[1] / "conftest.py"
ORDER = workflow_of(
    {"a": act(gives=1), "b": act("a", gives="x" * 5_000), "c": act("b", node={"with": {"gives": "${ nodes.b }"}})}
)


@pytest.fixture
def reading() -> Iterator[SecondReading]:
    """A second reading that watches while the test runs."""
    found = SecondReading()
    with found.watching():
        yield found


def run(world: World, document: dict[str, Any] = ORDER) -> Any:
    """The document, run to its end in one process."""
    return world.live(lambda process: process.run(world.read(document)))


def tampered(monkeypatch: pytest.MonkeyPatch, reading: SecondReading, tamper: Callable[[Any], Any]) -> None:
    """What the reading gets to see of each turn is changed; the store gets it as it is."""
    original = reading.committed

    def committed(store: Any, batch: Batch, answer: Any, refused: Any = ()) -> None:
        original(store, Batch(turns=[tamper(turn) for turn in batch.turns]), answer, refused)

    monkeypatch.setattr(reading, "committed", committed)


# -- what is right --------------------------------------------------------------------------------------------------------


def test_what_was_run_is_read_again(reading: SecondReading) -> None:
    """Each execution once, with all its turns, large values included, and nothing is found."""
    assert run(World()).status == "succeeded"
    assert reading.differences() == []
    assert (reading.executions, reading.unseen, reading.shortened) == (1, 0, 0)
    assert reading.turns == 4


def test_it_is_read_once(reading: SecondReading) -> None:
    """What was read is forgotten, and the next reading begins with what comes after."""
    run(World())
    reading.differences()
    assert reading.differences() == []
    assert reading.executions == 1


@pytest.mark.parametrize("call", range(1, 12))
def test_what_another_life_goes_on_with_is_one_journal(reading: SecondReading, call: int) -> None:
    """A process that dies before or after a call of its store, and the next one, have written one execution."""
    for moment in ("before", "after"):
        world = World()
        workflow = world.read(ORDER)
        world.survive(lambda process, workflow=workflow: process.run(workflow, key="k"), die=(call, moment))  # type: ignore[misc]
    assert reading.differences() == []
    assert (reading.executions, reading.unseen) == (2, 0)


def test_what_was_written_unseen_is_read_from_the_store(reading: SecondReading, tmp_path: Path) -> None:
    """A journal that another process began, large values and all, is read from its first row when a home takes it over."""
    place, waits = FilePlace(tmp_path), workflow_of({"a": act(gives="y" * 5_000), "b": act("a", seconds=60, gives=2)})
    world = World(place=place)
    reading.paused = True
    (execution,) = world.live(lambda process: _begun(world, process, waits))
    reading.paused = False
    assert world.live(lambda process: _taken(process, execution)).status == "succeeded"
    assert reading.differences() == []
    assert (reading.executions, reading.unseen) == (1, 0)


async def _begun(world: World, process: Process, document: dict[str, Any]) -> list[Any]:
    return [await process.start(world.read(document))]


async def _taken(process: Process, execution: Any) -> Any:
    await process.home.take([execution])
    return await process.result(execution)


def test_what_only_a_store_was_given_is_no_execution(reading: SecondReading) -> None:
    """Rows that no home has shown, such as those of the tests of stores, are not read."""
    reading._transcripts["place", b"x"] = transcript = Transcript(b"x")
    transcript.append(replay.Row(1, 0, b"no row at all"), 3)
    assert reading.differences() == []
    assert reading.executions == 0


def test_a_long_execution_is_read_up_to_the_bound(reading: SecondReading, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after so many facts is left out, and said to be."""
    monkeypatch.setattr(replay, "FACTS_MAX", 4)
    run(World())
    assert reading.differences() == []
    assert (reading.shortened, reading.executions) == (1, 1)
    assert reading.turns < 4


def test_large_states_are_compared_ever_more_seldom() -> None:
    """Every state up to the bound, after that one in each eighth that the journal grows by, and the last one always."""
    transcript, seen = Transcript(b"x"), []
    play = Rehearsal(effects(a={}))
    play.start()
    for seq in range(1, 5_000):
        transcript.seq = play.execution.seq = seq
        before = len(transcript.states)
        transcript.show(play.execution)
        seen += [seq] if len(transcript.states) > before else []
    assert seen[:500] == list(range(1, 501))
    assert len(seen) < 530


def test_a_rehearsal_is_read_too(reading: SecondReading) -> None:
    """The bare engine has no home; its rows are stepped again while it is played, also over a loss of its memory."""
    play = Rehearsal(effects(a={}, b={"after": "a"}))
    play.start()
    play.crash()
    play.succeed("a")
    play.succeed("b")
    assert reading.differences() == []
    assert (reading.executions, reading.turns) == (1, len(play.rows))


# -- what is not ----------------------------------------------------------------------------------------------------------


def otherwise(turn: Any) -> Any:
    """The same row, but what succeeded gave something else."""
    body = decode_row(turn.body)
    facts = [
        msgspec.structs.replace(fact, output=events.encode("other")) if isinstance(fact, events.Done) else fact
        for fact in body.facts
    ]
    return msgspec.structs.replace(turn, body=encode_row(body.inputs, facts, body.cut))


def without_inputs(turn: Any) -> Any:
    """The same facts, but nothing they follow from."""
    body = decode_row(turn.body)
    return msgspec.structs.replace(turn, body=encode_row([], body.facts, body.cut))


def later(turn: Any) -> Any:
    return msgspec.structs.replace(turn, at=turn.at + 1)


def cut_short(turn: Any) -> Any:
    return msgspec.structs.replace(turn, body=turn.body[:-1])


@pytest.mark.parametrize(
    "tamper, sentence",
    [
        (otherwise, "folds to another state"),
        (later, "folds to another state"),
        (without_inputs, "give other facts today"),
        (cut_short, "cannot be read"),
    ],
)
def test_a_tampered_row_is_found(
    reading: SecondReading, monkeypatch: pytest.MonkeyPatch, tamper: Callable[[Any], Any], sentence: str
) -> None:
    """Another output, another time, lost inputs or bytes: the execution is named, with what is wrong."""
    tampered(monkeypatch, reading, tamper)
    run(World())
    (found,) = reading.differences()
    assert sentence in found


def test_a_home_that_is_ahead_of_its_journal_is_found() -> None:
    """A state in memory that stands elsewhere than what was written is told, whatever it says."""
    play = Rehearsal(effects(a={}))
    play.start()
    transcript = Transcript(b"x")
    transcript.append(replay.Row(1, play.now, play.rows[0]), len(play.facts) - 1)
    transcript.show(play.execution)
    assert transcript.difference(play.plan, replay.Values({})) == "a home stands at fact 2 when its journal stands at 1"


def test_an_engine_that_decides_otherwise_the_second_time_is_found(
    reading: SecondReading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chance in a step, here the order of nodes by something outside, is what a second reading is for."""
    from perdure.engine import machine
    from perdure.engine.machine import Step

    original, calls = Step.enter, []

    def moody(taking: Step, place: Any) -> None:
        calls.append(place)
        if len(calls) > 3:
            taking.emit(taking.skipped(place, "a whim"))
        else:
            original(taking, place)

    monkeypatch.setattr(machine.Step, "enter", moody)
    run(World())
    (found,) = reading.differences()
    assert "give other facts today" in found


def test_a_rehearsal_that_comes_out_otherwise_is_found(reading: SecondReading, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also without a home: the recorded inputs must give the recorded facts."""
    play = Rehearsal(effects(a={}, b={"after": "a"}))
    play.start()
    monkeypatch.setattr(reading, "_of_rehearsal", None)
    rows = play.rows
    body = decode_row(rows[-1])
    play.rows = [*rows, encode_row([], body.facts[-1:], False)]
    reading._rehearsed[id(play)].stepped()
    (found,) = reading.differences()
    assert "a rehearsal of w" in found


def test_a_damaged_store_is_found(tmp_path: Path) -> None:
    """What other processes have written is held against everything, as `perdure verify --deep` does."""
    place = FilePlace(tmp_path)
    run(World(place=place))
    connection = apsw.Connection(str(place.path))
    connection.execute("UPDATE journal SET body = substr(body, 1, length(body) - 1) WHERE first_seq = 1")
    connection.close()
    assert any("cannot be read" in sentence for sentence in asyncio.run(findings_in(place.path)))


def test_nothing_is_left_behind() -> None:
    """After the watch, homes and stores are what they were."""
    before = SqliteStore.commit
    with SecondReading().watching():
        assert SqliteStore.commit is not before
    assert SqliteStore.commit is before
    assert inspect.iscoroutinefunction(before)


# -- the suite ------------------------------------------------------------------------------------------------------------

INNER = '''
"""A test file of an inner run."""

import pytest

from perdure.engine.machine import Step
from perdure.testing.world import World, act, workflow_of


def run():
    world = World()
    return world.live(lambda process: process.run(world.read(workflow_of({"a": act(gives=1), "b": act("a")}))))


def test_sound():
    """All is as it should be."""
    assert run().status == "succeeded"


def test_moody():
    """The engine decides otherwise the second time."""
    whims()
    assert run().status == "succeeded"


@pytest.mark.not_replayed("it is moody on purpose")
def test_moody_and_known_to_be():
    """The same, with its reason."""
    whims()
    assert run().status == "succeeded"


@pytest.mark.not_replayed()
def test_without_a_reason():
    """A marker says why."""


def whims():
    original, calls = Step.enter, []

    def moody(taking, place):
        calls.append(place)
        if len(calls) > 2:
            taking.emit(taking.skipped(place, "a whim"))
        else:
            original(taking, place)

    Step.enter = moody
'''


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one-process", "two-workers"])
def test_a_test_fails_when_what_it_ran_comes_out_otherwise(pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    """In a run of its own: the sound test passes, the moody one fails as it is over, and the last line says what was read."""
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makepyfile(test_inner=INNER)
    pytester.makeini("[pytest]\naddopts = --strict-markers\n")
    ended = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider", *workers)
    ended.assert_outcomes(passed=3, errors=2)
    ended.stdout.fnmatch_lines_random(
        [
            "*comes out otherwise when it is read again*", "*give other facts today*", "*Expected the reason*",
            "replay: 2 executions, 6 turns stepped again; 1 tests not read",
            "*ERROR*test_moody *", "*ERROR*test_without_a_reason *",
        ]
    )  # fmt: skip
