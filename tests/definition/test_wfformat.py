"""Recorded scientific workflows become definitions that keep every task, every dependency and every runtime."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from perdure.definition.wfformat import import_wfformat, to_yaml
from perdure.errors import DefinitionRefused, Refused
from perdure.ids import NODE_ID


def full(graph: dict[str, list[str]], **seconds: float) -> dict[str, Any]:
    """A WfFormat document of this graph (task → parents); each task takes 10 seconds unless told."""
    children = {name: [child for child, parents in graph.items() if name in parents] for name in graph}
    return {
        "name": "small graph",
        "schemaVersion": "1.5",
        "workflow": {
            "specification": {
                "tasks": [{"id": name, "name": name, "parents": graph[name], "children": children[name]} for name in graph]
            },
            "execution": {"tasks": [{"id": name, "runtimeInSeconds": seconds.get(name, 10)} for name in graph]},
        },
    }


def compact(rows: list[Any], **changes: Any) -> dict[str, Any]:
    return {"source": "some/small-graph.json", "columns": ["name", "runtime_s", "parent_indexes"], "tasks": rows, **changes}


DIAMOND = full({"split": [], "left": ["split"], "right": ["split"], "merge": ["left", "right"]}, left=2.5)


def edges(definition: dict[str, Any]) -> set[tuple[str, str]]:
    found = set()
    for name, node in definition["nodes"].items():
        after = node.get("after", [])
        found |= {(parent, name) for parent in ([after] if isinstance(after, str) else after)}
    return found


def codes(document: Any) -> list[str]:
    with pytest.raises(DefinitionRefused) as refused:
        import_wfformat(document)
    assert refused.value.code == refused.value.faults[0].code
    assert all(fault.message.startswith("Expected") and fault.remedy for fault in refused.value.faults)
    return [fault.code for fault in refused.value.faults]


def test_a_graph_becomes_a_definition_that_runs_anywhere() -> None:
    """One `delay` per task, its seconds scaled, its parents under `after`; a failure stops descendants only."""
    assert import_wfformat(DIAMOND, scale=0.01) == {
        "perdure": 1,
        "name": "small-graph",
        "title": "small graph",
        "settings": {"on_failure": "isolate"},
        "nodes": {
            "split": {"type": "delay", "for": "0.1s"},
            "left": {"type": "delay", "after": "split", "for": "0.025s"},
            "right": {"type": "delay", "after": "split", "for": "0.1s"},
            "merge": {"type": "delay", "after": ["left", "right"], "for": "0.1s"},
        },
        "output": {"tasks": 4},
    }


def test_tasks_can_become_the_node_that_keeps_a_ledger() -> None:
    """With `science.task` each node knows its task, and the input may name a ledger and a task that fails."""
    definition = import_wfformat(DIAMOND, scale=0.01, node_type="science.task", name="diamond")
    assert definition["name"] == "diamond"
    assert set(definition["input"]["properties"]) == {"ledger", "fail"}
    assert definition["nodes"]["left"] == {
        "type": "science.task",
        "after": "split",
        "with": {
            "task": "left",
            "seconds": 0.025,
            "ledger": '${ get(input, "ledger", null) }',
            "fail": '${ get(input, "fail", null) }',
        },
    }


def test_the_compact_form_gives_the_same_definition() -> None:
    """Indexes of parents, in any order of rows, mean the same graph as names; the name comes from the source's file."""
    rows = [["merge", 10, [1, 2]], ["left", 2.5, [3]], ["right", 10, [3]], ["split", 10, []]]
    definition = import_wfformat(compact(rows))
    assert definition["name"] == "small-graph"
    assert definition["nodes"] == import_wfformat(DIAMOND)["nodes"]


def test_nodes_stand_after_their_parents() -> None:
    """However the document orders its tasks, the definition reads from the top down."""
    definition = import_wfformat(full({"d": ["c"], "c": ["b"], "b": ["a"], "a": []}))
    assert list(definition["nodes"]) == ["a", "b", "c", "d"]


