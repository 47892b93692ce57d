"""Retention: what has ended long enough ago is pruned, with all that is its own, beside those who work on the same store.

What may go is decided here, execution by execution; each batch is one short transaction of the store, after which whoever waits
for it has as much time as the batch took. So a pass may die between any two of them: what is left the next pass takes.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from perdure.clock import MICROSECONDS, Clock
from perdure.engine.codec import begun_by, handles_in
from perdure.errors import PerdureError, Refused
from perdure.expressions import parse_duration
from perdure.ids import ExecutionId
from perdure.runtime.patience import patiently
from perdure.settings import Settings
from perdure.store.contract import FIRST_FINAL, TENANT, BlobName, Definition, Row, Store

log = logging.getLogger("perdure.retention")

LOOKED_AT_ONCE = 500
"""Executions looked at in one read, and bodies read at once: some three milliseconds."""
REMOVED_AT_ONCE = 100
"""Executions in one transaction; with their keys and snapshots some five milliseconds."""
CLEARED_AT_ONCE = 2_000
"""Journal rows, or pages of the file, in one transaction; some ten milliseconds."""
CANDIDATES_MAX = 500_000
"""Large values whose names are sought in all bodies at once; 50 MB of memory. More take another reading of all bodies."""
UNNAMED_MICROSECONDS = 3_600 * MICROSECONDS
"""A large value this young may be about to be named: it is saved before the step that names it, and that may wait."""
LEASE_MICROSECONDS = 60 * MICROSECONDS
"""For so long a pass that died keeps others from pruning; one that lives asks for more in time."""
FIRST_LOOK_SECONDS = 60.0
"""A process looks so soon after its beginning whether it is time, or those that live briefly would never prune."""
FOREVER = None

Answer = TypeVar("Answer")


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What a pass may prune. Durations are microseconds; None is for ever.

    `retention`: of executions whose definition says nothing itself. `events`: of the event log. `workflow`: only this one's
    executions, and no events; `overrides`: then `retention` also goes before what its definition says.
    """

    retention: int | None = FOREVER
    events: int | None = FOREVER
    workflow: str = ""
    overrides: bool = False


class Pruned(msgspec.Struct, kw_only=True):
    """What a pass has pruned, or with `dry_run` would. `kept`: executions that are over age, but their parents go on."""

    executions: int = 0
    facts: int = 0
    kept: int = 0
    events: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    freed: int = 0  # bytes that the store has become smaller
    workflows: dict[str, int] = msgspec.field(default_factory=dict)
    ruled: bool = False  # does anything have a retention at all?


