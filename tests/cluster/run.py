"""What `make cluster` runs: `cluster.py`, with the server of the tests and the shop of the examples where it finds them.

python tests/cluster/run.py [--orders 200] [--workers 4]
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "examples" / "orders")]

from cluster import main  # noqa: E402 - after the paths

if __name__ == "__main__":
    sys.exit(main())
