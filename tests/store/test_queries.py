"""The document of queries: each has a name and a sentence, is used, and is SQL."""

from __future__ import annotations

import asyncio
import re
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from apsw.ext import query_info

from perdure.store import queries
from perdure.store.sqlite import open_store
from perdure.store.sqlite.connection import SQL


def read(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> dict[str, str]:
    """The queries of a document with that text."""
    name = f"queries_{abs(hash(text))}"
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text("")
    (folder / name / "queries.sql").write_text(text)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return queries.load(name)


def test_a_document_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name, sentence, text; what stands above the first name is prose."""
    text = (
        "-- Prose.\n\n-- name: one\n-- Gives one.\nSELECT 1;\n\n-- name: two\n-- Gives two,\n-- and says more.\nSELECT\n  2;\n"
    )
    assert read(monkeypatch, tmp_path, text) == {"one": "SELECT 1;", "two": "SELECT\n  2;"}


@pytest.mark.parametrize(
    "text, found",
    [
        ("-- name: one\nSELECT 1;\n", "a sentence below"),
        ("-- name: one\n-- Gives one.\n", "SQL below"),
        ("-- name: One\n-- Gives one.\nSELECT 1;\n", "lower_case"),
        ("-- name: one\n-- A.\nSELECT 1;\n-- name: one\n-- B.\nSELECT 2;\n", "two"),
    ],
)
def test_a_faulty_document_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, found: str) -> None:
    """No sentence, no SQL, a name of another form, a name twice: told when the document is read."""
    with pytest.raises(ValueError, match=found):
        read(monkeypatch, tmp_path, text)


@pytest.mark.parametrize("name", sorted(SQL))
def test_every_query_is_valid(name: str) -> None:
    """The database can prepare each query against the newest schema."""
    connection = asyncio.run(open_store(":memory:")).connection
    assert query_info(connection, SQL[name]).query == SQL[name]


def test_every_query_is_used_and_every_used_one_is_there() -> None:
    """The document and the code name the same queries."""
    folder = files("perdure.store.sqlite")
    code = "".join(file.read_text() for file in folder.iterdir() if file.name.endswith(".py"))
    assert set(re.findall(r'SQL\["(\w+)"\]', code)) == set(SQL)
