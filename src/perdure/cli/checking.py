"""`check`, `nodes` and `import`: definitions and the catalogue of node types."""

from __future__ import annotations

import json as json_
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from perdure.cli import exits
from perdure.cli.exits import say
from perdure.cli.wording import json_line, printable
from perdure.errors import DefinitionRefused, Fault, Refused

if TYPE_CHECKING:
    from perdure.definition.plan import ScopePlan
    from perdure.definition.spec import NodeSpec
    from perdure.operations.definitions import Read

EXCERPT_COLUMNS_MAX = 100  # of a longer line only a part is shown


def check(
    files: tuple[str, ...],
    *,
    nodes: tuple[str, ...],
    json: bool,
    codes: bool,
    schema: bool,
    save: bool,
    store: str | None,
    picture: str = "",
) -> int:
    """Check each file, and keep those without errors in the store, or draw one, when asked to; 2 when one has errors."""
    if codes:
        return print_codes(json=json)
    if schema:
        return print_schema(nodes)
    if not files:
        raise Refused("Expected a file to check.", remedy="perdure check FILE…", code="usage")
    if picture and len(files) > 1:
        raise Refused(
            f"Expected one file to draw, but got {len(files)}.", remedy="perdure check FILE --picture OUT.svg", code="usage"
        )
    from perdure.operations.definitions import read_file

    worst = exits.SUCCEEDED
    sound: list[Read] = []
    for file in files:
        try:
            read = read_file(file, node_files=nodes)
        except Refused as error:  # this file cannot be read; the others can
            worst = exits.refuse(error)
            if json:
                print(json_line({"file": file, "ok": False, "error": error.message, "code": error.code}))
            continue
        if read.checked.plan is None:
            worst = exits.REFUSED
        else:
            sound.append(read)
        if json:
            _print_json(file, read)
        else:
            print_faults(file, read.checked.faults, say=print)
            print(_verdict(file, read))
    if save and worst == exits.SUCCEEDED:
        import asyncio  # here, since only this option waits for anything

        asyncio.run(_save(sound, store))
    if picture and sound:
        _draw(sound[0], picture)
    return worst


def print_faults(file: str, faults: list[Fault], *, say: Callable[[str], None]) -> None:
    """All faults in the order of their places: place, message and code, the line of the file, the remedy."""
    if not faults:
        return
    lines = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
    for fault in sorted(faults, key=lambda fault: (fault.line, fault.column)):
        place = f"{file}:{fault.line}:{fault.column}" if fault.line else file
        about = f"{fault.path}: " if fault.path else ""
        say(f"{place}: {fault.severity}: {about}{fault.message} [{fault.code}]")
        if 0 < fault.line <= len(lines):
            say(excerpt(lines[fault.line - 1], max(1, fault.column)))
        if fault.remedy:
            say(f"  {fault.remedy}")


