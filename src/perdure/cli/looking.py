"""`list`, `show`, `incidents` and `verify`: what is in a store, told without changing it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from perdure.cli import exits
from perdure.cli.following import store_option
from perdure.cli.reading import client
from perdure.cli.showing import told
from perdure.cli.wording import GLYPHS, date_text, duration_text, failure_lines, json_line
from perdure.engine.events import AnyFact, AnyInput
from perdure.engine.execution import PARKED, Instance, path_of
from perdure.engine.names import time_text
from perdure.errors import Refused
from perdure.ids import id_text
from perdure.operations.journal import handles_of, moment_object
from perdure.operations.waits import command_for
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
                for line in await told(await executions.show(execution), executions, opened):
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
                    state = await executions.state(row.execution)
                    for frame, instance in state.instances():
                        if instance.state == PARKED:
                            found += 1
                            print("\n".join(_incident(row, path_of(frame, instance), instance, store, json=json)))
                if len(rows) < PAGE:
                    break
                before = rows[-1].execution
        if not found and not json:
            exits.say("no incidents")
        return exits.SUCCEEDED

    return asyncio.run(work())


def _incident(row: Row, path: str, instance: Instance, store: str | None, *, json: bool) -> list[str]:
    assert instance.error is not None, "a parked node has an error"
    if json:
        about = {
            "execution": id_text(row.execution), "workflow": row.workflow, "node": path, "question": instance.question,
            "attempts": instance.attempt, "error": instance.error.as_value(),
        }  # fmt: skip
        return [json_line(about)]
    asked = "did its effect happen?" if instance.question == "unknown" else "it failed: retry, complete or fail?"
    first = f"! {id_text(row.execution)}  {row.workflow}  {path}  {asked}"
    return [first, *failure_lines(instance.error, indent="    "), f"    {_remedy(row, path, instance, store)}"]


def _remedy(row: Row, path: str, instance: Instance, store: str | None) -> str:
    command = f"{command_for(instance, id_text(row.execution), path)}{store_option(store)}"
    if instance.question == "unknown":
        return f"it did not happen: {command}; it did: perdure complete …"
    return f"decide with: {command}; or perdure complete … --output JSON, perdure fail …"


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
