"""Deaths in the middle: a process is killed before every single statement, and afterwards all or nothing is there."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from perdure.ids import ExecutionId
from perdure.store.contract import Batch
from perdure.store.sqlite import SqliteStore, open_store
from perdure.testing.faults import Crash
from perdure.testing.stores.samples import (
    LEVEL,
    NOW,
    OTHER,
    SUCCEEDED,
    WAITING,
    WORKER,
    a_blob,
    a_lock,
    a_message,
    a_snapshot,
    a_start,
    a_subscription,
    a_turn,
    an_event,
    an_id,
    asleep,
    began,
)

Deed = Callable[[SqliteStore, list[ExecutionId]], Awaitable[object]]


async def full_commit(store: SqliteStore, executions: list[ExecutionId]) -> None:
    """A commit with something of every kind."""
    one, two, three = executions
    new, child = an_id(), an_id()
    (arrived,) = await store.inbox(one)
    await store.commit(
        Batch(
            starts=[a_start(new, key="k"), a_start(child, home="", parent=one)],
            turns=[
                a_turn(one, first_seq=3, consumed=(arrived.position,)),
                a_turn(two, first_seq=3, status=WAITING, release=True, wake=NOW + 9),
                a_turn(new),
            ],
            blobs=[a_blob(b"small"), a_blob(b"large" * 100_000)],
            messages=[a_message(child, sender=one), a_message(three, "m2", sender=one)],
            events=[an_event(one)],
            snapshots=[a_snapshot(one)],
            subscriptions=[a_subscription(two), a_subscription(new)],
            unsubscriptions=[a_subscription(one, "other")],
            unlocks=[a_lock(one)],
        )
    )


async def end(store: SqliteStore, executions: list[ExecutionId]) -> None:
    """A commit that ends an execution which waits for events and holds a lock."""
    await store.commit(Batch(turns=[a_turn(executions[0], first_seq=3, status=SUCCEEDED, release=True)]))


async def publish(store: SqliteStore, _executions: list[ExecutionId]) -> None:
    """Two events from outside, which two executions wait for, one of them asleep."""
    await store.publish([an_event(None, "one", type="other"), an_event(None, "two", type="other")])


async def acquire(store: SqliteStore, executions: list[ExecutionId]) -> None:
    """Two locks, one of which is taken."""
    await store.acquire([a_lock(executions[1]), a_lock(executions[1], "one"), a_lock(executions[2], "two")])


async def send(store: SqliteStore, executions: list[ExecutionId]) -> None:
    """A call of `send` with several messages, one for a sleeper."""
    sleeper = next(row.execution for row in await store.rows() if row.home == "")
    await store.send([a_message(each, "sent") for each in [*executions, sleeper]])


async def claim(store: SqliteStore, _executions: list[ExecutionId]) -> None:
    """A claim of a sleeper."""
    await store.claim(WORKER, NOW + 99, limit=9, level=LEVEL)


async def register(store: SqliteStore, _executions: list[ExecutionId]) -> None:
    """A second worker becomes known."""
    await store.register(OTHER, now=NOW, level=LEVEL)


async def leave(store: SqliteStore, _executions: list[ExecutionId]) -> None:
    """The worker leaves what it holds."""
    await store.leave(WORKER)


TABLES = (
    "executions", "wakes", "keys", "journal", "snapshots", "inbox", "accepted", "blobs", "events", "workers", "subscriptions",
    "locks",
)  # fmt: skip


def content(path: Path) -> dict[str, list[object]]:
    """All rows of a store, after whatever recovery opening it means."""

    async def read() -> dict[str, list[object]]:
        store = await open_store(path)
        assert await store.check() == []
        rows = {table: list(store.connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2")) for table in TABLES}
        await store.close()
        return rows

    return asyncio.run(read())


def in_a_child(path: Path, deed: Deed, deadly: int) -> tuple[bool, int]:
    """Do `deed` in a forked process that is killed before its statement number `deadly`: whether it died, how many it began."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        asyncio.run(_live(path, deed, deadly, writer))
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as pipe:
        statements = len(pipe.read())
    return os.WIFSIGNALED(status), statements


async def prepare(store: SqliteStore, executions: list[ExecutionId]) -> None:
    """What the deeds find: a sleeper, a message, a lock, and two that wait for events."""
    sleeper = await asleep(store, NOW + 50)
    await store.send([a_message(executions[0])])
    await store.acquire([a_lock(executions[0])])
    await store.commit(Batch(subscriptions=[a_subscription(executions[0], "other"), a_subscription(sleeper, "other")]))


async def _live(path: Path, deed: Deed, deadly: int, writer: int) -> None:
    store = await open_store(path)
    executions = await began(store, 3)
    await prepare(store, executions)
    count = 0

    def before_each(_cursor: object, _sql: str, _bindings: object) -> bool:
        nonlocal count
        count += 1
        os.write(writer, b".")
        if count == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return True

    store.connection.exec_trace = before_each
    await deed(store, executions)


@pytest.mark.parametrize("deed", [full_commit, end, send, publish, acquire, claim, register, leave])
def test_a_kill_before_any_statement_leaves_all_or_nothing(tmp_path: Path, deed: Deed) -> None:
    """Killed before any of its statements, a call leaves exactly what was there before; only after the last all of it is."""

    async def nothing(_store: SqliteStore, _executions: list[ExecutionId]) -> None:
        """The same beginning, and no deed."""

    def outcome(name: str, what: Deed, deadly: int) -> tuple[bool, int, dict[str, int]]:
        path = tmp_path / f"{name}.db"
        died, statements = in_a_child(path, what, deadly)
        counts = {table: len(rows) for table, rows in content(path).items()}
        homes = [row[8] for row in content(path)["executions"]]  # type: ignore[index]  # rows are tuples
        seqs = [row[10] for row in content(path)["executions"]]  # type: ignore[index]  # rows are tuples
        return died, statements, {**counts, "at home": sum(home != "" for home in homes), "facts": sum(seqs)}

    _, _, before = outcome("before", nothing, 0)
    _, statements, after = outcome("after", deed, 0)
    assert before != after
    assert statements >= 3
    for deadly in range(1, statements + 1):
        died, ran, found = outcome(f"dead-{deadly}", deed, deadly)
        assert (died, ran) == (True, deadly)
        assert found == before, f"killed before statement {deadly}"


def test_a_crash_inside_a_commit_rolls_back_and_the_store_goes_on(tmp_path: Path) -> None:
    """A death that a test raises inside a transaction leaves nothing of it, also for the store that lives on."""

    async def crash() -> None:
        store = await open_store(tmp_path / "a.db")
        executions = await began(store, 3)
        await prepare(store, executions)
        for deadly in range(2, 24):
            count = 0

            def before_each(_cursor: object, _sql: str, _bindings: object, deadly: int = deadly) -> bool:
                nonlocal count
                count += 1
                if count == deadly:
                    raise Crash("The process dies here.")
                return True

            store.connection.exec_trace = before_each
            with pytest.raises(Crash):
                await full_commit(store, executions)
            store.connection.exec_trace = None
            assert not store.connection.in_transaction
            assert [len(await store.journal(each)) for each in executions] == [1, 1, 1]
            assert await store.events() == []
            assert await store.holder("default", "till") == (executions[0], "pay")
        await full_commit(store, executions)
        assert [len(await store.journal(each)) for each in executions] == [2, 2, 1]

    asyncio.run(crash())
