"""`prune` removes what is over its retention, beside a process that runs, and says what went."""

from __future__ import annotations

from command_line import ASK, Perdure

QUICK = {"a": {"type": "transform", "to": 1}}
SOON = {"settings": {"retention": "0s"}}


def test_prune_says_what_went(perdure: Perdure) -> None:
    """A line for each workflow and one for all; what is gone is in no list, and the store is sound."""
    perdure.run(QUICK, name="soon", **SOON)
    perdure.run(QUICK, name="soon", **SOON)
    kept = perdure.run(QUICK, name="later").last["execution"]
    finished = perdure("prune")
    assert finished.code == 0
    first, last = finished.stdout.splitlines()
    assert first.split() == ["2", "soon"]
    assert last.startswith("pruned 2 executions with 6 facts, 0 events, 0 large values of 0 B; the store is ")
    assert [line["execution"] for line in perdure("list", "--json").lines] == [kept]
    assert perdure("verify").code == 0
    assert perdure("show", kept).code == 0


def test_a_dry_run_says_what_would_go(perdure: Perdure) -> None:
    """And nothing goes."""
    perdure.run(QUICK, name="soon", **SOON)
    assert perdure("prune", "--dry-run").stdout.splitlines()[-1].startswith("would prune 1 execution with 3 facts")
    assert len(perdure("list", "--json").lines) == 1


def test_prune_for_scripts(perdure: Perdure) -> None:
    """One object with all counts."""
    perdure.run(QUICK, name="soon", **SOON)
    found = perdure("prune", "--json").last
    assert found["workflows"] == {"soon": 1}
    assert (found["dry_run"], found["executions"], found["facts"], found["kept"]) == (False, 1, 3, 0)
    assert found.keys() == {
        "dry_run", "executions", "facts", "kept", "events", "blobs", "blob_bytes", "freed", "workflows",
    }  # fmt: skip


def test_an_age_on_the_command_line_takes_the_place_of_the_setting(perdure: Perdure) -> None:
    """For what says nothing itself; a workflow that is named goes whatever it says."""
    perdure.run(QUICK, name="kept", settings={"retention": "forever"})
    perdure.run(QUICK, name="silent")
    assert perdure("prune", "--older-than", "30d", "--json").last["executions"] == 0
    assert perdure("prune", "--older-than", "1us", "--json").last["workflows"] == {"silent": 1}
    assert perdure("prune", "--workflow", "kept", "--json").last["executions"] == 0
    assert perdure("prune", "--workflow", "kept", "--older-than", "1us", "--json").last["workflows"] == {"kept": 1}


def test_without_any_retention_it_says_how_to_set_one(perdure: Perdure) -> None:
    """Nothing goes, which is no error."""
    perdure.run(QUICK)
    finished = perdure("prune")
    assert finished.code == 0
    assert "PERDURE_RETENTION=30d" in finished.stderr


def test_what_cannot_be_an_age_is_refused(perdure: Perdure) -> None:
    """With the option's name; nothing goes."""
    perdure.run(QUICK)
    finished = perdure("prune", "--older-than", "yesterday")
    assert (finished.code, "--older-than" in finished.stderr) == (2, True)
    assert perdure("prune", "--store", "nowhere.db").code == 2


def test_a_parent_that_has_ended_shows_its_child_as_pruned(perdure: Perdure) -> None:
    """While the parent went on its child was kept; now its own retention counts, and the parent tells what became of it."""
    perdure.flow(QUICK, name="child", **SOON)
    parent = perdure.run({"sub": {"type": "subworkflow", "workflow": "child"}}, name="parent").last["execution"]
    assert perdure("prune", "--json").last["workflows"] == {"child": 1}
    shown = perdure("show", parent).stdout
    assert "pruned     child  sub" in shown
    assert perdure("why", parent).code == 0


def test_it_prunes_beside_a_process_that_runs(perdure: Perdure) -> None:
    """A worker has the store open and goes on: what it runs stays, and ends as ever."""
    perdure.run(QUICK, name="soon", **SOON)
    process = perdure.start("run", perdure.flow(ASK, name="going", **SOON))
    execution = process.until(lambda line: "execution" in line)["execution"]
    process.until_fact("waiting", "ask")
    assert perdure("prune", "--json").last["workflows"] == {"soon": 1}
    perdure("signal", execution, "go")
    assert process.end().last["status"] == "succeeded"
    assert perdure("prune", "--json").last["workflows"] == {"going": 1}
