"""The value rules of day-one 10: what passes the border, and how the rest is refused."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from perdure.expressions import VALUE_DEPTH_MAX, ValueRefused, check_value, value_text


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**63),
        2**63 - 1,
        1.5,
        -1.7976931348623157e308,
        "",
        "ü𝄞\u0000",
        [],
        {},
        {"ü": [1, {"": None}], "b": [1.0, "x", False]},
        nested(VALUE_DEPTH_MAX),
    ],
)
def test_day_one_10_values_within_the_rules_pass(value: Any) -> None:
    """Null, booleans, 64-bit integers, finite floats, text, lists and objects with string keys."""
    check_value(value)


@pytest.mark.parametrize(
    "value, path, word",
    [
        (2**63, "", "±2^63"),
        (-(2**63) - 1, "", "±2^63"),
        (math.nan, "", "finite"),
        ([1, [2, math.inf]], "[1][1]", "finite"),
        ({"a": {"b": [{"c": -math.inf}]}}, "a.b[0].c", "finite"),
        ({"a b": {"x": 2**64}}, '["a b"].x', "±2^63"),
        ("\ud800", "", "surrogate"),
        ({"a": ["ok", "x\udfff"]}, "a[1]", "surrogate"),
        ({"\ud800": 1}, "", "key"),
        ({1: 2}, "", "keys"),
        ({"a": {None: 2}}, "a", "keys"),
        ((1, 2), "", "Use a list"),
        ({"a": {1, 2}}, "a", "Use a list"),
        (b"x", "", "bytes"),
        ({"price": Decimal("1.5")}, "price", "Decimal"),
        (nested(VALUE_DEPTH_MAX + 1), "[0]" * VALUE_DEPTH_MAX, "levels"),
    ],
)
def test_day_one_10_values_beyond_the_rules_are_refused_with_their_path(value: Any, path: str, word: str) -> None:
    """The path leads to the value, the sentence says what is wrong with it."""
    with pytest.raises(ValueRefused) as caught:
        check_value(value)
    assert caught.value.path == path
    assert caught.value.message.startswith("Expected ")
    assert word in caught.value.message


def test_a_path_begins_where_the_caller_says() -> None:
    """A node's result is refused as `nodes.fetch.output…`."""
    with pytest.raises(ValueRefused) as caught:
        check_value({"a": [math.nan]}, path="output")
    assert caught.value.path == "output.a[0]"
    assert str(caught.value).startswith("output.a[0]: Expected")


def test_values_that_contain_themselves_are_refused() -> None:
    """A cycle is deeper than any limit."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueRefused):
        check_value(loop)


def test_values_as_text_are_json_but_for_strings() -> None:
    """What templates and f-strings write."""
    assert [value_text(value) for value in ("a", 1, 1.0, True, None, [1, "ü"], {"a": {}})] == [
        "a", "1", "1.0", "true", "null", '[1,"ü"]', '{"a":{}}',
    ]  # fmt: skip
