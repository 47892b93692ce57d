"""What the checks look at, and where they write what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from perdure.definition.faults import fault
from perdure.definition.graph import Node, Scope, all_scopes, build
from perdure.definition.positions import Path, Place, Positions
from perdure.definition.sites import Site, sites
from perdure.definition.spec import Catalog
from perdure.errors import Fault
from perdure.expressions import Template


class Subject:
    """One definition under check: its graph, its expressions, and the faults found so far."""

    def __init__(self, document: Mapping[str, Any], catalog: Catalog, positions: Positions) -> None:
        self.document = document
        self.catalog = catalog
        self.positions = positions
        self.faults: list[Fault] = []
        self.stopped = False
        self.root: Scope = build(document, catalog)
        self.scopes: list[Scope] = list(all_scopes(self.root))
        self.nodes: list[Node] = [node for scope in self.scopes for node in scope.nodes.values()]
        self._sites: list[Site] | None = None
        self._templates: dict[Path, Template] | None = None

    @property
    def nodes_count(self) -> int:
        return len(self.nodes)

    @property
    def sites(self) -> list[Site]:
        """All places with expressions, compiled."""
        if self._sites is None:
            self._sites = list(sites(self.root))
            for site in self._sites:
                site.compile()
        return self._sites

    @property
    def templates(self) -> Mapping[Path, Template]:
        """What each place compiled to, by path."""
        if self._templates is None:
            self._templates = {site.path: site.template for site in self.sites if site.template is not None}
        return self._templates

    def find(
        self, code: str, path: Path, message: str, *, remedy: str = "", at_key: bool = False, place: Place | None = None
    ) -> None:
        """Note a fault. It stands where the value at `path` does, or its key (`at_key`), or at `place`."""
        at = place if place is not None else self.positions.key(path) if at_key else self.positions.value(path)
        self.faults.append(fault(code, path, message, remedy=remedy, place=at))


Check = Callable[[Subject], None]


def near(name: str, known: Iterable[str]) -> str:
    """“Did you mean …?” for a name that is not known, or an empty text."""
    if len(name) > 80:
        return ""
    once = list(dict.fromkeys(known))[:2_000]  # a type may stand in the format and in the catalogue
    close = get_close_matches(name, [each for each in once if abs(len(each) - len(name)) < 8], n=2, cutoff=0.6)
    return f"Did you mean {' or '.join(f'`{each}`' for each in close)}?" if close else ""


def listed(names: Iterable[str], most: int = 8) -> str:
    """Names as a text: `a`, `b`, `c` and 4 more."""
    every = list(names)
    text = ", ".join(f"`{name}`" for name in every[:most])
    return text if len(every) <= most else f"{text} and {len(every) - most} more"
