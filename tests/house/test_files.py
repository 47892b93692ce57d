"""Files are named for their noun, open with a sentence, stay readable, and speak of the product alone."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES_MAX = 600
VAGUE = {"manager", "managers", "helper", "helpers", "util", "utils", "common", "base", "misc", "stuff", "lib"}
TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".json", ".sql", ".sh", ".svg", ".cfg", ""}
GENERATED = {".venv", ".git", "site", "dist", "build", "__pycache__", "results"}

# Words that may stand nowhere. They are put together here, so that this file does not hold them itself.
NOWHERE = {
    "a path of some machine": re.compile(
        r"(?<![\w.:/-])/(?:" + "|".join(("root", "work", "farm", "home/[a-z]", "Users/[A-Z]")) + r")/"
    ),
    "a registry's host": re.compile(r"\b(?:pypi|registry)\.[a-z]+\.(?:org|com)\b|python" + "hosted"),
}
NOT_IN_CODE = {
    "a promise": re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b"),
    "a lint finding ignored without code and reason": re.compile(r"#\s*no" + r"qa(?!: [A-Z]+\d+(?:, [A-Z]+\d+)*[ :#-]+\w)"),
    "a test that is skipped": re.compile(r"pytest\.(?:mark\.)?x" + r"fail|pytest\.mark\.sk" + r"ip\b"),
}
NOT_IN_PRODUCT = {"a type error ignored without code and reason": re.compile(r"#\s*type:\s*ignore(?!\[[\w, -]+\]\s+# \S)")}


def python_files(root: Path) -> list[Path]:
    return [file for top in ("src", "tests", "bench", "examples") for file in sorted((root / top).rglob("*.py"))]


def text_files(root: Path) -> list[Path]:
    """All files of the project that a person reads; what is generated or ignored by git is left out."""
    tops = [top for top in root.iterdir() if not _left_out(top.name)]  # environments hold too many files to walk through
    below = (path for top in tops for path in (top, *top.rglob("*")))
    wanted = (path for path in below if path.is_file() and path.suffix in TEXT)
    return sorted(path for path in wanted if not any(map(_left_out, path.relative_to(root).parts)))


def _left_out(part: str) -> bool:
    return part in GENERATED or (part.startswith(".") and part not in (".ci", ".gitignore"))


def faults_of_names(root: Path) -> list[str]:
    """Files and folders whose name says nothing: `manager.py`, `http_utils.py`, `common/`."""
    found = []
    for file in python_files(root):
        for part in file.relative_to(root).with_suffix("").parts:
            vague = set(re.split(r"[_\W]+", part.lower())) & VAGUE
            if vague:
                found.append(f"{file.relative_to(root)}: {', '.join(sorted(vague))} names nothing")
    return found


def faults_of_openings(root: Path) -> list[str]:
    """Source files that do not open with a docstring whose first paragraph is a sentence."""
    found = []
    for file in python_files(root):
        docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
        opening = docstring.partition("\n\n")[0].strip()
        if not opening:
            found.append(f"{file.relative_to(root)}: no docstring says what lives here")
        elif opening[-1] not in ".:?!" or len(opening.split()) < 4:
            found.append(f"{file.relative_to(root)}: the docstring opens with no sentence: {opening[:60]!r}")
    return found


def faults_of_length(root: Path) -> list[str]:
    """Source files with more lines than one room should have."""
    counts = [(file, file.read_text().count("\n")) for file in python_files(root)]
    return [f"{file.relative_to(root)}: {count} lines, more than {LINES_MAX}" for file, count in counts if count > LINES_MAX]


def faults_of_words(root: Path) -> list[str]:
    """Lines that name a machine, promise something, or silence a check without a reason."""
    found = []
    for file in text_files(root):
        patterns = dict(NOWHERE)
        if file.suffix == ".py":
            patterns |= NOT_IN_CODE
            if file.is_relative_to(root / "src"):
                patterns |= NOT_IN_PRODUCT
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
            found += [
                f"{file.relative_to(root)}:{number}: {what}" for what, pattern in patterns.items() if pattern.search(line)
            ]
    return found


def faults_of_tests(root: Path) -> list[str]:
    """Tests without the sentence that states their behaviour."""
    found = []
    for file in sorted((root / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
                continue
            if not ast.get_docstring(node):
                found.append(f"{file.relative_to(root)}:{node.lineno}: {node.name} states no behaviour")
    return found


CHECKS = (faults_of_names, faults_of_openings, faults_of_length, faults_of_words, faults_of_tests)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_house_is_in_order(check: Callable[[Path], list[str]]) -> None:
    """No file of the project is at fault."""
    assert check(ROOT) == []


def write(root: Path, name: str, text: str) -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return root


@pytest.mark.parametrize("name", ["src/perdure/manager.py", "src/perdure/store/sql_utils.py", "tests/common/test_x.py"])
def test_a_vague_name_is_noticed(tmp_path: Path, name: str) -> None:
    """A file or folder that is named for nothing in particular is found."""
    assert len(faults_of_names(write(tmp_path, name, ""))) == 1


@pytest.mark.parametrize("name", ["src/perdure/database.py", "src/perdure/library.py", "tests/test_baseline.py"])
def test_a_name_that_only_contains_a_vague_word_is_fine(tmp_path: Path, name: str) -> None:
    """Only whole words count: `database` is a noun although it ends in one that says nothing."""
    assert faults_of_names(write(tmp_path, name, "")) == []


@pytest.mark.parametrize("text", ["", "x = 1\n", '"""Store."""\n', '"""a list of things that live here"""\n'])
def test_a_file_without_a_sentence_is_noticed(tmp_path: Path, text: str) -> None:
    """No docstring, one word, or a line without an end is no opening sentence."""
    assert len(faults_of_openings(write(tmp_path, "src/perdure/x.py", text))) == 1


def test_an_opening_sentence_may_have_more_below(tmp_path: Path) -> None:
    """The first paragraph is the sentence; what follows is free, and the sentence may take two lines."""
    text = '"""The journal: what happened,\nin order.\n\n    a picture without a full stop\n"""\n'
    assert faults_of_openings(write(tmp_path, "src/perdure/x.py", text)) == []


def test_a_long_file_is_noticed(tmp_path: Path) -> None:
    """One line more than allowed is found; the allowed number is not."""
    write(tmp_path, "src/perdure/short.py", "x = 1\n" * LINES_MAX)
    write(tmp_path, "src/perdure/long.py", "x = 1\n" * (LINES_MAX + 1))
    assert faults_of_length(tmp_path) == ["src/perdure/long.py: 601 lines, more than 600"]


@pytest.mark.parametrize(
    "name, line",
    [
        ("docs/x.md", "see /wo" + "rk/main/x"),
        ("src/perdure/x.py", "FILE = '/ro" + "ot/perdure.db'"),
        ("Makefile", "pip install -i https://py" + "pi.example.org/simple"),
        ("src/perdure/x.py", "# TO" + "DO: finish"),
        ("src/perdure/x.py", "x = f()  # type: " + "ignore"),
        ("src/perdure/x.py", "x = f()  # type: " + "ignore[arg-type]"),
        ("src/perdure/x.py", "x = f()  # no" + "qa"),
        ("src/perdure/x.py", "x = f()  # no" + "qa: E501"),
        ("tests/test_x.py", "@pytest.mark.sk" + "ip"),
    ],
)
def test_a_forbidden_word_is_noticed(tmp_path: Path, name: str, line: str) -> None:
    """A line that may not stand anywhere is found with its file and number."""
    found = faults_of_words(write(tmp_path, name, f"one\n{line}\n"))
    assert [fault.partition(": ")[0] for fault in found] == [f"{name}:2"]


@pytest.mark.parametrize(
    "line",
    [
        "x = f()  # type: " + "ignore[arg-type]  # the stub lacks this argument",
        "x = f()  # no" + "qa: E501  # a table reads better in one line",
        "x = f()  # no" + "qa: E501 - a table reads better in one line",
        "url = 'https://shop.example/wo" + "rk/orders'",
        "from perdure.nodes.work import Work",
        "path = 'tests/wo" + "rk/x'",
    ],
)
def test_a_reason_makes_it_fine(tmp_path: Path, line: str) -> None:
    """A check that is silenced with its code and a reason stands, as does a path that is no machine's."""
    assert faults_of_words(write(tmp_path, "src/perdure/x.py", line + "\n")) == []


def test_a_test_without_a_sentence_is_noticed(tmp_path: Path) -> None:
    """A test that does not say which behaviour it states is found, also an async one in a class."""
    text = 'def test_a():\n    """Says it."""\n\nclass TestB:\n    async def test_b(self): ...\n\ndef ordinary(): ...\n'
    assert faults_of_tests(write(tmp_path, "tests/test_x.py", text)) == ["tests/test_x.py:5: test_b states no behaviour"]


def test_ignored_files_are_what_git_ignores(tmp_path: Path) -> None:
    """A store, a cache and the built site are ignored by git; a definition is not."""
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True, timeout=60)
    names = (
        "perdure.db",
        "perdure.db-wal",
        "x.perdure",
        ".venv/bin/python",
        "site/index.html",
        ".peers/n8n/package.json",
        "bench/results/latest.json",
        "flow.yaml",
    )
    result = subprocess.run(
        ["git", "check-ignore", *names], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.stdout.split() == list(names[:-1])
