"""Sub-workflows on the bare engine: the wish for a child, its end, and being asked to stop (rules 40, 41)."""

from __future__ import annotations

from typing import Any

import pytest
from recording import Recording
from ways import Begin, Played, scope

from perdure.engine import events
from perdure.engine.commands import Command, StartChild, StopChild
from perdure.errors import Failure
from perdure.ids import ExecutionId, child_id
from perdure.testing.rehearsal import EXECUTION

SUB: dict[str, Any] = {"type": "subworkflow", "workflow": "child", "input": {"n": "${ 1 + 1 }"}}


def asked(play: Recording, kind: type[Any] = StartChild) -> list[Any]:
    """What was asked for children, without repeats after a takeover."""
    found: dict[tuple[bytes, str], Command] = {}
    for command in play.commands:
        if isinstance(command, kind):
            found.setdefault((command.child, getattr(command, "key", "")), command)
    return list(found.values())


def ends(
    play: Recording, status: str = "succeeded", output: Any = None, error: Failure | None = None, number: int = -1
) -> None:
    """The child that was asked for last, or that of this number, comes to its end."""
    command = asked(play)[number]
    play.take(
        events.ChildEnded(token=command.token, child=command.child, status=status, output=play.encoded(output), error=error)
    )


def test_rule_40_the_node_waits_for_a_child_of_a_derived_id(begin: Begin) -> None:
    """The id comes from parent, path, visit and attempt; the input is evaluated once."""
    play = begin({"sub": SUB, "after": {"after": "sub", "with": {"x": "${ nodes.sub }"}}})
    (command,) = asked(play)
    assert command.child == child_id(play.now, ExecutionId(EXECUTION), "sub", 1, 1)
    assert (command.workflow, play.value(command.input), command.depth, command.awaited) == ("child", {"n": 2}, 1, True)
    assert play.state("sub") == "waiting"
    ends(play, output={"done": True})
    assert play.state("sub") == "succeeded"
    assert play.node_output("sub") == {"done": True}
    play.succeed("after")
    assert play.status == "succeeded"


def test_rule_40_a_takeover_asks_for_the_same_child() -> None:
    """The wish follows from the state, so a new home has it too."""
    play = Recording({"perdure": 1, "name": "w", "nodes": {"sub": SUB}})
    play.start()
    play.crash()
    first, again = [command for command in play.commands if isinstance(command, StartChild)]
    assert first == again


def test_rule_40_a_retry_starts_a_new_child(begin: Begin) -> None:
    """Each attempt is another execution; three attempts are three children."""
    play = begin({"sub": {**SUB, "retry": {"attempts": 3, "initial": "1s", "jitter": False}}})
    for _ in range(3):
        ends(play, "failed", error=Failure(code="x.y", title="No."))
        play.pass_time(10)
    children = [command.child for command in asked(play)]
    assert len(set(children)) == 3
    assert play.error is not None
    assert (play.status, play.error.code) == ("failed", "x.y")
    assert [attempt["code"] for attempt in play.error.attempts] == ["x.y"] * 3


def test_rule_40_the_failure_of_the_child_is_the_cause(begin: Begin) -> None:
    """Code and category pass through, so that an edge can match them; the child's own error is inside."""
    play = begin({"sub": SUB, "mend": {"after": "sub.error", "with": {"c": "${ error.cause.node }"}}})
    ends(play, "failed", error=Failure(code="card.declined", title="No.", category="business", node="pay"))
    assert play.states() == {"sub": "failed", "mend": "running"}
    error = play.instance("sub").error
    assert error is not None
    assert error.cause is not None
    assert (error.code, error.category, error.node, error.cause.node) == ("card.declined", "business", "sub", "pay")


@pytest.mark.parametrize(
    "status, code, category",
    [("cancelled", "subworkflow.cancelled", "cancelled"), ("timed_out", "timeout.subworkflow", "timeout")],
)
def test_rule_40_a_child_that_did_not_fail_by_itself(begin: Begin, status: str, code: str, category: str) -> None:
    """Cancelled by somebody: category `cancelled`; timed out: category `timeout`."""
    play = begin({"sub": SUB})
    ends(play, status)
    assert play.error is not None
    assert (play.error.code, play.error.category) == (code, category)


def test_rule_40_an_end_that_is_not_awaited_is_late(begin: Begin) -> None:
    """Of an earlier attempt, of another child, or said twice: it changes nothing."""
    play = begin({"sub": {**SUB, "retry": {"attempts": 2, "initial": "1s", "jitter": False}}, "b": {}})
    ends(play, "failed", error=Failure(code="x.y", title="No."))
    play.pass_time(2)
    ends(play, output="old", number=0)
    assert play.state("sub") == "waiting"
    ends(play, output="new")
    ends(play, output="again")
    assert play.node_output("sub") == "new"
    assert [fact.what for fact in play.facts if isinstance(fact, events.Late)] == ["child's end"] * 2


def test_rule_40_depth_is_limited(begin: Begin) -> None:
    """A child at the last depth may have no children."""
    play = begin({"sub": SUB}, start={"depth": 2}, settings={"depth_max": 2})
    assert play.error is not None
    assert play.error.code == "subworkflow.too_deep"
    assert asked(play) == []


def test_rule_40_pinned_and_channel(begin: Begin) -> None:
    """Pinned is what the start says; channel leaves it open."""
    nodes = {"a": SUB, "b": {**SUB, "version": "channel"}, "c": {**SUB, "workflow": "other"}}
    play = begin(nodes, start={"children": {"child": b"\x01" * 32}})
    assert [command.digest for command in asked(play)] == [b"\x01" * 32, b"", b""]


