"""Runs Perdure's own workloads (`bench/workloads.py`) and reports them as every other runner does."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.__main__ import MEASURES
from bench.peers.loopback import data_folder
from bench.peers.measures import Report

from perdure import __version__


def main() -> None:
    engine, *workloads = sys.argv[1:]
    report = Report()
    with data_folder("perdure") as folder:
        for workload in workloads:
            values = [value for *_, value in MEASURES[workload](Path(folder) / workload)]
            report.tell(engine, __version__, workload, values)


if __name__ == "__main__":
    main()
