"""`run` follows an execution to its end, says how it went to people and to scripts, and exits by its status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import ASK, PARKS, Perdure

HELLO = {"hello": {"type": "transform", "to": "Hello, ${ input.name }!"}}


def test_the_last_line_is_the_outcome(perdure: Perdure) -> None:
    """With --json the last line holds exactly execution, status, output and error; each line before it is a fact."""
    finished = perdure.run(HELLO, "--input", '{"name": "Ada"}')
    assert finished.code == 0, finished
    execution = finished.last["execution"]
    assert finished.last == {"execution": execution, "status": "succeeded", "output": "Hello, Ada!", "error": None}
    assert list(finished.last) == ["execution", "status", "output", "error"]
    assert [line["fact"] for line in finished.lines[:-1]] == ["started", "done", "ended"]
    assert all(line["execution"] == execution and line["at"].endswith("Z") for line in finished.lines[:-1])
    assert finished.lines[1]["node"] == "hello"


@pytest.mark.parametrize(
    "nodes, settings, code, status",
    [
        ({"a": {"type": "transform", "to": 1}}, {}, 0, "succeeded"),
        ({"a": {"type": "return", "value": 1}}, {}, 0, "succeeded"),
        ({"a": {"type": "fail", "code": "no"}}, {}, 1, "failed"),
        ({"a": {"type": "test.fails"}}, {}, 1, "failed"),
        ({"a": {"type": "delay", "for": "1h"}}, {"timeout": "20ms"}, 3, "timed_out"),
    ],
)
def test_the_exit_code_tells_the_status(
    perdure: Perdure, nodes: dict[str, Any], settings: dict[str, Any], code: int, status: str
) -> None:
    """0 for succeeded, 1 for failed, 3 for timed out."""
    finished = perdure.run(nodes, settings=settings)
    assert (finished.code, finished.last["status"]) == (code, status), finished


def test_a_failure_is_the_error_of_the_outcome(perdure: Perdure) -> None:
    """The error is the object that workflows see: code, title, category, node and the attempts before."""
    nodes = {"a": {"type": "test.fails", "with": {"title": "Broken."}, "retry": {"attempts": 3, "initial": "1ms"}}}
    finished = perdure.run(nodes)
    error = finished.last["error"]
    assert (error["code"], error["title"], error["category"], error["node"]) == ("test.failed", "Broken.", "technical", "a")
    facts = [line["fact"] for line in finished.lines[:-1] if line.get("node") == "a"]
    assert facts == ["scheduled", "retrying", "scheduled", "retrying", "scheduled", "failed"]


def test_plain_lines_tell_each_change(perdure: Perdure) -> None:
    """Not on a terminal: a line for each change of a node, with the time, its state and a note; then the ending and output."""
    nodes = {
        "first": {"type": "test.fails_first", "retry": {"attempts": 2, "initial": "1ms"}},
        "rest": {"type": "delay", "after": "first", "for": "1ms"},
        "say": {"type": "log", "after": "rest", "message": "nearly there"},
        "never": {"type": "transform", "after": "say", "when": "${ 1 > 2 }", "to": 1},
    }
    finished = perdure("run", perdure.flow(nodes, output="${ nodes.first }"))
    assert finished.code == 0, finished
    head, *changes = finished.stdout.splitlines()
    assert head.startswith("flow  ex_")
    told = [line.split(" ", 1)[1] for line in changes[:-2]]
    assert told[0] == "first running"
    assert told[1].startswith("first waiting attempt 2 ")
    assert told[1].endswith("Attempt 1 is too early.")
    assert told[2:4] == ["first running (attempt 2)", "first succeeded"]
    assert told[4].startswith("rest waiting until ")
    assert told[5:] == ["rest succeeded", "say succeeded nearly there", "never skipped `when` is false:  1 > 2"]
    assert changes[-2].startswith("✓ succeeded in ")
    assert changes[-1] == "2"


def test_a_failed_run_shows_its_error_to_people(perdure: Perdure) -> None:
    """The title, the code, the node and the earlier attempts."""
    nodes = {"a": {"type": "test.fails", "with": {"title": "Broken."}, "retry": {"attempts": 2, "initial": "1ms"}}}
    finished = perdure("run", perdure.flow(nodes))
    assert finished.code == 1
    ending = finished.stdout[finished.stdout.index("✗ failed in ") :].splitlines()[1:]
    assert ending[:2] == ["  Broken.", "    test.failed (technical) at a"]
    assert ending[2:] == ["    earlier attempts:", "      1. test.failed: Broken."]


def test_texts_of_workflows_cannot_drive_the_terminal(perdure: Perdure) -> None:
    """Escape sequences in titles, messages and outputs are shown as question marks."""
    escape = "\x1b[2J\x07"
    nodes = {
        "say": {"type": "log", "message": f"one{escape}\ntwo"},
        "a": {"type": "fail", "after": "say", "title": f"No{escape}.", "code": "x"},
    }
    finished = perdure("run", perdure.flow(nodes))
    assert "\x1b" not in finished.stdout + finished.stderr
    assert "say succeeded one?[2J? two" in finished.stdout
    shown = perdure("show", finished.stdout.split()[1])
    assert "\x1b" not in shown.stdout


def test_log_lines_of_nodes_come_with_the_facts(perdure: Perdure) -> None:
    """What a node logs while it runs is a line of its own, with its level and data."""
    nodes = {"a": {"type": "test.says", "with": {"message": "at work"}}}
    (line,) = [line for line in perdure.run(nodes).lines if "log" in line]
    assert (line["log"], line["node"], line["level"], line["data"]) == ("at work", "a", "info", {"extra": 1})
    assert ' a log at work  {"extra": 1}' in perdure("run", perdure.flow(nodes)).stdout


@pytest.mark.parametrize("given", ['{"name": "Ada"}', "@given.json", "@-"])
def test_input_comes_from_the_line_a_file_or_standard_input(
    perdure: Perdure, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """The three ways to give an input mean the same."""
    (perdure.folder / "given.json").write_text('{"name": "Ada"}')
    with (perdure.folder / "given.json").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert perdure.run(HELLO, "--input", given).last["output"] == "Hello, Ada!"


def test_a_large_output_is_given_in_full(perdure: Perdure) -> None:
    """The outcome holds a large value itself; the facts name it by digest and size."""
    finished = perdure.run({"a": {"type": "test.large", "with": {"size": 5_000}}})
    assert finished.last["output"] == "x" * 5_000
    done = next(line for line in finished.lines if line.get("fact") == "done")
    assert set(done["output"]) == {"$blob", "size"}
    assert done["output"]["size"] == 5_003


def test_nodes_of_other_files_are_named(perdure: Perdure) -> None:
    """--nodes brings the node types of a file that does not lie beside the workflow."""
    (perdure.folder / "elsewhere").mkdir()
    text = 'from perdure import node\n\n\n@node("far.off")\nasync def far() -> str:\n    """Say where."""\n    return "far"\n'
    (perdure.folder / "elsewhere" / "far.py").write_text(text)
    flow = perdure.flow({"a": {"type": "far.off"}})
    assert perdure("run", flow).code == 2
    assert perdure("run", flow, "--nodes", "elsewhere/far.py", "--json").last["output"] == "far"


def test_the_store_is_where_it_was_asked_for(perdure: Perdure, monkeypatch: pytest.MonkeyPatch) -> None:
    """--store goes before PERDURE_STORE, which goes before perdure.db here."""
    monkeypatch.setenv("PERDURE_STORE", "second.db")
    flow = perdure.flow(HELLO)
    perdure("run", flow, "--input", '{"name": "a"}', "--store", "first.db")
    assert sorted(file.name for file in perdure.folder.glob("*.db")) == ["first.db"]
    perdure("run", flow, "--input", '{"name": "a"}')
    assert sorted(file.name for file in perdure.folder.glob("*.db")) == ["first.db", "second.db"]


def test_rule_55_a_key_starts_one_execution(perdure: Perdure) -> None:
    """The same key and input give the first execution and its result; another input is refused."""
    first = perdure.run(HELLO, "--input", '{"name": "Ada"}', "--key", "k1")
    again = perdure.run(HELLO, "--input", '{"name": "Ada"}', "--key", "k1")
    assert (again.code, again.last) == (0, first.last)
    assert "was started with this key before" in again.stderr
    other = perdure.run(HELLO, "--input", '{"name": "Grace"}', "--key", "k1")
    assert (other.code, other.stdout) == (2, "")
    assert "[start.conflict]" in other.stderr
    assert len(perdure("list", "--json").lines) == 1


def test_rule_55_a_key_finds_a_failed_execution_too(perdure: Perdure) -> None:
    """A repeat after a failure does not run it once more: it gives the failure, and exits by it."""
    nodes = {"a": {"type": "test.fails"}}
    first, again = perdure.run(nodes, "--key", "k"), perdure.run(nodes, "--key", "k")
    assert (again.code, again.last) == (1, first.last)


def test_rule_55_a_key_takes_an_interrupted_execution_up_again(perdure: Perdure) -> None:
    """When nobody runs the execution that the key names, `run` goes on with it."""
    first = perdure.run(ASK, "--key", "k", "--no-wait")
    assert first.code == 4
    assert perdure("signal", first.last["execution"], "go", "--payload", "1").code == 0
    again = perdure.run(ASK, "--key", "k")
    assert (again.code, again.last["execution"], again.last["output"]) == (0, first.last["execution"], 1)


def test_an_execution_with_a_priority_has_it(perdure: Perdure) -> None:
    """--priority goes before the workflow's own."""
    perdure.run(HELLO, "--input", '{"name": "a"}', "--priority", "1", settings={"priority": 5})
    assert perdure("list", "--json").last["priority"] == 1


