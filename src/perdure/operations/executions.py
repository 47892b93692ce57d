"""Executions: start, signal, operate, list, show, from any process. Who has a home keeps what it starts; others leave it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from perdure.clock import Clock
from perdure.definition.canonical import canonical
from perdure.definition.plan import Plan
from perdure.engine import events
from perdure.engine.codec import LEVEL, decode_row, decode_value, encode_value, handle_digest
from perdure.engine.events import AnyFact, AnyInput, Token
from perdure.engine.evolution import evolve
from perdure.engine.execution import Execution, Instance
from perdure.engine.schemas import faults_of
from perdure.errors import InputRefused, NotFound, Refused, StoreDamaged, StoreError, StoreTooNew
from perdure.ids import ExecutionId, ExecutionIds, id_from_text, id_text, new_key
from perdure.operations import definitions
from perdure.operations.controls import parked_at, refuse_input_for, refuse_to_feed, waiting_at
from perdure.operations.definitions import Read
from perdure.operations.paths import named, split_path
from perdure.operations.values import checked, inline_or_handle, refuse_what_is_no_text
from perdure.runtime.home import Home
from perdure.runtime.hot import start_conflict
from perdure.runtime.loading import definition_of, folded
from perdure.runtime.patience import patiently
from perdure.runtime.plans import Plans
from perdure.store.contract import FIRST_FINAL, STATUS_NUMBER, STATUSES, TENANT, Batch, Blob, Message, Row, Start, Store

NOBODY = ExecutionId(bytes(16))
"""The receiver of a message until the execution is known that it is for."""
ABBREVIATION_MIN = 4
"""Characters of an id's end that name an execution; fewer name many."""
ABBREVIATED_AMONG = 1_000
"""Only so many executions, the newest, can be named by the end of their ids."""


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A start's answer. `existing`: the idempotency key had started it before. `signalled`: the signal given with it is new."""

    execution: ExecutionId
    existing: bool
    signalled: bool = False


class FirstSignal(msgspec.Struct, frozen=True, kw_only=True):
    """A signal that is given with a start. The same `id` twice is one signal; none given: each start brings its own."""

    name: str
    payload: Any = None
    key: str = ""
    id: str = ""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One step of an execution's timeline: what came in and what followed."""

    first_seq: int
    at: int
    inputs: list[AnyInput]
    facts: list[AnyFact]
    cut: bool


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """An execution as it is on disk: its row, its folded state, its timeline."""

    row: Row
    state: Execution
    timeline: list[Moment]

    @property
    def status(self) -> str:
        return STATUSES[self.row.status]


