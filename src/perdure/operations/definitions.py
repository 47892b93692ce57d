"""Definitions: read and checked from a file's text, and saved so that executions can pin them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perdure.clock import Clock
from perdure.definition import Checked, closed_types, compile_plan, read_definition, restore
from perdure.definition.plan import NodePlan, Plan, ScopePlan
from perdure.engine.elements import ELEMENTS
from perdure.errors import DefinitionRefused, Refused
from perdure.nodes.work import Work
from perdure.runtime.plans import Loaded, Plans, catalog_of, works_for
from perdure.store.contract import TENANT, Definition, Store

DEFINITION_BYTES_MAX = 16 << 20
"""A definition of this size has some hundred thousand nodes."""
NAMED_MAX = 10
"""Nodes that an error names one by one; after as many everybody has understood."""


@dataclass(slots=True, frozen=True, eq=False)
class Read:
    """A definition file as read: what the checker found, the node types it may use, and where it came from."""

    checked: Checked
    works: dict[str, Work]
    origin: str

    @property
    def plan(self) -> Plan:
        """The plan. Raises DefinitionRefused with all faults where there is none."""
        if self.checked.plan is None:
            raise DefinitionRefused(self.checked.faults, source=self.origin)
        return self.checked.plan


def read_file(path: str | Path, *, node_files: tuple[str, ...] = ()) -> Read:
    """Read and check a definition file with the node types beside it.

    Raises Refused for a file that cannot be read, or whose node types cannot be loaded; faults are in the result.
    """
    place = Path(path)
    try:
        if place.stat().st_size > DEFINITION_BYTES_MAX:
            raise Refused(
                f"{path} is larger than {DEFINITION_BYTES_MAX >> 20} MB.", code="definition.too_large",
                remedy="Split the workflow into sub-workflows, or loop over data instead of writing nodes out.",
            )  # fmt: skip
        text = place.read_bytes()
    except OSError as error:
        raise Refused(
            f"{path} cannot be read: {error.strerror}.",
            remedy="Check the path and its permissions.",
            code="definition.unreadable",
        ) from error
    works = works_for(str(place), node_files)
    checked = read_definition(text, source=str(path), catalog=catalog_of(works))
    return Read(checked, works, str(place.resolve()))


PROMISES = frozenset(("concurrency", "rate", "queue_max", "budget", "payload_max", "retention"))
"""Settings that promise something this release does not do; to run without would break the promise silently."""


async def save(store: Store, plans: Plans, clock: Clock, read: Read, *, tenant: str = TENANT) -> Loaded:
    """Make a definition durable under its digest, and give the plan that executions of it follow.

    The digest does not depend on the order of keys, but what starts first does: the order that was saved first is everybody's.
    Raises Refused (`node.not_runnable`) where the engine of this release cannot run it: whatever is saved can be run.
    """
    plan = read.plan
    digest = bytes.fromhex(plan.digest)
    kept = plans.kept(digest, read.works)
    if kept is not None:
        return kept
    refuse_what_cannot_run(plan)
    _refuse_a_path_that_is_no_text(read.origin)
    saved = await store.definition(digest)
    document = ordered(plan.document)
    if saved is None:
        lock = json.dumps(dict(plan.lock), sort_keys=True).encode()
        await store.save_definition(
            Definition(
                digest=digest,
                tenant=tenant,
                name=plan.name,
                created=clock.now(),
                document=document,
                lock=lock,
                origin=read.origin,
            )
        )
    elif saved.document != document:
        plan = compile_plan(restore(saved.document), catalog_of(read.works))
    return plans.keep(plan, read.works)


def _refuse_a_path_that_is_no_text(origin: str) -> None:
    """The path is kept, since the node types beside it are looked up again; what is kept is text."""
    try:
        origin.encode()
    except UnicodeEncodeError as error:
        raise Refused(
            f"Expected the path of a definition to be UTF-8, but {origin!r} is not.", code="definition.unreadable",
            remedy="Rename the file or its folder.",
        ) from error  # fmt: skip


def refuse_what_cannot_run(plan: Plan) -> None:
    """Raises Refused that names every node which the format knows and the engine of this release does not run."""
    found = [f"settings.{key}: this release cannot keep to it." for key in plan.settings.rest if key in PROMISES]
    if plan.settings.error_workflow:
        found.append("settings.error_workflow: this release cannot start it.")
    found += [f"{path}: {reason}" for path, reason in _not_runnable(plan.root, frozenset(closed_types()) - ELEMENTS.keys())]
    if found:
        more = [f"… and {len(found) - NAMED_MAX} more"] if len(found) > NAMED_MAX else []
        raise Refused(
            "\n".join((*found[:NAMED_MAX], *more)), code="node.not_runnable",
            remedy="The definition itself is fine: `perdure nodes` lists what this release runs, a newer one may run the rest.",
        )  # fmt: skip


def _not_runnable(scope: ScopePlan, types: frozenset[str]) -> Iterator[tuple[str, str]]:
    for variable in scope.variables.values():
        if variable.merge not in (None, "last"):
            path = f"{scope.path}.vars.{variable.name}" if scope.path else f"vars.{variable.name}"
            yield path, f"`merge: {variable.merge}` cannot be done by this release; only `last` can."
    for node in scope.nodes:
        if node.disabled:
            continue
        path = f"{scope.path}.{node.id}" if scope.path else node.id
        yield from ((path, reason) for reason in _reasons(node, types))
        if node.type not in types:  # what is inside one that cannot run is not worth a line of its own
            for inner in node.scopes.values():
                yield from _not_runnable(inner, types)


def _reasons(node: NodePlan, types: frozenset[str]) -> Iterator[str]:
    if node.type in types:
        yield f"`{node.type}` cannot be run by this release."
    if node.again:
        yield "`again` edges cannot be taken by this release."
    if node.cache is not None:
        yield "`cache` cannot be kept by this release."
    if node.runs_on is not None:
        yield "`runs_on` cannot be kept to by this release, which has one worker."
    if node.options.get("buffer") is False:
        yield "`buffer: false` cannot be kept to by this release."
    if node.lock is not None:
        yield "`lock` cannot be held by this release, and to run without it would break what it promises."


def ordered(document: Mapping[str, Any]) -> bytes:
    """The document as JSON with its keys in the author's order."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
