"""YAML 1.2 (core schema) to a document and its positions, built from libyaml's events without recursion.

Rule: nothing is guessed. `on`, `yes` and dates are texts, keys are texts, tags and merge keys are refused, aliases are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml
from yaml._yaml import CParser

from perdure.definition.positions import Path, Place, Spot
from perdure.definition.values import DEPTH_MAX, VALUES_MAX, Problem, number

_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER_STARTS = frozenset("+-.0123456789")
_DECIMAL = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL = re.compile(r"0o[0-7]+\Z")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z")
_DIGITS_MAX = 400  # more digits than any number we keep; Python's own conversion is quadratic


TOO_DEEP = f"Expected at most {DEPTH_MAX} levels of nesting, but this goes deeper."


class Finding(Exception):
    """One thing wrong in the text: the fault's code, path, message and place."""

    def __init__(self, code: str, path: Path, message: str, place: Place) -> None:
        super().__init__(message)
        self.code, self.path, self.message, self.place = code, path, message, place


def plain(scalar: str) -> Any:
    """The value of a plain scalar by YAML 1.2's core schema. Raises Problem for numbers that cannot be kept."""
    if scalar in _WORDS:
        return _WORDS[scalar]
    if scalar[0] not in _NUMBER_STARTS:
        return scalar
    if len(scalar) > _DIGITS_MAX and (_FLOAT.match(scalar) or _HEXADECIMAL.match(scalar) or _OCTAL.match(scalar)):
        raise Problem("value.range", f"Expected a number that can be stored, but got one of {len(scalar)} characters.")
    if _DECIMAL.match(scalar):
        return number(int(scalar))
    if _OCTAL.match(scalar):
        return number(int(scalar, 0))
    if _HEXADECIMAL.match(scalar):
        return number(int(scalar, 0))
    if _NOT_FINITE.match(scalar):
        raise Problem("value.range", f"Expected a finite number, but got {scalar}; write a text in quotes if you mean one.")
    return number(float(scalar)) if _FLOAT.match(scalar) else scalar


class _Open:
    """A container that is being filled."""

    __slots__ = ("anchor", "key", "skips", "spot", "value")

    def __init__(self, value: Any, spot: Spot, anchor: str | None) -> None:
        self.value, self.spot, self.anchor = value, spot, anchor
        self.key: str | int | None = None  # a mapping's key that waits for its value
        self.skips = False  # the key was refused: its value is read, and dropped


