"""Following: it ends with the execution, and tells people what they can do once, and only while it is theirs to do."""

from __future__ import annotations

import time

import pytest
from command_line import ASK, PARKS, Perdure

FAR_SECONDS = 600.0


def test_a_run_ends_when_its_execution_does(perdure: Perdure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the time between two looks at the store: the end of what runs here is heard of, not looked for."""
    monkeypatch.setattr("perdure.cli.following.HERE_SECONDS", FAR_SECONDS)
    began = time.monotonic()
    assert perdure.run({"a": {"type": "test.says", "with": {"message": "hello"}}}).code == 0
    assert perdure.run(ASK, "--no-wait").code == 4
    assert perdure.run(PARKS, "--no-wait").code == 4
    assert time.monotonic() - began < FAR_SECONDS / 2


def test_what_a_person_can_do_is_not_said_after_it_was_done(perdure: Perdure) -> None:
    """A decision and a signal that wait in the inbox are taken in by `resume`; nobody is asked for them again."""
    parked = perdure.run(PARKS, "--no-wait").last["execution"]
    assert perdure("complete", parked, "pay", "--output", "5").code == 0
    resumed = perdure("resume", parked)
    assert (resumed.code, resumed.stderr) == (0, "")
    waits = perdure.run(ASK, "--no-wait").last["execution"]
    assert perdure("signal", waits, "go").code == 0
    resumed = perdure("resume", waits)
    assert (resumed.code, resumed.stderr) == (0, "")


def test_a_decision_to_try_again_is_no_second_parking(perdure: Perdure) -> None:
    """Of a node that is retried plain lines say that it runs, not once more that it is parked."""
    nodes = {"pay": {"type": "test.fails_first", "park": True, "retry": {"attempts": 1}}}
    execution = perdure.run(nodes, "--no-wait").last["execution"]
    assert perdure("retry", execution, "pay").code == 0
    resumed = perdure("resume", execution)
    assert resumed.code == 0
    told = [line.split()[1:3] for line in resumed.stdout.splitlines() if " pay " in line]
    assert told == [["pay", "running"], ["pay", "parked"], ["pay", "running"], ["pay", "succeeded"]]
