"""Text to document: decides between YAML and JSON, bounds the size, and reports everything wrong with its line and column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from perdure.definition.faults import fault
from perdure.definition.json_text import JsonReader
from perdure.definition.positions import Path, Positions
from perdure.definition.yaml_text import YamlReader
from perdure.errors import Fault

BYTES_MAX = 16 * 1024 * 1024  # ten thousand nodes are about one megabyte


@dataclass(slots=True, frozen=True)
class Parsed:
    """What a text held. `complete` is False when reading stopped early: then `document` is of no use."""

    document: Any
    positions: Positions
    faults: list[Fault]
    complete: bool


_STOPPED = frozenset(
    {"yaml.syntax", "yaml.documents", "yaml.circle", "yaml.key", "json.syntax", "document.too_deep", "document.too_large"}
)


def parse(source_text: str | bytes, *, source: str = "") -> Parsed:
    """The document in a text. `source` is the file's name: `.json` is JSON, `.yaml` and `.yml` are YAML, others go by look."""
    nothing = Positions("", None)
    size = len(source_text)
    if size > BYTES_MAX:
        message = f"Expected at most {BYTES_MAX // 1024 // 1024} MB of text, but got {size // 1024 // 1024} MB."
        return Parsed(None, nothing, [fault("document.too_large", (), message)], False)
    try:
        text = source_text.decode("utf-8") if isinstance(source_text, bytes) else source_text
        text.encode("utf-8")
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        message = f"Expected UTF-8, but {'byte' if isinstance(source_text, bytes) else 'character'} {error.start} is none."
        return Parsed(None, nothing, [fault("document.encoding", (), message)], False)
    text = text.removeprefix("\ufeff")
    reader = JsonReader(text) if _is_json(text, source) else YamlReader(text)
    reader.read()
    findings = reader.findings
    faults = [fault(found.code, found.path, found.message, place=found.place) for found in findings]
    complete = not any(found.code in _STOPPED for found in findings)
    return Parsed(reader.value, Positions(text, reader.root), faults, complete)


def _is_json(text: str, source: str) -> bool:
    """`{` and then a quoted key or `}` is JSON; so is `[`. Everything else is YAML, flow mappings without quotes too."""
    if source.endswith(".json"):
        return True
    if source.endswith((".yaml", ".yml")):
        return False
    start = text.lstrip()
    return start.startswith("[") or (start.startswith("{") and start[1:].lstrip()[:1] in ('"', "}"))


__all__ = ["BYTES_MAX", "Parsed", "Path", "parse"]
