"""Counts as tables: then and now for the terminal, and what a step costs for the page on speed."""

from __future__ import annotations

from collections.abc import Mapping

from bench.counts.counting import COUNTS
from bench.counts.record import ELSEWHERE, Counts, Record, python, sqlite
from bench.counts.workloads import WORKLOADS
from bench.pages import table
from bench.peers.tables import number

NAME = "counts"  # of the marks in the page that the table stands between
NONE = "–"


def text(record: Record, now: Counts) -> str:
    """A block for each workload: each count then (in the last release), accepted since, now, its change, and for a step."""
    head = f"{'':14} {record.version:>10} {'accepted':>10} {'now':>10} {'change':>8} {'a step':>10}"
    blocks = ["\n".join([workload, head, *_lines(record, workload, counts)]) for workload, counts in now.items()]
    recorded, here = (record.python, record.sqlite), (python(), sqlite())
    if recorded != here:
        versions = "Recorded with Python {} and SQLite {}, counted with {} and {}".format(*recorded, *here)
        blocks.append(f"{versions}: what depends on them may grow by {ELSEWHERE:.0%}.")
    return "\n\n".join(blocks)


def markdown(record: Record) -> str:
    """What a step of each workload costs, as accepted, and what costs more than in the last release, with the reason."""
    return f"{_a_step(record)}\n\n{_grown(record)}"


def _lines(record: Record, workload: str, counts: Mapping[str, int]) -> list[str]:
    lines = []
    for count, now in counts.items():
        figure = record.workloads.get(workload, {}).get(count)
        then, since = (f"{figure.released:,}", f"{figure.accepted:,}") if figure is not None else (NONE, NONE)
        change = f"{now / figure.released - 1:+.1%}" if figure is not None and 0 < figure.released != now else ""
        steps = WORKLOADS[workload]().steps
        note = f"  {figure.note}" if figure is not None and figure.note else ""
        lines.append(f"{count:14} {then:>10} {since:>10} {now:>10,} {change:>8} {number(now / steps):>10}{note}")
    return lines


def _a_step(record: Record) -> str:
    workloads = [(name, WORKLOADS[name](), figures) for name, figures in record.workloads.items()]
    body = [
        [kind.meaning, *(number(figures[count].accepted / counted.steps) for _, counted, figures in workloads)]
        for count, kind in COUNTS.items()
    ]
    return table(["What is counted", *(f"{name}: {counted.step}" for name, counted, _ in workloads)], body)


def _grown(record: Record) -> str:
    body = [
        [workload, count, f"{figure.released:,}", f"{figure.accepted:,}", figure.note]
        for workload, figures in record.workloads.items()
        for count, figure in figures.items()
        if figure.accepted > figure.released
    ]
    if not body:
        return f"Counted with Python {record.python} and SQLite {record.sqlite}. Nothing costs more than in {record.version}."
    head = ["Workload", "Count", record.version, "Since", "Because"]
    return (
        f"Counted with Python {record.python} and SQLite {record.sqlite}. More than in {record.version}:\n\n{table(head, body)}"
    )
