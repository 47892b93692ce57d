"""What the tests of the command line share: the command, in an empty folder of its own."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the command is a module beside the tests, not part of the product

from command_line import NODES, Perdure


@pytest.fixture
def perdure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verify_store: Callable[..., None]
) -> Iterator[Perdure]:
    """The command, in an empty folder with the nodes above and no settings."""
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.startswith("PERDURE_")]:
        monkeypatch.delenv(variable)
    (tmp_path / "nodes.py").write_text(NODES)
    command = Perdure(tmp_path, capsys)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield command
    root.handlers[:], root.level = before[0], before[1]
    for process in command.processes:
        if process.popen.poll() is None:
            process.popen.kill()
        process.popen.communicate()
    if command.processes:
        verify_store(command.store, node_files=command.node_files)
