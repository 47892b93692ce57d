"""`check`, `nodes` and `import`: definitions and node types, without running anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from command_line import ASK, Perdure

from perdure.cli.checking import EXCERPT_COLUMNS_MAX, excerpt

WRONG = """\
perdure: 1
name: wrong
nodes:
  a: {type: bogus}
  b: {type: transform, to: "${ nodes.c }"}
  d: {type: log, afer: b, message: x}
"""

# -- check ---------------------------------------------------------------------------------------------------------------


def test_check_tells_a_sound_definition_by_its_size(perdure: Perdure) -> None:
    """One line: nodes, edges and the digest that executions will be pinned to."""
    flow = perdure.flow({"a": {"type": "transform", "to": 1}, "b": {"type": "log", "after": "a", "message": "x"}})
    checked = perdure("check", flow)
    assert checked.code == 0
    (verdict,) = perdure("check", flow, "--json").lines
    assert (verdict["file"], verdict["ok"], verdict["nodes"], verdict["edges"]) == (flow, True, 2, 1)
    assert checked.stdout == f"{flow}: ok, 2 nodes, 1 edge, digest {verdict['digest'][:12]}\n"
    assert perdure.run(ASK, "--no-wait").code == 4
    assert perdure("list", "--json").last["digest"] != verdict["digest"]


def test_check_tells_all_faults_at_once(perdure: Perdure) -> None:
    """Each with file, line, column, path, code, its line of the file and a remedy; exit code 2."""
    Path("wrong.yaml").write_text(WRONG)
    checked = perdure("check", "wrong.yaml")
    assert (checked.code, checked.stderr) == (2, "")
    for place in ("wrong.yaml:4:13: error: nodes.a.type: ", "wrong.yaml:5:", "wrong.yaml:6:"):
        assert place in checked.stdout
    assert "  |   a: {type: bogus}\n  |             ^\n" in checked.stdout
    assert "`after`" in checked.stdout
    assert checked.stdout.splitlines()[-1] == "wrong.yaml: 3 errors, 3 warnings"


def test_check_for_scripts(perdure: Perdure) -> None:
    """A line for each fault, then one for the file."""
    Path("wrong.yaml").write_text(WRONG)
    *faults, verdict = perdure("check", "wrong.yaml", "--json").lines
    assert [fault["line"] for fault in faults if fault["severity"] == "error"] == [4, 5, 6]
    for fault in faults:
        assert set(fault) == {"file", "code", "path", "message", "remedy", "line", "column", "severity"}
    assert (verdict["ok"], verdict["errors"], verdict["digest"]) == (False, 3, None)


def test_warnings_do_not_fail_a_check(perdure: Perdure) -> None:
    """They are told, and the definition is sound all the same."""
    flow = perdure.flow({"a": {"type": "transform", "to": 1}, "b": {"type": "transform", "to": 2}})
    checked = perdure("check", flow)
    assert checked.code == 0
    assert "[node.isolated]" in checked.stdout
    assert "ok, 2 warnings" in checked.stdout


def test_check_takes_several_files(perdure: Perdure) -> None:
    """Each is told of; one that is wrong or cannot be read makes exit code 2, and stops no other."""
    Path("wrong.yaml").write_text(WRONG)
    good = perdure.flow({"a": {"type": "transform", "to": 1}})
    checked = perdure("check", "gone.yaml", "wrong.yaml", good)
    assert checked.code == 2
    assert "gone.yaml cannot be read" in checked.stderr
    assert "wrong.yaml: 3 errors" in checked.stdout
    assert f"{good}: ok" in checked.stdout
    verdicts = [line for line in perdure("check", "gone.yaml", "wrong.yaml", good, "--json").lines if "ok" in line]
    assert [verdict["ok"] for verdict in verdicts] == [False, False, True]


def test_check_makes_no_store(perdure: Perdure) -> None:
    """Looking at a file touches nothing."""
    perdure("check", perdure.flow({"a": {"type": "transform", "to": 1}}))
    assert not perdure.store.exists()


def test_a_saved_definition_can_be_started_by_its_name(perdure: Perdure) -> None:
    """`check --save` keeps the workflow that a timed-out one hands over to."""
    after = perdure.flow({"a": {"type": "transform", "to": "${ input.input.n }"}}, name="after")
    assert perdure("check", after, "--save").code == 0
    finished = perdure.run(ASK, "--input", '{"n": 4}', settings={"timeout": "20ms", "on_timeout": {"route": "after"}})
    assert (finished.code, finished.last["output"]) == (0, 4), finished


def test_a_missing_definition_is_named(perdure: Perdure) -> None:
    """Without it the execution stays queued, and `resume` says what to save."""
    timed_out = perdure.run(ASK, settings={"timeout": "20ms", "on_timeout": {"route": "after"}})
    assert (timed_out.code, timed_out.last["status"]) == (3, "timed_out")
    assert "perdure check FILE --save" in timed_out.stderr
    resumed = perdure("resume")
    assert resumed.code == 2
    assert "no definition" in resumed.stderr.replace("the store has none", "no definition")
    assert "perdure check FILE --save" in resumed.stderr


def test_check_draws_a_definition(perdure: Perdure) -> None:
    """With `--picture`, what is sound is drawn into the file that is named, and told of as ever."""
    flow = perdure.flow(
        {"a": {"type": "test.says", "with": {"message": "x"}}, "b": {"type": "transform", "after": "a", "to": 1}}
    )
    checked = perdure("check", flow, "--picture", "flow.svg")
    assert (checked.code, checked.stdout) == (0, perdure("check", flow).stdout)
    picture = Path("flow.svg").read_text(encoding="utf-8")
    assert picture.startswith("<svg ")
    assert ">test.says</text>" in picture


@pytest.mark.parametrize(
    "files, picture, said",
    [
        (["wrong.yaml"], "out.svg", ""),
        (["gone.yaml"], "out.svg", "gone.yaml cannot be read"),
        (["flow.json", "flow.json"], "out.svg", "one file to draw, but got 2"),
        (["flow.json"], "gone/out.svg", "gone/out.svg cannot be written"),
    ],
)
def test_what_cannot_be_drawn_is_refused(perdure: Perdure, files: list[str], picture: str, said: str) -> None:
    """A definition with faults, several at once, a place that cannot be written: exit code 2, and no picture."""
    perdure.flow({"a": {"type": "transform", "to": 1}})
    Path("wrong.yaml").write_text(WRONG)
    checked = perdure("check", *files, "--picture", picture)
    assert checked.code == 2
    assert said in checked.stderr
    assert not list(perdure.folder.glob("**/*.svg"))


def test_check_lists_the_codes(perdure: Perdure) -> None:
    """Every code of the checker with what it means and what to do."""
    from perdure.definition import CODES

    listed = perdure("check", "--codes", "--json").lines
    assert [line["code"] for line in listed] == list(CODES)
    assert all(line["meaning"] and line["remedy"] and line["severity"] in ("error", "warning") for line in listed)
    assert len(perdure("check", "--codes").stdout.splitlines()) == len(CODES)


def test_check_prints_the_schema(perdure: Perdure) -> None:
    """The JSON Schema of definitions, with the node types of files that are named."""
    schema = json.loads(perdure("check", "--schema", "--nodes", "nodes.py").stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "test.says" in json.dumps(schema)


@pytest.mark.parametrize(
    "line, column, shown",
    [
        ("a: {b: c}", 5, "  | a: {b: c}\n  |     ^"),
        ("\ta: b", 2, "  | \ta: b\n  | \t^"),
        ("a: \x1b[2J", 1, "  | a: ?[2J\n  | ^"),
        ("", 1, "  | \n  | ^"),
        ("abc", 9, "  | abc\n  |    ^"),
    ],
)
def test_an_excerpt_points_at_its_column(line: str, column: int, shown: str) -> None:
    """The caret stands below the character, also after a tab; control characters are shown as `?`."""
    assert excerpt(line, column) == shown


@pytest.mark.parametrize("column", [1, 2, 50, 51, 500, 950, 999, 1_000])
def test_of_a_long_line_the_part_around_the_column_is_shown(column: int) -> None:
    """The caret points at the same character as in the whole line."""
    line = "".join(chr(0x4E00 + number) for number in range(1_000))
    text, caret = (part.removeprefix("  | ") for part in excerpt(line, column).split("\n"))
    assert len(text) == EXCERPT_COLUMNS_MAX
    assert text[len(caret) - 1] == line[column - 1]


# -- nodes ---------------------------------------------------------------------------------------------------------------


def test_nodes_lists_the_catalogue_by_group(perdure: Perdure) -> None:
    """Built-in types, those of the `nodes.py` in this folder, and those of files that are named."""
    Path("elsewhere").mkdir()
    far = 'from perdure import node\n\n\n@node("far.off")\nasync def far() -> str:\n    """Say where."""\n    return "far"\n'
    Path("elsewhere/far.py").write_text(far)
    listed = {line["name"] for line in perdure("nodes", "--json", "--nodes", "elsewhere/far.py").lines}
    assert listed >= {"transform", "http", "delay", "switch", "test.says", "far.off"}
    people = perdure("nodes").stdout
    assert "\nwaiting\n" in people
    assert "  delay " in people
    assert "far.off" not in people


def test_nodes_tells_one_type_in_full(perdure: Perdure) -> None:
    """What it is for, its keys and ports, and examples that are whole workflows."""
    told = perdure("nodes", "condition").stdout
    assert "Ports: true, false, error, timeout" in told
    assert "Keys:" in told
    example = yaml.safe_load(told[told.index("perdure: 1") :])
    assert any(node["type"] == "condition" for node in example["nodes"].values())
    (spec,) = perdure("nodes", "condition", "--json").lines
    assert spec["examples"][0]["definition"] == example
    assert "url" in perdure("nodes", "http").stdout


def test_an_unknown_type_is_refused(perdure: Perdure) -> None:
    """Exit code 2, and what was perhaps meant."""
    told = perdure("nodes", "transfrom")
    assert (told.code, told.stdout) == (2, "")
    assert "Did you mean transform" in told.stderr


# -- import --------------------------------------------------------------------------------------------------------------

RECORDING = {"columns": ["name", "runtime_s", "parent_indexes"], "tasks": [["a", 2, []], ["b", 3, [0]], ["c", 1, [0]]]}


@pytest.mark.parametrize("out", ["flow.yaml", "flow.json"])
def test_an_imported_recording_runs(perdure: Perdure, out: str) -> None:
    """The definition is written in the format that its name says, and runs."""
    Path("recording.json").write_text(json.dumps(RECORDING))
    imported = perdure("import", "wfformat", "recording.json", "--scale", "0.001", "-o", out, "--name", "small")
    assert (imported.code, imported.stdout, imported.stderr) == (0, "", f"{out}: 3 nodes\n")
    assert out.endswith(".yaml") == (not Path(out).read_text().startswith("{"))
    assert perdure("run", out, "--json").last["output"] == {"tasks": 3}
    assert perdure("list", "--json").last["workflow"] == "small"


def test_without_a_file_the_definition_is_printed(perdure: Perdure) -> None:
    """YAML on stdout, ready for a pipe."""
    Path("recording.json").write_text(json.dumps(RECORDING))
    imported = perdure("import", "wfformat", "recording.json", "--as", "science.task")
    assert imported.code == 0
    assert {node["type"] for node in yaml.safe_load(imported.stdout)["nodes"].values()} == {"science.task"}


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["wfformat", "gone.json"], "gone.json cannot be read"),
        (["wfformat", "text.json"], "line 1, column 1 of text.json"),
        (["wfformat", "broken.json"], "tasks[0][2][0]"),
        (["wfformat", "list.json"], "list.json"),
        (["bpmn", "recording.json"], "no format 'bpmn'"),
        (["wfformat", "recording.json", "--scale", "0"], "[wfformat.scale]"),
        (["wfformat", "recording.json", "--scale", "nan"], "[wfformat.scale]"),
        (["wfformat", "recording.json", "--as", "bogus"], "[wfformat.node_type]"),
        (["wfformat", "recording.json", "--name", "a b"], "[wfformat.name]"),
        (["wfformat", "recording.json", "-o", "gone/flow.yaml"], "gone/flow.yaml cannot be written"),
        (["wfformat"], "FILE"),
    ],
)
def test_what_cannot_be_imported_is_refused(perdure: Perdure, arguments: list[str], said: str) -> None:
    """Exit code 2, the place or the option, and nothing is written."""
    Path("recording.json").write_text(json.dumps(RECORDING))
    Path("text.json").write_text("no JSON")
    Path("list.json").write_text("[1]")
    Path("broken.json").write_text(json.dumps({**RECORDING, "tasks": [["a", 2, [7]]]}))
    imported = perdure("import", *arguments)
    assert (imported.code, imported.stdout) == (2, ""), imported
    assert said in imported.stderr
    assert not list(perdure.folder.glob("**/*.yaml"))
