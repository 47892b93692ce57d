"""The picture of a definition, as SVG: what `layout.py` placed, in colours for light and for dark surroundings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from perdure.definition.captions import caption_of, cut, title_of, width_of
from perdure.definition.graph import WAITING, Node, Scope, all_scopes, build
from perdure.definition.layout import CAPTION_LINE, INSIDE, LABEL_LINE, TITLE_LINE, Area, Box, Line, Panel, area_of
from perdure.definition.spec import Catalog
from perdure.errors import Refused

NODES_MAX = 5_000
"""More nodes than anybody looks at in one picture; a graph of so many takes a few seconds."""

MARGIN = 16.0
HEADING_SIZE, HEADING_HEIGHT, HEADING_WIDTH = 17.0, 38.0, 320.0
LABEL_AWAY, LABEL_ABOVE = 8.0, 5.0  # from the box, and from the line
RADIUS = 10.0
TIP_LENGTH, TIP_HALF = 8.0, 4.5

_STYLE = """\
    :root { color-scheme: light dark; }
    .pure { fill: #f4f6fb; stroke: #5b6b8c; }
    .control { fill: #e3ecff; stroke: #2f5fd0; }
    .effect { fill: #e6f5ec; stroke: #2c8a57; }
    .waiting { fill: #fdf3dc; stroke: #b07a12; }
    .box { stroke-width: 1.5; }
    .disabled { stroke-dasharray: 4 4; fill-opacity: .4; }
    .holds { fill: #f8faff; }
    .panel { fill: none; stroke: #8b9bbd; stroke-width: 1; stroke-dasharray: 2 3; }
    .heading { fill: #16213a; font-size: 17px; font-weight: 600; }
    .title { fill: #16213a; font-size: 14px; font-weight: 600; }
    .caption { fill: #4a5670; font-size: 12px; }
    .middle { text-anchor: middle; }
    .label { fill: #5b6b8c; font-size: 12px; font-style: italic; }
    .line { fill: none; stroke: #5b6b8c; stroke-width: 1.6; }
    .tip { fill: #5b6b8c; }
    .again { stroke-dasharray: 5 5; }
    .line.failing { stroke: #c2412d; }
    .tip.failing, .label.failing { fill: #c2412d; }
    @media (prefers-color-scheme: dark) {
      .pure { fill: #1d2433; stroke: #8b9bbd; }
      .control { fill: #18274a; stroke: #7da2ff; }
      .effect { fill: #15301f; stroke: #5fc78e; }
      .waiting { fill: #33270d; stroke: #dba944; }
      .holds { fill: #131a2b; }
      .panel { stroke: #5b6b8c; }
      .heading, .title { fill: #eef2fb; }
      .caption { fill: #b6c1d9; }
      .label { fill: #93a1c0; }
      .line { stroke: #8b9bbd; }
      .tip { fill: #8b9bbd; }
      .line.failing { stroke: #f08a78; }
      .tip.failing, .label.failing { fill: #f08a78; }
    }"""

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"


def picture_of(document: Mapping[str, Any], catalog: Catalog, *, with_heading: bool = True) -> str:
    """The picture of a sound definition, as a text in SVG that holds all it needs.

    Raises Refused (`picture.too_large`) beyond NODES_MAX nodes, and where edges pass too many nodes.
    """
    root = build(document, catalog)
    count = sum(len(scope.nodes) for scope in all_scopes(root))
    if count > NODES_MAX:
        raise Refused(
            f"Expected at most {NODES_MAX:,} nodes in a picture, but there are {count:,}.",
            remedy="Put parts of the graph into sub-workflows, and draw these.", code="picture.too_large",
        )  # fmt: skip
    area = area_of(root)
    name = " ".join(str(document.get("title") or document.get("name") or "workflow").split())
    heading = cut(name, max(area.width, HEADING_WIDTH), HEADING_SIZE, is_bold=True) if with_heading else ""
    top = MARGIN + (HEADING_HEIGHT if heading else 0.0)
    width = _number(max(area.width, width_of(heading, HEADING_SIZE, is_bold=True)) + 2 * MARGIN)
    height = _number(area.height + top + MARGIN)
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-labelledby="title desc" font-family="{_FONT}">'
    )
    lines = [
        opening,
        f'  <title id="title">{escaped(name)}</title>',
        f'  <desc id="desc">{escaped(told(root))}</desc>',
        f"  <style>\n{_STYLE}\n  </style>",
        *([_text("heading", MARGIN, MARGIN + HEADING_SIZE, heading)] if heading else []),
        *_area(area, MARGIN, top),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def told(root: Scope) -> str:
    """The graph in words, for those who do not see the picture."""
    parts = []
    for scope in all_scopes(root):
        edges = [f"{entry.text} leads to {node.id}" for node in scope.nodes.values() for entry in node.incoming]
        edges += [f"{entry.text} goes back to {entry.target.id}" for entry in scope.again]
        starts = [node.id for node in scope.nodes.values() if not node.incoming]
        where = f"In {scope.outer.id}, {scope.name}: " if scope.outer is not None else ""
        parts.append("; ".join([f"{where}begins with {', '.join(starts) or 'nothing'}", *edges]) + ".")
    return " ".join(parts)


def escaped(text: str) -> str:
    """A text as it stands in XML, without the characters that XML cannot hold."""
    kept = "".join(character for character in text if character >= " " and not _NOT_IN_XML.match(character))
    for character, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        kept = kept.replace(character, name)
    return kept


_NOT_IN_XML = re.compile("[\ud800-\udfff\ufffe\uffff]")


def _area(area: Area, x: float, y: float) -> Iterator[str]:
    """Lines below boxes, and words above all."""
    ports = {box.node: box.ports for box in area.boxes}
    for line in area.lines:
        source = line.entry.source
        yield from _line(line, source is not None and ports[source][line.entry.port].is_failing, x, y)
    for box in area.boxes:
        yield from _box(box, x + box.x, y + box.y)


# -- boxes ---------------------------------------------------------------------------------------------------------------


def _box(box: Box, x: float, y: float) -> Iterator[str]:
    node = box.node
    classes = ["box", kind_of(node), *(["disabled"] if node.disabled else [])]
    about = f"{node.id}: {title_of(node)}, {' · '.join(caption_of(node))}"
    yield f"  <g><title>{escaped(about)}</title>"
    yield f'  <rect class="{" ".join(classes)}" {_at(x, y, box.width, box.height)} rx="{_number(RADIUS)}"/>'
    yield from _words(box, x, y)
    yield "  </g>"
    for port in box.ports.values():
        if port.word:
            yield _text(f"label{' failing' * port.is_failing}", x + box.width + LABEL_AWAY, y + port.y - LABEL_ABOVE, port.word)
    for panel in box.panels:
        yield from _panel(panel, x, y)


def kind_of(node: Node) -> str:
    """The kind of box: what waits and what holds others look their own way."""
    if node.scopes and node.spec is not None and node.spec.kind == "control":
        return "control holds"
    if node.type in WAITING:
        return "waiting"
    if node.spec is not None and node.spec.group in ("control", "loops"):
        return "control"
    return "effect" if node.spec is None or node.spec.kind == "effect" else "pure"


def _words(box: Box, x: float, y: float) -> Iterator[str]:
    """Title and caption: at the top of a box that holds others, else in its middle."""
    if box.panels:
        left, anchor = x + INSIDE, ""
        base = y + INSIDE / 2
    else:
        left, anchor = x + box.width / 2, " middle"
        base = y + (box.height - box.head) / 2
    for number, line in enumerate(box.title):
        yield _text(f"title{anchor}", left, base + number * TITLE_LINE + 14, line)
    base += len(box.title) * TITLE_LINE
    for number, line in enumerate(box.caption):
        yield _text(f"caption{anchor}", left, base + number * CAPTION_LINE + 11, line)


def _panel(panel: Panel, x: float, y: float) -> Iterator[str]:
    left, top = x + panel.x, y + panel.y
    if not panel.name:
        yield from _area(panel.area, left, top)
        return
    yield f'  <rect class="panel" {_at(left, top, panel.width, panel.height)} rx="6"/>'
    yield _text("label", left + INSIDE, top + LABEL_LINE + 2, panel.name)
    yield from _area(panel.area, left + INSIDE, top + LABEL_LINE + INSIDE)


# -- lines ---------------------------------------------------------------------------------------------------------------


def _line(line: Line, is_failing: bool, x: float, y: float) -> Iterator[str]:
    points = [(at + x, height + y) for at, height in line.points]
    end, height = points[-1]
    points[-1] = (end - TIP_LENGTH + 1, height)
    failing, again = " failing" * is_failing, " again" * line.entry.again
    yield f'  <path class="line{again}{failing}" d="{_cornered(points) if again else _bent(points)}"/>'
    tip = f"M{_number(end)} {_number(height)}l{_number(-TIP_LENGTH)} {_number(-TIP_HALF)}v{_number(2 * TIP_HALF)}z"
    yield f'  <path class="tip{failing}" d="{tip}"/>'
    if line.words:
        yield _text(f"label{failing}", x + line.x, y + line.y, line.words)


def _bent(points: Sequence[tuple[float, float]]) -> str:
    """By turns straight and in a bend that is level at both ends."""
    (x, y), *rest = points
    path = f"M{_number(x)} {_number(y)}"
    for end, height in rest:
        half = _number((x + end) / 2)
        if height != y:
            path += f"C{half} {_number(y)} {half} {_number(height)} {_number(end)} {_number(height)}"
        elif end != x:
            path += f"H{_number(end)}"
        x, y = end, height
    return path


def _cornered(points: Sequence[tuple[float, float]]) -> str:
    """Along the points, around each corner in a curve."""
    path = f"M{_number(points[0][0])} {_number(points[0][1])}"
    for before, (x, y), after in zip(points, points[1:], points[2:], strict=False):
        near, far = _short_of(before, (x, y)), _short_of(after, (x, y))
        path += f"L{_number(near[0])} {_number(near[1])}Q{_number(x)} {_number(y)} {_number(far[0])} {_number(far[1])}"
    return path + f"L{_number(points[-1][0])} {_number(points[-1][1])}"


def _short_of(origin: tuple[float, float], corner: tuple[float, float]) -> tuple[float, float]:
    """The point on the way to a corner where its curve begins."""
    dx, dy = corner[0] - origin[0], corner[1] - origin[1]
    length = abs(dx) + abs(dy)
    share = min(RADIUS - 2, length / 2) / length if length else 0.0
    return corner[0] - dx * share, corner[1] - dy * share


# -- text ----------------------------------------------------------------------------------------------------------------


def _text(style: str, x: float, y: float, text: str) -> str:
    return f'  <text class="{style}" x="{_number(x)}" y="{_number(y)}">{escaped(text)}</text>'


def _at(x: float, y: float, width: float, height: float) -> str:
    return f'x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" height="{_number(height)}"'


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
