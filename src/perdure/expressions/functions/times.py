"""Functions on times and durations. A time is RFC 3339 text and keeps its offset; a length of time is a number of seconds."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from perdure.expressions.budget import Budget
from perdure.expressions.durations import format_duration as duration_text
from perdure.expressions.durations import parse_duration
from perdure.expressions.errors import ExpressionError
from perdure.expressions.functions.catalogue import function
from perdure.expressions.names import Names
from perdure.expressions.times import datetime_text, format_time, microseconds_of, parse_datetime

_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,30}(?:/[A-Za-z0-9_+-]{1,30}){0,2}\Z", re.ASCII)
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_UNITS = ("second", "minute", "hour", "day", "week", "month", "quarter", "year")
_FORMAT_MAX = 200
_DIGITS = {"Y": (4, 4), "m": (1, 2), "d": (1, 2), "H": (1, 2), "I": (1, 2), "M": (1, 2), "S": (1, 2), "f": (1, 9), "y": (2, 2)}
"""Directives that read digits: the fewest and the most."""
_OFFSET = re.compile(r"Z|[+-]\d\d:?\d\d", re.ASCII)

_WRITTEN: dict[str, Callable[[datetime], str]] = {
    "Y": lambda moment: f"{moment.year:04d}",
    "y": lambda moment: f"{moment.year % 100:02d}",
    "m": lambda moment: f"{moment.month:02d}",
    "d": lambda moment: f"{moment.day:02d}",
    "H": lambda moment: f"{moment.hour:02d}",
    "I": lambda moment: f"{moment.hour % 12 or 12:02d}",
    "M": lambda moment: f"{moment.minute:02d}",
    "S": lambda moment: f"{moment.second:02d}",
    "f": lambda moment: f"{moment.microsecond:06d}",
    "p": lambda moment: "AM" if moment.hour < 12 else "PM",
    "j": lambda moment: f"{moment.timetuple().tm_yday:03d}",
    "A": lambda moment: _DAYS[moment.weekday()],
    "a": lambda moment: _DAYS[moment.weekday()][:3],
    "B": lambda moment: _MONTHS[moment.month - 1],
    "b": lambda moment: _MONTHS[moment.month - 1][:3],
    "u": lambda moment: str(moment.isoweekday()),
    "V": lambda moment: f"{moment.isocalendar().week:02d}",
    "G": lambda moment: f"{moment.isocalendar().year:04d}",
    "z": lambda moment: datetime_text(moment)[-6:] if moment.utcoffset() else "+00:00",
    "s": lambda moment: str(microseconds_of(moment) // 1_000_000),
    "%": lambda moment: "%",
}
"""Directives as they are written; names are English whatever the machine's locale."""


@function("Times", ("len(now()) > 19", True), cost=5)
def now(names: Names, budget: Budget) -> str:
    """The time at which this step happens, in UTC: the same wherever it is asked in one evaluation, and in every replay."""
    return format_time(names.at)


@function(
    "Times",
    ('parse_time("2026-03-01T10:00:00+01:00")', "2026-03-01T10:00:00+01:00"),
    ('parse_time("01.03.2026 10:30", "%d.%m.%Y %H:%M", "Europe/Berlin")', "2026-03-01T10:30:00+01:00"),
    ("parse_time(0)", "1970-01-01T00:00:00Z"),
    cost=25,
)
def parse_time(budget: Budget, value: str | int | float, format_: str | None = None, zone: str = "UTC") -> str:
    """A time from text (RFC 3339, or a format of %Y %m %d %H %I %M %S %f %p %b %B %y %z), or from seconds since 1970.

    `zone` counts where the text has no offset.
    """
    if isinstance(value, (int, float)):
        return _text(_from_seconds(value).astimezone(_zone(zone)))
    budget.touch(len(value))
    if format_ is None:
        return _text(_moment(value))
    return _text(_read(value, format_, zone))


