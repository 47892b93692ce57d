"""Nodes: the open set of work that leaves the engine, one file each; users add theirs as functions (`decorator`).

The public names are fetched on first use, so that a process of the pool loads only what it runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.nodes.decorator import node as node
    from perdure.nodes.discovery import discover as discover
    from perdure.nodes.work import Context as Context
    from perdure.nodes.work import Deferred as Deferred
    from perdure.nodes.work import Failed as Failed
    from perdure.nodes.work import Work as Work

_HOMES = {
    "Context": "perdure.nodes.work",
    "Deferred": "perdure.nodes.work",
    "Failed": "perdure.nodes.work",
    "Work": "perdure.nodes.work",
    "discover": "perdure.nodes.discovery",
    "node": "perdure.nodes.decorator",
}

__all__ = ["Context", "Deferred", "Failed", "Work", "discover", "node"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'perdure.nodes' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
