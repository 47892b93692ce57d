"""How times, durations, values, errors and states read on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from perdure.errors import Failure

GLYPHS = {
    "pending": "·", "running": "▸", "waiting": "◷", "parked": "!", "succeeded": "✓", "failed": "✗", "cancelled": "⊘",
    "skipped": "–", "queued": "·", "closing": "▸", "paused": "‖", "timed_out": "◷",
}  # fmt: skip
COLOURS = {
    "pending": "dim", "running": "cyan", "waiting": "yellow", "parked": "magenta", "succeeded": "green", "failed": "red",
    "cancelled": "dim red", "skipped": "dim", "timed_out": "red", "closing": "yellow", "queued": "dim", "paused": "yellow",
}  # fmt: skip

DAY = 86_400_000_000
DETAIL_LINES_MAX = 12

# What would move the cursor, colour the screen or ring: shown as `?`, since texts of workflows and servers stand in our lines.
_CONTROLS = {code: "?" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"}
_ONE_LINE = {**_CONTROLS, ord("\n"): " ", ord("\t"): " ", ord("\r"): " "}


# Python, and JavaScript before 2019, end a line at each of these; a line of JSON must stay one.
_ESCAPED = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def json_line(value: Any) -> str:
    """A value as one line of JSON, in characters that stdout can write."""
    utf = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    return json.dumps(value, ensure_ascii=not utf).translate(_ESCAPED)


def printable(text: str) -> str:
    """The text without anything that a terminal would obey."""
    return text.translate(_CONTROLS)


def one_line(text: str) -> str:
    """The text in one line."""
    return text.translate(_ONE_LINE)


def _local(at: int) -> datetime:
    return datetime.fromtimestamp(at // 1_000_000, UTC).astimezone()


def clock_text(at: int) -> str:
    """Local time of day with milliseconds: `09:30:00.250`."""
    return f"{_local(at):%H:%M:%S}.{at // 1_000 % 1_000:03d}"


def date_text(at: int) -> str:
    """Local date and time: `2026-03-01 09:30:00`."""
    return f"{_local(at):%Y-%m-%d %H:%M:%S}"


def moment_text(at: int, now: int) -> str:
    """When something will be, and how far off that is: `09:30:00, in 2.1 s`; with its date where that is a day or more."""
    left = at - now
    when = f"{_local(at):%H:%M:%S}" if abs(left) < DAY else date_text(at)
    return f"{when}, in {duration_text(left)}" if left > 0 else f"{when}, now"


def duration_text(microseconds: int) -> str:
    """A duration in two units at most: `340 ms`, `2.1 s`, `4 m 10 s`, `3 h 2 m`, `2 d 4 h`."""
    if microseconds < 1_000:
        return f"{microseconds} µs"
    if microseconds < 999_500:
        return f"{microseconds / 1_000:.0f} ms"
    if microseconds < 59_950_000:
        return f"{microseconds / 1_000_000:.1f} s"
    whole = round(microseconds / 1_000_000)
    for size, name, smaller, below in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name} {rest} {below}" if rest else f"{whole // size} {name}"
    raise AssertionError("a minute or more has a unit")


def value_text(value: Any, *, longest: int = 2_000) -> str:
    """A value as JSON: on one line where it fits, else indented; cut where it is very long."""
    text = json.dumps(value, ensure_ascii=False)
    if 100 < len(text) <= longest:
        text = json.dumps(value, ensure_ascii=False, indent=2)
    return printable(text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)")


def failure_lines(failure: Failure | Mapping[str, Any], *, indent: str = "") -> list[str]:
    """A failure with its code and node, its attempts, its cause and what failed beside it, outermost first."""
    error = failure.as_value() if isinstance(failure, Failure) else failure
    where = f" at {error['node']}" if error.get("node") else ""
    lines = [f"{indent}{one_line(error['title'])}", f"{indent}  {error['code']} ({error['category']}){where}"]
    detail = printable(str(error.get("detail") or "")).splitlines()
    lines += [f"{indent}  {line}" for line in detail[:DETAIL_LINES_MAX]]
    if len(detail) > DETAIL_LINES_MAX:
        lines.append(f"{indent}  … ({len(detail) - DETAIL_LINES_MAX} more lines)")
    attempts = (error.get("attempts") or ())[:-1]  # the last one is the failure itself
    if attempts:
        lines.append(f"{indent}  earlier attempts:")
        lines += [f"{indent}    {each['attempt']}. {each['code']}: {one_line(each['title'])}" for each in attempts]
    if error.get("cause"):
        lines += [f"{indent}  because:", *failure_lines(error["cause"], indent=f"{indent}    ")]
    for other in error.get("also") or ():
        lines += [f"{indent}  also:", *failure_lines(other, indent=f"{indent}    ")]
    return lines
