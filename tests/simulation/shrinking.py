"""A seed that failed, with everything left out of its workflow that it does not need to fail."""

from __future__ import annotations

import time

from definitions import Definition
from search import paths_in, without
from seeds import definition_of, live

from perdure.errors import PerdureError

SECONDS_MAX = 60.0


def smaller(seed: int) -> Definition:
    """The smallest workflow found with which this seed still fails."""
    kept = definition_of(seed)
    latest = time.monotonic() + SECONDS_MAX
    position = 0
    while time.monotonic() < latest:
        paths = sorted(paths_in(kept.document, ()), key=lambda path: (path[-2:-1] != ("nodes",), len(path)))
        if position >= len(paths):
            break
        tried = Definition(without(kept.document, paths[position]), kept.input)
        if fails(seed, tried):
            kept = tried
        else:
            position += 1
    return kept


def fails(seed: int, definition: Definition) -> bool:
    """Whether the seed fails with this workflow, which must be one."""
    try:
        return bool(live(seed, definition).wrong)
    except PerdureError:
        return False
