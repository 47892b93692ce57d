"""Plans by digest, compiled once, each with the node types it may call."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from perdure.definition import compile_plan, restore
from perdure.definition.plan import NodePlan, Plan
from perdure.definition.spec import Catalog
from perdure.engine.elements import SPECS
from perdure.errors import NotFound, Refused
from perdure.expressions import Constant
from perdure.nodes.discovery import discover, file_beside
from perdure.nodes.work import Work
from perdure.store.contract import Store

PLANS_MAX = 1_000
"""Plans kept; a plan of ten nodes weighs some 50 KB."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """A plan and the work it may ask for."""

    plan: Plan
    works: Mapping[str, Work]

    @cached_property
    def named(self) -> tuple[str, ...]:
        """The workflows that the plan's sub-workflows name, where the name is written out and the version pinned (rule 40)."""
        return tuple(dict.fromkeys(name for scope in self.plan.scopes.values() for name in _named(scope.nodes)))

    @cached_property
    def sources(self) -> dict[str, str]:
        """The module digests of the users' nodes that the plan may call (day-one 10)."""
        sources = {name: self.works[name].spec.source for name in self.plan.lock if name in self.works}
        return {name: source for name, source in sources.items() if source}


def _named(nodes: Iterable[NodePlan]) -> Iterator[str]:
    for node in nodes:
        name = node.keys.get("workflow") if node.type == "subworkflow" else None
        if isinstance(name, Constant) and isinstance(name.value, str) and node.options["version"] == "pinned":
            yield name.value


def works_for(origin: str, files: tuple[str, ...] = ()) -> Mapping[str, Work]:
    """The node types for a definition that came from `origin`: built in, installed, beside the file, and in `files`."""
    beside = file_beside(origin) if origin else None
    return discover((*((beside,) if beside is not None else ()), *files), reserved=tuple(SPECS))


def catalog_of(works: Mapping[str, Work]) -> Catalog:
    """The catalogue that a definition is checked against: the closed set and this work."""
    return Catalog(SPECS, works, lambda name: works[name].spec)


async def pinned_for(store: Store, loaded: Loaded, tenant: str) -> dict[str, bytes]:
    """The newest definition of each workflow that a plan names, as far as the store has one."""
    found: dict[str, bytes] = {}
    for name in loaded.named:
        if name == loaded.plan.name:
            found[name] = bytes.fromhex(loaded.plan.digest)
        elif saved := await store.definitions(name, tenant=tenant):
            found[name] = saved[0].digest
    return found


class Plans:
    """Loads definitions from the store and keeps their plans."""

    def __init__(
        self, store: Store, *, files: tuple[str, ...] = (), works: Callable[..., Mapping[str, Work]] = works_for
    ) -> None:
        self._store = store
        self._files = files
        self._works = works
        self._loaded: OrderedDict[bytes, Loaded] = OrderedDict()
        self._works_of: dict[str, Mapping[str, Work]] = {}

    def works(self, origin: str) -> Mapping[str, Work]:
        """The node types for definitions from this place; looked up once."""
        key = str(Path(origin).resolve().parent) if origin else ""
        if key not in self._works_of:
            self._works_of[key] = self._works(origin, self._files)
        return self._works_of[key]

    def kept(self, digest: bytes, works: Mapping[str, Work]) -> Loaded | None:
        """The plan of this digest, if it is in memory, with the node types of whoever asks."""
        loaded = self._loaded.get(digest)
        return loaded if loaded is None or loaded.works is works else Loaded(loaded.plan, works)

    def keep(self, plan: Plan, works: Mapping[str, Work]) -> Loaded:
        """Keep a plan that was compiled elsewhere."""
        loaded = self._loaded[bytes.fromhex(plan.digest)] = Loaded(plan, works)
        while len(self._loaded) > PLANS_MAX:
            self._loaded.popitem(last=False)
        return loaded

    async def get(self, digest: bytes) -> Loaded:
        """The plan of a saved definition.

        Raises NotFound where the store has no such definition, Refused where it names node types that are not there.
        """
        loaded = self._loaded.get(digest)
        if loaded is not None:
            self._loaded.move_to_end(digest)
            return loaded
        saved = await self._store.definition(digest)
        if saved is None:
            raise NotFound(
                f"The store has no definition {digest.hex()[:12]}.", remedy="Was the store copied without its definitions?"
            )
        works = self.works(saved.origin)
        plan = compile_plan(restore(saved.document), catalog_of(works), saved_as=digest)
        if bytes.fromhex(plan.digest) != digest:
            raise Refused(
                f"The definition {saved.name} does not have the digest it was saved under.",
                remedy="`perdure verify` tells what else is damaged.", code="store.damaged",
            )  # fmt: skip
        return self.keep(plan, works)
