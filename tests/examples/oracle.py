"""The oracle for scientific workflows: told the recorded graph and a ledger of what ran when, it says what was wrong.

It shares no code with the product. The graph is read here from the recorded file, the ledger from the lines that the tasks
themselves wrote: `{"event": "start" | "end" | "fail", "task", "key", "at", "pid"}`, `at` in nanoseconds of one monotonic clock.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

NANOSECONDS = 1_000_000_000
ROUNDING_SECONDS = 2e-6  # durations in a definition are whole microseconds


@dataclass(frozen=True, slots=True)
class Task:
    """One recorded task: the seconds it took and the names of its parents."""

    seconds: float
    parents: frozenset[str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger."""

    event: Literal["start", "end", "fail"]
    task: str
    key: str
    at: int
    pid: int


@dataclass(frozen=True, slots=True)
class Makespan:
    """How long the run took and how long it had to take at least, in seconds."""

    seconds: float
    bound: float

    def __str__(self) -> str:
        return f"{self.seconds:.3f} s, {self.seconds / self.bound:.3f} times the least possible {self.bound:.3f} s"


def read_tasks(document: Mapping[str, Any]) -> dict[str, Task]:
    """The graph of a WfFormat document, or of its compact form, by task name."""
    if "workflow" in document:
        seconds = {run["id"]: run["runtimeInSeconds"] for run in document["workflow"]["execution"]["tasks"]}
        specified = document["workflow"]["specification"]["tasks"]
        return {task["id"]: Task(seconds[task["id"]], frozenset(task["parents"])) for task in specified}
    rows = document["tasks"]
    return {name: Task(runtime, frozenset(rows[parent][0] for parent in parents)) for name, runtime, parents in rows}


