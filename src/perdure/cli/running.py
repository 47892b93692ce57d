"""`run` and `resume`: start executions or take them up again, and follow them to their end."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.app import Engine
from perdure.cli import exits
from perdure.cli.checking import print_faults
from perdure.cli.following import Following, living_home, store_option
from perdure.cli.reading import actor, existing, json_value, settings
from perdure.cli.view import view_for
from perdure.errors import Refused
from perdure.ids import ExecutionId, id_text
from perdure.operations.definitions import read_file
from perdure.operations.executions import FirstSignal
from perdure.store.contract import FIRST_FINAL, STATUSES, Row, Store, Worker

PAGE = 1_000
OTHERS_LOOKED_AT = 1_000
"""After a start the newest so many unfinished executions are looked at for interrupted ones; `resume` looks at all."""


def first_signal(name: str, payload: str | None, key: str, signal_id: str) -> FirstSignal | None:
    """The signal that is given with a start. Raises Refused where only its parts are."""
    if name:
        return FirstSignal(name=name, payload=json_value(payload or "null", "--payload"), key=key, id=signal_id)
    parts = {"--payload": payload is not None, "--signal-key": bool(key), "--signal-id": bool(signal_id)}
    lone = [option for option, given in parts.items() if given]
    if lone:
        sentence = f"Expected --signal NAME with {' and '.join(lone)}."
        raise Refused(sentence, remedy="Name the signal, or leave them out.", code="usage")
    return None


def run(
    file: str, *, input: str, store: str | None, key: str, priority: int, nodes: tuple[str, ...], no_wait: bool, json: bool,
    plain: bool, signal: FirstSignal | None = None,
) -> int:  # fmt: skip
    """Start FILE and follow it; the exit code."""
    read = read_file(file, node_files=nodes)
    print_faults(file, read.checked.faults, say=exits.say)
    if read.checked.plan is None:
        return exits.REFUSED
    given = json_value(input, "--input")
    found = settings(store)
    following = Following(store=store, no_wait=no_wait, view=view_for(json=json, plain=plain))

    async def work() -> int:
        async with following.engine(found, nodes) as engine:
            begun = await engine.executions.start(read, given, key=key, by=actor(), priority=priority, signal=signal)
            row = await row_of(engine.store, begun.execution)
            if begun.existing:
                exits.say(f"{id_text(begun.execution)} was started with this key before")
            if signal is not None:
                say_whether_sent(signal.name, signal.id, begun.execution, new=begun.signalled)
            if await following.begin(engine, row):
                if not begun.existing:
                    following.runs_here([begun.execution])
                elif row.status < FIRST_FINAL:
                    await take_if_free(engine, row, following)
            await mention_interrupted(engine, begun.execution, store)
            return await following.to_the_end(engine)

    return following.until_interrupted(work)


def resume(ids: tuple[str, ...], *, store: str | None, nodes: tuple[str, ...], no_wait: bool, json: bool, plain: bool) -> int:
    """Go on with interrupted executions; the worst exit code among them."""
    found = existing(store)
    following = Following(store=store, no_wait=no_wait, view=view_for(json=json, plain=plain))

    async def work() -> int:
        async with following.engine(found, nodes) as engine:
            rows = await named(engine, ids) if ids else await interrupted(engine.store)
            if not rows:
                exits.say("nothing to resume: every execution here has ended, or a living process runs it")
                return exits.SUCCEEDED
            followed = [row for row in rows if await following.begin(engine, row)]
            await take(engine, [row for row in followed if row.status < FIRST_FINAL], following)
            return await following.to_the_end(engine)

    return following.until_interrupted(work)


def say_whether_sent(name: str, signal_id: str, execution: ExecutionId, *, new: bool) -> None:
    """A signal is sent once, however often one with its id is."""
    sent_before = f"a signal with the id {signal_id} was sent before; it counts once"
    exits.say(f"sent `{name}` to {id_text(execution)}" if new else sent_before)


async def named(engine: Engine, ids: Sequence[str]) -> list[Row]:
    """The executions that were named. Raises NotFound, and Refused where a living process runs one of them."""
    rows = [await row_of(engine.store, await engine.executions.find(text)) for text in dict.fromkeys(ids)]
    for row in rows:
        if row.status < FIRST_FINAL and (worker := await living_home(engine.store, row)) is not None:
            raise run_elsewhere(row, worker)
    return rows


async def take(engine: Engine, rows: Sequence[Row], following: Following) -> None:
    """Become the home of these; one that somebody else was quicker to take is refused."""
    for start in range(0, len(rows), PAGE):
        page = rows[start : start + PAGE]
        taken = set(await engine.home.take([row.execution for row in page], limit=len(page)))
        following.runs_here(taken)
        for row in page:
            now = await row_of(engine.store, row.execution)
            if row.execution not in taken and now.status < FIRST_FINAL and not engine.home.has(row.execution):
                following.refuse(row.execution, run_elsewhere(now, await living_home(engine.store, now)))


async def take_if_free(engine: Engine, row: Row, following: Following) -> None:
    """Go on with an execution that was started before, if nobody living does."""
    worker = await living_home(engine.store, row)
    if worker is not None:
        exits.say(f"it is run by {described(worker)}")
    else:
        following.runs_here(await engine.home.take([row.execution]))


async def mention_interrupted(engine: Engine, started: ExecutionId, store: str | None) -> None:
    """Say in a line that the store holds interrupted executions."""
    others = [row for row in await interrupted(engine.store, most=OTHERS_LOOKED_AT) if row.execution != started]
    if not others:
        return
    option = store_option(store)
    if len(others) == 1:
        row = others[0]
        one = f"an execution of {row.workflow} here was interrupted"
        exits.say(f"{one}; go on with: perdure resume {id_text(row.execution)}{option}")
    else:
        exits.say(f"{len(others)} other executions here were interrupted; go on with: perdure resume{option}")


async def interrupted(store: Store, *, most: int | None = None) -> list[Row]:
    """Executions that have not ended and that no living process runs, oldest first; of the `most` newest unfinished ones."""
    alive = {worker.worker for worker in await store.workers() if worker.alive}
    found: list[Row] = []
    before: ExecutionId | None = None
    left = most
    while left is None or left > 0:
        page = PAGE if left is None else min(PAGE, left)
        rows = await store.rows(statuses=range(FIRST_FINAL), before=before, limit=page)
        found += [row for row in rows if row.home not in alive]
        if len(rows) < page:
            break
        before = rows[-1].execution
        left = None if left is None else left - page
    return found[::-1]


async def row_of(store: Store, execution: ExecutionId) -> Row:
    row = await store.row(execution)
    assert row is not None, "an execution that was found has a row"
    return row


def described(worker: Worker) -> str:
    return f"process {worker.pid} on {worker.host}"


def run_elsewhere(row: Row, worker: Worker | None) -> Refused:
    """Who runs it, and what can be done from here all the same."""
    who = described(worker) if worker is not None else "another process"
    return Refused(
        f"{id_text(row.execution)} ({STATUSES[row.status]}) is run by {who}.", code="execution.elsewhere",
        remedy="Signal, cancel or show it from here; or stop that process first.",
    )  # fmt: skip