@function(
    "Times", ('parse_date("1.3.2026", "%d.%m.%Y")', "2026-03-01"), ('parse_date("2026-03-01T10:00:00Z")', "2026-03-01"), cost=8
)
def parse_date(budget: Budget, text: str, format_: str | None = None) -> str:
    """A date, as YYYY-MM-DD, from text: RFC 3339, or a format as for `parse_time`."""
    budget.touch(len(text))
    moment = _moment(text) if format_ is None else _read(text, format_, "UTC")
    return moment.date().isoformat()


@function(
    "Times",
    ('format_date("2026-03-01T09:05:00Z", "%d.%m.%Y %H:%M")', "01.03.2026 09:05"),
    ('format_date("2026-03-01", "%A, %-d %B %Y")', "Sunday, 1 March 2026"),
    cost=15,
)
def format_date(budget: Budget, time: str, format_: str = "%Y-%m-%d", zone: str | None = None) -> str:
    """A time as people read it.

    The format takes %Y %y %m %d %H %I %M %S %f %p %A %a %B %b %j %u %V %G %z %s and %%; %-d is %d without the zero.
    """
    moment = _in_zone(_moment(time), zone)
    _check_format(format_)
    budget.touch(4 * len(format_))
    return re.sub(r"%(-?)(.?)", lambda match: _directive(moment, match[2], bool(match[1])), format_, flags=re.DOTALL)


@function(
    "Times",
    ('add("2026-03-01T00:00:00Z", "1h30m")', "2026-03-01T01:30:00Z"),
    ('add("2026-01-31T00:00:00Z", months=1)', "2026-02-28T00:00:00Z"),
    ('add("2026-03-28T12:00:00+01:00", days=1, zone="Europe/Berlin")', "2026-03-29T12:00:00+02:00"),
    cost=15,
)
def add(
    budget: Budget,
    time: str,
    duration: str | int | float = 0,
    days: int = 0,
    months: int = 0,
    years: int = 0,
    zone: str | None = None,
) -> str:
    """The time so much later: a duration of fixed length, and days, months and years of the calendar, as lived in `zone`."""
    moment = _in_zone(_moment(time), zone)
    if days or months or years:
        moment = _calendar(moment, days, months, years)
    return _text(_shifted(moment, _microseconds(duration)))


@function("Times", ('sub("2026-03-01T00:00:00Z", "1d")', "2026-02-28T00:00:00Z"), cost=12)
def sub(budget: Budget, time: str, duration: str | int | float) -> str:
    """The time so much earlier."""
    return _text(_shifted(_moment(time), -_microseconds(duration)))


@function(
    "Times",
    ('diff("2026-03-01T00:00:00Z", "2026-03-01T01:00:00Z")', 3600),
    ('diff("2026-03-01", "2026-03-08", "day")', 7),
    cost=8,
)
def diff(budget: Budget, start: str, end: str, unit: str = "second") -> int | float:
    """How much later `end` is than `start`, in seconds, minutes, hours, days or weeks; negative if it is earlier."""
    sizes = {"second": 1_000_000, "minute": 60_000_000, "hour": 3_600_000_000, "day": 86_400_000_000, "week": 604_800_000_000}
    if unit not in sizes:
        raise _bad_unit(unit, tuple(sizes))
    return _ratio(microseconds_of(_moment(end)) - microseconds_of(_moment(start)), sizes[unit])


@function("Times", ('is_before("2026-03-01T10:00:00+02:00", "2026-03-01T09:00:00Z")', True), cost=8)
def is_before(budget: Budget, time: str, other: str) -> bool:
    """Whether the first time is earlier than the second one, whatever their offsets."""
    return _moment(time) < _moment(other)


@function("Times", ('is_after("2026-03-02", "2026-03-01")', True), cost=8)
def is_after(budget: Budget, time: str, other: str) -> bool:
    """Whether the first time is later than the second one, whatever their offsets."""
    return _moment(time) > _moment(other)


@function("Times", ('timestamp("1970-01-01T00:01:00Z")', 60), cost=8)
def timestamp(budget: Budget, time: str) -> int | float:
    """Seconds since 1970-01-01 UTC; `parse_time(seconds)` is the way back."""
    return _ratio(microseconds_of(_moment(time)), 1_000_000)


@function("Times", ('year("2026-03-01")', 2026), cost=8)
def year(budget: Budget, time: str) -> int:
    """The year."""
    return _moment(time).year


