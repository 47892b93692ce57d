"""What the tests of the operations share lies beside them: a rehearsal that can be asked why; and the plays of the engine."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "engine"))  # the tables of the rules are plays there
