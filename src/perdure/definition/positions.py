"""Where each value of a document stands in its text: a tree of spots that mirrors the document, lines and columns from 1."""

from __future__ import annotations

from collections.abc import Iterable

Path = tuple[str | int, ...]
"""How checks name a place: `("nodes", "fetch", "after", 0)`."""

Place = tuple[int, int]
"""Line and column, counting from 1; (0, 0) = unknown."""

UNKNOWN: Place = (0, 0)
_BLANKS = frozenset(" \t\r\n")


class Spot:
    """Where one value stands. `children` are the spots of a container's members, `keys` where a mapping's keys stand.

    `start` and `end` are offsets into the text; `size` counts the values below, aliases expanded.
    """

    __slots__ = ("children", "column", "end", "keys", "line", "size", "start", "style")

    def __init__(self, line: int, column: int, start: int, end: int = 0, style: str = "") -> None:
        self.line = line
        self.column = column
        self.start = start
        self.end = end
        self.style = style
        self.size = 1
        self.children: dict[str | int, Spot] | None = None
        self.keys: dict[str | int, Place] | None = None


class Positions:
    """The places of all values of one document, found by path."""

    def __init__(self, text: str, root: Spot | None) -> None:
        self._text = text
        self._root = root

    def value(self, path: Path) -> Place:
        """Where the value at `path` stands; where it has none, its nearest container that has."""
        spot = self._nearest(path)
        return (spot.line, spot.column) if spot else UNKNOWN

    def key(self, path: Path) -> Place:
        """Where the key of the value at `path` stands (an item of a list has none: its value then)."""
        holder = self._exact(path[:-1]) if path else None
        if holder is not None and holder.keys is not None and path[-1] in holder.keys:
            return holder.keys[path[-1]]
        return self.value(path)

    def within(self, path: Path, value: str, offset: int) -> Place:
        """Where character `offset` of the string `value` at `path` stands, through quotes, escapes and folded lines."""
        spot = self._exact(path)
        if spot is None or not spot.style:
            return self.value(path)
        at = spot.start + _raw_offset(self._text[spot.start : spot.end], spot.style, value, offset)
        line = self._text.count("\n", 0, at) + 1
        return line, at - self._text.rfind("\n", 0, at)

    def _exact(self, path: Path) -> Spot | None:
        spot = self._root
        for step in path:
            if spot is None or spot.children is None:
                return None
            spot = spot.children.get(step)
        return spot

    def _nearest(self, path: Path) -> Spot | None:
        spot = self._root
        for step in path:
            if spot is None or spot.children is None or step not in spot.children:
                break
            spot = spot.children[step]
        return spot


NOWHERE = Positions("", None)
"""For documents that never were text."""


def _raw_offset(raw: str, style: str, value: str, offset: int) -> int:
    """The offset in the raw scalar of character `offset` of its value: exact for every character that is no blank."""
    at = raw.find("\n") + 1 if style in "|>" else int(style in "'\"")
    for index, character in enumerate(value):
        if character not in _BLANKS:
            while at < len(raw) and raw[at] in _BLANKS:
                at += 1
        if index >= offset:
            return min(at, max(len(raw) - 1, 0))
        at += _raw_width(raw, at, style, character)
    return min(at, max(len(raw) - 1, 0))


def _raw_width(raw: str, at: int, style: str, character: str) -> int:
    """How many raw characters stand for one character of the value."""
    if style == '"' and raw.startswith("\\", at):
        width = {"x": 4, "u": 6, "U": 10}.get(raw[at + 1 : at + 2], 2)
        return 12 if width == 6 and ord(character) > 0xFFFF else width  # a JSON surrogate pair
    if style == "'" and raw.startswith("''", at):
        return 2
    if character in _BLANKS and not raw.startswith(tuple(_BLANKS), at):
        return 0
    return 1


def dotted(path: Iterable[str | int]) -> str:
    """A path as people read it: `nodes.fetch.after[0]`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
