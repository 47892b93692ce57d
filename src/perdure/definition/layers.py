"""A graph in columns, left to right: which column each node stands in, in which order, and how high; numbers alone.

A node's column is the longest path that leads to it. An edge over several columns bends once in each, so that it passes beside
the nodes there; bends are placed like nodes of no height. All is computed in a fixed number of rounds, each linear but for
sorting, so that the picture of a large graph takes seconds and is the same every time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from perdure.errors import Refused

BENDS_MAX = 50_000
"""A picture with more bends than this shows nothing any more, and would take minutes."""

ROUNDS = 6  # of ordering, each way: afterwards hardly anything moves
SETTLING = 12  # rounds of heights: enough for a hundred columns to come to rest within a pixel
BETWEEN_NODES, BESIDE_BENDS = 24.0, 14.0  # free height between two nodes, and where one of them is a bend
LANE_HEIGHT = 14.0  # of an edge that goes back: what it says stands above its line
NODE_WEIGHT, BEND_WEIGHT = 8.0, 1.0  # who gives way: edges that pass by bow around a straight row of nodes
NEARLY = 15.0  # a step of fewer pixels looks like a mistake, and is made straight where there is room


@dataclass(slots=True, frozen=True)
class Wire:
    """An edge from one node to another, by number. `leaves` is how far below the middle of its source it begins."""

    source: int
    target: int
    leaves: float = 0.0


@dataclass(slots=True)
class Arranged:
    """Where all stands: nodes, edges in the columns they pass, and edges that go back, from the column of their target on."""

    columns: list[int]
    middles: list[float]
    bends: list[list[float]]
    lanes: list[list[float]]
    height: float


@dataclass(slots=True, eq=False)
class _Level:
    """Spots in a row, joined by the only edge of both its ends: they move together. `height` is that of the first."""

    spots: list[_Spot] = field(default_factory=list)
    height: float = 0.0


@dataclass(slots=True, eq=False)
class _Spot:
    """A node, or the bend of an edge, in its column.

    A step is the spot at the other end of an edge, and how far below the middle of its source it begins.
    """

    column: int
    height: float
    is_bend: bool = False
    hangs: _Spot | None = None  # of an edge that goes back: what it passes below
    position: int = 0
    middle: float = 0.0
    level: _Level = field(default_factory=_Level)
    rise: float = 0.0  # below the first spot of its level
    before: list[tuple[_Spot, float]] = field(default_factory=list)
    after: list[tuple[_Spot, float]] = field(default_factory=list)


def arrange(heights: Sequence[float], wires: Sequence[Wire], returns: Sequence[Wire] = ()) -> Arranged:
    """Columns, order and heights of connected nodes that are numbered in the order they were written.

    `returns` are edges that go back, each to its own source or to what comes before that: they pass below the nodes between,
    the shorter ones nearer. Raises Refused (`picture.too_large`) where edges would bend more than BENDS_MAX times.
    """
    columns = _columns(len(heights), wires)
    bends = sum(abs(columns[wire.target] - columns[wire.source]) for wire in (*wires, *returns))
    if bends > BENDS_MAX:
        raise Refused(
            f"Expected a graph whose edges pass at most {BENDS_MAX:,} nodes, but they pass {bends:,}: nobody could read it.",
            remedy="Put parts of the graph into containers or sub-workflows.", code="picture.too_large",
        )  # fmt: skip
    nodes = [_Spot(column, height) for column, height in zip(columns, heights, strict=True)]
    chains = [_chain(wire, nodes) for wire in wires]
    rows: list[list[_Spot]] = [[] for _ in range(max(columns, default=-1) + 1)]
    for spot in [*nodes, *(bend for chain in chains for bend in chain)]:
        rows[spot.column].append(spot)
    _order(rows)
    lanes: list[list[_Spot]] = [[] for _ in returns]
    for number in sorted(range(len(returns)), key=lambda each: columns[returns[each].source] - columns[returns[each].target]):
        lanes[number] = _lane(nodes[returns[number].source], nodes[returns[number].target], rows)
    _settle(rows, [*chains, *lanes])
    top = min((row[0].middle - row[0].height / 2 for row in rows), default=0.0)
    bottom = max((row[-1].middle + row[-1].height / 2 for row in rows), default=0.0)
    return Arranged(
        columns,
        [round(spot.middle - top) for spot in nodes],
        [[round(bend.middle - top) for bend in chain] for chain in chains],
        [[round(spot.middle + spot.height / 2 - top) for spot in lane] for lane in lanes],
        round(bottom - top),
    )


def _columns(count: int, wires: Sequence[Wire]) -> list[int]:
    """The longest path to each node."""
    after: list[list[int]] = [[] for _ in range(count)]
    missing = [0] * count
    for wire in wires:
        after[wire.source].append(wire.target)
        missing[wire.target] += 1
    columns = [0] * count
    waiting = [number for number in range(count) if not missing[number]]
    for number in waiting:  # grows while it is walked
        for target in after[number]:
            columns[target] = max(columns[target], columns[number] + 1)
            missing[target] -= 1
            if not missing[target]:
                waiting.append(target)
    return columns


def _chain(wire: Wire, nodes: Sequence[_Spot]) -> list[_Spot]:
    """The bends of an edge, joined to its ends."""
    source, target = nodes[wire.source], nodes[wire.target]
    bends = [_Spot(column, 0.0, is_bend=True) for column in range(source.column + 1, target.column)]
    leaves = wire.leaves
    for spot in (*bends, target):
        source.after.append((spot, leaves))
        spot.before.append((source, leaves))
        source, leaves = spot, 0.0
    return bends


def _lane(source: _Spot, target: _Spot, rows: Sequence[list[_Spot]]) -> list[_Spot]:
    """An edge that goes back: a place in each column, right below the way that leads from its target to its source."""
    lane: list[_Spot] = []
    for passed in _way(source, target):
        row = rows[passed.column]
        number = row.index(passed) + 1
        while number < len(row) and row[number].hangs is passed:
            number += 1
        spot = _Spot(passed.column, LANE_HEIGHT, is_bend=True, hangs=passed)
        row.insert(number, spot)
        if lane:
            lane[-1].after.append((spot, 0.0))
            spot.before.append((lane[-1], 0.0))
        lane.append(spot)
    _number(rows)
    return lane


def _way(source: _Spot, target: _Spot) -> list[_Spot]:
    """A way over edges from the target to the source, a spot for each column."""
    beyond: dict[_Spot, _Spot | None] = {source: None}
    waiting = [source]
    while waiting and target not in beyond:
        spot = waiting.pop()
        for earlier, _ in spot.before:
            if earlier not in beyond and earlier.column >= target.column:
                beyond[earlier] = spot
                waiting.append(earlier)
    way: list[_Spot] = []
    spot_on_way: _Spot | None = target
    while spot_on_way is not None:
        way.append(spot_on_way)
        spot_on_way = beyond[spot_on_way]
    return way


# -- order ---------------------------------------------------------------------------------------------------------------


def _order(rows: Sequence[list[_Spot]]) -> None:
    """Put each column in the order with the fewest crossings that was met on the way."""
    _number(rows)
    for row in rows[1:]:
        _sort(row, forward=True)
    best, fewest = [list(row) for row in rows], _crossings(rows)
    for _ in range(ROUNDS):
        if not fewest:
            break
        for row in reversed(rows[:-1]):
            _sort(row, forward=False)
        for row in rows[1:]:
            _sort(row, forward=True)
        _exchange(rows)
        found = _crossings(rows)
        if found < fewest:
            best, fewest = [list(row) for row in rows], found
    for row, kept in zip(rows, best, strict=True):
        row[:] = kept
    _number(rows)


def _number(rows: Iterable[list[_Spot]]) -> None:
    for row in rows:
        for position, spot in enumerate(row):
            spot.position = position


def _sort(row: list[_Spot], *, forward: bool) -> None:
    """Order a column by the mean place of the neighbours on one side; who has none there stays where it is."""
    keys = {}
    for spot in row:
        if forward:
            places = [_place(source, leaves) for source, leaves in spot.before]
        else:
            places = [float(target.position) for target, _ in spot.after]
        keys[spot] = sum(places) / len(places) if places else None
    moving = iter(sorted((spot for spot in row if keys[spot] is not None), key=lambda spot: keys[spot] or 0.0))
    row[:] = [spot if keys[spot] is None else next(moving) for spot in row]
    _number([row])


def _place(source: _Spot, leaves: float) -> float:
    """Where an edge leaves a column: its source's position, and a little more or less for its port."""
    return source.position + (leaves / source.height if source.height else 0.0)


