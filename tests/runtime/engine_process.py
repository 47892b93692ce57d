"""A process of its own for the tests: it starts the workflow of a file and tells what becomes of it, line by line."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from perdure.app import open_engine
from perdure.ids import id_text
from perdure.operations.definitions import read_file
from perdure.settings import Settings


async def main(store: str, workflow: str) -> None:
    async with open_engine(Settings(store=store), adopts=False) as engine:
        begun = await engine.executions.start(read_file(Path(workflow)), {"n": 1}, key="k")
        say(started=id_text(begun.execution))
        outcome = await engine.result(begun.execution)
        say(status=outcome.status, output=outcome.output)


def say(**line: object) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
