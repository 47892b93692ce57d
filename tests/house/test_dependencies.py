"""What the product imports is what it declares: nothing comes along by chance, nothing is declared in vain."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]

# What a declared distribution brings under another name, and what is declared for its data alone.
BROUGHT_BY = {"pydantic-monty-client": "pydantic-monty", "pydantic-core": "pydantic"}
DATA_ALONE = {"tzdata"}  # time zones where the system has none


def spelled(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(source: Path) -> set[str]:
    """The distributions that the files under `source` import, by their names in lower case."""
    modules: set[str] = set()
    for file in sorted(source.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.partition(".")[0])
    by_module = packages_distributions()
    ours = {path.stem for path in source.iterdir()}
    foreign = modules - set(sys.stdlib_module_names) - ours
    names = {spelled(by_module[module][0]) if module in by_module else module for module in foreign}
    return {BROUGHT_BY.get(name, name) for name in names}


def declared(pyproject: str) -> dict[str, str]:
    """The distributions that a pyproject.toml requires at run time, with the version each must have."""
    requirements = tomllib.loads(pyproject)["project"]["dependencies"]
    matches = [re.match(r"([\w.-]+?)\s*([<>=!~].*)?$", requirement) for requirement in requirements]
    return {spelled(match[1]): match[2] or "" for match in matches if match}


def disagreements(source: Path, pyproject: str) -> list[str]:
    uses, has = imported(source), declared(pyproject)
    found = [f"{name}: imported, but not declared" for name in sorted(uses - set(has))]
    return found + [f"{name}: declared, but imported nowhere" for name in sorted(set(has) - uses - DATA_ALONE)]


def test_dependencies_are_those_that_are_imported() -> None:
    """Every distribution that the product imports is declared, and none is declared without being imported."""
    assert disagreements(ROOT / "src", (ROOT / "pyproject.toml").read_text()) == []


def test_the_sandbox_is_pinned_exactly() -> None:
    """The sandbox's limits were tried in one version; any other is a decision of its own."""
    assert declared((ROOT / "pyproject.toml").read_text())["pydantic-monty"] == "==1.4.0"


def test_a_dependency_too_many_or_too_few_is_noticed(tmp_path: Path) -> None:
    """An import inside a function counts; a module of ours and one of the standard library do not."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "x.py").write_text(
        "import json\nfrom ours import y\n\ndef f():\n    import yaml.nodes\n    import httpx\n"
    )
    pyproject = '[project]\ndependencies = ["HTTPX>=0.28,<1", "rich"]\n'
    assert disagreements(tmp_path, pyproject) == ["pyyaml: imported, but not declared", "rich: declared, but imported nowhere"]
