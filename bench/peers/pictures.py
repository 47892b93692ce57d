"""The results as a picture, for light pages and for dark: a panel for each workload, a bar for each engine, logarithmic."""

from __future__ import annotations

import math
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from bench.peers.engines import ENGINES, NOT_FLUSHED, PEERS, WORKLOADS, Metric
from bench.peers.tables import quantity, times

WIDTH, COLUMNS, GAP, MARGIN = 1_000, 2, 28, 20
TITLE_HEIGHT, BAR, BAR_GAP, AXIS_HEIGHT = 46, 18, 7, 22
LEGEND = f"(10×): Perdure on the same kind of store is ten times ahead · {NOT_FLUSHED}"
GROUP_GAP = 9  # between those on a file and those on PostgreSQL
LABEL_WIDTH, VALUE_WIDTH = 164, 128
PANEL_WIDTH = (WIDTH - 2 * MARGIN - GAP * (COLUMNS - 1)) / COLUMNS
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"


class Scheme(NamedTuple):
    """Colours that suit one kind of page."""

    page: str
    text: str
    faint: str
    grid: str
    ours: str
    theirs: str


SCHEMES = {
    "light": Scheme("#ffffff", "#1f2430", "#5b6472", "#dfe3ea", "#2f5fd0", "#aab4c5"),
    "dark": Scheme("#0d1117", "#e6e9ef", "#9aa4b2", "#2a313c", "#6f9bff", "#5a6577"),
}


def svg(results: dict[str, Any], scheme: str) -> str:
    """The whole picture. Metrics other than a workload's first are left to the table."""
    colours = SCHEMES[scheme]
    panels = [(name, _rows(results, name)) for name in WORKLOADS]
    panels = [(name, rows) for name, rows in panels if rows]
    parts, top = [], float(MARGIN)
    for first in range(0, len(panels), COLUMNS):
        line = panels[first : first + COLUMNS]
        for column, (name, rows) in enumerate(line):
            left = MARGIN + column * (PANEL_WIDTH + GAP)
            parts.append(f'<g transform="translate({left:.1f} {top:.1f})">\n{_panel(name, rows, colours)}\n</g>')
        top += max(_height(rows) for _, rows in line) + GAP
    parts.append(
        _text(
            MARGIN,
            top,
            f"(10×): Perdure on the same kind of store is ten times ahead · {NOT_FLUSHED}",
            colours.faint,
            size=11.5,
        )
    )
    return _framed("\n".join(parts), top + MARGIN, colours, results)


def _rows(results: dict[str, Any], workload: str) -> list[dict[str, Any]]:
    drawn = WORKLOADS[workload].metrics[0].name
    order = list(ENGINES)
    found = [row for row in results["rows"] if row["workload"] == workload and row["metric"] == drawn and row["median"] > 0]
    return sorted(found, key=lambda row: order.index(row["engine"]))


def _height(rows: list[dict[str, Any]]) -> float:
    return _tops(rows)[-1] + BAR + BAR_GAP + AXIS_HEIGHT


def _tops(rows: list[dict[str, Any]]) -> list[float]:
    """Where each bar begins."""
    tops, top = [], float(TITLE_HEIGHT)
    for before, row in zip([rows[0], *rows], rows, strict=False):
        changes = ENGINES[before["engine"]].on_postgres != ENGINES[row["engine"]].on_postgres
        top += GROUP_GAP if changes else 0
        tops.append(top)
        top += BAR + BAR_GAP
    return tops


def _framed(content: str, height: float, colours: Scheme, results: dict[str, Any]) -> str:
    about = "; ".join(
        f"{WORKLOADS[row['workload']].title}, {row['engine']}: {quantity(row['median'], row['unit'])}"
        for workload in WORKLOADS
        for row in _rows(results, workload)
    )
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-labelledby="title desc" \
font-family="{FONT}" font-size="13">
<title id="title">Perdure beside other durable engines</title>
<desc id="desc">{escape(about)}</desc>
<rect width="100%" height="100%" rx="8" fill="{colours.page}"/>
{content}
</svg>
"""


def _panel(workload: str, rows: list[dict[str, Any]], colours: Scheme) -> str:
    metric = WORKLOADS[workload].metrics[0]
    lowest, highest = _decades([row["median"] for row in rows])
    parts = [
        _text(0, 14, WORKLOADS[workload].title, colours.text, weight=600),
        _text(0, 32, _scale(metric), colours.faint, size=11.5),
        _grid(lowest, highest, _tops(rows)[-1] + BAR + BAR_GAP, colours),
    ]
    for top, row in zip(_tops(rows), rows, strict=True):
        parts.append(_bar(row, top, _x(row["median"], lowest, highest), colours))
    return "\n".join(parts)


def _scale(metric: Metric) -> str:
    """What the bars show, and which are good."""
    what = metric.unit if metric.unit.endswith("/s") else f"{metric.name}, {metric.unit}"
    return f"{what} (log scale, {'longer' if metric.more_is_better else 'shorter'} is better)"


def _decades(values: list[float]) -> tuple[int, int]:
    """The powers of ten that hold all values; the shortest bar is seen, too."""
    lowest = math.floor(math.log10(min(values) / 1.5))
    return lowest, max(lowest + 1, math.ceil(math.log10(max(values))))


def _x(value: float, lowest: int, highest: int) -> float:
    """How long a bar is."""
    room = PANEL_WIDTH - LABEL_WIDTH - VALUE_WIDTH
    return room * (math.log10(value) - lowest) / (highest - lowest)


def _grid(lowest: int, highest: int, bottom: float, colours: Scheme) -> str:
    parts = []
    for power in range(lowest, highest + 1):
        x = LABEL_WIDTH + _x(10.0**power, lowest, highest)
        parts.append(f'<path d="M{x:.1f} {TITLE_HEIGHT - 4}V{bottom:.1f}" stroke="{colours.grid}"/>')
        parts.append(_text(x, bottom + 14, _tick(power), colours.faint, anchor="middle", size=10.5))
    return "\n".join(parts)


def _tick(power: int) -> str:
    """A power of ten, short: 0.01, 100, 10k."""
    if power < 0:
        return f"{10.0**power:.{-power}f}"
    return f"{10**power}" if power < 3 else f"{10 ** (power - 3):,}k"


def _bar(row: dict[str, Any], top: float, length: float, colours: Scheme) -> str:
    ours = ENGINES[row["engine"]] not in PEERS
    colour, weight, middle = colours.ours if ours else colours.theirs, 600 if ours else 400, top + BAR - 5
    said = quantity(row["median"], row["unit"]) + ("" if row["ours_ahead"] is None else f" ({times(row['ours_ahead'])})")
    return "\n".join(
        (
            _text(LABEL_WIDTH - 8, middle, ENGINES[row["engine"]].label, colours.text, anchor="end", weight=weight, size=12),
            f'<rect x="{LABEL_WIDTH}" y="{top:.1f}" width="{length:.1f}" height="{BAR}" rx="2" fill="{colour}"/>',
            _text(LABEL_WIDTH + length + 6, middle, said, colours.text, weight=weight, size=12, halo=colours.page),
        )
    )


def _text(
    x: float, y: float, said: str, colour: str, *, anchor: str = "start", weight: int = 400, size: float = 13.5, halo: str = ""
) -> str:
    """A line of text; a halo in the colour of the page keeps lines behind it from crossing it."""
    style = f'text-anchor="{anchor}" font-weight="{weight}" font-size="{size}" fill="{colour}"'
    behind = f' stroke="{halo}" stroke-width="4" paint-order="stroke"' if halo else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}{behind}>{escape(said)}</text>'
