"""The reference interpreter lies beside its tests, and the plays it shares with the engine lie in the engine's tests."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "engine")]
