"""Executions: start, signal, cancel, operate, list, show. Only `start` needs a home; all else works from any process."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from perdure.clock import Clock
from perdure.definition.canonical import canonical
from perdure.engine import events
from perdure.engine.codec import INLINE_MAX, LEVEL, decode_row, decode_value, encode_value, handle_digest, handle_for
from perdure.engine.events import AnyFact, AnyInput, Token
from perdure.engine.execution import PARKED, Execution, Instance, evolve
from perdure.engine.schemas import faults_of
from perdure.errors import InputRefused, NotFound, Refused, StoreDamaged, StoreTooNew
from perdure.expressions import ValueRefused, check_value
from perdure.ids import ExecutionId, ExecutionIds, id_from_text, id_text, new_key
from perdure.operations import definitions
from perdure.operations.definitions import Read
from perdure.runtime.home import Home, start_conflict
from perdure.store.contract import FIRST_FINAL, STATUS_NUMBER, STATUSES, TENANT, Blob, Message, Row, Start, Store

ABBREVIATION_MIN = 4
"""Characters of an id's end that name an execution; fewer name many."""
ABBREVIATED_AMONG = 1_000
"""Only so many executions, the newest, can be named by the end of their ids."""


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A start's answer. `existing`: the idempotency key had started it before."""

    execution: ExecutionId
    existing: bool


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
    """What one can ask about executions of one store. With a `home`, executions can also be started here."""

    def __init__(self, store: Store, clock: Clock, *, home: Home | None = None, payload_max: int = 64 << 20) -> None:
        self._store = store
        self._clock = clock
        self._home = home
        self._ids = ExecutionIds()
        self._payload_max = payload_max

    # -- start --------------------------------------------------------------------------------------------------------

    async def start(
        self, read: Read, input: Any = None, *, key: str = "", by: str = "", priority: int = 0, tenant: str = TENANT
    ) -> Begun:
        """Start an execution of a checked definition; durable when this returns.

        Raises DefinitionRefused, InputRefused, StartConflict, StoreError. Nothing is started then.
        """
        assert self._home is not None, "to start an execution takes a home"
        plan = read.plan
        refuse_what_is_no_text(key=key, by=by)
        body = self._checked(input, "input")
        _refuse_what_does_not_fit(input, plan.input_schema)
        fingerprint = hashlib.sha256(canonical_input(input)).digest() if key else b""
        if key:
            keyed = await self._store.keyed(tenant, plan.name, key)
            if keyed is not None:
                if keyed.fingerprint != fingerprint:
                    raise start_conflict(key, keyed.execution)
                return Begun(execution=keyed.execution, existing=True)
        loaded = await definitions.save(self._store, self._home.plans, self._clock, read, tenant=tenant)
        now = self._clock.now()
        execution = self._ids.new(now)
        raw, blobs = _inline_or_handle(body)
        given = events.Start(
            execution=execution, tenant=tenant, input=raw, key=key, by=by, priority=priority,
            sources={name: work.spec.source for name, work in read.works.items() if work.spec.source and name in plan.lock},
        )  # fmt: skip
        start = Start(
            execution=execution, tenant=tenant, workflow=plan.name, digest=bytes.fromhex(plan.digest), created=now,
            priority=priority or plan.settings.priority, key=key, fingerprint=fingerprint,
        )  # fmt: skip
        found = await self._home.start(start, given, loaded, blobs)
        return Begun(execution=found, existing=found != execution)

    def _checked(self, value: Any, what: str) -> bytes:
        """The value in the journal's encoding. Raises InputRefused, naming what it is and the place in it."""
        try:
            check_value(value)
        except ValueRefused as refused:
            place = f"{what}.{refused.path}" if refused.path else what
            raise InputRefused(f"{place}: {refused.message}", remedy="Give a value that JSON can hold.") from refused
        body = encode_value(value)
        if len(body) > self._payload_max:
            raise InputRefused(
                f"{what}: Expected at most {self._payload_max:,} bytes, but there are {len(body):,}.",
                remedy="Keep large data in a file or an object store and pass where it lies.",
            )
        return body

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
    ) -> bool:
        """Send a signal; False when one with this id was sent before. Raises NotFound, InputRefused, Refused (it has ended)."""
        refuse_what_is_no_text(name=name, key=key, path=path, id=id)
        identity = id or new_key()
        raw = await self._kept(execution, payload, "payload")
        given = events.Signal(id=identity, name=name, key=key, path=path, payload=raw, by=by)
        return await self._send(execution, "signal", identity, given)

    async def operate(
        self, execution: ExecutionId, action: str, *, path: str = "", value: Any = msgspec.UNSET, reason: str = "", by: str = ""
    ) -> bool:
        """`cancel` or `terminate` an execution; `retry`, `complete` or `fail` one of its parked nodes, named by `path`."""
        refuse_what_is_no_text(path=path, reason=reason)
        frame, node, visit = split_path(path) if path else ("", "", 1)
        what = "output" if action == "complete" else "input"
        raw = events.NOTHING if value is msgspec.UNSET else await self._kept(execution, value, what)
        given = events.Operate(action=action, by=by, reason=reason, frame=frame, node=node, visit=visit, value=raw)
        return await self._send(execution, "operator", new_key(), given)

    async def complete(self, token: str, output: Any = None, *, error: Any = None, by: str = "") -> bool:
        """Answer for a deferred node by its token; False when it was answered before."""
        execution, parsed = read_token(token)
        raw = await self._kept(execution, output, "output")
        return await self._send(execution, "callback", token, events.Complete(token=parsed, output=raw, error=error, by=by))

    async def _kept(self, execution: ExecutionId, value: Any, what: str) -> Raw:
        """A value as the journal will have it; a large one is durable before anybody speaks of it."""
        raw, blobs = _inline_or_handle(self._checked(value, what))
        if blobs:
            row = await self._row(execution)
            await self._store.save_blobs([Blob(tenant=row.tenant, digest=digest, body=body) for digest, body in blobs.items()])
        return raw

    async def _send(self, execution: ExecutionId, source: str, key: str, given: AnyInput) -> bool:
        row = await self._row(execution)
        if row.status >= FIRST_FINAL:
            raise Refused(
                f"{id_text(execution)} has ended ({STATUSES[row.status]}); nothing more reaches it.",
                code="execution.ended", remedy="Start it anew, or look at it with `perdure show`.",
            )  # fmt: skip
        new = await self._store.send(
            [Message(execution=execution, source=source, key=key, at=self._clock.now(), body=encode_value(given))]
        )
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
        """An execution's row, folded state and timeline. Raises NotFound, StoreTooNew."""
        row = await self._row(execution)
        if row.level > LEVEL:
            raise StoreTooNew(
                f"{id_text(execution)} was written at level {row.level}; this Perdure reads up to {LEVEL}.",
                remedy="Upgrade this installation.",
            )
        state = Execution()
        timeline = []
        async for moment in self.moments(execution):
            for fact in moment.facts:
                evolve(state, fact)
            state.at = moment.at
            timeline.append(moment)
        return Shown(row=row, state=state, timeline=timeline)

    async def moments(self, execution: ExecutionId, *, after: int = 0) -> AsyncIterator[Moment]:
        """The timeline, step by step, read in pages."""
        while True:
            rows = await self._store.journal(execution, after=after, limit=1_000)
            for journaled in rows:
                try:
                    body = decode_row(journaled.body)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    raise StoreDamaged(
                        f"The journal of {id_text(execution)} cannot be read at fact {journaled.first_seq}: {error}",
                        remedy="`perdure verify` tells what else is damaged; restore the store from a backup.",
                    ) from error
                after = journaled.first_seq
                yield Moment(first_seq=journaled.first_seq, at=journaled.at, inputs=body.inputs, facts=body.facts, cut=body.cut)
            if len(rows) < 1_000:
                return

    async def parked(self, execution: ExecutionId, path: str) -> Instance:
        """The parked node at this path. Raises NotFound where no node is parked there."""
        frame, node, visit = split_path(path)
        shown = await self.show(execution)
        found = shown.state.frames.get(frame)
        instance = found.instances.get(node) if found is not None else None
        if instance is None or instance.visit != visit or instance.state != PARKED:
            raise NotFound(f"No node is parked at {path!r}.", remedy="`perdure incidents` lists those that are.")
        return instance

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


