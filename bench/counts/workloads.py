"""The workloads whose costs are counted: small, since a count needs no repetition, and each of another shape."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from bench import definitions
from perdure.app import Engine
from perdure.cli import workloads
from perdure.cli.workloads import EFFECT, Workload
from perdure.operations.definitions import Read


class Counted(NamedTuple):
    """A workload and what a step of it is; `waits`: its executions are started and come to no end."""

    workload: Workload
    step: str
    waits: bool = False

    @property
    def steps(self) -> int:
        """Of all executions together."""
        return self.workload.steps * self.workload.executions


def _sleepers(executions: int) -> Workload:
    return Workload(definitions.sleeper(), 1, executions, 25)


def _data(executions: int) -> Workload:
    """Twelve lines of an order through the data nodes, with a decision and one effect."""
    lines = [{"sku": f"s{number}", "price": 5 + number * 7 % 11, "quantity": 1 + number % 3} for number in range(12)]
    nodes: dict[str, Any] = {
        "lines": {"type": "transform", "to": lines},
        "sound": {
            "type": "validate",
            "after": "lines",
            "value": "${ nodes.lines }",
            "schema": {"type": "array", "items": {"type": "object", "required": ["sku", "price", "quantity"]}},
        },
        "priced": {
            "type": "map",
            "after": "sound",
            "over": "${ nodes.lines }",
            "to": {"sku": "${ item.sku }", "total": "${ item.price * item.quantity }"},
        },
        "large": {"type": "filter", "after": "priced", "over": "${ nodes.priced }", "where": "${ item.total > 9 }"},
        "sorted": {"type": "sort", "after": "large", "over": "${ nodes.large }", "by": "${ item.total }", "descending": True},
        "groups": {"type": "group", "after": "sorted", "over": "${ nodes.sorted }", "by": "${ item.total // 10 }"},
        "sum": {
            "type": "reduce",
            "after": "priced",
            "over": "${ nodes.priced }",
            "start": 0,
            "next": "${ carry + item.total }",
        },
        "dear": {"type": "condition", "after": ["groups", "sum"], "if": "${ nodes.sum > 50 and len(nodes.large) > 2 }"},
        "book": {**EFFECT, "after": "dear.true", "with": {"number": "${ nodes.sum }"}},
        "leave": {"type": "transform", "after": "dear.false", "to": "left"},
    }
    document = {
        "perdure": 1,
        "name": "bench-data",
        "nodes": nodes,
        "output": {"sum": "${ nodes.sum }", "best": "${ nodes.sorted[0].sku }"},
    }
    return Workload(document, len(nodes) - 1, executions, 5)  # one of the two ways is skipped


WORKLOADS: dict[str, Callable[[], Counted]] = {
    "chain": lambda: Counted(workloads.chain(10, 50, 25), "an effect"),
    "fan-out": lambda: Counted(workloads.fan_out(20, 5, 5), "an effect"),
    "loop": lambda: Counted(workloads.loop(200), "an iteration"),
    "sleepers": lambda: Counted(_sleepers(100), "a start", waits=True),
    "data": lambda: Counted(_data(10), "a node"),
}


async def run(engine: Engine, counted: Counted, definition: Read) -> None:
    """All executions to where they are meant to come."""
    workload = counted.workload
    if not counted.waits:
        return await workloads.run(engine, workload, definition)
    gate = asyncio.Semaphore(workload.in_flight)

    async def one() -> None:
        async with gate:
            await engine.executions.start(definition, None)

    await asyncio.gather(*(one() for _ in range(workload.executions)))
