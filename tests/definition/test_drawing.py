"""The picture of a definition: everything has its place, nothing covers anything else, and it is sound SVG."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from random import Random
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.definition import picture_of
from perdure.definition.captions import LABEL_SIZE, cut, plain, width_of, wrapped
from perdure.definition.drawing import LABEL_ABOVE, LABEL_AWAY, NODES_MAX
from perdure.definition.graph import all_scopes, build
from perdure.definition.layers import Wire, arrange
from perdure.definition.layout import Area, Box, area_of
from perdure.definition.spec import Catalog
from perdure.engine.elements import SPECS
from perdure.errors import Refused

CATALOG = Catalog(SPECS)
SVG = "{http://www.w3.org/2000/svg}"

Rectangle = tuple[float, float, float, float]  # left, top, right, bottom


def document(nodes: dict[str, Any], **head: Any) -> dict[str, Any]:
    return {"perdure": 1, "name": "drawn", **head, "nodes": nodes}


def laid(nodes: dict[str, Any]) -> Area:
    return area_of(build(document(nodes), CATALOG))


def boxes_of(area: Area) -> dict[str, Box]:
    return {box.node.id: box for box in area.boxes}


def middle(box: Box) -> float:
    return box.y + box.height / 2


# -- what every picture keeps to -----------------------------------------------------------------------------------------


def rectangle(box: Box) -> Rectangle:
    return (box.x, box.y, box.right, box.y + box.height)


def words(area: Area) -> Iterator[tuple[str, Rectangle]]:
    """Where the words beside ports and above lanes stand."""
    for box in area.boxes:
        for port in box.ports.values():
            if port.word:
                left, base = box.right + LABEL_AWAY, box.y + port.y - LABEL_ABOVE
                yield f"{box.node.id}.{port.name}", (left, base - 9, left + width_of(port.word, LABEL_SIZE), base + 3)
    for line in area.lines:
        if line.words:
            yield f"again of {line.entry.text}", (line.x, line.y - 9, line.x + width_of(line.words, LABEL_SIZE), line.y + 3)


def apart(one: Rectangle, other: Rectangle) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def faults(area: Area) -> Iterator[str]:
    """What overlaps in an area, or stands outside of it; and in all areas inside."""
    things = [(box.node.id, rectangle(box)) for box in area.boxes] + list(words(area))
    for (name, one), (other_name, other) in combinations(things, 2):
        if not apart(one, other):
            yield f"{name} and {other_name} overlap"
    for name, (left, top, right, bottom) in things:
        if left < 0 or top < 0 or right > area.width + 0.5 or bottom > area.height + 0.5:
            yield f"{name} stands outside"
    for line in area.lines:
        yield from _faults_of_line(line.points, line.entry.again, f"{line.entry.text} to {line.entry.target.id}", things)
    for box in area.boxes:
        bottom = 0.0
        for panel in box.panels:
            if panel.y < bottom or panel.x < 0 or panel.x + panel.width > box.width or panel.y + panel.height > box.height:
                yield f"{box.node.id}: {panel.name} has no place"
            if panel.area.width > panel.width or panel.area.height > panel.height:
                yield f"{box.node.id}: {panel.name} is too small"
            bottom = panel.y + panel.height
            yield from faults(panel.area)


def _faults_of_line(
    points: list[tuple[float, float]], again: bool, line: str, things: list[tuple[str, Rectangle]]
) -> Iterator[str]:
    """A line goes from left to right, unless it goes back; where it is level it covers no box and no word."""
    if not again and any(x > end for (x, _), (end, _) in pairwise(points)):
        yield f"{line} goes backwards"
    for (x, y), (end, height) in pairwise(points):
        if y == height:
            left, right = min(x, end), max(x, end)
            covered = [name for name, place in things if not apart(place, (left + 0.5, y - 0.5, right - 0.5, y + 0.5))]
            if covered and right - left > 1:
                yield f"{line} covers {covered}"


CASES = ["gold", "silver", "a_long_name_of_a_case"]
TITLES = ["", "", "Fulfil", "A long title of many words that wraps", "長い題名", "<b> & \x00 \ud800"]
PLAIN = ["transform", "condition", "switch", "http", "join", "wait_for_signal"]
CONTAINERS = ["loop", "parallel", "try"]


def drawn_by_lot(chance: Random, depth: int = 2, prefix: str = "n") -> dict[str, Any]:
    """The nodes of a scope: any edges that point forward, some that go back, containers, switches, errors."""
    nodes: dict[str, Any] = {}
    for number in range(chance.randint(1, 4 + 2 * depth)):
        id_, earlier = f"{prefix}{number}", list(nodes)
        kind = chance.choice(CONTAINERS if depth and chance.random() < 0.2 else PLAIN)
        nodes[id_] = {"type": kind, "title": chance.choice(TITLES), **_inside(chance, kind, id_, depth)}
        sources = chance.sample(earlier, min(len(earlier), chance.randint(0, 3)))
        nodes[id_]["after"] = [f"{source}.{chance.choice(_ports(nodes[source]))}" for source in sources]
    root = build(document(nodes), CATALOG)
    for target in root.nodes.values():
        if chance.random() < 0.2:
            source = chance.choice([node for node in root.nodes.values() if node is target or root.is_before(target, node)])
            nodes[target.id]["after"].append({"from": f"{source.id}.error", "again": True, "max_visits": 12})
    return nodes


def _ports(raw: dict[str, Any]) -> list[str]:
    ports = {"condition": ["true", "false", "error"], "switch": [*raw.get("cases", ()), "default"]}
    return ports.get(raw["type"], ["out", "error"])


def _inside(chance: Random, kind: str, id_: str, depth: int) -> dict[str, Any]:
    """What belongs to a node of this type."""

    def inner(name: str) -> dict[str, Any]:
        return {"nodes": drawn_by_lot(chance, depth - 1, f"{id_}{name}")}

    match kind:
        case "switch":
            return {"cases": dict.fromkeys(chance.sample(CASES, chance.randint(0, 3)), True)}
        case "loop":
            return {"over": "${ input }", "concurrency": 2, "body": inner("b")}
        case "parallel":
            return {"branches": {name: inner(name) for name in ("left", "right")}}
        case "try":
            return {"body": inner("b"), "catch": [{"on": "http.*", "body": inner("c")}], "finally": inner("f")}
        case "http" if depth and chance.random() < 0.3:
            return {"compensate": inner("u")}
    return {}


SEEDS = st.integers(0, 2**32)


@settings(max_examples=200, deadline=None)
@given(SEEDS)
def test_nothing_covers_anything_else(seed: int) -> None:
    """Boxes, words and level lines keep apart at every depth; containers hold what is in them."""
    assert list(faults(laid(drawn_by_lot(Random(seed))))) == []


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_a_picture_is_sound_svg(seed: int) -> None:
    """Whatever stands in the texts, it is XML with a box for each node, and the same each time."""
    drawn = document(drawn_by_lot(Random(seed)), title="of & <all> \x1b")
    text = picture_of(drawn, CATALOG)
    boxes = [each for each in ElementTree.fromstring(text).iter(f"{SVG}rect") if "box" in each.attrib["class"].split()]
    assert len(boxes) == sum(len(scope.nodes) for scope in all_scopes(build(drawn, CATALOG)))
    assert picture_of(drawn, CATALOG) == text


# -- how it looks --------------------------------------------------------------------------------------------------------


def test_a_sequence_is_a_straight_row() -> None:
    """One node after another, whatever their heights: all on one line."""
    titles = ["short", "a title of so many words that it takes two lines", "x"]
    nodes = {
        f"n{number}": {"type": "transform", "title": title, "after": [f"n{number - 1}"] * (number > 0)}
        for number, title in enumerate(titles)
    }
    area = laid(nodes)
    boxes = boxes_of(area)
    assert len({middle(box) for box in boxes.values()}) == 1
    assert boxes["n0"].right < boxes["n1"].x < boxes["n1"].right < boxes["n2"].x
    assert all(len({y for _, y in line.points}) == 1 for line in area.lines)


def test_a_fork_is_symmetrical() -> None:
    """What begins together stands below each other around where it comes from, and where it comes together."""
    branches = {name: {"type": "transform", "after": "first"} for name in ("a", "b", "c")}
    boxes = boxes_of(laid({"first": {"type": "transform"}, **branches, "last": {"type": "join", "after": ["a", "b", "c"]}}))
    assert middle(boxes["first"]) == middle(boxes["b"]) == middle(boxes["last"])
    assert middle(boxes["b"]) - middle(boxes["a"]) == middle(boxes["c"]) - middle(boxes["b"]) > 0
    assert boxes["a"].x == boxes["b"].x == boxes["c"].x


def test_an_edge_passes_beside_what_is_between() -> None:
    """The row stays straight, and the edge that skips it bows around it."""
    nodes = {
        "a": {"type": "transform"},
        "b": {"type": "transform", "after": "a"},
        "c": {"type": "transform", "after": ["a", "b"]},
    }
    area = laid(nodes)
    boxes = boxes_of(area)
    assert abs(middle(boxes["a"]) - middle(boxes["b"])) < 12
    (skips,) = (line for line in area.lines if line.entry.text == "a" and line.entry.target.id == "c")
    assert any(y > boxes["b"].y + boxes["b"].height for _, y in skips.points)


def test_ports_stand_in_their_order() -> None:
    """Edges leave a switch in the order of its cases, `default` last, each with its name; `out` needs none."""
    nodes = {
        "s": {"type": "switch", "cases": {"gold": True, "silver": True}},
        "x": {"type": "transform", "after": ["s.default"]},
        "y": {"type": "transform", "after": ["s.gold", "s.silver"]},
        "z": {"type": "transform", "after": "y"},
    }
    boxes = boxes_of(laid(nodes))
    assert [port.word for port in boxes["s"].ports.values()] == ["gold", "silver", "default"]
    assert boxes["y"].y < boxes["x"].y
    assert [port.word for port in boxes["y"].ports.values()] == [""]


def test_an_edge_back_passes_below_its_own_way() -> None:
    """It encloses what is between its ends and nothing else."""
    nodes = {
        "write": {"type": "transform", "after": [{"from": "good.false", "again": True, "max_visits": 5}]},
        "good": {"type": "condition", "after": "write"},
        "draw": {"type": "transform"},
        "print": {"type": "join", "after": ["good.true", "draw"]},
    }
    area = laid(nodes)
    boxes = boxes_of(area)
    (back,) = (line for line in area.lines if line.entry.again)
    lane = max(y for _, y in back.points)
    assert max(boxes["write"].y + boxes["write"].height, boxes["good"].y + boxes["good"].height) < lane < boxes["draw"].y
    assert back.words == "again, at most 5"
    assert [port.name for port in boxes["good"].ports.values()] == ["true", "false"]


def test_parts_that_no_edge_joins_stand_below_each_other() -> None:
    """In the order they were written."""
    nodes = {"a": {"type": "transform"}, "c": {"type": "transform"}, "b": {"type": "transform", "after": "a"}}
    boxes = boxes_of(laid(nodes))
    assert boxes["a"].x == boxes["c"].x
    assert boxes["b"].y + boxes["b"].height < boxes["c"].y


def test_scopes_of_a_try_stand_in_the_order_they_come_about() -> None:
    """Body, handlers with what they take, finally."""
    inside = {"nodes": {"x": {"type": "transform"}}}
    raw = {"type": "try", "body": inside, "catch": [{"on": ["http.402", "card.*"], "body": inside}], "finally": inside}
    (box,) = laid({"t": raw}).boxes
    assert [panel.name for panel in box.panels] == ["body", "catch http.402, card.*", "finally"]
    (loop,) = laid({"l": {"type": "loop", "over": "${ input }", "body": inside}}).boxes
    assert [panel.name for panel in loop.panels] == [""]


def test_failures_have_a_colour_of_their_own() -> None:
    """Edges of `error`, of `timeout` and of the ports that a `catch` names."""
    nodes = {
        "a": {"type": "http", "timeout": "1s", "catch": [{"on": "http.404", "to": "missing"}]},
        **{
            name: {"type": "transform", "after": f"a.{port}"}
            for name, port in zip("bcde", ("out", "missing", "timeout", "error"), strict=True)
        },
    }
    text = picture_of(document(nodes), CATALOG)
    assert text.count('class="line failing"') == text.count('class="tip failing"') == text.count('class="label failing"') == 3


def test_it_holds_for_light_and_dark() -> None:
    """Colours stand in the style alone, once for each surrounding; the heading can be left out."""
    headed = document({"a": {"type": "transform"}}, title="Headed")
    text = picture_of(headed, CATALOG)
    style, _, rest = text.partition("</style>")
    assert "prefers-color-scheme: dark" in style
    assert "#" not in rest
    assert ">Headed</text>" in text
    assert ">Headed</text>" not in picture_of(
        document({"a": {"type": "transform"}}, title="Headed"), CATALOG, with_heading=False
    )


def test_it_is_told_in_words() -> None:
    """Those who do not see it read its edges."""
    nodes = {"a": {"type": "condition"}, "b": {"type": "transform", "after": "a.true"}}
    description = ElementTree.fromstring(picture_of(document(nodes), CATALOG)).findtext(f"{SVG}desc")
    assert description == "begins with a; a.true leads to b."


# -- texts ---------------------------------------------------------------------------------------------------------------


@given(st.text(max_size=200), st.floats(40, 400))
def test_texts_are_cut_to_fit(text: str, width: float) -> None:
    """What is shown fits, is the beginning, and says where it was cut."""
    shown = cut(text, width, 12.0)
    assert width_of(shown, 12.0) <= width
    assert shown == text or text.startswith(shown.removesuffix("…"))
    assert len(wrapped(text, width, 12.0)) <= 2


@pytest.mark.parametrize(
    "value, shown",
    [
        ("${ input.total > 5 }", "input.total > 5"),
        ("by ${ a } and\n ${b}", "by {a} and {b}"),
        (3, "3"),
        (True, "true"),
        ([1, 2], "[…]"),
        ({"a": 1}, "{…}"),
    ],
)
def test_values_are_shown_in_one_line(value: Any, shown: str) -> None:
    """An expression without its braces, a template with single ones, what is long by its kind."""
    assert plain(value) == shown


def test_what_fits_stands_in_one_line() -> None:
    """A text that is too long breaks where both lines are nearly as wide."""
    assert wrapped("two words", 200, 14.0) == ["two words"]
    assert wrapped("a title of six words here", 130, 14.0) == ["a title of six", "words here"]


# -- large ones ----------------------------------------------------------------------------------------------------------


def test_too_many_nodes_are_refused() -> None:
    """Nobody could read it; the sentence says how many and what to do."""
    nodes = {f"n{number}": {"type": "transform"} for number in range(NODES_MAX + 1)}
    with pytest.raises(Refused, match=r"at most 5,000 nodes in a picture, but there are 5,001") as refused:
        picture_of(document(nodes), CATALOG)
    assert refused.value.code == "picture.too_large"


def test_too_many_bends_are_refused() -> None:
    """Edges from the beginning of a long row to everywhere in it are no picture."""
    wires = [Wire(number, number + 1) for number in range(600)] + [Wire(0, number) for number in range(2, 600)]
    with pytest.raises(Refused, match="but they pass") as refused:
        arrange([50.0] * 601, wires)
    assert refused.value.code == "picture.too_large"


@pytest.mark.parametrize("shape", ["row", "fan", "mesh"])
def test_large_graphs_are_drawn(shape: str) -> None:
    """A thousand nodes in any shape come out in order and apart."""
    count = 1000
    wires = {
        "row": [Wire(number, number + 1) for number in range(count - 1)],
        "fan": [Wire(0, number) for number in range(1, count - 1)]
        + [Wire(number, count - 1) for number in range(1, count - 1)],
        "mesh": [Wire(number, number + step) for number in range(count) for step in (7, 11) if number + step < count],
    }[shape]
    arranged = arrange([50.0] * count, wires)
    rows: dict[int, list[float]] = {}
    for column, height in zip(arranged.columns, arranged.middles, strict=True):
        rows.setdefault(column, []).append(height)
    assert all(other - one > 50 for row in rows.values() for one, other in pairwise(sorted(row)))
    assert all(arranged.columns[wire.source] < arranged.columns[wire.target] for wire in wires)
