"""`skip`, `reschedule`, and signals to many, for a while, to loops; and a signal that is given with a start."""

from __future__ import annotations

import re
from typing import Any

import pytest
from command_line import ASK, Perdure

GATES = {
    "each": {
        "type": "loop", "over": "${ [1, 2] }", "concurrency": 2,
        "body": {"nodes": {"gate": {"type": "wait_for_signal", "signal": "go"}}},
    },
}  # fmt: skip


def kept(perdure: Perdure, nodes: dict[str, Any], **rest: Any) -> str:
    """Start these nodes and leave them waiting; the execution's id."""
    return str(perdure.run(nodes, "--no-wait", **rest).last["execution"])


def facts(perdure: Perdure, execution: str) -> list[dict[str, Any]]:
    """The facts of the execution's journal."""
    return [fact for step in perdure("show", execution, "--json").lines for fact in step["facts"]]


# -- skip ------------------------------------------------------------------------------------------------------------------


def test_rule_46_a_wait_is_skipped(perdure: Perdure) -> None:
    """It ends with `{skipped: true}`, in a frame too; who and why stand in the journal."""
    execution = kept(perdure, GATES)
    skipped = perdure("skip", execution, "each[1].gate", "--reason", "not needed")
    assert (skipped.code, skipped.stdout) == (0, "")
    assert f"skip each[1].gate: sent to {execution}" in skipped.stderr
    assert f"it goes on with: perdure resume {execution}" in skipped.stderr
    perdure("signal", execution, "go", "--payload", "1")
    resumed = perdure("resume", "--json")
    assert resumed.last["output"]["results"] == [1, {"skipped": True}]
    shown = perdure("show", execution).stdout
    assert "skip each[1].gate by " in shown
    assert ": not needed" in shown


def test_rule_46_a_backoff_is_skipped(perdure: Perdure) -> None:
    """The next attempt begins now, in the process that runs the execution."""
    nodes = {"a": {"type": "test.fails_first", "retry": {"attempts": 2, "initial": "1h", "jitter": False}}}
    process = perdure.start("run", perdure.flow(nodes))
    execution = process.until_fact("retrying", "a")["execution"]
    assert perdure("skip", execution, "a").stderr == f"skip a: sent to {execution}\n"
    assert process.end().last["output"] == 2


# -- reschedule ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["1ms", "2020-01-01T00:00:00Z"])
def test_rule_46_an_end_is_moved(perdure: Perdure, to: str) -> None:
    """To a while from now, or to a time; one that has passed ends the wait at once."""
    process = perdure.start("run", perdure.flow({"d": {"type": "delay", "for": "1h"}}))
    execution = process.until_fact("waiting", "d")["execution"]
    moved = perdure("reschedule", execution, "d", "--to", to, "--reason", "soon")
    assert moved.code == 0
    assert moved.stderr.startswith("reschedule d to ")
    finished = process.end()
    assert (finished.code, [line["fact"] for line in finished.lines if line.get("node") == "d"]) == (
        0, ["waiting", "rescheduled", "done"],
    )  # fmt: skip


