"""What the tests of the examples share: the command as people run it, and recorded workflows ready to be run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the oracle is a module beside the tests, not part of the product

SECONDS_MAX = 120  # for one command; far more than any needs, so that a hanging one ends


class Finished:
    """What a command left behind: its exit code, and the object on the last line of its output."""

    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        self.code = code
        self.stdout = stdout
        self.stderr = stderr

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.splitlines() if line.strip()]

    @property
    def last(self) -> dict[str, Any]:
        assert self.lines, f"Expected a line of JSON, but the command said: {self.stderr}"
        return self.lines[-1]


class Perdure:
    """The command `perdure`, on one store, from one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "perdure.db"
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str | Path, **settings: str) -> subprocess.Popen[str]:
        """Start a command on the store and let it run."""
        return self._start([*arguments, "--store", self.store, "--json"], settings)

    def _start(self, arguments: list[str | Path], settings: dict[str, str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "perdure", *map(str, arguments)],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **{f"PERDURE_{name.upper()}": value for name, value in settings.items()}},
        )
        self.started.append(process)
        return process

    def __call__(self, *arguments: str | Path, **settings: str) -> Finished:
        """Run a command on the store to its end. `settings` are those of the installation, by name."""
        process = self.start(*arguments, **settings)
        stdout, stderr = process.communicate(timeout=SECONDS_MAX)
        return Finished(process.returncode, stdout, stderr)

    def command(self, *arguments: str | Path) -> Finished:
        """Run a command that needs no store to its end."""
        process = self._start([*arguments], {})
        stdout, stderr = process.communicate(timeout=SECONDS_MAX)
        return Finished(process.returncode, stdout, stderr)

    def run_until(self, ledger: Path, lines: int, *arguments: str | Path) -> int:
        """Start a command, kill it (SIGKILL) once the ledger has so many lines, and return its process id."""
        process = self.start(*arguments)
        reader = threading.Thread(target=process.communicate, daemon=True)  # a full pipe would hold the run up
        reader.start()
        due = time.monotonic() + SECONDS_MAX
        while not ledger.exists() or ledger.read_bytes().count(b"\n") < lines:
            assert process.poll() is None, "Expected to kill the run, but it had ended."
            assert time.monotonic() < due, f"Expected {lines} lines in the ledger within {SECONDS_MAX} seconds."
            os.sched_yield()
        process.kill()
        reader.join()
        return process.pid


@pytest.fixture
def perdure(tmp_path: Path, verify_store: Callable[..., None]) -> Iterator[Perdure]:
    """The command, on a store of its own in a folder of its own."""
    command = Perdure(tmp_path)
    yield command
    for process in command.started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    if command.started:
        verify_store(command.store)


@pytest.fixture
def science(tmp_path: Path) -> Callable[..., Path]:
    """Writes the definition of a recorded workflow beside the nodes it needs, and returns its path."""
    from instances import SCIENCE

    from perdure.definition.wfformat import import_wfformat, to_yaml

    def write(document: dict[str, Any], *, scale: float, name: str = "science") -> Path:
        path = tmp_path / f"{name}.yaml"
        definition = import_wfformat(document, scale=scale, name=name, node_type="science.task")
        path.write_text(to_yaml(definition), encoding="utf-8")
        (tmp_path / "nodes.py").write_text((SCIENCE / "nodes.py").read_text(encoding="utf-8"), encoding="utf-8")
        return path

    return write
