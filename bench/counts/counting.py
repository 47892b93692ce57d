"""What a workload costs, in counts: it runs in a world whose time jumps, so that every run counts the same.

It runs twice, and only the second run counts: then what is compiled once a process is compiled, whatever ran before.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import apsw

import perdure
from bench.counts.workloads import Counted, run
from bench.flushes import Count, counted
from perdure.cli.workloads import effect
from perdure.definition.plan import Plan
from perdure.engine.events import AnyInput
from perdure.engine.execution import Execution
from perdure.engine.index import Index
from perdure.engine.machine import Stepped, step
from perdure.nodes.decorator import work_of
from perdure.runtime import gathering
from perdure.runtime.resident import Resident
from perdure.store.contract import Usage
from perdure.store.sqlite import SqliteStore
from perdure.testing.stores.sqlite import FilePlace
from perdure.testing.world import Process, World

PRODUCT = str(Path(perdure.__file__).parent) + "/"
TESTING = f"{PRODUCT}testing/"
INLINED = {"<listcomp>", "<dictcomp>", "<setcomp>"}  # functions of their own only before Python 3.12
ALL_ROWS = 10_000


class Kind(NamedTuple):
    """What a count counts; by which part it may grow unseen; and what it depends on besides Perdure.

    How asyncio orders what is ready decides what shares a commit, so all that is counted by commits depends on Python.
    """

    meaning: str
    tolerance: float = 0.0
    depends_on: str = ""


NEARLY = 0.02  # a function more or less is nobody's business; what is counted in hundreds a step would never rest
COUNTS: dict[str, Kind] = {
    "turns": Kind("commits of the home, each with all that has arrived by then", depends_on="python"),
    "steps": Kind("steps of the engine: one execution with what has arrived for it", depends_on="python"),
    "inputs": Kind("inputs that steps took"),
    "facts": Kind("facts that steps stated"),
    "commands": Kind("commands that steps gave"),
    "transactions": Kind("transactions of the store", depends_on="python"),
    "statements": Kind("SQL statements, each counted once for all its rows", depends_on="python"),
    "sql steps": Kind("instructions of SQLite's virtual machine", NEARLY, "sqlite"),
    "rows": Kind("rows written", depends_on="python"),
    "bytes": Kind("bytes of bodies written", depends_on="python"),
    "journal bytes": Kind("bytes of the journal", depends_on="python"),
    "log pages": Kind("pages written to the write-ahead log", NEARLY, "sqlite"),
    "flushes": Kind("flushes of the disk", depends_on="python"),
    "tasks": Kind("tasks of asyncio", depends_on="python"),
    "callbacks": Kind("callbacks of the event loop", NEARLY, "python"),
    "calls": Kind("calls of Perdure's functions", NEARLY, "python"),
    "engine calls": Kind("those of them within steps", NEARLY, "python"),
    "engine lines": Kind("lines of Perdure's code run within steps", NEARLY, "python"),
    "blocks": Kind("blocks of memory that facts, commands and states of all executions hold", NEARLY, "python"),
}


def counts_of(counted_workload: Counted) -> dict[str, int]:
    """Each of `COUNTS` for a workload as a whole."""
    with counted(performed=False) as disk:
        _live(counted_workload, disk, None)
        tally = Tally()
        _live(counted_workload, disk, tally)
    tally.counts["blocks"] = _blocks(tally.stepped)
    return {name: tally.counts[name] for name in COUNTS}


class Taken(NamedTuple):
    """What a step took, so that it can be taken again."""

    plan: Plan
    resident: Resident
    execution: int
    inputs: Sequence[AnyInput]
    at: int


class Tally:
    """What was counted so far."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(COUNTS, 0)
        self.stepped: list[Taken] = []
        self.executions: dict[int, Execution] = {}  # kept, so that no other has the same identity
        self.in_step = False


def _live(workload: Counted, disk: Count, tally: Tally | None) -> None:
    with tempfile.TemporaryDirectory(prefix="perdure-counts-") as folder:
        world = World(place=FilePlace(Path(folder)), works={"bench.effect": work_of(effect)})
        definition = world.read(workload.workload.document)

        async def main(process: Process) -> None:
            with nullcontext() if tally is None else _counting(tally, process, disk):
                await run(process.engine, workload, definition)
            if tally is not None:
                tally.counts["journal bytes"] = await _journal_bytes(process)

        world.live(main, adopts=workload.waits)


