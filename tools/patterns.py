"""Writes the page of the control-flow patterns and its pictures, from the entries that the tests play. A test compares.

`.venv/bin/python tools/patterns.py` after a change of an entry in `tests/patterns/`, or of the drawing.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import Any

import yaml

from perdure.definition import picture_of
from perdure.runtime.plans import catalog_of, works_for

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ENTRIES = ROOT / "tests" / "patterns"
PAGE = "guide/patterns.md"
PICTURES = "pictures/patterns"

GROUPS = {
    "basic": "Basic control flow",
    "branching": "Branching and coming together",
    "many": "Many of the same",
    "state": "What depends on the state",
    "withdrawing": "Withdrawing and completing",
    "iteration": "Going round",
    "ending": "Ending",
    "triggers": "Triggers",
}

OPENING = """\
Van der Aalst, ter Hofstede, Russell and others have collected [43 patterns](http://www.workflowpatterns.com/) of what a
workflow language may have to say about the order of things. This page says each of them in Perdure, as short as it goes, with
its picture. Each definition is checked, and played by a test, move by move; what the plays show stands below it. The
[rules](../rules.md) say exactly what happens, [the guide](control-flow.md) what there is.

{count} patterns are said as they are meant. {others} are not: there stands why, and what one does instead.
"""
WIDTH = 132


def entries() -> list[dict[str, Any]]:
    """All patterns, by number."""
    found = [{**yaml.safe_load(file.read_text()), "file": file.stem} for file in ENTRIES.glob("*.yaml")]
    return sorted(found, key=lambda entry: entry["number"])


def files() -> dict[str, str]:
    """The page and all pictures, by their place under `docs/`."""
    found = {PAGE: page()}
    for entry in entries():
        found[f"{PICTURES}/{entry['file']}.svg"] = picture(entry)
    return found


def picture(entry: dict[str, Any]) -> str:
    return picture_of(yaml.safe_load(entry["definition"]), catalog_of(works_for("")), with_heading=False)


def page() -> str:
    """The page: a table of all, then group by group."""
    known = entries()
    others = [str(entry["number"]) for entry in known if "instead" in entry]
    opening = OPENING.format(count=len(known) - len(others), others=f"{', '.join(others[:-1])} and {others[-1]}")
    lines = ["# Control-flow patterns", "", *_wrapped(opening), "", "| | Pattern | Known as |", "| --- | --- | --- |"]
    lines += [f"| {entry['number']} | [{entry['name']}](#{_anchor(entry)}) | {entry['known_as']} |" for entry in known]
    for group, heading in GROUPS.items():
        lines += ["", f"## {heading}"]
        for entry in known:
            if entry["group"] == group:
                lines += ["", *_entry(entry)]
    return "\n".join(lines) + "\n"


def _entry(entry: dict[str, Any]) -> list[str]:
    lines = [f"### {_heading(entry)}", "", *_wrapped(f"*{_capital(entry['known_as'])}.* {entry['about']}"), ""]
    if "instead" in entry:
        lines += [*_wrapped(entry["instead"]), ""]
    lines += [f"![{entry['name']}](../{PICTURES}/{entry['file']}.svg)", ""]
    lines += [
        "```yaml",
        *entry["definition"].rstrip().splitlines(),
        "```",
        "",
        "Its plays show:" if len(entry["plays"]) > 1 else "Its play shows:",
        "",
    ]
    for play in entry["plays"]:
        lines += _wrapped(f"- {play['shows']}", after="  ")
    return lines


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _heading(entry: dict[str, Any]) -> str:
    return f"{entry['number']}. {entry['name']}"


def _anchor(entry: dict[str, Any]) -> str:
    """The anchor that the heading gets: words in small letters, without punctuation."""
    kept = "".join(character for character in _heading(entry).lower() if character.isalnum() or character in " -")
    return kept.replace(" ", "-")


def _wrapped(text: str, after: str = "") -> list[str]:
    """Paragraphs in lines that are not too long."""
    lines: list[str] = []
    for paragraph in text.strip().split("\n\n"):
        lines += [""] * bool(lines)
        lines += wrap(
            " ".join(paragraph.split()), WIDTH, subsequent_indent=after, break_long_words=False, break_on_hyphens=False
        )
    return lines


def main() -> None:
    folder = DOCS / PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    for name, text in files().items():
        (DOCS / name).write_text(text)


if __name__ == "__main__":
    main()
