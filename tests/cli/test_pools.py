"""Workers with labels, in real processes: who carries out what, what is said where nobody can, and who may be killed when."""

from __future__ import annotations

import os
import signal

import pytest
from command_line import Perdure, Process

GPU = {"gpu": True}


def ready(perdure: Perdure, *arguments: str) -> Process:
    """A worker that has said that it is ready."""
    process = perdure.start("worker", *arguments)
    process.until(lambda line: line["event"] == "ready")
    return process


def until_it_hangs(perdure: Perdure, file: str = "once") -> None:
    """Wait until the effect of `test.hangs_once` is under way, which its file tells."""
    while not (perdure.folder / file).exists():
        os.sched_yield()


def kill(process: Process) -> None:
    process.popen.kill()
    process.popen.wait()


HANGS = {
    "train": {"type": "test.hangs_once", "with": {"file": "once"}, "runs_on": GPU},
    "after": {"type": "transform", "after": "train", "to": "${ upper(nodes.train) }"},
}


def test_rule_65_a_run_leaves_a_node_to_a_worker_with_its_labels(perdure: Perdure) -> None:
    """The worker that has them runs it, and neither the run nor the other worker does."""
    ready(perdure, "--name", "plain")
    gpu = ready(perdure, "--label", "gpu=true", "--label", "region=eu", "--name", "gpu")
    assert gpu.lines[0]["labels"] == {"gpu": "true", "region": "eu"}
    (perdure.folder / "once").touch()
    finished = perdure.run(HANGS)
    assert finished.last["output"] == "DONE"
    assert finished.last["status"] == "succeeded"
    known = {line["worker"].split("-")[0]: line["labels"] for line in perdure("workers", "--json").lines}
    assert known == {"plain": {}, "gpu": {"gpu": "true", "region": "eu"}}
    assert "gpu=true,region=eu" in perdure("workers").stdout


def test_where_no_worker_has_the_labels_it_is_said_what_to_do(perdure: Perdure) -> None:
    """`run`, `start`, `why` and `workers` name the labels and the command; with the worker that it starts all goes on."""
    (perdure.folder / "once").touch()
    flow = perdure.flow(HANGS)
    process = perdure.start("run", flow)
    execution = process.until_fact("scheduled", "train")["execution"]
    why = perdure("why", execution)
    assert "waits since" in why.stdout
    assert "for a worker with gpu=true: none is there" in why.stdout
    assert "→ perdure worker --label gpu=true" in why.stdout
    told = perdure("workers")
    assert "1 effect waits: no worker with gpu=true is there; start one with: perdure worker --label gpu=true" in told.stderr
    assert process.popen.stderr is not None
    said = next(line for line in process.popen.stderr if "train" in line)
    assert said == "train waits for a worker with gpu=true: none is there; start one with: perdure worker --label gpu=true\n"
    ready(perdure, "--label", "gpu=true")
    assert process.end().last["output"] == "DONE"
    assert perdure("workers").stderr == ""
    assert perdure("start", flow).stderr == ""


def test_a_start_says_which_worker_is_lacking(perdure: Perdure) -> None:
    """Each set of labels that the definition asks for and nobody has, once."""
    nodes = {**HANGS, "again": {"type": "test.says", "with": {"message": "x"}, "runs_on": GPU}}
    started = perdure("start", perdure.flow(nodes))
    assert started.code == 0
    lines = [line for line in started.stderr.splitlines() if "gpu" in line]
    assert lines == ["it will wait: no worker with gpu=true is there; start one with: perdure worker --label gpu=true"]


def test_labels_that_are_none_are_refused(perdure: Perdure) -> None:
    """Each in a sentence, with exit code 2; a definition's with its place."""
    for arguments, sentence in (
        (("--label", "gpu"), "labels: Expected labels such as gpu=true,region=eu, but got 'gpu', which has no value."),
        (("--label", "gpu=true", "--label", "gpu=false"), "labels: Expected each label once, but gpu is given twice."),
        (("--label", "a b=1"), "labels: Expected a label's name of up to 63 letters"),
        (("--label", "gpu="), "labels: Expected a value of up to 128 letters"),
    ):
        refused = perdure("worker", *arguments)
        assert refused.code == 2
        assert sentence in refused.stderr
    refused = perdure.run({"a": {"type": "test.says", "with": {"message": "x"}, "runs_on": {"gpu": "${ input }"}}})
    assert refused.code == 2
    assert "value.label" in refused.stderr
    assert "nodes.a.runs_on" in refused.stderr


def test_labels_of_a_run_are_a_setting(perdure: Perdure, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single run that has them carries the node out itself."""
    monkeypatch.setenv("PERDURE_LABELS", "gpu=true")
    (perdure.folder / "once").touch()
    assert perdure.run(HANGS).last["output"] == "DONE"


def test_rule_65_a_worker_that_is_killed_loses_its_task_to_the_next(perdure: Perdure) -> None:
    """In the midst of the effect: the home sees at once that it is dead, and another worker repeats it."""
    first = ready(perdure, "--label", "gpu=true")
    process = perdure.start("run", perdure.flow(HANGS))
    until_it_hangs(perdure)
    kill(first)
    ready(perdure, "--label", "gpu=true")
    finished = process.end()
    assert finished.last["output"] == "DONE"
    assert [line["node"] for line in finished.lines if line.get("fact") == "lost"] == ["train"]


def test_rule_65_a_home_that_is_killed_loses_nothing_that_runs_elsewhere(perdure: Perdure) -> None:
    """The worker goes on and reports to whoever takes the execution over; the effect is not repeated."""
    nodes = {"train": {"type": "test.waits_for", "with": {"file": "go"}, "runs_on": GPU, "delivery": "at_most_once"}}
    (perdure.folder / "nodes.py").write_text((perdure.folder / "nodes.py").read_text() + WAITS_FOR)
    worker = ready(perdure, "--label", "gpu=true")
    process = perdure.start("run", perdure.flow(nodes))
    execution = process.until_fact("scheduled", "train")["execution"]
    until_it_hangs(perdure, "go.begun")
    kill(process)
    (perdure.folder / "go").touch()
    resumed = perdure("resume", execution, "--json")
    if resumed.stdout:  # else the worker was quicker to take it over
        assert resumed.last["output"] == "went"
    while perdure("list", "--json").last["status"] != "succeeded":
        os.sched_yield()
    journal = perdure("show", execution, "--json").stdout
    assert '"fact": "lost"' not in journal
    worker.popen.send_signal(signal.SIGTERM)
    assert worker.end().code == 0


WAITS_FOR = '''

@node("test.waits_for")
async def waits_for(file: str) -> str:
    """Say by a file that it has begun, and end when the other one is there."""
    from pathlib import Path

    assert not Path(f"{file}.begun").exists(), "it was begun before"
    Path(f"{file}.begun").touch()
    while not Path(file).exists():
        await asyncio.sleep(0.005)
    return "went"
'''
