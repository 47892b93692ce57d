"""A node type describes itself: `NodeSpec` is what checker, catalogue, form, documentation and tests read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    """All node types that a definition may name, by name, in alphabetical order."""

    def __init__(self, specs: Mapping[str, NodeSpec]) -> None:
        self._specs = dict(sorted(specs.items()))

    def __getitem__(self, name: str) -> NodeSpec:
        return self._specs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)
