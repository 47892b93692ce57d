"""A store's SQL is a document: named queries, each with a sentence, read once from its `queries.sql`."""

from __future__ import annotations

import re
from importlib.resources import files

_HEAD = re.compile(r"-- name: ([a-z][a-z_]*)")


def load(package: str, file: str = "queries.sql") -> dict[str, str]:
    """The queries of `file` in `package` by name. Raises ValueError where one lacks its sentence, its text or its own name."""
    text = files(package).joinpath(file).read_text(encoding="utf-8").replace("\r\n", "\n")
    queries: dict[str, str] = {}
    _, *sections = re.split(r"^(?=-- name: )", text, flags=re.MULTILINE)
    for section in sections:
        head, *lines = section.splitlines()
        match = _HEAD.fullmatch(head)
        if match is None:
            raise ValueError(f"Expected `-- name: lower_case` in {package}/{file}, but got {head!r}.")
        name = match[1]
        if not lines or not lines[0].startswith("-- "):
            raise ValueError(f"Expected a sentence below `-- name: {name}` in {package}/{file}, but there is none.")
        sql = "\n".join(line for line in lines if not line.startswith("-- ")).strip()
        if not sql:
            raise ValueError(f"Expected SQL below `-- name: {name}` in {package}/{file}, but there is none.")
        if name in queries:
            raise ValueError(f"Expected one query named {name} in {package}/{file}, but there are two.")
        queries[name] = sql
    return queries