class YamlReader:
    """One pass over one text. `findings` holds all that is wrong; `value` and `root` what was read."""

    def __init__(self, text: str) -> None:
        self.value: Any = None
        self.root: Spot | None = None
        self.findings: list[Finding] = []
        self._text = text
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, Spot] | None] = {}
        self._documents = 0

    def read(self) -> None:
        """Read the whole text, or up to the first place that is no YAML."""
        try:
            parser = CParser(self._text)
            while (event := parser.get_event()) is not None:
                self._take(event)
        except yaml.MarkedYAMLError as error:
            self._syntax(error)
        except yaml.reader.ReaderError as error:
            place = self._place_of(min(error.position, len(self._text)))
            self._find("yaml.syntax", f"Expected text, but character {error.character!r} is not allowed in YAML.", place)
        except Finding as finding:
            self.findings.append(finding)

    # -- events -------------------------------------------------------------------------------------------------------
    def _take(self, event: Any) -> None:
        handle = _HANDLERS.get(type(event))
        if handle is not None:
            handle(self, event)

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            raise Finding("yaml.documents", (), "Expected one document, but `---` starts another.", _place(event))

    def _mapping(self, event: Any) -> None:
        self._open(event, {})

    def _sequence(self, event: Any) -> None:
        self._open(event, [])

    def _scalar(self, event: Any) -> None:
        place = _place(event)
        style = event.style or ""
        if self._awaits_key():
            self._key(event.value, event.implicit[0], place)
            return
        spot = Spot(*place, event.start_mark.index, event.end_mark.index, style or ("plain" if event.value else ""))
        self._tag(event)
        value = event.value
        if event.implicit[0] and event.tag is None and not style:
            try:
                value = plain(value)
            except Problem as problem:
                self._find(problem.code, problem.message, place, self._next_path())
                value = None
        self._anchor(event, value, spot)
        self._add(value, spot)

    def _open(self, event: Any, value: Any) -> None:
        place = _place(event)
        if self._awaits_key():
            raise Finding("yaml.key", self._path(), "Expected a text as key, but got a list or mapping.", place)
        if len(self._stack) >= DEPTH_MAX:
            raise Finding("document.too_deep", (), TOO_DEEP, place)
        spot = Spot(*place, event.start_mark.index)
        spot.children = {}
        spot.keys = {} if isinstance(value, dict) else None
        self._tag(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = None  # known, but not complete: an alias inside it is a circle
        self._stack.append(_Open(value, spot, event.anchor))

    def _close(self, _event: Any) -> None:
        done = self._stack.pop()
        if done.anchor is not None:
            self._anchors[done.anchor] = (done.value, done.spot)
        self._add(done.value, done.spot)

    def _alias(self, event: Any) -> None:
        place = _place(event)
        if self._awaits_key():
            raise Finding("yaml.key", self._path(), "Expected a text as key, but got an alias.", place)
        if event.anchor not in self._anchors:
            raise Finding(
                "yaml.syntax", self._next_path(), f"Expected a known anchor, but `*{event.anchor}` names none.", place
            )
        found = self._anchors[event.anchor]
        if found is None:
            raise Finding(
                "yaml.circle", self._next_path(), f"Expected a finite value, but `*{event.anchor}` holds itself.", place
            )
        self._add(*found)

    # -- building -----------------------------------------------------------------------------------------------------
    def _awaits_key(self) -> bool:
        return bool(self._stack) and self._stack[-1].key is None and self._stack[-1].spot.keys is not None

    def _key(self, key: str, is_plain: bool, place: Place) -> None:
        top = self._stack[-1]
        top.key = key
        top.skips = False
        assert top.spot.keys is not None
        if key == "<<" and is_plain:
            self._find(
                "yaml.merge", "Expected a key, but `<<` is a merge key, which YAML 1.2 does not have.", place, self._next_path()
            )
            top.skips = True
        elif key in top.value:
            first = top.spot.keys[key][0]
            message = f"Expected each key once, but `{key}` stands here and on line {first}."
            self._find("yaml.duplicate_key", message, place, self._next_path())
            top.skips = True
        else:
            top.spot.keys[key] = place

    def _add(self, value: Any, spot: Spot) -> None:
        if not self._stack:
            self.value, self.root = value, spot
            return
        top = self._stack[-1]
        top.spot.size += spot.size
        if top.spot.size > VALUES_MAX:
            message = f"Expected at most {VALUES_MAX:,} values (aliases expanded), but there are more."
            raise Finding("document.too_large", (), message, (spot.line, spot.column))
        assert top.spot.children is not None
        if isinstance(top.value, list):
            top.spot.children[len(top.value)] = spot
            top.value.append(value)
            return
        key, top.key = top.key, None
        if not top.skips and key is not None:
            top.spot.children[key] = spot
            top.value[key] = value

    def _anchor(self, event: Any, value: Any, spot: Spot) -> None:
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, spot)

    def _tag(self, event: Any) -> None:
        if event.tag is not None:
            message = f"Expected a plain value, but it carries the tag `{event.tag}`."
            self._find("yaml.tag", message, _place(event), self._next_path())

    # -- places -------------------------------------------------------------------------------------------------------
    def _path(self) -> Path:
        return tuple(_step(container) for container in self._stack[:-1])

    def _next_path(self) -> Path:
        return tuple(_step(container) for container in self._stack)

    def _find(self, code: str, message: str, place: Place, path: Path = ()) -> None:
        self.findings.append(Finding(code, path, message, place))

    def _syntax(self, error: yaml.MarkedYAMLError) -> None:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
        if "nesting depth" in (error.problem or ""):  # the parser's own limit, which it meets while it reads ahead
            return self._find("document.too_deep", TOO_DEEP, place)
        while_doing = f" {error.context}" if error.context else ""
        message = f"Expected well-formed YAML, but{while_doing} the parser says: {error.problem or 'unreadable'}."
        self._find("yaml.syntax", message, place, self._path() if self._stack else ())

    def _place_of(self, offset: int) -> Place:
        return self._text.count("\n", 0, offset) + 1, offset - self._text.rfind("\n", 0, offset)


def _place(event: Any) -> Place:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _step(container: _Open) -> str | int:
    return len(container.value) if isinstance(container.value, list) else container.key if container.key is not None else ""


_HANDLERS: dict[type, Callable[[YamlReader, Any], None]] = {
    yaml.ScalarEvent: YamlReader._scalar,
    yaml.MappingStartEvent: YamlReader._mapping,
    yaml.MappingEndEvent: YamlReader._close,
    yaml.SequenceStartEvent: YamlReader._sequence,
    yaml.SequenceEndEvent: YamlReader._close,
    yaml.AliasEvent: YamlReader._alias,
    yaml.DocumentStartEvent: YamlReader._document,
}
