"""What the attacks share: their targets are modules beside the tests, and the long run is a program of its own."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
