"""What an execution starts is followed with it: sub-workflows, what takes its place, the workflow for its failures."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from command_line import ASK, PARKS, Finished, Perdure

CALLS = {"bill": {"type": "subworkflow", "workflow": "child", "input": "${ input }"}}
RETRIED: dict[str, Any] = {"timeout": "20ms", "on_timeout": "retry", "retry": {"attempts": 2}}


def outcomes(finished: Finished) -> dict[str, str]:
    """How each execution ended of which stdout says so, by id, in order."""
    return {line["execution"]: line["status"] for line in finished.lines if "status" in line and "fact" not in line}


def statuses(perdure: Perdure) -> dict[str, str]:
    """Every execution of the store: its workflow's status."""
    return {line["workflow"]: line["status"] for line in perdure("list", "--json").lines}


# -- sub-workflows ---------------------------------------------------------------------------------------------------------


def test_a_child_runs_in_the_same_process_and_is_named(perdure: Perdure) -> None:
    """Its id stands in the line of the node that waits for it; its facts are its own business."""
    perdure.flow({"a": {"type": "transform", "to": "${ input + 1 }"}}, name="child")
    finished = perdure.run(CALLS, "--input", "4")
    assert (finished.code, finished.last["output"]) == (0, 5), finished
    waiting = next(line for line in finished.lines if line.get("fact") == "waiting")
    assert waiting["child"].startswith("ex_")
    assert {line["execution"] for line in finished.lines} == {finished.last["execution"]}
    plain = perdure("run", perdure.flow(CALLS), "--input", "4").stdout
    assert " bill waiting for its child ex_" in plain
    assert "(child)" in plain


def test_what_a_child_logs_is_told_with_its_id(perdure: Perdure) -> None:
    """Whose line it is must be seen, since its facts are not shown."""
    perdure.flow({"a": {"type": "test.says", "with": {"message": "from below"}}}, name="child")
    finished = perdure.run(CALLS)
    (line,) = [line for line in finished.lines if line.get("log") == "from below"]
    child = next(line for line in finished.lines if line.get("fact") == "waiting")["child"]
    assert (line["execution"], line["node"]) == (child, "a")
    plain = perdure("run", perdure.flow(CALLS)).stdout
    assert any(line.split()[1].startswith("ex_") and line.split()[2:4] == ["a", "log"] for line in plain.splitlines())


def test_a_parent_stands_still_when_its_child_does(perdure: Perdure) -> None:
    """With --no-wait it leaves with exit code 4 and names the command for the child."""
    perdure.flow(ASK, name="child")
    finished = perdure.run(CALLS, "--no-wait")
    assert (finished.code, finished.last["status"]) == (4, "waiting"), finished
    child = next(line for line in finished.lines if line.get("fact") == "waiting")["child"]
    assert f"ask waits for: perdure signal {child} go" in finished.stderr
    perdure("signal", child, "go", "--payload", "7")
    parent = finished.last["execution"]
    resumed = perdure("resume", parent, "--no-wait", "--json")
    assert (resumed.code, resumed.last["output"]) == (0, 7), resumed


def test_a_parent_of_a_parent_stands_still_as_well(perdure: Perdure) -> None:
    """However deep the one is that waits for a person; a parked node in it is told at once."""
    perdure.flow(PARKS, name="below")
    perdure.flow({"deeper": {"type": "subworkflow", "workflow": "below"}}, name="child")
    finished = perdure.run(CALLS, "--no-wait")
    assert (finished.code, finished.last["status"]) == (4, "waiting"), finished
    assert "pay is parked: It went wrong." in finished.stderr
    assert statuses(perdure) == {"below": "parked", "child": "waiting", "flow": "waiting"}


def test_a_parent_goes_on_as_long_as_anything_does(perdure: Perdure) -> None:
    """A child that waits for a person does not end the run while another branch is at work."""
    perdure.flow(ASK, name="child")
    nodes = {**CALLS, "work": {"type": "delay", "for": "50ms"}, "after": {"type": "transform", "after": "work", "to": 1}}
    finished = perdure.run(nodes, "--no-wait")
    assert finished.code == 4
    assert any(line.get("fact") == "done" and line.get("node") == "after" for line in finished.lines)


