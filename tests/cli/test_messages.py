"""`signal`, `cancel`, `retry`, `complete` and `fail` reach an execution, whether another process runs it or nobody does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from command_line import ASK, PARKS, Perdure

HANGS = {"work": {"type": "test.hangs"}}


def kept(perdure: Perdure, nodes: dict[str, Any], **rest: Any) -> str:
    """Start these nodes and leave them waiting; the execution's id."""
    return str(perdure.run(nodes, "--no-wait", **rest).last["execution"])


def journal(perdure: Perdure, execution: str) -> list[dict[str, Any]]:
    return perdure("show", execution, "--json").lines


def inputs(perdure: Perdure, execution: str, type: str) -> list[dict[str, Any]]:
    """The inputs of this type that the execution took in."""
    return [given for step in journal(perdure, execution) for given in step["inputs"] if given["type"] == type]


# -- signal --------------------------------------------------------------------------------------------------------------


def test_a_signal_reaches_the_process_that_runs_the_execution(perdure: Perdure) -> None:
    """The payload is the output of the node that waited, and the journal says who sent it."""
    process = perdure.start("run", perdure.flow(ASK))
    execution = process.until_fact("waiting", "ask")["execution"]
    sent = perdure("signal", execution, "go", "--payload", '{"ok": true}')
    assert (sent.code, sent.stdout) == (0, "")
    assert "no process runs it" not in sent.stderr
    assert process.end().last["output"] == {"ok": True}
    (given,) = inputs(perdure, execution, "signal")
    assert (given["name"], given["payload"]) == ("go", {"ok": True})
    assert given["by"].endswith("@cli")


def test_rule_47_a_signal_goes_to_the_waiter_with_its_key(perdure: Perdure) -> None:
    """With a key only the wait with that key is meant; one that nobody waits for is kept."""
    nodes = {name: {"type": "wait_for_signal", "signal": "go", "key": name} for name in ("one", "two")}
    process = perdure.start("run", perdure.flow(nodes))
    execution = process.until_fact("waiting", "two")["execution"]
    perdure("signal", execution, "go", "--key", "two", "--payload", "2")
    assert process.until_fact("done", "two")["output"] == 2
    perdure("signal", execution, "go", "--payload", "3")
    process.until(lambda line: line.get("fact") == "signal_kept")
    perdure("signal", execution, "go", "--key", "one", "--payload", "1")
    assert process.end().last["output"] == {"one": 1, "two": 2}


def test_rule_47_a_signal_goes_to_the_node_that_is_named(perdure: Perdure) -> None:
    """--path picks one of several that wait for the same."""
    nodes = {name: {"type": "wait_for_signal", "signal": "go"} for name in ("one", "two")}
    process = perdure.start("run", perdure.flow(nodes))
    execution = process.until_fact("waiting", "two")["execution"]
    perdure("signal", execution, "go", "--path", "two", "--payload", "2")
    process.until_fact("done", "two")
    perdure("signal", execution, "go", "--payload", "1")
    assert process.end().last["output"] == {"one": 1, "two": 2}


def test_rule_47_a_signal_with_the_same_id_counts_once(perdure: Perdure) -> None:
    """The second one is said to have been sent before; the execution takes in one."""
    execution = kept(perdure, ASK)
    assert "sent `go`" in perdure("signal", execution, "go", "--id", "s1", "--payload", "1").stderr
    again = perdure("signal", execution, "go", "--id", "s1", "--payload", "2")
    assert again.code == 0
    assert "was sent before" in again.stderr
    assert perdure("resume", "--json").last["output"] == 1
    assert len(inputs(perdure, execution, "signal")) == 1


def test_a_signal_to_what_nobody_runs_waits_for_resume(perdure: Perdure) -> None:
    """It is kept in the inbox, and the answer says which command goes on with the execution."""
    execution = kept(perdure, ASK)
    assert f"it goes on with: perdure resume {execution}" in perdure("signal", execution, "go").stderr
    resumed = perdure("resume", execution, "--no-wait", "--json")
    assert (resumed.code, resumed.last["status"]) == (0, "succeeded")


def test_a_large_payload_arrives_whole(perdure: Perdure) -> None:
    """What is too large for the journal goes by the blob store, from a file here."""
    (perdure.folder / "large.json").write_text(json.dumps("x" * 300_000))
    execution = kept(perdure, ASK)
    assert perdure("signal", execution, "go", "--payload", "@large.json").code == 0
    assert perdure("resume", "--json").last["output"] == "x" * 300_000


# -- cancel --------------------------------------------------------------------------------------------------------------


def test_cancel_stops_what_another_process_runs(perdure: Perdure) -> None:
    """The run ends with exit code 3, its attempt is stopped, and the journal has who and why."""
    process = perdure.start("run", perdure.flow(HANGS))
    execution = process.until_logged("it hangs")["execution"]
    assert perdure("cancel", execution, "--reason", "no longer needed").code == 0
    finished = process.end()
    assert (finished.code, finished.last["status"]) == (3, "cancelled"), finished
    assert [line.get("fact") for line in finished.lines if line.get("node") == "work"][-2:] == ["stopping", "cancelled"]
    (given,) = inputs(perdure, execution, "operate")
    assert (given["action"], given["reason"]) == ("cancel", "no longer needed")
    assert given["by"].endswith("@cli")


