"""The results as tables: plain text for the terminal, Markdown for the page."""

from __future__ import annotations

from typing import Any

from bench.pages import table
from bench.peers.engines import ENGINES, NOT_FLUSHED, PEERS, WORKLOADS

NONE = "–"
BUSY = 0.5  # where more processes than that want a core, whoever waits for the disk waits for a core as well
UNITS = {"bytes": (("MB", 1e6), ("KB", 1e3))}


def number(value: float) -> str:
    """Three digits that matter, thousands with a comma: 1,983; 20.4; 0.057."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def quantity(value: float, unit: str) -> str:
    """A number with its unit; bytes in the unit that reads best."""
    for larger, size in UNITS.get(unit, ()):
        if value >= size:
            return f"{number(value / size)} {larger}"
    return f"{number(value)} {unit}"


def times(ahead: float | None) -> str:
    """How far ours is ahead: `9.8×`; below one, the peer is ahead."""
    return NONE if ahead is None else f"{number(ahead)}×"


def load(row: dict[str, Any]) -> str:
    """What a row's engine was given to do: executions × size, and how many at a time."""
    executions, size, in_flight = row["load"]["executions"], row["load"]["size"], row["load"]["in_flight"]
    together = f", {in_flight} in flight" if in_flight > 1 else ""
    return f"{executions:,}{f' × {size:,}' if size > 1 else ''}{together}"


def text(results: dict[str, Any]) -> str:
    """For a terminal: one line for each engine under its workload."""
    lines = []
    for workload, metric, of in _groups(results):
        lines.append(f"\n{WORKLOADS[workload].title}: {metric}")
        for row in of:
            spread = f"{number(row['min'])} … {number(row['max'])}"
            ahead = "" if _is_ours(row) else f"ours ahead {times(row['ours_ahead'])}"
            lines.append(
                f"  {row['engine']:23} {quantity(row['median'], row['unit']):>20} {spread:>20}  {load(row):26} {ahead}"
            )
    return "\n".join(lines).lstrip("\n")


def markdown(results: dict[str, Any]) -> str:
    """For the page: how it was run, medians side by side, every row with its spread, and the durability of each engine."""
    parts = (
        _run(results),
        _side_by_side(results, "Each on a file, or on the store that it brings along", on_postgres=False),
        _side_by_side(results, f"All on the same PostgreSQL: {_server(results)}", on_postgres=True),
        _all_rows(results),
        _durability(results),
        _lacking(results),
    )
    return "\n\n".join(part for part in parts if part)


def _groups(results: dict[str, Any]) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """The rows of each workload and metric together, in the order in which they were written."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in results["rows"]:
        groups.setdefault((row["workload"], row["metric"]), []).append(row)
    return [(workload, metric, of) for (workload, metric), of in groups.items()]


def _present(results: dict[str, Any]) -> list[str]:
    found = {row["engine"] for row in results["rows"]}
    return [name for name in ENGINES if name in found]


def _run(results: dict[str, Any]) -> str:
    machine = results["machine"]
    busy = " **The machine was busy with other things: what runs one at a time was faster than it looks.**"
    return (
        f"Medians of {results['repetitions']} interleaved runs on {machine['cores']} cores ({machine['machine']}, "
        f"{machine['system']}), Python {machine['python']}, load {machine['load']} before the "
        "run. “10×” beside a peer's figure: Perdure is ten times ahead of it."
        f"{busy if machine['load'] > BUSY else ''}"
    )


def _server(results: dict[str, Any]) -> str:
    return f"{results['machine']['postgresql']}, {results['machine']['settings']}"


def _side_by_side(results: dict[str, Any], title: str, *, on_postgres: bool) -> str:
    """The medians of all that were measured on that kind of store; empty where none was."""
    engines = [name for name in _present(results) if ENGINES[name].on_postgres == on_postgres]
    if not engines:
        return ""
    body = []
    for workload, metric, of in _groups(results):
        by_engine = {row["engine"]: row for row in of}
        cells = [_cell(by_engine.get(engine)) for engine in engines]
        body.append([f"{WORKLOADS[workload].title}: {metric}", *cells])
    beside = f"**{title}**\n\n" + table(["Workload", *(ENGINES[name].label for name in engines)], body)
    starred = any(not ENGINES[name].flushes_steps for name in engines)
    return f"{beside}\n\n\\{NOT_FLUSHED}" if starred else beside


def _is_ours(row: dict[str, Any]) -> bool:
    return ENGINES[row["engine"]] not in PEERS


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return NONE
    shown = quantity(row["median"], row["unit"])
    return f"**{shown}**" if _is_ours(row) else f"{shown} ({times(row['ours_ahead'])})"


def _all_rows(results: dict[str, Any]) -> str:
    body = [
        [
            WORKLOADS[row["workload"]].title,
            row["metric"],
            f"{ENGINES[row['engine']].label} {row['version']}",
            load(row),
            quantity(row["median"], row["unit"]),
            f"{number(row['min'])} … {number(row['max'])}",
            times(row["ours_ahead"]),
        ]
        for row in results["rows"]
    ]
    return table(["Workload", "Metric", "Engine", "Executions × size", "Median", "Spread", "Perdure ahead"], body)


def _durability(results: dict[str, Any]) -> str:
    return table(
        ["Engine", "What is on disk, and when"], [[ENGINES[name].label, ENGINES[name].durability] for name in _present(results)]
    )


def _lacking(results: dict[str, Any]) -> str:
    """Why a peer has no figure for a workload."""
    present = _present(results)
    body = [
        [peer.name, WORKLOADS[workload].title, why]
        for peer in PEERS
        if peer.name in present
        for workload, why in peer.lacks.items()
    ]
    return table(["Engine", "No figure for", "Because"], body)
