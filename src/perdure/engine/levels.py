"""Levels: the lowest engine that can read a journal row, told by the facts and inputs in it (day-one 17).

A release that brings a new fact, or a new meaning of one under a new tag, names it here with a level of its own. It is written
only once every living worker reads that level; so a deploy may be rolled back as long as one of the former release lives.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

from perdure.engine.codec import LEVEL

OLDEST = 2
"""What every release reads."""

INTRODUCED: dict[type[Any], int] = {}
"""Facts and inputs that came after that, each with the level that reads it; none is above `codec.LEVEL`."""

assert all(OLDEST < level <= LEVEL for level in INTRODUCED.values()), "a fact is above the level that this release reads"


def level_of(*records: Iterable[Any]) -> int:
    """The lowest level that reads a row of these inputs and facts."""
    if not INTRODUCED:
        return OLDEST
    return max((INTRODUCED.get(type(record), OLDEST) for record in chain(*records)), default=OLDEST)
