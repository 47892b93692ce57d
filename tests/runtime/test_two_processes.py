"""Two real processes on one file: messages reach the one that has the execution, and its death frees it at once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import perdure
from perdure.app import open_client, open_engine
from perdure.ids import ExecutionId, id_from_text
from perdure.settings import Settings

SECONDS_MAX = 60
WORKFLOW = """
perdure: 1
name: ask
nodes:
  ok: {type: wait_for_signal, signal: ok}
  then: {type: transform, after: ok, to: "${ [nodes.ok, input.n] }"}
output: ${ nodes.then }
"""


class Child:
    """A process that has started an execution and waits for its end."""

    def __init__(self, process: Process, execution: ExecutionId) -> None:
        self.process = process
        self.execution = execution

    async def says(self) -> dict[str, Any]:
        """Its next line."""
        assert self.process.stdout is not None
        return dict(json.loads(await self.process.stdout.readline()))


@asynccontextmanager
async def child(folder: Path, store: str = "") -> AsyncIterator[Child]:
    """A child that has started, on a file in the folder or on another store; whatever happens, it is gone in the end."""
    workflow = folder / "ask.yaml"
    workflow.write_text(WORKFLOW)
    program = Path(__file__).parent / "engine_process.py"
    environment = {**os.environ, "PYTHONPATH": str(Path(perdure.__file__).parent.parent)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), store or str(folder / "store.db"), str(workflow), stdout=PIPE, env=environment
    )
    try:
        assert process.stdout is not None
        begun = json.loads(await process.stdout.readline())
        yield Child(process, id_from_text(begun["started"]))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(SECONDS_MAX):
            await main()

    asyncio.run(bounded())


def test_a_signal_from_another_process_reaches_the_one_that_runs_the_execution(tmp_path: Path) -> None:
    """A client without a home sends it; the process that waits for it goes on and ends."""

    async def main() -> None:
        async with child(tmp_path) as other, open_client(Settings(store=str(tmp_path / "store.db"))) as (_, executions):
            assert await executions.signal(other.execution, "ok", "hello", id="s-1")
            assert not await executions.signal(other.execution, "ok", "hello", id="s-1")
            assert await other.says() == {"status": "succeeded", "output": ["hello", 1]}
            assert await other.process.wait() == 0
            assert (await executions.show(other.execution)).status == "succeeded"

    run(main)


def test_a_second_engine_leaves_alone_what_a_living_one_has_and_takes_over_when_it_is_killed(tmp_path: Path) -> None:
    """It adopts what nobody has; the first one's execution is none of that until SIGKILL, and from then on at once."""

    async def main() -> None:
        settings = Settings(store=str(tmp_path / "store.db"))
        async with child(tmp_path) as other, open_engine(settings, adopts=True) as engine:
            before = await engine.store.row(other.execution)
            for _ in range(5):
                await engine.home.poll()
            assert await engine.home.take([other.execution]) == []
            assert await engine.store.row(other.execution) == before
            assert before is not None
            assert before.home != engine.home.worker

            other.process.send_signal(signal.SIGKILL)
            await other.process.wait()
            assert await engine.home.take([other.execution]) == [other.execution]
            await engine.executions.signal(other.execution, "ok", "hello")
            outcome = await engine.result(other.execution)
            assert (outcome.status, outcome.output) == ("succeeded", ["hello", 1])

    run(main)


def test_a_start_repeated_in_another_process_finds_the_first_ones_execution(tmp_path: Path) -> None:
    """Two processes, one key: one execution; the second hears of its end though the first one runs it (rule 55)."""

    async def main() -> None:
        async with child(tmp_path) as one, child(tmp_path) as two:
            assert one.execution == two.execution
            async with open_client(Settings(store=str(tmp_path / "store.db"))) as (_, executions):
                await executions.signal(one.execution, "ok", "both")
                assert await one.says() == await two.says() == {"status": "succeeded", "output": ["both", 1]}
                assert len(await executions.list()) == 1

    run(main)


def test_an_engine_that_adopts_begins_with_what_a_dead_one_left(tmp_path: Path) -> None:
    """It is there as soon as the engine is, and not only when the home looks around for the first time."""

    async def main() -> None:
        async with child(tmp_path) as other:
            other.process.send_signal(signal.SIGKILL)
            await other.process.wait()
            settings = Settings(store=str(tmp_path / "store.db"), inbox_poll=SECONDS_MAX * 1_000_000)
            async with open_engine(settings, adopts=True) as engine:
                assert engine.home.has(other.execution)

    run(main)
