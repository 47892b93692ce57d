"""The checker: text or document in, every fault at once out, and the plan where there is no error.

Rule: a check never stops another. Only text that cannot be read, and nesting beyond all bounds, end the work early.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from perdure.definition.canonical import digest_of_kept
from perdure.definition.checks import ALL_CHECKS
from perdure.definition.checks.shape import check_model
from perdure.definition.checks.subject import Subject
from perdure.definition.compile import plan_of
from perdure.definition.faults import fault
from perdure.definition.plan import Plan
from perdure.definition.positions import NOWHERE, Positions
from perdure.definition.spec import Catalog
from perdure.definition.values import kept
from perdure.errors import DefinitionRefused, Fault

NODES_MAX = 25_000
"""Nodes in one definition: twice and a half of what is promised to be fast; ancestors take a bit for each pair of a scope."""
_LARGE, _MANY = 100_000, 1_000  # bytes of text, and nodes, from which on the collector's work is felt


@dataclass(slots=True, frozen=True)
class Checked:
    """A definition and what the checker says of it. `plan` is None when any fault is an error; then `digest` may be empty."""

    document: dict[str, Any]
    faults: list[Fault] = field(default_factory=list)
    plan: Plan | None = None
    digest: bytes = b""

    @property
    def errors(self) -> list[Fault]:
        return [each for each in self.faults if each.severity == "error"]


def read_definition(text: str | bytes, *, source: str = "", catalog: Catalog) -> Checked:
    """Read a definition (YAML or JSON), check it and compile it. Never raises for what the text holds."""
    from perdure.definition.parse import parse  # here, since who goes on with what is saved reads no text

    with _collector_resting(len(text) > _LARGE):
        parsed = parse(text, source=source)
        if not parsed.complete:
            return Checked({}, parsed.faults)
        return _checked(parsed.document, catalog, parsed.positions, parsed.faults)


@contextmanager
def _collector_resting(is_large: bool) -> Iterator[None]:
    """Ten thousand nodes are a million small objects, none of them garbage: looking for cycles meanwhile doubles the time."""
    rests = is_large and gc.isenabled()
    if rests:
        gc.disable()
    try:
        yield
    finally:
        if rests:
            gc.enable()


def check_document(document: Any, catalog: Catalog, positions: Positions | None = None, *, saved_as: bytes = b"") -> Checked:
    """Check and compile a document that is already parsed. It is copied into its kept form (1.0 becomes 1).

    `saved_as`: as for `compile_plan`.
    """
    with _collector_resting(_has_many_nodes(document)):
        copy, problems = kept(document)
        faults = [fault(problem.code, path, problem.message) for path, problem in problems]
        if any(problem.code.startswith("document.") for _, problem in problems):
            return Checked({}, faults)
        return _checked(copy, catalog, positions or NOWHERE, faults, saved_as)


def _has_many_nodes(document: Any) -> bool:
    nodes = document.get("nodes") if isinstance(document, dict) else None
    return isinstance(nodes, dict) and len(nodes) > _MANY


def compile_plan(document: Any, catalog: Catalog, *, saved_as: bytes = b"") -> Plan:
    """The plan of a document. Raises DefinitionRefused with all its faults.

    `saved_as`: the digest under which it was saved. A document that still has it was judged by the model then, and is not again
    (decision 0018): what remains depends on the node types that are here now.
    """
    checked = check_document(document, catalog, saved_as=saved_as)
    if checked.plan is None:
        raise DefinitionRefused(checked.faults)
    return checked.plan


def _checked(document: Any, catalog: Catalog, positions: Positions, faults: list[Fault], saved_as: bytes = b"") -> Checked:
    if not isinstance(document, dict):
        message = f"Expected a mapping with `perdure`, `name` and `nodes`, but the document is {_what(document)}."
        return Checked({}, [*faults, fault("document.type", (), message, place=positions.value(()))])
    subject = Subject(document, catalog, positions)
    if subject.nodes_count > NODES_MAX:
        message = f"Expected at most {NODES_MAX:,} nodes, but there are {subject.nodes_count:,}."
        subject.find("document.too_many_nodes", ("nodes",), message)
        return Checked(document, [*faults, *subject.faults])
    digest = digest_of_kept(document)
    for check in ALL_CHECKS:
        if check is check_model and digest == saved_as:
            continue
        check(subject)
        if subject.stopped:
            break
    found = sorted([*faults, *subject.faults], key=lambda each: (each.line or 1 << 30, each.column))
    if any(each.severity == "error" for each in found):
        return Checked(document, found, None, digest)
    return Checked(document, found, plan_of(subject, digest), digest)


def _what(document: Any) -> str:
    return "empty" if document is None else "a list" if isinstance(document, list) else "a single value"
