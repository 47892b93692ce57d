"""The timeline in words: every kind of input and every fact has a line that a person can read."""

from __future__ import annotations

import typing
from typing import Any

import pytest

from perdure.cli.timeline import fact_words, input_words, timeline_lines
from perdure.engine import events
from perdure.engine.events import AnyInput, Token, encode
from perdure.ids import ExecutionId, id_text
from perdure.operations.executions import Moment
from perdure.operations.journal import fact_object

ID = bytes(range(16))
TOKEN = Token(frame="orders[3]", node="pay", visit=2, attempt=3)
INPUTS: list[tuple[Any, str]] = [
    (events.Start(execution=ID, by="ann"), "start by ann"),
    (events.Result(token=TOKEN), "result of orders[3].pay#2, attempt 3: succeeded"),
    (events.Due(kind="wait_timeout", due=1, frame="orders[3]", node="ask"), "timer: the wait timeout of orders[3].ask"),
    (events.Due(kind="scope", due=1, frame="orders[3]"), "timer: the scope of orders[3]"),
    (events.Due(kind="soft_timeout", due=1), "timer: the soft timeout of the workflow"),
    (events.Signal(id="s", name="go", key="k", by="ann"), "signal `go` with key k by ann"),
    (
        events.Operate(action="skip", node="ask", frame="orders[3]", by="ann", reason="no\nneed"),
        "skip orders[3].ask by ann: no need",
    ),
    (events.Operate(action="resume", by="ann"), "unpause by ann"),
    (events.Complete(token=TOKEN, by="ann"), "answer for orders[3].pay#2 by ann"),
    (events.Recovered(), "taken over after its worker died"),
    (events.Recovered(crashed=False), "taken up again"),
    (events.Continue(), "continued"),
    (events.Arrived(id="e", type="paid", subject="o-1", source="/shop"), "event `paid` about o-1 by /shop"),
    (
        events.ChildEnded(token=TOKEN, child=ID, status="timed_out"),
        f"{id_text(ExecutionId(ID))}, the child of orders[3].pay#2: timed out",
    ),
    (events.Granted(frame="orders[3]", node="pay", key="k"), "the lock `k` is free for orders[3].pay"),
]


@pytest.mark.parametrize("given, words", INPUTS)
def test_an_input_is_told_in_words(given: Any, words: str) -> None:
    """What came in, where, by whom and why."""
    assert input_words(given) == words


def test_every_kind_of_input_is_among_them() -> None:
    """So that a new one is not forgotten."""
    assert {type(given) for given, _ in INPUTS} == set(typing.get_args(AnyInput))


@pytest.mark.parametrize(
    "fact, words",
    [
        (events.FrameOpened(node="orders", scope="body", index=3), "frame opened orders  scope body, index 3"),
        (events.FrameClosed(frame="orders[3]", value=encode(1)), "frame closed orders[3]  status succeeded, value 1"),
        (
            events.Departing(frame="orders[3]", kind="break", cause="`x` broke"),
            "departing    orders[3]  kind break, cause `x` broke",
        ),
        (events.Returning(node="good", target="ask"), "returning    good  target ask"),
        (events.Paused(at=1, by="ann"), "paused         by ann"),
        (events.Unlocked(node="a", key="k"), "unlocked     a  key k"),
        (events.VariableSet(frame="each[1]", name="n", value=encode(2), node="add"), "variable set add  name n, value 2"),
    ],
)
def test_a_fact_is_told_in_words(fact: Any, words: str) -> None:
    """What happened, where, and what matters of it."""
    assert fact_words(fact_object(fact)) == words


def test_the_digest_of_a_child_is_left_out() -> None:
    """64 hexadecimal digits tell a person nothing; its id and workflow do."""
    fact = events.Waiting(node="bill", kind="child", name="billing", key="ab" * 32, child=ID)
    told = fact_words(fact_object(fact))
    assert "abab" not in told
    assert "name billing" in told
    assert "child ex_" in told


def test_times_are_told_by_the_clock_here() -> None:
    """Until when a signal is kept, when the budget for cleaning up is over; `until` of a loop is no time."""
    kept = fact_words(fact_object(events.SignalKept(id="s", name="go", until=1_700_000_000_000_000)))
    assert "until 2023-11-1" in kept
    closed = fact_words(fact_object(events.FrameClosed(frame="each[1]", until=True)))
    assert closed.endswith("until true")


def test_a_step_with_several_inputs_has_one_line_for_them() -> None:
    """Followed by its facts, each with its number."""
    moment = Moment(
        first_seq=7, at=1_700_000_000_000_000, inputs=[events.Recovered(), events.Operate(action="pause")],
        facts=[events.Paused(at=1), events.Lost(node="a")], cut=True,
    )  # fmt: skip
    day, step, first, second = timeline_lines([moment])
    assert day.strip().startswith("2023-11-1")
    assert step.endswith("taken over after its worker died; pause (cut, goes on)")
    assert (first.split()[:2], second.split()[:3]) == (["7", "paused"], ["8", "lost", "a"])
