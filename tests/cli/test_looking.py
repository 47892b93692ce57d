"""`list`, `show` and `verify` tell what is in a store, to people and to scripts, and change nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import apsw
import pytest
from command_line import ASK, PARKS, Perdure

ID = re.compile(r"ex_[0-9a-z]{26}\Z")


@pytest.fixture
def three(perdure: Perdure) -> list[str]:
    """A store with an execution that succeeded, one that failed and one that waits, in this order."""
    return [
        perdure.run({"a": {"type": "transform", "to": "${ input }"}}, "--input", '{"n": 1}', name="good").last["execution"],
        perdure.run({"a": {"type": "test.fails"}}, name="bad").last["execution"],
        perdure.run(ASK, "--no-wait", "--key", "k9", name="waits").last["execution"],
    ]


# -- list ----------------------------------------------------------------------------------------------------------------


def test_list_has_the_newest_first(perdure: Perdure, three: list[str]) -> None:
    """A line each with id, status, start, duration and workflow; what nobody runs says so."""
    lines = perdure("list").stdout.splitlines()
    assert [line.split()[1] for line in lines] == three[::-1]
    assert [line.split()[2] for line in lines] == ["waiting", "failed", "succeeded"]
    assert lines[0].endswith("waits  (no process runs it)")
    assert lines[1].endswith("bad")


def test_list_for_scripts(perdure: Perdure, three: list[str]) -> None:
    """One object an execution, with times in RFC 3339 and the key it was started with."""
    waits, _, good = perdure("list", "--json").lines
    assert ID.match(good["execution"])
    assert good.keys() == waits.keys()
    assert (waits["key"], good["key"], waits["worker"]) == ("k9", None, None)
    assert (good["workflow"], good["status"], good["facts"]) == ("good", "succeeded", 3)
    assert good["created"].endswith("Z")
    assert re.fullmatch(r"[0-9a-f]{64}", good["digest"])


@pytest.mark.parametrize(
    "options, picked",
    [
        (["--status", "failed"], [1]),
        (["--status", "failed", "--status", "waiting"], [2, 1]),
        (["--workflow", "good"], [0]),
        (["--workflow", "good", "--status", "failed"], []),
        (["--limit", "2"], [2, 1]),
    ],
)
def test_list_picks(perdure: Perdure, three: list[str], options: list[str], picked: list[int]) -> None:
    """By status, by workflow, at most so many."""
    assert [line["execution"] for line in perdure("list", "--json", *options).lines] == [three[each] for each in picked]


def test_list_names_the_worker_of_what_runs(perdure: Perdure) -> None:
    """An execution that a living process runs has its worker, and is not said to be left alone."""
    process = perdure.start("run", perdure.flow(ASK))
    process.until_fact("waiting", "ask")
    (row,) = perdure("list", "--json").lines
    assert str(process.popen.pid) in row["worker"]
    assert "no process" not in perdure("list").stdout
    assert f"run by    process {process.popen.pid} on " in perdure("show", row["execution"]).stdout


# -- show ----------------------------------------------------------------------------------------------------------------


def test_show_tells_how_it_stands_and_the_timeline(perdure: Perdure) -> None:
    """Header, nodes in declaration order, and each step with what came in and what followed."""
    nodes = {
        "b": {"type": "transform", "to": "${ input.n + 1 }"},
        "a": {"type": "test.fails_first", "after": "b", "retry": {"attempts": 2, "initial": "1ms"}},
        "never": {"type": "log", "after": "a", "when": "${ nodes.b > 5 }", "message": "x"},
    }
    execution = perdure.run(nodes, "--input", '{"n": 1}', output="${ nodes.a }", vars={"v": 3}).last["execution"]
    shown = perdure("show", execution).stdout
    header, table, timeline = shown.split("\n\n")
    assert header.startswith(f"✓ {execution}  succeeded\n")
    for line in ("  workflow  flow  (digest ", '  input     {"n": 1}', "  output    2", "  variable  v = 3", "@cli"):
        assert line in header
    assert [line.split()[1] for line in table.splitlines()[1:]] == ["b", "a", "never"]
    assert "a      succeeded ×2" in table
    assert "`when` is false" in table
    facts = [line.split(None, 1)[1] for line in timeline.splitlines() if re.match(r"\s+\d+  ", line)]
    assert [fact.split()[0] for fact in facts] == [
        "started",
        "variable",
        "done",
        "scheduled",
        "retrying",
        "scheduled",
        "done",
        "skipped",
        "ended",
    ]
    assert "result of a, attempt 1: failed (test.early)" in timeline
    assert "timer: the backoff of a" in timeline
    assert "test.early: Attempt 1 is too early." in timeline


def test_show_tells_what_has_not_started(perdure: Perdure) -> None:
    """Of an unfinished execution the nodes to come are pending, a parked one has its error, and no process runs it."""
    execution = perdure.run(PARKS, "--no-wait").last["execution"]
    shown = perdure("show", execution).stdout
    assert "no process: `perdure resume` goes on" in shown
    assert re.search(r"! pay\s+parked\s+It went wrong\.", shown)
    assert re.search(r"· after\s+pending", shown)


def test_show_tells_the_error_of_a_failure(perdure: Perdure, three: list[str]) -> None:
    """Code, category, node and the title."""
    shown = perdure("show", three[1]).stdout
    assert "  error\n    It went wrong.\n      test.failed (technical) at a\n" in shown


def test_show_for_scripts_is_the_journal(perdure: Perdure) -> None:
    """One object a step: its inputs, its facts numbered without a gap, in full words; a result names its fact."""
    execution = perdure.run({**ASK, "work": {"type": "test.says", "after": "ask", "with": {"message": "m"}}}, "--no-wait").last[
        "execution"
    ]
    perdure("signal", execution, "go", "--payload", '{"yes": 1}')
    perdure("resume")
    steps = perdure("show", execution, "--json").lines
    counts = [len(step["facts"]) for step in steps]
    assert [step["first_seq"] for step in steps] == [1 + sum(counts[:number]) for number in range(len(steps))]
    types = [given["type"] for step in steps for given in step["inputs"]]
    assert types == ["start", "recovered", "signal", "result"]
    assert steps[0]["inputs"][0]["execution"] == execution
    facts = {number: fact for step in steps for number, fact in enumerate(step["facts"], step["first_seq"])}
    assert [fact["fact"] for fact in facts.values()] == ["started", "waiting", "done", "scheduled", "done", "ended"]
    result = steps[-1]["inputs"][0]
    assert (result["node"], result["attempt"], result["outcome"]) == ("work", 1, "succeeded")
    assert "output" not in result
    assert facts[result["fact_seq"]] == steps[-1]["facts"][0]
    assert facts[3]["output"] == {"yes": 1}
    assert facts[4]["params"] == {"message": "m"}


def test_show_gives_large_values_when_asked(perdure: Perdure) -> None:
    """As a rule a large value is named by digest and size; with --full it is there."""
    execution = perdure.run({"a": {"type": "test.large", "with": {"size": 2_000}}}).last["execution"]

    def outputs(*options: str) -> list[Any]:
        steps = perdure("show", execution, "--json", *options).lines
        return [fact["output"] for step in steps for fact in step["facts"] if fact["fact"] in ("done", "ended")]

    assert [set(output) for output in outputs()] == [{"$blob", "size"}] * 2
    assert outputs("--full") == ["x" * 2_000] * 2


def test_a_users_object_is_never_taken_for_a_large_value(perdure: Perdure) -> None:
    """An output that looks like the name of a blob stays what it is."""
    forged = {"$blob": "00" * 32, "size": 5}
    execution = perdure.run({"a": {"type": "transform", "to": forged}}).last["execution"]
    facts = perdure("show", execution, "--json", "--full").lines[0]["facts"]
    assert facts[-1]["output"] == forged


def test_an_id_may_be_shortened(perdure: Perdure, three: list[str]) -> None:
    """Four or more last characters do, in small letters or capitals, when one execution has them."""
    assert perdure("show", three[0][-6:].upper()).stdout.startswith(f"✓ {three[0]}  ")


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["show", "zzzz"], "no execution 'zzzz'"),
        (["show", "abc"], "no execution 'abc'"),
        (["show", "ex_01jd3v0x7r8k2q4m6n8p0s2t4v"], "no execution ex_01jd3v0x7r8k2q4m6n8p0s2t4v"),
        (["show"], "ID"),
        (["list", "--status", "done"], "no status done"),
        (["list", "--limit", "0"], "--limit"),
        (["list", "--store", "text.db"], "[store."),
        (["verify", "--store", "text.db"], "[store."),
        *(
            ([*command, "--store", "gone.db"], "no store at gone.db")
            for command in (["list"], ["show", "abcd"], ["incidents"], ["verify"])
        ),
    ],
)
def test_looking_for_what_is_not_there_is_refused(perdure: Perdure, three: list[str], arguments: list[str], said: str) -> None:
    """Exit code 2 and a sentence; no store comes into being by being looked at."""
    Path("text.db").write_text("This is no database, but a text of some length.\n" * 100)
    finished = perdure(*arguments)
    assert (finished.code, finished.stdout) == (2, ""), finished
    assert said in finished.stderr
    assert not Path("gone.db").exists()


# -- verify --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deep", [[], ["--deep"]])
def test_verify_finds_a_sound_store_sound(perdure: Perdure, three: list[str], deep: list[str]) -> None:
    """The counts, and exit code 0; also with everything stepped again."""
    perdure.run({"a": {"type": "test.large", "with": {"size": 2_000}}}, name="large")
    verified = perdure("verify", *deep, "--json")
    assert verified.code == 0, verified
    assert (verified.last["executions"], verified.last["findings"]) == (4, 0)
    assert verified.last["blobs"] >= 1
    assert "all sound" in perdure("verify", *deep).stdout


def test_verify_names_what_is_damaged(perdure: Perdure, three: list[str]) -> None:
    """A journal row that was tampered with: the execution and a sentence, exit code 1; the other executions are sound."""
    with apsw.Connection(str(perdure.store)) as connection:
        connection.execute("UPDATE journal SET body = x'c1' WHERE execution = (SELECT max(execution) FROM executions)")
    verified = perdure("verify", "--json")
    assert verified.code == 1
    *findings, counts = verified.lines
    assert {finding["execution"] for finding in findings} == {three[2]}
    assert counts["findings"] == len(findings)
    people = perdure("verify").stdout
    assert people.startswith(f"{three[2]}: ")
    shown = perdure("show", three[2])
    assert (shown.code, shown.stdout) == (2, "")
    assert "[store.damaged]" in shown.stderr
    resumed = perdure("resume")
    assert resumed.code == 2
    assert "[store.damaged]" in resumed.stderr
    assert "Traceback" not in resumed.stderr