def test_rule_46_a_timeout_is_moved(perdure: Perdure) -> None:
    """Of a wait that does not end by itself it is the timeout."""
    execution = kept(perdure, {"ask": {**ASK["ask"], "timeout": "1h"}})
    perdure("reschedule", execution, "ask", "--to", "2040-01-01T00:00:00+01:00")
    perdure("resume", execution, "--no-wait")
    (moved,) = [fact for fact in facts(perdure, execution) if fact["fact"] == "rescheduled"]
    assert moved["timeout_at"] == "2039-12-31T23:00:00Z"


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["skip", "ID", "ask", "--bogus"], "--bogus"),
        (["skip", "ID"], "PATH"),
        (["skip", "ID", "asks"], "Did you mean `ask`?"),
        (["skip", "ID", "then"], "Nothing waits at 'then'."),
        (["skip", "ID", "ask#2"], "Did you mean `ask`?"),
        (["skip", "ID", "sub"], "waits for its child ex_"),
        (["skip", "ENDED", "a"], "Nothing waits at 'a': it is succeeded."),
        (["reschedule", "ID", "ask"], "--to"),
        (["reschedule", "ID", "ask", "--to", "soon"], "--to: Expected a duration, but got 'soon'."),
        (["reschedule", "ID", "ask", "--to", "0s"], "--to: Expected some time"),
        (["reschedule", "ID", "ask", "--to", "2030-13-01T00:00:00Z"], "--to: Expected a time that exists"),
        (["reschedule", "ID", "ask", "--to", "2030-01-01T00:00:00"], "--to: Expected a time with an offset"),
        (["reschedule", "ID", "ask", "--to", "5m"], "`ask` waits for the signal `go` without a timeout"),
        (["signal", "ID", "go", "--ttl", "never"], "--ttl: Expected a duration"),
        (["signal", "ID", "go", "--ttl", "0s"], "--ttl: Expected some time"),
        (["signal", "ID", "go", "--to-all", "--ttl", "1h"], "Expected --to-all alone, but there is --ttl too."),
        (["signal", "ID", "go", "--to-all", "--path", "ask"], "Expected --to-all alone, but there is --path too."),
        (["signal", "ID", "add", "--path", "loop"], "`loop` takes no items"),
        (["signal", "ID", "go", "--path", "asks"], "Did you mean `ask`?"),
        (["signal", "ID", "x", "--path", "g"], "Did you mean `loop[0].g`?"),
    ],
)
def test_a_control_that_cannot_be_meant_is_refused(perdure: Perdure, arguments: list[str], said: str) -> None:
    """Exit code 2, a sentence with the remedy, and nothing was sent."""
    perdure.flow(ASK, name="child")
    nodes = {
        **ASK,
        "then": {"type": "transform", "after": "ask", "to": 1},
        "sub": {"type": "subworkflow", "workflow": "child"},
        "loop": {"type": "loop", "over": "${ [1] }", "body": {"nodes": {"g": {"type": "wait_for_signal", "signal": "x"}}}},
    }
    named = {"ENDED": perdure.run({"a": {"type": "transform", "to": 1}}, name="ended").last["execution"]}
    named["ID"] = kept(perdure, nodes)
    before = perdure("show", named["ID"], "--json").stdout
    finished = perdure(*(named.get(argument, argument) for argument in arguments))
    assert (finished.code, finished.stdout) == (2, ""), finished
    assert said in finished.stderr
    perdure("resume", named["ID"], "--no-wait")
    assert perdure("show", named["ID"], "--json").stdout == before


# -- signals ---------------------------------------------------------------------------------------------------------------


def test_rule_47_a_signal_goes_to_all_that_wait(perdure: Perdure) -> None:
    """With --to-all each of them takes it, and it is kept for nobody."""
    process = perdure.start("run", perdure.flow(GATES))
    execution = process.until_fact("waiting", "each[1].gate")["execution"]
    assert perdure("signal", execution, "go", "--payload", "5", "--to-all").code == 0
    assert process.end().last["output"]["results"] == [5, 5]
    assert not [fact for fact in facts(perdure, execution) if fact["fact"] == "signal_kept"]


def test_rule_47_a_signal_is_kept_for_a_while(perdure: Perdure) -> None:
    """With --ttl until then: one whose time has passed is not found by a wait that begins later."""
    nodes = {"first": {"type": "wait_for_signal", "signal": "first"}, "ask": {**ASK["ask"], "after": "first"}}
    process = perdure.start("run", perdure.flow(nodes))
    execution = process.until_fact("waiting", "first")["execution"]
    perdure("signal", execution, "go", "--ttl", "1ms", "--payload", '"early"')
    kept_until = process.until(lambda line: line.get("fact") == "signal_kept")
    assert kept_until["until"] > kept_until["at"]
    perdure("signal", execution, "go", "--ttl", "1h", "--payload", '"in time"')
    process.until(lambda line: line.get("fact") == "signal_kept")
    perdure("signal", execution, "first")
    assert process.end().last["output"] == "in time"


