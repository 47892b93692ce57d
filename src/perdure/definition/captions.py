"""What the boxes of a picture say: a node's title, its type with what tells it from its like, the names of scopes; cut to fit.

Widths are estimated from above, by the widest of the common fonts, so that text fits whatever font a viewer has.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from perdure.definition.fields import one_or_list
from perdure.definition.graph import Node, Scope

TITLE_SIZE, CAPTION_SIZE, LABEL_SIZE = 14.0, 12.0, 12.0
TITLE_WIDTH, CAPTION_WIDTH, LABEL_WIDTH = 230.0, 260.0, 150.0  # of text; what is longer is broken in two, then cut

_WIDTHS = {
    **dict.fromkeys("ijl|'.,:;!·", 0.36),
    **dict.fromkeys('ftrI()[]{}/\\-"` ', 0.46),
    **dict.fromkeys("mwMW@%", 1.02),
    **dict.fromkeys("ABCDEFGHJKLNOPQRSTUVXYZ&<>=+~#^…→×", 0.84),
}


def width_of(text: str, size: float, *, is_bold: bool = False) -> float:
    """About how wide a text is, rather too much than too little."""
    total = 0.0
    for character in text:
        wide = unicodedata.east_asian_width(character) in "WF"
        total += 1.05 if wide else _WIDTHS.get(character, 0.64 if character.isascii() else 0.84)
    return total * size * (1.1 if is_bold else 1.0)


def cut(text: str, width: float, size: float, *, is_bold: bool = False) -> str:
    """The text, or as much of its beginning as fits before an ellipsis."""
    if width_of(text, size, is_bold=is_bold) <= width:
        return text
    while text and width_of(f"{text}…", size, is_bold=is_bold) > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def wrapped(text: str, width: float, size: float, *, is_bold: bool = False) -> list[str]:
    """The text in one line, or in two of nearly the same width; what still does not fit is cut."""
    if width_of(text, size, is_bold=is_bold) <= width:
        return [text]
    words = text.split()
    halves = [(" ".join(words[:number]), " ".join(words[number:])) for number in range(1, len(words))]
    best = min(halves, key=lambda half: max(width_of(line, size) for line in half), default=(text,))
    return [cut(line, width, size, is_bold=is_bold) for line in best]


def plain(value: Any) -> str:
    """A value in one line: an expression without its braces, a text as it is, everything else by its kind."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return "{…}" if isinstance(value, dict) else "[…]"
    text = " ".join(str(value).split())
    if text.startswith("${") and text.endswith("}") and "${" not in text[2:]:
        return text[2:-1].strip()
    return _INSERTED.sub(r"{\1}", text)


_INSERTED = re.compile(r"\$\{\s*([^{}]*?)\s*\}")


def title_of(node: Node) -> str:
    """Its title, or its id."""
    title = node.raw.get("title")
    return plain(title) if isinstance(title, str) and title.strip() else node.id


def caption_of(node: Node) -> list[str]:
    """Its type, and what tells it from others of the type, the most telling first."""
    return [node.type, *_TELLING.get(node.type, _nothing)(node.raw), *_shared(node.raw)]


def heading_of(scope: Scope) -> str:
    """What a scope is to its container; nothing for a body that stands alone."""
    node = scope.outer
    assert node is not None, "the workflow's own scope has no container"
    if scope.kind == "catch":
        handler = one_or_list(node.raw.get("catch"))[int(scope.name.removeprefix("catch"))]
        codes = [str(code) for code in one_or_list(handler.get("on") or [])]
        condition = [f"when {plain(handler['when'])}"] if handler.get("when") is not None else []
        return " ".join(["catch", ", ".join(codes), *condition]).strip()
    if scope.kind in ("branch", "finally", "compensate"):
        return scope.name
    return "body" if len(node.scopes) > 1 else ""


# -- what tells a node from others of its type ---------------------------------------------------------------------------

Raw = Mapping[str, Any]


def _nothing(raw: Raw) -> Iterator[str]:
    yield from ()


def _value(key: str, words: str = "{}") -> Callable[[Raw], Iterator[str]]:
    """What stands under a key, in these words."""

    def told(raw: Raw) -> Iterator[str]:
        if raw.get(key) is not None:
            yield words.format(plain(raw[key]))

    return told


