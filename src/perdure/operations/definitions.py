"""Definitions: read and checked from a file's text, and saved so that executions can pin them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from perdure.clock import Clock
from perdure.definition import Catalog, Checked, NodeSpec, closed_types, compile_plan, read_definition, restore
from perdure.definition.fields import one_or_list
from perdure.definition.plan import NodePlan, Plan, ScopePlan
from perdure.engine.elements import ELEMENTS, SPECS
from perdure.errors import DefinitionRefused, NotFound, Refused
from perdure.nodes.discovery import file_beside
from perdure.nodes.work import Work
from perdure.runtime.plans import Loaded, Plans, catalog_of, works_for
from perdure.store.contract import TENANT, Definition, Store

DEFINITION_BYTES_MAX = 16 << 20
"""A definition of this size has some hundred thousand nodes."""
FILES_KEPT_MAX = 256
"""Files of sub-workflows that are kept as read: each start names the same ones."""
NAMED_MAX = 10
"""Nodes that an error names one by one; after as many everybody has understood."""


@dataclass(slots=True, frozen=True, eq=False)
class Read:
    """A definition file as read: what the checker found, the node types it may use, and where it came from."""

    checked: Checked
    works: Mapping[str, Work]
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


PROMISES = frozenset(("concurrency", "rate", "queue_max", "budget", "payload_max", "log_level"))
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
        plan = compile_plan(restore(saved.document), catalog_of(read.works), saved_as=digest)
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
    found += [f"{path}: {reason}" for path, reason in _not_runnable(plan.root, frozenset(closed_types()) - ELEMENTS.keys())]
    if found:
        more = [f"… and {len(found) - NAMED_MAX} more"] if len(found) > NAMED_MAX else []
        raise Refused(
            "\n".join((*found[:NAMED_MAX], *more)), code="node.not_runnable",
            remedy="The definition itself is fine: `perdure nodes` lists what this release runs, a newer one may run the rest.",
        )  # fmt: skip


def _not_runnable(scope: ScopePlan, types: frozenset[str]) -> Iterator[tuple[str, str]]:
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
    if node.cache is not None:
        yield "`cache` cannot be kept by this release."


async def plan_to_read(store: Store, digest: bytes, *, tenant: str = TENANT) -> Plan:
    """The plan of a saved definition for those who only read it: work stands for itself, so no code of users is loaded.

    Raises NotFound where the store has no such definition, Refused where this release cannot read it.
    """
    saved = await store.definition(digest, tenant=tenant)
    if saved is None:
        raise NotFound(
            f"The store has no definition {digest.hex()[:12]}.", remedy="Was the store copied without its definitions?"
        )
    document = restore(saved.document)
    lock = json.loads(saved.lock)
    strangers = {name: _stand_in(name, version, document) for name, version in lock.items() if name not in SPECS}
    return compile_plan(document, Catalog({**SPECS, **strangers}), saved_as=digest)


def _stand_in(name: str, version: int, document: Any) -> NodeSpec:
    """A node type that is known by its name alone: it has the ports that the definition leaves it by."""
    ports = dict.fromkeys(("out", *_ports_used(name, document)))
    return NodeSpec(name=name, title=name, kind="effect", version=version, ports=tuple(ports))


def _ports_used(name: str, scope: Any) -> Iterator[str]:
    """The ports by which edges leave the nodes of a type, but for those that failures make live."""
    nodes = scope["nodes"]
    own = {node_id: _error_ports(node) for node_id, node in nodes.items() if node.get("type") == name}
    for node in nodes.values():
        for entry in one_or_list(node.get("after") or []):
            source, _, port = (entry["from"] if isinstance(entry, dict) else entry).partition(".")
            if port and source in own and port not in own[source]:
                yield port
        for inner in _scopes_in(node):
            yield from _ports_used(name, inner)


def _error_ports(node: Mapping[str, Any]) -> set[str]:
    """The ports of a node, as authored, that only a failure takes."""
    caught = one_or_list(node.get("catch") or [])
    return {"error", "timeout", *(entry["to"] for entry in caught if "to" in entry)}


def _scopes_in(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The graphs inside of a node, as authored."""
    handlers = one_or_list(node.get("catch") or [])
    every = [node.get("body"), node.get("finally"), node.get("compensate"), *(node.get("branches") or {}).values()]
    every += [handler.get("body") for handler in handlers]
    return (scope for scope in every if isinstance(scope, dict) and "nodes" in scope)


async def pinned(
    store: Store, plans: Plans, clock: Clock, read: Read, loaded: Loaded, *, tenant: str = TENANT
) -> dict[str, bytes]:
    """The sub-workflows that a definition names, and those that these name: each with the digest it is pinned to (rule 40).

    A file beside the definition that bears the workflow's name counts before what the store has, and is saved. Raises Refused
    (`workflow.unknown`) where there is neither, with all that are missing, and DefinitionRefused for a file with faults.
    """
    found: dict[str, bytes] = {read.plan.name: bytes.fromhex(read.plan.digest)}
    waiting = [(loaded, read.origin)]
    missing: list[str] = []
    while waiting:
        naming, origin = waiting.pop()
        for name in naming.named:
            if name in found or name in missing:
                continue
            named = await _newest(store, plans, clock, name, origin, tenant)
            if named is None:
                missing.append(name)
            else:
                found[name] = bytes.fromhex(named[0].plan.digest)
                waiting.append(named)
    if missing:
        raise Refused(
            "\n".join(f"there is no workflow `{name}`: neither beside {plan_file(read)} nor in the store." for name in missing),
            code="workflow.unknown", remedy="Save it with `perdure check --save FILE`, or put its file beside this one.",
        )  # fmt: skip
    return found


def plan_file(read: Read) -> str:
    """The definition's file, as a person names it."""
    return Path(read.origin).name if read.origin else read.plan.name


async def _newest(store: Store, plans: Plans, clock: Clock, name: str, origin: str, tenant: str) -> tuple[Loaded, str] | None:
    """A workflow by its name: from the file beside the one that names it, else the newest in the store."""
    folder = Path(origin).parent if origin else None
    for suffix in (".yaml", ".yml", ".json"):
        if folder is not None and (file := folder / f"{name}{suffix}").is_file():
            read = _read_unless_unchanged(file)
            if read.plan.name == name:
                return await save(store, plans, clock, read, tenant=tenant), read.origin
    saved = await store.definitions(name, tenant=tenant)
    return (await plans.get(saved[0].digest), saved[0].origin) if saved else None


def _read_unless_unchanged(file: Path) -> Read:
    """A definition file as read before, if neither it nor the node types beside it were written since: a start names many."""
    beside = file_beside(file)
    return _read_as_written(file, _written(file), _written(beside) if beside is not None else None)


def _written(file: Path) -> tuple[int, int, int]:
    """What changes when a file is written again, or replaced."""
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


@lru_cache(maxsize=FILES_KEPT_MAX)
def _read_as_written(file: Path, written: object, beside: object) -> Read:
    return read_file(file)


def ordered(document: Mapping[str, Any]) -> bytes:
    """The document as JSON with its keys in the author's order."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
