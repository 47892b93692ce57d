"""Locks on the bare engine: asked for after `when`, held until final, given back with the last fact (rule 59)."""

from __future__ import annotations

from typing import Any

from recording import Recording
from ways import Begin, scope

from perdure.engine import events
from perdure.engine.commands import Lock


def grant(play: Recording, path: str, key: str = "k") -> None:
    """The home has the lock for this instance."""
    frame, _, node = path.rpartition(".")
    play.take(events.Granted(frame=frame, node=node, key=key))


def wanted(play: Recording) -> list[tuple[str, str, str]]:
    """The locks that were asked for: frame, node, key; each once."""
    asked = [(command.frame, command.node, command.key) for command in play.commands if isinstance(command, Lock)]
    return list(dict.fromkeys(asked))


def unlocked(play: Recording) -> list[str]:
    return [fact.key for fact in play.facts if isinstance(fact, events.Unlocked)]


def test_rule_59_the_lock_is_asked_for_after_when(begin: Begin) -> None:
    """A node that does not run asks for none; its key is a text."""
    play = begin({"a": {"lock": "${ input }"}, "b": {"lock": "x", "when": "${ false }"}}, 7)
    assert wanted(play) == [("", "a", "7")]
    assert play.states() == {"a": "waiting", "b": "skipped"}
    grant(play, "a", "7")
    assert play.state("a") == "running"


def test_rule_59_it_is_held_until_the_node_is_final(begin: Begin) -> None:
    """Over retries too; then it is given back in the same step."""
    play = begin({"a": {"lock": "k", "retry": {"attempts": 2, "initial": "1s", "jitter": False}}})
    grant(play, "a")
    play.fail("a")
    assert unlocked(play) == []
    play.pass_time(1)
    play.succeed("a")
    assert unlocked(play) == ["k"]
    assert play.status == "succeeded"


def test_rule_59_a_container_holds_it_over_its_waits(begin: Begin) -> None:
    """And over its own retries."""
    body = scope(d={"type": "delay", "for": "1h"}, x={"after": "d"})
    play = begin({"t": {"type": "try", "lock": "k", "body": body, "retry": {"attempts": 2, "initial": "1s", "jitter": False}}})
    grant(play, "t")
    play.pass_time(3_600)
    play.fail("t.body.x")
    play.pass_time(3_601)
    assert unlocked(play) == []
    play.succeed("t~2.body.x")
    assert unlocked(play) == ["k"]
    assert wanted(play) == [("", "t", "k")]


def test_rule_59_a_deadline_runs_while_it_waits(begin: Begin) -> None:
    """`timeout` does not: it begins when the lock is there."""
    play = begin({"a": {"lock": "k", "timeout": "1s", "deadline": "1m"}, "b": {"after": "a.timeout"}})
    play.pass_time(59)
    assert play.state("a") == "waiting"
    play.pass_time(1)
    assert play.states() == {"a": "failed", "b": "running"}


def test_rule_59_a_lock_that_comes_too_late_is_given_back(begin: Begin) -> None:
    """Who was cancelled meanwhile keeps nothing."""
    play = begin({"a": {"lock": "k"}, "b": {}, "c": {}}, settings={"on_failure": "isolate"})
    play.take(events.Operate(action="cancel", by="operator"))
    grant(play, "a")
    assert unlocked(play) == ["k"]
    assert play.state("a") == "cancelled"


def test_rule_59_a_lock_that_is_granted_twice_is_held_once(begin: Begin) -> None:
    """A home that asked again after a crash hears of it twice."""
    play = begin({"a": {"lock": "k"}})
    grant(play, "a")
    grant(play, "a")
    assert unlocked(play) == []
    play.succeed("a")
    assert unlocked(play) == ["k"]


def test_rule_59_a_new_home_asks_again(begin: Begin) -> None:
    """For who waits; who holds it goes on."""
    play = begin({"a": {"lock": "k"}, "b": {"lock": "k"}})
    grant(play, "a")
    play.commands.clear()
    play.crash()
    assert wanted(play) == [("", "b", "k")]
    assert play.execution.frames[""].instances["a"].lock == "k"


def test_rule_59_a_key_that_cannot_be_evaluated_fails_the_node(begin: Begin) -> None:
    """Before anything is asked for."""
    play = begin({"a": {"lock": "${ input.missing }"}}, {})
    assert play.error is not None
    assert play.error.code == "expression.missing"
    assert wanted(play) == []


def test_rule_59_iterations_ask_one_by_one(begin: Begin) -> None:
    """Each instance for itself, by its own path."""
    nodes: dict[str, Any] = {"l": {"type": "loop", "over": [1, 2], "concurrency": 2, "body": scope(x={"lock": "k"})}}
    play = begin(nodes)
    assert wanted(play) == [("l[0]", "x", "k"), ("l[1]", "x", "k")]
    grant(play, "l[0].x")
    play.succeed("l[0].x")
    grant(play, "l[1].x")
    play.succeed("l[1].x")
    assert play.status == "succeeded"


def test_rule_59_a_parked_holder_keeps_it_over_a_retry(begin: Begin) -> None:
    """It is not final: an operator's retry begins at once, under the lock that it has."""
    play = begin({"t": {"type": "try", "lock": "key", "park": True, "body": scope(x={})}})
    play.take(events.Granted(node="t", key="key"))
    play.fail("t.body.x")
    assert (play.state("t"), play.instance("t").lock) == ("parked", "key")
    play.operate("retry", "t")
    assert play.running() == ["t~2.body.x"]
    play.succeed("t~2.body.x")
    assert [fact.key for fact in play.facts if isinstance(fact, events.Unlocked)] == ["key"]
