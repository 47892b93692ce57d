"""When an execution stands still: what only a person, a signal, an event or another execution can move on."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.cli.followed import Followed
from perdure.cli.standstill import Standstill
from perdure.ids import ExecutionId
from perdure.store.contract import Row
from perdure.testing.rehearsal import EXECUTION, Rehearsal, effects

ASK: dict[str, Any] = {"type": "wait_for_signal", "signal": "go"}


def followed(play: Rehearsal) -> Followed:
    """What following knows after what was played."""
    row = Row(
        execution=ExecutionId(EXECUTION), tenant="default", workflow="w", digest=b"", created=0, updated=0, priority=3,
        status=1, home="", epoch=1, seq=0, level=1, wake=None, key="",
    )  # fmt: skip
    found = Followed(row, play.plan)
    for fact in play.facts:
        found.take(fact)
    found.rested = True
    return found


def stands(play: Rehearsal) -> Standstill | None:
    return followed(play).stands(play.now)


def started(**nodes: Any) -> Rehearsal:
    play = Rehearsal(effects(**nodes))
    play.start()
    return play


@pytest.mark.parametrize(
    "node",
    [
        ASK,
        {**ASK, "timeout": "3d"},
        {"type": "wait_for_event", "event": "paid"},
        {"type": "loop", "over": "${ [] }", "open": True, "body": {"nodes": {"a": {"type": "test.effect"}}}},
        {"type": "loop", "over": "${ [1] }", "body": {"nodes": {"a": ASK}}},
        {"type": "try", "body": {"nodes": {"a": ASK}}},
        {"type": "parallel", "branches": {"l": {"nodes": {"a": ASK}}, "r": {"nodes": {"b": ASK}}}},
    ],
)
def test_what_waits_for_somebody_stands_still(node: dict[str, Any]) -> None:
    """A signal, an event, an open loop without items; also inside of containers, which are neither here nor there."""
    found = stands(started(n=node))
    assert found is not None
    assert found.people


@pytest.mark.parametrize(
    "node",
    [
        {},
        {"type": "delay", "for": "1h"},
        {"type": "wait_until", "time": "2030-01-01T00:00:00Z"},
        {"type": "wait_for_condition", "condition": "${ now() > '2030' }", "every": "1m"},
        {"type": "loop", "over": "${ [1] }", "body": {"nodes": {"a": {"type": "test.effect"}}}},
    ],
)
def test_what_moves_by_itself_does_not_stand(node: dict[str, Any]) -> None:
    """Work, time, a condition that time may make true: not even beside somebody who is waited for."""
    assert stands(started(n=node)) is None
    assert stands(started(n=node, ask=ASK)) is None


@pytest.mark.parametrize(
    "condition",
    [
        {"type": "wait_for_condition", "condition": "${ state.ask.status == 'succeeded' }"},
        {"type": "wait_for_condition", "condition": "${ state.ask.status == 'succeeded' }", "every": "1m"},
        {"type": "wait_for_condition", "condition": "${ now() > '2030' }"},
    ],
)
def test_conditions_that_time_cannot_make_true_are_neutral(condition: dict[str, Any]) -> None:
    """They wait for what others do; where there are no others, they stand still by themselves."""
    found = stands(started(c={**condition, "condition": condition["condition"].replace("ask", "c")}))
    assert found is not None
    assert ([instance.node for _, instance in found.conditions], found.people) == (["c"], [])
    found = stands(started(ask=ASK, c=condition))
    assert found is not None
    assert [instance.node for _, instance in found.people] == ["ask"]


def test_joins_are_neutral() -> None:
    """Their branches speak for themselves."""
    play = started(a={}, ask=ASK, ready={"type": "join", "after": ["a", "ask"], "deadline": "1h", "need": 2})
    assert stands(play) is None
    play.succeed("a")
    found = stands(play)
    assert found is not None
    assert [instance.node for _, instance in found.people] == ["ask"]


def test_a_child_and_a_lock_depend_on_others() -> None:
    """Whether they stand still is theirs to say."""
    found = stands(started(sub={"type": "subworkflow", "workflow": "w"}, locked={"lock": "k"}))
    assert found is not None
    assert len(found.children) == 1
    assert [(frame, instance.wait_key) for frame, instance in found.locks] == [("", "k")]
    assert not found.people


def test_parked_nodes_stand_still_and_backoffs_do_not() -> None:
    """A retry comes by itself."""
    play = started(a={"park": True, "retry": {"attempts": 2, "initial": "1h"}})
    play.fail("a", "x.y")
    assert stands(play) is None
    play.pass_time(7_200)
    play.fail("a", "x.y")
    assert stands(play) is not None


def test_a_wait_whose_time_has_come_is_about_to_end() -> None:
    """Its timer fires next."""
    play = started(ask={**ASK, "timeout": "10s"})
    assert stands(play) is not None
    play.now += 10_000_000
    assert stands(play) is None


def test_a_paused_execution_stands_still_when_what_ran_has_ended() -> None:
    """Running attempts finish in a pause; one that was cut off in it does not run."""
    play = started(a={}, b={"after": "a"})
    play.operate("pause")
    assert stands(play) is None
    play.crash()
    found = stands(play)
    assert found is not None
    assert found.paused
    play.operate("resume")
    assert stands(play) is None
    play.operate("pause")
    play.succeed("a")
    found = stands(play)
    assert found is not None
    assert found.paused


def test_what_has_ended_or_not_begun_does_not_stand() -> None:
    """There is nothing to wait for."""
    play = started(a={})
    play.succeed("a")
    assert stands(play) is None
    assert stands(Rehearsal(effects(a={}))) is None


def test_what_is_remembered_of_a_loop_is_what_is_in_flight() -> None:
    """Nothing of the iterations that have ended, however many waited for somebody."""
    gate = {"nodes": {"gate": ASK, "more": {"type": "test.effect", "after": "gate"}}}
    play = started(each={"type": "loop", "over": "${ range(30) }", "concurrency": 2, "body": gate})
    known = followed(play)
    taken = len(play.facts)
    for _ in range(28):
        play.signal("go")
        for path in [path for path in play.execution.frames if path]:
            if play.state(f"{path}.more") == "running":
                play.succeed(f"{path}.more")
        for fact in play.facts[taken:]:
            known.take(fact)
        taken = len(play.facts)
        for place in known.active:
            known.hinted[place] = (1, 0)
        assert len(known.active) <= 5
        assert len(known.hinted) <= 5
        assert not known.parked
