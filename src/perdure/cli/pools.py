"""What is said where work waits for a worker with labels, and none is there."""

from __future__ import annotations

from collections.abc import Collection

from perdure.app import Engine
from perdure.cli import exits
from perdure.cli.followed import Followed
from perdure.clock import MICROSECONDS
from perdure.labels import worker_with
from perdure.operations.pools import takers, worker_command

SAID_AFTER = 1 * MICROSECONDS
"""How long an effect waits before it is said that nobody is there: a worker that has just begun is not known everywhere yet."""


def none_with(needs: str, what: str, option: str) -> str:
    """That `what` waits, since no worker has what it needs. `option`: how a hint repeats `--store`."""
    return f"{what}: no {worker_with(needs)} is there; start one with: {worker_command(needs)}{option}"


class Lacking:
    """Says of executions that are followed that nobody can carry out what they have left to others: once for each place."""

    def __init__(self, option: str) -> None:
        self._option = option  # how a hint repeats `--store`
        self._said: set[tuple[bytes, str, int]] = set()
        self._looked = float("-inf")

    async def look(self, engine: Engine, followed: Collection[Followed]) -> None:
        """Look now and then."""
        now = engine.clock.monotonic()
        pooled = [each.id for each in followed if each.plan is not None and each.plan.pooled]
        if not pooled or now - self._looked < SAID_AFTER / MICROSECONDS:
            return
        self._looked = now
        tasks = [task for task in await engine.store.tasks(pooled) if not (task.worker or task.stop or task.left)]
        waiting = [task for task in tasks if engine.clock.now() - task.at >= SAID_AFTER]
        workers = await engine.store.workers() if waiting else []
        for task in waiting:
            known = (task.execution, task.path, task.number)
            if known not in self._said and not takers(workers, task.needs):
                self._said.add(known)
                command = f"{worker_command(task.needs)}{self._option}"
                exits.say(f"{task.path} waits for a {worker_with(task.needs)}: none is there; start one with: {command}")
