"""How long the command line takes, from the start of its process: to the end of a command, and to a run's first effect.

The caches are warm, as they are from the second start on: each command runs once before it is measured, and Python may keep
what it has compiled even where the environment says otherwise.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLE = "examples/orders/order.yaml"
EFFECTS = "bench/recovery.yaml"  # each effect writes a line to the ledger that the input names
NAP_SECONDS = 0.0005


def measure(folder: Path) -> list[tuple[str, str, str, float]]:
    """Each command once to warm up and once to measure: (workload, metric, unit, value)."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    rows = []
    for metric, command in (("perdure --help", ["--help"]), (f"perdure check {EXAMPLE}", ["check", EXAMPLE])):
        _to_the_end(command, environment)
        rows.append(("startup", metric, "s", _to_the_end(command, environment)))
    _to_first_effect(folder / "warm", environment)
    return [*rows, ("startup", "perdure run: first effect", "s", _to_first_effect(folder / "measured", environment))]


def _to_the_end(command: list[str], environment: dict[str, str]) -> float:
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "perdure", *command], cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - begin


def _to_first_effect(folder: Path, environment: dict[str, str]) -> float:
    """Seconds from the start of `perdure run` on a fresh store until the ledger has its first line."""
    folder.mkdir()
    ledger = folder / "ledger"
    ledger.touch()
    given = json.dumps({"ledger": str(ledger)})
    command = [sys.executable, "-m", "perdure", "run", EFFECTS, "--input", given, "--store", str(folder / "run.db"), "--plain"]
    begin = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not ledger.stat().st_size:
            if process.poll() is not None:
                raise RuntimeError(f"`perdure run {EFFECTS}` ended with {process.returncode} before its first effect")
            time.sleep(NAP_SECONDS)
        return time.perf_counter() - begin
