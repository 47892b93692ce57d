"""What is drawn for the documentation is what the definitions give, and so is the page of the patterns."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def _tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_tool", ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PATTERNS = _tool("patterns")
FILES: dict[str, str] = {**PATTERNS.files(), **_tool("pictures").files()}


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_generated_file_is_what_the_definitions_give(name: str) -> None:
    """Whoever changes a definition or the drawing makes them anew: `tools/patterns.py`, `tools/pictures.py`."""
    assert (ROOT / "docs" / name).read_text() == FILES[name]


@pytest.mark.parametrize("folder", ["pictures/patterns", "pictures/guide"])
def test_no_picture_is_left_over(folder: str) -> None:
    """A picture whose definition was renamed or taken away goes with it."""
    found = {f"{folder}/{file.name}" for file in (ROOT / "docs" / folder).iterdir()}
    assert found == {name for name in FILES if name.startswith(folder)}


def test_every_entry_is_complete() -> None:
    """Each has what the page says of it, and stands in a group that the page has; numbers and names are its own."""
    entries = PATTERNS.entries()
    needed = {"number", "name", "known_as", "group", "about", "definition", "plays", "file"}
    for entry in entries:
        assert needed <= entry.keys() <= needed | {"instead"}, entry["file"]
        assert entry["group"] in PATTERNS.GROUPS
        assert entry["file"].startswith(f"{entry['number']:02}-")
        assert all(play["shows"] and play["moves"] for play in entry["plays"])
    assert len({entry["name"] for entry in entries}) == len(entries) == 43
