"""`python -m bench.growth`: every curve at every size, each point in a process of its own; `bench/results/growth.json`."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.growth.curves import CURVES, QUICK

HERE = Path(__file__).resolve().parents[2]
RESULTS = HERE / "bench" / "results" / "growth.json"
SECONDS_MAX = 3_600  # for one point; far more than the largest needs


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.growth", description="How cost grows with size.")
    parser.add_argument("curves", nargs="*", help=f"which: {', '.join(CURVES)}; none: all")
    parser.add_argument("--quick", action="store_true", help="all of them at small sizes, only to see them run")
    parser.add_argument("--largest", type=int, default=0, help="leave out sizes above this one")
    parser.add_argument(
        "--publish", action="store_true", help="draw the last results into the documentation, and measure nothing"
    )
    parser.add_argument("--point", nargs=3, metavar=("CURVE", "SIZE", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.point:
        curve, size, folder = given.point
        print(json.dumps(point(curve, int(size), Path(folder))))
        return
    if given.publish:
        from bench.growth.published import publish

        publish(json.loads(RESULTS.read_text()), HERE / "docs")
        return
    unknown = set(given.curves) - set(CURVES)
    if unknown:
        parser.error(f"there is no curve {', '.join(sorted(unknown))}")
    for name in given.curves or list(CURVES):
        rows = list(measure(name, quick=given.quick, largest=given.largest))
        if not given.quick:
            keep(rows, name)


def point(curve: str, size: int, folder: Path) -> dict[str, Any]:
    """One point, made here."""
    made = asyncio.run(CURVES[curve][0](folder, size))
    return {"name": curve, **made.row()}  # type: ignore[attr-defined]  # a coroutine of a Point


def measure(name: str, *, quick: bool = False, largest: int = 0) -> Iterator[dict[str, Any]]:
    """Every point of a curve, each in a fresh process and an empty folder; printed as they come."""
    for size in QUICK[name] if quick else CURVES[name][1]:
        if largest and size > largest:
            continue
        row = apart(name, size)
        print(told(row), flush=True)
        yield row


def apart(name: str, size: int) -> dict[str, Any]:
    """One point in a process of its own: nobody's caches, and nobody's garbage, are in it."""
    folder = tempfile.mkdtemp(prefix="perdure-growth-")
    try:
        command = [sys.executable, "-m", "bench.growth", "--point", name, str(size), folder]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False, timeout=SECONDS_MAX)
        if done.returncode:
            raise SystemExit(f"{name} at {size:,} failed:\n{done.stderr}")
        row: dict[str, Any] = json.loads(done.stdout)
        return row
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def told(row: dict[str, Any]) -> str:
    """A point in one line."""
    more = {name: value for name, value in row.items() if name not in ("name", "curve", "size", "units", "wall_us", "cpu_us")}
    said = "  ".join(f"{name} {value:,.4g}" for name, value in more.items())
    return f"{row['curve']:18} {row['size']:>9,}  cpu {row['cpu_us']:>10,.1f} µs  wall {row['wall_us']:>10,.1f} µs  {said}"


def keep(rows: list[dict[str, Any]], name: str) -> None:
    """Write the results; those of other curves stay."""
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([row for row in before if row["name"] != name] + rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
