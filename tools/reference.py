"""Writes the generated pages of the reference: functions, codes, node types with pictures, the JSON Schema. A test compares.

`.venv/bin/python tools/reference.py` after a change of what they are made from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from perdure.codes import ERROR_CODES
from perdure.definition import CODES as DEFINITION_CODES
from perdure.definition import SCHEMA_FILE, NodeSpec, closed_types, definition_schema, keys_schema, picture_of
from perdure.definition.graph import LEAVING, ports_of
from perdure.definition.scope import Shared
from perdure.expressions import CODES as EXPRESSION_CODES
from perdure.expressions.reference import functions_markdown
from perdure.runtime.plans import catalog_of, works_for

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
PICTURES = "../pictures/nodes"
DRAWN = ("control", "loops", "waiting")
"""The groups of node types that say where an execution goes: the first example of each is drawn."""


def pages() -> dict[str, str]:
    """All generated pages and pictures by file name, but for the settings' table, which stands inside a page."""
    catalog = catalog_of(works_for(""))
    drawn = {
        f"{PICTURES}/{spec.name}.svg": picture_of(spec.examples[0].definition, catalog, with_heading=False)
        for spec in catalog.values()
        if spec.group in DRAWN
    }
    return {
        **drawn,
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
    lines = [
        "# Node types",
        "",
        "Made from what each node says of itself. `perdure nodes NAME` shows the same.",
        "",
        *_every_node(),
    ]
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
    lines += [_ports(spec), ""]
    properties = schema.get("properties", {})
    if properties:
        required = set(schema.get("required", ()))
        lines += [f"| {under} | | Meaning |", "| --- | --- | --- |"]
        lines += [
            f"| `{name}` | {'required' if name in required else ''} | {_cell(_meaning(about))} |"
            for name, about in sorted(properties.items(), key=lambda each: each[0] not in required)
        ]
        lines.append("")
    for number, example in enumerate(spec.examples):
        text = yaml.dump(
            example.definition, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None
        )
        picture = [f"![{example.title}]({PICTURES}/{spec.name}.svg)", ""] if spec.group in DRAWN and not number else []
        lines += [f"{example.title}:", "", *picture, "```yaml", text.rstrip(), "```", ""]
    return lines


class _Dumper(yaml.SafeDumper):
    """YAML as people write it: what is small in one line, what has several lines as it is."""


_Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)
)


def _every_node() -> list[str]:
    """What every node may say, whatever its type."""
    lines = ["## Every node", "", "| Keys | Meaning |", "| --- | --- |"]
    for name, field in Shared.model_fields.items():
        about = {"description": field.description or "", "default": field.get_default(call_default_factory=True)}
        lines.append(f"| `{field.alias or name}` | {_cell(_meaning(about))} |")
    return [*lines, ""]


def _ports(spec: NodeSpec) -> str:
    """By which ports edges leave, in a sentence."""
    fixed = [f"`{port}`" for port in ports_of(spec.name, spec) if port != "timeout"]
    if spec.name == "switch":
        fixed = ["the name of each case", "`default`"]
    if spec.name in LEAVING and not fixed:
        return "Ports: `error`. It leaves its scope, so nothing comes after it."
    timed = spec.kind == "effect" or "timeout" in spec.ports or spec.name in CONTAINERS
    return f"Ports: {', '.join([*fixed, *(['`timeout` where it has a time limit'] if timed else []), '`error`'])}."


CONTAINERS = ("loop", "while", "repeat", "parallel", "try")


def _meaning(about: dict[str, Any]) -> str:
    said = str(about.get("description", ""))
    choices = [f"`{choice}`" for choice in about.get("enum", ()) if choice is not None]
    if choices and not all(choice in said for choice in choices):
        said += f" One of {', '.join(choices)}."
    if "default" in about and about["default"] not in (None, "", {}, []):
        said += f" Default: `{json.dumps(about['default'], ensure_ascii=False)}`."
    return said.strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    (REFERENCE / PICTURES).mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text)


if __name__ == "__main__":
    main()
