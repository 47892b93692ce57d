"""One point of a curve: what it took, by the clock, by the processor, and in what can be counted on any machine."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from perdure.store.contract import Store

COUNTS = ("transactions", "statements", "rows", "bytes")


class Point:
    """One measurement: `size` on its curve, `units` of work that were done, seconds, counts of the store, and what else."""

    def __init__(self, curve: str, size: int, units: int) -> None:
        self.curve = curve
        self.size = size
        self.units = units
        self.wall = 0.0
        self.cpu = 0.0
        self.counts: dict[str, int] = {}
        self.more: dict[str, float] = {}

    def row(self) -> dict[str, Any]:
        """The point as a flat row: per unit of work, in microseconds and counts."""
        return {
            "curve": self.curve,
            "size": self.size,
            "units": self.units,
            "wall_us": self.wall / self.units * 1e6,
            "cpu_us": self.cpu / self.units * 1e6,
            **{name: count / self.units for name, count in self.counts.items()},
            **self.more,
        }


def processor() -> float:
    """Seconds of the processor that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@contextmanager
def measured(point: Point, store: Store | None = None) -> Iterator[None]:
    """Add what is done inside to a point."""
    gc.collect()
    before = store.usage() if store is not None else None
    wall, cpu = time.perf_counter(), processor()
    yield
    point.wall += time.perf_counter() - wall
    point.cpu += processor() - cpu
    if store is not None and before is not None:
        after = store.usage()
        for name in COUNTS:
            point.counts[name] = point.counts.get(name, 0) + getattr(after, name) - getattr(before, name)


def resident() -> int:
    """Bytes of memory that this process has resident, garbage collected before."""
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def middle(values: list[float]) -> float:
    """The median."""
    return sorted(values)[len(values) // 2]
