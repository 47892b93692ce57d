"""What an earlier release wrote: it folds to the same state, and what was still going on then goes on now."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import golden
import pytest
from cases import CASES
from golden import Golden, journals, state_of

from perdure.engine import events
from perdure.engine.execution import STATE_NAMES, path_of

KEPT = [pytest.param(file, id=file.stem) for file in journals()]


def test_every_case_has_its_journal() -> None:
    """A case that was added is written once, by hand."""
    assert [case for case in CASES if not golden.file_of(case).exists()] == []
    assert len(CASES) >= 40


@pytest.mark.parametrize("file", KEPT)
def test_a_golden_journal_folds_to_the_state_that_was_kept(file: Path) -> None:
    """Statuses, outputs, errors, causes, timers, signals and variables, as they were known when it was written."""
    kept = Golden(file)
    play = kept.folded()
    assert play.plan.digest == kept.digest
    assert json.loads(json.dumps(state_of(play))) == kept.state


@pytest.mark.parametrize("file", KEPT)
def test_a_live_golden_journal_goes_on_to_the_same_end(file: Path) -> None:
    """After each of its rows, what came then comes now: today's engine leads it to the state that was kept."""
    kept = Golden(file)
    for rows in range(1, len(kept.rows)):
        assert json.loads(json.dumps(state_of(kept.continued(rows)))) == kept.state, f"after {rows} rows it goes on differently"


@pytest.mark.parametrize("file", KEPT)
def test_a_live_golden_journal_can_be_taken_over_and_finished(file: Path) -> None:
    """After each of its rows a new home takes over, and the execution comes to an end; what was final stays."""
    kept = Golden(file)
    for rows in range(1, len(kept.rows) + 1):
        play = kept.folded(rows)
        finals = {
            path_of(frame, instance): STATE_NAMES[instance.state]
            for frame, instance in play.execution.instances()
            if instance.final
        }
        play.ends.update(finals)
        if not play.status:
            play.take(events.Recovered(crashed=True, worker="next"))
            play.finish()
        assert play.status in ("succeeded", "failed", "cancelled", "timed_out")
        assert {path: play.ends[path] for path in finals} == finals


def test_a_golden_journal_is_never_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is written; what stands is left, and asking for it by name is refused."""
    monkeypatch.setattr(golden, "JOURNALS", tmp_path / "journals")
    assert golden.write(["diamond"]) == 0
    (written,) = golden.journals()
    written.write_text("{}")
    assert golden.write(["diamond"]) == 2
    assert golden.write(["no-such-case"]) == 2
    monkeypatch.setattr(golden, "CASES", {"diamond": CASES["diamond"], "choices": CASES["choices"]})
    assert golden.write([]) == 0
    assert written.read_text() == "{}"
    assert [file.name for file in golden.journals()] == [f"{golden.RELEASE}-choices.json", f"{golden.RELEASE}-diamond.json"]


def test_the_script_says_how_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run without its verb, it writes nothing."""
    import runpy

    monkeypatch.setattr(sys, "argv", ["golden.py"])
    with pytest.raises(SystemExit, match="write"):
        runpy.run_path(golden.__file__, run_name="__main__")


def test_a_journal_that_was_tampered_with_does_not_fold_to_its_state(tmp_path: Path) -> None:
    """The comparison sees a changed row."""
    first, *_ = (file for file in journals() if file.stem.endswith("-diamond"))
    document = json.loads(first.read_text())
    document["rows"].pop()
    (tmp_path / "x.json").write_text(json.dumps(document))
    kept = Golden(tmp_path / "x.json")
    assert json.loads(json.dumps(state_of(kept.folded()))) != kept.state
