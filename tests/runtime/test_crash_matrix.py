"""The crash matrix: a process dies before and after each of its store calls, and the next one comes to the same end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from scenarios import CONTAINERS, EXAMPLES, RETRY, SCENARIOS, Scenario

from perdure.engine import events
from perdure.engine.codec import decode_value, encode_snapshot
from perdure.engine.evolution import fold
from perdure.engine.replay import Recorded, restep
from perdure.ids import ExecutionId, id_text, instance_path
from perdure.operations.definitions import Read
from perdure.operations.executions import Executions, Shown
from perdure.runtime.hot import Outcome
from perdure.store.contract import STATUSES, Row, Store
from perdure.store.sqlite import SqliteStore
from perdure.testing.faults import Crash, CrashPoint
from perdure.testing.stores.sqlite import FilePlace
from perdure.testing.world import Process, World, act, workflow_of

EFFECT_KEY = re.compile("p1_[0-9a-z]{26}|ex_[0-9a-z]{26}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z")
"""What differs between two runs: effect keys and ids, since they are made of ids, and times."""
WRITES = frozenset(("commit", "claim", "send", "save_blobs", "save_definition", "register", "leave"))
CRASH_POINTS: dict[str, int] = {}
FINALS = (events.Done, events.NodeFailed, events.Skipped, events.NodeCancelled)
ENDS_OF_ATTEMPTS = (events.Done, events.NodeFailed, events.NodeCancelled, events.Retrying)


@dataclass
class Seen:
    """All that is on disk: the rows, each execution's timeline and values, the events."""

    rows: list[Row]
    shown: dict[ExecutionId, Shown]
    values: dict[ExecutionId, list[Any]]
    events: list[tuple[str, str, bytes]]
    resident: dict[bytes, Any]


def look(world: World) -> Seen:
    """What is on disk, after whatever happened."""

    async def main(store: Store) -> Seen:
        executions = Executions(store, world.clock)
        rows = await store.rows(limit=1_000)
        shown = {row.execution: await executions.show(row.execution) for row in rows}
        values = {
            row.execution: [
                (kind, path, visit, ports, await executions.value(row, raw))
                for kind, path, visit, ports, raw in outcomes(shown[row.execution])
            ]
            for row in rows
        }
        log = [(event.type, event.id, event.body) for _, event in await store.events(limit=1_000)]
        bodies = await store.blobs("default", digests_in(world, store))
        resident = {digest: decode_value(body) for digest, body in bodies.items()}
        return Seen(rows, shown, values, log, resident)

    return world.look(main)


def digests_in(world: World, store: Store) -> list[bytes]:
    """Of all large values."""
    if isinstance(store, SqliteStore):
        rows = store.connection.execute("SELECT digest FROM blobs").fetchall()
    else:
        rows = world.place.sql("SELECT digest FROM perdure.blobs")  # type: ignore[attr-defined]  # a place in PostgreSQL
    return [digest for (digest,) in rows]


def facts(shown: Shown) -> list[events.AnyFact]:
    return [fact for moment in shown.timeline for fact in moment.facts]


def outcomes(shown: Shown) -> list[tuple[str, str, int, Any, Any]]:
    """How each node instance ended: kind, path, visit, ports, output."""
    return [
        (
            type(fact).__name__, instance_path(fact.frame, fact.node, fact.visit), fact.visit, getattr(fact, "ports", ()),
            getattr(fact, "output", events.NOTHING),
        )
        for fact in facts(shown) if isinstance(fact, FINALS)
    ]  # fmt: skip


def attempts_ended(shown: Shown) -> Counter[tuple[str, int]]:
    """How often the end of each attempt was recorded, by (path, attempt)."""
    ended = [fact for fact in facts(shown) if isinstance(fact, ENDS_OF_ATTEMPTS) and fact.attempt]
    deferred = [fact for fact in facts(shown) if isinstance(fact, events.Waiting) and fact.kind == "deferred"]
    done = {(path_of(fact), fact.attempt) for fact in ended}
    return Counter(
        [(path_of(fact), fact.attempt) for fact in ended]
        + [(path_of(fact), fact.attempt) for fact in deferred if (path_of(fact), fact.attempt) not in done]
    )


def path_of(fact: events.InstanceFact) -> str:
    return instance_path(fact.frame, fact.node, fact.visit)


# -- one run ------------------------------------------------------------------------------------------------------------------


