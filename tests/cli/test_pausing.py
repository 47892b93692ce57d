"""`pause` and `unpause`: whether another process runs the execution or nobody does; and how a paused execution is told."""

from __future__ import annotations

import re
from typing import Any

import pytest
from command_line import ASK, Perdure

TWO = {"ask": ASK["ask"], "then": {"type": "transform", "after": "ask", "to": "${ nodes.ask }"}}


def kept(perdure: Perdure, nodes: dict[str, Any], **rest: Any) -> str:
    """Start these nodes and leave them waiting; the execution's id."""
    return str(perdure.run(nodes, "--no-wait", **rest).last["execution"])


def controls(perdure: Perdure, execution: str) -> list[tuple[str, str]]:
    """What operators asked of the execution, and why."""
    steps = perdure("show", execution, "--json").lines
    given = [each for step in steps for each in step["inputs"] if each["type"] == "operate"]
    return [(each["action"], each.get("reason", "")) for each in given]


def test_rule_45_a_pause_reaches_the_process_that_runs_the_execution(perdure: Perdure) -> None:
    """Nothing new starts until it is over; the signal that came meanwhile is kept, and who and why stand in the journal."""
    process = perdure.start("run", perdure.flow(TWO))
    execution = process.until_fact("waiting", "ask")["execution"]
    paused = perdure("pause", execution, "--reason", "look at it")
    assert (paused.code, paused.stdout, paused.stderr) == (0, "", f"pause: sent to {execution}\n")
    process.until(lambda line: line.get("fact") == "paused")
    assert perdure("list", "--json").last["status"] == "paused"
    perdure("signal", execution, "go", "--payload", "7")
    process.until_fact("done", "ask")
    assert perdure("unpause", execution, "--reason", "seen").code == 0
    assert process.until_fact("done", "then")["output"] == 7
    finished = process.end()
    assert (finished.code, finished.last["output"]) == (0, 7)
    assert f"{execution} is paused; it goes on with: perdure unpause {execution}" in finished.stderr
    assert controls(perdure, execution) == [("pause", "look at it"), ("resume", "seen")]


def test_a_pause_of_what_nobody_runs_is_taken_in_at_once(perdure: Perdure) -> None:
    """The list says that it is paused, and nothing of it has begun for that."""
    execution = kept(perdure, TWO)
    paused = perdure("pause", execution)
    assert (paused.code, paused.stdout, paused.stderr) == (0, "", f"{execution}: paused\n")
    assert perdure("list").stdout.startswith(f"‖ {execution}  paused ")
    assert perdure("list", "--status", "paused", "--json").last["execution"] == execution


def test_a_pause_of_what_was_killed_begins_none_of_its_work(perdure: Perdure) -> None:
    """The attempt that was under way is not sent again by the command that pauses it."""
    nodes = {"work": {"type": "test.hangs_once", "with": {"file": "seen"}}}
    process = perdure.start("run", perdure.flow(nodes))
    execution = process.until_logged("it hangs")["execution"]
    process.popen.kill()
    process.end()
    (perdure.folder / "seen").unlink()
    assert perdure("pause", execution).stderr == f"{execution}: paused\n"
    assert not (perdure.folder / "seen").exists()
    resumed = perdure("resume", execution, "--no-wait", "--json")
    assert (resumed.code, resumed.last["status"]) == (4, "paused"), resumed
    assert not (perdure.folder / "seen").exists()
    (perdure.folder / "seen").touch()
    assert perdure("unpause", execution).code == 0
    assert perdure("resume", execution, "--json").last["output"] == "done"


def test_resume_says_of_a_paused_execution_that_it_is_paused(perdure: Perdure) -> None:
    """It does not lift the pause; with --no-wait it leaves with 4, without it waits for the word."""
    execution = kept(perdure, TWO)
    perdure("signal", execution, "go", "--payload", "1")
    perdure("pause", execution)
    for arguments in (["resume", execution], ["resume"]):
        resumed = perdure(*arguments, "--no-wait", "--json")
        assert (resumed.code, resumed.last["status"]) == (4, "paused"), resumed
        assert f"perdure unpause {execution}" in resumed.stderr
    assert perdure("list", "--json").last["status"] == "paused"
    process = perdure.start("resume", execution)
    process.until(lambda line: line.get("fact") == "paused")
    assert perdure("unpause", execution).code == 0
    assert process.end().last["output"] == 1


