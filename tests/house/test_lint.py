"""The linter names the replacement of each banned call, and leaves alone the files whose job the call is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def findings(file: str, code: str) -> list[str]:
    """What ruff says, by our settings, about `code` if it stood in `file`: one `CODE message` a line."""
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise", "--stdin-filename", file, "-"]
    result = subprocess.run(command, input=code, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode in (0, 1), result.stderr
    return [line.split(": ", 1)[1] for line in result.stdout.splitlines() if line.startswith(file)]


@pytest.mark.parametrize(
    "code, replacement",
    [
        ("import time\n\nprint_at = time.time()\n", "clock.now()"),
        ("import time\n\ntime.sleep(1)\n", "timers"),
        ("import time\n\nbegan = time.monotonic()\n", "clock.monotonic()"),
        ("from datetime import UTC, datetime\n\nat = datetime.now(UTC)\n", "clock.now()"),
        ("import random\n\nnumber = random.random()\n", "(execution, path, visit, count)"),
        ("import uuid\n\nname = uuid.uuid4()\n", "perdure.ids"),
        ("import os\n\nchance = os.urandom(8)\n", "perdure.ids"),
        ("import sqlite3\n\ndriver = sqlite3\n", "apsw"),
    ],
)
def test_a_banned_call_names_its_replacement(code: str, replacement: str) -> None:
    """In the product a call of the machine's clock, chance or another driver is refused, with what to use instead."""
    found = findings("src/perdure/runtime/home.py", code)
    assert found, "nothing was found"
    assert all(finding.startswith("TID251 ") and replacement in finding for finding in found)


def test_only_the_command_line_prints() -> None:
    """`print` is found in the product, and allowed in `cli/`."""
    assert [finding.split()[0] for finding in findings("src/perdure/store/sqlite/journal.py", 'print("x")\n')] == ["T201"]
    assert findings("src/perdure/cli/show.py", 'print("x")\n') == []


@pytest.mark.parametrize("file", ["src/perdure/clock.py", "tests/runtime/test_home.py", "bench/chain.py"])
def test_the_clock_is_asked_where_that_is_the_job(file: str) -> None:
    """The one clock, tests and measurements may ask the machine for the time."""
    assert findings(file, "import time\n\nbegan = time.monotonic()\n") == []


def test_imports_are_absolute() -> None:
    """A relative import is found: the full name says which room it is."""
    assert [
        finding.split()[0]
        for finding in findings("src/perdure/store/sqlite/journal.py", "from .contract import Row\n\nROW = Row\n")
    ] == ["TID252"]
