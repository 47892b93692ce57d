"""The generated pages of the reference are those that the code gives, and every code of ours stands in the registry."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from perdure.codes import ERROR_CODES

ROOT = Path(__file__).parents[2]
_NAMED = re.compile(
    r"""\bcode\s*=\s*["']([a-z_]+(?:\.[a-z_]+)*)["']|\b(?:Failed|refused)\(\s*["']([a-z_]+(?:\.[a-z_]+)+)["']"""
)
_OF_CHECKER_OR_EXPRESSIONS = ("definition/", "expressions/")


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_tool", ROOT / "tools" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES: dict[str, str] = _tool().pages()


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_generated_page_is_what_the_code_gives(name: str) -> None:
    """Whoever changes a function, a code or a node regenerates its page: `python tools/reference.py`."""
    assert (ROOT / "docs" / "reference" / name).read_text() == PAGES[name]


def codes_named(source: str) -> set[str]:
    """The codes that a source text gives to errors."""
    return {first or second for first, second in _NAMED.findall(source)}


def test_every_code_that_an_error_bears_is_in_the_registry() -> None:
    """A code that people can meet has a sentence on what happened and one on what to do."""
    known = {code.code for code in ERROR_CODES}
    unknown = {
        f"{path.relative_to(ROOT)}: {code}"
        for path in (ROOT / "src" / "perdure").rglob("*.py")
        if not path.relative_to(ROOT / "src" / "perdure").as_posix().startswith(_OF_CHECKER_OR_EXPRESSIONS)
        for code in codes_named(path.read_text())
        if code not in known and not code.startswith("expression.")
    }
    assert not unknown


def test_a_code_given_in_passing_is_found() -> None:
    """The search sees keyword and first argument alike."""
    assert codes_named('Failure(code="a.b")\nraise Failed("c.d", "x")\nrefused("e.f", 1)') == {"a.b", "c.d", "e.f"}


def test_no_code_stands_twice() -> None:
    """One code, one meaning."""
    codes = [code.code for code in ERROR_CODES]
    assert len(codes) == len(set(codes))