def test_names_become_ids_and_stay_apart() -> None:
    """Characters that an id cannot have become `_`; two names that would meet are numbered; the title keeps the name."""
    rows = [
        ["a-b", 1, []],
        ["a.b", 1, [0]],
        ["a_b", 1, [1]],
        ["1st", 1, [2]],
        ["é", 1, [3]],
        ["x" * 70, 1, [4]],
        ["x" * 71, 1, [5]],
    ]
    definition = import_wfformat(compact(rows))
    assert list(definition["nodes"]) == ["a_b_2", "a_b_3", "a_b", "_1st", "_", "x" * 63, "x" * 61 + "_2"]
    assert definition["nodes"]["a_b_2"]["title"] == "a-b"
    assert "title" not in definition["nodes"]["a_b"]
    assert definition["nodes"]["a_b"]["after"] == "a_b_3"


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=80), min_size=1, max_size=30, unique=True))
def test_any_names_become_unique_ids(names: list[str]) -> None:
    """Whatever tasks are called: as many nodes as tasks, every id in the grammar, and the YAML reads back the same."""
    definition = import_wfformat(compact([[name, 1, [0] if index else []] for index, name in enumerate(names)]))
    assert len(definition["nodes"]) == len(names)
    assert all(NODE_ID.match(name) for name in definition["nodes"])
    assert sorted(node.get("title", name) for name, node in definition["nodes"].items()) == sorted(names)
    assert yaml.safe_load(to_yaml(definition)) == definition


def test_the_kind_of_task_is_kept_as_title() -> None:
    """Where a recording names the program and numbers the task, the node is called by its id and shown by its program."""
    document = copy.deepcopy(DIAMOND)
    document["workflow"]["specification"]["tasks"][0]["name"] = "splitter"
    assert import_wfformat(document)["nodes"]["split"]["title"] == "splitter"


def test_a_name_that_looks_like_an_expression_stays_a_name() -> None:
    """`${` in a task's name is written `$${`, which the format reads as the text `${`."""
    definition = import_wfformat(compact([["${ uuid() }", 1, []]]), node_type="science.task")
    assert [node["with"]["task"] for node in definition["nodes"].values()] == ["$${ uuid() }"]


def test_yaml_has_one_line_per_node() -> None:
    """A review sees each node on a line of its own, however many parents it has."""
    text = to_yaml(import_wfformat(full({**{f"t{n}": [] for n in range(200)}, "all": [f"t{n}" for n in range(200)]})))
    assert len(re.findall(r"^  \w+: \{type: delay", text, re.MULTILINE)) == 201


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), True, "0.1", None])
def test_a_scale_that_cannot_be_meant_is_refused(scale: Any) -> None:
    """The scale is a finite number above 0."""
    with pytest.raises(Refused, match="Expected a scale above 0") as refused:
        import_wfformat(DIAMOND, scale=scale)
    assert refused.value.code == "wfformat.scale"


def test_other_options_that_cannot_be_meant_are_refused() -> None:
    """A name outside the grammar and an unknown node type are refused before anything is read."""
    with pytest.raises(Refused) as refused:
        import_wfformat(DIAMOND, name="no spaces, please")
    assert refused.value.code == "wfformat.name"
    with pytest.raises(Refused) as refused:
        import_wfformat(DIAMOND, node_type="http")  # type: ignore[arg-type]
    assert refused.value.code == "wfformat.node_type"


@pytest.mark.parametrize(
    "document", [[], "text", None, 3, {}, {"workflow": {}, "schemaVersion": "1.5"}, {"workflow": 3, "schemaVersion": "1.5"}]
)
def test_a_document_of_another_shape_is_refused(document: Any) -> None:
    """What is neither form is refused with what was expected."""
    assert set(codes(document)) == {"wfformat.shape"}


@pytest.mark.parametrize("version", ["1.4", "2.0", 1.5, None])
def test_another_schema_version_is_refused(version: Any) -> None:
    """Versions that keep their tasks elsewhere are refused rather than half read."""
    assert codes({**DIAMOND, "schemaVersion": version}) == ["wfformat.version"]


def test_the_next_schema_version_is_read_too() -> None:
    """WfFormat 1.6 only adds optional parts."""
    assert import_wfformat({**DIAMOND, "schemaVersion": "1.6"}) == import_wfformat(DIAMOND)


def test_a_workflow_without_tasks_is_refused() -> None:
    """An empty graph is no workflow."""
    assert codes(full({})) == ["wfformat.empty"]
    assert codes(compact([])) == ["wfformat.empty"]


def changed(path: list[Any], value: Any) -> dict[str, Any]:
    """The diamond with one value replaced, or removed when it is None."""
    document = copy.deepcopy(DIAMOND)
    place: Any = document["workflow"]
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


