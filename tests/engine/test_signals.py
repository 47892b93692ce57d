"""Signals: to exactly one waiter, kept when nobody waits (rules 46, 47, as far as they are built)."""

from __future__ import annotations

from typing import Any

import pytest
from recording import Recording

from perdure.engine import events
from perdure.testing.rehearsal import effects


def waiting(*names: str, **nodes: Any) -> Recording:
    """A started workflow whose nodes wait for `ok`, besides others."""
    waits = {name: {"type": "wait_for_signal", "signal": "ok"} for name in names}
    play = Recording(effects(**waits, **nodes))
    play.start({"id": "o-1"})
    return play


def test_rule_47_a_signal_ends_the_wait() -> None:
    """Its payload is the output, and who sent it is kept."""
    play = waiting("a", b={"after": "a", "with": {"p": "${ nodes.a }"}})
    play.signal("ok", {"by": "ada"}, by="ada")
    assert play.node_output("a") == {"by": "ada"}
    assert play.value(play.runs()[0].params) == {"p": {"by": "ada"}}
    (done,) = [fact for fact in play.facts if isinstance(fact, events.Done)]
    assert done.by == "ada"


def test_rule_47_exactly_one_waiter_the_oldest() -> None:
    """Two wait for the same name: the one that has waited longest is served, the other stays."""
    play = waiting("first", "second")
    play.signal("ok", 1)
    assert play.states() == {"first": "succeeded", "second": "waiting"}
    play.signal("ok", 2)
    assert play.status == "succeeded"
    assert (play.node_output("first"), play.node_output("second")) == (1, 2)


def test_rule_47_the_oldest_is_who_began_to_wait_first() -> None:
    """Not who is declared first."""
    play = Recording(
        effects(
            go={},
            late={"type": "wait_for_signal", "signal": "ok", "after": "go"},
            early={"type": "wait_for_signal", "signal": "ok"},
        )
    )
    play.start()
    play.succeed("go")
    play.signal("ok")
    assert play.states() == {"go": "succeeded", "late": "waiting", "early": "succeeded"}


def test_rule_47_the_oldest_is_known_after_a_crash() -> None:
    """The order of waiting is in the state."""
    play = Recording(
        effects(
            go={},
            late={"type": "wait_for_signal", "signal": "ok", "after": "go"},
            early={"type": "wait_for_signal", "signal": "ok"},
        )
    )
    play.start()
    play.succeed("go")
    play.crash()
    play.signal("ok")
    assert play.state("early") == "succeeded"


def test_rule_47_name_and_key_must_fit() -> None:
    """A wait with a key takes only signals with that key; one without takes only those without."""
    play = Recording(
        effects(
            plain={"type": "wait_for_signal", "signal": "paid"},
            keyed={"type": "wait_for_signal", "signal": "paid", "key": "${ input.id }"},
        )
    )  # fmt: skip
    play.start({"id": "o-1"})
    play.signal("paid", key="o-2")
    play.signal("shipped", key="o-1")
    assert play.states() == {"plain": "waiting", "keyed": "waiting"}
    play.signal("paid", 1, key="o-1")
    assert play.states() == {"plain": "waiting", "keyed": "succeeded"}
    play.signal("paid", 2)
    assert play.status == "succeeded"


def test_rule_47_a_key_that_is_no_text_is_compared_as_text() -> None:
    """An order number may be a number."""
    play = Recording(effects(a={"type": "wait_for_signal", "signal": "paid", "key": "${ input }"}))
    play.start(17)
    play.signal("paid", "yes", key="17")
    assert play.output == "yes"


def test_rule_47_a_path_names_the_waiter() -> None:
    """The signal goes to that wait and not to the oldest."""
    play = waiting("first", "second")
    play.signal("ok", 2, path="second")
    assert play.states() == {"first": "waiting", "second": "succeeded"}


def test_rule_47_an_early_signal_is_kept() -> None:
    """Nobody waits yet: it is found when somebody does, and does not wait then."""
    play = Recording(effects(go={}, a={"type": "wait_for_signal", "signal": "ok", "after": "go"}))
    play.start()
    play.signal("ok", "early")
    assert [kept.name for kept in play.execution.signals] == ["ok"]
    play.succeed("go")
    assert play.output == "early"
    assert play.execution.signals == []


