"""Who waits for the end of which execution of a home."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from perdure.ids import ExecutionId
from perdure.runtime.hot import Outcome, refuse


class Answers:
    """The futures of those who wait; one that was given up is forgotten."""

    def __init__(self) -> None:
        self._waiting: dict[ExecutionId, list[asyncio.Future[Outcome]]] = {}

    def wait_for(self, execution: ExecutionId) -> asyncio.Future[Outcome]:
        """How the execution will have ended."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(execution, []).append(future)
        future.add_done_callback(lambda done: self._forget(execution, done))
        return future

    def take(self, execution: ExecutionId) -> Sequence[asyncio.Future[Outcome]]:
        """Those who wait for it, to be answered now."""
        return self._waiting.pop(execution, ())

    def refuse_all(self, error: BaseException) -> None:
        """Nobody will be answered any more."""
        for futures in list(self._waiting.values()):
            refuse(list(futures), error)

    def _forget(self, execution: ExecutionId, future: asyncio.Future[Outcome]) -> None:
        waiting = self._waiting.get(execution)
        if waiting is not None and future in waiting:
            waiting.remove(future)
            if not waiting:
                del self._waiting[execution]
