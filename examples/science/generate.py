"""Makes `montage-300.wfformat.json` and, from it, `montage.yaml`: run it to see how they came about.

The generator of `wfcommons` draws a Montage workflow (astronomical image mosaics) of about 300 tasks: its structure and
runtimes follow recorded executions. Seeded, so it comes out the same every time. Times, files, and names of machines are
left out: the engine needs the graph and the runtimes. The recipe gives nearly all tasks of a kind the same runtime; each is
spread a little here, so that they end one by one as they would on real machines.
"""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy
from wfcommons import WorkflowGenerator
from wfcommons.wfchef.recipes import MontageRecipe

from perdure.definition.wfformat import import_wfformat, to_yaml

SEED = 7
TASKS = 300
SPREAD = 0.3  # each runtime times a factor of 1 ± this
SCALE = 0.003  # the critical path of 3,233 recorded seconds takes some ten
HERE = Path(__file__).parent


def generate() -> dict[str, Any]:
    """The instance in WfFormat, with nothing in it but what the graph and the runtimes need."""
    random.seed(SEED)
    numpy.random.seed(SEED)
    workflow = WorkflowGenerator(MontageRecipe.from_num_tasks(TASKS)).build_workflow("montage-300")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "generated.json"
        workflow.write_json(path)
        made = json.loads(path.read_text(encoding="utf-8"))
    tasks = made["workflow"]["specification"]["tasks"]
    runs = made["workflow"]["execution"]["tasks"]
    chance = random.Random(SEED)
    return {
        "name": "montage-300",
        "description": "Generated with WfCommons from recorded Montage workflows; without files and machines, runtimes spread.",
        "schemaVersion": made["schemaVersion"],
        "workflow": {
            "specification": {"tasks": [_graph_only(task) for task in tasks]},
            "execution": {"tasks": [{"id": run["id"], "runtimeInSeconds": _spread(run, chance)} for run in runs]},
        },
    }


def _graph_only(task: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": task["id"],
        "name": task["name"],
        "parents": sorted(task["parents"]),
        "children": sorted(task["children"]),
    }


def _spread(run: dict[str, Any], chance: random.Random) -> float:
    return round(run["runtimeInSeconds"] * chance.uniform(1 - SPREAD, 1 + SPREAD), 3)


def write(instance: dict[str, Any], path: Path) -> None:
    """One line a task, so that a change of one task is a change of one line."""
    marks: dict[str, str] = {}
    skeleton = json.loads(json.dumps(instance))
    for part in ("specification", "execution"):
        tasks = skeleton["workflow"][part]["tasks"]
        for index, task in enumerate(tasks):
            mark = f"{part}:{index}"
            marks[json.dumps(mark)] = json.dumps(task)
            tasks[index] = mark
    lines = json.dumps(skeleton, indent=1).splitlines()
    text = "\n".join(_filled(line, marks) for line in lines)
    path.write_text(text + "\n", encoding="utf-8")


def _filled(line: str, marks: dict[str, str]) -> str:
    bare = line.strip().removesuffix(",")
    return line.replace(bare, marks[bare]) if bare in marks else line


if __name__ == "__main__":
    montage = generate()
    write(montage, HERE / "montage-300.wfformat.json")
    definition = import_wfformat(montage, scale=SCALE, name="montage", node_type="science.task")
    definition["title"] = "Montage: a mosaic of the sky"
    (HERE / "montage.yaml").write_text(to_yaml(definition), encoding="utf-8")
    print(f"{len(definition['nodes'])} tasks written to montage-300.wfformat.json and montage.yaml")