def drive(world: World, scenario: Scenario, points: list[CrashPoint], **given: Any) -> Outcome:
    """One process that starts the scenario, or finds it, says what is to be said, and waits for the end.

    `points`: takes the places where it could have died, unless it did.
    """

    async def main(process: Process) -> Outcome:
        await process.home.take()
        execution = await process.start(read(scenario), scenario.input, key="the one")
        if scenario.says is not None:
            await scenario.says(process, execution)
        outcome = await process.result(execution)
        points[:] = process.store.crash_points
        return outcome

    return world.live(main, **given)


@cache
def read(scenario: Scenario) -> Read:
    """The scenario's definition, checked once for all runs."""
    return World().read(scenario.document)


def check_journal(world: World, seen: Seen) -> None:
    """What holds for every journal, whatever happened: dense, each end once, folding to what the row says."""
    for row in seen.rows:
        shown = seen.shown[row.execution]
        following = 1
        before = 0
        for moment in shown.timeline:
            assert moment.first_seq == following
            assert moment.at >= before
            following, before = moment.first_seq + len(moment.facts), moment.at
        assert row.seq == following - 1
        finals = Counter((path, visit) for _, path, visit, _, _ in outcomes(shown))
        assert all(count == 1 for count in finals.values()), "a final instance ended again"
        ended = attempts_ended(shown)
        assert all(count == 1 for count in ended.values()), "an attempt's end was recorded twice"
        again = fold(facts(shown))
        again.at = shown.state.at
        assert encode_snapshot(again) == encode_snapshot(shown.state)
        assert STATUSES[row.status] == (shown.state.status or STATUSES[row.status])
    assert len({event_id for _, event_id, _ in seen.events}) == len(seen.events)


def check_steps(scenario: Scenario, seen: Seen) -> None:
    """Stepping the recorded inputs gives the recorded facts, row by row, through every crash and takeover."""
    for row in seen.rows:
        if row.digest != bytes.fromhex(read(scenario).plan.digest):
            continue
        recorded = [
            Recorded(
                first_seq=moment.first_seq,
                at=moment.at,
                body=events.RowBody(inputs=moment.inputs, facts=moment.facts, cut=moment.cut),
            )
            for moment in seen.shown[row.execution].timeline
        ]
        assert restep(read(scenario).plan, recorded, seen.resident) == []


def check_effects(world: World, at_death: Seen | None) -> None:
    """Nothing was sent before it was durable, and nothing again whose end was."""
    for sent in world.ledger.sent:
        assert sent.life <= world.lives
    if at_death is None:
        return
    scheduled: set[tuple[str, str, int]] = set()
    ended: set[tuple[str, str, int]] = set()
    for execution, shown in at_death.shown.items():
        id_ = id_text(execution)
        scheduled |= {(id_, path_of(fact), fact.attempt) for fact in facts(shown) if isinstance(fact, events.Scheduled)}
        ended |= {(id_, *attempt) for attempt in attempts_ended(shown)}
    for sent in world.ledger.sent:
        if sent.life == 1:
            assert (sent.execution, sent.path, sent.attempt) in scheduled, "sent before it was durable"
        else:
            assert (sent.execution, sent.path, sent.attempt) not in ended, "sent again though its end was durable"
    keys: dict[tuple[str, str], set[str]] = {}
    for sent in world.ledger.sent:
        keys.setdefault((sent.execution, sent.path), set()).add(sent.key)
    assert all(len(of_path) == 1 for of_path in keys.values()), "a repeat with another key"


def fingerprint(outcome: Outcome, seen: Seen) -> Any:
    """What must be the same however often a process died: ends, values and events, but no times and no ids."""
    return (
        outcome.status,
        outcome.output,
        outcome.error["code"] if outcome.error is not None else None,
        [told(seen, row) for row in seen.rows if row.key],
        sorted((type_, body) for type_, _, body in seen.events),
        sorted((row.workflow, STATUSES[row.status], told(seen, row)) for row in seen.rows if not row.key),
    )


def told(seen: Seen, row: Row) -> list[str]:
    """How each node instance of an execution ended, without the keys that hold an execution's id."""
    return sorted(EFFECT_KEY.sub("p1_…", repr(value)) for value in seen.values[row.execution])


def undisturbed(scenario: Scenario) -> tuple[Any, list[CrashPoint]]:
    """The fingerprint of a run in which nothing goes wrong, and every place where it could."""
    world = World(**scenario.settings)
    points: list[CrashPoint] = []
    outcome = drive(world, scenario, points)
    seen = look(world)
    check_journal(world, seen)
    check_effects(world, None)
    if scenario.example is not None:
        assert outcome.status == scenario.example.status
        assert outcome.output == scenario.example.output or not scenario.example.check_output
    assert all(count == 1 for count in Counter((sent.key, sent.attempt) for sent in world.ledger.sent).values())
    # After a call that only reads, everything is as it was before it.
    points = [point for point in points if point.moment == "before" or point.name in WRITES]
    CRASH_POINTS[scenario.name] = len(points)
    return fingerprint(outcome, seen), points