def test_a_child_that_nobody_waits_for_runs_to_its_end_too(perdure: Perdure) -> None:
    """The process stays until everything that it began has ended; how such a child ends does not count."""
    perdure.flow({"a": {"type": "delay", "for": "50ms"}, "b": {"type": "fail", "after": "a", "code": "no"}}, name="child")
    finished = perdure.run({"bill": {**CALLS["bill"], "wait": False}})
    assert (finished.code, finished.last["status"]) == (0, "succeeded"), finished
    assert statuses(perdure) == {"child": "failed", "flow": "succeeded"}
    child = finished.last["output"]["execution"]
    assert f"{child} (a sub-workflow that nobody waits for): failed" in finished.stderr


def test_a_child_that_nobody_waits_for_is_left_with_no_wait(perdure: Perdure) -> None:
    """Where only a person can move it on; the parent has ended, and its exit code is what counts."""
    perdure.flow(ASK, name="child")
    finished = perdure.run({"bill": {**CALLS["bill"], "wait": False}}, "--no-wait")
    assert (finished.code, finished.last["status"]) == (0, "succeeded"), finished
    assert f"ask waits for: perdure signal {finished.last['output']['execution']} go" in finished.stderr


def test_an_interrupted_parent_is_resumed_with_its_children(perdure: Perdure) -> None:
    """The hint names the parent alone: going on with it goes on with them."""
    perdure.flow({"a": {"type": "test.hangs_once", "with": {"file": "seen"}}}, name="child")
    process = perdure.start("run", perdure.flow(CALLS))
    process.until_logged("it hangs")
    process.popen.send_signal(signal.SIGINT)
    stopped = process.end()
    assert stopped.code == 130
    parent = stopped.lines[0]["execution"]
    hints = [line for line in stopped.stderr.splitlines() if "perdure resume" in line]
    assert hints == [f"stopped, and kept; go on with: perdure resume {parent}"]
    resumed = perdure("resume", parent, "--json")
    assert (resumed.code, resumed.last["output"]) == (0, "done"), resumed
    assert statuses(perdure) == {"child": "succeeded", "flow": "succeeded"}


def test_resume_of_all_takes_parents_and_children(perdure: Perdure) -> None:
    """Each is named by its outcome, since each was asked for; none is refused as somebody else's."""
    perdure.flow({"a": {"type": "test.hangs_once", "with": {"file": "seen"}}}, name="child")
    process = perdure.start("run", perdure.flow(CALLS))
    process.until_logged("it hangs")
    process.popen.kill()
    process.end()
    resumed = perdure("resume", "--json")
    assert resumed.code == 0, resumed
    assert sorted(outcomes(resumed).values()) == ["succeeded", "succeeded"]
    assert resumed.stderr == ""


def test_show_names_kin_in_both_directions(perdure: Perdure) -> None:
    """The parent its child and for which node, the child its parent."""
    perdure.flow(ASK, name="child")
    finished = perdure.run({"group": {"type": "loop", "over": "${ [1] }", "body": {"nodes": CALLS}}}, "--no-wait")
    parent = finished.last["execution"]
    child = next(line for line in finished.lines if line.get("fact") == "waiting")["child"]
    shown = perdure("show", parent).stdout
    assert f"◷ {child}  waiting    child  group[0].bill" in shown
    assert f"group[0].bill  waiting                for its child {child} (child)" in shown
    assert f"parent    {parent}  (a sub-workflow of it, for group[0].bill)" in perdure("show", child).stdout


# -- in its place ----------------------------------------------------------------------------------------------------------


def test_what_takes_its_place_is_run_and_shown(perdure: Perdure) -> None:
    """After a timeout with `on_timeout: retry`: both have their outcome, and the last one is what counts."""
    finished = perdure.run(ASK, settings=RETRIED)
    assert finished.code == 3, finished
    first, second = outcomes(finished).items()
    assert (first[1], second[1]) == ("timed_out", "timed_out")
    spawned = next(line for line in finished.lines if line.get("fact") == "spawned")
    assert (spawned["execution"], spawned["child"]) == (first[0], second[0])
    assert f"{second[0]} was started to try it again" in finished.stderr
    assert "nothing to resume" in perdure("resume").stderr


def test_the_exit_code_is_that_of_the_one_in_its_place(perdure: Perdure) -> None:
    """An execution that timed out and was handed over to a workflow that succeeds: 0."""
    perdure("check", perdure.flow({"a": {"type": "transform", "to": 1}}, name="after"), "--save")
    settings = {"timeout": "20ms", "on_timeout": {"route": "after"}}
    finished = perdure.run(ASK, settings=settings)
    assert (finished.code, finished.last["status"], finished.last["output"]) == (0, "succeeded", 1), finished
    assert list(outcomes(finished).values()) == ["timed_out", "succeeded"]
    assert "was started in its place" in finished.stderr


