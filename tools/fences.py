"""For the documentation's build: takes away the word that has a code block run, which only the tests read."""

from __future__ import annotations

import re

_WORD = re.compile(r"^([ \t]*```[a-z]+) (?:run|check)\b", re.MULTILINE)


def on_page_markdown(markdown: str, **_page: object) -> str:
    return _WORD.sub(r"\1", markdown)