def disturbed(world: World, scenario: Scenario, point: CrashPoint) -> tuple[Any, Seen | None]:
    """The fingerprint of a run whose first process dies at this point, and what was on disk then; None: it did not die."""
    at_death = None
    try:
        outcome = drive(world, scenario, [], die=(point.call, point.moment))
    except Crash:
        at_death = look(world)
        outcome = drive(world, scenario, [])
    seen = look(world)
    check_journal(world, seen)
    check_steps(scenario, seen)
    check_effects(world, at_death)
    return fingerprint(outcome, seen), at_death


# -- the matrix ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def _crash_points_told(request: pytest.FixtureRequest) -> Iterator[None]:
    """Say how many places there were to die, so that a change which hides some is seen."""
    yield
    told = ", ".join(f"{name} {count}" for name, count in CRASH_POINTS.items())
    with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{sum(CRASH_POINTS.values())} crash points: {told}")


@pytest.mark.parametrize("scenario", [*SCENARIOS, *CONTAINERS, *EXAMPLES], ids=lambda scenario: scenario.name)
def test_a_death_at_any_store_call_changes_nothing_but_the_time(scenario: Scenario) -> None:
    """Wherever the process dies, the next one ends with the same status, values, node outcomes and events."""
    expected, points = undisturbed(scenario)
    assert sum(point.name == "commit" for point in points) >= 2
    for point in points:
        found, _ = disturbed(World(**scenario.settings), scenario, point)
        assert found == expected, f"{scenario.name} dies at {point}"


@pytest.mark.parametrize("scenario", [*SCENARIOS[:4], *CONTAINERS[:3]], ids=lambda scenario: scenario.name)
def test_a_death_on_a_real_disk_changes_nothing_but_the_time(scenario: Scenario, tmp_path: Path) -> None:
    """A fixed sample of the matrix on a file: large values in files of their own, locks for signs of life."""
    expected, points = undisturbed(scenario)
    for number, point in enumerate(points[::9]):
        folder = tmp_path / str(number)
        folder.mkdir()
        found, _ = disturbed(World(place=FilePlace(folder), **scenario.settings), scenario, point)
        assert found == expected, f"{scenario.name} dies at {point}"


AT_MOST_ONCE = Scenario(
    "at_most_once",
    workflow_of(
        {
            "first": act(seconds=1),
            "pay": act("first", seconds=2, gives="paid", node={"delivery": "at_most_once", "retry": RETRY}),
            "ship": act("pay", seconds=1, gives="shipped"),
            "ask": {"type": "transform", "after": "pay.error", "to": "${ error.code }"},
        },
        output="${ coalesce(nodes.ship, nodes.ask) }",
    ),
)


def test_rule_53_an_at_most_once_effect_is_never_sent_twice_wherever_the_process_dies() -> None:
    """Either it was sent once and its result is known, or it is unknown; and unknown only if its intent was durable."""
    _, points = undisturbed(AT_MOST_ONCE)
    ends = Counter()
    for point in points:
        world = World()
        found, at_death = disturbed(world, AT_MOST_ONCE, point)
        sent = world.ledger.paths().count("pay")
        assert sent <= 1
        assert found[1] in ("shipped", "effect.unknown")
        if found[1] == "shipped":
            assert sent == 1
        else:
            assert at_death is not None
            (shown,) = at_death.shown.values()
            assert any(isinstance(fact, events.Scheduled) and fact.node == "pay" for fact in facts(shown))
        ends[found[1]] += 1
    assert min(ends.values()) >= 2


@pytest.mark.parametrize("scenario", SCENARIOS[:3], ids=lambda scenario: scenario.name)
def test_a_second_death_during_the_recovery_changes_nothing_either(scenario: Scenario) -> None:
    """Dying once in the middle, and again at each of the first calls of the process that takes over."""
    expected, points = undisturbed(scenario)
    middle = points[len(points) // 2]
    for call in range(1, 16):
        world = World(**scenario.settings)
        deaths = 0
        outcome = None
        for fault in ((middle.call, middle.moment), (call, "after"), None):
            try:
                outcome = drive(world, scenario, [], die=fault)
                break
            except Crash:
                deaths += 1
        assert outcome is not None
        assert deaths >= 1
        seen = look(world)
        check_journal(world, seen)
        assert fingerprint(outcome, seen) == expected, f"{scenario.name} dies at {middle} and at call {call} of the next"
