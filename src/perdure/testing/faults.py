"""A store that fails on demand: a wrapper around any store that counts its calls, and dies, refuses or loses an answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeVar

import msgspec

from perdure.errors import StoreBusy, StoreError
from perdure.ids import ExecutionId
from perdure.store.contract import (
    TENANT,
    Arrived,
    Batch,
    Blob,
    BlobName,
    Committed,
    Definition,
    Event,
    JournalRow,
    KeyedStart,
    Load,
    LockClaim,
    Message,
    Row,
    Snapshot,
    Space,
    Store,
    Usage,
    Worker,
)
from perdure.store.feed import FeedLag, FeedPage
from perdure.store.tasks import Held, Pool, Task, TaskName, TaskReport

Moment = Literal["before", "after"]
Answer = TypeVar("Answer")


class Crash(BaseException):
    """The process dies here. No `except Exception` survives a death."""


class CrashPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A place where a run can die: before or after its call number `call` (from 1), which is of `name`."""

    call: int
    name: str
    moment: Moment


class FaultyStore:
    """A store that passes every call on, and on the way counts, dies, refuses, or loses the answer.

    `die`: (call, moment); before the call nothing of it happens, after it all of it has. Once dead, every call dies:
    a new wrapper around a store that was opened anew is the restarted process. `refuse`: call → the StoreError to raise instead
    of doing it. `lose`: calls that are done and then raise StoreBusy, since the way to a server was cut. `only`: the names of
    the calls that are numbered (none given: all). `around`: entered around each call.
    `usage`, `leased`, `lost` and `offset` are no calls: they touch nothing; nor is `wait_changed`, which `sleep`
    may stand in for.
    """

    def __init__(
        self,
        store: Store,
        *,
        die: tuple[int, Moment] | None = None,
        refuse: Mapping[int, StoreError] | None = None,
        lose: Collection[int] = (),
        only: Sequence[str] = (),
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
        sleep: Callable[[float], Awaitable[object]] | None = None,
    ) -> None:
        self.store = store
        self.calls: list[str] = []
        self.dead = False
        self._die = die
        self._refuse = dict(refuse or {})
        self._lose = frozenset(lose)
        self._only = frozenset(only)
        self.around = around
        self._sleep = sleep

    @property
    def counts(self) -> Counter[str]:
        """How often each call was made, by name."""
        return Counter(self.calls)

    @property
    def crash_points(self) -> list[CrashPoint]:
        """Every place where this run could have died: two per call, in order."""
        moments: tuple[Moment, ...] = ("before", "after")
        return [
            CrashPoint(call=number, name=name, moment=moment) for number, name in enumerate(self.calls, 1) for moment in moments
        ]

    # -- the contract -------------------------------------------------------------------------------------------------------
    @property
    def commits_apart(self) -> bool:
        return self.store.commits_apart

    async def commit(self, batch: Batch) -> Committed:
        return await self._call("commit", lambda: self.store.commit(batch))

    async def row(self, execution: ExecutionId) -> Row | None:
        return await self._call("row", lambda: self.store.row(execution))

    async def rows(
        self,
        *,
        tenant: str = TENANT,
        workflow: str | None = None,
        statuses: Sequence[int] | None = None,
        before: ExecutionId | None = None,
        limit: int = 100,
    ) -> list[Row]:
        return await self._call(
            "rows",
            lambda: self.store.rows(tenant=tenant, workflow=workflow, statuses=statuses, before=before, limit=limit),
        )

    async def claim(
        self, worker: str, now: int, *, limit: int, level: int, only: Sequence[ExecutionId] | None = None
    ) -> list[Row]:
        return await self._call("claim", lambda: self.store.claim(worker, now, limit=limit, level=level, only=only))

    async def keyed(self, tenant: str, workflow: str, key: str) -> KeyedStart | None:
        return await self._call("keyed", lambda: self.store.keyed(tenant, workflow, key))

    async def journal(self, execution: ExecutionId, *, after: int = 0, limit: int = 10_000) -> list[JournalRow]:
        return await self._call("journal", lambda: self.store.journal(execution, after=after, limit=limit))

    async def snapshot(self, execution: ExecutionId) -> Snapshot | None:
        return await self._call("snapshot", lambda: self.store.snapshot(execution))

    async def feed(
        self,
        *,
        after: str = "",
        tenant: str | None = None,
        execution: ExecutionId | None = None,
        limit: int = 1_000,
        latest: bool = False,
    ) -> FeedPage:
        return await self._call(
            "feed", lambda: self.store.feed(after=after, tenant=tenant, execution=execution, limit=limit, latest=latest)
        )

    async def feed_lag(self) -> FeedLag | None:
        return await self._call("feed_lag", self.store.feed_lag)

    async def send(self, messages: Sequence[Message]) -> list[bool]:
        return await self._call("send", lambda: self.store.send(messages))

    async def arrived(self, worker: str, *, limit: int = 1_000, after: int = 0) -> list[Arrived]:
        return await self._call("arrived", lambda: self.store.arrived(worker, limit=limit, after=after))

    async def inbox(self, execution: ExecutionId, *, limit: int = 1_000) -> list[Arrived]:
        return await self._call("inbox", lambda: self.store.inbox(execution, limit=limit))

    async def save_definition(self, definition: Definition) -> None:
        await self._call("save_definition", lambda: self.store.save_definition(definition))

    async def definition(self, digest: bytes, *, tenant: str = TENANT) -> Definition | None:
        return await self._call("definition", lambda: self.store.definition(digest, tenant=tenant))

    async def definitions(self, name: str, *, tenant: str = TENANT) -> list[Definition]:
        return await self._call("definitions", lambda: self.store.definitions(name, tenant=tenant))

    async def definitions_since(self, position: int, *, limit: int = 100) -> list[tuple[int, Definition]]:
        return await self._call("definitions_since", lambda: self.store.definitions_since(position, limit=limit))

    async def save_blobs(self, blobs: Sequence[Blob]) -> None:
        await self._call("save_blobs", lambda: self.store.save_blobs(blobs))

    async def blobs(self, tenant: str, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        return await self._call("blobs", lambda: self.store.blobs(tenant, digests))

    async def publish(self, events: Sequence[Event]) -> list[bool]:
        return await self._call("publish", lambda: self.store.publish(events))

    async def events(
        self,
        *,
        tenant: str = TENANT,
        type: str | None = None,
        after: int = 0,
        since: int = 0,
        limit: int = 100,
        latest: bool = False,
    ) -> list[tuple[int, Event]]:
        return await self._call(
            "events",
            lambda: self.store.events(tenant=tenant, type=type, after=after, since=since, limit=limit, latest=latest),
        )

    async def acquire(self, claims: Sequence[LockClaim]) -> list[bool]:
        return await self._call("acquire", lambda: self.store.acquire(claims))

    async def holder(self, tenant: str, key: str) -> tuple[ExecutionId, str] | None:
        return await self._call("holder", lambda: self.store.holder(tenant, key))

    async def claim_tasks(self, worker: str, labels: Mapping[str, str], now: int, *, limit: int) -> list[Task]:
        return await self._call("claim_tasks", lambda: self.store.claim_tasks(worker, labels, now, limit=limit))

    async def report_tasks(self, worker: str, reports: Sequence[TaskReport]) -> list[bool]:
        return await self._call("report_tasks", lambda: self.store.report_tasks(worker, reports))

    async def return_tasks(self, worker: str, names: Sequence[TaskName], *, due: int) -> None:
        await self._call("return_tasks", lambda: self.store.return_tasks(worker, names, due=due))

    async def held_tasks(self, worker: str) -> list[Held]:
        return await self._call("held_tasks", lambda: self.store.held_tasks(worker))

    async def tasks(self, executions: Collection[ExecutionId]) -> list[Task]:
        return await self._call("tasks", lambda: self.store.tasks(executions))

    async def left_tasks(self, executions: Collection[ExecutionId], now: int) -> list[Task]:
        return await self._call("left_tasks", lambda: self.store.left_tasks(executions, now))

    async def pools(self) -> list[Pool]:
        return await self._call("pools", self.store.pools)

    async def register(self, worker: str, *, now: int, level: int, labels: Mapping[str, str] | None = None) -> None:
        await self._call("register", lambda: self.store.register(worker, now=now, level=level, labels=labels))

    async def leave(self, worker: str) -> None:
        await self._call("leave", lambda: self.store.leave(worker))

    async def workers(self) -> list[Worker]:
        return await self._call("workers", self.store.workers)

    async def report(self, worker: str, load: Load, *, now: int) -> None:
        await self._call("report", lambda: self.store.report(worker, load, now=now))

    def leased(self) -> bool:
        return self.store.leased()

    def lost(self) -> bool:
        return self.store.lost()

    def offset(self) -> int:
        return self.store.offset()

    async def changed(self) -> bool:
        return await self._call("changed", self.store.changed)

    async def wait_changed(self, seconds: float) -> bool:
        if self.dead:
            raise Crash("The process died before it waited.")
        if self._sleep is None:
            return await self.store.wait_changed(seconds)
        await self._sleep(seconds)
        return True

    async def finished(
        self, before: int, *, after: ExecutionId | None = None, limit: int = 1_000
    ) -> tuple[list[Row], ExecutionId | None]:
        return await self._call("finished", lambda: self.store.finished(before, after=after, limit=limit))

    async def remove(self, executions: Sequence[ExecutionId]) -> list[ExecutionId]:
        return await self._call("remove", lambda: self.store.remove(executions))

    async def reclaim(self, limit: int) -> int:
        return await self._call("reclaim", lambda: self.store.reclaim(limit))

    async def forget_events(self, before: int, *, limit: int) -> int:
        return await self._call("forget_events", lambda: self.store.forget_events(before, limit=limit))

    async def bodies(self, *, after: str = "", limit: int = 1_000) -> tuple[list[tuple[ExecutionId | None, bytes]], str]:
        return await self._call("bodies", lambda: self.store.bodies(after=after, limit=limit))

    async def old_blobs(self, *, unsaved: int, after: str = "", limit: int = 1_000) -> tuple[list[BlobName], str]:
        return await self._call("old_blobs", lambda: self.store.old_blobs(unsaved=unsaved, after=after, limit=limit))

    async def drop_blobs(self, blobs: Sequence[BlobName], *, unsaved: int) -> list[BlobName]:
        return await self._call("drop_blobs", lambda: self.store.drop_blobs(blobs, unsaved=unsaved))

    async def lease(self, name: str, holder: str, *, now: int, until: int) -> bool:
        return await self._call("lease", lambda: self.store.lease(name, holder, now=now, until=until))

    async def space(self) -> Space:
        return await self._call("space", self.store.space)

    def usage(self) -> Usage:
        return self.store.usage()

    async def check(self) -> list[str]:
        return await self._call("check", self.store.check)

    async def close(self) -> None:
        await self._call("close", self.store.close)

    # -- what goes wrong ----------------------------------------------------------------------------------------------------
    async def _call(self, name: str, call: Callable[[], Awaitable[Answer]]) -> Answer:
        if self.dead:
            raise Crash(f"The process died before this {name}.")
        if self._only and name not in self._only:
            with self.around():
                return await call()
        self.calls.append(name)
        number = len(self.calls)
        self._die_at(number, name, "before")
        if number in self._refuse:
            raise self._refuse[number]
        with self.around():
            result = await call()
        self._die_at(number, name, "after")
        if number in self._lose:
            raise StoreBusy(f"Expected an answer to call {number}, which is {name}, but it was lost.", remedy="Ask again.")
        return result

    def _die_at(self, number: int, name: str, moment: Moment) -> None:
        if self._die == (number, moment):
            self.dead = True
            raise Crash(f"The process dies {moment} call {number}, which is {name}.")
