"""Runs Perdure's own workloads (`bench/workloads.py`) and reports them as every other runner does."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path

from bench.__main__ import MEASURES
from bench.peers.engines import ENGINES
from bench.peers.loopback import data_folder
from bench.peers.measures import Report
from bench.postgres import empty_store

from bench import STORE
from perdure import __version__


def main() -> None:
    engine, *workloads = sys.argv[1:]
    report = Report()
    with data_folder("perdure") as folder:
        for workload in workloads:
            with empty_store(os.environ[STORE]) if ENGINES[engine].on_postgres else nullcontext():
                values = [value for *_, value in MEASURES[workload](Path(folder) / workload)]
            report.tell(engine, __version__, workload, values)


if __name__ == "__main__":
    main()