def _crossings(rows: Sequence[list[_Spot]]) -> int:
    """How many pairs of edges cross, between all neighbouring columns."""
    total = 0
    for row in rows:
        steps = sorted((_place(spot, leaves), target.position) for spot in row for target, leaves in spot.after)
        total += _inversions([target for _, target in steps])
    return total


def _inversions(numbers: list[int]) -> int:
    """How many pairs stand in the wrong order, by a tree of counts."""
    size = max(numbers, default=0) + 1
    counts = [0] * (size + 1)
    found = 0
    for seen, number in enumerate(numbers):
        at, smaller = number + 1, 0
        while at > 0:
            smaller += counts[at]
            at &= at - 1
        found += seen - smaller
        at = number + 1
        while at <= size:
            counts[at] += 1
            at += at & -at
    return found


def _exchange(rows: Sequence[list[_Spot]]) -> None:
    """Exchange neighbours wherever that undoes crossings."""
    for row in rows:
        for position in range(len(row) - 1):
            upper, lower = row[position], row[position + 1]
            if _between(upper, lower) > _between(lower, upper):
                row[position], row[position + 1] = lower, upper
                upper.position, lower.position = position + 1, position


def _between(upper: _Spot, lower: _Spot) -> int:
    """Crossings between the edges of two neighbours, the one above the other."""
    before = ([_place(*step) for step in upper.before], [_place(*step) for step in lower.before])
    after = ([float(target.position) for target, _ in upper.after], [float(target.position) for target, _ in lower.after])
    return sum(above > below for highs, lows in (before, after) for above in highs for below in lows)