@function("Times", ('month("2026-03-01")', 3), cost=8)
def month(budget: Budget, time: str) -> int:
    """The month, from 1 to 12."""
    return _moment(time).month


@function("Times", ('day("2026-03-01")', 1), cost=8)
def day(budget: Budget, time: str) -> int:
    """The day of the month, from 1."""
    return _moment(time).day


@function("Times", ('hour("2026-03-01T10:30:00+01:00")', 10), cost=8)
def hour(budget: Budget, time: str) -> int:
    """The hour, from 0 to 23, in the time's own offset."""
    return _moment(time).hour


@function("Times", ('minute("2026-03-01T10:30:00Z")', 30), cost=8)
def minute(budget: Budget, time: str) -> int:
    """The minute, from 0 to 59."""
    return _moment(time).minute


@function("Times", ('second("2026-03-01T10:30:15Z")', 15), cost=8)
def second(budget: Budget, time: str) -> int:
    """The second, from 0 to 59."""
    return _moment(time).second


@function("Times", ('weekday("2026-03-01")', 7), cost=8)
def weekday(budget: Budget, time: str) -> int:
    """The day of the week by ISO 8601: 1 is Monday, 7 is Sunday."""
    return _moment(time).isoweekday()


@function("Times", ('week("2026-01-01")', 1), cost=8)
def week(budget: Budget, time: str) -> int:
    """The week of the year by ISO 8601, from 1 to 53."""
    return _moment(time).isocalendar().week


@function("Times", ('day_of_year("2026-03-01")', 60), cost=8)
def day_of_year(budget: Budget, time: str) -> int:
    """The day of the year, from 1 to 366."""
    return _moment(time).timetuple().tm_yday


@function(
    "Times",
    ('start_of("2026-03-15T10:30:00Z", "month")', "2026-03-01T00:00:00Z"),
    ('start_of("2026-03-15T23:30:00Z", "day", "Europe/Berlin")', "2026-03-16T00:00:00+01:00"),
    cost=20,
)
def start_of(budget: Budget, time: str, unit: str, zone: str | None = None) -> str:
    """The first moment of the second, minute, hour, day, week (from Monday), month, quarter or year that the time lies in."""
    return _text(_start(_in_zone(_moment(time), zone), unit))


@function("Times", ('end_of("2026-02-10T00:00:00Z", "month")', "2026-02-28T23:59:59.999999Z"), cost=25)
def end_of(budget: Budget, time: str, unit: str, zone: str | None = None) -> str:
    """The last microsecond of the unit that the time lies in."""
    start = _start(_in_zone(_moment(time), zone), unit)
    months = {"month": 1, "quarter": 3, "year": 12}.get(unit)
    if months is not None:
        following = _calendar(start, 0, months, 0)
    elif unit in ("day", "week"):
        following = _calendar(start, 7 if unit == "week" else 1, 0, 0)
    else:
        following = _shifted(start, {"hour": 3600, "minute": 60, "second": 1}[unit] * 1_000_000)
    return _text(_shifted(following, -1))


@function("Times", ('in_zone("2026-07-01T12:00:00Z", "America/New_York")', "2026-07-01T08:00:00-04:00"), cost=25)
def in_zone(budget: Budget, time: str, zone: str) -> str:
    """The same moment with the offset that holds then in a zone such as Europe/Berlin, or with an offset such as +02:00."""
    return _text(_in_zone(_moment(time), zone))


@function("Durations", ('duration("5m")', 300), ('duration("250ms")', 0.25), ('duration("P1D", "hour")', 24), cost=5)
def duration(budget: Budget, value: str | int | float, unit: str = "second") -> int | float:
    """The length of a duration such as 10s, 1h30m, 3d or PT10S, in seconds, minutes, hours, days or weeks."""
    sizes = {"second": 1_000_000, "minute": 60_000_000, "hour": 3_600_000_000, "day": 86_400_000_000, "week": 604_800_000_000}
    if unit not in sizes:
        raise _bad_unit(unit, tuple(sizes))
    return _ratio(_microseconds(value), sizes[unit])


