"""The three targets: what an attack on each may look like, and what must come of it, whatever it is.

A case is a plain JSON object, so that what was found can be kept in `cases/`. An attack returns where the target holds, and
raises where it does not: another exception than its family, no end within `CPU_SECONDS_MAX`, a promise broken.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

from attacked_definitions import attack_definition, definition_cases
from attacked_expressions import attack_expression, expression_cases
from attacked_journals import attack_journal, journal_cases
from hypothesis import strategies as st

Case = dict[str, Any]

CPU_SECONDS_MAX = 20
"""Of one case. All of them take some milliseconds; this is what a machine would have to be slower than for a false alarm."""


class Endless(BaseException):
    """A case took far longer than any should. Not an Exception: what is attacked cannot swallow it."""


class Target(NamedTuple):
    """What is attacked, and how."""

    cases: Callable[[], st.SearchStrategy[Case]]
    attack: Callable[[Case], None]


TARGETS = {
    "expression": Target(expression_cases, attack_expression),
    "definition": Target(definition_cases, attack_definition),
    "journal": Target(journal_cases, attack_journal),
}


def attack(target: str, case: Case) -> None:
    """Attack once. Raises what went wrong."""
    with ending():
        TARGETS[target].attack(case)


@contextmanager
def ending() -> Iterator[None]:
    """Raises Endless when this process has computed for too long; waiting for the machine is not counted."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Endless(f"Expected an end within {CPU_SECONDS_MAX} seconds of computing.")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS_MAX)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
