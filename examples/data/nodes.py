"""The nodes of the data example: read a data set, draw a chart, write a report. Plain functions, so each runs in a process."""

from __future__ import annotations

import csv
import html
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from perdure import Failed, node


@dataclass
class Section:
    """One section of a report: a heading, and under it a text, a picture (its file), a table (objects with the same keys)."""

    heading: str
    text: str = ""
    picture: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)


@node("data.load", title="Read a data set")
def load(dataset: str) -> list[dict[str, Any]]:
    """Read one of the data sets that come with `vega-datasets`, as a list of objects; what is not known is null.

    Numbers in data sets that are kept as CSV stay text; the expression `number(item.wind)` reads one.

    Args:
        dataset: Its name, such as cars or seattle-weather.
    """
    from vega_datasets import local_data

    if dataset not in local_data.list_datasets():
        known = ", ".join(local_data.list_datasets())
        title = f"Expected one of {known}, but got {dataset!r}."
        raise Failed("data.unknown", title, category="validation", retryable=False)
    source = getattr(local_data, dataset.replace("-", "_"))
    text = source.raw().decode("utf-8")
    rows = json.loads(text) if source.format == "json" else list(csv.DictReader(text.splitlines()))
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return [{key: None if row.get(key) == "" else row.get(key) for key in keys} for row in rows]


@node("data.chart", title="Draw a chart")
def chart(
    rows: list[dict[str, Any]],
    x: str,
    y: str,
    file: str,
    title: str = "",
    by: str | None = None,
    kind: Literal["line", "bar"] = "line",
) -> dict[str, str]:
    """Draw rows as lines or bars into a PNG file.

    Args:
        rows: What to draw, one object a point.
        x: Which key goes to the right.
        y: Which key goes up.
        file: Where to write; folders are made as needed.
        title: What stands above.
        by: A key whose values each get a line of their own; left out, there is one.
        kind: Lines or bars.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for label in dict.fromkeys(row[by] if by else None for row in rows):
        points = [(row[x], row[y]) for row in rows if by is None or row[by] == label]
        along, up = zip(*points, strict=True)
        if kind == "line":
            axes.plot(along, up, marker="o", label=label)
        else:
            axes.bar(along, up, label=label)
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    if by:
        axes.legend(title=by)
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return {"file": str(path)}


@node("data.report", title="Write a report")
def report(file: str, title: str, sections: list[Section], summary: str = "") -> dict[str, str]:
    """Write an HTML page of sections, with its pictures beside it; it opens in any browser.

    Args:
        file: Where to write; folders are made as needed.
        title: What stands on top.
        sections: What it tells, in order.
        summary: The one sentence for those who read no further.
    """
    path = Path(file)
    parts = [f"<h1>{html.escape(title)}</h1>", f'<p class="summary">{html.escape(summary)}</p>']
    for section in sections:
        parts.append(f"<h2>{html.escape(section.heading)}</h2>")
        if section.text:
            parts.append(f"<p>{html.escape(section.text)}</p>")
        if section.picture:
            parts.append(f'<img src="{html.escape(_beside(section.picture, path))}" alt="{html.escape(section.heading)}">')
        if section.rows:
            parts.append(_table(section.rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PAGE.format(title=html.escape(title), body="\n".join(parts)), encoding="utf-8")
    return {"file": str(path)}


def _beside(picture: str, page: Path) -> str:
    """The picture's address as seen from the page."""
    return Path(os.path.relpath(picture, page.parent)).as_posix()


def _table(rows: list[dict[str, Any]]) -> str:
    head = "".join(f"<th>{html.escape(str(key))}</th>" for key in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(value))}</td>" for value in row.values()) + "</tr>\n" for row in rows
    )
    return f"<table>\n<tr>{head}</tr>\n{body}</table>"


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 sans-serif; max-width: 46em; margin: 3em auto; padding: 0 1em; color: #222; }}
.summary {{ font-size: 1.2em; }}
img {{ max-width: 100%; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: .3em .8em; border-bottom: 1px solid #ddd; text-align: left; }}
</style>
<body>
{body}
</body>
</html>
"""
