"""A node type describes itself: `NodeSpec` is what checker, catalogue, form, documentation and tests read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec

Kind = Literal["control", "pure", "effect"]


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A whole small workflow that shows the node, and what it gives; each is run by a test."""

    title: str
    definition: dict[str, Any]
    input: Any = None
    status: str = "succeeded"
    output: Any = None
    check_output: bool = True  # False where the output is not the same each time (a time, an address)


class NodeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What one node type is.

    `kind`: `control` decides where an execution goes, `pure` computes inside the step, `effect` leaves the engine.
    `keys`: JSON Schema (type object) of the node's own top-level keys, for control and pure nodes.
    `params`: JSON Schema (type object) of what stands under `with:`, for effect nodes.
    `ports`: the fixed output ports besides `error` and `timeout`; nodes with named cases add theirs (`switch`).
    `version`: the major version that an execution's lock pins.
    """

    name: str
    title: str
    kind: Kind
    group: str = "other"
    version: int = 1
    summary: str = ""
    description: str = ""  # Markdown; the page in the reference
    keys: dict[str, Any] = msgspec.field(default_factory=dict)
    params: dict[str, Any] = msgspec.field(default_factory=dict)
    output: dict[str, Any] = msgspec.field(default_factory=dict)
    ports: tuple[str, ...] = ("out",)
    examples: tuple[Example, ...] = ()
    repeatable: bool = False  # the same parameters always give the same result, and running twice does no harm
    source: str = ""  # digest of the module of a user's node (day-one 10)


class Catalog(Mapping[str, NodeSpec]):
    """All node types that a definition may name, by name, in alphabetical order.

    `look_up` gives the SPEC of a name that `specs` does not hold but `further` has: it is asked once, when the SPEC is needed.
    """

    def __init__(
        self, specs: Mapping[str, NodeSpec], further: Iterable[str] = (), look_up: Callable[[str], NodeSpec] | None = None
    ) -> None:
        self._specs = dict(specs)
        self._names = dict.fromkeys(sorted({*specs, *further}))
        self._look_up = look_up

    def __getitem__(self, name: str) -> NodeSpec:
        if name not in self._specs and name in self._names and self._look_up is not None:
            self._specs[name] = self._look_up(name)
        return self._specs[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
