"""`start`: an execution for the workers of a store to carry out."""

from __future__ import annotations

import asyncio

from perdure.app import open_client
from perdure.cli import exits
from perdure.cli.checking import print_faults
from perdure.cli.following import store_option
from perdure.cli.pools import none_with
from perdure.cli.reading import actor, json_value, settings
from perdure.cli.running import say_whether_sent
from perdure.cli.wording import json_line
from perdure.ids import id_text
from perdure.operations.definitions import read_file
from perdure.operations.executions import FirstSignal
from perdure.operations.pools import needed_by, takers


def start(
    file: str, *, input: str, store: str | None, key: str, priority: int, nodes: tuple[str, ...], json: bool,
    signal: FirstSignal | None = None,
) -> int:  # fmt: skip
    """Start FILE, print the execution's id, and leave it to the workers; the exit code."""
    read = read_file(file, node_files=nodes)
    print_faults(file, read.checked.faults, say=exits.say)
    plan = read.checked.plan
    if plan is None:
        return exits.REFUSED
    given = json_value(input, "--input")

    async def work() -> int:
        async with open_client(settings(store), create=True, node_files=nodes) as (opened, executions):
            begun = await executions.start(read, given, key=key, by=actor(), priority=priority, signal=signal)
            workers = await opened.workers()
        name = id_text(begun.execution)
        print(json_line({"execution": name, "existing": begun.existing}) if json else name)
        if begun.existing:
            exits.say(f"{name} was started with this key before")
        if signal is not None:
            say_whether_sent(signal.name, signal.id, begun.execution, new=begun.signalled)
        if not any(worker.alive for worker in workers):
            exits.say(f"no worker is there now; start one with: perdure worker{store_option(store)}")
        for needs in needed_by(plan):
            if not takers(workers, needs):
                exits.say(none_with(needs, "it will wait", store_option(store)))
        return exits.SUCCEEDED

    return asyncio.run(work())
