"""One word per thing: the lexicon's words are used, and what it rules out names nothing in the code."""

from __future__ import annotations

import ast
import itertools
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEXICON = ROOT / "docs" / "lexicon.md"

_ROW = re.compile(r"^\| ([a-z][a-z ,]*?) \| (.+?) \| ([a-z ,]*?) ?\|$", re.MULTILINE)


def terms(page: str) -> dict[str, set[str]]:
    """The lexicon's words, each with what is not said for it."""
    found: dict[str, set[str]] = {}
    for words, _, others in _ROW.findall(page):
        for word in words.split(", "):
            found[word] = {other.strip() for other in others.split(",") if other.strip()}
    return found


def faults_of_the_page(page: str) -> list[str]:
    """Words that stand twice, or are ruled out in one row and explained in another."""
    listed = [word for words, _, _ in _ROW.findall(page) for word in words.split(", ")]
    ruled_out = {other: word for word, others in terms(page).items() for other in others}
    found = [f"{word}: stands twice" for word, count in Counter(listed).items() if count > 1]
    return found + [f"{other}: is explained, but ruled out for {ruled_out[other]}" for other in listed if other in ruled_out]


def unused_words(page: str, root: Path) -> list[str]:
    """Words of the lexicon that stand nowhere in the code."""
    code = " ".join(file.read_text().lower().replace("_", " ") for file in sorted((root / "src").rglob("*.py")))
    # A plural, a participle or a name in CamelCase is a use.
    return [
        f"{word}: explained, but used nowhere"
        for word in terms(page)
        if word.lower().replace(" ", "") not in code.replace(" ", "")
    ]


def ruled_out_names(page: str, root: Path) -> list[str]:
    """Modules, classes and functions of the product that bear a name which the lexicon rules out."""
    instead = {other.replace(" ", ""): word for word, others in terms(page).items() for other in others}
    found = []
    for file in sorted((root / "src").rglob("*.py")):
        names = [(file.stem, 1)]
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        names += [(node.name, node.lineno) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, kinds)]
        for name, line in names:
            words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
            pairs = {a + b for a, b in itertools.pairwise(words)}
            for word in sorted((set(words) | {word.removesuffix("s") for word in words} | pairs) & set(instead)):
                found.append(f"{file.relative_to(root)}:{line}: {name}: say “{instead[word]}”, not “{word}”")
    return found


def test_the_lexicon_contradicts_itself_nowhere() -> None:
    """Each word stands once, and none is both explained and ruled out."""
    assert len(terms(LEXICON.read_text())) > 40
    assert faults_of_the_page(LEXICON.read_text()) == []


def test_words_are_used() -> None:
    """Every word of the lexicon is used in the code: no dead words."""
    assert unused_words(LEXICON.read_text(), ROOT) == []


def test_ruled_out_words_name_nothing() -> None:
    """No module, class or function bears a name that the lexicon rules out."""
    assert ruled_out_names(LEXICON.read_text(), ROOT) == []


SMALL = """
| Word | What it is | Not |
| --- | --- | --- |
| execution | one run | job, workflow run |
| live, dead | edges | |
"""


def test_the_small_lexicon_is_read() -> None:
    """A row may hold several words, and may rule out several."""
    assert terms(SMALL) == {"execution": {"job", "workflow run"}, "live": set(), "dead": set()}


def test_a_contradiction_is_noticed() -> None:
    """A word that stands twice, and one that is ruled out elsewhere, are found."""
    page = SMALL + "| job | a thing | |\n| dead | again | |\n"
    assert faults_of_the_page(page) == ["dead: stands twice", "job: is explained, but ruled out for execution"]


def test_an_unused_word_is_noticed(tmp_path: Path) -> None:
    """A word that the code never says is found; a plural counts as use."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "x.py").write_text("executions = live = 1\n")
    assert unused_words(SMALL, tmp_path) == ["dead: explained, but used nowhere"]


def test_a_ruled_out_name_is_noticed(tmp_path: Path) -> None:
    """A class, a function and a module are found, also in CamelCase, in plural and over two words; parts of words are not."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "jobs.py").write_text("class JobRow: ...\ndef start_workflow_run(): ...\nclass Jobless: ...\n")
    assert ruled_out_names(SMALL, tmp_path) == [
        "src/jobs.py:1: jobs: say “execution”, not “job”",
        "src/jobs.py:1: JobRow: say “execution”, not “job”",
        "src/jobs.py:2: start_workflow_run: say “execution”, not “workflowrun”",
    ]
