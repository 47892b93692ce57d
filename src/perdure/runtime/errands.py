"""What a home does for its executions besides attempts: starts and stops children, gets locks, looks through the event log.

Each errand follows from the state and is run again after a crash; all of them are safe to run twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Protocol

from msgspec import Raw

from perdure.clock import Clock
from perdure.engine import events
from perdure.engine.codec import encode_value
from perdure.engine.commands import Command, Lock, Look, StartChild, StopChild
from perdure.engine.events import AnyInput, encode
from perdure.engine.schemas import faults_of
from perdure.errors import Failure, NotFound, PerdureError, StoreBusy, StoreFull, StoreReadOnly
from perdure.ids import ExecutionId, id_text, instance_path
from perdure.runtime.hot import Hot
from perdure.runtime.patience import patiently
from perdure.runtime.plans import Loaded, Plans, pinned_for
from perdure.store.contract import FIRST_FINAL, LockClaim, Message, Start, Store

EVENTS_PAGE = 1_000


class Household(Protocol):
    """What an errand needs of the home that sends it."""

    async def start(self, start: Start, given: events.Start, loaded: Loaded, blobs: dict[bytes, bytes]) -> ExecutionId: ...

    async def take(self, only: Iterable[ExecutionId] | None = None) -> list[ExecutionId]: ...

    async def take_messages(self) -> None: ...

    def deliver(self, execution: ExecutionId, given: AnyInput) -> bool: ...

    def has(self, execution: ExecutionId) -> bool: ...

    async def read(self, tenant: str, raw: Raw) -> Any: ...


class Errands:
    """The errands of one home. `background`: runs a coroutine that the home answers for."""

    def __init__(
        self, *, store: Store, plans: Plans, clock: Clock, home: Household,
        background: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:  # fmt: skip
        self._store = store
        self._plans = plans
        self._clock = clock
        self._home = home
        self._background = background
        self._starting: dict[ExecutionId, asyncio.Future[None]] = {}
        self._waiting: dict[tuple[str, str], dict[tuple[ExecutionId, str], tuple[Hot, Lock]]] = {}  # for locks, oldest first

    def run(self, hot: Hot, command: Command) -> bool:
        """Begin an errand; False when the command is none."""
        errand = _ERRANDS.get(type(command))
        if errand is None:
            return False
        hot.errands += 1
        self._background(self._counted(hot, partial(errand, self, hot, command)))
        return True

    async def _counted(self, hot: Hot, errand: Callable[[], Awaitable[None]]) -> None:
        try:
            await patiently(errand)
        finally:
            hot.errands -= 1

    # -- children -----------------------------------------------------------------------------------------------------

    async def _start_child(self, hot: Hot, command: StartChild) -> None:
        child = ExecutionId(command.child)
        before = self._starting.get(child)
        if before is not None:
            await before
        done = self._starting[child] = asyncio.get_running_loop().create_future()
        try:
            await self._started(hot, command, child)
        except (StoreBusy, StoreFull, StoreReadOnly):
            raise  # that of the store is nothing the node could be blamed for
        except PerdureError as error:
            self._home.deliver(hot.id, _refused(command, error))
        finally:
            del self._starting[child]
            done.set_result(None)

    async def _started(self, hot: Hot, command: StartChild, child: ExecutionId) -> None:
        """Start the child, or go on with it where it was started before. Raises NotFound, Refused where it cannot be."""
        row = None if self._home.has(child) else await self._store.row(child)
        if row is None and not self._home.has(child):
            loaded = await self._loaded(hot, command)
            await self._check_input(hot, command, loaded)
            children = {**await pinned_for(self._store, loaded, hot.tenant), **hot.execution.children}
            given = events.Start(
                execution=child, tenant=hot.tenant, input=command.input, priority=command.priority, by=f"execution:{hot.text}",
                parent=hot.id, relation="child" if command.awaited else "detached", depth=command.depth, children=children,
                awaited=command.token if command.awaited else None, deadline_at=command.deadline_at,
                sources=loaded.sources,
            )  # fmt: skip
            start = Start(
                execution=child, tenant=hot.tenant, workflow=loaded.plan.name, digest=bytes.fromhex(loaded.plan.digest),
                created=self._clock.now(), priority=command.priority,
            )  # fmt: skip
            await self._home.start(start, given, loaded, {})
        elif row is not None and row.status < FIRST_FINAL:
            await self._home.take([child])
        if not command.awaited:
            now = self._clock.now()
            output = encode({"execution": id_text(child)})
            self._home.deliver(hot.id, events.Result(token=command.token, output=output, started=now, finished=now))
        elif hot.execution.ended:  # the parent was ended meanwhile, without waiting for anybody
            await self._tell(hot, child, "cancel", "its parent has ended", "orphan", events.NOTHING)

    async def _loaded(self, hot: Hot, command: StartChild) -> Loaded:
        digest = command.digest
        if not digest:
            saved = await self._store.definitions(command.workflow, tenant=hot.tenant)
            if not saved:
                raise NotFound(
                    f"There is no workflow {command.workflow!r} in the store.", remedy="Save it: `perdure check --save`."
                )
            digest = saved[0].digest
        return await self._plans.get(digest)

    async def _check_input(self, hot: Hot, command: StartChild, loaded: Loaded) -> None:
        schema = loaded.plan.input_schema
        faults = faults_of(schema, await self._home.read(hot.tenant, command.input)) if schema else []
        if faults:
            where = f"input.{faults[0]['path']}" if faults[0]["path"] else "input"
            raise PerdureError(f"{where}: {faults[0]['message']}", code="input.refused")

    async def _stop_child(self, hot: Hot, command: StopChild) -> None:
        child = ExecutionId(command.child)
        starting = self._starting.get(child)
        if starting is not None:
            await starting
        await self._tell(hot, child, command.action, command.reason, command.key, command.value)

    async def _tell(self, hot: Hot, child: ExecutionId, action: str, reason: str, key: str, value: Raw) -> None:
        given = events.Operate(action=action, by=f"execution:{hot.text}", reason=reason, value=value)
        message = Message(
            execution=child,
            source="operator",
            key=f"parent:{key}",
            at=self._clock.now(),
            body=encode_value(given),
            sender=hot.id,
        )
        try:
            await patiently(lambda: self._store.send([message]))
        except NotFound:
            return  # it could not be started, and its parent has been told
        if not self._home.has(child):
            await self._home.take([child])
        await self._home.take_messages()

    # -- locks --------------------------------------------------------------------------------------------------------

    async def _lock(self, hot: Hot, command: Lock) -> None:
        """Get a lock, or wait for it behind those that asked before."""
        place = (hot.tenant, command.key)
        waiting = self._waiting.setdefault(place, {})
        waiting[hot.id, _path(command)] = (hot, command)
        await self._grant(place)

    async def _grant(self, place: tuple[str, str]) -> None:
        """Give a free lock to whoever waits longest and is still there."""
        waiting = self._waiting.get(place)
        while waiting:
            (execution, path), (hot, command) = next(iter(waiting.items()))
            if not self._home.has(execution):
                del waiting[execution, path]  # whoever is its home now asks for it again
                continue
            claim = LockClaim(tenant=place[0], key=place[1], execution=execution, path=path)
            if not (await patiently(lambda claim=claim: self._store.acquire([claim])))[0]:  # type: ignore[misc]  # bound at once
                return
            waiting.pop((execution, path), None)
            granted = events.Granted(frame=command.frame, node=command.node, visit=command.visit, key=command.key)
            self._home.deliver(hot.id, granted)
            break
        if not waiting:
            self._waiting.pop(place, None)

    def unlocked(self, unlocks: Iterable[LockClaim]) -> None:
        """Locks were given back: whoever waits for them is next."""
        for claim in unlocks:
            if (claim.tenant, claim.key) in self._waiting:
                self._background(self._grant((claim.tenant, claim.key)))

    async def look_for_locks(self) -> None:
        """Another process may have given a lock back."""
        for place in list(self._waiting):
            await self._grant(place)

    # -- events -------------------------------------------------------------------------------------------------------

    async def _look(self, hot: Hot, command: Look) -> None:
        """Hand in the events of a type that came before anybody waited for them."""
        after = 0
        while True:
            page = await self._store.events(
                tenant=hot.tenant, type=command.type, after=after, since=command.since, limit=EVENTS_PAGE
            )
            for after, event in page:  # noqa: B007 - the last position goes on
                given = events.Arrived(
                    id=event.id, type=event.type, source=event.source, subject=event.subject, at=event.at,
                    data=Raw(event.body), past=True,
                )  # fmt: skip
                self._home.deliver(hot.id, given)
            if len(page) < EVENTS_PAGE:
                return


def _refused(command: StartChild, error: PerdureError) -> events.Result:
    """A child that cannot be started, as the failure of the node that asked for it."""
    code = "workflow.unknown" if isinstance(error, NotFound) else error.code
    failure = Failure(code=code, title=error.message, detail=error.remedy, category="validation", retryable=False)
    return events.Result(token=command.token, outcome="failed", error=failure)


def _path(command: Lock) -> str:
    return instance_path(command.frame, command.node, command.visit)


_ERRANDS: dict[type[Any], Callable[[Errands, Hot, Any], Awaitable[None]]] = {
    StartChild: Errands._start_child,
    StopChild: Errands._stop_child,
    Lock: Errands._lock,
    Look: Errands._look,
}
