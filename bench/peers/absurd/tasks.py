"""The workflows as absurd's Python SDK has them: tasks of one queue, and the process that works on them.

`python -m bench.peers.absurd.tasks URL NAME` is a worker.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from absurd_sdk import AsyncAbsurd, AsyncTaskContext
from bench.peers.engines import TEXT_BYTES

QUEUE = "bench"
TEXT = "x" * TEXT_BYTES
MONTH_SECONDS = 30 * 86_400
CONCURRENCY = 50
POLL_SECONDS = 0.01  # 0.25 by default, which whoever waits for one step would see


async def step() -> str:
    return TEXT


async def chain(size: int, context: AsyncTaskContext) -> str:
    for number in range(size):
        await context.step(f"n{number}", step)
    return "done"


async def fan(size: int, context: AsyncTaskContext) -> str:
    await asyncio.gather(*(context.step(f"n{number}", step) for number in range(size)))
    return "met"


async def sleeper(nothing: Any, context: AsyncTaskContext) -> None:
    await context.sleep_for("month", MONTH_SECONDS)


def opened(url: str) -> AsyncAbsurd:
    """A client that knows the tasks."""
    made = AsyncAbsurd(url, queue_name=QUEUE)
    for task in (chain, fan, sleeper):
        made.register_task(task.__name__)(task)
    return made


if __name__ == "__main__":
    asyncio.run(opened(sys.argv[1]).start_worker(worker_id=sys.argv[2], concurrency=CONCURRENCY, poll_interval=POLL_SECONDS))
