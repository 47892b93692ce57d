"""Discovery: which node types there are, and what is said when one cannot be had."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from perdure.errors import Refused
from perdure.nodes.discovery import discover, file_beside, from_file
from perdure.nodes.reference import resolve

HEAD = "from perdure import node\n"


def write(folder: Path, text: str, name: str = "nodes.py") -> Path:
    """A file of nodes."""
    file = folder / name
    file.write_text(HEAD + text)
    return file


def refused(*files: Path, reserved: tuple[str, ...] = ()) -> Refused:
    """How discovery refuses these files."""
    with pytest.raises(Refused) as raised:
        discover(files, reserved=reserved)
    return raised.value


def test_built_in_nodes_are_there_and_describe_themselves() -> None:
    """Each has a title, a summary, help for every parameter, and examples."""
    works = discover()
    assert list(works) == ["http", "notify", "python"]
    assert [work.spec.name for work in works.values()] == list(works)
    for work in works.values():
        assert work.spec.summary.endswith(".")
        assert work.spec.title != work.spec.name
        assert work.spec.examples
        assert all(parameter.get("description") for parameter in work.spec.params["properties"].values())
        assert resolve(work.reference) is not None


def test_nodes_of_a_file_carry_the_digest_of_their_source(tmp_path: Path) -> None:
    """A changed file is another source (day-one 10); both can be loaded side by side."""
    file = write(tmp_path, "@node('a.b')\ndef b() -> int: return 1\n")
    (first,) = from_file(file)
    file.write_text(file.read_text() + "# changed\n")
    (second,) = from_file(file)
    assert len(first.spec.source) == 64
    assert first.spec.source != second.spec.source
    assert resolve(second.reference)() == 1


def test_types_of_a_file_work_as_in_any_module(tmp_path: Path) -> None:
    """Dataclasses and postponed hints find their module."""
    file = tmp_path / "nodes.py"
    file.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom perdure import node\n"
        "@dataclass\nclass Place:\n    lat: float\n"
        "@node('a.b')\ndef b(place: Place) -> Place:\n    return place\n"
    )
    from perdure.nodes import Context

    assert discover([file])["a.b"].run({"place": {"lat": "1"}}, Context()) == {"lat": 1.0}


def test_the_file_beside_a_definition_is_found(tmp_path: Path) -> None:
    """`nodes.py` next to the workflow, or nothing."""
    assert file_beside(tmp_path / "flow.yaml") is None
    file = write(tmp_path, "")
    assert file_beside(tmp_path / "flow.yaml") == file.resolve()


def test_a_file_named_twice_is_loaded_once(tmp_path: Path) -> None:
    """The same file by two paths brings no duplicate."""
    file = write(tmp_path, "@node('a.b')\ndef b() -> int: return 1\n")
    assert "a.b" in discover([file, tmp_path / "." / "nodes.py"])


@pytest.mark.parametrize(
    "text, line, reason",
    [
        ("def b(:\n", 2, "SyntaxError"),
        ("\nimport no_such_module_at_all\n", 3, "ModuleNotFoundError"),
        ("def f():\n    return 1 / 0\nf()\n", 3, "ZeroDivisionError"),
        ("\n\nraise SystemExit(3)\n", 4, "SystemExit"),
        ("@node('NO')\ndef b(): ...\n", 2, "TypeError: Expected a node name"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_refused_with_its_line(tmp_path: Path, text: str, line: int, reason: str) -> None:
    """Name of the file, line and reason; nothing half loaded stays behind."""
    before = set(sys.modules)
    error = refused(write(tmp_path, text))
    assert error.code == "nodes.file"
    assert f"nodes.py, line {line}: {reason}" in error.message
    assert not [name for name in set(sys.modules) - before if name.startswith("perdure_nodes_")]


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """The sentence names the path."""
    error = refused(tmp_path / "none.py")
    assert error.code == "nodes.file"
    assert "none.py" in error.message


@pytest.mark.parametrize(
    "text, code",
    [
        ("@node('a.b')\ndef b(): ...\n@node('a.b')\ndef c(): ...\n", "nodes.duplicate"),
        ("@node('a.b')\ndef b(): ...\n@node('a.c')\ndef b(): ...\n", "nodes.file"),
        ("def outer():\n    @node('a.b')\n    def b(): ...\nouter()\n", "nodes.file"),
        ("@node('http')\ndef b(): ...\n", "nodes.reserved"),
        ("@node('loop')\ndef b(): ...\n", "nodes.reserved"),
    ],
)
def test_names_that_are_taken_and_functions_that_cannot_be_found_are_refused(tmp_path: Path, text: str, code: str) -> None:
    """Duplicates, a function hidden by a later one, a nested one, and the names of Perdure's own nodes."""
    assert refused(write(tmp_path, text), reserved=("loop",)).code == code


def test_two_files_may_not_bring_one_name(tmp_path: Path) -> None:
    """The sentence names both."""
    text = "@node('a.b')\ndef b(): ...\n"
    error = refused(write(tmp_path, text, "one.py"), write(tmp_path, text, "two.py"))
    assert error.code == "nodes.duplicate"
    assert "one.py" in error.message
    assert "two.py" in error.message


def entry(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str, value: str) -> None:
    """Install a package that brings nodes."""
    (folder / "brought_nodes.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "brought_nodes", raising=False)
    points = [importlib.metadata.EntryPoint("geo", value, "perdure.nodes")]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == "perdure.nodes" else [])


@pytest.mark.parametrize("value", ["brought_nodes", "brought_nodes:b"])
def test_an_installed_package_brings_its_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """An entry point names a module of nodes or one function; the digest is that of its module."""
    entry(monkeypatch, tmp_path, HEAD + "@node('geo.b')\ndef b() -> int: return 1\n", value)
    work = discover()["geo.b"]
    assert work.reference == "brought_nodes:b"
    assert len(work.spec.source) == 64


@pytest.mark.parametrize(
    "text, value", [("x = 1\n", "brought_nodes"), ("x = 1\n", "brought_nodes:x"), ("1 / 0\n", "brought_nodes")]
)
def test_a_package_that_brings_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, value: str) -> None:
    """An entry point that fails or names something else is refused by its name."""
    entry(monkeypatch, tmp_path, text, value)
    error = refused()
    assert error.code == "nodes.package"
    assert f"geo = {value}" in error.message
