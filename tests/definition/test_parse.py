"""Text to document: YAML 1.2 and JSON, their values, their places, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.definition.parse import parse

SCALARS = [
    ("~", None),
    ("null", None),
    ("", None),
    ("true", True),
    ("False", False),
    ("yes", "yes"),
    ("no", "no"),
    ("on", "on"),
    ("off", "off"),
    ("y", "y"),
    ("12", 12),
    ("-12", -12),
    ("+12", 12),
    ("012", 12),
    ("0x1F", 31),
    ("0o17", 15),
    ("0b11", "0b11"),
    ("1_000", "1_000"),
    ("1.5", 1.5),
    (".5", 0.5),
    ("1e3", 1000),
    ("1.0", 1),
    ("1:30", "1:30"),
    ("2024-01-31", "2024-01-31"),
    ("'12'", "12"),
    ('"true"', "true"),
    ("9223372036854775807", 2**63 - 1),
    ("=", "="),
]


@pytest.mark.parametrize("text, value", SCALARS)
def test_plain_scalars_follow_the_core_schema(text: str, value: Any) -> None:
    """YAML 1.2's core schema and nothing beside it: no yes, no dates, no sexagesimals; 1.0 is kept as 1."""
    found = parse(f"a: {text}").document["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("text", ["9223372036854775808", ".inf", "-.INF", ".nan", "1e999", "0x" + "f" * 17, "1" * 5000])
def test_numbers_that_cannot_be_kept_are_faults(text: str) -> None:
    """Overflow and not-a-number are `value.range`, at the place of the value."""
    faults = parse(f"a:\n  b: {text}").faults
    assert [(fault.code, fault.path, fault.line, fault.column) for fault in faults] == [("value.range", "a.b", 2, 6)]


def test_keys_are_always_texts() -> None:
    """`on`, `true`, `404` and `null` as keys are the texts they look like, as in JSON."""
    assert parse("{on: 1, true: 2, 404: 3, null: 4}").document == {"on": 1, "true": 2, "404": 3, "null": 4}


def test_aliases_give_the_same_value_and_the_place_of_its_anchor() -> None:
    """An alias stands for the whole value it names."""
    parsed = parse("a: &x {b: [1, 2]}\nc: *x")
    assert parsed.document == {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}}
    assert parsed.positions.value(("c", "b", 1)) == (1, 15)


@pytest.mark.parametrize(
    "text, code",
    [
        ("a: *nothing", "yaml.syntax"),
        ("a: &x {b: *x}", "yaml.circle"),
        ("a: !!int 3", "yaml.tag"),
        ("a: !!python/object:os.system x", "yaml.tag"),
        ("a: ! 3", "yaml.tag"),
        ("a: {b: 1, b: 2}", "yaml.duplicate_key"),
        ("a: b: c", "yaml.syntax"),
        ("\ta: 1", "yaml.syntax"),
        ("a: \x01", "yaml.syntax"),
        ("&x *y : 1", "yaml.syntax"),
        ("*x : 1", "yaml.key"),
        ("[" * 100_000, "document.too_deep"),
        ("a: " + "{b: " * 300, "document.too_deep"),
    ],
)
def test_yaml_that_is_refused(text: str, code: str) -> None:
    """What is no YAML 1.2, or more than plain data, is refused with one code, never an exception."""
    assert [fault.code for fault in parse(text, source="x.yaml").faults] == [code]


@pytest.mark.parametrize(
    "text, line, column",
    [
        ("", 1, 1),
        ("{", 1, 2),
        ('{"a": NaN}', 1, 7),
        ('{"a": Infinity}', 1, 7),
        ('{"a": 01}', 1, 7),
        ('{"a": 1,}', 1, 9),
        ('{"a" 1}', 1, 6),
        ('{\n  "a": [1 2]\n}', 2, 11),
        ("{'a': 1}", 1, 2),
        ('{"a": "\t"}', 1, 8),
        ('{"a": "x', 1, 7),
        ('{"a": 1} x', 1, 10),
        ('{"a": .5}', 1, 7),
        ('{"a": 1.}', 1, 7),
        ("// no\n{}", 1, 1),
    ],
)
def test_json_is_strict(text: str, line: int, column: int) -> None:
    """What RFC 8259 does not allow is `json.syntax`, where it stands."""
    assert [(fault.code, fault.line, fault.column) for fault in parse(text, source="x.json").faults] == [
        ("json.syntax", line, column)
    ]


def test_json_is_known_by_its_looks() -> None:
    """`{` with a quoted key is JSON; a flow mapping with plain keys is YAML."""
    assert parse('{"a": NaN}').faults[0].code == "json.syntax"
    assert parse("{a: NaN}").document == {"a": "NaN"}
    assert parse("{}").document == {}


def test_a_byte_order_mark_moves_nothing() -> None:
    """Places count from the first character after the mark."""
    assert parse("\ufeffa: .nan".encode()).faults[0].column == 4


@pytest.mark.parametrize(
    "text, offset, place",
    [
        ("a: one two", 4, (1, 8)),
        ("a: 'it''s two'", 5, (1, 11)),
        ('a: "t\\tx\\u00e9z"', 4, (1, 15)),
        ("a: |\n  one\n    two\n  three", 10, (4, 3)),
        ("a: >-\n  one\n  two\n\n  three", 8, (5, 3)),
        ("a: one\n  two", 4, (2, 3)),
    ],
)
def test_places_within_texts_see_through_quotes_and_folds(text: str, offset: int, place: tuple[int, int]) -> None:
    """Line and column of a character of a value, through escapes, doubled quotes, blocks and folded lines."""
    parsed = parse(text)
    assert parsed.positions.within(("a",), parsed.document["a"], offset) == place


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(-1e15, 1e15)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(VALUES)
def test_json_reads_what_json_writes(value: Any) -> None:
    """Any value that can be kept comes back the same, with or without escapes and indentation."""
    for text in (json.dumps({"a": value}), json.dumps({"a": value}, indent=1, ensure_ascii=False)):
        parsed = parse(text, source="x.json")
        assert parsed.faults == []
        assert parsed.document == {"a": value}  # 1.0 == 1: up to 2^53 the kept form is equal


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60))
def test_no_text_makes_the_readers_fail(text: str | bytes) -> None:
    """Whatever the text, there is a document or a fault, never an exception."""
    for source in ("", "x.yaml", "x.json"):
        parsed = parse(text, source=source)
        assert parsed.complete or parsed.faults


def test_the_place_of_a_key_and_of_a_missing_value() -> None:
    """A key has its own place; what is not there has that of its nearest container."""
    positions = parse("a:\n  b: 1\n").positions
    assert positions.key(("a", "b")) == (2, 3)
    assert positions.value(("a", "b")) == (2, 6)
    assert positions.value(("a", "zzz", "y")) == (2, 3)
