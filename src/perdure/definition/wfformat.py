"""Scientific workflows in WfFormat become definitions here: one node per recorded task, taking its runtime times a scale.

Two forms are read. The full form is WfFormat 1.5 or 1.6 (the two agree in all that is read): `workflow.specification.tasks`
gives the graph, `workflow.execution.tasks` the runtimes. The compact form holds the graph and the runtimes alone:
`{"source": …, "columns": ["name", "runtime_s", "parent_indexes"], "tasks": [[name, seconds, [index, …]], …]}`.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec
import yaml

from perdure.errors import DefinitionRefused, Fault, Refused

NodeType = Literal["delay", "science.task"]

SCHEMA_VERSIONS = ("1.5", "1.6")
COMPACT_COLUMNS = ["name", "runtime_s", "parent_indexes"]
SECONDS_MAX = 1e9  # one task, scaled: some thirty years, far inside what 64 bits of microseconds hold
ID_LENGTH_MAX = 63  # of a node id, see `ids.NODE_ID`

_FULL = "workflow.specification.tasks"
_RUNS = "workflow.execution.tasks"
_WORKFLOW_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


class _Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """One task as read: its unique name, how people call it, the seconds it took, and the unique names of its parents."""

    key: str
    title: str
    seconds: float
    parents: tuple[str, ...]


def import_wfformat(
    document: Mapping[str, Any], *, scale: float = 0.01, name: str | None = None, node_type: NodeType = "delay"
) -> dict[str, Any]:
    """The definition of a recorded scientific workflow, as a document of format 1, its nodes in topological order.

    `scale` times a task's recorded seconds is how long its node takes. `node_type` `delay` runs anywhere; `science.task` is
    the node that `examples/science/nodes.py` defines: it keeps a ledger (`input.ledger`, a file) and can be told to fail
    (`input.fail`, a task's name). A failing task stops its descendants only (`on_failure: isolate`).

    Raises `DefinitionRefused` with all faults of the document (`code` is the first one's), `Refused` for a scale, name or
    node type that cannot be meant.
    """
    _check_options(scale, name, node_type)
    tasks = _topological(_read(document, scale))
    ids = _node_ids([task.key for task in tasks])
    definition: dict[str, Any] = {"perdure": 1, "name": name or _workflow_name(document)}
    title = document.get("name")
    if isinstance(title, str) and title.strip() and title != definition["name"]:
        definition["title"] = title.strip()
    if node_type == "science.task":
        definition["input"] = {
            "type": "object",
            "properties": {
                "ledger": {"type": "string", "description": "File to which every task adds a line when it starts and ends"},
                "fail": {"type": "string", "description": "Name of the task that is to fail for good"},
            },
            "additionalProperties": False,
        }
    definition["settings"] = {"on_failure": "isolate"}
    definition["nodes"] = {ids[task.key]: _node(task, ids, scale, node_type) for task in tasks}
    definition["output"] = {"tasks": len(tasks)}
    return definition


def to_yaml(definition: Mapping[str, Any]) -> str:
    """The definition as YAML: the workflow in blocks, each node on one line."""
    document = {**definition, "nodes": {key: _OneLine(node) for key, node in definition["nodes"].items()}}
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=math.inf)
    return text


# -- what is asked for ------------------------------------------------------------------------------------------------------


def _check_options(scale: Any, name: str | None, node_type: str) -> None:
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not math.isfinite(scale) or scale <= 0:
        raise Refused(
            f"Expected a scale above 0, but got {scale!r}.",
            remedy="Give a number such as 0.01, which makes a task of 100 seconds take one.",
            code="wfformat.scale",
        )
    if name is not None and not _WORKFLOW_NAME.match(name):
        raise Refused(
            f"Expected a workflow name of letters, digits, '.', '_' and '-', but got {name!r}.",
            remedy="Give a name such as montage-300.",
            code="wfformat.name",
        )
    if node_type not in get_args(NodeType):
        raise Refused(
            f"Expected the node type {' or '.join(get_args(NodeType))}, but got {node_type!r}.",
            remedy="Take delay to run the graph anywhere.",
            code="wfformat.node_type",
        )


# -- reading ----------------------------------------------------------------------------------------------------------------


class _Faults:
    """The faults found so far; reading goes on past a fault as long as what follows can still be judged."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def add(self, code: str, path: str, message: str, remedy: str) -> None:
        self.found.append(Fault(code=f"wfformat.{code}", path=path, message=message, remedy=remedy))

    def raise_any(self) -> None:
        if self.found:
            refused = DefinitionRefused(self.found, source="WfFormat document")
            refused.code = self.found[0].code
            raise refused


def _read(document: Any, scale: float) -> list[_Recorded]:
    faults = _Faults()
    if isinstance(document, Mapping) and "workflow" in document:
        tasks = _read_full(document, faults)
    elif isinstance(document, Mapping) and "tasks" in document:
        tasks = _read_compact(document, faults)
    else:
        tasks = []
        faults.add(
            "shape",
            "",
            "Expected an object with 'workflow' (WfFormat) or 'tasks' (compact form), but found neither.",
            "Give a WfFormat 1.5 document, or the compact form {source, columns, tasks}.",
        )
    faults.raise_any()
    if not tasks:
        faults.add("empty", "", "Expected at least one task, but there is none.", "Give a document that lists its tasks.")
    for task in tasks:
        if task.seconds * scale > SECONDS_MAX:
            message = f"Expected at most {SECONDS_MAX:.0e} seconds, but scaled {task.key!r} takes {task.seconds * scale:g}."
            faults.add("runtime", task.key, message, "Take a smaller scale.")
    faults.raise_any()
    return tasks


def _read_full(document: Mapping[str, Any], faults: _Faults) -> list[_Recorded]:
    version = document.get("schemaVersion")
    if version not in SCHEMA_VERSIONS:
        faults.add(
            "version",
            "schemaVersion",
            f"Expected WfFormat {' or '.join(SCHEMA_VERSIONS)}, but the document says {version!r}.",
            "Convert it with the migration tool of WfFormat; older versions keep tasks elsewhere.",
        )
        return []
    workflow = document["workflow"]
    specified = _objects(workflow, "specification", faults)
    seconds = _runtimes(_objects(workflow, "execution", faults), faults)
    faults.raise_any()
    tasks = []
    for index, item in enumerate(specified):
        place = f"{_FULL}[{index}]"
        key = _text(item, "id", place, faults)
        title = item.get("name")
        if key not in seconds:
            faults.add(
                "runtime",
                place,
                f"Expected a runtimeInSeconds for {key!r} in {_RUNS}, but there is none.",
                "Import a recorded execution; a bare specification does not say how long its tasks take.",
            )
        parents = _names(item, "parents", place, faults)
        tasks.append(
            _Recorded(
                key=key,
                title=title if isinstance(title, str) and title else key,
                seconds=seconds.get(key, 0.0),
                parents=tuple(parents),
            )
        )
    _check_names([task.key for task in tasks], _FULL, faults)
    _check_parents(tasks, faults)
    _check_children(specified, tasks, faults)
    _check_runs(seconds, tasks, faults)
    return tasks


def _objects(workflow: Any, part: str, faults: _Faults) -> list[Mapping[str, Any]]:
    """The objects of `workflow.<part>.tasks`, or a fault and none."""
    section = workflow.get(part) if isinstance(workflow, Mapping) else None
    items = section.get("tasks") if isinstance(section, Mapping) else None
    place = f"workflow.{part}.tasks"
    if not isinstance(items, list):
        remedy = "Import a recorded execution in WfFormat 1.5: it has both a specification and an execution."
        faults.add("shape", place, f"Expected a list of tasks, but found {_kind(items)}.", remedy)
        return []
    for index, item in enumerate(items):
        if not isinstance(item, Mapping):
            message = f"Expected an object, but found {_kind(item)}."
            faults.add("shape", f"{place}[{index}]", message, "Describe the task by an object.")
    return [item for item in items if isinstance(item, Mapping)]


def _runtimes(runs: Sequence[Mapping[str, Any]], faults: _Faults) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for index, run in enumerate(runs):
        place = f"{_RUNS}[{index}]"
        key = _text(run, "id", place, faults)
        if key in seconds:
            message = f"Expected each task once, but {key!r} has an entry already."
            faults.add("duplicate", f"{place}.id", message, "Keep one entry a task.")
        seconds[key] = _seconds(run.get("runtimeInSeconds"), f"{place}.runtimeInSeconds", faults)
    return seconds


def _read_compact(document: Mapping[str, Any], faults: _Faults) -> list[_Recorded]:
    columns, rows = document.get("columns"), document["tasks"]
    if columns != COMPACT_COLUMNS:
        faults.add("shape", "columns", f"Expected {COMPACT_COLUMNS}, but found {columns!r}.", "Order the columns like this.")
    if not isinstance(rows, list):
        faults.add("shape", "tasks", f"Expected a list of rows, but found {_kind(rows)}.", "Give one row a task.")
    faults.raise_any()
    for index, row in enumerate(rows):
        whole = isinstance(row, list) and len(row) == 3
        if not whole or not isinstance(row[0], str) or not row[0] or not isinstance(row[2], list):
            message = f"Expected [name, seconds, [parent indexes]], but found {str(row)[:60]}."
            faults.add("shape", f"tasks[{index}]", message, "Give the three columns of each task.")
    faults.raise_any()
    names = [row[0] for row in rows]
    tasks = []
    for index, (key, runtime, parents) in enumerate(rows):
        for number, parent in enumerate(parents):
            if isinstance(parent, bool) or not isinstance(parent, int) or not 0 <= parent < len(rows):
                message = f"Expected the index of a task, 0 to {len(rows) - 1}, but found {parent!r}."
                faults.add("unknown_parent", f"tasks[{index}][2][{number}]", message, "Count tasks from 0.")
        tasks.append(
            _Recorded(
                key=key,
                title=key,
                seconds=_seconds(runtime, f"tasks[{index}][1]", faults),
                parents=tuple(names[p] for p in parents if isinstance(p, int) and 0 <= p < len(rows)),
            )
        )
    _check_names(names, "tasks", faults)
    _check_parents(tasks, faults, "tasks")
    return tasks


def _text(item: Mapping[str, Any], key: str, place: str, faults: _Faults) -> str:
    value = item.get(key)
    if isinstance(value, str) and value:
        return value
    faults.add("shape", f"{place}.{key}", f"Expected a text, but found {_kind(value)}.", f"Give the task its {key}.")
    return ""


def _names(item: Mapping[str, Any], key: str, place: str, faults: _Faults) -> list[str]:
    value = item.get(key)
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return value
    faults.add("shape", f"{place}.{key}", f"Expected a list of task ids, but found {_kind(value)}.", f"List the {key}, or [].")
    return []


def _seconds(value: Any, place: str, faults: _Faults) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= SECONDS_MAX:
        return float(value)
    found = repr(value) if isinstance(value, int | float) else _kind(value)
    message = f"Expected seconds from 0 to {SECONDS_MAX:.0e}, but found {found}."
    faults.add("runtime", place, message, "Give the recorded runtime.")
    return 0.0


def _kind(value: Any) -> str:
    """What a wrong value is, in words."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "nothing"}
    return names.get(type(value), "a number")


# -- checking the graph -----------------------------------------------------------------------------------------------------


def _check_names(keys: Sequence[str], place: str, faults: _Faults) -> None:
    first: dict[str, int] = {}
    for index, key in enumerate(keys):
        if first.setdefault(key, index) != index:
            message = f"Expected each task once, but {key!r} stands at {place}[{first[key]}] already."
            faults.add("duplicate", f"{place}[{index}]", message, "Give every task an id of its own.")


def _check_parents(tasks: Sequence[_Recorded], faults: _Faults, place: str = _FULL) -> None:
    known = {task.key for task in tasks}
    for index, task in enumerate(tasks):
        for parent in task.parents:
            if parent not in known:
                message = f"Expected the id of a task, but no task has the id {parent!r}."
                faults.add("unknown_parent", f"{place}[{index}].parents", message, "Name a task of this document.")
        if len(set(task.parents)) < len(task.parents):
            message = f"Expected each parent once, but {task.key!r} names one twice."
            faults.add("duplicate", f"{place}[{index}].parents", message, "Name each parent once.")


def _check_children(specified: Sequence[Mapping[str, Any]], tasks: Sequence[_Recorded], faults: _Faults) -> None:
    """`children` says the same as `parents` from the other side; a task without `children` leaves it unsaid."""
    children: dict[str, set[str]] = {task.key: set() for task in tasks}
    for task in tasks:
        for parent in task.parents:
            children.get(parent, set()).add(task.key)
    remedy = "Make parents and children agree; one of the two was edited alone."
    for index, item in enumerate(specified):
        if "children" not in item:
            continue
        place, key = f"{_FULL}[{index}].children", str(item.get("id"))
        said, meant = set(_names(item, "children", f"{_FULL}[{index}]", faults)), children.get(key, set())
        for child in sorted(said - meant):
            what = f"does not name {key!r} as its parent" if child in children else "is no task"
            faults.add("children", place, f"Expected tasks that name {key!r} as their parent, but {child!r} {what}.", remedy)
        for child in sorted(meant - said):
            faults.add("children", place, f"Expected {child!r} too, whose parent {key!r} is, but it is missing.", remedy)


def _check_runs(seconds: Mapping[str, float], tasks: Sequence[_Recorded], faults: _Faults) -> None:
    known = {task.key for task in tasks}
    for index, key in enumerate(seconds):
        if key not in known:
            message = f"Expected a specified task, but {key!r} is not in {_FULL}."
            faults.add("unknown_task", f"{_RUNS}[{index}]", message, "Specify the task, or drop its run.")


def _topological(tasks: Sequence[_Recorded]) -> list[_Recorded]:
    """The tasks, each after all its parents; among those that could come next, the one named first in the document."""
    children: dict[str, list[_Recorded]] = {task.key: [] for task in tasks}
    waiting = {task.key: len(task.parents) for task in tasks}
    for task in tasks:
        for parent in task.parents:
            children[parent].append(task)
    free = deque(task for task in tasks if not task.parents)
    ordered = []
    while free:
        task = free.popleft()
        ordered.append(task)
        for child in children[task.key]:
            waiting[child.key] -= 1
            if not waiting[child.key]:
                free.append(child)
    if len(ordered) < len(tasks):
        done = {task.key for task in ordered}
        _refuse_cycle({task.key: [p for p in task.parents if p not in done] for task in tasks if task.key not in done})
    return ordered


def _refuse_cycle(parents: Mapping[str, Sequence[str]]) -> None:
    """Every task here waits for another one here: walking from parent to parent must meet a task again."""
    walk = [next(iter(parents))]
    while (parent := parents[walk[-1]][0]) not in walk:
        walk.append(parent)
    cycle = [*walk[walk.index(parent) :], parent]
    faults = _Faults()
    message = f"Expected a graph without cycles, but found {' ← '.join(cycle)}."
    faults.add("cycle", parent, message, "Remove one of these dependencies.")
    faults.raise_any()


# -- writing ----------------------------------------------------------------------------------------------------------------


def _node_ids(keys: Sequence[str]) -> dict[str, str]:
    """A node id for each task: its name with `_` for every character an id cannot have, numbered where two would meet."""
    taken: set[str] = {key for key in keys if key == _as_id(key)}  # a name that is fit already stays as it is
    ids: dict[str, str] = {}
    for key in keys:
        wish = _as_id(key)
        name, count = wish, 1
        while name != key and name in taken:
            count += 1
            name = f"{wish[: ID_LENGTH_MAX - len(str(count)) - 1]}_{count}"
        taken.add(name)
        ids[key] = name
    return ids


def _as_id(key: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_]", "_", key)
    return (f"_{name}" if name[0].isdigit() else name)[:ID_LENGTH_MAX]


def _workflow_name(document: Mapping[str, Any]) -> str:
    """A workflow name from what the document calls itself, or from the file it says it was made of."""
    source = document.get("name") or str(document.get("source") or "imported").rpartition("/")[2].removesuffix(".json")
    name = re.sub(r"[^a-z0-9]+", "-", str(source).lower()).strip("-")[:ID_LENGTH_MAX].rstrip("-")
    return name if name[:1].isalpha() else f"workflow-{name}".rstrip("-")


def _node(task: _Recorded, ids: Mapping[str, str], scale: float, node_type: NodeType) -> dict[str, Any]:
    node: dict[str, Any] = {"type": node_type}
    if task.title != ids[task.key]:
        node["title"] = task.title
    if task.parents:
        after = [ids[parent] for parent in task.parents]
        node["after"] = after if len(after) > 1 else after[0]
    seconds = round(task.seconds * scale, 6)
    if node_type == "delay":
        node["for"] = f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"
    else:
        node["with"] = {
            "task": task.key.replace("${", "$${"),  # a name is text, whatever it looks like
            "seconds": seconds,
            "ledger": '${ get(input, "ledger", null) }',
            "fail": '${ get(input, "fail", null) }',
        }
    return node


class _OneLine(dict[str, Any]):
    """An object that is written on one line."""


class _Dumper(yaml.SafeDumper):
    """YAML as people indent it, without anchors: the same parameters in every node are no alias of each other."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _one_line(dumper: yaml.SafeDumper, value: _OneLine) -> yaml.MappingNode:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=True)


def _text_node(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None if value.isprintable() else '"'  # other styles would fold a line break of the rarer kinds
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(_OneLine, _one_line)
_Dumper.add_representer(str, _text_node)
