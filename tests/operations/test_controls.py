"""What can be asked of an execution and its nodes is looked at before anything is sent, and refused with place and remedy."""

from __future__ import annotations

from typing import Any

import pytest
from explained import Explained, scope

from perdure.engine.execution import BACKOFF, PARKED, WAITING
from perdure.errors import NotFound, Refused
from perdure.operations.controls import (
    parked_at,
    refuse_input_for,
    refuse_to_feed,
    refuse_to_pause,
    refuse_to_unpause,
    waiting_at,
)
from perdure.testing.rehearsal import effects

NODES: dict[str, Any] = {
    "sig": {"type": "wait_for_signal", "signal": "go", "key": "k"},
    "timed": {"type": "wait_for_signal", "signal": "go", "timeout": "1h"},
    "ev": {"type": "wait_for_event", "event": "paid"},
    "cond": {"type": "wait_for_condition", "condition": "${ state.e.status == 'succeeded' }"},
    "judged": {"type": "wait_for_condition", "condition": "${ state.e.status == 'succeeded' }", "every": "1m"},
    "delay": {"type": "delay", "for": "5m"},
    "until": {"type": "wait_until", "time": "2030-01-01T00:00:00Z"},
    "sub": {"type": "subworkflow", "workflow": "w", "input": 1},
    "locked": {"lock": "l"},
    "deferred": {},
    "e": {},
    "retried": {"retry": {"attempts": 3, "initial": "10s", "jitter": False}},
    "ready": {"type": "join", "after": ["e", "src"], "deadline": "1h", "need": 2},
    "src": {},
    "parked": {"park": True},
    "each": {"type": "loop", "over": "${ [1, 2] }", "concurrency": 2, "body": scope(pay={"park": True}, p={"after": "pay"})},
    "open": {"type": "loop", "over": "${ [] }", "open": True, "body": scope(x={})},
    "after": {"after": "delay"},
}


@pytest.fixture
def play() -> Explained:
    """An execution with one of everything that waits, parks or runs."""
    found = Explained({**effects(**NODES), "settings": {"on_failure": "isolate"}})
    found.start()
    found.take(found.result("deferred", outcome="deferred"))
    found.fail("retried", "x.y", title="No.")
    found.succeed("src")
    found.fail("parked", "x.y", title="No.")
    found.fail("each[1].pay", "x.y", title="No.")
    return found


# -- parked ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["parked", "each[1].pay"])
def test_a_parked_node_is_found(play: Explained, path: str) -> None:
    """Also in a frame."""
    assert parked_at(play.execution, path).state == PARKED


@pytest.mark.parametrize(
    "path, said, remedy",
    [
        ("each[0].pay", "No node is parked at 'each[0].pay': it is running.", "Did you mean `each[1].pay`?"),
        ("each[1].p", "No node is parked at 'each[1].p'.", "Did you mean `each[1].pay`?"),
        ("parked#2", "No node is parked at 'parked#2'.", "Did you mean `parked`?"),
        ("sig", "No node is parked at 'sig': it is waiting.", "There are `parked`, `each[1].pay`."),
        ("nowhere[3].x", "No node is parked at 'nowhere[3].x'.", "There are `parked`, `each[1].pay`."),
    ],
)
def test_a_decision_needs_a_parked_node(play: Explained, path: str, said: str, remedy: str) -> None:
    """What is there instead, and where something is parked."""
    with pytest.raises(NotFound) as refused:
        parked_at(play.execution, path)
    assert (refused.value.message, refused.value.remedy) == (said, remedy)


def test_where_nothing_is_parked_the_command_that_lists_incidents_is_named() -> None:
    """There may be some in other executions."""
    play = Explained(effects(a={}))
    play.start()
    with pytest.raises(NotFound) as refused:
        parked_at(play.execution, "a")
    assert refused.value.remedy == "`perdure incidents` lists those that are."


@pytest.mark.parametrize(
    "path, taken", [("parked", True), ("sub", True), ("each", False), ("sig", False), ("each[0].pay", True), ("ready", False)]
)
def test_only_work_and_sub_workflows_take_other_parameters(play: Explained, path: str, taken: bool) -> None:
    """A container, or what only computes, would not look at them: that is said before."""
    if taken:
        refuse_input_for(play.plan, path)
    else:
        with pytest.raises(Refused, match="has no parameters that could be replaced") as refused:
            refuse_input_for(play.plan, path)
        assert refused.value.code == "control.refused"


# -- waits -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["sig", "timed", "ev", "cond", "judged", "delay", "until", "retried"])
def test_a_wait_that_can_be_skipped_is_found(play: Explained, path: str) -> None:
    """A wait for a word, a condition, a time, and a backoff."""
    found = waiting_at(play.execution, path, "skip")
    assert found.state in (WAITING, BACKOFF)
    play.operate("skip", path)
    assert play.facts[-1].__class__.__name__ != "Late"