@pytest.mark.parametrize("value", [False, 0, "", [], {}, None, "ü 🙂 \u2028", -(2**63)])
def test_what_counts_as_nothing_is_given_too(perdure: Perdure, value: object) -> None:
    """An output that Python counts as nothing vanishes neither from the outcome nor from the facts."""
    finished = perdure.run({"a": {"type": "transform", "to": "${ input.v }"}}, "--input", json.dumps({"v": value}))
    assert finished.last["output"] == value
    done = next(line for line in finished.lines if line.get("fact") == "done")
    assert "output" in done
    assert done["output"] == value


def test_a_huge_output_is_cut_for_people(perdure: Perdure) -> None:
    """Nobody reads a megabyte on a terminal: plain lines tell its beginning and its length."""
    finished = perdure("run", perdure.flow({"a": {"type": "test.large", "with": {"size": 1_000_000}}}))
    assert len(finished.stdout) < 5_000
    assert "(1,000,002 characters)" in finished.stdout


def test_a_run_mentions_what_was_interrupted(perdure: Perdure) -> None:
    """Whoever starts something in a store where an execution stopped unfinished is told how to go on with it."""
    left = perdure.run(ASK, "--no-wait").last["execution"]
    finished = perdure.run(HELLO, "--input", '{"name": "a"}', name="other")
    assert finished.code == 0
    assert f"go on with: perdure resume {left}" in finished.stderr
    perdure.run(ASK, "--no-wait")
    assert "2 other executions here were interrupted" in perdure.run(HELLO, "--input", '{"name": "a"}', name="other").stderr