# -- heights -------------------------------------------------------------------------------------------------------------


def _settle(rows: Sequence[list[_Spot]], chains: Sequence[Sequence[_Spot]]) -> None:
    """Give each spot a height near those of its neighbours, in the order of its column and never too close."""
    levels = _levels(rows)
    for row in rows:
        _space(row, [0.0] * len(row))
    for number in range(SETTLING):
        both = number >= SETTLING // 2  # first each side by itself, which carries far; then both together
        for row in rows[1:]:
            _space(row, [_wished(spot, before=True, after=both) for spot in row])
        for row in reversed(rows[:-1]):
            _space(row, [_wished(spot, before=both, after=True) for spot in row])
        if both:
            _align(rows, levels)
    _straighten(rows, levels)
    _iron(chains, rows)


def _wished(spot: _Spot, *, before: bool, after: bool) -> float:
    """The mean of where its edges would be straight; edges that pass by count little for nodes, and much for each other."""
    if spot.hangs is not None:
        return spot.hangs.middle + _apart(spot.hangs, spot)
    total = weight = 0.0
    sides = ((before, spot.before, 1.0), (after, spot.after, -1.0))
    for wanted, steps, sign in sides:
        for other, leaves in steps if wanted else ():
            share = 1.0 if other.is_bend and not spot.is_bend else 4.0
            total += share * (other.middle + sign * leaves)
            weight += share
    return total / weight if weight else spot.middle


def _apart(upper: _Spot, lower: _Spot) -> float:
    """The least distance between the middles of two neighbours."""
    gap = BESIDE_BENDS if upper.is_bend or lower.is_bend else BETWEEN_NODES
    return (upper.height + lower.height) / 2 + gap


def _space(row: Sequence[_Spot], wished: Sequence[float]) -> None:
    """The heights nearest to those wished for that keep order and distance: pools of spots that press on each other."""
    offsets = [0.0]
    for upper, lower in pairwise(row):
        offsets.append(offsets[-1] + _apart(upper, lower))
    pools: list[tuple[float, float, int]] = []  # mean, weight, number of spots
    for spot, wish, offset in zip(row, wished, offsets, strict=False):
        mean, weight, count = wish - offset, BEND_WEIGHT if spot.is_bend else NODE_WEIGHT, 1
        while pools and pools[-1][0] > mean:
            other, more, others = pools.pop()
            mean, weight, count = (mean * weight + other * more) / (weight + more), weight + more, count + others
        pools.append((mean, weight, count))
    number = 0
    for mean, _, count in pools:
        for _ in range(count):
            row[number].middle = mean + offsets[number]
            number += 1


# -- straight lines ------------------------------------------------------------------------------------------------------


def _levels(rows: Sequence[list[_Spot]]) -> list[_Level]:
    """All spots by the rows they stand in. Of edges that cross only the first makes a row, so that no row is above itself."""
    levels: list[_Level] = []
    for row in rows:
        lowest = -1
        for spot in row:
            source = spot.before[0][0] if len(spot.before) == 1 else None
            if source is not None and len(source.after) == 1 and source.position > lowest:
                lowest = source.position
                spot.level, spot.rise = source.level, source.rise + source.after[0][1]
            else:
                spot.level, spot.rise = _Level(), 0.0
                levels.append(spot.level)
            spot.level.spots.append(spot)
    return levels


