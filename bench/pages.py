"""Tables in pages of the documentation: each between two marks that bear its name, so that a run can exchange it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def placed(page: str, name: str, text: str) -> str:
    """The page with the text in place of what stands between the marks of `name`. Raises ValueError where they are missing."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"Expected the page to have {begin} and after it {end}, but it has not. Put them where the tables go.")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"
