"""The workloads that `perdure bench` runs: workflows of effects that do nothing, so that what is measured is the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from perdure.app import Engine
from perdure.definition import check_document
from perdure.nodes import node
from perdure.nodes.decorator import work_of
from perdure.operations.definitions import Read
from perdure.runtime.plans import catalog_of, works_for

OUTPUT = "x" * 100
EFFECT: dict[str, Any] = {"type": "bench.effect", "timeout": "30s"}


@node("bench.effect", title="No-op")
async def effect(number: int) -> str:
    """Does nothing and returns a hundred characters."""
    return OUTPUT


class Workload(NamedTuple):
    """`executions` of a workflow with `steps` effects each, so many of them at a time."""

    document: dict[str, Any]
    steps: int
    executions: int
    in_flight: int


def chain(length: int = 10, executions: int = 500, in_flight: int = 100) -> Workload:
    """Effects one after another."""
    nodes: dict[str, Any] = {}
    for number in range(length):
        nodes[f"n{number}"] = {**EFFECT, "with": {"number": number}, **({"after": f"n{number - 1}"} if number else {})}
    return Workload(_workflow("chain", nodes), length, executions, in_flight)


def fan_out(width: int = 100, executions: int = 20, in_flight: int = 20) -> Workload:
    """Effects at the same time, and a node where they meet."""
    branches = {f"n{number}": {**EFFECT, "after": "start", "with": {"number": number}} for number in range(width)}
    nodes = {
        "start": {"type": "transform", "to": 0},
        **branches,
        "meet": {"type": "transform", "after": list(branches), "to": 1},
    }
    return Workload(_workflow("fan-out", nodes), width, executions, in_flight)


def loop(iterations: int = 1_000) -> Workload:
    """One effect again and again, in one execution."""
    body = {"nodes": {"n": {**EFFECT, "with": {"number": "${ item }"}}}}
    each = {"type": "loop", "over": f"${{ range({iterations}) }}", "body": body, "collect": "count"}
    return Workload(_workflow("loop", {"each": each}), iterations, 1, 1)


WORKLOADS: dict[str, Callable[[], Workload]] = {"chain": chain, "fan-out": fan_out, "loop": loop}


def _workflow(name: str, nodes: dict[str, Any]) -> dict[str, Any]:
    return {"perdure": 1, "name": f"bench-{name}", "nodes": nodes, "output": "done"}


def read(workload: Workload) -> Read:
    """The workload's workflow, checked."""
    works = {**works_for(""), "bench.effect": work_of(effect)}
    return Read(check_document(workload.document, catalog_of(works)), works, "")


async def run(engine: Engine, workload: Workload, definition: Read) -> None:
    """All executions to their end."""
    gate = asyncio.Semaphore(workload.in_flight)

    async def one() -> None:
        async with gate:
            begun = await engine.executions.start(definition, None)
            outcome = await engine.home.outcome(begun.execution)
            assert outcome.status == "succeeded", outcome

    await asyncio.gather(*(one() for _ in range(workload.executions)))