@pytest.mark.parametrize("option, action", [((), "cancel"), (("--terminate",), "terminate")])
def test_cancel_ends_what_nobody_runs_right_away(perdure: Perdure, option: tuple[str, ...], action: str) -> None:
    """Nobody would take the message in, so the command does it itself, and says how it ended."""
    execution = kept(perdure, ASK)
    cancelled = perdure("cancel", execution, *option)
    assert cancelled.code == 0
    assert f"{execution}: cancelled" in cancelled.stderr
    assert perdure("list", "--json").last["status"] == "cancelled"
    assert inputs(perdure, execution, "operate")[0]["action"] == action


def test_cancel_ends_what_was_killed_in_the_middle_of_its_work(perdure: Perdure) -> None:
    """The attempt that was under way is not run once more to be cancelled: its node never says that it runs again."""
    process = perdure.start("run", perdure.flow(HANGS))
    execution = process.until_logged("it hangs")["execution"]
    process.popen.kill()
    process.end()
    assert perdure("cancel", execution).code == 0
    assert perdure("list", "--json").last["status"] == "cancelled"


# -- parked nodes --------------------------------------------------------------------------------------------------------


def test_incidents_lists_what_is_parked(perdure: Perdure) -> None:
    """Each parked node with its execution, path, question and error, also where its siblings still wait for others."""
    first, second = kept(perdure, PARKS), kept(perdure, {**PARKS, **ASK}, name="other")
    kept(perdure, ASK, name="third")
    found = perdure("incidents", "--json")
    assert [(line["execution"], line["workflow"], line["node"]) for line in found.lines] == [
        (second, "other", "pay"),
        (first, "flow", "pay"),
    ]
    assert all(line["question"] == "failure" and line["error"]["code"] == "test.failed" for line in found.lines)
    people = perdure("incidents").stdout
    assert f"! {first}  flow  pay  " in people
    assert "test.failed" in people


def test_no_incidents_is_said(perdure: Perdure) -> None:
    """Nothing on stdout, a word on stderr."""
    kept(perdure, ASK)
    found = perdure("incidents")
    assert (found.code, found.stdout, found.stderr) == (0, "", "no incidents\n")


def test_rule_14_a_parked_node_is_tried_again(perdure: Perdure) -> None:
    """With other parameters than before it may succeed; the attempt is the next one, under a new effect key."""
    execution = kept(perdure, {"pay": {"type": "test.fails_first", "with": {"times": 9}, "park": True}})
    assert perdure("retry", execution, "pay", "--input", '{"times": 1}', "--reason", "mended").code == 0
    resumed = perdure("resume", "--json")
    assert (resumed.code, resumed.last["output"]) == (0, 2), resumed
    (given,) = inputs(perdure, execution, "operate")
    assert (given["action"], given["node"], given["reason"], given["value"]) == ("retry", "pay", "mended", {"times": 1})


def test_rule_14_a_parked_node_is_completed(perdure: Perdure) -> None:
    """Its output is what the operator gives; those after it run."""
    execution = kept(perdure, PARKS)
    perdure("complete", execution, "pay", "--output", '{"paid": true}')
    assert perdure("resume", "--json").last["output"] == {"paid": True}


def test_rule_14_a_parked_node_is_left_to_fail(perdure: Perdure) -> None:
    """Only then its failure counts, and the execution fails with it."""
    execution = kept(perdure, PARKS)
    perdure("fail", execution, "pay", "--reason", "hopeless")
    resumed = perdure("resume", "--json")
    assert (resumed.code, resumed.last["error"]["code"]) == (1, "test.failed")


# -- what is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["signal", "ID"], "NAME"),
        (["signal", "ID", "go", "--payload", "{"], "--payload"),
        (["signal", "ID", "go", "--payload", "NaN"], "NaN"),
        (["signal", "zzzz", "go"], "no execution 'zzzz'"),
        (["signal", "ENDED", "go"], "[execution.ended]"),
        (["signal", "ID", "go", "--store", "gone.db"], "no store at gone.db"),
        (["cancel", "ENDED"], "[execution.ended]"),
        (["cancel", "ID", "--store", "gone.db"], "no store at gone.db"),
        (["retry", "ID", "after"], "'after'"),
        (["retry", "ID", "nobody"], "'nobody'"),
        (["retry", "ID", "pay#2"], "'pay#2'"),
        (["retry", "ID", "pay", "--input", "{"], "--input"),
        (["complete", "ID", "after"], "'after'"),
        (["complete", "ID", "pay", "--output", "@gone.json"], "gone.json"),
        (["fail", "ID", "after"], "'after'"),
        (["fail", "ENDED", "pay"], "'pay'"),
    ],
)
def test_a_message_that_cannot_be_meant_is_refused(perdure: Perdure, arguments: list[str], said: str) -> None:
    """Exit code 2 and a sentence; the execution hears nothing of it."""
    named = {"ENDED": perdure.run({"a": {"type": "transform", "to": 1}}).last["execution"], "ID": kept(perdure, PARKS)}
    before = journal(perdure, named["ID"])
    finished = perdure(*(named.get(argument, argument) for argument in arguments))
    assert (finished.code, finished.stdout) == (2, ""), finished
    assert said in finished.stderr
    resumed = perdure("resume", named["ID"], "--no-wait", "--json")
    assert resumed.code == 4
    assert journal(perdure, named["ID"]) == before
    assert not (perdure.folder / "gone.db").exists()