def test_rule_47_kept_signals_are_taken_in_the_order_of_their_arrival() -> None:
    """First in, first out, each once, and only those that fit."""
    play = Recording(
        effects(
            go={}, a={"type": "wait_for_signal", "signal": "ok", "after": "go"},
            b={"type": "wait_for_signal", "signal": "ok", "after": "a"},
            c={"type": "wait_for_signal", "signal": "ok", "after": "b"},
        )
    )  # fmt: skip
    play.start()
    play.signal("ok", 1)
    play.signal("no", 9)
    play.signal("ok", 2)
    play.succeed("go")
    assert (play.node_output("a"), play.node_output("b"), play.state("c")) == (1, 2, "waiting")
    assert [kept.name for kept in play.execution.signals] == ["no"]


def test_rule_47_a_kept_signal_with_a_path_is_kept_for_that_wait() -> None:
    """Others pass it over."""
    play = Recording(
        effects(
            go={}, a={"type": "wait_for_signal", "signal": "ok", "after": "go"},
            b={"type": "wait_for_signal", "signal": "ok", "after": "go"}
        )
    )  # fmt: skip
    play.start()
    play.signal("ok", "for b", path="b")
    play.succeed("go")
    assert play.states() == {"go": "succeeded", "a": "waiting", "b": "succeeded"}


def test_rule_47_a_kept_signal_survives_a_crash() -> None:
    """It is in the state."""
    play = Recording(effects(go={}, a={"type": "wait_for_signal", "signal": "ok", "after": "go"}))
    play.start()
    play.signal("ok", "early")
    play.crash()
    play.succeed("go")
    assert play.output == "early"


def test_rule_47_a_final_execution_refuses() -> None:
    """What arrives after the end is late and is not kept."""
    play = waiting("a")
    play.signal("ok")
    assert play.status == "succeeded"
    assert play.kinds(play.signal("ok")) == ["Late"]
    assert play.execution.signals == []


def test_rule_47_a_signal_for_a_wait_that_was_cancelled_is_kept() -> None:
    """A wait that is over takes nothing; while the execution lasts, the signal is kept."""
    play = waiting("a", b={})
    play.operate("cancel")
    assert play.state("a") == "cancelled"
    assert play.kinds(play.signal("ok")) == ["SignalKept"]
    assert play.state("a") == "cancelled"


def test_rule_47_a_parked_execution_keeps_it() -> None:
    """Signals arrive while people are asked."""
    play = Recording(
        {**effects(go={}, a={"type": "wait_for_signal", "signal": "ok", "after": "go"}), "settings": {"park": True}}
    )
    play.start()
    play.fail("go")
    play.signal("ok", "kept")
    play.operate("complete", "go")
    assert play.output == "kept"


def test_rule_46_a_kept_signal_beats_a_timeout_of_zero() -> None:
    """What is there already is taken before anything is waited for."""
    play = Recording(effects(go={}, a={"type": "wait_for_signal", "signal": "ok", "after": "go", "timeout": "0s"}))
    play.start()
    play.signal("ok", "early")
    play.succeed("go")
    assert play.output == "early"


def test_rule_46_a_signal_after_the_timeout_is_kept_for_the_next_wait() -> None:
    """The wait is over; the signal belongs to whoever waits next."""
    play = Recording(
        effects(
            a={"type": "wait_for_signal", "signal": "ok", "timeout": "1m", "on_timeout": "continue"},
            go={"after": "a"}, b={"type": "wait_for_signal", "signal": "ok", "after": "go"},
        )
    )  # fmt: skip
    play.start()
    play.pass_time(60)
    play.signal("ok", "late")
    play.succeed("go")
    assert play.node_output("a") == {"timed_out": True}
    assert play.node_output("b") == "late"


@pytest.mark.parametrize("signal", [1, None, ["ok"], {"name": "ok"}])
def test_rule_47_a_name_that_is_no_text_fails_the_wait(signal: Any) -> None:
    """A signal has a name."""
    play = Recording(effects(a={"type": "wait_for_signal", "signal": "${ input }"}))
    play.start(signal)
    assert play.status == "failed"
    assert play.error is not None
    assert play.error.code == "expression.type"
