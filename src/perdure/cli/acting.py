"""`signal`, `cancel`, `pause`, `retry`, `skip` and the like: messages to executions, whoever runs them."""

from __future__ import annotations

import asyncio

import msgspec

from perdure.app import open_engine
from perdure.cli import exits
from perdure.cli.exits import say
from perdure.cli.following import living_home, store_option
from perdure.cli.reading import actor, client, duration, json_value, moment, settings
from perdure.cli.running import row_of, say_whether_sent
from perdure.cli.wording import moment_text
from perdure.clock import SystemClock
from perdure.engine.events import AnyFact, Late, Paused
from perdure.engine.operators import FROZEN, RUNS_ON
from perdure.errors import Refused
from perdure.ids import ExecutionId, id_text
from perdure.operations.controls import refuse_to_pause, refuse_to_unpause
from perdure.store.contract import Store


def signal(
    id: str, name: str, store: str | None, *, payload: str, key: str, path: str, signal_id: str, to_all: bool, ttl: str
) -> int:  # fmt: skip
    """Send a signal."""
    value = json_value(payload, "--payload")
    if to_all and (path or ttl):
        raise Refused(
            f"Expected --to-all alone, but there is {'--path' if path else '--ttl'} too.", code="usage",
            remedy="A signal to all goes to every wait there is now, and is kept for nobody.",
        )  # fmt: skip
    kept = duration(ttl, "--ttl") if ttl else 0

    async def work() -> int:
        async with client(store) as (opened, executions):
            execution = await executions.find(id)
            new = await executions.signal(
                execution, name, value, key=key, path=path, id=signal_id, by=actor(), to_all=to_all, ttl=kept
            )
            say_whether_sent(name, signal_id, execution, new=new)
            await say_if_nobody_runs(opened, execution, store)
            return exits.SUCCEEDED

    return asyncio.run(work())


def operate(id: str, action: str, path: str, store: str | None, *, value: str, option: str, reason: str) -> int:
    """Decide about a parked node."""
    given = json_value(value, option) if value else msgspec.UNSET

    async def work() -> int:
        async with client(store) as (opened, executions):
            execution = await executions.find(id)
            await executions.parked(execution, path, with_input=action == "retry" and bool(value))
            await executions.operate(execution, action, path=path, value=given, reason=reason, by=actor())
            say(f"{action} {path}: sent to {id_text(execution)}")
            await say_if_nobody_runs(opened, execution, store)
            return exits.SUCCEEDED

    return asyncio.run(work())


# -- waits ---------------------------------------------------------------------------------------------------------------


def skip(id: str, path: str, store: str | None, *, reason: str) -> int:
    """End a wait now."""
    return _on_wait(id, "skip", path, store, reason=reason)


def reschedule(id: str, path: str, store: str | None, *, to: str, reason: str) -> int:
    """Move the end of a wait."""
    now = SystemClock().now()
    return _on_wait(id, "reschedule", path, store, reason=reason, moment=moment(to, "--to", now))


def _on_wait(id: str, action: str, path: str, store: str | None, *, reason: str, moment: int | None = None) -> int:
    async def work() -> int:
        async with client(store) as (opened, executions):
            execution = await executions.find(id)
            await executions.waiting(execution, path, action)
            value = msgspec.UNSET if moment is None else moment
            await executions.operate(execution, action, path=path, value=value, reason=reason, by=actor())
            when = f" to {moment_text(moment, SystemClock().now())}" if moment is not None else ""
            say(f"{action} {path}{when}: sent to {id_text(execution)}")
            await say_if_nobody_runs(opened, execution, store)
            return exits.SUCCEEDED

    return asyncio.run(work())


# -- the execution -------------------------------------------------------------------------------------------------------


def pause(id: str, store: str | None, *, reason: str, nodes: tuple[str, ...]) -> int:
    """Pause an execution: by a message to who runs it, or here and now when nobody does."""

    async def work() -> int:
        async with client(store) as (opened, executions):
            execution = await executions.find(id)
            refuse_to_pause(await executions.state(execution))
            await executions.operate(execution, "pause", reason=reason, by=actor())
            if await living_home(opened, await row_of(opened, execution)) is not None:
                say(f"pause: sent to {id_text(execution)}")
                return exits.SUCCEEDED
        return await pause_here(execution)

    async def pause_here(execution: ExecutionId) -> int:
        """Nobody runs it: take it, which is to take the message in, and let it go again. In a pause nothing starts."""
        async with open_engine(settings(store), node_files=nodes) as engine:
            taken_in = asyncio.get_running_loop().create_future()

            def saw(whose: ExecutionId, at: int, facts: list[AnyFact]) -> None:
                if whose == execution and any(isinstance(fact, Paused | Late) for fact in facts) and not taken_in.done():
                    taken_in.set_result(None)

            engine.home.observe(saw)
            refused = engine.home.outcome(execution)  # it ends, or cannot be gone on with here
            if not await engine.home.take([execution]):
                say(f"pause: sent to {id_text(execution)}")  # somebody else was quicker
                return exits.SUCCEEDED
            await asyncio.wait([taken_in, refused], return_when=asyncio.FIRST_COMPLETED)
            if refused.done():
                refused.result()
            say(f"{id_text(execution)}: paused")
            return exits.SUCCEEDED

    return asyncio.run(work())


def unpause(id: str, store: str | None, *, clocks: str, reason: str) -> int:
    """End a pause. What no process runs goes on with `resume`: work that is begun here would be cut off again at once."""
    if clocks not in (FROZEN, RUNS_ON):
        raise Refused(f"There are no {clocks} clocks.", remedy=f"--clocks {FROZEN} or --clocks {RUNS_ON}.", code="usage")

    async def work() -> int:
        async with client(store) as (opened, executions):
            execution = await executions.find(id)
            refuse_to_unpause(await executions.state(execution))
            if "resume" in await executions.asked(execution):
                say(f"{id_text(execution)} is to go on already")
            else:
                await executions.operate(execution, "resume", value=clocks, reason=reason, by=actor())
                say(f"unpause: sent to {id_text(execution)}")
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
