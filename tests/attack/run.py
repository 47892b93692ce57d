"""The long attack: new cases for as long as it is told, each target in turn; what is found is shrunk, printed, and exit code 1.

    python tests/attack/run.py [expression] [definition] [journal] [--seconds 60] [--seed N]

`make attack` runs it. What it prints becomes a file in `tests/attack/cases/`, with a sentence on what it is about.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import resource
import sys
import time
import traceback
import warnings
from itertools import cycle
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import HypothesisWarning
from targets import TARGETS, attack

TURN_SECONDS = 5
"""How long one target is attacked before it is the turn of the next."""
EXAMPLES = 200
"""Cases between two looks at the clock."""
MEMORY_MAX = 4 << 30
"""Bytes that this process may ever have: what blows up is found, and not the machine."""


class Attack:
    """Attacks on one target, and what they found: one case for each place at which something went wrong."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.cases = 0
        self.found: dict[str, dict[str, Any]] = {}

    def round(self, number: int, until: float) -> None:
        """So many new cases; where one goes wrong, the smallest that goes wrong likewise is kept."""
        failing: dict[str, Any] = {}

        @seed(number)
        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=False,
            phases=[Phase.generate, Phase.shrink],
        )  # fmt: skip
        @given(TARGETS[self.target].cases())
        def attacked(case: dict[str, Any]) -> None:
            if time.monotonic() > until:
                return
            self.cases += 1
            try:
                attack(self.target, case)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt) or place_of(error) in self.found:
                    return  # known: so that it does not hide others
                failing.update(case=case, error=error)
                raise

        try:
            attacked()
        except KeyboardInterrupt:
            raise
        except BaseException:
            if not failing:
                raise
            self._tell(failing["case"], failing["error"])

    def _tell(self, case: dict[str, Any], error: BaseException) -> None:
        what = f"{type(error).__name__}: {error}"
        self.found[place_of(error)] = case
        print(f"\n{self.target}: {what[:500]}", flush=True)
        print("".join(traceback.format_tb(error.__traceback__)[-4:]), flush=True)
        print(json.dumps({"target": self.target, "about": "…", "case": case}, ensure_ascii=True), flush=True)


def place_of(error: BaseException) -> str:
    """Where something went wrong: findings at one place are one finding."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {last.filename}:{last.lineno}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="attack", description="Attack what takes in what others wrote.")
    parser.add_argument("targets", nargs="*", help=f"which: {', '.join(TARGETS)}; none: all")
    parser.add_argument("--seconds", type=float, default=60, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=None, help="what to draw chance from (default: any, which is said)")
    given = parser.parse_args(arguments)
    unknown = set(given.targets) - set(TARGETS)
    if unknown:
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    logging.disable()  # a home says much about each execution that it sets aside
    warnings.simplefilter("ignore", HypothesisWarning)  # on how long the list of documents is that it draws from
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, resource.getrlimit(resource.RLIMIT_AS)[1]))
    chosen = given.seed if given.seed is not None else random.SystemRandom().randrange(1_000_000_000)
    print(f"attack with seed {chosen}", flush=True)
    attacks = [Attack(target) for target in given.targets or TARGETS]
    until = time.monotonic() + given.seconds
    numbers = random.Random(chosen)
    for each in cycle(attacks):
        turn = min(until, time.monotonic() + TURN_SECONDS)
        while time.monotonic() < turn:
            each.round(numbers.randrange(1 << 32), until)
        if time.monotonic() > until:
            break
    for each in attacks:
        print(f"{each.target}: {each.cases:,} cases, {len(each.found)} found")
    return 1 if any(each.found for each in attacks) else 0


if __name__ == "__main__":
    sys.exit(main())