@contextmanager
def _counting(tally: Tally, process: Process, disk: Count) -> Iterator[None]:
    store = process.store.store
    assert isinstance(store, SqliteStore), f"Expected the embedded store, but got {store!r}."
    usage, flushes, pages, turns = store.usage(), disk.flushes, disk.log_pages, process.store.counts["commit"]
    with _no_collection(), _statements(tally, store.connection), _loop(tally), _steps(tally), _calls(tally):
        yield
    counts = tally.counts
    counts["turns"] = process.store.counts["commit"] - turns
    counts["flushes"], counts["log pages"] = disk.flushes - flushes, disk.log_pages - pages
    for name in Usage.__struct_fields__:
        counts[name] = getattr(store.usage(), name) - getattr(usage, name)


@contextmanager
def _no_collection() -> Iterator[None]:
    """The collector comes when it will, and what it ends is closed by calls."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def _statements(tally: Tally, connection: apsw.Connection) -> Iterator[None]:
    def ran(event: dict[str, Any]) -> None:
        tally.counts["sql steps"] += event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]

    connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, ran, id=tally)
    try:
        yield
    finally:
        connection.trace_v2(0, None, id=tally)


@contextmanager
def _loop(tally: Tally) -> Iterator[None]:
    """Tasks and callbacks of the running loop."""
    loop, counts = asyncio.get_running_loop(), tally.counts
    factory, call_soon = loop.get_task_factory(), loop.call_soon
    assert factory is not None, "a world makes its tasks by a factory"

    def make(*given: Any, **named: Any) -> Any:
        counts["tasks"] += 1
        return factory(*given, **named)

    def soon(*given: Any, **named: Any) -> Any:
        counts["callbacks"] += 1
        return call_soon(*given, **named)

    loop.set_task_factory(make)
    loop.call_soon = soon  # type: ignore[method-assign, assignment]  # tasks and futures ask the loop for it each time
    try:
        yield
    finally:
        loop.set_task_factory(factory)
        del loop.call_soon


@contextmanager
def _steps(tally: Tally) -> Iterator[None]:
    place: Any = gathering  # where a home takes its steps
    original, counts = place.step, tally.counts

    def counted_step(execution: Execution, index: Index, inputs: Sequence[AnyInput], at: int, **named: Any) -> Stepped:
        tally.in_step = True
        try:
            with _lines(tally):
                done: Stepped = original(execution, index, inputs, at, **named)
        finally:
            tally.in_step = False
        counts["steps"] += 1
        counts["inputs"] += len(done.taken)
        counts["facts"] += len(done.facts)
        counts["commands"] += len(done.commands)
        resident = index.resident
        assert isinstance(resident, Resident), "a home keeps large values in one place"
        tally.executions[id(execution)] = execution
        tally.stepped.append(Taken(index.plan, resident, id(execution), done.taken, at))
        return done

    place.step = counted_step
    try:
        yield
    finally:
        place.step = original


# -- what Python does ---------------------------------------------------------------------------------------------------


class _Ours(dict[CodeType, bool]):
    """Whether a piece of code is Perdure's, without what tests it."""

    def __missing__(self, code: CodeType) -> bool:
        place = code.co_filename
        ours = self[code] = place.startswith(PRODUCT) and not place.startswith(TESTING) and code.co_name not in INLINED
        return ours


_ours = _Ours()


@contextmanager
def _calls(tally: Tally) -> Iterator[None]:
    counts, before = tally.counts, sys.getprofile()

    def saw(frame: FrameType, event: str, given: Any) -> None:
        if event == "call" and _ours[frame.f_code]:
            counts["calls"] += 1
            counts["engine calls"] += tally.in_step

    sys.setprofile(saw)
    try:
        yield
    finally:
        sys.setprofile(before)


@contextmanager
def _lines(tally: Tally) -> Iterator[None]:
    counts, before = tally.counts, sys.gettrace()

    def line(frame: FrameType, event: str, given: Any) -> Any:
        counts["engine lines"] += event == "line"
        return line

    def call(frame: FrameType, event: str, given: Any) -> Any:
        return line if _ours[frame.f_code] else None

    sys.settrace(call)
    try:
        yield
    finally:
        sys.settrace(before)


def _blocks(stepped: Sequence[Taken]) -> int:
    """What is held when all steps have been taken again, by the engine alone; the first time fills what is kept for reuse."""
    _retake(stepped)
    with _no_collection():
        return _retake(stepped)


def _retake(stepped: Sequence[Taken]) -> int:
    states = {taken.execution: (Execution(), Index(taken.plan, taken.resident)) for taken in stepped}
    kept: list[Stepped | None] = [None] * len(stepped)
    before = sys.getallocatedblocks()
    for number, taken in enumerate(stepped):
        execution, index = states[taken.execution]
        kept[number] = step(execution, index, taken.inputs, taken.at)
    return sys.getallocatedblocks() - before


async def _journal_bytes(process: Process) -> int:
    total = 0
    for row in await process.store.rows(limit=ALL_ROWS):
        total += sum(len(turn.body) for turn in await process.store.journal(row.execution, limit=ALL_ROWS))
    return total
