"""What has ended is pruned when its retention is over; nothing goes that anybody needs (rules 60 and 61)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from over_age import DAY, DAY_SECONDS, LARGE, QUICK, WAITS, begin, blobs, left, prune, run, sound

from perdure.engine.codec import begun_by, encode_value, handle_for, handles_in
from perdure.operations import definitions
from perdure.operations.events import emit
from perdure.runtime.retention import Policy, own_retention
from perdure.settings import Settings
from perdure.store.contract import STATUSES
from perdure.testing.stores.samples import a_definition
from perdure.testing.world import Process, World, act, pass_time, workflow_of

# -- what goes ------------------------------------------------------------------------------------------------------------


def test_rule_60_what_ended_longer_ago_than_its_retention_goes() -> None:
    """By the time of its end, not of its start; one that goes on stays whatever its age."""
    world = World()
    waiting = begin(world, WAITS)
    old = run(world, QUICK)
    world.clock.jump(DAY_SECONDS - 1)
    young = run(world, QUICK)
    world.clock.jump(2)
    pruned = prune(world)
    assert (pruned.executions, pruned.facts, pruned.workflows) == (1, 3, {"w": 1})
    assert left(world) == [waiting, young]
    assert old not in left(world)
    assert sound(world) == []


def test_rule_60_it_goes_exactly_after_its_retention() -> None:
    """Not at the moment itself, but a microsecond later."""
    world = World()
    run(world, QUICK)
    (row,) = world.rows()
    world.clock.jump((row.updated + DAY - world.clock.now()) / 1_000_000)
    assert prune(world).executions == 0
    world.clock.jump(0.000_001)
    assert prune(world).executions == 1


@pytest.mark.parametrize(
    "document",
    [
        workflow_of({"a": {"type": "fail", "code": "x.y"}}),
        workflow_of({"a": act(seconds=90)}, settings={"timeout": "1s"}),
        QUICK,
    ],
    ids=["failed", "timed-out", "succeeded"],
)
def test_rule_60_every_end_is_an_end(document: dict[str, Any]) -> None:
    """Failed and timed out executions go like those that succeeded."""
    world = World()
    run(world, document)
    world.clock.jump(2 * DAY_SECONDS)
    assert prune(world).executions == 1
    assert left(world) == []


def test_rule_60_without_a_retention_nothing_goes() -> None:
    """By default everything is kept for ever, and the pass says that nothing has a retention."""
    world = World()
    run(world, QUICK)
    world.clock.jump(10_000 * DAY_SECONDS)
    pruned = prune(world, Policy())
    assert (pruned.executions, pruned.ruled) == (0, False)
    assert len(left(world)) == 1


@pytest.mark.parametrize(
    "own, installed, is_left", [("12h", "30d", False), ("30d", "12h", True), ("forever", "12h", True), ("12h", None, False)]
)
def test_rule_60_what_the_definition_says_goes_before_the_installation(own: str, installed: str | None, is_left: bool) -> None:
    """`settings.retention`, shorter or longer; one that says `forever` is kept."""
    world = World()
    run(world, workflow_of(QUICK["nodes"], settings={"retention": own}))
    world.clock.jump(DAY_SECONDS)
    prune(world, Policy(retention=Settings(retention=installed).retention))
    assert bool(left(world)) is is_left


def test_rule_60_each_version_has_its_own_retention() -> None:
    """An execution is kept as the definition says that it is pinned to, not as a later one does."""
    world = World()
    for own in ("12h", "forever"):
        run(world, workflow_of(QUICK["nodes"], settings={"retention": own}))
    first, second = left(world)
    world.clock.jump(DAY_SECONDS)
    prune(world, Policy())
    assert left(world) == [second]
    assert first != second


def test_an_age_that_is_asked_for_goes_before_the_definition_only_where_its_workflow_is_named() -> None:
    """Who names the workflow means it; who only names an age means those that say nothing."""
    world = World()
    run(world, workflow_of(QUICK["nodes"], settings={"retention": "forever"}))
    run(world, {**QUICK, "name": "other"})
    world.clock.jump(2 * DAY_SECONDS)
    assert prune(world).workflows == {"other": 1}
    assert prune(world, Policy(retention=DAY, workflow="other", overrides=True)).executions == 0
    assert prune(world, Policy(retention=DAY, workflow="w", overrides=True)).workflows == {"w": 1}


def test_a_definition_that_says_nothing_is_told_from_one_that_says_for_ever() -> None:
    """Only what says something goes before the installation's retention."""

    def of(settings: dict[str, Any] | None) -> Any:
        document: dict[str, Any] = {"name": "w"} if settings is None else {"settings": settings}
        return own_retention(a_definition("w", json.dumps(document).encode()))

    assert of({"retention": "2h"}) == 7_200_000_000
    assert of({"retention": "forever"}) is None
    assert of({"retention": 60}) == 60_000_000
    assert {repr(of({"timeout": "1h"})), repr(of(None))} == {"UNSET"}


