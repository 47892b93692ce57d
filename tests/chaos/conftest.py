"""What the tests of chaos share: its parts are modules beside the tests, and its long run is a program of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))  # the recorded graphs are those of the examples

SECONDS_MAX = 300
"""For one small run; far more than any needs."""


@pytest.fixture
def chaos(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs a part as `make chaos` does, in a process of its own, since it forks; its figures."""

    def run(part: str, *arguments: str) -> dict[str, Any]:
        results = tmp_path / f"{part}.json"
        program = [sys.executable, str(Path(__file__).with_name("run.py")), part, "--results", str(results), *arguments]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PERDURE_")}
        done = subprocess.run(program, capture_output=True, text=True, timeout=SECONDS_MAX, check=False, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        (row,) = json.loads(results.read_text())["rows"]
        assert isinstance(row, dict)
        return row

    return run
