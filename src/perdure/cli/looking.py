"""`list`, `show`, `incidents` and `verify`: what is in a store, told without changing it."""

from __future__ import annotations

import asyncio
import json as json_
from collections.abc import Sequence
from typing import Any

from perdure.cli import exits
from perdure.cli.reading import client
from perdure.cli.timeline import timeline_lines
from perdure.cli.view import note_of
from perdure.cli.wording import GLYPHS, date_text, duration_text, failure_lines, json_line, value_text
from perdure.clock import SystemClock
from perdure.engine.events import AnyFact, AnyInput, InstanceFact
from perdure.engine.execution import PARKED, STATE_NAMES, Instance, path_of
from perdure.engine.names import time_text
from perdure.errors import PerdureError, Refused
from perdure.ids import id_text, instance_path
from perdure.operations.executions import Executions, Shown
from perdure.operations.journal import handles_of, moment_object
from perdure.store.contract import FIRST_FINAL, STATUSES, Row, Store

PAGE = 1_000


def list_executions(store: str | None, *, statuses: Sequence[str] | None, workflow: str | None, limit: int, json: bool) -> int:
    """Executions, newest first."""
    unknown = sorted(set(statuses or ()) - set(STATUSES))
    if unknown:
        raise Refused(f"There is no status {' or '.join(unknown)}.", remedy=f"One of: {', '.join(STATUSES)}.", code="usage")

    async def work() -> int:
        async with client(store) as (opened, executions):
            rows = await executions.list(workflow=workflow, statuses=statuses or None, limit=limit)
            alive = {worker.worker for worker in await opened.workers() if worker.alive}
        for row in rows:
            print(json_line(row_object(row, alive)) if json else _row_line(row, alive))
        if not rows and not json:
            exits.say("no executions")
        return exits.SUCCEEDED

    return asyncio.run(work())


def row_object(row: Row, alive: set[str]) -> dict[str, Any]:
    """A line of `list --json`."""
    return {
        "execution": id_text(row.execution), "workflow": row.workflow, "status": STATUSES[row.status],
        "created": time_text(row.created), "updated": time_text(row.updated), "priority": row.priority, "facts": row.seq,
        "digest": row.digest.hex(), "key": row.key or None, "wake": time_text(row.wake) if row.wake is not None else None,
        "worker": row.home if row.home in alive else None,
    }  # fmt: skip


def _row_line(row: Row, alive: set[str]) -> str:
    status = STATUSES[row.status]
    took = duration_text(max(0, row.updated - row.created))
    lone = "" if row.status >= FIRST_FINAL or row.home in alive else "  (no process runs it)"
    return f"{GLYPHS[status]} {id_text(row.execution)}  {status:9}  {date_text(row.created)}  {took:>10}  {row.workflow}{lone}"


# -- show ----------------------------------------------------------------------------------------------------------------


def show(id: str, store: str | None, *, json: bool, full: bool) -> int:
    """One execution: how it stands and its timeline, or with `json` its journal, a step a line."""

    async def work() -> int:
        async with client(store) as (opened, executions):
            execution = await executions.find(id)
            if not json:
                for line in await _told(await executions.show(execution), executions, opened):
                    print(line)
                return exits.SUCCEEDED
            row = await opened.row(execution)
            async for moment in executions.moments(execution):
                values = await _values(opened, row.tenant, [*moment.inputs, *moment.facts]) if full else {}
                print(json_line(moment_object(moment, values)))
            return exits.SUCCEEDED

    return asyncio.run(work())


async def _values(store: Store, tenant: str, records: list[AnyInput | AnyFact]) -> dict[bytes, Any]:
    """The large values that a step names, decoded."""
    from perdure.engine.codec import decode_value

    bodies = await store.blobs(tenant, list(handles_of(records)))
    return {digest: decode_value(body) for digest, body in bodies.items()}


async def _told(shown: Shown, executions: Executions, store: Store) -> list[str]:
    state, row = shown.state, shown.row
    lines = [f"{GLYPHS[shown.status]} {id_text(row.execution)}  {shown.status}", *_header(shown, await store.workers())]
    lines.append(f"  input     {await _value(executions, row, state.input)}")
    if state.status == "succeeded":
        lines.append(f"  output    {await _value(executions, row, state.output)}")
    if state.error is not None:
        lines += ["  error", *failure_lines(state.error, indent="    ")]
    for frame in state.frames.values():
        for name, raw in frame.variables.items():
            lines.append(f"  variable  {f'{frame.path}.' if frame.path else ''}{name} = {await _value(executions, row, raw)}")
    nodes = _node_lines(shown, await _declared(store, row))
    return [*lines, "", "nodes", *nodes, "", "timeline", *timeline_lines(shown.timeline)]


def _header(shown: Shown, workers: Sequence[Any]) -> list[str]:
    state, row = shown.state, shown.row
    lines = [f"  workflow  {row.workflow}  (digest {(state.digest or row.digest).hex()[:12]})"]
    lines.append(f"  started   {date_text(row.created)}{f' by {state.by}' if state.by else ''}")
    if state.parent:
        lines.append(f"  after     {id_text(state.parent)} ({state.relation})")  # type: ignore[arg-type]  # 16 bytes, as stored
    if row.key:
        lines.append(f"  key       {row.key}")
    if state.ended:
        lines.append(f"  ended     {date_text(row.updated)}, after {duration_text(max(0, row.updated - row.created))}")
    else:
        home = next((worker for worker in workers if worker.alive and worker.worker == row.home), None)
        lines.append(f"  run by    {f'process {home.pid} on {home.host}' if home else 'no process: `perdure resume` goes on'}")
    return lines


