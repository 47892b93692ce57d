"""A command loads what it uses and nothing else: told by the names and the number of the modules, whatever the machine's speed.

The house rule stands in docs/architecture/overview.md, "What is loaded when".
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 120
_LOADED = re.compile(r"^import time:.*\| +([\w.]+)$", re.MULTILINE)

SENDING = {"apprise", "httpx", "perdure.nodes.exchange"}  # by whoever sends a request or a message
SANDBOX = {"pydantic_monty"}  # by whoever runs a piece of code
TERMINAL = {"perdure.cli.live", "rich"}  # by whoever draws on a terminal
PROCESSES = {"psutil"}  # by whoever had a process to run blocking work in
DATABASE = {"asyncpg", "perdure.store.postgres"}  # by whoever names a database as the store
STORE = {"apsw", "perdure.app", "perdure.runtime.home", "perdure.store.sqlite"}
READING = {"perdure.definition.parse", "yaml"}  # by whoever reads a definition's text
ROOMS = {"perdure.definition", "perdure.engine", "perdure.expressions", "perdure.nodes", "perdure.operations"}
SPARED = SENDING | SANDBOX | TERMINAL | PROCESSES | DATABASE
HELP = SPARED | STORE | READING | ROOMS | {"asyncio", "jsonschema_rs", "perdure.settings", "pydantic"}


def loaded_by(*arguments: str) -> set[str]:
    """The modules that a Python of its own loads on its way to the end of `python ARGUMENTS`, which must be a good one."""
    result = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_MAX,
    )
    assert result.returncode == 0, result.stdout + result.stderr[-2_000:]
    return set(_LOADED.findall(result.stderr))


def test_what_is_loaded_is_seen() -> None:
    """A module that a function imports is found, so that the tests below notice one that should not be there."""
    loaded = loaded_by("-c", "import perdure\n\n\ndef later():\n    import rich.text\n\n\nlater()")
    assert {"perdure", "rich", "rich.text"} <= loaded
    assert not loaded & ROOMS


@pytest.mark.parametrize(
    "arguments, spared, most",
    [
        pytest.param(["--help"], HELP, 190, id="help"),
        pytest.param(["check", "examples/orders/order.yaml"], SPARED | STORE | {"asyncio"}, 480, id="check"),
    ],
)
def test_a_command_loads_only_what_it_uses(arguments: list[str], spared: set[str], most: int) -> None:
    """The list of commands needs no workflow, and checking one needs no loop, no store and nothing that only a run does."""
    loaded = loaded_by("-m", "perdure", *arguments)
    assert loaded & spared == set()
    assert len(loaded) <= most


def test_a_run_loads_only_what_its_workflow_uses(tmp_path: Path) -> None:
    """A workflow with a node of its own, no terminal about: no HTTP client, no message services, no sandbox, no drawing."""
    given = json.dumps({"ledger": str(tmp_path / "ledger")})
    run = ["run", "bench/recovery.yaml", "--input", given, "--store", str(tmp_path / "run.db")]
    loaded = loaded_by("-m", "perdure", *run)
    assert (tmp_path / "ledger").read_text().count("\n") == 10
    assert loaded & SPARED == set()
    assert len(loaded) <= 560


def test_a_worker_that_takes_over_reads_no_text() -> None:
    """What opens an engine and compiles what is saved loads no YAML; nothing of the command line either."""
    loaded = loaded_by("-c", "import perdure.app, perdure.definition.check, perdure.nodes.decorator")
    assert "perdure.runtime.home" in loaded
    assert loaded & (SPARED | READING | {"typer"}) == set()
