"""Folders and places for the tests of stores."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("perdure.testing.stores")

from perdure.testing.stores.sqlite import FilePlace  # noqa: E402 - after its assertions are told to be rewritten


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A fresh folder that every user may enter, which those of `tmp_path` are not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def file_place(open_folder: Path) -> FilePlace:
    """A store's file that does not exist yet."""
    return FilePlace(open_folder)