@function("Durations", ("format_duration(5400)", "1h30m"), ("format_duration(0.25)", "250ms"), cost=5)
def format_duration(budget: Budget, seconds: int | float) -> str:
    """A number of seconds as people write it: 1h30m, 250ms."""
    sign = "-" if seconds < 0 else ""
    return sign + duration_text(_microseconds(abs(seconds)))


def _text(moment: datetime) -> str:
    if not 1 <= moment.astimezone(UTC).year <= 9999:
        raise _beyond()
    return datetime_text(moment)


def _moment(text: str) -> datetime:
    try:
        return parse_datetime(text)
    except ValueError as error:
        raise ExpressionError("expression.value", str(error), "Read other forms with `parse_time(x, format, zone)`.") from None


def _microseconds(value: Any) -> int:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ExpressionError("expression.value", str(error), "Use `sub` to go back in time.") from None


def _from_seconds(value: int | float) -> datetime:
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(value * 1_000_000))
    except OverflowError:
        raise _beyond() from None


def _shifted(moment: datetime, microseconds: int) -> datetime:
    """So much later in true time: in a zone with summer time the offset may change on the way."""
    try:
        return (moment.astimezone(UTC) + timedelta(microseconds=microseconds)).astimezone(moment.tzinfo)
    except OverflowError:
        raise _beyond() from None


def _calendar(moment: datetime, days: int, months: int, years: int) -> datetime:
    """So many days, months, years later by the calendar, at the same time of day; a day too many is the last of the month."""
    if max(abs(days), abs(months), abs(years)) > 4_000_000:
        raise _beyond()
    count = moment.year * 12 + moment.month - 1 + months + 12 * years
    year, month = divmod(count, 12)
    if not 1 <= year <= 9999:
        raise _beyond()
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    length = 29 if leap and month == 1 else (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month]
    try:
        local = moment.replace(tzinfo=None, year=year, month=month + 1, day=min(moment.day, length)) + timedelta(days=days)
        # Through UTC and back: a time that the clocks jump over comes out as the moment after the jump.
        return local.replace(tzinfo=moment.tzinfo).astimezone(UTC).astimezone(moment.tzinfo)
    except OverflowError:
        raise _beyond() from None


def _start(moment: datetime, unit: str) -> datetime:
    if unit not in _UNITS:
        raise _bad_unit(unit, _UNITS)
    if unit in ("second", "minute", "hour"):
        second = moment.second if unit == "second" else 0
        return moment.replace(minute=0 if unit == "hour" else moment.minute, second=second, microsecond=0)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if unit == "week":
        return _calendar(day, -day.weekday(), 0, 0)
    if unit == "month":
        return _calendar(day, 1 - day.day, 0, 0)
    if unit == "quarter":
        return _calendar(day.replace(day=1), 0, -((day.month - 1) % 3), 0)
    if unit == "year":
        return _calendar(day.replace(day=1), 0, 1 - day.month, 0)
    return _calendar(day, 0, 0, 0)


def _in_zone(moment: datetime, zone: str | None) -> datetime:
    if zone is None:
        return moment
    try:
        return moment.astimezone(_zone(zone))
    except OverflowError:
        raise _beyond() from None


def _zone(name: str) -> tzinfo:
    if name in ("UTC", "Z"):
        return UTC
    if _OFFSET.fullmatch(name):
        sign = -1 if name[0] == "-" else 1
        hours, minutes = int(name[1:3]), int(name[-2:])
        if hours < 24 and minutes < 60:
            return timezone(sign * timedelta(hours=hours, minutes=minutes))
    elif _ZONE.match(name):
        found = _named_zone(name)
        if found is not None:
            return found
    raise ExpressionError(
        "expression.value",
        f"Expected a time zone such as Europe/Berlin, but got {name[:60]!r}.",
        "Use an IANA name, UTC, or an offset.",
    )