class Retentions:
    """What definitions say themselves, read once: definitions never change."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._position = 0
        self._own: dict[tuple[str, bytes], int | None] = {}  # only of those that say something

    async def read(self) -> None:
        """Read what was saved since this was last asked."""
        while page := await patiently(partial(self._store.definitions_since, self._position)):
            for self._position, definition in page:
                own = own_retention(definition)
                if own is not msgspec.UNSET:
                    self._own[definition.tenant, definition.digest] = own

    def of(self, tenant: str, digest: bytes, otherwise: int | None) -> int | None:
        """How long executions of a definition are kept."""
        return self._own.get((tenant, digest), otherwise)

    def shortest(self, otherwise: int | None) -> int | None:
        """The shortest retention of all; None where everything is kept for ever."""
        finite = [each for each in (*self._own.values(), otherwise) if each is not None]
        return min(finite, default=None)


def own_retention(definition: Definition) -> int | msgspec.UnsetType | None:
    """What a definition says under `settings.retention`: microseconds, None for `forever`, UNSET where it says nothing."""
    written = (json.loads(definition.document).get("settings") or {}).get("retention")
    if written is None:
        return msgspec.UNSET
    return FOREVER if written == "forever" else parse_duration(written)


class Pruning:
    """One pass over a store, by `holder`; the counts grow while it runs. With `dry_run` it only counts.

    `unnamed`: microseconds that a large value is left alone after it was saved.
    """

    def __init__(
        self, store: Store, clock: Clock, policy: Policy, *, holder: str, dry_run: bool = False,
        retentions: Retentions | None = None, unnamed: int = UNNAMED_MICROSECONDS,
    ) -> None:  # fmt: skip
        self._store = store
        self._clock = clock
        self._policy = policy
        self._holder = holder
        self._dry_run = dry_run
        self._retentions = retentions if retentions is not None else Retentions(store)
        self._unnamed = unnamed
        self._held_until = 0
        self._parents: dict[bytes, bool] = {}  # do they go on?
        self._doomed: set[ExecutionId] = set()  # in a dry run: what would be gone when large values are looked at
        self._workflows: Counter[str] = Counter()
        self.pruned = Pruned()

    async def run(self, *, sweep: bool = True) -> Pruned:
        """The whole pass. `sweep`: look for large values that nothing names also where no execution was removed.

        Raises Refused (`prune.elsewhere`) while another process is at it, StoreError.
        """
        await self._hold()
        before = await self._store.space()
        try:
            await self._reclaim()  # what a pass left behind that died
            await self._executions()
            if sweep or self.pruned.executions:
                await self._blobs()
            await self._events()
            await self._reclaim()
        finally:
            self.pruned.workflows = dict(self._workflows.most_common())
            await self._let_go()
        self.pruned.freed = max(0, before.total - (await self._store.space()).total)
        return self.pruned

    # -- executions ---------------------------------------------------------------------------------------------------

    async def _executions(self) -> None:
        await self._retentions.read()
        otherwise = self._policy.retention
        shortest = otherwise if self._policy.overrides else self._retentions.shortest(otherwise)
        if shortest is None:
            return
        self.pruned.ruled = True
        now = self._clock.now()
        after: ExecutionId | None = None
        while True:
            look = partial(self._store.finished, now - shortest, after=after, limit=LOOKED_AT_ONCE)
            rows, after = await self._in_time(look)
            if self._policy.workflow:
                rows = [row for row in rows if row.workflow == self._policy.workflow]
            for start in range(0, len(rows), REMOVED_AT_ONCE):
                await self._remove(rows[start : start + REMOVED_AT_ONCE], now)
            if after is None:
                return

    async def _remove(self, rows: Sequence[Row], now: int) -> None:
        """Remove those of them that may go."""
        over_age = {row.execution: row for row in await self._in_time(partial(self._over_age, rows, now))}
        kept = await self._in_time(partial(self._needed, over_age))
        self.pruned.kept += len(kept)
        wanted = [execution for execution in over_age if execution not in kept]
        if self._dry_run:
            self._doomed.update(wanted)
        gone = wanted if self._dry_run or not wanted else await self._in_time(partial(self._store.remove, wanted))
        self.pruned.executions += len(gone)
        self.pruned.facts += sum(over_age[execution].seq for execution in gone)
        self._workflows.update(over_age[execution].workflow for execution in gone)
        await self._reclaim()

    async def _over_age(self, rows: Sequence[Row], now: int) -> list[Row]:
        """Those that ended before what their definitions allow."""
        return [row for row in rows if self._is_over_age(row, await self._definition_of(row), now)]

    def _is_over_age(self, row: Row, digest: bytes, now: int) -> bool:
        otherwise = self._policy.retention
        retention = otherwise if self._policy.overrides else self._retentions.of(row.tenant, digest, otherwise)
        return retention is not None and row.updated < now - retention

    async def _definition_of(self, row: Row) -> bytes:
        return row.digest or (await self._begun_by(row.execution))[0]

    async def _needed(self, rows: Mapping[ExecutionId, Row]) -> set[ExecutionId]:
        """Those whose parents go on: one may ask for its child once more, after a crash, and must find that it has ended."""
        return {execution for execution in rows if await self._goes_on((await self._begun_by(execution))[1])}

    async def _begun_by(self, execution: ExecutionId) -> tuple[bytes, bytes]:
        """The definition that an execution follows and its parent, from its first step."""
        for first in await self._store.journal(execution, limit=1):
            return begun_by(first.body)
        return b"", b""

    async def _goes_on(self, parent: bytes) -> bool:
        if not parent:
            return False
        if parent not in self._parents:
            row = await self._store.row(ExecutionId(parent))
            self._parents[parent] = row is not None and row.status < FIRST_FINAL
        return self._parents[parent]

    async def _reclaim(self) -> None:
        while not self._dry_run and await self._in_time(partial(self._store.reclaim, CLEARED_AT_ONCE)) > 0:
            pass

    # -- large values -------------------------------------------------------------------------------------------------

    async def _blobs(self) -> None:
        """Mark and sweep: of those that are old enough, drop what no body of what is left names."""
        after = ""
        while True:
            found: dict[bytes, list[BlobName]] = {}
            while True:
                look = partial(self._store.old_blobs, unsaved=self._unnamed, after=after)
                page, after = await self._in_time(look)
                for name in page:
                    found.setdefault(name.digest, []).append(name)
                if not after or len(found) >= CANDIDATES_MAX:
                    break
            if found:
                await self._unmark(found)
                await self._drop([name for names in found.values() for name in names])
            if not after:
                return

    async def _unmark(self, candidates: dict[bytes, list[BlobName]]) -> None:
        """Take away what is named somewhere. Whatever looks like a name is one: too much may stay, too little never."""
        after = ""
        while True:
            page, after = await self._in_time(partial(self._store.bodies, after=after, limit=LOOKED_AT_ONCE))
            for execution, body in page:
                if execution is None or execution not in self._doomed:
                    for digest in handles_in(body):
                        candidates.pop(digest, None)
            if not after:
                return

    async def _drop(self, names: list[BlobName]) -> None:
        for start in range(0, len(names), REMOVED_AT_ONCE):
            batch = names[start : start + REMOVED_AT_ONCE]
            if not self._dry_run:
                batch = await self._in_time(partial(self._store.drop_blobs, batch, unsaved=self._unnamed))
            self.pruned.blobs += len(batch)
            self.pruned.blob_bytes += sum(name.size for name in batch)

    # -- events -------------------------------------------------------------------------------------------------------

    async def _events(self) -> None:
        """After the large values: who has read an old event a moment ago still finds what it names, until the next pass."""
        if self._policy.events is None or self._policy.workflow:
            return
        self.pruned.ruled = True
        before = self._clock.now() - self._policy.events
        if self._dry_run:
            self.pruned.events = await self._count_events(before)
            return
        while count := await self._in_time(partial(self._store.forget_events, before, limit=CLEARED_AT_ONCE)):
            self.pruned.events += count

    async def _count_events(self, before: int) -> int:
        position = count = 0
        while page := await self._in_time(partial(self._store.events, tenant=TENANT, after=position, limit=LOOKED_AT_ONCE)):
            old = sum(event.at < before for _, event in page)
            count += old
            if not old:
                break
            position = page[-1][0]
        return count

    # -- beside the others --------------------------------------------------------------------------------------------

    async def _in_time(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """One short call of the store; afterwards the others have as much time as it took."""
        await self._hold()
        begin = self._clock.monotonic()
        answer = await patiently(call)
        await asyncio.sleep(self._clock.monotonic() - begin)
        return answer

    async def _hold(self) -> None:
        """Be the only one that prunes, for a while longer. Raises Refused when another one is."""
        now = self._clock.now()
        if self._dry_run or now < self._held_until - LEASE_MICROSECONDS // 2:
            return
        until = now + LEASE_MICROSECONDS
        if not await patiently(partial(self._store.lease, "prune", self._holder, now=now, until=until)):
            raise Refused(
                "Another process is pruning this store.", code="prune.elsewhere",
                remedy=f"Wait for its end; if it has died, for {LEASE_MICROSECONDS // MICROSECONDS} seconds.",
            )  # fmt: skip
        self._held_until = until

    async def _let_go(self) -> None:
        if self._held_until:
            now = self._clock.now()
            await patiently(partial(self._store.lease, "prune", self._holder, now=now, until=now))
            self._held_until = 0


class Retention:
    """Prunes every so often, for as long as its process lives; of the processes on one store one at a time does."""

    def __init__(self, store: Store, clock: Clock, settings: Settings, *, worker: str) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._worker = worker
        self._retentions = Retentions(store)
        self._has_swept = False

    async def keep(self) -> None:
        """Look whether it is time, again and again. What goes wrong is logged, and tried again at the next time."""
        every = self._settings.prune_every
        wait = min(FIRST_LOOK_SECONDS, every / MICROSECONDS)
        while True:
            await asyncio.sleep(wait)
            wait = every / MICROSECONDS
            try:
                if await self._is_time():
                    await self._prune()
            except PerdureError as error:
                log.warning("nothing was pruned this time, or not all: %s", error.message)

    async def _is_time(self) -> bool:
        """Has nobody pruned for as long as settings say? Whoever asks first does it."""
        now = self._clock.now()
        return await self._store.lease("prune.time", self._worker, now=now, until=now + self._settings.prune_every)

    async def _prune(self) -> None:
        policy = Policy(retention=self._settings.retention, events=self._settings.event_retention)
        pruning = Pruning(self._store, self._clock, policy, holder=self._worker, retentions=self._retentions)
        # A process that died may have removed executions without coming to what they named: so each looks once in any case.
        pruned = await pruning.run(sweep=not self._has_swept)
        self._has_swept = not pruned.events  # what those named goes the next time
        if pruned.executions or pruned.events or pruned.blobs:
            log.info(
                "pruned %d executions, %d events and %d large values; %d executions are kept for their parents",
                pruned.executions, pruned.events, pruned.blobs, pruned.kept,
            )  # fmt: skip