def read_ledger(path: Path) -> list[Entry]:
    """The entries in the order in which they were written. A torn line is an error: each is written by one write."""
    return [Entry(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def critical_path(tasks: Mapping[str, Task]) -> float:
    """Seconds of the longest chain of tasks: what unlimited workers cannot go below."""
    finish: dict[str, float] = {}
    for name in TopologicalSorter({name: task.parents for name, task in tasks.items()}).static_order():
        finish[name] = tasks[name].seconds + max((finish[parent] for parent in tasks[name].parents), default=0.0)
    return max(finish.values())


def descendants(tasks: Mapping[str, Task], name: str) -> set[str]:
    """Every task that depends on this one, however far."""
    reached = {name}
    for task in TopologicalSorter({name: task.parents for name, task in tasks.items()}).static_order():
        if tasks[task].parents & reached:
            reached.add(task)
    return reached - {name}


def makespan(tasks: Mapping[str, Task], ledger: Sequence[Entry], *, scale: float, slots: int | None = None) -> Makespan:
    """From the first start to the last end, beside the bound: the critical path, or with few slots the sum over them."""
    bound = critical_path(tasks)
    if slots is not None:
        bound = max(bound, sum(task.seconds for task in tasks.values()) / slots)
    first, last = min(entry.at for entry in ledger), max(entry.at for entry in ledger)
    return Makespan((last - first) / NANOSECONDS, bound * scale)


def check_ledger(
    tasks: Mapping[str, Task],
    ledger: Sequence[Entry],
    *,
    scale: float,
    slots: int | None = None,
    failed: str | None = None,
    killed: Collection[int] = (),
) -> list[str]:
    """One sentence for each thing that was wrong; none when the run was right.

    `slots`: at most so many tasks at a time. `failed`: the task that was told to fail for good; then exactly its descendants
    must not run. `killed`: process ids that were killed; what was in flight there may run once more, with the same key.
    """
    if not ledger:
        return ["The ledger is empty."]
    findings = [f"{entry.task} is no task of the graph." for entry in ledger if entry.task not in tasks]
    known = [entry for entry in ledger if entry.task in tasks]
    expected = set(tasks) - (descendants(tasks, failed) | {failed} if failed else set())
    findings += _check_completion(tasks, known, expected, failed)
    findings += _check_once(tasks, known, killed)
    findings += _check_keys(known)
    findings += _check_order(tasks, known)
    findings += _check_durations(tasks, known, scale)
    if slots is not None:
        findings += _check_slots(known, slots, killed)
    if failed is None and not killed and not findings:
        span = makespan(tasks, known, scale=scale, slots=slots)
        if span.seconds < span.bound - ROUNDING_SECONDS * len(tasks):
            findings.append(f"The run took {span}: quicker than can be.")
    return findings


def _check_completion(
    tasks: Mapping[str, Task], ledger: Sequence[Entry], expected: set[str], failed: str | None
) -> Iterable[str]:
    started, ended = _names(ledger, "start"), _names(ledger, "end")
    yield from (f"{task} never completed." for task in tasks if task in expected - ended)
    yield from (f"{task} started, though it depends on {failed}." for task in tasks if task in started - expected - {failed})
    failures = [entry.task for entry in ledger if entry.event == "fail"]
    yield from (f"{task} failed, though it was not told to." for task in failures if task != failed)
    if failed is not None and failures.count(failed) != 1:
        yield f"{failed} failed {failures.count(failed)} times, not once."
    if failed in ended:
        yield f"{failed} completed, though it was told to fail."


def _check_once(tasks: Mapping[str, Task], ledger: Sequence[Entry], killed: Collection[int]) -> Iterable[str]:
    """Each start has its end (but in a killed process), and none starts again once it was surely recorded as done."""
    recorded = _surely_recorded(tasks, ledger, killed)
    for task, entries in _by_task(ledger).items():
        for pid in dict.fromkeys(entry.pid for entry in entries):
            events = [entry.event for entry in entries if entry.pid == pid]
            if events not in (["start", "end"], ["start", "fail"]) and not (pid in killed and events == ["start"]):
                yield f"{task} did not run once in process {pid}: {', '.join(events)}."
        pids = [entry.pid for entry in entries if entry.event == "start"]
        for earlier, later in pairwise(pids):
            if earlier not in killed:
                yield f"{task} ran again in process {later}, though process {earlier}, which ran it, was not killed."
            elif (task, earlier) in recorded:
                yield f"{task} ran again in process {later}, though it was recorded as done before {earlier} was killed."


def _surely_recorded(tasks: Mapping[str, Task], ledger: Sequence[Entry], killed: Collection[int]) -> set[tuple[str, int]]:
    """Tasks known to be durable when their process was killed, with its id.

    A task starts only after the results of its parents are durable, and results are recorded in the order in which they come.
    So a result is durable once any task started there whose parent ended at the same time or later.
    """
    recorded: set[tuple[str, int]] = set()
    for pid in killed:
        ends = {entry.task: entry.at for entry in ledger if entry.pid == pid and entry.event == "end"}
        starts = (entry.task for entry in ledger if entry.pid == pid and entry.event == "start")
        durable = max((ends[parent] for task in starts for parent in tasks[task].parents if parent in ends), default=-1)
        recorded |= {(task, pid) for task, at in ends.items() if at <= durable}
    return recorded


def _check_keys(ledger: Sequence[Entry]) -> Iterable[str]:
    tasks_of: dict[str, set[str]] = defaultdict(set)
    keys_of: dict[str, set[str]] = defaultdict(set)
    for entry in ledger:
        tasks_of[entry.key].add(entry.task)
        keys_of[entry.task].add(entry.key)
    yield from (f"{task} ran under {len(keys)} effect keys, not one." for task, keys in keys_of.items() if len(keys) > 1)
    yield from (f"One effect key served {', '.join(sorted(names))}." for names in tasks_of.values() if len(names) > 1)


def _check_order(tasks: Mapping[str, Task], ledger: Sequence[Entry]) -> Iterable[str]:
    """No start before each parent has ended at least once."""
    first_end: dict[str, int] = {}
    for entry in ledger:
        if entry.event == "end":
            first_end[entry.task] = min(entry.at, first_end.get(entry.task, entry.at))
    for entry in ledger:
        if entry.event == "start":
            for parent in sorted(tasks[entry.task].parents):
                if first_end.get(parent, entry.at + 1) > entry.at:
                    yield f"{entry.task} started before its parent {parent} had ended."


def _check_durations(tasks: Mapping[str, Task], ledger: Sequence[Entry], scale: float) -> Iterable[str]:
    starts = {(entry.task, entry.pid): entry.at for entry in ledger if entry.event == "start"}
    for entry in ledger:
        if entry.event == "end" and (entry.task, entry.pid) in starts:
            took = (entry.at - starts[entry.task, entry.pid]) / NANOSECONDS
            due = tasks[entry.task].seconds * scale
            if took < due - ROUNDING_SECONDS:
                yield f"{entry.task} took {took:.6f} s, less than its {due:.6f} s."


def _check_slots(ledger: Sequence[Entry], slots: int, killed: Collection[int]) -> Iterable[str]:
    """Judged process by process: a killed one leaves starts behind that occupy nothing."""
    running: dict[int, int] = defaultdict(int)
    most = 0
    for entry in sorted(ledger, key=lambda entry: (entry.at, entry.event == "start")):
        running[entry.pid] += 1 if entry.event == "start" else -1
        most = max(most, running[entry.pid] if killed else sum(running.values()))
    if most > slots:
        yield f"{most} tasks ran at the same time in {slots} slots."


def _names(ledger: Sequence[Entry], event: str) -> set[str]:
    return {entry.task for entry in ledger if entry.event == event}


def _by_task(ledger: Sequence[Entry]) -> dict[str, list[Entry]]:
    entries: dict[str, list[Entry]] = defaultdict(list)
    for entry in ledger:
        entries[entry.task].append(entry)
    return entries
