"""Recorded scientific workflows run as they were recorded: each task once, never before its parents, through kills too."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import instances
import pytest
import yaml
from instances import ROOT, SCIENCE, instance
from oracle import check_ledger, critical_path, descendants, makespan, read_ledger, read_tasks

from conftest import Perdure
from perdure.definition.wfformat import import_wfformat

CRITICAL_SECONDS = 0.5  # what the critical path of each recording is scaled to

Write = Callable[..., Path]


@pytest.mark.parametrize("name", instances.names())
def test_a_recorded_workflow_runs_to_its_end(
    name: str, perdure: Perdure, science: Write, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Each task once, none before its parents, all completed, in no less than the critical path; how close is reported."""
    document = instance(name).document
    tasks, ledger = read_tasks(document), tmp_path / "ledger.jsonl"
    scale = CRITICAL_SECONDS / critical_path(tasks)
    finished = perdure("run", science(document, scale=scale), "--input", json.dumps({"ledger": str(ledger)}))
    assert (finished.code, finished.last["status"]) == (0, "succeeded"), finished.stderr
    assert finished.last["output"] == {"tasks": len(tasks)}
    entries = read_ledger(ledger)
    assert check_ledger(tasks, entries, scale=scale) == []
    span = makespan(tasks, entries, scale=scale)
    record_property("makespan", str(span))
    print(f"{name}: {span}")
    one_by_one = sum(task.seconds for task in tasks.values()) * scale
    if one_by_one > 4 * span.bound:  # a graph with something to do at the same time
        assert span.seconds < (span.bound + one_by_one) / 2, "Expected tasks to overlap, but they ran nearly one by one."


def test_no_more_tasks_run_at_a_time_than_there_are_slots(perdure: Perdure, science: Write, tmp_path: Path) -> None:
    """With eight slots the wide graph takes at least an eighth of the sum of all tasks, and still does everything once."""
    document = instance(instances.BUNDLED).document
    tasks, ledger = read_tasks(document), tmp_path / "ledger.jsonl"
    scale = 16 / sum(task.seconds for task in tasks.values())
    flow = science(document, scale=scale)
    finished = perdure("run", flow, "--input", json.dumps({"ledger": str(ledger)}), slots="8")
    assert finished.code == 0, finished.stderr
    assert check_ledger(tasks, read_ledger(ledger), scale=scale, slots=8) == []


@pytest.mark.parametrize("lines", [1, 150, 480, 550])
def test_a_killed_run_goes_on_where_it_was(lines: int, perdure: Perdure, science: Write, tmp_path: Path) -> None:
    """Killed after so many lines of its ledger and resumed, only what was in flight runs again, under the same effect keys."""
    document = instance(instances.BUNDLED).document
    tasks, ledger = read_tasks(document), tmp_path / "ledger.jsonl"
    scale = 5 * CRITICAL_SECONDS / critical_path(tasks)
    flow = science(document, scale=scale)
    killed = perdure.run_until(ledger, lines, "run", flow, "--input", json.dumps({"ledger": str(ledger)}))
    resumed = perdure("resume")
    assert (resumed.code, resumed.last["status"]) == (0, "succeeded"), resumed.stderr
    assert resumed.last["output"] == {"tasks": len(tasks)}
    entries = read_ledger(ledger)
    assert {entry.pid for entry in entries} > {killed}
    assert check_ledger(tasks, entries, scale=scale, killed=[killed]) == []


def test_a_run_may_be_killed_more_than_once(perdure: Perdure, science: Write, tmp_path: Path) -> None:
    """Killed, resumed, killed again and resumed again, it ends as if nothing had happened."""
    document = instance(instances.BUNDLED).document
    tasks, ledger = read_tasks(document), tmp_path / "ledger.jsonl"
    scale = 5 * CRITICAL_SECONDS / critical_path(tasks)
    flow = science(document, scale=scale)
    killed = [perdure.run_until(ledger, 100, "run", flow, "--input", json.dumps({"ledger": str(ledger)}))]
    killed.append(perdure.run_until(ledger, 300, "resume"))
    resumed = perdure("resume")
    assert (resumed.code, resumed.last["status"]) == (0, "succeeded"), resumed.stderr
    assert check_ledger(tasks, read_ledger(ledger), scale=scale, killed=killed) == []


@pytest.mark.parametrize("failed", ["mProject_00000005", "mDiffFit_00000100", "mConcatFit_00000046"])
def test_a_task_that_fails_for_good_stops_exactly_its_descendants(
    failed: str, perdure: Perdure, science: Write, tmp_path: Path
) -> None:
    """What depends on the failed task never starts; all else completes; the run fails with the task's own error."""
    document = instance(instances.BUNDLED).document
    tasks, ledger = read_tasks(document), tmp_path / "ledger.jsonl"
    assert 0 < len(descendants(tasks, failed)) < len(tasks) - 1
    scale = CRITICAL_SECONDS / critical_path(tasks)
    flow = science(document, scale=scale)
    finished = perdure("run", flow, "--input", json.dumps({"ledger": str(ledger), "fail": failed}))
    assert (finished.code, finished.last["status"]) == (1, "failed"), finished.stderr
    assert finished.last["error"]["code"] == "science.task_failed"
    assert finished.last["error"]["node"] == failed
    assert check_ledger(tasks, read_ledger(ledger), scale=scale, failed=failed) == []


def test_the_import_command_gives_what_runs_anywhere(perdure: Perdure, tmp_path: Path) -> None:
    """`import wfformat` writes a definition of `delay` nodes, which runs without any node of one's own."""
    small = {"columns": ["name", "runtime_s", "parent_indexes"], "tasks": [["a", 2, []], ["b", 3, [0]], ["c", 1, [0]]]}
    (tmp_path / "small.json").write_text(json.dumps(small), encoding="utf-8")
    imported = perdure.command("import", "wfformat", "small.json", "--scale", "0.01", "-o", "small.yaml")
    assert imported.code == 0, imported.stderr
    finished = perdure("run", "small.yaml")
    assert (finished.code, finished.last["output"]) == (0, {"tasks": 3}), finished.stderr


def test_a_broken_recording_is_refused_with_its_place(perdure: Perdure, tmp_path: Path) -> None:
    """A recording whose task names an unknown parent is refused (exit 2), and nothing is written."""
    broken = {"columns": ["name", "runtime_s", "parent_indexes"], "tasks": [["a", 2, [7]]]}
    (tmp_path / "broken.json").write_text(json.dumps(broken), encoding="utf-8")
    refused = perdure.command("import", "wfformat", "broken.json", "-o", "broken.yaml")
    assert refused.code == 2
    assert "tasks[0][2][0]" in refused.stdout + refused.stderr
    assert not (tmp_path / "broken.yaml").exists()


def test_the_guide_shows_what_the_import_gives() -> None:
    """The definition on the page about scientific workflows is the import of the recording on that page."""
    page = (ROOT / "docs" / "guide" / "scientific-dags.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"```(json|yaml)[^\n]*\n(.*?)```", page, re.DOTALL))
    assert yaml.safe_load(shown["yaml"]) == import_wfformat(json.loads(shown["json"]), scale=0.001)


def test_the_bundled_definition_passes_the_checker(perdure: Perdure) -> None:
    """`montage.yaml` has no faults."""
    checked = perdure.command("check", SCIENCE / "montage.yaml")
    assert checked.code == 0, checked.stdout + checked.stderr