async def _declared(store: Store, row: Row) -> list[str]:
    """The ids of the workflow's own nodes, as they were written; none where the definition is not here."""
    saved = await store.definition(row.digest, tenant=row.tenant) if row.digest else None
    return list(json_.loads(saved.document)["nodes"]) if saved is not None else []


def _node_lines(shown: Shown, declared: Sequence[str]) -> list[str]:
    """Every node: the workflow's own as they were declared, then those of frames that are open."""
    state = shown.state
    now = state.at if state.ended else SystemClock().now()
    root = state.frames.get("")
    own = {} if root is None else {name: root.instances.get(name) for name in dict.fromkeys((*declared, *root.instances))}
    every = [(name if not instance or not root else path_of(root, instance), instance) for name, instance in own.items()]
    every += [(path_of(frame, instance), instance) for frame, instance in state.instances() if frame.path]
    width = max((len(path) for path, _ in every), default=0)
    spent = _spent(shown)
    return [_node_line(path, width, instance, spent.get(path, 0), now) for path, instance in every]


def _spent(shown: Shown) -> dict[str, int]:
    """Microseconds from the first to the last fact of each instance, by path: attempts, backoff and waits together."""
    began: dict[str, int] = {}
    spent: dict[str, int] = {}
    for moment in shown.timeline:
        for fact in moment.facts:
            if isinstance(fact, InstanceFact):
                path = instance_path(fact.frame, fact.node, fact.visit)
                spent[path] = moment.at - began.setdefault(path, moment.at)
    return spent


def _node_line(path: str, width: int, instance: Instance | None, spent: int, now: int) -> str:
    if instance is None:
        return f"  {GLYPHS['pending']} {path:{width}}  pending"
    status = STATE_NAMES[instance.state]
    again = f" ×{instance.attempt}" if instance.attempt > 1 else ""
    took = duration_text(spent) if spent and instance.final else ""
    return f"  {GLYPHS[status]} {path:{width}}  {status + again:12} {took:>8}  {note_of(instance, now)}".rstrip()


async def _value(executions: Executions, row: Row, raw: Any) -> str:
    try:
        return value_text(await executions.value(row, raw))
    except PerdureError as error:
        return f"({error.message})"


# -- incidents -----------------------------------------------------------------------------------------------------------


def incidents(store: str | None, *, json: bool) -> int:
    """Parked nodes over all unfinished executions, oldest executions last."""

    async def work() -> int:
        found = 0
        async with client(store) as (opened, executions):
            before = None
            while True:
                rows = await opened.rows(statuses=range(FIRST_FINAL), before=before, limit=PAGE)
                for row in rows:
                    shown = await executions.show(row.execution)
                    for frame, instance in shown.state.instances():
                        if instance.state == PARKED:
                            found += 1
                            print("\n".join(_incident(row, path_of(frame, instance), instance, json=json)))
                if len(rows) < PAGE:
                    break
                before = rows[-1].execution
        if not found and not json:
            exits.say("no incidents")
        return exits.SUCCEEDED

    return asyncio.run(work())


def _incident(row: Row, path: str, instance: Instance, *, json: bool) -> list[str]:
    assert instance.error is not None, "a parked node has an error"
    if json:
        about = {
            "execution": id_text(row.execution), "workflow": row.workflow, "node": path, "question": instance.question,
            "attempts": instance.attempt, "error": instance.error.as_value(),
        }  # fmt: skip
        return [json_line(about)]
    asked = "did its effect happen?" if instance.question == "unknown" else "it failed: retry, complete or fail?"
    return [f"! {id_text(row.execution)}  {row.workflow}  {path}  {asked}", *failure_lines(instance.error, indent="    ")]


# -- verify --------------------------------------------------------------------------------------------------------------


def verify(store: str | None, *, json: bool, deep: bool, nodes: tuple[str, ...]) -> int:
    """Everything that is stored against everything else; 1 when something does not fit."""
    from perdure.operations.verification import Verification

    async def work() -> int:
        async with client(store) as (opened, _):
            verification = Verification(opened, deep=deep, node_files=nodes)
            async for finding in verification.findings():
                execution = id_text(finding.execution) if finding.execution is not None else None
                if json:
                    print(json_line({"execution": execution, "finding": finding.sentence}))
                else:
                    print(f"{execution or 'the store'}: {finding.sentence}")
        counts = {
            "executions": verification.executions, "facts": verification.facts, "blobs": verification.blobs,
            "findings": verification.found,
        }  # fmt: skip
        if json:
            print(json_line(counts))
        else:
            sound = "all sound" if not verification.found else f"{verification.found} finding{'s' * (verification.found != 1)}"
            print(f"{counts['executions']} executions, {counts['facts']} facts, {counts['blobs']} large values: {sound}")
        return exits.FAILED if verification.found else exits.SUCCEEDED

    return asyncio.run(work())