def test_an_unpause_of_what_nobody_runs_waits_for_resume(perdure: Perdure) -> None:
    """The command begins no work that it would have to cut off; asked twice, it says that it was asked."""
    execution = kept(perdure, TWO)
    perdure("signal", execution, "go", "--payload", "1")
    perdure("pause", execution)
    asked = perdure("unpause", execution)
    assert asked.code == 0
    assert f"no process runs it now; it goes on with: perdure resume {execution}" in asked.stderr
    again = perdure("unpause", execution)
    assert (again.code, f"{execution} is to go on already" in again.stderr) == (0, True)
    assert perdure("resume", "--json").last["output"] == 1
    assert controls(perdure, execution) == [("pause", ""), ("resume", "")]


@pytest.mark.parametrize("clocks, moved", [("frozen", True), ("running", False)])
def test_rule_45_clocks_stand_still_in_a_pause_or_run_on(perdure: Perdure, clocks: str, moved: bool) -> None:
    """Frozen, every relative due time moves by the pause; running, it stays."""
    execution = kept(perdure, {**ASK, "d": {"type": "wait_for_signal", "signal": "x", "timeout": "1h"}})
    perdure("pause", execution)
    perdure("unpause", execution, "--clocks", clocks)
    perdure("resume", execution, "--no-wait")
    facts = [fact for step in perdure("show", execution, "--json").lines for fact in step["facts"]]
    (resumed,) = [fact for fact in facts if fact["fact"] == "resumed"]
    assert ("shift" in resumed) is moved


def test_show_and_plain_lines_tell_the_pause(perdure: Perdure) -> None:
    """Since when, by whom, why, and how it goes on; in the lines of a run where it began and ended."""
    execution = kept(perdure, TWO)
    perdure("pause", execution, "--reason", "look at it")
    shown = perdure("show", execution).stdout
    assert shown.startswith(f"‖ {execution}  paused\n")
    assert re.search(r"paused    \d{4}-\d\d-\d\d \d\d:\d\d:\d\d by \S+@cli: look at it; `perdure unpause` goes on", shown)
    assert "pause by " in shown
    perdure("unpause", execution)
    perdure("signal", execution, "go")
    lines = perdure("resume", execution).stdout
    assert "the execution is paused by " in lines
    assert "the execution goes on after its pause by " in lines


def test_rule_45_a_cancel_ends_a_pause(perdure: Perdure) -> None:
    """Nobody needs to unpause what is to end."""
    execution = kept(perdure, ASK)
    perdure("pause", execution)
    cancelled = perdure("cancel", execution)
    assert (cancelled.code, f"{execution}: cancelled" in cancelled.stderr) == (0, True)


def test_rule_41_a_pause_reaches_children_that_are_waited_for(perdure: Perdure) -> None:
    """Also when nobody runs them: the parent's pause is the child's."""
    perdure.flow(ASK, name="child")
    parent = kept(perdure, {"bill": {"type": "subworkflow", "workflow": "child"}})
    assert perdure("pause", parent).code == 0
    assert {line["workflow"]: line["status"] for line in perdure("list", "--json").lines} == {
        "flow": "paused", "child": "paused",
    }  # fmt: skip


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["pause", "PAUSED"], "is paused already"),
        (["pause", "ENDED"], "[execution.ended]"),
        (["pause", "zzzz"], "no execution 'zzzz'"),
        (["pause", "ID", "--store", "gone.db"], "no store at gone.db"),
        (["unpause", "ID"], "is not paused"),
        (["unpause", "ENDED"], "is not paused"),
        (["unpause", "PAUSED", "--clocks", "broken"], "There are no broken clocks."),
        (["unpause"], "ID"),
    ],
)
def test_a_pause_that_cannot_be_is_refused(perdure: Perdure, arguments: list[str], said: str) -> None:
    """Exit code 2 and a sentence; the executions stay as they are."""
    named = {"ENDED": perdure.run({"a": {"type": "transform", "to": 1}}).last["execution"], "ID": kept(perdure, ASK)}
    named["PAUSED"] = kept(perdure, ASK)
    perdure("pause", named["PAUSED"])
    before = perdure("list", "--json").stdout
    finished = perdure(*(named.get(argument, argument) for argument in arguments))
    assert (finished.code, finished.stdout) == (2, ""), finished
    assert said in finished.stderr
    assert perdure("list", "--json").stdout == before