def test_rule_28_an_open_loop_is_fed_and_closed(perdure: Perdure) -> None:
    """By its path; while it waits for more, a run says how, and with --no-wait leaves with 4."""
    loop = {
        "type": "loop",
        "over": "${ [1] }",
        "open": True,
        "body": {"nodes": {"a": {"type": "transform", "to": "${ item }"}}},
    }
    finished = perdure.run({"feed": loop}, "--no-wait")
    execution = finished.last["execution"]
    assert (finished.code, finished.last["status"]) == (4, "waiting"), finished
    assert f"feed is open for more items: perdure signal {execution} add --path feed --payload '[…]'" in finished.stderr
    assert re.search(r"feed +running +1 of 1, open for more", perdure("show", execution).stdout)
    assert perdure("signal", execution, "add", "--path", "feed", "--payload", "[2, 3]").code == 0
    assert perdure("signal", execution, "close", "--path", "feed").code == 0
    resumed = perdure("resume", "--json")
    assert resumed.last["output"]["results"] == [1, 2, 3]


# -- a signal with a start -------------------------------------------------------------------------------------------------

GATHERS = {
    "one": {"type": "wait_for_signal", "signal": "item"},
    "two": {"type": "wait_for_signal", "after": "one", "signal": "item"},
}


def gather(perdure: Perdure, *arguments: str) -> Any:
    flow = perdure.flow(GATHERS, output="${ [nodes.one, nodes.two] }")
    return perdure("run", flow, "--key", "order-1", "--signal", "item", *arguments, "--no-wait", "--json")


def test_a_signal_with_a_start_reaches_the_one_of_the_key(perdure: Perdure) -> None:
    """The first call starts the execution, the second finds it; a signal with the same id counts once."""
    first = gather(perdure, "--payload", "1", "--signal-id", "s-1")
    execution = first.last["execution"]
    assert (first.code, first.last["status"]) == (4, "waiting"), first
    assert f"sent `item` to {execution}" in first.stderr
    again = gather(perdure, "--payload", "1", "--signal-id", "s-1")
    assert (again.code, again.last["execution"]) == (4, execution), again
    assert f"{execution} was started with this key before" in again.stderr
    assert "a signal with the id s-1 was sent before; it counts once" in again.stderr
    second = gather(perdure, "--payload", "2", "--signal-id", "s-2")
    assert (second.code, second.last["output"]) == (0, [1, 2]), second
    last = gather(perdure, "--payload", "2", "--signal-id", "s-2")
    assert (last.code, last.last["output"]) == (0, [1, 2]), last
    refused = gather(perdure, "--payload", "3", "--signal-id", "s-3")
    assert (refused.code, refused.stdout) == (2, "")
    assert "[execution.ended]" in refused.stderr


def test_a_signal_with_a_start_may_have_a_key_of_its_own(perdure: Perdure) -> None:
    """Of the wait, not of the start; a start without a key is always a new one."""
    flow = perdure.flow({"ask": {**ASK["ask"], "key": "k"}})
    finished = perdure("run", flow, "--signal", "go", "--signal-key", "k", "--payload", "5", "--json")
    assert (finished.code, finished.last["output"]) == (0, 5), finished
    other = perdure("run", flow, "--signal", "go", "--no-wait", "--json")
    assert other.code == 4
    assert other.last["execution"] != finished.last["execution"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--payload", "1"], "Expected --signal NAME with --payload."),
        (["--signal-key", "k", "--signal-id", "i"], "Expected --signal NAME with --signal-key and --signal-id."),
        (["--signal", "go", "--payload", "{"], "--payload: Expected JSON"),
        (["--signal", "go", "--payload", "@gone.json"], "gone.json"),
    ],
)
def test_a_signal_with_a_start_that_cannot_be_meant_starts_nothing(perdure: Perdure, arguments: list[str], said: str) -> None:
    """Exit code 2, and no store comes into being."""
    finished = perdure("run", perdure.flow(ASK), *arguments)
    assert (finished.code, finished.stdout) == (2, "")
    assert said in finished.stderr
    assert not perdure.store.exists()
