"""A store that is locked is asked again, each time after its whole busy timeout, before anybody is told."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from perdure.errors import StoreBusy

log = logging.getLogger("perdure.store")

BUSY_MAX = 3
"""Times in a row that the store may be found locked; then whoever waits is told."""

Answer = TypeVar("Answer")


async def patiently(call: Callable[[], Awaitable[Answer]]) -> Answer:
    """The store's answer, asked for again while it is locked: each time after the whole busy timeout."""
    for _ in range(BUSY_MAX):
        try:
            return await call()
        except StoreBusy as busy:
            log.warning("the store is busy: %s", busy.message)
    return await call()