def excerpt(line: str, column: int) -> str:
    """The line with a caret below the column (from 1); of a long line the part around it."""
    first = (
        0
        if len(line) <= EXCERPT_COLUMNS_MAX
        else max(0, min(column - 1 - EXCERPT_COLUMNS_MAX // 2, len(line) - EXCERPT_COLUMNS_MAX))
    )
    part = line[first : first + EXCERPT_COLUMNS_MAX]
    margin = "".join("\t" if character == "\t" else " " for character in part[: column - 1 - first])
    return f"  | {printable(part)}\n  | {margin}^"


def _verdict(file: str, read: Read) -> str:
    checked = read.checked
    warnings = len(checked.faults) - len(checked.errors)
    said = [_count(len(checked.errors), "error")] if checked.errors else ["ok"]
    if warnings:
        said.append(_count(warnings, "warning"))
    if checked.plan is not None:
        nodes, edges = size_of(checked.plan.root)
        said += [_count(nodes, "node"), _count(edges, "edge"), f"digest {checked.plan.digest[:12]}"]
    return f"{file}: {', '.join(said)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def size_of(scope: ScopePlan) -> tuple[int, int]:
    """How many nodes and edges a scope has, those of the scopes inside counted too."""
    nodes, edges = len(scope.nodes), 0
    for node in scope.nodes:
        edges += len(node.outgoing) + len(node.again)
        for inner in node.scopes.values():
            more_nodes, more_edges = size_of(inner)
            nodes, edges = nodes + more_nodes, edges + more_edges
    return nodes, edges


def _print_json(file: str, read: Read) -> None:
    """A line for each fault, then one for the file."""
    checked = read.checked
    for fault in checked.faults:
        print(json_line({"file": file, **_fields(fault)}))
    nodes, edges = size_of(checked.plan.root) if checked.plan is not None else (0, 0)
    verdict = {
        "file": file,
        "ok": checked.plan is not None,
        "errors": len(checked.errors),
        "warnings": len(checked.faults) - len(checked.errors),
        "nodes": nodes,
        "edges": edges,
        "digest": checked.plan.digest if checked.plan is not None else None,
    }
    print(json_line(verdict))


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


async def _save(reads: list[Read], store: str | None) -> None:
    """Keep these definitions in the store, so that executions can be started by their names."""
    from perdure.app import open_client
    from perdure.cli.reading import settings
    from perdure.clock import SystemClock
    from perdure.operations import definitions
    from perdure.runtime.plans import Plans

    async with open_client(settings(store), create=True) as (opened, _):
        plans, clock = Plans(opened), SystemClock()
        for read in reads:
            await definitions.save(opened, plans, clock, read)


def _draw(read: Read, picture: str) -> None:
    """Write the picture of a definition."""
    from perdure.definition import picture_of
    from perdure.runtime.plans import catalog_of

    _write(picture, picture_of(read.checked.document, catalog_of(read.works)))


def _write(file: str, text: str) -> None:
    """Write a file that was asked for. Raises Refused (`file.unwritable`) where that cannot be done."""
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        sentence = f"{file} cannot be written: {error.strerror}."
        raise Refused(sentence, remedy="Choose another place.", code="file.unwritable") from error


def print_codes(*, json: bool) -> int:
    """All codes of the checker."""
    from perdure.definition import CODES

    for fault in CODES.values():
        if json:
            print(json_line(_fields(fault)))
        else:
            print(f"{fault.code:32} {fault.severity:8} {fault.meaning} {fault.remedy}")
    return exits.SUCCEEDED


def print_schema(nodes: tuple[str, ...]) -> int:
    """The JSON Schema of definitions, with the node types that are here."""
    from perdure.definition import definition_schema
    from perdure.runtime.plans import catalog_of, works_for

    print(json_.dumps(definition_schema(catalog_of(works_for("", nodes))), indent=2, ensure_ascii=False))
    return exits.SUCCEEDED


# -- the catalogue -------------------------------------------------------------------------------------------------------


def catalogue(name: str, *, nodes: tuple[str, ...], json: bool) -> int:
    """All node types by group, or one in full."""
    specs = _specs(nodes)
    if name:
        if name not in specs:
            raise _no_such_type(name, list(specs))
        specs = {name: specs[name]}
    if json:
        import msgspec

        for spec in specs.values():
            print(json_line(msgspec.to_builtins(spec)))
    elif name:
        print(_described(specs[name]))
    else:
        _print_groups(list(specs.values()))
    return exits.SUCCEEDED


def _specs(nodes: tuple[str, ...]) -> dict[str, NodeSpec]:
    """The node types of an installation, of the `nodes.py` in this folder and of the files that were named."""
    import msgspec

    from perdure.definition import closed_types, keys_schema
    from perdure.runtime.plans import catalog_of, works_for

    catalog = catalog_of(works_for(str(Path("workflow.yaml").resolve()), nodes))
    closed = closed_types()
    return {
        name: msgspec.structs.replace(spec, keys=keys_schema(name)) if name in closed else spec
        for name, spec in catalog.items()
    }


def _no_such_type(name: str, known: list[str]) -> Refused:
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=3)
    remedy = f"Did you mean {' or '.join(near)}?" if near else "`perdure nodes` lists all."
    return Refused(f"There is no node type {name!r} here.", remedy=remedy, code="not_found")


def _print_groups(specs: list[NodeSpec]) -> None:
    width = max(len(spec.name) for spec in specs)
    group = None
    for spec in sorted(specs, key=lambda spec: (spec.group, spec.name)):
        if spec.group != group:
            print(spec.group if group is None else f"\n{spec.group}")
            group = spec.group
        print(f"  {spec.name:{width}}  {spec.summary or spec.title}")


def _described(spec: NodeSpec) -> str:
    """One node type in full: what it is for, its keys and ports, its examples as YAML."""
    import yaml

    parts = [f"{spec.name}: {spec.title}  ({spec.kind}, version {spec.version})"]
    parts += [part for part in (spec.summary, spec.description) if part]
    for heading, schema in (("Keys", spec.keys), ("Parameters, under `with:`", spec.params)):
        properties = schema.get("properties", {})
        if properties:
            required = set(schema.get("required", ()))
            rows = [_row_of(key, about, key in required) for key, about in properties.items() if key != "type"]
            parts.append("\n".join([f"{heading}:", *rows]))
    parts.append(f"Ports: {', '.join(dict.fromkeys((*spec.ports, 'error', 'timeout')))}")
    for example in spec.examples:
        text = yaml.safe_dump(example.definition, sort_keys=False, allow_unicode=True, width=120).rstrip()
        given = f"\n# input: {json_.dumps(example.input, ensure_ascii=False)}" if example.input is not None else ""
        output = f"\n# output: {json_.dumps(example.output, ensure_ascii=False)}" if example.check_output else ""
        parts.append(f"# {example.title}{given}\n{text}{output}")
    return "\n\n".join(parts)


def _row_of(key: str, about: dict[str, Any], required: bool) -> str:
    kind = about.get("type") or "/".join(str(each.get("type", "…")) for each in about.get("anyOf", ())) or "any"
    words = "/".join(kind) if isinstance(kind, list) else kind
    return f"  {key:16} {words}{', required' if required else ''}  {about.get('description', '')}".rstrip()


# -- import --------------------------------------------------------------------------------------------------------------


def import_document(format: str, file: str, *, output: str, scale: float, node_type: str, name: str) -> int:
    """Another format's document as a definition."""
    from perdure.cli.reading import json_value
    from perdure.definition.wfformat import NodeType, import_wfformat, to_yaml

    if format != "wfformat":
        raise Refused(f"There is no format {format!r} to import.", remedy="The one there is: wfformat.", code="usage")
    document = json_value(f"@{file}", "FILE")
    try:
        definition = import_wfformat(document, scale=scale, name=name or None, node_type=cast("NodeType", node_type))
    except DefinitionRefused as refused:
        for fault in refused.faults:
            say(f"{file}: {fault.path}: {fault.message} [{fault.code}]\n  {fault.remedy}")
        return exits.REFUSED
    text = json_.dumps(definition, indent=2, ensure_ascii=False) + "\n" if output.endswith(".json") else to_yaml(definition)
    if not output:
        sys.stdout.write(text)
        return exits.SUCCEEDED
    _write(output, text)
    say(f"{output}: {_count(len(definition['nodes']), 'node')}")
    return exits.SUCCEEDED
