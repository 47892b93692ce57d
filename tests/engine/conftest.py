"""What the tests of the engine share lies beside them: recordings, plays, ways to play, random graphs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

if TYPE_CHECKING:
    from ways import Begin


@pytest.fixture(params=("plain", "refolded", "cut-1", "cut-3", "crashed", "forgetful"))
def begin(request: pytest.FixtureRequest) -> Iterator[Begin]:
    """Begins recordings; the test runs once for each way in which they may go."""
    from ways import going

    with going(request.param) as found:
        yield found
