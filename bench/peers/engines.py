"""Which engines are measured, how much each is given to do, and what its figures mean: the one table of the comparison.

Only the standard library is imported here, since runners read this table inside their engine's own environment.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".peers"  # hidden and ignored: an environment holds thousands of files that are not ours
TEXT_BYTES = 100  # what every step returns


class Load(NamedTuple):
    """So many executions, each with so many steps, branches or iterations, so many of them in flight."""

    executions: int
    size: int = 1
    in_flight: int = 1


class Metric(NamedTuple):
    """What one figure is, and whether more of it is better."""

    name: str
    unit: str
    more_is_better: bool

    def ahead(self, ours: float, theirs: float) -> float | None:
        """How many times better ours is than theirs; None where one of them is zero, so that nothing can be said."""
        if not ours or not theirs:
            return None
        return ours / theirs if self.more_is_better else theirs / ours


class Workload(NamedTuple):
    """A row of the comparison; its first metric is the one that is drawn."""

    title: str
    metrics: tuple[Metric, ...]


WORKLOADS = {
    "chain": Workload("Chain of 10 steps", (Metric("throughput", "steps/s", True),)),
    "fan-out-100": Workload("Fan-out of 100 and a join", (Metric("throughput", "steps/s", True),)),
    "fan-out-1000": Workload("Fan-out of 1,000 and a join, one execution", (Metric("duration", "s", False),)),
    "loop": Workload("Loop, one durable iteration after another", (Metric("throughput", "iterations/s", True),)),
    "latency": Workload("From start to result of one step", (Metric("p50", "ms", False), Metric("p99", "ms", False))),
    "sleepers": Workload(
        "Executions that wait 30 days", (Metric("starts", "starts/s", True), Metric("memory each", "bytes", False))
    ),
}


NOT_FLUSHED = "* does not wait for the disk at each step"


class Engine(NamedTuple):
    """An engine as it is measured. `folder` holds its runner; two engines may share one."""

    name: str
    folder: str
    durability: str
    loads: dict[str, Load]
    lacks: dict[str, str]  # workload -> why there is no figure
    flushes_steps: bool = True  # whether what a step did is on the disk before the next one begins
    on_postgres: bool = False  # whether its runner is given the URL of an empty database (`bench.STORE`)

    @property
    def label(self) -> str:
        """Its name as tables and pictures show it; a star refers to `NOT_FLUSHED`."""
        return self.name if self.flushes_steps else f"{self.name}*"

    @property
    def environment(self) -> Path:
        """The folder that `bench/peers/setup` makes for it."""
        return ENVIRONMENTS / self.folder

    @property
    def python(self) -> Path:
        """The interpreter of its runner: its own, or that of this checkout where the engine is no Python package."""
        return Path(sys.executable) if self.folder in ("perdure", "n8n") else self.environment / "bin" / "python"


OURS = Engine(
    "Perdure",
    "perdure",
    "SQLite, WAL, synchronous=FULL: start, parameters and output of every step are on disk, flushed, before the next begins",
    {
        "chain": Load(500, 10, 100),
        "fan-out-100": Load(20, 100, 20),
        "fan-out-1000": Load(1, 1_000),
        "loop": Load(1, 1_000),
        "latency": Load(500),
        "sleepers": Load(100_000, 1, 500),
    },
    {},
)

OURS_ON_POSTGRES = Engine(
    "Perdure on PostgreSQL",
    "perdure",
    "fsync and synchronous_commit on: start, parameters and output of every step are on disk, flushed, before the next begins",
    OURS.loads,
    {},
    on_postgres=True,
)

DBOS = Engine(
    "DBOS",
    "dbos",
    "SQLite, WAL, synchronous=FULL: inputs when a workflow starts and the output of every step are flushed to the disk",
    {
        "chain": Load(100, 10, 100),
        "fan-out-100": Load(5, 100, 5),
        "fan-out-1000": Load(1, 1_000),
        "loop": Load(1, 1_000),
        "latency": Load(200),
        "sleepers": Load(500, 1, 100),
    },
    {},
)

DBOS_ON_POSTGRES = Engine(
    "DBOS on PostgreSQL",
    "dbos",
    "fsync and synchronous_commit on: inputs when a workflow starts and the output of every step are flushed to the disk",
    DBOS.loads,
    {},
    on_postgres=True,
)

ABSURD = Engine(
    "absurd",
    "absurd",
    "fsync and synchronous_commit on: inputs when a task is spawned and the output of every step are flushed to the disk",
    {
        "chain": Load(200, 10, 100),
        "fan-out-100": Load(10, 100, 10),
        "fan-out-1000": Load(1, 1_000),
        "loop": Load(1, 1_000),
        "latency": Load(200),
        "sleepers": Load(1_000, 1, 100),
    },
    {},
    on_postgres=True,
)

RESTATE = Engine(
    "Restate",
    "restate",
    "its own log and RocksDB, one node, flushed to the disk in batches: a call with its input, and every step's result",
    {
        "chain": Load(300, 10, 100),
        "fan-out-100": Load(20, 100, 20),
        "fan-out-1000": Load(1, 1_000),
        "loop": Load(1, 1_000),
        "latency": Load(300),
        "sleepers": Load(2_000, 1, 100),
    },
    {},
)

PREFECT = Engine(
    "Prefect",
    "prefect",
    "SQLite, WAL, synchronous=NORMAL for states, which reach it as events; results as files: neither is flushed for each step",
    {
        "chain": Load(10, 10, 4),
        "fan-out-100": Load(1, 100),
        "fan-out-1000": Load(1, 1_000),
        "loop": Load(1, 300),
        "latency": Load(20),
    },
    {"sleepers": "a flow that sleeps keeps its process; it has no durable timer of its own"},
    flushes_steps=False,
)

_N8N_LACKS = {
    "fan-out-100": "branches of a workflow run one after another, and a Merge node joins at most ten",
    "fan-out-1000": "as above",
}

N8N = Engine(
    "n8n",
    "n8n",
    "SQLite, WAL, synchronous=FULL: written when an execution starts and when it ends; what lies between is lost in a crash",
    {"chain": Load(100, 10, 100), "loop": Load(1, 1_000), "latency": Load(50), "sleepers": Load(100, 1, 100)},
    _N8N_LACKS,
    flushes_steps=False,
)

N8N_EACH = Engine(
    "n8n, saving each node",
    "n8n",
    "SQLite, WAL, synchronous=FULL: the whole execution is written anew after every node",
    {"chain": Load(100, 10, 100), "loop": Load(1, 300), "latency": Load(50), "sleepers": Load(100, 1, 100)},
    _N8N_LACKS,
)

PEERS = (RESTATE, DBOS, N8N, N8N_EACH, PREFECT, DBOS_ON_POSTGRES, ABSURD)
ENGINES = {
    engine.name: engine
    for ours in (OURS, OURS_ON_POSTGRES)
    for engine in (ours, *(peer for peer in PEERS if peer.on_postgres == ours.on_postgres))
}
"""In the order of tables and pictures: ours before the peers that it is compared with."""


def ours_beside(engine: Engine) -> Engine:
    """What an engine is compared with: ours on the same kind of store."""
    return OURS_ON_POSTGRES if engine.on_postgres else OURS
