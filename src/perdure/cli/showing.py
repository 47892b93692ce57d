"""How an execution stands, in lines: what it is and who runs it, its nodes and frames, its kin, its locks, its timeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from perdure.cli.timeline import timeline_lines
from perdure.cli.view import note_of
from perdure.cli.wording import GLYPHS, date_text, duration_text, failure_lines, one_line, value_text
from perdure.clock import SystemClock
from perdure.definition.plan import NodePlan, Plan
from perdure.engine import events
from perdure.engine.execution import STATE_NAMES, WAITING, Execution, Frame, Instance, path_of
from perdure.errors import PerdureError, Refused
from perdure.ids import ExecutionId, id_text, instance_path
from perdure.operations.executions import Executions, Shown
from perdure.store.contract import STATUSES, Row, Store, Worker

FRAMES_LISTED_MAX = 20
"""Of a container with more frames in flight only the first are listed; the line of the container counts them all."""
CHILDREN_LISTED_MAX = 20
"""The newest so many of the executions that an execution started are listed."""

_RELATIONS = {
    "child": "a sub-workflow of it", "detached": "a sub-workflow of it that it does not wait for", "retry": "tries it again",
    "route": "in its place", "error": "for its failure",
}  # fmt: skip


async def told(shown: Shown, executions: Executions, store: Store) -> list[str]:
    """All that `show` says of an execution."""
    state, row = shown.state, shown.row
    plan = await _plan(executions, row)
    lines = [f"{GLYPHS[shown.status]} {id_text(row.execution)}  {shown.status}", *_header(shown, await store.workers())]
    lines.append(f"  input     {await _value(executions, row, state.input)}")
    if state.status == "succeeded":
        lines.append(f"  output    {await _value(executions, row, state.output)}")
    if state.error is not None:
        lines += ["  error", *failure_lines(state.error, indent="    ")]
    for frame in state.frames.values():
        for name, raw in frame.variables.items():
            lines.append(f"  variable  {f'{frame.path}.' if frame.path else ''}{name} = {await _value(executions, row, raw)}")
    lines += [line async for line in _locks(state, row, store)]
    lines += ["", "nodes", *_node_lines(shown, plan)]
    children = [line async for line in _children(shown, store)]
    if children:
        lines += ["", "children", *children]
    return [*lines, "", "timeline", *timeline_lines(shown.timeline)]


async def _plan(executions: Executions, row: Row) -> Plan | None:
    """The plan, where the definition is here and can be read."""
    try:
        return await executions.plan(row)
    except Refused:
        return None


async def _value(executions: Executions, row: Row, raw: Any) -> str:
    try:
        return value_text(await executions.value(row, raw))
    except PerdureError as error:
        return f"({error.message})"


# -- the head ------------------------------------------------------------------------------------------------------------


def _header(shown: Shown, workers: Sequence[Worker]) -> Iterator[str]:
    state, row = shown.state, shown.row
    yield f"  workflow  {row.workflow}  (digest {(state.digest or row.digest).hex()[:12]})"
    yield f"  started   {date_text(row.created)}{f' by {state.by}' if state.by else ''}"
    if state.parent:
        place = f", for {instance_path(*msgspec.structs.astuple(state.awaited)[:3])}" if state.awaited is not None else ""
        what = _RELATIONS.get(state.relation, state.relation)
        yield f"  parent    {id_text(ExecutionId(state.parent))}  ({what}{place})"
    if row.key:
        yield f"  key       {row.key}"
    if state.paused_at:
        yield f"  paused    {date_text(state.paused_at)}{_who_paused(shown)}; `perdure unpause` goes on"
    if state.ended:
        yield f"  ended     {date_text(row.updated)}, after {duration_text(max(0, row.updated - row.created))}"
    else:
        home = next((worker for worker in workers if worker.alive and worker.worker == row.home), None)
        yield f"  run by    {f'process {home.pid} on {home.host}' if home else 'no process: `perdure resume` goes on'}"


def _who_paused(shown: Shown) -> str:
    """By whom and why: the reason is said by the control, not by the fact."""
    for moment in reversed(shown.timeline):
        for given in moment.inputs:
            if isinstance(given, events.Operate) and given.action == "pause":
                return one_line(f"{f' by {given.by}' if given.by else ''}{f': {given.reason}' if given.reason else ''}")
    return ""


async def _locks(state: Execution, row: Row, store: Store) -> Any:
    """The locks that its nodes hold, and those that they wait for, with who holds them."""
    for frame, instance in state.instances():
        if instance.lock:
            yield one_line(f"  lock      `{instance.lock}`, held by {path_of(frame, instance)}")
        elif instance.state == WAITING and instance.wait == "lock":
            holder = await store.holder(row.tenant, instance.wait_key)
            whose = f", held by {id_text(holder[0])} {holder[1]}" if holder is not None else ""
            yield one_line(f"  lock      `{instance.wait_key}`, wanted by {path_of(frame, instance)}{whose}")


# -- nodes ---------------------------------------------------------------------------------------------------------------


def _node_lines(shown: Shown, plan: Plan | None) -> list[str]:
    """Every node of the workflow's own scope as they were declared; below a container those of its frames that are there."""
    state = shown.state
    now = state.at if state.ended else SystemClock().now()
    every = list(_listed(state, plan, state.frames.get(""), _inside(state)))
    width = max((len(each[0]) for each in every if not isinstance(each, str)), default=0)
    spent = _spent(shown)
    return [each if isinstance(each, str) else _node_line(width, *each, spent.get(each[0], 0), now) for each in every]