# -- waiting for people --------------------------------------------------------------------------------------------------


def test_no_wait_leaves_an_execution_that_waits_for_a_signal(perdure: Perdure) -> None:
    """Exit code 4 and status waiting, and on stderr the command that sends the signal."""
    finished = perdure.run(ASK, "--no-wait")
    assert finished.code == 4
    execution = finished.last["execution"]
    assert finished.last == {"execution": execution, "status": "waiting", "output": None, "error": None}
    assert f"perdure signal {execution} go" in finished.stderr
    assert perdure("list", "--json").last["status"] == "waiting"


def test_no_wait_leaves_an_execution_that_is_parked(perdure: Perdure) -> None:
    """Exit code 4, status parked and the error of the node that is parked, and on stderr what an operator can do."""
    finished = perdure.run(PARKS, "--no-wait")
    assert (finished.code, finished.last["status"]) == (4, "parked")
    assert (finished.last["output"], finished.last["error"]["code"]) == (None, "test.failed")
    assert f"perdure retry {finished.last['execution']} pay" in finished.stderr


def test_no_wait_waits_for_all_that_goes_on_by_itself(perdure: Perdure) -> None:
    """A timer and a retry beside the wait for a signal are seen to their ends first."""
    nodes = {
        **ASK,
        "rest": {"type": "delay", "for": "30ms"},
        "later": {"type": "test.fails_first", "retry": {"attempts": 2, "initial": "40ms"}},
    }
    finished = perdure.run(nodes, "--no-wait")
    assert finished.code == 4
    assert {line["node"] for line in finished.lines if line.get("fact") == "done"} == {"rest", "later"}


def test_no_wait_makes_no_difference_to_what_ends(perdure: Perdure) -> None:
    """An execution that waits for nobody ends as ever."""
    assert perdure.run(HELLO, "--input", '{"name": "a"}', "--no-wait").code == 0


# -- what is refused -----------------------------------------------------------------------------------------------------

