"""Writes the generated pages of the reference: functions, settings, codes, node types, the JSON Schema. A test compares them.

`.venv/bin/python tools/reference.py` after a change of what they are made from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from perdure.codes import ERROR_CODES
from perdure.definition import CODES as DEFINITION_CODES
from perdure.definition import SCHEMA_FILE, NodeSpec, closed_types, definition_schema, keys_schema
from perdure.expressions import CODES as EXPRESSION_CODES
from perdure.expressions.reference import functions_markdown
from perdure.runtime.plans import catalog_of, works_for

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"


def pages() -> dict[str, str]:
    """All generated pages by file name, but for the settings' table, which stands inside a page."""
    return {
        "functions.md": functions_markdown(),
        "codes.md": codes_markdown(),
        "nodes.md": nodes_markdown(),
        SCHEMA_FILE: json.dumps(definition_schema(catalog_of(works_for(""))), indent=1, ensure_ascii=False) + "\n",
    }


def codes_markdown() -> str:
    """Every code: of definitions, of expressions, of errors at run time."""
    lines = [
        "# Codes",
        "",
        "Every error of Perdure's own bears a code. `catch` and `retry` match codes exactly, by `prefix.*`, by category, and",
        "digits by `x` (`http.5xx`). Codes of your own nodes and `fail` nodes are free.",
        "",
        "## At run time",
        "",
        "| Code | What happened | What to do |",
        "| --- | --- | --- |",
        *(f"| `{code.code}` | {code.meaning} | {code.remedy} |" for code in ERROR_CODES),
        "",
        "## Expressions",
        "",
        "| Code | What happened |",
        "| --- | --- |",
        *(f"| `{code}` | {meaning} |" for code, meaning in EXPRESSION_CODES.items()),
        "",
        "## Definitions",
        "",
        "What `perdure check` reports, each with path, line and column. Warnings let the definition be saved.",
        "",
        "| Code | Severity | What is wrong | What to do |",
        "| --- | --- | --- | --- |",
        *(
            f"| `{fault.code}` | {fault.severity} | {_cell(fault.meaning)} | {_cell(fault.remedy)} |"
            for fault in DEFINITION_CODES.values()
        ),
    ]
    return "\n".join(lines) + "\n"


def nodes_markdown() -> str:
    """Every node type with its keys or parameters, ports and examples."""
    catalog = catalog_of(works_for(""))
    lines = ["# Node types", "", "Made from what each node says of itself. `perdure nodes NAME` shows the same.", ""]
    groups: dict[str, list[NodeSpec]] = {}
    for spec in catalog.values():
        groups.setdefault(spec.group, []).append(spec)
    for group, specs in sorted(groups.items()):
        lines += [f"## {group.capitalize()}", ""]
        for spec in specs:
            lines += _node(spec)
    return "\n".join(lines).rstrip() + "\n"


def _node(spec: NodeSpec) -> list[str]:
    schema = keys_schema(spec.name) if spec.name in closed_types() else spec.params
    under = "Keys" if spec.name in closed_types() else "Under `with:`"
    lines = [f"### {spec.name}", "", f"**{spec.title}.** {spec.summary}", ""]
    if spec.description:
        lines += [spec.description, ""]
    lines += [f"Ports: {', '.join(f'`{port}`' for port in (*spec.ports, 'error'))}.", ""]
    properties = schema.get("properties", {})
    if properties:
        required = set(schema.get("required", ()))
        lines += [f"| {under} | | Meaning |", "| --- | --- | --- |"]
        lines += [
            f"| `{name}` | {'required' if name in required else ''} | {_cell(_meaning(about))} |"
            for name, about in properties.items()
        ]
        lines.append("")
    for example in spec.examples:
        text = yaml.safe_dump(example.definition, sort_keys=False, allow_unicode=True, width=120)
        lines += [f"{example.title}:", "", "```yaml", text.rstrip(), "```", ""]
    return lines


def _meaning(about: dict[str, Any]) -> str:
    said = str(about.get("description", ""))
    if "default" in about and about["default"] not in (None, "", {}, []):
        said += f" Default: `{json.dumps(about['default'], ensure_ascii=False)}`."
    return said.strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    for name, text in pages().items():
        (REFERENCE / name).write_text(text)


if __name__ == "__main__":
    main()