Listed = tuple[str, Instance | None, NodePlan | None, list[Frame]]
"""A node to list: its path, how it stands, its plan, its frames."""


def _inside(state: Execution) -> dict[tuple[str, str], list[Frame]]:
    """All frames of containers, by the frame and the node of their container, in the order in which they were opened."""
    found: dict[tuple[str, str], list[Frame]] = {}
    for frame in state.frames.values():
        if frame.node:
            found.setdefault((frame.parent, frame.node), []).append(frame)
    return found


def _listed(
    state: Execution, plan: Plan | None, frame: Frame | None, inside: dict[tuple[str, str], list[Frame]]
) -> Iterator[Listed | str]:
    """The nodes of a frame; those of an inner one only as far as they have begun."""
    scope = plan.scopes.get(frame.scope if frame is not None else "") if plan is not None else None
    nodes = {node.id: node for node in scope.nodes} if scope is not None else {}
    instances = frame.instances if frame is not None else {}
    for name in dict.fromkeys((*nodes, *instances)):
        instance = instances.get(name)
        below = inside.get((frame.path, name), []) if frame is not None else []
        if frame is not None and instance is not None:
            yield path_of(frame, instance), instance, nodes.get(name), below
        elif frame is None or not frame.path:
            yield name, None, nodes.get(name), below
        for each in below[:FRAMES_LISTED_MAX]:
            yield from _listed(state, plan, each, inside)
        if len(below) > FRAMES_LISTED_MAX:
            yield f"    … and {len(below) - FRAMES_LISTED_MAX} more frames of {name}"


def _spent(shown: Shown) -> dict[str, int]:
    """Microseconds from the first to the last fact of each instance, by path: attempts, backoff and waits together."""
    began: dict[str, int] = {}
    spent: dict[str, int] = {}
    for moment in shown.timeline:
        for fact in moment.facts:
            if isinstance(fact, events.InstanceFact):
                path = instance_path(fact.frame, fact.node, fact.visit)
                spent[path] = moment.at - began.setdefault(path, moment.at)
    return spent


def _node_line(
    width: int, path: str, instance: Instance | None, node: NodePlan | None, inside: list[Frame], spent: int, now: int
) -> str:  # fmt: skip
    if instance is None:
        return f"  {GLYPHS['pending']} {path:{width}}  pending"
    status = STATE_NAMES[instance.state]
    again = f" ×{instance.attempt}" if instance.attempt > 1 else ""
    took = duration_text(spent) if spent and instance.final else ""
    note = note_of(instance, now, node=node, inside=inside)
    return f"  {GLYPHS[status]} {path:{width}}  {status + again:12} {took:>8}  {note}".rstrip()


# -- kin -----------------------------------------------------------------------------------------------------------------


async def _children(shown: Shown, store: Store) -> Any:
    """The executions that this one started, newest first: how they stand, what they are to it, and for which node."""
    found = _started(shown)
    for execution, (workflow, about) in list(reversed(found.items()))[:CHILDREN_LISTED_MAX]:
        row = await store.row(execution)
        missing = "pruned" if shown.state.ended else "pending"  # or never begun, where its parent ended before that
        status = STATUSES[row.status] if row is not None else missing
        name = row.workflow if row is not None else workflow
        yield one_line(f"  {GLYPHS.get(status, '–')} {id_text(execution)}  {status:9}  {name}  {about}")
    if len(found) > CHILDREN_LISTED_MAX:
        yield f"    … and {len(found) - CHILDREN_LISTED_MAX} more"


def _started(shown: Shown) -> dict[ExecutionId, tuple[str, str]]:
    """By id: the workflow, and what the execution is to this one."""
    found: dict[ExecutionId, tuple[str, str]] = {}
    for moment in shown.timeline:
        for fact in moment.facts:
            if isinstance(fact, events.Waiting) and fact.child:
                found[ExecutionId(fact.child)] = (fact.name, instance_path(fact.frame, fact.node, fact.visit))
            elif isinstance(fact, events.Spawned):
                found[ExecutionId(fact.execution)] = (fact.workflow or shown.row.workflow, _RELATIONS[fact.relation])
    return found
