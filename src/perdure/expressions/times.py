"""Points in time: RFC 3339 text outside, integer microseconds UTC inside (day-one 11)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

TIME_MIN = -62_135_596_800_000_000
"""0001-01-01T00:00:00Z in microseconds."""
TIME_MAX = 253_402_300_799_999_999
"""9999-12-31T23:59:59.999999Z in microseconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|z|[+-]\d\d:?\d\d)?)?\Z",
    re.ASCII,
)


def parse_datetime(text: str) -> datetime:
    """The aware datetime of an RFC 3339 text, with the offset as written; a bare date is its midnight in UTC.

    Raises ValueError, with a sentence, for anything else, above all for a time without an offset.
    """
    match = _TIME.match(text) if len(text) <= 40 else None
    if match is None:
        shown = text if len(text) <= 40 else text[:40] + "…"
        raise ValueError(f"Expected a time like 2026-03-01T09:30:00Z or a date like 2026-03-01, but got {shown!r}.")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    if hour is not None and zone is None:
        raise ValueError(f"Expected a time with an offset, but {text!r} has none. Add Z, or an offset such as +01:00.")
    microsecond = int((fraction or "").ljust(6, "0")[:6])
    try:
        moment = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), microsecond, _zone(zone)
        )
        moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"Expected a time that exists, but {text!r} does not: {error}.") from None
    return moment


def parse_time(text: str) -> int:
    """Microseconds UTC of an RFC 3339 text or date. Raises ValueError with a sentence."""
    return microseconds_of(parse_datetime(text))


def format_time(microseconds: int) -> str:
    """RFC 3339 in UTC, `2026-03-01T09:30:00Z`, with a fraction only where there is one. Raises ValueError beyond year 9999."""
    if not TIME_MIN <= microseconds <= TIME_MAX:
        raise ValueError(f"Expected a time between the years 1 and 9999, but got {microseconds} microseconds since 1970.")
    return datetime_text(_EPOCH + timedelta(microseconds=microseconds))


def microseconds_of(moment: datetime) -> int:
    """Microseconds UTC of an aware datetime, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def datetime_text(moment: datetime) -> str:
    """RFC 3339 of an aware datetime, in its own offset; UTC is written `Z`."""
    text = moment.replace(tzinfo=None).isoformat(timespec="seconds")
    if moment.microsecond:
        text += f".{moment.microsecond:06d}".rstrip("0")
    offset = moment.utcoffset()
    if not offset:
        return text + "Z"
    minutes = round(offset.total_seconds() / 60)
    sign = "-" if minutes < 0 else "+"
    return f"{text}{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def _zone(text: str | None) -> timezone:
    if text is None or text in "Zz":
        return UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    if hours > 23 or minutes > 59:
        raise ValueError(f"there is no offset {text}")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset) if offset else UTC
