"""What the tests of the engine share lies beside them: recordings, plays, random graphs."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