FLOW = json.dumps(
    {"perdure": 1, "name": "f", "input": {"type": "object", "required": ["n"]}, "nodes": {"a": {"type": "transform", "to": 1}}}
)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["run", "gone.yaml"], "gone.yaml cannot be read"),
        (["run", "."], "cannot be read"),
        (["run", "broken.yaml"], "broken.yaml:2:1: error:"),
        (["run", "wrong.yaml"], "wrong.yaml:4:13: error: nodes.a.type"),
        (["run", "f.json"], "[input.refused]"),
        (["run", "f.json", "--input", "{n: 1}"], "line 1, column 2"),
        (["run", "f.json", "--input", ""], "Expected JSON"),
        (["run", "f.json", "--input", "[1]"], "[input.refused]"),
        (["run", "f.json", "--input", "@gone.json"], "gone.json cannot be read"),
        (["run", "f.json", "--input", "@latin.json"], "latin.json is not UTF-8: byte 6"),
        (["run", "f.json", "--input", "@broken.yaml"], "line 1, column 1 of broken.yaml"),
        (["run", "f.json", "--input", '{"n": NaN}'], "NaN"),
        (["run", "f.json", "--input", '{"n": 1e999}'], "input.n"),
        (["run", "f.json", "--input", '{"n": 9223372036854775808}'], "input.n"),
        (["run", "f.json", "--input", '{"n": ' + "9" * 5_000 + "}"], "64 bits"),
        (["run", "f.json", "--input", '{"n": "\\ud800"}'], "input.n"),
        (["run", "f.json", "--input", '{"n": 1, "n": 2}'], "'n' stands twice"),
        (["run", "f.json", "--input", "[" * 100_000], "nested too deeply"),
        (["run", "f.json", "--priority", "9"], "--priority"),
        (["run", "f.json", "--wait"], "--wait"),
        (["run"], "FILE"),
        (["run", "f.json", "--input", '{"n": 1}', "--nodes", "gone.py"], "gone.py"),
        (["run", "f.json", "--input", '{"n": 1}', "--nodes", "broken.yaml"], "broken.yaml"),
        (["run", "f.json", "--input", '{"n": 1}', "--store", "gone/perdure.db"], "gone/perdure.db"),
        (["run", "f.json", "--input", '{"n": 1}', "--store", "text.db"], "[store."),
        (["bogus"], "bogus"),
        ([], "Usage"),
    ],
)
def test_what_cannot_be_done_is_refused(perdure: Perdure, arguments: list[str], said: str) -> None:
    """Exit code 2, a sentence on stderr that names the place, nothing on stdout, and nothing is started."""
    (perdure.folder / "f.json").write_text(FLOW)
    (perdure.folder / "broken.yaml").write_text("nodes: [open\n")
    (perdure.folder / "wrong.yaml").write_text("perdure: 1\nname: w\nnodes:\n  a: {type: bogus}\n")
    (perdure.folder / "latin.json").write_bytes(b'{"n": \xe9}')
    (perdure.folder / "text.db").write_text("This is no database, but a text of some length.\n" * 100)
    finished = perdure(*arguments)
    assert finished.code == 2, finished
    assert finished.stdout == ""
    assert said in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not perdure.store.exists() or perdure("list", "--json").stdout == ""


def test_a_wrong_setting_is_refused_by_its_name(perdure: Perdure, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `PERDURE_*` variable that cannot be meant is named, whatever the command."""
    monkeypatch.setenv("PERDURE_SLOTS", "many")
    finished = perdure("run", perdure.flow(HELLO))
    assert finished.code == 2
    assert "PERDURE_SLOTS" in finished.stderr


def test_a_payload_above_the_limit_is_refused(perdure: Perdure, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input of more bytes than `payload_max` is refused with both numbers."""
    monkeypatch.setenv("PERDURE_PAYLOAD_MAX", "2000")
    finished = perdure.run(HELLO, "--input", json.dumps({"name": "x" * 3_000}))
    assert (finished.code, finished.stdout) == (2, "")
    assert "3,0" in finished.stderr
    assert "2,000" in finished.stderr


def test_a_store_that_cannot_be_written_is_refused(perdure: Perdure) -> None:
    """A folder in place of the file: a sentence, exit code 2."""
    Path("folder.db").mkdir()
    finished = perdure("run", perdure.flow(HELLO), "--input", '{"name": "a"}', "--store", "folder.db")
    assert finished.code == 2
    assert "folder.db" in finished.stderr


def test_warnings_do_not_stop_a_run(perdure: Perdure) -> None:
    """A warning of the checker is said on stderr, and the workflow runs."""
    nodes = {
        "alone": {"type": "transform", "to": 1},
        "a": {"type": "transform", "to": 2},
        "b": {"type": "transform", "after": "a", "to": 3},
    }
    finished = perdure.run(nodes)
    assert finished.code == 0
    assert "warning:" in finished.stderr


def test_an_error_of_our_own_is_a_sentence(perdure: Perdure, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody thought of exits 70 with a sentence; with PERDURE_DEBUG=1 with the traceback."""

    def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("unthought of")

    monkeypatch.setattr("perdure.cli.running.read_file", breaks)
    finished = perdure("run", "x.yaml")
    assert finished.code == 70
    assert "RuntimeError: unthought of" in finished.stderr
    assert "Traceback" not in finished.stderr
    monkeypatch.setenv("PERDURE_DEBUG", "1")
    assert "Traceback" in perdure("run", "x.yaml").stderr
