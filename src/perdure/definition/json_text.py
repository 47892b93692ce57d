"""JSON to a document and its positions, strictly by RFC 8259: no NaN, no comments, no trailing commas, no key twice."""

from __future__ import annotations

import re
from json import decoder
from json.decoder import JSONDecodeError
from typing import Any

from perdure.definition.positions import Path, Place, Spot
from perdure.definition.values import DEPTH_MAX, VALUES_MAX, Problem, number, text
from perdure.definition.yaml_text import Finding

_BLANKS = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS = {"null": None, "true": True, "false": False}
_WORD = re.compile(r"[A-Za-z0-9_+.-]+")
_DIGITS_MAX = 400
_read_string = decoder.scanstring  # type: ignore[attr-defined]  # the standard library's own, in C


class JsonReader:
    """One pass over one text. `findings` holds all that is wrong; `value` and `root` what was read."""

    def __init__(self, source: str) -> None:
        self.value: Any = None
        self.root: Spot | None = None
        self.findings: list[Finding] = []
        self._text = source
        self._at = 0
        self._line = 1  # of the last place asked for: places are asked for in order, so each line is counted once
        self._line_start = 0
        self._counted = 0
        self._values = 0

    def read(self) -> None:
        """Read the whole text, or up to the first place that is no JSON."""
        try:
            self._blanks()
            self.value, self.root = self._value((), 0)
            self._blanks()
            if self._at < len(self._text):
                raise self._wrong("the end of the text")
        except Finding as finding:
            self.findings.append(finding)

    def _value(self, path: Path, depth: int) -> tuple[Any, Spot]:
        self._values += 1
        start = self._at
        spot = Spot(*self._place(), start)
        if depth > DEPTH_MAX:
            message = f"Expected at most {DEPTH_MAX} levels of nesting, but this goes deeper."
            raise Finding("document.too_deep", (), message, (spot.line, spot.column))
        if self._values > VALUES_MAX:
            message = f"Expected at most {VALUES_MAX:,} values, but there are more."
            raise Finding("document.too_large", (), message, (spot.line, spot.column))
        first = self._text[start : start + 1]
        if first == "{":
            value: Any = self._object(path, depth, spot)
        elif first == "[":
            value = self._array(path, depth, spot)
        elif first == '"':
            spot.style = '"'
            value = self._string(path)
        else:
            value = self._word(path)
        spot.end = self._at
        return value, spot

    def _object(self, path: Path, depth: int, spot: Spot) -> dict[str, Any]:
        value: dict[str, Any] = {}
        spot.children, spot.keys = {}, {}
        self._at += 1
        self._blanks()
        if self._took("}"):
            return value
        while True:
            place = self._place()
            if self._text[self._at : self._at + 1] != '"':
                raise self._wrong("a key in double quotes", path)
            key = self._string(path)
            self._blanks()
            if not self._took(":"):
                raise self._wrong("`:` after the key", (*path, key))
            self._blanks()
            item, at = self._value((*path, key), depth + 1)
            if key in value:
                message = f"Expected each key once, but `{key}` stands here and on line {spot.keys[key][0]}."
                self.findings.append(Finding("json.duplicate_key", (*path, key), message, place))
            else:
                value[key], spot.children[key], spot.keys[key] = item, at, place
            self._blanks()
            if self._took("}"):
                return value
            if not self._took(","):
                raise self._wrong("`,` or `}`", path)
            self._blanks()

    def _array(self, path: Path, depth: int, spot: Spot) -> list[Any]:
        value: list[Any] = []
        spot.children = {}
        self._at += 1
        self._blanks()
        if self._took("]"):
            return value
        while True:
            item, at = self._value((*path, len(value)), depth + 1)
            spot.children[len(value)] = at
            value.append(item)
            self._blanks()
            if self._took("]"):
                return value
            if not self._took(","):
                raise self._wrong("`,` or `]`", path)
            self._blanks()

    def _string(self, path: Path) -> str:
        place = self._place()
        try:
            value, self._at = _read_string(self._text, self._at + 1, True)
        except JSONDecodeError as error:
            self._at = min(error.pos, len(self._text))
            raise self._wrong("a complete text in double quotes", path) from None
        return str(self._kept(text, value, path, place) or "")

    def _word(self, path: Path) -> Any:
        place = self._place()
        found = _WORD.match(self._text, self._at)
        word = found.group() if found else ""
        if word in _WORDS:
            self._at += len(word)
            return _WORDS[word]
        match = _NUMBER.match(word)
        if match is None or match.end() != len(word):
            raise self._wrong("a value", path)
        self._at += len(word)
        if len(word) > _DIGITS_MAX:
            message = f"Expected a number that can be stored, but got one of {len(word)} characters."
            self.findings.append(Finding("value.range", path, message, place))
            return None
        is_float = match.group(1) is not None or match.group(2) is not None
        return self._kept(number, float(word) if is_float else int(word), path, place)

    def _kept(self, keep: Any, value: Any, path: Path, place: Place) -> Any:
        try:
            return keep(value)
        except Problem as problem:
            self.findings.append(Finding(problem.code, path, problem.message, place))
            return None

    # -- places -------------------------------------------------------------------------------------------------------
    def _blanks(self) -> None:
        found = _BLANKS.match(self._text, self._at)
        assert found is not None, "an optional match always matches"
        self._at = found.end()

    def _took(self, character: str) -> bool:
        if self._text.startswith(character, self._at):
            self._at += 1
            return True
        return False

    def _place(self) -> Place:
        breaks = self._text.count("\n", self._counted, self._at)
        if breaks:
            self._line += breaks
            self._line_start = self._text.rfind("\n", self._counted, self._at) + 1
        self._counted = self._at
        return self._line, self._at - self._line_start + 1

    def _wrong(self, wanted: str, path: Path = ()) -> Finding:
        found = self._text[self._at : self._at + 20].split("\n")[0]
        got = f"found `{found}`" if found else "the text ends" if self._at >= len(self._text) else "the line ends"
        return Finding("json.syntax", path, f"Expected {wanted}, but {got}.", self._place())