class Executions:
    """What one can ask about executions of one store. What is started goes on at the `home`; where there is none, with the
    first worker that takes it, and then starting takes `plans`.
    """

    def __init__(
        self, store: Store, clock: Clock, *, home: Home | None = None, plans: Plans | None = None, payload_max: int = 64 << 20
    ) -> None:  # fmt: skip
        self._store = store
        self._clock = clock
        self._home = home
        self._plans = home.plans if home is not None else plans
        self._ids = ExecutionIds()
        self._payload_max = payload_max

    # -- start --------------------------------------------------------------------------------------------------------

    async def start(
        self, read: Read, input: Any = None, *, key: str = "", by: str = "", priority: int = 0, tenant: str = TENANT,
        signal: FirstSignal | None = None,
    ) -> Begun:  # fmt: skip
        """Start an execution of a checked definition; durable when this returns.

        A `signal` is written in the same commit; where the key started the execution before, it is sent to that one.
        Raises DefinitionRefused, InputRefused, StartConflict, StoreError; Refused for a signal to an execution that has ended.
        Nothing is started then, and nothing sent.
        """
        assert self._plans is not None, "to start an execution takes plans"
        plan = read.plan
        refuse_what_is_no_text(key=key, by=by)
        body = checked(input, "input", payload_max=self._payload_max)
        _refuse_what_does_not_fit(input, plan.input_schema)
        first = self._first(signal, by) if signal is not None else None
        fingerprint = hashlib.sha256(canonical_input(input)).digest() if key else b""
        if key:
            keyed = await self._store.keyed(tenant, plan.name, key)
            if keyed is not None:
                if keyed.fingerprint != fingerprint:
                    raise start_conflict(key, keyed.execution)
                return await self._begun_before(keyed.execution, first)
        loaded = await definitions.save(self._store, self._plans, self._clock, read, tenant=tenant)
        children: dict[str, bytes] = {}
        if loaded.named:
            children = await definitions.pinned(self._store, self._plans, self._clock, read, loaded, tenant=tenant)
        now = self._clock.now()
        execution = self._ids.new(now)
        raw, blobs = inline_or_handle(body)
        given = events.Start(
            execution=execution, tenant=tenant, input=raw, key=key, by=by, priority=priority, children=children,
            sources=loaded.sources,
        )  # fmt: skip
        start = Start(
            execution=execution, tenant=tenant, workflow=plan.name, digest=bytes.fromhex(plan.digest), created=now,
            priority=priority or plan.settings.priority, key=key, fingerprint=fingerprint,
        )  # fmt: skip
        messages = []
        if first is not None:
            message, more = first
            messages, blobs = [msgspec.structs.replace(message, execution=execution, sender=execution)], {**blobs, **more}
        if self._home is not None:
            found = await self._home.start(start, given, loaded, blobs, messages)
        else:
            found = await self._leave_to_workers(start, given, blobs, messages)
        if found != execution:
            return await self._begun_before(found, first)
        return Begun(execution=execution, existing=False, signalled=first is not None)

    async def _leave_to_workers(
        self, start: Start, given: events.Start, blobs: dict[bytes, bytes], messages: Sequence[Message]
    ) -> ExecutionId:
        """Write a start that whoever takes it first goes on with; the execution that it is, or that had its key before."""
        asked = Message(
            execution=start.execution, source="start", key="start", at=start.created, body=encode_value(given),
            sender=start.execution,
        )  # fmt: skip
        batch = Batch(
            starts=[start], messages=[asked, *messages],
            blobs=[Blob(tenant=start.tenant, digest=digest, body=body) for digest, body in blobs.items()],
        )  # fmt: skip
        committed = await patiently(lambda: self._store.commit(batch))
        if start.execution not in committed.duplicates or not start.key:
            return start.execution  # also where only the answer to a first commit was lost
        keyed = await self._store.keyed(start.tenant, start.workflow, start.key)
        assert keyed is not None, "a key that was taken is somebody's"
        if keyed.fingerprint != start.fingerprint:
            raise start_conflict(start.key, keyed.execution)
        return keyed.execution

    def _first(self, signal: FirstSignal, by: str) -> tuple[Message, dict[bytes, bytes]]:
        """The message that a first signal is, without its receiver; and the large value that it names."""
        refuse_what_is_no_text(name=signal.name, key=signal.key, id=signal.id)
        raw, blobs = inline_or_handle(checked(signal.payload, "payload", payload_max=self._payload_max))
        identity = signal.id or new_key()
        given = events.Signal(id=identity, name=signal.name, key=signal.key, payload=raw, by=by)
        body = encode_value(given)
        return Message(execution=NOBODY, source="signal", key=identity, at=self._clock.now(), body=body), blobs

    async def _begun_before(self, execution: ExecutionId, first: tuple[Message, dict[bytes, bytes]] | None) -> Begun:
        """The execution was there; a signal that was given with the start goes to it."""
        if first is None:
            return Begun(execution=execution, existing=True)
        message, blobs = first
        row = await self._row(execution)
        if row.status >= FIRST_FINAL and await self._took_signal(execution, message.key):
            return Begun(execution=execution, existing=True)
        if blobs:
            await self._store.save_blobs([Blob(tenant=row.tenant, digest=digest, body=body) for digest, body in blobs.items()])
        new = await self._deliver(row, msgspec.structs.replace(message, execution=execution))
        return Begun(execution=execution, existing=True, signalled=new)

    async def _took_signal(self, execution: ExecutionId, identity: str) -> bool:
        """Did a signal with this id reach an execution that has ended? Its journal knows; its inbox, where it was too late."""
        if any(each.message.source == "signal" and each.message.key == identity for each in await self._store.inbox(execution)):
            return True
        async for moment in self.moments(execution):
            if any(isinstance(given, events.Signal) and given.id == identity for given in moment.inputs):
                return True
        return False

    # -- messages to a running execution ------------------------------------------------------------------------------

    async def signal(
        self,
        execution: ExecutionId,
        name: str,
        payload: Any = None,
        *,
        key: str = "",
        path: str = "",
        id: str = "",
        by: str = "",
        to_all: bool = False,
        ttl: int = 0,
    ) -> bool:
        """Send a signal; False when one with this id was sent before. Raises InputRefused, Refused (it has ended), and NotFound
        where there is no such execution, or no such path in it.

        `to_all`: to all that wait for it now, and kept for nobody. `ttl`: microseconds that it is kept when nobody waits; 0: as
        long as the execution lives. A `path` may name an open loop, which takes `add` and `close`.
        """
        refuse_what_is_no_text(name=name, key=key, path=path, id=id)
        if path:
            named(await self.plan(await self._readable(execution)), path)  # else it would be kept for ever
            refuse_to_feed(await self.state(execution), name, path)
        identity = id or new_key()
        raw = await self._kept(execution, payload, "payload")
        given = events.Signal(id=identity, name=name, key=key, path=path, payload=raw, by=by, to_all=to_all, ttl=ttl)
        return await self._send(execution, "signal", identity, given)

    async def operate(
        self, execution: ExecutionId, action: str, *, path: str = "", value: Any = msgspec.UNSET, reason: str = "", by: str = ""
    ) -> bool:
        """An operator's control: `cancel`, `terminate`, `pause`, `resume` of an execution; `retry`, `complete`, `fail`, `skip`,
        `reschedule` of the node at `path`. What the node is doing is not looked at: see `parked` and `waiting`.
        """
        refuse_what_is_no_text(path=path, reason=reason)
        frame, node, visit = split_path(path) if path else ("", "", 1)
        what = "output" if action == "complete" else "input"
        raw = events.NOTHING if value is msgspec.UNSET else await self._kept(execution, value, what)
        given = events.Operate(action=action, by=by, reason=reason, frame=frame, node=node, visit=visit, value=raw)
        return await self._send(execution, "operator", new_key(), given)

    async def asked(self, execution: ExecutionId) -> list[str]:
        """What operators have asked of an execution that no step has taken in yet: their actions, in order."""
        found = [msgspec.msgpack.decode(each.message.body, type=AnyInput) for each in await self._store.inbox(execution)]
        return [given.action for given in found if isinstance(given, events.Operate)]

    async def complete(self, token: str, output: Any = None, *, error: Any = None, by: str = "") -> bool:
        """Answer for a deferred node by its token; False when it was answered before."""
        execution, parsed = read_token(token)
        raw = await self._kept(execution, output, "output")
        return await self._send(execution, "callback", token, events.Complete(token=parsed, output=raw, error=error, by=by))

    async def _kept(self, execution: ExecutionId, value: Any, what: str) -> Raw:
        """A value as the journal will have it; a large one is durable before anybody speaks of it."""
        raw, blobs = inline_or_handle(checked(value, what, payload_max=self._payload_max))
        if blobs:
            row = await self._row(execution)
            await self._store.save_blobs([Blob(tenant=row.tenant, digest=digest, body=body) for digest, body in blobs.items()])
        return raw

    async def _send(self, execution: ExecutionId, source: str, key: str, given: AnyInput) -> bool:
        row = await self._row(execution)
        message = Message(execution=execution, source=source, key=key, at=self._clock.now(), body=encode_value(given))
        return await self._deliver(row, message)

    async def _deliver(self, row: Row, message: Message) -> bool:
        if row.status >= FIRST_FINAL:
            raise Refused(
                f"{id_text(row.execution)} has ended ({STATUSES[row.status]}); nothing more reaches it.",
                code="execution.ended", remedy="Start it anew, or look at it with `perdure show`.",
            )  # fmt: skip
        new = await self._store.send([message])
        if self._home is not None:
            await self._home.take_messages()
        return new[0]

    # -- looking ------------------------------------------------------------------------------------------------------

    async def find(self, text: str) -> ExecutionId:
        """The execution that a full id, or the end of one among the newest, names.

        Raises NotFound, and Refused where it names several.
        """
        try:
            execution = id_from_text(text)
        except ValueError:
            return await self._find_by_end(text)
        await self._row(execution)
        return execution

    async def _find_by_end(self, text: str) -> ExecutionId:
        recent = await self._store.rows(limit=ABBREVIATED_AMONG) if len(text) >= ABBREVIATION_MIN else []
        found = [row.execution for row in recent if id_text(row.execution).endswith(text.lower())]
        if not found:
            raise NotFound(
                f"There is no execution {text!r} here.",
                remedy=f"`perdure list` shows all; for the newest {ABBREVIATED_AMONG:,} the last four characters or more do.",
            )
        if len(found) > 1:
            several = ", ".join(id_text(execution) for execution in found[:5])
            raise Refused(
                f"{text!r} names {len(found)} executions: {several}.", remedy="Give more of the id.", code="not_found"
            )
        return found[0]

    async def list(
        self, *, workflow: str | None = None, statuses: Sequence[str] | None = None, limit: int = 50, tenant: str = TENANT
    ) -> list[Row]:
        """Executions, newest first."""
        numbers = None if statuses is None else [STATUS_NUMBER[status] for status in statuses]
        return await self._store.rows(tenant=tenant, workflow=workflow, statuses=numbers, limit=limit)

    async def show(self, execution: ExecutionId) -> Shown:
        """An execution's row, folded state and timeline. Raises NotFound, StoreTooNew, StoreDamaged."""
        row = await self._readable(execution)
        state = Execution()
        timeline = []
        async for moment in self.moments(execution):
            try:
                for fact in moment.facts:
                    evolve(state, fact)
            except Exception as error:  # what was damaged and can still be decoded may break the fold anywhere
                raise damaged(execution, error, moment.first_seq) from error
            state.at = moment.at
            timeline.append(moment)
        return Shown(row=row, state=state, timeline=timeline)

    async def state(self, execution: ExecutionId) -> Execution:
        """An execution's folded state alone, which is quick also for a long one. Raises NotFound, StoreTooNew, StoreDamaged."""
        await self._readable(execution)
        try:
            state, _ = await folded(self._store, execution)
        except StoreError:
            raise
        except Exception as error:  # what was damaged and can still be decoded may break the fold anywhere
            raise damaged(execution, error) from error
        return state

    async def _readable(self, execution: ExecutionId) -> Row:
        row = await self._row(execution)
        if row.level > LEVEL:
            raise StoreTooNew(
                f"{id_text(execution)} was written at level {row.level}; this Perdure reads up to {LEVEL}.",
                remedy="Upgrade this installation.",
            )
        return row

    async def plan(self, row: Row) -> Plan:
        """The plan that an execution follows, for those who only read it: no node type needs to be here. Raises NotFound."""
        return await definitions.plan_to_read(self._store, await definition_of(self._store, row), tenant=row.tenant)

    async def moments(self, execution: ExecutionId, *, after: int = 0) -> AsyncIterator[Moment]:
        """The timeline, step by step, read in pages."""
        while True:
            rows = await self._store.journal(execution, after=after, limit=1_000)
            for journaled in rows:
                try:
                    body = decode_row(journaled.body)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    raise damaged(execution, error, journaled.first_seq) from error
                after = journaled.first_seq
                yield Moment(first_seq=journaled.first_seq, at=journaled.at, inputs=body.inputs, facts=body.facts, cut=body.cut)
            if len(rows) < 1_000:
                return

    async def parked(self, execution: ExecutionId, path: str, *, with_input: bool = False) -> Instance:
        """The parked node at this path. Raises NotFound where no node is parked there.

        `with_input`: it is to be retried with other parameters; raises Refused where it would not read them.
        """
        found = parked_at(await self.state(execution), path)
        if with_input:
            refuse_input_for(await self.plan(await self._row(execution)), path)
        return found

    async def waiting(self, execution: ExecutionId, path: str, action: str) -> Instance:
        """What waits at this path, for `skip` or `reschedule`. Raises NotFound where nothing waits there, Refused otherwise."""
        return waiting_at(await self.state(execution), path, action)

    async def value(self, row: Row, raw: Raw) -> Any:
        """A value as the journal has it, decoded, wherever its bytes lie."""
        digest = handle_digest(raw)
        if digest is None:
            return decode_value(raw)
        found = await self._store.blobs(row.tenant, [digest])
        if digest not in found:
            raise Refused(
                "A large value is gone from the store.", code="store.damaged", remedy="`perdure verify` tells the rest."
            )
        return decode_value(found[digest])

    async def _row(self, execution: ExecutionId) -> Row:
        row = await self._store.row(execution)
        if row is None:
            raise NotFound(
                f"There is no execution {id_text(execution)} in this store.", remedy="`perdure list` shows what there is."
            )
        return row


