"""One seed: a random workflow of all elements and policies, simulated, judged, and followed by the reference interpreter."""

from __future__ import annotations

import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "model"), str(HERE.parent / "engine")]

from definitions import Definition, seeded  # noqa: E402 - after the paths
from following import differences, first_difference, is_followed  # noqa: E402 - after the paths

from perdure.testing.simulation import Simulation  # noqa: E402 - after the paths
from perdure.testing.witness import Violation  # noqa: E402 - after the paths
from perdure.testing.world import Stuck  # noqa: E402 - after the paths

NODES_LEAST, NODES_MOST = 10, 16
"""Nodes at the root of a random workflow; with those inside it has more than thirty, as a rule."""

CHILD: Mapping[str, Any] = {
    "perdure": 1,
    "name": "child",
    "nodes": {
        "a": {"type": "test.effect"},
        "b": {"type": "delay", "for": "2s", "after": "a"},
        "c": {"type": "test.effect", "after": "b"},
    },
}
"""What the sub-workflows of random workflows run."""


@dataclass
class Lived:
    """What a seed came to. `wrong`: what must not be, one sentence each."""

    seed: int
    nodes: int = 0
    instances: int = 0
    executions: int = 0
    followed: int = 0
    turns: int = 0
    effects: int = 0
    repeated: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    coverage: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    differs: bool = False  # from the reference interpreter; no invariant was violated


def definition_of(seed: int) -> Definition:
    """The workflow of a seed, and an input for it."""
    return seeded(Random(f"definition {seed}"), NODES_LEAST, NODES_MOST)


def live(
    seed: int, definition: Definition | None = None, *, labels: Sequence[Mapping[str, str]] = (), **settings: Any
) -> Lived:
    """Simulate a seed, with its own workflow or another; `labels`: what each worker has."""
    definition = definition or definition_of(seed)
    lived = Lived(seed, nodes=nodes_in(definition.document))
    inputs = [definition.input, {**definition.input, "p": not definition.input["p"]}]
    simulation = Simulation(seed, definition.document, inputs, children=[CHILD], labels=labels)
    try:
        simulation.run()
    except (Violation, Stuck) as wrong:
        lived.wrong.append(str(wrong))
    witness = simulation.witness
    lived.faults, lived.coverage = simulation.faults, simulation.coverage
    lived.executions, lived.effects = len(witness.executions), len(simulation.effects)
    lived.repeated = simulation.effects.total() - lived.effects
    for seen in witness.executions.values():
        lived.turns += len(seen.rows)
        lived.instances += seen.outcomes().total()
        if (lived.differs or not lived.wrong) and is_followed(zip(seen.rows, seen.bodies, strict=True)):
            lived.followed += 1
            document = CHILD if seen.state.workflow == CHILD["name"] else definition.document
            found = differences(document, seen, witness.blobs)
            lived.wrong += [*found, first_difference(document, seen, witness.blobs)] if found else []
            lived.differs = bool(lived.wrong)
    return lived


def median(numbers: Iterable[int]) -> float:
    """The number in the middle."""
    return statistics.median(numbers)


def nodes_in(part: Any) -> int:
    """How many nodes a document has, at all depths."""
    if isinstance(part, list):
        return sum(nodes_in(inner) for inner in part)
    if not isinstance(part, Mapping):
        return 0
    nodes = part.get("nodes")
    return (len(nodes) if isinstance(nodes, Mapping) else 0) + sum(nodes_in(inner) for inner in part.values())