@lru_cache(maxsize=1024)  # there are about six hundred
def _named_zone(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # unknown, or the name of a folder in the zone database
        return None


def _directive(moment: datetime, letter: str, bare: bool) -> str:
    """What `%letter` stands for; `bare`: without its leading zero."""
    write = _WRITTEN.get(letter)
    if write is None:
        raise _bad_directive(letter)
    text = write(moment)
    return (text.lstrip("0") or "0") if bare and text[:1] == "0" else text


def _read(text: str, format_: str, zone: str) -> datetime:
    """Read `text` by `format`, from left to right; nothing in it can be read in two ways, so nothing is tried twice."""
    _check_format(format_)
    found: dict[str, int] = {}
    offset: tzinfo | None = None
    at = position = 0
    while position < len(format_):
        letter = format_[position]
        if letter != "%":
            if text[at : at + 1] != letter:
                raise _mismatch(text, format_, at)
            at, position = at + 1, position + 1
            continue
        letter = format_[position + 1 : position + 2]
        position += 2
        if letter in _DIGITS:
            fewest, most = _DIGITS[letter]
            end = at
            while end < len(text) and end - at < most and text[end] in "0123456789":
                end += 1
            if end - at < fewest:
                raise _mismatch(text, format_, at)
            found[letter] = int(text[at:end].ljust(6, "0")[:6]) if letter == "f" else int(text[at:end])
        elif letter in ("b", "B", "p"):
            names = ("AM", "PM") if letter == "p" else _MONTHS if letter == "B" else tuple(name[:3] for name in _MONTHS)
            matching = [index for index, name in enumerate(names) if text[at : at + len(name)].lower() == name.lower()]
            if not matching:
                raise _mismatch(text, format_, at)
            found[letter] = matching[0]
            end = at + len(names[matching[0]])
        elif letter == "z":
            match = _OFFSET.match(text, at)
            if match is None:
                raise _mismatch(text, format_, at)
            offset, end = _zone(match.group()), match.end()
        elif letter == "%" and text[at : at + 1] == "%":
            end = at + 1
        elif letter == "%":
            raise _mismatch(text, format_, at)
        else:
            raise _bad_directive(letter)
        at = end
    if at != len(text):
        raise _mismatch(text, format_, at)
    return _assembled(text, found, offset or _zone(zone))


def _assembled(text: str, found: dict[str, int], zone: tzinfo) -> datetime:
    year = found.get("Y", 1970)
    if "y" in found:
        year = found["y"] + (2000 if found["y"] < 69 else 1900)
    month = found.get("m", found.get("b", found.get("B", 0)) + 1)
    hour = found.get("H", 0)
    if "I" in found and 1 <= found["I"] <= 12:
        hour = found["I"] % 12 + 12 * found.get("p", 0)
    try:
        moment = datetime(year, month, found.get("d", 1), hour, found.get("M", 0), found.get("S", 0), found.get("f", 0), zone)
        return moment.astimezone(UTC).astimezone(zone)
    except (ValueError, OverflowError) as error:
        raise ExpressionError(
            "expression.value", f"Expected a time that exists, but {text[:60]!r} does not: {error}.", ""
        ) from None


def _check_format(format_: str) -> None:
    if len(format_) > _FORMAT_MAX:
        raise ExpressionError(
            "expression.too_large", f"Expected a format of at most {_FORMAT_MAX} characters, but it is longer.", "Shorten it."
        )


def _mismatch(text: str, format_: str, at: int) -> ExpressionError:
    return ExpressionError(
        "expression.value",
        f"Expected text of the format {format_[:60]!r}, but {text[:60]!r} differs at character {at}.",
        "Look at the order and the signs between.",
    )


def _bad_directive(letter: str) -> ExpressionError:
    return ExpressionError(
        "expression.value",
        f"Expected a known letter after %, but got {letter!r}.",
        "Such as %Y-%m-%d %H:%M:%S; %% is a percent sign.",
    )


def _bad_unit(unit: str, units: tuple[str, ...]) -> ExpressionError:
    return ExpressionError("expression.value", f"Expected a unit, but got {unit[:40]!r}.", f"One of {', '.join(units)}.")


def _beyond() -> ExpressionError:
    return ExpressionError("expression.overflow", "Expected a time between the years 1 and 9999, but it lies beyond.", "")


def _ratio(microseconds: int, size: int) -> int | float:
    whole, rest = divmod(microseconds, size)
    return whole if rest == 0 else microseconds / size
