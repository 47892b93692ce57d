"""What the faults met: for each element, policy and fault how often that fault struck while the element was under way there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from definitions import POLICIES

from perdure.testing.simulation import FAULTS

ELEMENTS = (
    "test.effect", "transform", "map", "filter", "log", "condition", "switch", "set_variable", "get_variable", "delay",
    "wait_until", "wait_for_condition", "wait_for_signal", "wait_for_event", "subworkflow", "join", "parallel", "loop",
    "while", "repeat", "try", "rollback", "break", "continue", "return", "exit", "fail", "cancel",
)  # fmt: skip

Coverage = Counter[tuple[str, str, str]]


def empty_cells(coverage: Coverage) -> list[tuple[str, str, str]]:
    """The combinations that no fault has met."""
    return [cell for cell in cells() if not coverage[cell]]


def cells() -> Iterator[tuple[str, str, str]]:
    """All combinations there are."""
    return ((element, policy, fault) for element in ELEMENTS for policy in POLICIES for fault in FAULTS)


def table(coverage: Coverage) -> str:
    """Elements by faults, each with the rarest of its policies: the cell that was met least."""
    head = " ".join(f"{fault.replace('commit', 'c.'):>13.13}" for fault in FAULTS)
    lines = [f"{'met least, of all policies':>26} {head}"]
    for element in ELEMENTS:
        least = (min(coverage[element, policy, fault] for policy in POLICIES) for fault in FAULTS)
        lines.append(f"{element:>26} " + " ".join(f"{count:>13,}" for count in least))
    return "\n".join(lines)