def test_what_took_its_place_before_is_shown_with_it(perdure: Perdure) -> None:
    """Who asks again for an execution that was handed over gets the same answer as the first time."""
    finished = perdure.run(ASK, settings=RETRIED)
    first, second = outcomes(finished)
    again = perdure("resume", first, "--json")
    assert (again.code, list(outcomes(again))) == (finished.code, [first, second])
    assert again.lines == finished.lines


def test_what_takes_its_place_and_waits_is_left_with_no_wait(perdure: Perdure) -> None:
    """4, since that is how the one stands that counts."""
    perdure("check", perdure.flow(ASK, name="after"), "--save")
    nodes = {"d": {"type": "delay", "for": "1h"}}
    settings = {"timeout": "20ms", "on_timeout": {"route": "after"}}
    finished = perdure.run(nodes, "--no-wait", settings=settings)
    assert (finished.code, finished.last["status"]) == (4, "waiting"), finished


# -- the error workflow ----------------------------------------------------------------------------------------------------


def test_the_error_workflow_is_run_to_its_end(perdure: Perdure) -> None:
    """It is named, and how it ended; the failure stays the last line, and the exit code is that of the failure."""
    told = {"say": {"type": "test.says", "with": {"message": "${ input.error.code }"}}}
    perdure("check", perdure.flow(told, name="alarm"), "--save")
    finished = perdure.run({"a": {"type": "fail", "code": "no"}}, settings={"error_workflow": "alarm"})
    assert (finished.code, finished.last["status"]) == (1, "failed"), finished
    (spawned,) = [line for line in finished.lines if line.get("fact") == "spawned"]
    assert f"{spawned['child']} was started for the failure: `alarm`" in finished.stderr
    assert f"{spawned['child']} (the error workflow): succeeded" in finished.stderr
    assert statuses(perdure) == {"alarm": "succeeded", "flow": "failed"}
    assert list(outcomes(finished).values()) == ["failed"]


def test_an_error_workflow_that_is_not_there_is_named(perdure: Perdure) -> None:
    """The failure is told all the same; with the definition saved, `resume` goes on with it."""
    finished = perdure.run({"a": {"type": "fail", "code": "no"}}, settings={"error_workflow": "alarm"})
    assert (finished.code, finished.last["status"]) == (1, "failed"), finished
    assert "waits for a definition of 'alarm'" in finished.stderr
    perdure("check", perdure.flow({"a": {"type": "transform", "to": 1}}, name="alarm"), "--save")
    resumed = perdure("resume", "--json")
    assert (resumed.code, resumed.last["output"]) == (0, 1), resumed


def test_a_parent_whose_child_cannot_be_read_here_is_followed_all_the_same(perdure: Perdure) -> None:
    """A child whose node types are gone: the failure of its node says so."""
    perdure.flow({"a": {"type": "test.says", "with": {"message": "m"}}}, name="child")
    parent = perdure.run({**ASK, "bill": {**CALLS["bill"], "after": "ask"}}, "--no-wait").last["execution"]
    perdure("signal", parent, "go")
    (perdure.folder / "nodes.py").unlink()
    resumed = perdure("resume", parent, "--json")
    assert resumed.code == 1, resumed
    assert "test.says" in resumed.last["error"]["title"]


@pytest.mark.parametrize("command", ["run", "resume"])
def test_children_of_a_run_elsewhere_are_not_taken(perdure: Perdure, command: str) -> None:
    """Who follows an execution that another process runs takes nothing away from that one."""
    perdure.flow(ASK, name="child")
    first = perdure.start("run", perdure.flow(CALLS), "--key", "k")
    child = first.until_fact("waiting", "bill")["child"]
    if command == "run":
        second = perdure.start("run", perdure.flow(CALLS), "--key", "k")
        second.until_fact("waiting", "bill")
    else:
        refused = perdure("resume", child)
        assert "is run by process" in refused.stderr
        assert f"{child} (" in refused.stderr
    perdure("signal", child, "go", "--payload", "3")
    assert first.end().last["output"] == 3
    if command == "run":
        assert second.end().last["output"] == 3
