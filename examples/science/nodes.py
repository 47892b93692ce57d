"""The node of the scientific examples: `science.task` takes the time that a recorded task took, and says so in a ledger."""

from __future__ import annotations

import asyncio
import json
import os
import time

from perdure import Context, Failed, node


@node("science.task", title="Recorded task")
async def task(
    task: str, seconds: float, context: Context, ledger: str | None = None, fail: str | None = None
) -> dict[str, float]:
    """Stand in for a task of a recorded scientific workflow: wait as long as it took, scaled.

    Args:
        task: Name of the recorded task.
        seconds: How long to take.
        ledger: File to which a line is added when the task starts and when it ends; none, if left out.
        fail: Name of the task that is to fail for good; this one does if it is meant.
    """
    _note(ledger, "start", task, context.key)
    await asyncio.sleep(seconds)
    if task == fail:
        _note(ledger, "fail", task, context.key)
        raise Failed("science.task_failed", f"{task} was told to fail.", category="business", retryable=False)
    _note(ledger, "end", task, context.key)
    return {"seconds": seconds}


def _note(ledger: str | None, event: str, task: str, key: str) -> None:
    """One line by one write to a file opened for appending: whole or not at all, whoever else writes and whatever kills us."""
    if ledger is None:
        return
    entry = {"event": event, "task": task, "key": key, "at": time.monotonic_ns(), "pid": os.getpid()}
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, json.dumps(entry).encode() + b"\n")
    finally:
        os.close(file)
