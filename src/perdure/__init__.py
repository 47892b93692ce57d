"""Perdure: durable workflows. These are its public names, fetched on first use so that `import perdure` stays quick.

Every one of them is described in `docs/reference/public-names.md`; what is not listed there may change without notice.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.app import Engine as Engine
    from perdure.app import open_engine as open_engine
    from perdure.nodes import Context as Context
    from perdure.nodes import Deferred as Deferred
    from perdure.nodes import Failed as Failed
    from perdure.nodes import node as node

__version__ = "0.1.0"

_ROOMS = {
    "Context": "perdure.nodes",
    "Deferred": "perdure.nodes",
    "Engine": "perdure.app",
    "Failed": "perdure.nodes",
    "node": "perdure.nodes",
    "open_engine": "perdure.app",
}

__all__ = ["Context", "Deferred", "Engine", "Failed", "__version__", "node", "open_engine"]


def __getattr__(name: str) -> Any:
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module 'perdure' has no attribute {name!r}")
    value = getattr(import_module(room), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
