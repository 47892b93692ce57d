"""The reference page of all functions, written from their records."""

from __future__ import annotations

import json

from perdure.expressions.functions import FUNCTIONS, Function

_HEAD = """# Functions

Functions are called by name, with their values in brackets: `upper(input.name)`. Arguments may be named:
`sorted(nodes.load.rows, by="price", descending=true)`. `= …` shows what counts where an argument is left out.
Every example on this page is run by a test.
"""


def functions_markdown() -> str:
    """All functions by group, in alphabetical order, with signature, sentence and examples, as Markdown."""
    groups: dict[str, list[Function]] = {}
    for function in FUNCTIONS.values():
        groups.setdefault(function.group, []).append(function)
    pieces = [_HEAD]
    for group, functions in groups.items():
        pieces.append(f"## {group}\n")
        pieces.extend(_section(function) for function in sorted(functions, key=lambda one: one.name))
    return "\n".join(pieces)


def _section(function: Function) -> str:
    examples = "\n".join(f"{source}  # {json.dumps(value, ensure_ascii=False)}" for source, value in function.examples)
    return f"### {function.name}\n\n`{function.signature}`\n\n{function.summary}\n\n```python\n{examples}\n```\n"
