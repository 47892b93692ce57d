"""Durations and times: as people write them, and as the product keeps them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.expressions import DURATION_MAX, format_duration, format_time, parse_duration, parse_time

SECOND = 1_000_000
DAY = 86_400 * SECOND


@pytest.mark.parametrize(
    "text, microseconds",
    [
        ("10s", 10 * SECOND),
        ("5m", 300 * SECOND),
        ("2h", 7200 * SECOND),
        ("3d", 3 * DAY),
        ("1w", 7 * DAY),
        ("250ms", 250_000),
        ("7us", 7),
        ("1h30m", 5400 * SECOND),
        ("1d2h3m4s5ms", DAY + 7384 * SECOND + 5_000),
        ("1.5h", 5400 * SECOND),
        ("0s", 0),
        (" 10s ", 10 * SECOND),
        ("PT10S", 10 * SECOND),
        ("P1D", DAY),
        ("P1DT12H", DAY + 43_200 * SECOND),
        ("PT1M0.5S", 60_500_000),
        ("P2W", 14 * DAY),
        (10, 10 * SECOND),
        (0.25, 250_000),
        (0, 0),
        (0.1, 100_000),
    ],
)
def test_durations_are_read(text: Any, microseconds: int) -> None:
    """Units, sums of units, ISO 8601, and seconds as numbers; never through binary fractions."""
    assert parse_duration(text) == microseconds


@pytest.mark.parametrize(
    "text",
    ["", "10", "s", "10 s", "-5s", "5x", "1m1h", "1s1s", "1h30", "1e3s", "P", "PT", "P1DT", "P1M", "P1Y", "P1YT1H", "PT1.5",
     "١٠s", "101w" * 60, "9999999d", -1, -0.5, math.nan, math.inf, 10**30, True, None, [], DURATION_MAX],
)  # fmt: skip
def test_what_is_no_duration_is_refused(text: Any) -> None:
    """Negative, not finite, without unit, in months or years, beyond a century: each with a sentence."""
    with pytest.raises(ValueError, match="Expected "):
        parse_duration(text)


def test_months_and_years_are_refused_with_the_reason() -> None:
    """They have no fixed length."""
    with pytest.raises(ValueError, match="months or years"):
        parse_duration("P1M")


@pytest.mark.parametrize(
    "microseconds, text",
    [(0, "0s"), (5400 * SECOND, "1h30m"), (250_000, "250ms"), (8 * DAY, "8d"), (1_000_001, "1s1us"), (-SECOND, "-1s")],
)
def test_durations_are_written(microseconds: int, text: str) -> None:
    """The largest units first, none that is zero."""
    assert format_duration(microseconds) == text


@settings(derandomize=True, deadline=None)
@given(st.integers(0, DURATION_MAX))
def test_durations_are_read_as_they_were_written(microseconds: int) -> None:
    """Nothing is lost between microseconds and text."""
    assert parse_duration(format_duration(microseconds)) == microseconds


@pytest.mark.parametrize(
    "text, microseconds",
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-02", DAY),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2026-03-01T09:30:00.5Z", 1_772_357_400_500_000),
        ("2026-03-01 09:30Z", 1_772_357_400_000_000),
    ],
)
def test_times_are_read(text: str, microseconds: int) -> None:
    """RFC 3339 with any offset, and dates."""
    assert parse_time(text) == microseconds


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-03-01T09:30:00", "2026-02-30", "2026-13-01", "0000-01-01", "2026-03-01T25:00:00Z",
     "2026-03-01T09:30:00+25:00", "0001-01-01T00:00:00+01:00", "2026-3-1", "２０２６-03-01", "2026-03-01T09:30:00Z" + " " * 50],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    """Days that do not exist, times without an offset, other forms: each with a sentence."""
    with pytest.raises(ValueError, match="Expected a "):
        parse_time(text)


@settings(derandomize=True, deadline=None)
@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_day_one_11_times_are_read_as_they_were_written(microseconds: int) -> None:
    """Microseconds UTC inside, RFC 3339 `Z` outside, and back."""
    text = format_time(microseconds)
    assert text.endswith("Z")
    assert parse_time(text) == microseconds