@pytest.mark.parametrize(
    "path, words, remedy",
    [
        ("sub", "waits for its child ex_", "Look at the child: `perdure why ex_"),
        ("locked", "waits for the lock `l`, which cannot be skipped", "Look at who holds it"),
        ("deferred", "waits for the answer of whoever has its token", "Answer by the token that the node gave."),
        ("ready", "waits for more of its branches", "Look at its branches"),
    ],
)
def test_a_wait_for_the_work_itself_cannot_be_skipped(play: Explained, path: str, words: str, remedy: str) -> None:
    """To go on without it would be another workflow; the engine would call the control late."""
    with pytest.raises(Refused) as refused:
        waiting_at(play.execution, path, "skip")
    assert words in refused.value.message
    assert refused.value.remedy.startswith(remedy)
    assert refused.value.code == "control.refused"
    play.operate("skip", path)
    assert play.facts[-1].__class__.__name__ == "Late"


@pytest.mark.parametrize("path", ["timed", "delay", "until", "retried"])
def test_an_end_that_can_be_moved_is_found(play: Explained, path: str) -> None:
    """When it ends by itself, or gives up; the end of a backoff too."""
    assert waiting_at(play.execution, path, "reschedule").state in (WAITING, BACKOFF)


@pytest.mark.parametrize(
    "path, remedy",
    [
        ("sig", "What ends it is `perdure signal ex_"),
        ("ev", "What ends it is `perdure emit paid`."),
        ("cond", "What ends it is `perdure skip ex_"),
        ("judged", "What ends it is `perdure skip ex_"),
        ("deferred", "`perdure why` tells what it waits for."),
    ],
)
def test_a_wait_without_an_end_has_none_to_move(play: Explained, path: str, remedy: str) -> None:
    """What ends it instead is named."""
    with pytest.raises(Refused, match="without a timeout: there is no end to move") as refused:
        waiting_at(play.execution, path, "reschedule")
    assert refused.value.remedy.startswith(remedy)


@pytest.mark.parametrize("action", ["skip", "reschedule"])
@pytest.mark.parametrize(
    "path, said",
    [("e", "Nothing waits at 'e': it is running."), ("after", "Nothing waits at 'after'."), ("x[0].y", "Nothing waits")],
)
def test_what_does_not_wait_is_refused(play: Explained, action: str, path: str, said: str) -> None:
    """What it does instead, and what waits."""
    with pytest.raises(NotFound) as refused:
        waiting_at(play.execution, path, action)
    assert refused.value.message.startswith(said)
    assert refused.value.remedy.startswith(("Did you mean", "There are"))


def test_where_nothing_waits_that_is_all_there_is_to_say() -> None:
    """With the command that shows the rest."""
    play = Explained(effects(a={}))
    play.start()
    with pytest.raises(NotFound) as refused:
        waiting_at(play.execution, "a", "skip")
    assert refused.value.remedy == "`perdure show` tells what waits."


def test_what_is_being_stopped_is_not_decided_any_more() -> None:
    """A child that was asked to stop is waited for."""
    play = Explained(effects(sub={"type": "subworkflow", "workflow": "w", "input": 1}))
    play.start()
    play.operate("cancel")
    with pytest.raises(Refused, match="is being stopped"):
        waiting_at(play.execution, "sub", "reschedule")


# -- the execution ---------------------------------------------------------------------------------------------------------


def test_a_pause_begins_once_and_ends_once(play: Explained) -> None:
    """A second one of either changes nothing, and is refused with what there is to do."""
    with pytest.raises(Refused, match="is not paused") as refused:
        refuse_to_unpause(play.execution)
    assert refused.value.code == "control.refused"
    refuse_to_pause(play.execution)
    play.operate("pause")
    with pytest.raises(Refused, match="is paused already") as refused:
        refuse_to_pause(play.execution)
    assert "perdure unpause ex_" in refused.value.remedy
    refuse_to_unpause(play.execution)


def test_only_an_open_loop_is_fed(play: Explained) -> None:
    """`add` and `close` to another container, or after it was closed, go nowhere; other signals are none of its business."""
    refuse_to_feed(play.execution, "add", "open")
    with pytest.raises(Refused, match="`each` takes no items"):
        refuse_to_feed(play.execution, "add", "each")
    refuse_to_feed(play.execution, "go", "each")
    refuse_to_feed(play.execution, "add", "sig")
    refuse_to_feed(play.execution, "add", "nowhere")
    play.signal("add", [1], path="open")
    play.signal("close", path="open")
    with pytest.raises(Refused, match="`open` takes no items"):
        refuse_to_feed(play.execution, "add", "open")
