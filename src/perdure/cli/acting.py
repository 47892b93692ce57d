"""`signal`, `cancel`, `retry`, `complete`, `fail`: messages to executions, whoever runs them."""

from __future__ import annotations

import asyncio

import msgspec

from perdure.cli import exits
from perdure.cli.exits import say
from perdure.cli.following import store_option
from perdure.cli.reading import actor, client, json_value, settings
from perdure.cli.running import living_home, row_of
from perdure.ids import ExecutionId, id_text
from perdure.store.contract import Store


def signal(id: str, name: str, store: str | None, *, payload: str, key: str, path: str, signal_id: str) -> int:
    """Send a signal."""
    value = json_value(payload, "--payload")

    async def work() -> int:
        async with client(store) as (opened, executions):
            execution = await executions.find(id)
            new = await executions.signal(execution, name, value, key=key, path=path, id=signal_id, by=actor())
            sent_before = f"a signal with the id {signal_id} was sent before; it counts once"
            say(f"sent `{name}` to {id_text(execution)}" if new else sent_before)
            await say_if_nobody_runs(opened, execution, store)
            return exits.SUCCEEDED

    return asyncio.run(work())


def operate(id: str, action: str, path: str, store: str | None, *, value: str, option: str, reason: str) -> int:
    """Decide about a parked node."""
    given = json_value(value, option) if value else msgspec.UNSET

    async def work() -> int:
        async with client(store) as (opened, executions):
            execution = await executions.find(id)
            await executions.parked(execution, path)
            await executions.operate(execution, action, path=path, value=given, reason=reason, by=actor())
            say(f"{action} {path}: sent to {id_text(execution)}")
            await say_if_nobody_runs(opened, execution, store)
            return exits.SUCCEEDED

    return asyncio.run(work())


def cancel(id: str, store: str | None, *, reason: str, terminate: bool, nodes: tuple[str, ...]) -> int:
    """Cancel an execution: by a message to who runs it, or here and now when nobody does."""
    action = "terminate" if terminate else "cancel"

    async def work() -> int:
        async with client(store) as (opened, executions):
            execution = await executions.find(id)
            await executions.operate(execution, action, reason=reason, by=actor())
            if await living_home(opened, await row_of(opened, execution)) is not None:
                say(f"{action}: sent to {id_text(execution)}")
                return exits.SUCCEEDED
        return await finish_here(execution)

    async def finish_here(execution: ExecutionId) -> int:
        """Nobody runs it: take it, which is to take the message in, and see it end."""
        from perdure.app import open_engine

        async with open_engine(settings(store), node_files=nodes) as engine:
            result = asyncio.ensure_future(engine.result(execution))
            await asyncio.sleep(0)  # it listens from now on
            await engine.home.take([execution])
            outcome = await result
            say(f"{id_text(execution)}: {outcome.status}")
            return exits.SUCCEEDED

    return asyncio.run(work())


async def say_if_nobody_runs(opened: Store, execution: ExecutionId, store: str | None) -> None:
    """A message to an execution that no process runs waits in its inbox: say what moves it on."""
    if await living_home(opened, await row_of(opened, execution)) is None:
        say(f"no process runs it now; it goes on with: perdure resume {id_text(execution)}{store_option(store)}")