def refuse_what_is_no_text(**texts: str) -> None:
    """Raises InputRefused for the first text that cannot be kept: a lone surrogate, as bytes of another encoding become."""
    for name, text in texts.items():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputRefused(
                f"{name}: Expected a text in UTF-8, but {text!r} is none.", remedy="Write it in UTF-8."
            ) from error


def _refuse_what_does_not_fit(input: Any, schema: Any) -> None:
    faults = faults_of(schema, input) if schema else ()
    if faults:
        places = [f"input.{fault['path']}" if fault["path"] else "input" for fault in faults]
        sentences = [f"{place}: {fault['message']}" for place, fault in zip(places, faults, strict=True)]
        raise InputRefused("\n".join(sentences), remedy="The workflow's `input:` says what it takes.")


def canonical_input(input: Any) -> bytes:
    """What two starts with the same key must have in common (rule 55): the input, however its keys were ordered."""
    return canonical({"input": input})


def _inline_or_handle(body: bytes) -> tuple[Raw, dict[bytes, bytes]]:
    if len(body) <= INLINE_MAX:
        return Raw(body), {}
    handle, digest = handle_for(body)
    return handle, {digest: body}


def split_path(path: str) -> tuple[str, str, int]:
    """`orders[3].poll#2` → (`orders[3]`, `poll`, 2)."""
    frame, _, last = path.rpartition(".")
    node, _, visit = last.partition("#")
    return frame, node, int(visit) if visit.isascii() and visit.isdigit() else 1


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
