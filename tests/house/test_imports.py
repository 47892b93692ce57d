"""The layers hold: the import contracts of pyproject.toml are kept, and each of them notices when it is broken."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PURE_ROOMS = ("engine", "definition", "expressions")
IMPURE_CALLS = {
    "open": "Take text or bytes as an argument; files are read above the core.",
    "input": "Take what is needed as an argument.",
    "print": "Return what is to be said.",
    "eval": "Compile with perdure.expressions.",
    "exec": "Compile with perdure.expressions.",
    "breakpoint": "Remove it.",
}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter with the pyproject.toml of `folder` over the package in its `src`."""
    program = "import sys; sys.path.insert(0, 'src'); from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache", "--config", "pyproject.toml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"PYTHONPATH": "src", "PATH": "", "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"},
    )


def impure_calls(source: Path) -> list[str]:
    """Calls in the pure rooms under `source` that reach the outside without an import."""
    found = []
    for room in PURE_ROOMS:
        for file in sorted((source / room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
                    found.append(f"{file.relative_to(source)}:{node.lineno}: {node.func.id}(): {IMPURE_CALLS[node.func.id]}")
    return found


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small package with our layers, our contracts and nothing wrong."""
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    package = tmp_path / "src" / "perdure"
    rooms = ("cli", "operations", "runtime", "store", "nodes", "engine", "definition", "expressions", "testing")
    for room in rooms:
        (package / room).mkdir(parents=True)
        (package / room / "__init__.py").write_text("")
    (package / "__init__.py").write_text("def first_use():\n    import perdure.app, perdure.nodes\n")
    for name in ("__main__", "app", "settings", "clock", "codes", "errors", "labels"):
        (package / f"{name}.py").write_text("")
    (package / "ids.py").write_text("import os\n")
    (package / "app.py").write_text("import perdure.store\n")
    return tmp_path


def test_imports_point_down() -> None:
    """The product keeps every import contract."""
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_small_house_is_sound(house: Path) -> None:
    """A package that breaks nothing passes, so that what the tests below notice is what they break."""
    result = lint_imports(house)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    "file, code, contract",
    [
        pytest.param("engine/machine.py", "import perdure.store", "Imports point down", id="up"),
        pytest.param("errors.py", "import perdure.ids", "Imports point down", id="sideways"),
        pytest.param("runtime/home.py", "import perdure.testing", "Imports point down", id="testing"),
        pytest.param("nodes/http.py", "from perdure import runtime", "Imports point down", id="up-by-name"),
        pytest.param("misplaced.py", "", "Imports point down", id="unknown-room"),
        pytest.param("engine/machine.py", "import time", "The core is pure", id="time"),
        pytest.param("definition/parse.py", "from random import choice", "The core is pure", id="chance"),
        pytest.param("expressions/compile.py", "import httpx", "The core is pure", id="network"),
        pytest.param("engine/machine.py", "def later():\n    import asyncio", "The core is pure", id="loop-in-a-function"),
        pytest.param("definition/check.py", "import perdure.clock", "The core is pure", id="clock"),
        pytest.param("runtime/home.py", "import apsw", "Only the store", id="database"),
    ],
)
def test_a_broken_contract_is_noticed(house: Path, file: str, code: str, contract: str) -> None:
    """An import that goes up, sideways or out of the core breaks exactly the contract that forbids it."""
    (house / "src" / "perdure" / file).write_text(code + "\n")
    result = lint_imports(house)
    broken = [line for line in result.stdout.splitlines() if " BROKEN" in line]
    assert result.returncode == 1, result.stdout + result.stderr
    assert len(broken) == 1, broken
    assert contract in broken[0]


def test_the_core_calls_nothing_impure() -> None:
    """The pure rooms open no file and run no text, which needs no import and so escapes the contracts."""
    assert impure_calls(ROOT / "src" / "perdure") == []


def test_an_impure_call_is_noticed(house: Path) -> None:
    """A call of `open` in a pure room is found with its line; the same call elsewhere is not."""
    package = house / "src" / "perdure"
    (package / "definition" / "parse.py").write_text("def read(path):\n    return open(path).read()\n")
    (package / "cli" / "check.py").write_text("open('x')\n")
    assert [line.partition(": ")[0] for line in impure_calls(package)] == ["definition/parse.py:2"]
