"""The workflows as Restate's Python SDK has them: handlers of one service, served by hypercorn beside the server."""

from __future__ import annotations

from datetime import timedelta

import restate
from bench.peers.engines import TEXT_BYTES

TEXT = "x" * TEXT_BYTES
service = restate.Service("bench")


async def step(number: int) -> str:
    return TEXT


@service.handler()
async def chain(context: restate.Context, size: int) -> str:
    for number in range(size):
        await context.run_typed("step", step, number=number)
    return "done"


@service.handler()
async def fan(context: restate.Context, size: int) -> str:
    await restate.gather(*(context.run_typed("step", step, number=number) for number in range(size)))
    return "met"


@service.handler()
async def sleeper(context: restate.Context) -> None:
    await context.sleep(timedelta(days=30))


app = restate.app([service])
