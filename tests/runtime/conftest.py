"""What the tests of the runtime share: the sample nodes, a context, and a timeout that falls due by a signal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from perdure.nodes import Context, Work
from perdure.nodes.discovery import from_file

sys.path.insert(0, str(Path(__file__).parent))  # the scenarios are a module beside the tests, not part of the product

Call = Callable[[Callable[[Any], None]], Awaitable[Any]]


@pytest.fixture(scope="session")
def samples() -> dict[str, Work]:
    """The sample nodes, by the last part of their names."""
    return {work.spec.name.removeprefix("sample."): work for work in from_file(Path(__file__).parent / "sample_nodes.py")}


@pytest.fixture
def context() -> Context:
    """The context of some attempt."""
    return Context(
        execution="ex_1", path="orders[3].pay", attempt=2, key="p1_key", workflow="order", token="token-1", deadline=1e10
    )


@pytest.fixture
def times_out() -> Callable[[Call], Awaitable[Any]]:
    """Runs a call under a timeout that falls due the moment the call beats for the first time; gives what it beat."""

    async def run(call: Call) -> Any:
        beats: list[Any] = []
        loop = asyncio.get_running_loop()

        async def bounded() -> None:
            async with asyncio.timeout(60) as timeout:

                def beat(details: Any) -> None:
                    beats.append(details)
                    timeout.reschedule(loop.time())

                await call(beat)

        with pytest.raises(TimeoutError):
            await bounded()
        return beats[0]

    return run