# -- who is still needed ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waits_for_it", [True, False])
def test_rule_60_a_child_is_kept_while_its_parent_goes_on(waits_for_it: bool) -> None:
    """A parent asks for its children again after a crash: they must be found, or they would run twice."""
    world = World()
    child = {**workflow_of({"a": act(seconds=1)}), "name": "child"}
    nodes = {
        "sub": {"type": "subworkflow", "workflow": "child", "wait": waits_for_it},
        "ask": {"type": "wait_for_signal", "signal": "go", "after": "sub"},
    }
    parent = begin(world, workflow_of(nodes), child)
    world.clock.jump(2 * DAY_SECONDS)
    assert [STATUSES[row.status] for row in world.rows() if row.workflow == "child"] == ["succeeded"]
    pruned = prune(world)
    assert (pruned.executions, pruned.kept, len(left(world))) == (0, 1, 2)

    async def ends(process: Process) -> None:
        await process.home.take([parent])
        await process.executions.signal(parent, "go")
        assert (await process.result(parent)).status == "succeeded"

    world.live(ends)
    assert len(world.ledger.sent) == 1
    pruned = prune(world)
    assert (pruned.workflows, pruned.kept) == ({"child": 1}, 0)
    world.clock.jump(2 * DAY_SECONDS)
    assert prune(world).workflows == {"w": 1}
    assert left(world) == []


def test_rule_60_a_child_that_ended_unseen_is_found_by_its_parent_much_later() -> None:
    """The parent was nobody's for long; pruned in between, its child is still there, and its result counts once."""
    world = World()
    child = {**workflow_of({"a": act(seconds=1, gives=7)}), "name": "child"}
    parent = workflow_of({"sub": {"type": "subworkflow", "workflow": "child"}}, output="${ nodes.sub }")

    async def leaves(process: Process) -> None:
        await definitions.save(process.engine.store, process.home.plans, world.clock, world.read(child))
        await process.start(world.read(parent), key="k")
        await pass_time(0.5)

    world.live(leaves)
    (ends_alone,) = [row.execution for row in world.rows() if row.workflow == "child"]

    async def child_alone(process: Process) -> None:
        await process.home.take([ends_alone])
        await process.result(ends_alone)

    world.live(child_alone, adopts=False)
    world.clock.jump(3 * DAY_SECONDS)
    assert prune(world).kept == 1

    async def goes_on(process: Process) -> Any:
        await process.home.take()
        return (await process.run(world.read(parent), key="k")).output

    assert world.live(goes_on) == 7
    assert len({sent.key for sent in world.ledger.sent}) == 1


def test_rule_55_a_key_may_start_anew_when_its_execution_is_pruned() -> None:
    """As long as the execution is there it is found; then the same key starts another one."""
    world = World()
    first = run(world, QUICK, key="k")
    assert run(world, QUICK, key="k") == first
    world.clock.jump(2 * DAY_SECONDS)
    prune(world)
    assert run(world, QUICK, key="k") != first
    assert len(left(world)) == 1


# -- large values -----------------------------------------------------------------------------------------------------------


def test_rule_61_a_large_value_goes_when_nothing_names_it_any_more() -> None:
    """Two executions have the same one: it goes with the second."""
    world = World()
    run(world, LARGE)
    world.clock.jump(2 * DAY_SECONDS)
    second = run(world, LARGE)
    assert blobs(world) == 1
    assert prune(world).blobs == 0
    assert left(world) == [second]
    assert sound(world) == []
    world.clock.jump(2 * DAY_SECONDS)
    pruned = prune(world)
    assert (pruned.executions, pruned.blobs) == (1, 1)
    assert pruned.blob_bytes > 5_000
    assert blobs(world) == 0


def test_rule_61_a_young_value_is_left_alone() -> None:
    """It may be about to be named: it is saved before the step that names it."""
    world = World()
    run(world, LARGE)
    world.clock.jump(2 * DAY_SECONDS)
    assert prune(world, unnamed=3_600_000_000).blobs == 0
    assert (blobs(world), left(world)) == (1, [])
    assert prune(world).blobs == 1


def test_rule_61_what_a_message_or_an_event_names_stays() -> None:
    """A signal that nobody has taken in, and an event of the log, hold their large data."""
    world = World()
    execution = begin(world, WAITS)

    async def says(process: Process) -> None:
        await process.executions.signal(execution, "later", "s" * 5_000)
        await emit(process.engine.store, world.clock, "order.paid", "e" * 5_000)

    world.live(says, adopts=False)
    assert prune(world).blobs == 0
    assert blobs(world) == 2


def test_rule_61_old_events_go_when_their_retention_is_over() -> None:
    """What they named goes with the next pass, since somebody may just have read them."""
    world = World()

    world.look(lambda store: emit(store, world.clock, "order.paid", "e" * 5_000))
    world.clock.jump(DAY_SECONDS + 1)
    world.look(lambda store: emit(store, world.clock, "order.paid", 1))
    policy = Policy(events=DAY)
    assert prune(world, policy, dry_run=True).events == 1
    pruned = prune(world, policy)
    assert (pruned.events, pruned.blobs) == (1, 0)
    assert len(world.look(lambda store: store.events())) == 1
    assert prune(world, policy).blobs == 1


def test_names_are_found_wherever_they_stand_in_a_body() -> None:
    """Without decoding; what only looks like one counts as one."""
    one, digest = handle_for(b"1" * 2_000)
    two, other = handle_for(b"2" * 2_000)
    assert list(handles_in(encode_value({"a": [one, {"b": two}], "c": b"\xc7\x28"}))) == [digest, other]
    assert list(handles_in(encode_value(["nothing", 40, 199]))) == []
    assert list(handles_in(b"\xc7\x28\x01" + bytes(one))) != []


def test_a_row_that_does_not_begin_an_execution_says_no_parent() -> None:
    """Nothing is taken for a beginning that is none."""
    assert begun_by(encode_value({})) == (b"", b"")
