"""Workers and what they are the home of: registering, leaving, and claiming what has no living home."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from perdure.errors import StoreBusy, StoreError
from perdure.ids import ExecutionId
from perdure.labels import labels_from, labels_text
from perdure.store.contract import Row, Worker, read_load
from perdure.store.postgres.connection import Database, Session
from perdure.store.postgres.presence import Presence
from perdure.store.postgres.records import read_row


class Claims:
    """What the workers of one store have claimed, and what they may have claimed: where the answer to a claim was lost."""

    def __init__(self, database: Database, presence: Presence) -> None:
        self._database = database
        self._presence = presence
        self._doubtful: dict[str, list[Row]] = {}  # by worker, as a claim was about to take them

    async def register(self, worker: str, *, now: int, level: int, labels: Mapping[str, str]) -> None:
        """Become known as a home, and let go what an earlier process of that name held."""
        presence = self._presence
        presence.check_name(worker)
        new = worker not in presence.held
        given = (worker, presence.process, socket.gethostname(), os.getpid(), now, level, presence.lease, labels_text(labels))
        async with self._database.transaction() as session:
            sent = presence.now()  # what the way to the server takes is no time of the lease
            registered = await session.row("register", *given)
            if registered is None:
                raise StoreError(
                    f"Expected the worker id {worker!r} to be free, but a living process has it.", remedy="Choose another."
                )
            if new:
                await _free(session, [worker])
        presence.hold(worker, registered["beat"], sent=sent)

    async def leave(self, worker: str) -> bool:
        """No longer a home: what it held is due at once, for anybody. Whether it was one here; else it is left alone."""
        if worker not in self._presence.held:
            return False
        async with self._database.transaction() as session:
            await _free(session, [worker])
            await session.run("drop_worker", worker, self._presence.process)
        self._presence.let_go(worker)
        self._doubtful.pop(worker, None)
        return True

    async def workers(self) -> list[Worker]:
        """All known workers, the dead ones too, until a claim has taken over what they held."""
        return [
            Worker(
                worker=worker, host=host, pid=pid, started=started, level=level, alive=alive, heard=beat, load=read_load(load),
                labels=labels_from(labels),
            )
            for worker, host, pid, started, level, alive, beat, load, labels in await self._database.all("workers")
        ]  # fmt: skip

    async def claim(self, worker: str, now: int, *, limit: int, level: int, only: Sequence[ExecutionId] | None) -> list[Row]:
        """Make `worker` the home of what may be claimed, in one transaction."""
        if worker not in self._presence.held:
            raise StoreError(
                f"Expected {worker!r} to be registered with this store before it claims, but it is not.",
                remedy="Register the worker first; after `leave` it must register anew.",
            )
        found = await self._found_again(worker)
        found += await self._taken(worker, now, limit - len(found), level, only)
        return found

    async def _found_again(self, worker: str) -> list[Row]:
        """What a claim took whose answer was lost. Nobody else would look for it while the worker lives."""
        doubtful = self._doubtful.get(worker)
        if not doubtful:
            return []
        ids, epochs = [row.execution for row in doubtful], [row.epoch for row in doubtful]
        taken = {row["execution"] for row in await self._database.all("still_taken", worker, ids, epochs)}
        del self._doubtful[worker]
        return [row for row in doubtful if row.execution in taken]

    async def _taken(self, worker: str, now: int, limit: int, level: int, only: Sequence[ExecutionId] | None) -> list[Row]:
        if limit < 1 or (only is not None and not only):
            return []
        judged_until = self._presence.judged_until()
        wanted: list[Any] = []
        if only is not None:
            wanted = sorted(await self._database.all("wanted", sorted(set(only)), level), key=_in_line)
            homes, gone = sorted({row["home"] for row in wanted} - {""}), []
            if not wanted:
                return []
        else:
            # Most polls find nothing: they must write nothing.
            look = await self._database.one("claimable", now, judged_until)
            homes, gone = look["homes"], look["workers"]
            if not look["waiting"] and not homes and not gone:
                return []
        taken: list[Row] = []
        try:
            async with self._database.transaction() as session:
                dead = await dead_among(session, sorted({*homes, *gone}), judged_until)
                if only is not None:
                    chosen = [row["execution"] for row in wanted if row["home"] == "" or row["home"] in dead][:limit]
                    taken += await _take(session, "take_these", worker, chosen, level, dead)
                else:
                    chosen = [row["execution"] for row in await session.rows("candidates", now, level, dead, limit)]
                    taken += await _take(session, "take", worker, chosen, level, dead)
                    await _forget(session, dead)
        except StoreBusy:
            if taken:
                self._doubtful[worker] = taken
            raise
        return taken


def _in_line(row: Any) -> tuple[int, int, bytes]:
    return row["priority"], row["updated"], row["execution"]


async def dead_among(session: Session, workers: list[str], judged_until: int) -> list[str]:
    """Which of these are dead, now and for good: a lease that has run out and one that was never there."""
    if not workers:
        return []
    await session.run("condemn", workers, judged_until)
    living = {row["worker"] for row in await session.rows("living", workers)}
    return [worker for worker in workers if worker not in living]


async def _take(session: Session, how: str, worker: str, chosen: list[ExecutionId], level: int, dead: list[str]) -> list[Row]:
    """Take those of these that can be taken, in their order."""
    if not chosen:
        return []
    rows = [read_row(row) for row in await session.rows(how, worker, chosen, level, dead)]
    if rows:
        await session.run("forget_wakes", sorted(row.execution for row in rows))
    order = {execution: number for number, execution in enumerate(chosen)}
    return sorted(rows, key=lambda row: order[row.execution])


async def _forget(session: Session, dead: list[str]) -> None:
    """Clean up after the dead whose executions have all been taken over."""
    gone = [row["worker"] for row in await session.rows("forget_dead", dead)] if dead else []
    if gone:
        await session.run("free", gone)  # final ones, which nobody needs to take over


async def _free(session: Session, workers: list[str]) -> None:
    await session.run("free_wakes", workers)
    await session.run("free", workers)
