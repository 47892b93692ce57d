"""The seeds lie beside their tests, the reference interpreter and the random workflows with those of the model."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "model"), str(HERE.parent / "engine")]
