"""Turns, one after another: what something arrived for is stepped, written, carried out; the next ones are stepped meanwhile.

The commit that is under way is the window in which the next turn gathers. A store that writes in the loop leaves nothing to do
in it; beside one that is waited for (a server), what arrives for other executions is stepped while it writes. Where all
executions go in step there would be no others: then a turn takes half of them, as long as stepping takes longer than writing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from perdure.clock import Clock
from perdure.ids import ExecutionId
from perdure.runtime.gathering import Gathering
from perdure.runtime.hot import Hot
from perdure.store.contract import Committed, Store

HALVED_MIN = 32
"""Executions that a turn takes all at once: half of so few is hardly written sooner."""

LOOP_SHARE = 2
"""What an execution costs the loop in a turn, in times of what stepping it costs: the rest is to begin and to end its work."""


class Turning(Protocol):
    """The home whose turns these are."""

    def begin_turn(self) -> Gathering:
        """A turn in which nothing was stepped yet."""
        ...

    def set_aside(self, hot: Hot, error: BaseException) -> None:
        """An execution cannot be stepped; all others go on."""
        ...

    async def write(self, turn: Gathering) -> bool:
        """Commit a turn by `Turns.commit` and carry out. Was anything to be carried out?"""
        ...


class Turns:
    """The turns of one home. `hot`: its executions as it keeps them. Used from one event loop."""

    def __init__(self, home: Turning, store: Store, clock: Clock, hot: Mapping[ExecutionId, Hot]) -> None:
        self._home = home
        self._store = store
        self._clock = clock
        self._hot = hot
        self._dirty: dict[ExecutionId, Hot] = {}
        self._armed = asyncio.Event()
        self._turn: Gathering | None = None  # what is stepped, or written
        self._following: Gathering | None = None  # what is stepped while that is written
        self._stepping = (
            0.0  # seconds that many were stepped for, the last time, and that a commit was waited for with nothing to do
        )
        self._waiting = 0.0

    @property
    def under_way(self) -> bool:
        """Was anything stepped that is not written and carried out?"""
        return self._turn is not None

    @property
    def at_rest(self) -> bool:
        """Has all that arrived been stepped, written and carried out?"""
        return not self._dirty and self._turn is None

    def touch(self, hot: Hot) -> None:
        """Something arrived for it."""
        self._dirty[hot.id] = hot
        self._armed.set()

    def forget(self, execution: ExecutionId) -> None:
        """It is here no more."""
        self._dirty.pop(execution, None)

    async def take(self, may_go_on: Callable[[], bool]) -> None:
        """Turn after turn, as long as that is true: what comes after a commit that failed would leave a gap in a journal."""
        while True:
            while self._turn is None and not self._dirty:
                self._armed.clear()
                await self._armed.wait()
            if not may_go_on():
                return
            if self._turn is None:
                self._turn = self._home.begin_turn()
                self._gather(self._turn, most=self._half() if self._store.commits_apart else 0)
            begun = await self._home.write(self._turn)
            self._turn, self._following = self._following, None
            if self._turn is None and (begun or self._dirty):
                await asyncio.sleep(0)  # what was begun may answer at once: then the next turn takes it without a wait

    async def commit(self, turn: Gathering) -> Committed:
        """Commit it, and meanwhile step for the next turn what arrives for other executions. Raises what the store does."""
        if not self._store.commits_apart:
            return await self._store.commit(turn.batch)
        begin = self._clock.monotonic()
        if len(turn.stepped) >= len(self._hot):
            committed = await self._store.commit(turn.batch)
            self._waiting = self._clock.monotonic() - begin
            return committed
        written = asyncio.ensure_future(self._store.commit(turn.batch))
        written.add_done_callback(lambda _: self._armed.set())
        await asyncio.sleep(0)  # now it is on its way
        following = self._home.begin_turn()
        while not written.done():
            self._gather(following, beside=turn)
            self._armed.clear()
            begin = self._clock.monotonic()
            await self._armed.wait()
            self._waiting = self._clock.monotonic() - begin
        if not following.is_empty():
            self._following = following
        return written.result()

    def _half(self) -> int:
        """How many of those that something arrived for a turn takes, so that others are stepped while it is written; 0: all."""
        ready = len(self._dirty)
        return ready // 2 if ready > HALVED_MIN and self._waiting < LOOP_SHARE * self._stepping else 0

    def _gather(self, turn: Gathering, *, most: int = 0, beside: Gathering | None = None) -> None:
        """Step what has arrived, each execution once, and `most` of them (0: all); those in the turn `beside` wait for it."""
        measured = self._store.commits_apart
        begin, before = self._clock.monotonic() if measured else 0.0, len(turn.stepped)
        dirty, self._dirty = self._dirty, {}
        for id_, hot in dirty.items():
            if self._hot.get(id_) is not hot:
                continue
            if id_ in turn or (beside is not None and id_ in beside) or turn.is_full() or (most and len(turn.stepped) >= most):
                self._dirty[id_] = hot
                continue
            try:
                turn.step(hot)
            except Exception as error:  # noqa: BLE001 - a fault of ours in one execution must not stop the others
                self._home.set_aside(hot, error)
        if measured and len(turn.stepped) - before > HALVED_MIN // 2:
            self._stepping = self._clock.monotonic() - begin
