"""The figures of the last release and those that were accepted since, in `released.json`, and what differs from them now."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import apsw
import msgspec

from bench.counts.counting import COUNTS
from bench.counts.workloads import WORKLOADS
from bench.peers.tables import number
from perdure import __version__

FILE = Path(__file__).with_name("released.json")
ELSEWHERE = 0.10
"""By which part what depends on Python or on SQLite may grow under another version of it than the record was made with."""
REMEDY = "Find what costs more, or accept it with its reason: make counts ARGS='--accept \"why\"'."

Counts = Mapping[str, Mapping[str, int]]  # workload, count: figure


class Figure(msgspec.Struct, frozen=True):
    """A count of a workload: in the last release, as accepted since, and why it may have grown."""

    released: int
    accepted: int
    note: str = ""


class Record(msgspec.Struct, frozen=True):
    """What lies in `released.json`. `version` is that of the release; `python` and `sqlite` are those it was counted with."""

    version: str
    python: str
    sqlite: str
    workloads: dict[str, dict[str, Figure]]


class Difference(msgspec.Struct, frozen=True):
    """A count that is not what was accepted. `fails`: it has grown, or only one of the two knows it; not when it fell."""

    workload: str
    count: str
    accepted: int | None
    now: int | None
    fails: bool
    sentence: str


def python() -> str:
    """The version of Python as far as costs depend on it."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def sqlite() -> str:
    """The version of SQLite that apsw brings along."""
    return str(apsw.sqlite_lib_version())


def read(file: Path = FILE) -> Record:
    """The record. Raises ValueError where a count may grow and nothing says why."""
    record = msgspec.json.decode(file.read_bytes(), type=Record)
    for workload, figures in record.workloads.items():
        for count, figure in figures.items():
            if figure.accepted > figure.released and not figure.note.strip():
                raise ValueError(
                    f"{file.name}: {workload}: expected a note why {count} may grow from {figure.released:,} to "
                    f"{figure.accepted:,}, but there is none. {REMEDY}"
                )
    return record


def write(record: Record, file: Path = FILE) -> None:
    """A line for each count, so that a change shows what became of it."""
    named = msgspec.to_builtins(record)
    lines = ["{"]
    lines += [f" {json.dumps(key)}: {json.dumps(named[key])}," for key in ("version", "python", "sqlite")]
    workloads = [
        f"  {json.dumps(workload)}: {{\n"
        + ",\n".join(f"   {json.dumps(count)}: {json.dumps(figure, ensure_ascii=False)}" for count, figure in figures.items())
        + "\n  }"
        for workload, figures in named["workloads"].items()
    ]
    file.write_text("\n".join([*lines, ' "workloads": {', ",\n".join(workloads), " }", "}", ""]), encoding="utf-8")


def differences(record: Record, now: Counts) -> list[Difference]:
    """All counts that differ from what was accepted by more than is tolerated, with a sentence each."""
    return list(_differences(record, now))


def accepted(record: Record, now: Counts, note: str) -> Record:
    """The record with the counts of now; what is more than in the last release bears the note, or the one that it had.

    What differs by no more than is tolerated stays as it was, so that it cannot creep. Raises ValueError without a note.
    """
    if not note.strip():
        raise ValueError("Expected a note that says why counts may grow, but it is empty.")
    workloads = {
        workload: {count: _accepted(record, workload, count, value, note) for count, value in counts.items()}
        for workload, counts in now.items()
    }
    return Record(version=record.version, python=python(), sqlite=sqlite(), workloads=workloads)


def released(now: Counts) -> Record:
    """The record that a release leaves: all counts as they are, without a note."""
    workloads = {workload: {count: Figure(value, value) for count, value in counts.items()} for workload, counts in now.items()}
    return Record(version=__version__, python=python(), sqlite=sqlite(), workloads=workloads)


def _accepted(record: Record, workload: str, count: str, value: int, note: str) -> Figure:
    before = record.workloads.get(workload, {}).get(count)
    if before is None:
        return Figure(value, value)
    if _is_as_recorded(record, count) and _is_tolerated(record, count, before, value):
        return before
    if value <= before.released:
        return Figure(before.released, value)
    return Figure(before.released, value, note if value > before.accepted or not before.note else before.note)


def _differences(record: Record, now: Counts) -> Iterator[Difference]:
    for workload, counts in now.items():
        known = record.workloads.get(workload, {})
        for count, value in counts.items():
            figure = known.get(count)
            if figure is None:
                sentence = f"{workload}: {count} is {value:,}, and has no figure yet. {REMEDY}"
                yield Difference(workload, count, None, value, True, sentence)
            elif not _is_tolerated(record, count, figure, value):
                yield _difference(record, workload, count, figure, value)
        for count in known.keys() - counts.keys():
            yield _gone(workload, count, known[count])
    for workload in record.workloads.keys() - now.keys():
        for count, figure in record.workloads[workload].items():
            yield _gone(workload, count, figure)


def _difference(record: Record, workload: str, count: str, figure: Figure, now: int) -> Difference:
    before, steps = figure.accepted, WORKLOADS[workload]().steps
    change = f"from {before:,} to {now:,} ({number(before / steps)} to {number(now / steps)} a step)"
    if now < before:
        sentence = f"{workload}: {count} fell {change}. Accept it, so that it stays so: make counts ARGS='--accept \"why\"'."
        return Difference(workload, count, before, now, False, sentence)
    tolerance = _tolerance(record, count)
    expected = f"at most {tolerance:.0%} more" if tolerance else "no more"
    sentence = f"{workload}: {count} ({COUNTS[count].meaning}) grew {change}; expected {expected} without a note. {REMEDY}"
    return Difference(workload, count, before, now, True, sentence)


def _is_tolerated(record: Record, count: str, figure: Figure, now: int) -> bool:
    return abs(now - figure.accepted) <= figure.accepted * _tolerance(record, count)


def _tolerance(record: Record, count: str) -> float:
    return COUNTS[count].tolerance if _is_as_recorded(record, count) else ELSEWHERE


def _is_as_recorded(record: Record, count: str) -> bool:
    """Is what the count depends on of the version that it was recorded with?"""
    return {"": True, "python": python() == record.python, "sqlite": sqlite() == record.sqlite}[COUNTS[count].depends_on]


def _gone(workload: str, count: str, figure: Figure) -> Difference:
    sentence = f"{workload}: {count} was {figure.accepted:,}, and is not counted any more. {REMEDY}"
    return Difference(workload, count, figure.accepted, None, True, sentence)
