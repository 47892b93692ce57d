"""Every fault code has a definition that is wrong in just that way; it is found, at its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from perdure.definition import CODES, check_document, read_definition, reference
from perdure.definition.check import NODES_MAX
from perdure.definition.parse import BYTES_MAX
from perdure.errors import Fault

FOLDER = Path(__file__).parent / "wrong"
FILES = sorted(FOLDER.iterdir())
PLACES = yaml.safe_load((FOLDER.parent / "places.yaml").read_text())
COMPANIONS = {"after.unknown_node": {"node.isolated"}}  # the node whose name was misspelt then stands alone


def nested(depth: int) -> Any:
    """Lists inside lists."""
    return [nested(depth - 1)] if depth else 0


def found_in(path: Path, catalog: Any) -> list[Fault]:
    return read_definition(path.read_bytes(), source=path.name, catalog=catalog).faults


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_wrong_definition_has_its_fault_at_its_place(path: Path, catalog: Any) -> None:
    """The checker reports the code the file is named after, once, where it stands, and nothing else."""
    faults = found_in(path, catalog)
    own = [fault for fault in faults if fault.code == path.stem]
    expected = PLACES[path.stem]
    assert len(own) == 1
    assert (own[0].line, own[0].column) == (expected["line"], expected["column"])
    assert expected["path"] in ("", own[0].path)
    assert own[0].severity == CODES[path.stem].severity
    assert {fault.code for fault in faults} - {path.stem} == COMPANIONS.get(path.stem, set())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_faults_are_sentences_with_a_remedy(path: Path, catalog: Any) -> None:
    """Each message says what was expected, and each fault says what to do."""
    for fault in found_in(path, catalog):
        assert fault.message.startswith("Expected "), fault
        assert fault.message.endswith((".", "…", "]", "`")), fault
        assert fault.remedy, fault


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_only_errors_keep_a_definition_from_its_plan(path: Path, catalog: Any) -> None:
    """A definition with a warning has a plan, one with an error has none."""
    checked = read_definition(path.read_bytes(), source=path.name, catalog=catalog)
    assert (checked.plan is None) == any(fault.severity == "error" for fault in checked.faults)


def test_text_that_is_not_utf_8_is_refused(catalog: Any) -> None:
    """Latin-1 is `document.encoding`, as bytes and as half a surrogate pair."""
    assert [fault.code for fault in read_definition("title: Ü".encode("latin-1"), catalog=catalog).faults] == [
        "document.encoding"
    ]
    assert [fault.code for fault in read_definition("title: \ud800", catalog=catalog).faults] == ["document.encoding"]


def test_a_text_beyond_the_limit_is_refused_unread(catalog: Any) -> None:
    """More than 16 MB is `document.too_large`, whatever it holds."""
    assert [fault.code for fault in read_definition("#" * (BYTES_MAX + 1), catalog=catalog).faults] == ["document.too_large"]


def test_aliases_that_multiply_are_refused_before_they_do(catalog: Any) -> None:
    """Nine levels of nine aliases stand for 10^9 values: `document.too_large`, without building them."""
    lines = ["a0: &a0 [1,1,1,1,1,1,1,1,1]"]
    lines += [f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 9)]
    assert [fault.code for fault in read_definition("\n".join(lines), catalog=catalog).faults] == ["document.too_large"]


def test_too_many_nodes_are_refused_before_they_are_checked(catalog: Any) -> None:
    """One node above the limit is `document.too_many_nodes`, and nothing else is looked at."""
    nodes = {f"n{index}": {"type": "transform", "to": 1} for index in range(NODES_MAX + 1)}
    checked = check_document({"perdure": 1, "name": "wide", "nodes": nodes}, catalog)
    assert [fault.code for fault in checked.faults] == ["document.too_many_nodes"]


@pytest.mark.parametrize(
    "bomb, code", [([[0] * 1001] * 1001, "document.too_large"), (nested(90), ""), (nested(300), "document.too_deep")]
)
def test_a_document_beyond_the_limits_is_looked_at_no_further(bomb: Any, code: str, catalog: Any) -> None:
    """The same bounds hold for documents that never were text."""
    document = {"perdure": 1, "name": "bomb", "nodes": {"a": {"type": "transform", "to": bomb}}}
    assert [fault.code for fault in check_document(document, catalog).faults] == ([code] if code else [])


@pytest.mark.parametrize(
    "value, code", [({1: "a"}, "value.key"), (object(), "value.type"), (2**63, "value.range"), ("\udc00", "value.text")]
)
def test_values_that_cannot_be_kept_are_refused(value: Any, code: str, catalog: Any) -> None:
    """A document that never was text obeys the same rules of values, and the fault names the path."""
    document = {"perdure": 1, "name": "odd", "nodes": {"a": {"type": "transform", "to": [value]}}}
    assert [(fault.code, fault.path) for fault in check_document(document, catalog).faults] == [(code, "nodes.a.to[0]")]


def test_every_code_has_a_test_and_a_page() -> None:
    """The registry, the wrong definitions and the reference name the same codes."""
    elsewhere = {"document.encoding", "document.too_large", "document.too_many_nodes", "value.key"}
    assert {path.stem for path in FILES} | elsewhere == set(CODES)
    assert {path.stem for path in FILES} == set(PLACES)
    page = reference()
    assert all(f"## {code}\n" in page for code in CODES)


def test_all_faults_are_reported_at_once(catalog: Any) -> None:
    """Faults of several themes stand together, in the order of the text."""
    text = """\
perdure: 1
name: many faults
nodes:
  a: {type: htpp}
  b: {type: condition, after: x}
  c: {type: delay, for: soon, when: "${ 1 + }"}
output: "${ nodes.zzz }"
"""
    faults = [fault for fault in read_definition(text, catalog=catalog).faults if fault.severity == "error"]
    assert [fault.code for fault in faults] == [
        "value.name",
        "type.unknown",
        "key.missing",
        "after.unknown_node",
        "value.duration",
        "expression.syntax",
        "name.unknown_node",
    ]
    assert [fault.line for fault in faults] == [2, 4, 5, 5, 6, 6, 7]
