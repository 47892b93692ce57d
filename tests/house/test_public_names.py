"""What `perdure` exports is what the documentation lists, and importing it stays quick."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "public-names.md"
SLOW = ("apprise", "apsw", "asyncio", "httpx", "jsonschema_rs", "msgspec", "pydantic", "rich", "typer", "yaml")


def documented_names(page: str) -> set[str]:
    """The names in the table under the heading ``## `import perdure` ``."""
    section = re.search(r"^## `import perdure`\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return set(re.findall(r"^\| `(\w+)` \|", section[1], re.MULTILINE)) if section else set()


def disagreements(module: ModuleType, page: str) -> list[str]:
    """Sentences about names that are exported but not documented, documented but not exported, or not there at all."""
    exported = set(module.__all__)
    documented = documented_names(page)
    reachable = {name for name in dir(module) if not name.startswith("_") and not isinstance(getattr(module, name), ModuleType)}
    found = [f"{name}: exported, but not documented" for name in sorted(exported - documented)]
    found += [f"{name}: documented, but not exported" for name in sorted(documented - exported)]
    found += [f"{name}: reachable, but not in __all__" for name in sorted(reachable - exported)]
    found += [f"{name}: exported, but not there" for name in sorted(exported) if not hasattr(module, name)]
    return found


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module `small` to write, importable while the test runs."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "small.py"
    sys.modules.pop("small", None)


def test_every_public_name_is_documented() -> None:
    """The names in `perdure.__all__` exist, and are exactly those of the reference page."""
    assert disagreements(importlib.import_module("perdure"), PAGE.read_text()) == []


def test_an_undocumented_name_is_noticed(small: Path) -> None:
    """A name too many or too few, on either side, is named with what is wrong about it."""
    small.write_text("__all__ = ['start', 'ghost', 'extra']\nstart = 1\nextra = 2\nleft_over = 3\n")
    rows = "".join(f"| `{name}` | . |\n" for name in ("start", "ghost", "gone"))
    page = f"## `import perdure`\n\n| Name | What |\n| --- | --- |\n{rows}\n## Other\n| `extra` | . |\n"
    assert disagreements(importlib.import_module("small"), page) == [
        "extra: exported, but not documented",
        "gone: documented, but not exported",
        "left_over: reachable, but not in __all__",
        "ghost: exported, but not there",
    ]


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that Perdure does not have is refused as any module refuses it."""
    with pytest.raises(AttributeError, match="module 'perdure' has no attribute 'nonsense'"):
        importlib.import_module("perdure").nonsense  # noqa: B018  # the access is what is tested


def test_importing_perdure_imports_nothing_slow() -> None:
    """`import perdure` loads none of the libraries it depends on; they come with the first use of a name."""
    program = (
        "import sys, json; before = set(sys.modules); import perdure; print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.partition(".")[0] for name in json.loads(result.stdout)}
    assert "perdure" in loaded
    assert loaded.isdisjoint(SLOW)


def test_the_version_is_the_packages() -> None:
    """`perdure.__version__` is the version of pyproject.toml."""
    declared = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert declared is not None
    assert importlib.import_module("perdure").__version__ == declared[1]
