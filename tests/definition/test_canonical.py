"""The canonical form and the digest: what an execution pins."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.definition import authored, digest_of, read_definition, restore
from perdure.definition.canonical import canonical

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SAFE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(SAFE)
def test_the_form_is_that_of_rfc_8785(value: Any) -> None:
    """Inside the RFC's own domain the bytes are those of its reference: order of keys, escapes, numbers."""
    expected = rfc8785.dumps({"a": _kept(value)})
    assert canonical({"a": value}) == expected


def _kept(value: Any) -> Any:
    """Whole floats within 64 bits are kept as integers; the RFC's own writer takes those up to 2^53 alone."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [_kept(item) for item in value]
    return {key: _kept(item) for key, item in value.items()} if isinstance(value, dict) else value


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False))
def test_what_is_stored_reads_back_to_the_same_bytes(number: Any) -> None:
    """Storing, reading and storing again changes nothing, for every number that can be kept."""
    stored = canonical({"a": number})
    assert type(number)(restore(stored)["a"]) == number
    assert canonical(restore(stored)) == stored


def test_integers_beyond_double_precision_keep_their_digits() -> None:
    """2^63 - 1 is written out: two definitions that differ in it must not share a digest."""
    assert canonical({"a": 2**63 - 1}) == b'{"a":9223372036854775807}'
    assert digest_of({"a": 2**63 - 1}) != digest_of({"a": 2**63 - 2})


@pytest.mark.parametrize("value", [2**63, float("nan"), float("inf"), "\ud800", {1: 2}, b"x"])
def test_values_that_cannot_be_kept_have_no_form(value: Any) -> None:
    """They are refused with a path rather than written in some way."""
    with pytest.raises(ValueError, match="^a"):
        canonical({"a": value})


def test_a_stored_definition_is_an_object() -> None:
    """Anything else was not stored by us."""
    with pytest.raises(ValueError, match="Expected a stored definition"):
        restore(b"[]")


BASE = """\
perdure: 1
name: shop
triggers: [{type: manual}]
nodes:
  a: {type: python, with: {ui: {x: 1}, code: ""}}
  b:
    {type: try, after: a,
     body: {nodes: {c: {type: log, message: hi}}},
     catch: [{on: x, body: {nodes: {d: {type: log, message: no}}}}]}
"""
SAME = """\
# a comment
name: shop
perdure: 1
ui: {zoom: 2}
triggers: [{ui: {open: true}, type: manual}]
nodes:
  a: {with: {code: "", ui: {x: 1}}, type: python, ui: {x: 1, notes: here}}
  b:
    type: try
    after: a
    catch: [{on: x, body: {ui: {x: 3}, nodes: {d: {type: log, message: no, ui: {x: 1}}}}}]
    body: {nodes: {c: {type: log, message: hi, ui: {x: 1}}}}
"""


def test_ui_comments_and_order_are_no_part_of_the_digest(catalog: Any) -> None:
    """Positions, notes, comments and the order of keys change nothing; JSON and YAML of one document are the same."""
    digest = read_definition(BASE, catalog=catalog).digest
    assert read_definition(SAME, catalog=catalog).digest == digest
    assert read_definition(canonical(read_definition(BASE, catalog=catalog).document), catalog=catalog).digest == digest
    assert len(digest) == hashlib.sha256().digest_size


@pytest.mark.parametrize(
    "change", [("x: 1", "x: 2"), ("type: manual", "type: manual, title: start"), ("hi", "ho"), ("no", "nay")]
)
def test_everything_else_is_part_of_the_digest(change: tuple[str, str], catalog: Any) -> None:
    """A parameter that is called `ui`, a trigger's title, and what stands inside bodies count."""
    first = read_definition(BASE, catalog=catalog).digest
    assert read_definition(BASE.replace(*change), catalog=catalog).digest != first


def test_defaults_that_are_written_out_change_the_digest(catalog: Any) -> None:
    """The digest is over what the author wrote: filling in defaults is the plan's business."""
    first = read_definition(BASE, catalog=catalog).digest
    assert read_definition(BASE.replace("type: try", "type: try, on_timeout: fail"), catalog=catalog).digest != first


def test_authored_leaves_its_input_alone() -> None:
    """The stored document keeps its `ui`."""
    document = {"ui": {}, "nodes": {"a": {"ui": {}, "type": "log"}}}
    assert authored(document) == {"nodes": {"a": {"type": "log"}}}
    assert document == {"ui": {}, "nodes": {"a": {"ui": {}, "type": "log"}}}