def _switch(raw: Raw) -> Iterator[str]:
    if raw.get("match") == "all":
        yield "every case that holds"
    if raw.get("strict") is True:
        yield "strict"


def _quorum(raw: Raw) -> Iterator[str]:
    if raw.get("need") not in (None, "all"):
        yield f"need {plain(raw['need'])}"
    if raw.get("count") is not None:
        yield f"count {plain(raw['count'])}"
    if raw.get("losers") is not None:
        yield f"losers {plain(raw['losers'])}"


def _frames(raw: Raw) -> Iterator[str]:
    """What containers say of their frames."""
    if raw.get("concurrency") not in (None, 1):
        yield f"{plain(raw['concurrency'])} at once"
    yield from _quorum(raw)
    if raw.get("tolerate") is not None:
        yield f"tolerates {plain(raw['tolerate'])}"
    if raw.get("on_failure") is not None:
        yield f"on failure {plain(raw['on_failure'])}"


def _parallel(raw: Raw) -> Iterator[str]:
    if raw.get("concurrency") == 1:
        yield "1 at once"
    yield from _frames(raw)


def _loop(raw: Raw) -> Iterator[str]:
    yield f"each {plain(raw.get('as', 'item'))} of {plain(raw.get('over'))}"
    if raw.get("open") is True:
        yield "open"
    if raw.get("until") is not None:
        yield f"until {plain(raw['until'])}"
    yield from _frames(raw)


def _repeat(raw: Raw) -> Iterator[str]:
    if raw.get("times") is not None:
        yield f"{plain(raw['times'])} times"
    if raw.get("until") is not None:
        yield f"until {plain(raw['until'])}"
    yield from _frames(raw)


def _while(raw: Raw) -> Iterator[str]:
    yield from _value("condition")(raw)
    yield from _frames(raw)


def _subworkflow(raw: Raw) -> Iterator[str]:
    yield from _value("workflow")(raw)
    if raw.get("wait") is False:
        yield "not waited for"


def _cancel(raw: Raw) -> Iterator[str]:
    yield plain(raw.get("target"))
    if raw.get("mode") == "complete":
        yield "complete"


def _wait(key: str) -> Callable[[Raw], Iterator[str]]:
    def told(raw: Raw) -> Iterator[str]:
        yield from _value(key)(raw)
        if raw.get("buffer") is False:
            yield "no buffer"
        yield from _value("timeout", "at most {}")(raw)

    return told


def _join(raw: Raw) -> Iterator[str]:
    yield from _quorum(raw)
    yield from _value("deadline", "at most {}")(raw)


def _names(key: str) -> Callable[[Raw], Iterator[str]]:
    """The keys of the mapping that stands under a key."""

    def told(raw: Raw) -> Iterator[str]:
        if isinstance(raw.get(key), dict):
            yield ", ".join(map(str, raw[key]))

    return told


def _http(raw: Raw) -> Iterator[str]:
    given = raw.get("with")
    if isinstance(given, dict) and isinstance(given.get("url"), str):
        method = plain(given.get("method", "GET"))
        url = plain(given["url"])
        yield f"{method} " * (method != "GET") + (url.partition("://")[2] or url)


_TELLING: dict[str, Callable[[Raw], Iterator[str]]] = {
    "condition": _value("if"),
    "switch": _switch,
    "parallel": _parallel,
    "join": _join,
    "loop": _loop,
    "repeat": _repeat,
    "while": _while,
    "break": _value("loop"),
    "continue": _value("loop"),
    "fail": _value("code"),
    "subworkflow": _subworkflow,
    "cancel": _cancel,
    "rollback": _value("of"),
    "delay": _value("for"),
    "wait_until": _value("time"),
    "wait_for_condition": _wait("condition"),
    "wait_for_signal": _wait("signal"),
    "wait_for_event": _wait("event"),
    "emit": _value("event"),
    "set_variable": _names("set"),
    "get_variable": _value("name"),
    "filter": _value("where"),
    "sort": _value("by", "by {}"),
    "group": _value("by", "by {}"),
    "http": _http,
}


def _shared(raw: Raw) -> Iterator[str]:
    """What any node may say and everybody should see."""
    if raw.get("when") not in (None, True):
        yield f"when {plain(raw['when'])}"
    yield from _value("lock", "lock {}")(raw)
    if raw.get("disabled") is True:
        yield "disabled"
