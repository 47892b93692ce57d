"""What the tests of replay share: the golden journals and recordings of the engine's tests, which lie beside those."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "engine"))
