"""Where everything in the picture of a definition stands: boxes in columns, containers around their scopes, lines and labels.

Measures are pixels. Positions are relative to the area that a box stands in; `drawing.py` adds them up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from perdure.definition.captions import (
    CAPTION_SIZE,
    CAPTION_WIDTH,
    LABEL_SIZE,
    LABEL_WIDTH,
    TITLE_SIZE,
    TITLE_WIDTH,
    caption_of,
    cut,
    heading_of,
    title_of,
    width_of,
    wrapped,
)
from perdure.definition.graph import Entry, Node, Scope
from perdure.definition.layers import Arranged, Wire, arrange

TITLE_LINE, CAPTION_LINE, LABEL_LINE = 18.0, 16.0, 16.0
CAPTION_LINES_MAX = 3
INSIDE = 14.0  # from the rim of a box to what is in it
BOX_WIDTH, BOX_HEIGHT = 96.0, 48.0  # of a node, at least
PORT_STEP = 22.0  # from port to port: a label and its line
BEND, BEND_MAX = 46.0, 130.0  # between columns, for lines to bend in; more where they climb far
CLIMB = 0.10  # of what they climb
STUB = 10.0  # a line goes straight so far before it bends, and as far beyond its label
TURN = 12.0  # beside boxes, for each line that goes back
BETWEEN_PARTS = 26.0  # of a scope whose parts no edge joins
PANEL_GAP = 10.0


@dataclass(slots=True)
class Line:
    """An edge: through points by turns straight and in a bend; one that goes back, along its points around the boxes.

    What it says of itself begins at `x`, on the base line `y`.
    """

    entry: Entry
    points: list[tuple[float, float]]
    words: str = ""
    x: float = 0.0
    y: float = 0.0

    def lower(self, by: float) -> None:
        self.points = [(x, y + by) for x, y in self.points]
        self.y += by


@dataclass(slots=True)
class Port:
    """Where edges leave a box: how far below its top, and the word beside it."""

    name: str
    y: float
    word: str
    is_failing: bool


@dataclass(slots=True, eq=False)
class Box:
    """A node: its words, the ports that edges leave by, and what is inside."""

    node: Node
    title: list[str]
    caption: list[str]
    width: float
    height: float
    ports: dict[str, Port]
    panels: list[Panel] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0

    @property
    def head(self) -> float:
        """How high its words are."""
        return len(self.title) * TITLE_LINE + len(self.caption) * CAPTION_LINE

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def stub(self) -> float:
        """How far its lines go straight: as far as the words beside its ports reach."""
        reach = (STUB + (width_of(port.word, LABEL_SIZE) + STUB if port.word else 0.0) for port in self.ports.values())
        return max(reach, default=0.0)


@dataclass(slots=True)
class Panel:
    """A scope inside a box: its name and its area, relative to the box."""

    name: str
    area: Area
    x: float
    y: float
    width: float
    height: float


@dataclass(slots=True)
class Area:
    """A scope, laid out."""

    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    width: float = 0.0
    height: float = 0.0


def area_of(scope: Scope) -> Area:
    """A scope with all that is in it; parts that no edge joins stand below each other. Raises Refused as `arrange` does."""
    whole = Area()
    for number, part in enumerate(_parts(scope)):
        laid = _laid(part)
        top = whole.height + BETWEEN_PARTS if number else 0.0
        for box in laid.boxes:
            box.y += top
        for line in laid.lines:
            line.lower(top)
        whole.boxes += laid.boxes
        whole.lines += laid.lines
        whole.width = max(whole.width, laid.width)
        whole.height = top + laid.height
    return whole


def _parts(scope: Scope) -> list[list[Node]]:
    """The nodes of a scope by what edges join, each part in the order it was written."""
    root = {node: node for node in scope.nodes.values()}

    def found(node: Node) -> Node:
        while root[node] is not node:
            root[node] = root[root[node]]
            node = root[node]
        return node

    for node in root:
        for entry in (*node.incoming, *node.again_in):
            if entry.source is not None:
                root[found(node)] = found(entry.source)
    parts: dict[Node, list[Node]] = {}
    for node in root:
        parts.setdefault(found(node), []).append(node)
    return list(parts.values())


_PANELS = ("workflow", "loop", "body", "branch", "catch", "finally", "compensate")  # the order in which they come about

# -- boxes ---------------------------------------------------------------------------------------------------------------


def _box(node: Node) -> Box:
    panels = [_panel(scope) for scope in sorted(node.scopes.values(), key=lambda scope: _PANELS.index(scope.kind))]
    inner = max((panel.width for panel in panels), default=0.0)
    title = wrapped(title_of(node), max(TITLE_WIDTH, inner), TITLE_SIZE, is_bold=True)
    caption = _caption(node, max(CAPTION_WIDTH, inner))
    titles = [width_of(line, TITLE_SIZE, is_bold=True) for line in title]
    returns = [width_of(_again(entry), LABEL_SIZE) for entry in node.again_out]
    words = max([*titles, *(width_of(line, CAPTION_SIZE) for line in caption), *returns])
    box = Box(node, title, caption, round(max(BOX_WIDTH, inner + 2 * INSIDE, words + 2 * INSIDE)), 0.0, {}, panels)
    names = _ports(node)
    box.height = max(BOX_HEIGHT, box.head + INSIDE)
    if panels:
        _stack(box)
    box.height = 2 * round(max(box.height, len(names) * PORT_STEP + INSIDE) / 2)  # its middle is a whole number
    first = box.height / 2 - (len(names) - 1) * PORT_STEP / 2
    failing = {*node.catch_ports, "error", "timeout"}
    for number, name in enumerate(names):
        word = "" if name == "out" else cut(name, LABEL_WIDTH, LABEL_SIZE)
        box.ports[name] = Port(name, round(first + number * PORT_STEP), word, name in failing)
    return box


def _caption(node: Node, width: float) -> list[str]:
    """Type and what tells more, as many in a line as fit."""
    lines: list[str] = []
    for told in caption_of(node):
        longer = f"{lines[-1]} · {told}" if lines else told
        if lines and width_of(longer, CAPTION_SIZE) <= width:
            lines[-1] = longer
        elif len(lines) < CAPTION_LINES_MAX:
            lines.append(cut(told, width, CAPTION_SIZE))
        else:
            lines[-1] = cut(longer, width, CAPTION_SIZE)
    return lines


def _ports(node: Node) -> list[str]:
    """The ports that edges leave by; those of edges that go back last, since these pass below."""
    forward = {entry.port for entry in node.outgoing}
    back = {entry.port for entry in node.again_out} - forward
    return [port for port in node.ports if port in forward] + [port for port in node.ports if port in back]


def _panel(scope: Scope) -> Panel:
    area = area_of(scope)
    name = heading_of(scope)
    if not name:
        return Panel("", area, 0.0, 0.0, area.width, area.height)
    name = cut(name, max(LABEL_WIDTH, area.width), LABEL_SIZE)
    width = max(area.width, width_of(name, LABEL_SIZE)) + 2 * INSIDE
    return Panel(name, area, 0.0, 0.0, width, area.height + LABEL_LINE + 2 * INSIDE)


def _stack(box: Box) -> None:
    """The panels of a box below each other, all as wide as the widest."""
    y = INSIDE / 2 + box.head + INSIDE / 2
    for panel in box.panels:
        panel.x, panel.y = INSIDE, y
        if panel.name:
            panel.width = box.width - 2 * INSIDE
        y += panel.height + PANEL_GAP
    box.height = y - PANEL_GAP + INSIDE


# -- a part of a scope ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Column:
    """The room of a column: lines that come to it end at `left`, lines that leave it begin to bend at `right`."""

    boxes: list[Box] = field(default_factory=list)
    left: float = 0.0
    right: float = 0.0
    climb: float = 0.0  # the farthest that a line climbs or falls behind it
    returns: int = 0  # lines that go back from here, and turn behind it
    arrivals: int = 0  # lines that go back to here, and turn in front of it


def _laid(nodes: Sequence[Node]) -> Area:
    """Connected nodes in columns, with their edges."""
    boxes = {node: _box(node) for node in nodes}
    forward = [(entry, boxes[entry.source]) for node in nodes for entry in node.incoming if entry.source is not None]
    back = [(entry, boxes[node]) for node in nodes for entry in node.again_out]
    number = {node: index for index, node in enumerate(nodes)}
    wires, returns = _wires(forward, number), _wires(back, number)
    arranged = arrange([box.height for box in boxes.values()], wires, returns)
    columns = [_Column() for _ in range(max(arranged.columns) + 1)]
    for box, place, middle in zip(boxes.values(), arranged.columns, arranged.middles, strict=True):
        box.y = middle - box.height / 2
        columns[place].boxes.append(box)
    _measure(columns, wires, arranged)
    for wire in returns:
        columns[arranged.columns[wire.source]].returns += 1
        columns[arranged.columns[wire.target]].arrivals += 1
    area = Area(list(boxes.values()), [], _spread(columns), arranged.height)
    for (entry, source), wire, bends in zip(forward, wires, arranged.bends, strict=True):
        passed = columns[arranged.columns[wire.source] :]
        area.lines.append(_forward(entry, source, boxes[entry.target], bends, passed))
    for column in columns:
        column.returns = column.arrivals = 0  # counted anew: each turns a little farther out
    for (entry, source), wire, lane in sorted(zip(back, returns, arranged.lanes, strict=True), key=lambda each: len(each[2])):
        passed = columns[arranged.columns[wire.target] : arranged.columns[wire.source] + 1]
        area.lines.append(_back(entry, source, boxes[entry.target], lane, passed))
    return area


def _wires(edges: Sequence[tuple[Entry, Box]], number: dict[Node, int]) -> list[Wire]:
    return [
        Wire(number[source.node], number[entry.target], source.ports[entry.port].y - source.height / 2)
        for entry, source in edges
    ]


def _measure(columns: Sequence[_Column], wires: Sequence[Wire], arranged: Arranged) -> None:
    """How far lines climb behind each column."""
    for wire, bends in zip(wires, arranged.bends, strict=True):
        heights = [arranged.middles[wire.source] + wire.leaves, *bends, arranged.middles[wire.target]]
        for (one, other), column in zip(pairwise(heights), columns[arranged.columns[wire.source] :], strict=False):
            column.climb = max(column.climb, abs(one - other))


def _spread(columns: Sequence[_Column]) -> float:
    """Give each column its room from left to right, and its boxes their place in it; the width of all."""
    x = TURN if columns[0].arrivals else 0.0
    for column in columns:
        x += column.arrivals * TURN
        widest = max((box.width for box in column.boxes if not box.panels), default=0.0)
        column.left = column.right = x
        for box in column.boxes:
            box.width = box.width if box.panels else widest
            box.x = x
            column.right = max(column.right, box.right + box.stub)
        x = column.right + column.returns * TURN
        if column is not columns[-1]:
            x += min(BEND_MAX, BEND + CLIMB * column.climb)
    return x


def _forward(entry: Entry, source: Box, target: Box, bends: Sequence[float], columns: Sequence[_Column]) -> Line:
    """Straight through columns, in a bend between them."""
    y = source.y + source.ports[entry.port].y
    points = [(source.right, y), (columns[0].right, y)]
    for bend, column in zip(bends, columns[1:], strict=False):
        points += [(column.left, bend), (column.right, bend)]
    return Line(entry, [*points, (target.x, target.y + target.height / 2)])


def _back(entry: Entry, source: Box, target: Box, lane: Sequence[float], columns: Sequence[_Column]) -> Line:
    """Behind its source down to its lane, below the boxes of the columns between, and in front of its target up again."""
    first, last = columns[0], columns[-1]
    last.returns, first.arrivals = last.returns + 1, first.arrivals + 1
    right, left = last.right + (last.returns - 0.5) * TURN, first.left - (first.arrivals + 0.5) * TURN
    leaves, enters = source.y + source.ports[entry.port].y, target.y + target.height / 2 + INSIDE
    points = [(source.right, leaves), (right, leaves), (right, lane[-1])]
    for (earlier, later), (height, other) in zip(reversed([*pairwise(columns)]), reversed([*pairwise(lane)]), strict=True):
        if height != other:
            points += [(later.left, other), (earlier.right, height)]
    points += [(left, lane[0]), (left, enters), (target.x, enters)]
    x = source.x + (source.width - width_of(_again(entry), LABEL_SIZE)) / 2
    return Line(entry, points, _again(entry), x, lane[-1] - 5)


def _again(entry: Entry) -> str:
    """What stands above an edge that goes back, below its source, which is wide enough."""
    return f"again, at most {entry.visits_max}"
