"""`make run` carries real workflows to their end and says what to try next."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from instances import ROOT


def test_make_run_ends_well_and_says_what_to_try_next(tmp_path: Path) -> None:
    """All examples end as they should, the report is there, the ledger adds up, and every command it proposes exists."""
    command = [sys.executable, str(ROOT / "examples" / "run.py"), str(tmp_path / "out")]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, cwd=tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert (tmp_path / "out" / "report" / "cars.html").is_file()
    assert "The report lies in out/report/cars.html" in finished.stdout
    assert "The ledger adds up." in finished.stdout
    assert all(f"perdure {deed} " in finished.stdout for deed in ("list", "run", "resume", "check"))