def _align(rows: Sequence[list[_Spot]], levels: Sequence[_Level]) -> None:
    """Make every row straight: pressed down from above, pressed up from below; the mean of both keeps distance too."""
    wishes = [sum(spot.middle - spot.rise for spot in level.spots) / len(level.spots) for level in levels]
    down = _pressed(rows, levels, wishes, 1)
    up = _pressed(rows, levels, wishes, -1)
    for level, lower, upper in zip(levels, down, up, strict=True):
        _move(level, (lower + upper) / 2)


def _move(level: _Level, height: float) -> None:
    level.height = height
    for spot in level.spots:
        spot.middle = height + spot.rise


def _pressed(rows: Sequence[list[_Spot]], levels: Sequence[_Level], wishes: Sequence[float], way: int) -> list[float]:
    """The heights of levels where each gives way to those before it, on the way down (1) or up (-1)."""
    heights = dict(zip(levels, wishes, strict=True))
    waits = {level: sum(0 <= spot.position - way < len(rows[spot.column]) for spot in level.spots) for level in levels}
    free = [level for level in levels if not waits[level]]
    for level in free:  # grows while it is walked
        for spot in level.spots:
            row, number = rows[spot.column], spot.position + way
            if not 0 <= number < len(row):
                continue
            other = row[number]
            least = heights[level] + spot.rise + way * _apart(spot, other) - other.rise
            heights[other.level] = max(heights[other.level], least) if way > 0 else min(heights[other.level], least)
            waits[other.level] -= 1
            if not waits[other.level]:
                free.append(other.level)
    return list(heights.values())


def _straighten(rows: Sequence[list[_Spot]], levels: Sequence[_Level]) -> None:
    """Where a row stands a few pixels off a straight line to a neighbour, and there is room, it moves there."""
    for level in levels:
        _move(level, float(round(level.height)))
    for level in levels:
        for spot in level.spots:
            if spot.is_bend:
                continue
            steps = [source.middle + leaves - spot.middle for source, leaves in spot.before if not source.is_bend]
            steps += [target.middle - leaves - spot.middle for target, leaves in spot.after if not target.is_bend]
            near = [step for step in steps if 0 < abs(step) <= NEARLY]
            if near and not any(step == 0 for step in steps):
                step = min(near, key=abs)
                if all(_fits(rows[each.column], each.position, each.middle + step) for each in level.spots):
                    _move(level, level.height + step)


def _fits(row: Sequence[_Spot], number: int, middle: float) -> bool:
    lowest, highest = _room(row, number)
    return lowest <= middle <= highest


def _iron(chains: Sequence[Sequence[_Spot]], rows: Sequence[list[_Spot]]) -> None:
    """Let edges that pass by run level through as many columns as they can."""
    for chain in chains:
        level: list[_Spot] = []
        lowest, highest = -_FAR, _FAR
        for bend in chain:
            least, most = _room(rows[bend.column], bend.position)
            if max(lowest, least) > min(highest, most):
                _flatten(level, lowest, highest)
                level, lowest, highest = [], -_FAR, _FAR
            level.append(bend)
            lowest, highest = max(lowest, least), min(highest, most)
        _flatten(level, lowest, highest)


_FAR = 1e9


def _room(row: Sequence[_Spot], number: int) -> tuple[float, float]:
    """Between which heights a spot may move."""
    spot = row[number]
    lowest = row[number - 1].middle + _apart(row[number - 1], spot) if number else -_FAR
    highest = row[number + 1].middle - _apart(spot, row[number + 1]) if number + 1 < len(row) else _FAR
    return lowest, highest


def _flatten(bends: Sequence[_Spot], lowest: float, highest: float) -> None:
    """One height for all, as near as may be to where they come from, or to where they go."""
    if not bends:
        return
    wish = lowest
    if bends[0].hangs is None:
        (source, leaves), (target, _) = bends[0].before[0], bends[-1].after[0]
        wish = source.middle + leaves
        if not source.is_bend and not target.is_bend and not lowest <= wish <= highest:
            wish = target.middle
    for bend in bends:
        bend.middle = min(max(wish, lowest), highest)