def damaged(execution: ExecutionId, error: Exception, seq: int = 0) -> StoreDamaged:
    """A journal that cannot be read, from this fact on where it is known."""
    where = f" at fact {seq}" if seq else ""
    what = str(error) if isinstance(error, ValueError | msgspec.MsgspecError) else f"{type(error).__name__}: {error}"
    return StoreDamaged(
        f"The journal of {id_text(execution)} cannot be read{where}: {what}",
        remedy="`perdure verify` tells what else is damaged; restore the store from a backup.",
    )


def _refuse_what_does_not_fit(input: Any, schema: Any) -> None:
    faults = faults_of(schema, input) if schema else ()
    if faults:
        places = [f"input.{fault['path']}" if fault["path"] else "input" for fault in faults]
        sentences = [f"{place}: {fault['message']}" for place, fault in zip(places, faults, strict=True)]
        raise InputRefused("\n".join(sentences), remedy="The workflow's `input:` says what it takes.")


def canonical_input(input: Any) -> bytes:
    """What two starts with the same key must have in common (rule 55): the input, however its keys were ordered."""
    return canonical({"input": input})


def read_token(text: str) -> tuple[ExecutionId, Token]:
    """The execution and attempt that a deferred node's token names. Raises Refused."""
    execution, _, rest = text.partition(":")
    path, _, attempt = rest.rpartition(":")
    try:
        frame, node, visit = split_path(path)
        return id_from_text(execution), Token(frame=frame, node=node, visit=visit, attempt=int(attempt))
    except ValueError as error:
        raise Refused(
            f"{text!r} is no token of a deferred node.", remedy="Use the token as the node gave it.", code="token.invalid"
        ) from error