def test_rule_40_one_that_is_not_waited_for_is_done_when_it_has_started(begin: Begin) -> None:
    """Its output names the execution; the wish says that nobody waits."""
    play = begin({"sub": {**SUB, "wait": False, "on_parent_close": "cancel"}, "b": {}})
    (command,) = asked(play)
    assert not command.awaited
    play.take(events.Result(token=command.token, output=play.encoded({"execution": "ex_1"})))
    assert play.node_output("sub") == {"execution": "ex_1"}
    assert [child.on_parent_close for child in play.execution.detached] == ["cancel"]


def test_rule_40_a_child_that_cannot_be_started_fails_its_node(begin: Begin) -> None:
    """The home reports it as a result, and nothing is retried."""
    play = begin({"sub": {**SUB, "retry": {"attempts": 5}}})
    (command,) = asked(play)
    unknown = Failure(code="workflow.unknown", title="No such.", category="validation", retryable=False)
    play.take(events.Result(token=command.token, outcome="failed", error=unknown))
    assert play.error is not None
    assert play.error.code == "workflow.unknown"


def test_rule_40_in_frames_each_has_a_child_of_its_own(begin: Begin) -> None:
    """The path is part of the id, so iterations do not share a child."""
    play = begin({"l": {"type": "loop", "over": [1, 2], "concurrency": 2, "body": scope(sub=SUB), "result": "${ nodes.sub }"}})
    assert len({command.child for command in asked(play)}) == 2
    ends(play, output="b", number=1)
    ends(play, output="a", number=0)
    assert play.node_output("l")["results"] == ["a", "b"]


# -- being asked to stop ---------------------------------------------------------------------------------------------------


def stopping(begin: Begin, **node: Any) -> Played:
    """A sibling fails, so the sub-workflow is to be cancelled."""
    play = begin({"sub": {**SUB, **node}, "a": {}})
    play.fail("a", "x.y")
    return play


def test_rule_41_a_cancel_waits_for_the_childs_end(begin: Begin) -> None:
    """The child is asked; only its end makes the node cancelled."""
    play = stopping(begin)
    assert [(command.action, command.reason) for command in asked(play, StopChild)] == [("cancel", "sibling `a` failed: x.y")]
    assert play.status == ""
    ends(play, "cancelled")
    assert (play.state("sub"), play.status) == ("cancelled", "failed")


def test_rule_41_a_child_that_succeeds_before_it_has_stopped_has_succeeded(begin: Begin) -> None:
    """As with any attempt (rule 12)."""
    play = stopping(begin)
    ends(play, output=7)
    assert (play.state("sub"), play.status) == ("succeeded", "failed")


def test_rule_41_it_is_let_go_when_the_budget_is_used(begin: Begin) -> None:
    """After the cleanup budget nobody waits any more, and the cause says so."""
    play = stopping(begin)
    play.pass_time(59)
    assert play.status == ""
    play.pass_time(2)
    assert play.state("sub") == "cancelled"
    assert "was let go" in play.instance("sub").cause
    assert play.status == "failed"


def test_rule_41_abandon_lets_go_at_once(begin: Begin) -> None:
    """Nobody is asked, nothing is waited for."""
    play = stopping(begin, on_cancel="abandon")
    assert asked(play, StopChild) == []
    assert (play.state("sub"), play.status) == ("cancelled", "failed")


def test_rule_41_its_timeout_stops_the_child_and_is_the_nodes_failure(begin: Begin) -> None:
    """The child is asked to stop; then the node fails with category `timeout`."""
    play = begin({"sub": {**SUB, "timeout": "10s"}, "late": {"after": "sub.timeout"}})
    play.pass_time(10)
    assert [command.action for command in asked(play, StopChild)] == ["cancel"]
    ends(play, "cancelled")
    assert play.states() == {"sub": "failed", "late": "running"}
    assert play.instance("sub").error.code == "timeout"  # type: ignore[union-attr]  # it failed


def test_rule_41_the_deadline_handed_down_is_the_earlier_one(begin: Begin) -> None:
    """Of the node's own and of what is left to the workflow."""
    play = begin({"own": {**SUB, "deadline": "5s"}, "rest": SUB}, settings={"timeout": "1m"})
    second = 1_000_000
    assert [command.deadline_at - play.now for command in asked(play)] == [5 * second, 60 * second]


def test_rule_41_a_pause_reaches_awaited_children(begin: Begin) -> None:
    """And so does going on, with the same clocks; a child that nobody waits for hears nothing."""
    play = begin({"sub": SUB, "alone": {**SUB, "wait": False}})
    play.operate("pause")
    play.operate("resume", value=play.encoded("running"))
    orders = asked(play, StopChild)
    assert [(command.action, play.value(command.value)) for command in orders] == [("pause", None), ("resume", "running")]
    assert {command.child for command in orders} == {asked(play)[0].child}


def test_rule_14_a_parked_sub_workflow_is_retried_as_a_new_child(begin: Begin) -> None:
    """With the same input, or another one."""
    play = begin({"sub": {**SUB, "park": True}})
    ends(play, "failed", error=Failure(code="x.y", title="No."))
    assert play.state("sub") == "parked"
    play.operate("retry", "sub", value=play.encoded({"n": 3}))
    assert [play.value(command.input) for command in asked(play)] == [{"n": 2}, {"n": 3}]
    ends(play, output="mended")
    assert play.node_output("sub") == "mended"
