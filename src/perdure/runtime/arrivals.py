"""Which messages a home has handed to its executions, while it reads inboxes and writes to them at the same time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable

import msgspec

from perdure.engine.events import AnyInput
from perdure.ids import ExecutionId
from perdure.runtime.hot import Hot
from perdure.store.contract import Arrived, Store
from perdure.store.tasks import SOURCE

MESSAGES_PAGE = 1_000


class Arrivals:
    """The messages for the executions of one worker. Each is handed over once, until a step has taken it in."""

    def __init__(self, store: Store, worker: str) -> None:
        self._store = store
        self._worker = worker
        self._handed: set[int] = set()
        self._reading: list[set[int]] = []  # for each page that is being read, what was taken in meanwhile
        self._missed: set[ExecutionId] = set()

    async def new(self, find: Callable[[ExecutionId], Hot | None]) -> AsyncIterator[tuple[Hot, Arrived]]:
        """Messages that were not handed over, with the executions that `find` has in memory; in order."""
        after = 0
        while True:
            meanwhile: set[int] = set()
            self._reading.append(meanwhile)
            try:
                page = await self._store.arrived(self._worker, limit=MESSAGES_PAGE, after=after)
            finally:
                self._reading = [each for each in self._reading if each is not meanwhile]
            for arrived in page:
                hot = find(arrived.message.execution)
                if hot is None:
                    self._missed.add(arrived.message.execution)
                elif arrived.position not in self._handed and arrived.position not in meanwhile:
                    yield hot, arrived
            if len(page) < MESSAGES_PAGE:
                return
            after = page[-1].position

    def hand(self, hot: Hot, arrived: Arrived) -> None:
        """Make a message an input of the execution it is for."""
        self._handed.add(arrived.position)
        if arrived.message.source == SOURCE and hot.postings is not None:
            hot.postings.reported(arrived.message.key)
        hot.inputs.append((msgspec.msgpack.decode(arrived.message.body, type=AnyInput), arrived.position))

    def taken_in(self, positions: Iterable[int]) -> None:
        """A step has taken these in, and that is durable: who reads from now on does not find them."""
        gone = set(positions)
        self._handed -= gone
        for meanwhile in self._reading:
            meanwhile |= gone

    def was_missed(self, execution: ExecutionId) -> bool:
        """Whether a message came for an execution while it was being loaded; asked once, when it is in memory."""
        missed = execution in self._missed
        self._missed.discard(execution)
        return missed