@pytest.mark.parametrize(
    "path,value,code",
    [
        (["specification", "tasks", 1, "parents"], ["nobody"], "wfformat.unknown_parent"),
        (["specification", "tasks", 1, "parents"], None, "wfformat.shape"),
        (["specification", "tasks", 1, "parents"], [3], "wfformat.shape"),
        (["specification", "tasks", 1, "parents"], ["split", "split"], "wfformat.duplicate"),
        (["specification", "tasks", 1, "parents"], [], "wfformat.children"),
        (["specification", "tasks", 0, "children"], ["left"], "wfformat.children"),
        (["specification", "tasks", 3, "children"], ["nobody"], "wfformat.children"),
        (["specification", "tasks", 1, "id"], "split", "wfformat.duplicate"),
        (["specification", "tasks", 1, "id"], None, "wfformat.shape"),
        (["specification", "tasks", 1, "id"], "", "wfformat.shape"),
        (["specification", "tasks", 1], "left", "wfformat.shape"),
        (["execution", "tasks", 1], None, "wfformat.runtime"),
        (["execution", "tasks", 1, "runtimeInSeconds"], None, "wfformat.runtime"),
        (["execution", "tasks", 1, "runtimeInSeconds"], "10", "wfformat.runtime"),
        (["execution", "tasks", 1, "runtimeInSeconds"], True, "wfformat.runtime"),
        (["execution", "tasks", 1, "runtimeInSeconds"], -1, "wfformat.runtime"),
        (["execution", "tasks", 1, "runtimeInSeconds"], float("nan"), "wfformat.runtime"),
        (["execution", "tasks", 1, "runtimeInSeconds"], float("inf"), "wfformat.runtime"),
        (["execution", "tasks", 1, "id"], "split", "wfformat.duplicate"),
        (["execution", "tasks", 1, "id"], "nobody", "wfformat.unknown_task"),
        (["execution"], None, "wfformat.shape"),
        (["specification", "tasks"], {}, "wfformat.shape"),
    ],
)
def test_a_fault_in_a_document_is_refused_with_its_code(path: list[Any], value: Any, code: str) -> None:
    """Each wrong document is refused with the code of what is wrong with it."""
    assert code in codes(changed(path, value))


@pytest.mark.parametrize(
    "document,code",
    [
        (compact([["a", 1, [1]]]), "wfformat.unknown_parent"),
        (compact([["a", 1, [-1]]]), "wfformat.unknown_parent"),
        (compact([["a", 1, []], ["b", 1, [False]]]), "wfformat.unknown_parent"),
        (compact([["a", 1, []], ["a", 1, []]]), "wfformat.duplicate"),
        (compact([["a", 1, []], ["b", 1, [0, 0]]]), "wfformat.duplicate"),
        (compact([["a", None, []]]), "wfformat.runtime"),
        (compact([["a", 1]]), "wfformat.shape"),
        (compact([["", 1, []]]), "wfformat.shape"),
        (compact(["a"]), "wfformat.shape"),
        (compact({}), "wfformat.shape"),  # type: ignore[arg-type]
        (compact([], columns=["name"]), "wfformat.shape"),
        (compact([["a", 1, [0]]]), "wfformat.cycle"),
        (compact([["a", 1, [1]], ["b", 1, [0]]]), "wfformat.cycle"),
    ],
)
def test_a_fault_in_the_compact_form_is_refused_with_its_code(document: dict[str, Any], code: str) -> None:
    """The compact form is checked as strictly as the full one."""
    assert codes(document) == [code]


def test_a_cycle_is_shown_from_task_to_task() -> None:
    """The message walks the cycle, so that one sees which dependency is wrong; tasks outside it are not blamed."""
    with pytest.raises(DefinitionRefused, match=r"x ← z ← y ← x|y ← x ← z ← y|z ← y ← x ← z"):
        import_wfformat(full({"start": [], "x": ["start", "z"], "y": ["x"], "z": ["y"], "after": ["z"]}))


def test_all_faults_are_told_at_once() -> None:
    """Three things wrong in three places give three faults, each with its place."""
    document = changed(["execution", "tasks", 0, "runtimeInSeconds"], -1)
    document["workflow"]["execution"]["tasks"][3]["runtimeInSeconds"] = "long"
    document["workflow"]["execution"]["tasks"][2]["id"] = ""
    with pytest.raises(DefinitionRefused) as refused:
        import_wfformat(document)
    assert [fault.path for fault in refused.value.faults] == [
        "workflow.execution.tasks[0].runtimeInSeconds",
        "workflow.execution.tasks[2].id",
        "workflow.execution.tasks[3].runtimeInSeconds",
    ]


def test_a_scaled_runtime_beyond_all_time_is_refused() -> None:
    """A scale that would make a task last for thousands of years is refused, naming the task."""
    with pytest.raises(DefinitionRefused, match="'split'"):
        import_wfformat(DIAMOND, scale=1e9)


def test_ten_thousand_tasks_are_read_in_linear_time() -> None:
    """A wide graph of 10,000 tasks with a common sink imports; nothing in it looks at all pairs of tasks."""
    rows: list[Any] = [[f"t{number}", 1, []] for number in range(9_999)]
    definition = import_wfformat(compact([*rows, ["sink", 1, list(range(9_999))]]))
    assert len(edges(definition)) == 9_999
