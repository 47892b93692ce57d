"""Docstrings read as help text: the summary, the description, and one sentence per parameter."""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

_SECTION = re.compile(r"(Args|Arguments|Parameters|Returns?|Raises|Yields|Examples?|Notes?):\s*\Z")
_ARGUMENT = re.compile(r"\*{0,2}([A-Za-z_]\w*)\s*(?:\([^)]*\))?\s*:\s*(.*)\Z")
_FIELD = re.compile(r":param\s+(?:[^:]*\s)?([A-Za-z_]\w*)\s*:\s*(.*)\Z")
_OTHER_FIELD = re.compile(r":(returns?|rtype|raises|type)\b.*")


class Help(NamedTuple):
    """What a docstring says. `parameters` is by name; texts are single spaced."""

    summary: str
    description: str
    parameters: dict[str, str]


def read(docstring: str | None) -> Help:
    """Understand a docstring with an `Args:` section or with `:param name:` fields; anything else is description."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    summary_lines: list[str] = []
    while lines and lines[0].strip() and not _begins_structure(lines[0]):
        summary_lines.append(lines.pop(0).strip())
    description: list[str] = []
    parameters: dict[str, str] = {}
    section, current, indent = "", "", 0
    for line in lines:
        text = line.strip()
        depth = len(line) - len(line.lstrip())
        if depth == 0 and _SECTION.match(text):
            section, current = text.rstrip(":"), ""
        elif field := _FIELD.match(text):
            section, current = "field", field[1]
            parameters[current] = field[2]
        elif _OTHER_FIELD.match(text):
            section, current = "other", ""
        elif section in {"Args", "Arguments", "Parameters"} and (depth or not text):
            entry = _ARGUMENT.match(text)
            if entry and (not current or depth <= indent):
                current, indent = entry[1], depth
                parameters[current] = entry[2]
            elif current and text:
                parameters[current] += f" {text}"
        elif section == "field" and depth and current:
            parameters[current] += f" {text}"
        elif section and (depth or not text):
            continue  # the body of a section that says nothing about parameters
        else:
            section = ""
            description.append(line)
    help_texts = {name: text.strip() for name, text in parameters.items()}
    return Help(" ".join(summary_lines), "\n".join(description).strip(), help_texts)


def _begins_structure(line: str) -> bool:
    return bool(_SECTION.match(line.strip()) or _FIELD.match(line.strip()) or _OTHER_FIELD.match(line.strip()))
