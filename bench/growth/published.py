"""Draws the results into the documentation: a picture for each group of curves, and a table between two marks of the page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench.growth.curves import CURVES

BEGIN, END = "<!-- growth: begin -->", "<!-- growth: end -->"
GREY = "#7d8590"  # to be read on light ground and on dark
COLOURS = ("#3b82f6", "#f97316", "#10b981", "#a855f7", "#ef4444")

Row = dict[str, Any]
Line = tuple[str, str, str]  # curve, measure, how it is called

PICTURES: dict[str, tuple[str, str, str, tuple[Line, ...]]] = {
    "steps": (
        "Steps in one execution", "steps", "µs of CPU a step",
        (("loop", "cpu_us", "loop of effects"), ("while", "cpu_us", "while")),
    ),
    "width": (
        "Width", "branches", "µs of CPU a branch",
        (("fan-out", "cpu_us", "fan-out"), ("wide-loop", "cpu_us", "loop, all at once")),
    ),
    "bytes": (
        "What is written", "steps", "bytes a step",
        (
            ("loop", "bytes", "loop of effects"), ("while", "bytes", "while"), ("fan-out", "bytes", "fan-out"),
            ("wide-loop", "bytes", "loop, all at once"),
        ),
    ),
    "waiting": (
        "Executions that wait", "executions", "µs of CPU each",
        (("waiting", "cpu_us", "start"), ("waking", "cpu_us", "wake up and end")),
    ),
    "memory": (
        "Memory of what waits", "executions", "bytes each",
        (("waiting", "memory_bytes", "on the disk"), ("waiting-in-memory", "memory_bytes", "kept in memory")),
    ),
    "lag": (
        "All due at one moment", "executions", "ms after the moment",
        (("waking", "first_ms", "first"), ("waking", "median_ms", "median"), ("waking", "last_ms", "last")),
    ),
    "database": (
        "Executions that have ended", "executions in the store", "ms",
        (
            ("database", "start_ms", "start to end"), ("database", "resume_ms", "resume"), ("database", "list_ms", "list"),
            ("database", "unfinished_ms", "list unfinished"), ("database", "claim_ms", "claim"),
        ),
    ),
    "history": (
        "History of one execution", "iterations", "ms",
        (("history", "load_ms", "from its snapshot"), ("history", "refold_ms", "from its first fact")),
    ),
    "definition": (
        "Nodes of a definition", "nodes", "µs of CPU a node", (("definition", "cpu_us", "read, check, compile"),),
    ),
}  # fmt: skip
"""By file: title, what grows, what it costs, and the lines."""

COLUMNS = (
    ("cpu_us", "CPU"), ("wall_us", "wall"), ("transactions", "commits"), ("statements", "statements"), ("rows", "rows"),
    ("bytes", "bytes"),
)  # fmt: skip


def publish(rows: list[Row], docs: Path) -> None:
    """Write all pictures and the table, in the order of the curves."""
    rows = sorted(rows, key=lambda row: (list(CURVES).index(row["name"]), row["size"]))
    folder = docs / "pictures" / "growth"
    folder.mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        (folder / f"{name}.svg").write_text(picture(name, rows))
    page = docs / "guide" / "growth.md"
    page.write_text(with_table(page.read_text(), rows))


def with_table(text: str, rows: Iterable[Row]) -> str:
    """The page with the table of these rows between its marks."""
    head, _, rest = text.partition(BEGIN)
    _, mark, tail = rest.partition(END)
    if not mark:
        raise ValueError(f"Expected {BEGIN} and {END} in the page, but one is missing.")
    return f"{head}{BEGIN}\n{table(rows)}{END}{tail}"


def table(rows: Iterable[Row]) -> str:
    """Every point: what one unit of work took, and what else was measured."""
    lines = [
        f"| Curve | Size | {' | '.join(title for _, title in COLUMNS)} | Beside that |",
        f"| --- | --: | {' | '.join('--:' for _ in COLUMNS)} | --- |",
    ]
    for row in rows:
        cells = [_number(row[key]) if key in row else "" for key, _ in COLUMNS]
        known = {"name", "curve", "size", "units", *(key for key, _ in COLUMNS)}
        more = ", ".join(f"{_words(key)} {_number(value)}{_unit(key)}" for key, value in row.items() if key not in known)
        lines.append(f"| {row['curve']} | {row['size']:,} | {' | '.join(cells)} | {more} |")
    return "\n".join(lines) + "\n"


_UNITS = {"_ms": " ms", "_bytes": " bytes", "_us": " µs"}


def _unit(key: str) -> str:
    return next((unit for suffix, unit in _UNITS.items() if key.endswith(suffix)), "")


def _words(key: str) -> str:
    return re.sub(r"_(ms|bytes|us)$", "", key).replace("_", " ")


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


def picture(name: str, rows: Iterable[Row]) -> str:
    """One picture as SVG, the same for the same rows."""
    title, grows, costs, lines = PICTURES[name]

    def curves(axes: Any) -> None:
        for colour, (curve, measure, label) in zip(COLOURS, lines, strict=False):
            points = [(row["size"], row[measure]) for row in rows if row["name"] == curve and measure in row and row["size"]]
            axes.plot(*zip(*points, strict=True) if points else ([], []), marker="o", markersize=4, color=colour, label=label)
        axes.set_xscale("log")

    return drawn(name, title, grows, costs, curves)


def drawn(name: str, title: str, grows: str, costs: str, lines: Callable[[Any], None]) -> str:
    """A picture of the lines that are put on its axes, as SVG on no ground of its own, for light pages and for dark."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"}):
        figure = Figure(figsize=(5.2, 3.0), layout="constrained")
        axes = figure.subplots()
        lines(axes)
        axes.set_ylim(bottom=0)
        axes.set_title(title, color=GREY)
        axes.set_xlabel(grows, color=GREY)
        axes.set_ylabel(costs, color=GREY)
        axes.tick_params(colors=GREY, which="both")
        axes.grid(visible=True, color=GREY, alpha=0.25)
        for spine in axes.spines.values():
            spine.set_color(GREY)
        axes.legend(frameon=False, labelcolor=GREY)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return re.sub(r"[ \t]+$", "", out.getvalue(), flags=re.MULTILINE)
