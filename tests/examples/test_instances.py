"""Every recorded workflow is imported whole: no task, dependency or second is lost on the way into a definition."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import instances
import pytest
import yaml
from instances import SCIENCE, instance

from perdure.definition.wfformat import import_wfformat


def edges(definition: dict[str, Any]) -> set[tuple[str, str]]:
    found = set()
    for name, node in definition["nodes"].items():
        after = node.get("after", [])
        found |= {(parent, name) for parent in ([after] if isinstance(after, str) else after)}
    return found


@pytest.mark.parametrize("name", instances.names())
def test_every_recorded_workflow_is_imported_whole(name: str) -> None:
    """Tasks, edges, roots, sinks, the sum of runtimes and the critical path are those that are known beforehand."""
    recorded = instance(name)
    definition = import_wfformat(recorded.document, scale=1, node_type="science.task")
    nodes, found = definition["nodes"], edges(definition)
    finish: dict[str, float] = {}
    for node_id, node in nodes.items():  # each stands after its parents, or this fails
        parents = [parent for parent, child in found if child == node_id] if "after" in node else []
        finish[node_id] = node["with"]["seconds"] + max((finish[parent] for parent in parents), default=0)
    counted = {
        "tasks": len(nodes),
        "edges": len(found),
        "roots": sum("after" not in node for node in nodes.values()),
        "sinks": len(set(nodes) - {parent for parent, _ in found}),
        "sum_runtime_s": pytest.approx(sum(node["with"]["seconds"] for node in nodes.values()), abs=0.001),
        "critical_path_s": pytest.approx(max(finish.values()), abs=0.001),
    }
    assert {key: recorded.index[key] for key in counted} == counted


def test_the_bundled_definition_is_the_import_of_the_bundled_recording() -> None:
    """`montage.yaml` is what importing `montage-300.wfformat.json` at the scale of `generate.py` gives, under a title."""
    document = json.loads((SCIENCE / instances.BUNDLED).read_text(encoding="utf-8"))
    definition = yaml.safe_load((SCIENCE / "montage.yaml").read_text(encoding="utf-8"))
    imported = import_wfformat(document, scale=0.003, name="montage", node_type="science.task")
    assert definition == {**imported, "title": "Montage: a mosaic of the sky"}


def test_the_bundled_recording_comes_out_the_same_when_made_again() -> None:
    """`generate.py` is seeded: what it makes today is the file that lies there."""
    spec = importlib.util.spec_from_file_location("generate", SCIENCE / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.generate() == json.loads((SCIENCE / instances.BUNDLED).read_text(encoding="utf-8"))
