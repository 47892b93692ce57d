"""`python -m bench.counts`: counts costs, shows them beside the last release's, and fails when one grew without a note."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.counts import record, tables
from bench.counts.counting import counts_of
from bench.counts.workloads import WORKLOADS
from bench.pages import placed

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "speed.md"


def main(given: list[str] | None = None, *, file: Path = record.FILE, page: Path = PAGE) -> int:
    """0 where nothing grew without a note, or what grew is accepted; 1 otherwise."""
    asked = _asked(given)
    now = {name: counts_of(workload()) for name, workload in WORKLOADS.items()}
    if asked.release:
        _keep(record.released(now), file, page)
    elif asked.accept is not None:
        _keep(record.accepted(record.read(file), now, asked.accept), file, page)
    recorded = record.read(file)
    print(tables.text(recorded, now))
    found = record.differences(recorded, now)
    if found:
        print()
    for difference in found:
        print(("FAIL " if difference.fails else "     ") + difference.sentence)
    return int(any(difference.fails for difference in found))


def _asked(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.counts", description="What a step costs, in counts, beside the last release.")
    asks = parser.add_mutually_exclusive_group()
    asks.add_argument("--accept", metavar="WHY", help="take the counts of now for what may be, with the reason where one grew")
    asks.add_argument("--release", action="store_true", help="take the counts of now for those of this version's release")
    asked = parser.parse_args(given)
    if asked.accept is not None and not asked.accept.strip():
        parser.error("expected the reason after --accept, but it is empty")
    return asked


def _keep(kept: record.Record, file: Path, page: Path) -> None:
    record.write(kept, file)
    page.write_text(placed(page.read_text(encoding="utf-8"), tables.NAME, tables.markdown(kept)), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
