"""Work that waits for a worker with labels, or that one carries out: who, in words, and what to do where nobody can."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from perdure.definition.plan import Plan
from perdure.ids import ExecutionId
from perdure.labels import labels_from, labels_text, satisfies, worker_with
from perdure.store.contract import Store, Worker
from perdure.store.tasks import Task


class Standing(NamedTuple):
    """Where one task stands. `worker`: who carries it out; `remedy`: what to do where nobody can."""

    words: str
    worker: str = ""
    remedy: str = ""


def takers(workers: Iterable[Worker], needs: str) -> list[Worker]:
    """The living workers that would carry out what needs these labels; a single run carries out nothing for others."""
    labels = labels_from(needs)
    ready = [each for each in workers if each.alive and each.load is not None and each.load.state == "ready"]
    return [each for each in ready if satisfies(each.labels, labels)]


def worker_command(needs: str) -> str:
    """The command that starts a worker with these labels."""
    return "".join(("perdure worker", *(f" --label {shlex.quote(each)}" for each in needs.split(",") if each)))


def needed_by(plan: Plan) -> Iterator[str]:
    """The labels that nodes of a plan ask for, each set once, as one text."""
    nodes = [node for scope in plan.scopes.values() for node in scope.nodes if plan.pooled]
    yield from dict.fromkeys(labels_text(node.runs_on) for node in nodes if node.runs_on is not None and not node.disabled)


async def standing_of(store: Store, execution: ExecutionId, moment: Callable[[int], str]) -> dict[str, Standing]:
    """By path, where what an execution has left to other workers stands."""
    tasks = await store.tasks([execution])
    workers = await store.workers() if tasks else []
    return {task.path: _standing(task, workers, moment) for task in tasks}


def _standing(task: Task, workers: Sequence[Worker], moment: Callable[[int], str]) -> Standing:
    if task.worker:
        return Standing(words=f"on {task.worker} since {moment(task.claimed)}", worker=task.worker)
    waits = f"waits since {moment(task.at)} for"
    if task.stop or task.left:
        return Standing(words=f"{waits} a {worker_with(task.needs)}, and is not begun any more")
    found = takers(workers, task.needs)
    if found:
        there = "one is there" if len(found) == 1 else f"{len(found)} are there"
        return Standing(words=f"{waits} a free slot of a {worker_with(task.needs)}: {there}")
    return Standing(words=f"{waits} a {worker_with(task.needs)}: none is there", remedy=worker_command(task.needs))
