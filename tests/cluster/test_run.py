"""`make cluster` shows workers that share a PostgreSQL and the death of one of them, and ends by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 240


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that whoever runs the server may enter, and whose path is short enough for a socket in it."""
    with tempfile.TemporaryDirectory(prefix="cluster-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_small_cluster_survives_the_death_of_a_worker_and_leaves_nothing_behind(folder: Path) -> None:
    """Every order ends well though a worker is killed, the ledger adds up, the store is sound, and no process is left."""
    command = [sys.executable, str(ROOT / "tests" / "cluster" / "run.py"), "--orders", "16", "--workers", "2"]
    finished = subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS_MAX, check=False, cwd=folder, env=without_settings(folder)
    )
    said = finished.stdout
    assert finished.returncode == 0, said + finished.stderr
    assert "was killed (SIGKILL) over" in said
    assert "32 executions have ended: 32 succeeded." in said
    assert "1 workers have drained, with the exit codes [0]." in said
    assert "The ledger adds up." in said
    assert "all sound" in said
    assert list(folder.iterdir()) == []
    assert not [line for line in processes() if str(folder) in line]


def without_settings(folder: Path) -> dict[str, str]:
    """The environment, but for what would set something; whatever is temporary lies in this folder."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PERDURE_")}
    return {**environment, "TMPDIR": str(folder)}


def processes() -> list[str]:
    """The command lines of all processes, as far as they can be read."""
    found = []
    for listed in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(listed.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it has gone meanwhile
    return found
