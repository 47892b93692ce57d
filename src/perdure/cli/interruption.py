"""How a command that runs an engine is interrupted: Ctrl-C and SIGTERM stop it in good order, a second one at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from perdure.cli import exits
from perdure.errors import PerdureError

NOTICE_SECONDS = 1.0
"""Who still waits after this long is told for what."""


class Interruption:
    """The interruption of one command. `last_words` are said when it comes, and may be asked for twice."""

    def __init__(self, last_words: Callable[[], None]) -> None:
        self._last_words = last_words
        self._code = 0  # of the interruption, once it has come
        self._task: asyncio.Task[Any] | None = None

    async def run(self, work: Callable[[], Coroutine[Any, Any, int]]) -> int:
        """The exit code of the work, or of the interruption. All that matters is durable by now, so nothing holds it up."""
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt, exits.INTERRUPTED)
        loop.add_signal_handler(signal.SIGTERM, self._interrupt, exits.TERMINATED)
        try:
            code = await work()
        except asyncio.CancelledError:
            code = self._code or exits.INTERRUPTED
            self._last_words()
        except PerdureError as error:
            if not await left_over():
                raise
            code = exits.refuse(error)
        if await left_over():
            leave(code)
        return code

    def _interrupt(self, code: int) -> None:
        if self._code:
            self._last_words()
            leave(self._code)
        self._code = code
        assert self._task is not None, "it runs"
        self._task.cancel()
        asyncio.get_running_loop().call_later(NOTICE_SECONDS, self._notice)

    def _notice(self) -> None:
        exits.say("stopping: what runs has its grace to end; interrupt again to leave at once")


async def left_over() -> bool:
    """Does an attempt go on that would not be cancelled? The loop would wait for it for ever."""
    await asyncio.sleep(0)  # what was cancelled just now has ended after this
    return any(task is not asyncio.current_task() for task in asyncio.all_tasks())


def leave(code: int) -> NoReturn:
    """End the process here and now, with all that it has said."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)
